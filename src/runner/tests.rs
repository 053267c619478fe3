//! Command lines from the servers' own instructions, and their results.

use proptest::prelude::*;

use super::*;

mod others;

fn words(line: &str) -> Vec<String> {
    shlex::split(line).unwrap()
}

fn parsed(line: &str) -> Parsed {
    parse(&words(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

fn refused(line: &str) -> String {
    match parse(&words(line)) {
        Ok(parsed) => panic!("{line}: {parsed:?}"),
        Err(error) => error.to_string(),
    }
}

/// The table's lines.
fn table(line: &str) -> Vec<String> {
    let base = |runtime| format!("base-{runtime:?}").to_lowercase();
    parsed(line).table(base).to_string().lines().map(str::to_owned).collect()
}

/// The one line of a package's table, its quotes taken away.
fn package_line(line: &str) -> String {
    let table = table(line);
    let [only] = table.as_slice() else { panic!("{table:?}") };
    let (key, value) = only.split_once(" = ").unwrap();
    let words = words(&words(value)[0]);
    format!("{key} {}", words.join(" "))
}

#[test]
fn npm_packages() {
    for (line, name, expected) in [
        (
            "npx -y @modelcontextprotocol/server-everything",
            "server-everything",
            "npx @modelcontextprotocol/server-everything",
        ),
        (
            "npx -y @modelcontextprotocol/server-filesystem@2026.8.31 /home/me/Desktop '/a b'",
            "server-filesystem",
            "npx @modelcontextprotocol/server-filesystem@2026.8.31 /home/me/Desktop /a b",
        ),
        ("npx @playwright/mcp@latest --headless", "playwright", "npx @playwright/mcp@latest --headless"),
        (
            "npx -y @upstash/context7-mcp --api-key ${CONTEXT7_API_KEY}",
            "context7-mcp",
            "npx @upstash/context7-mcp --api-key ${CONTEXT7_API_KEY}",
        ),
        ("/usr/bin/npx --yes -- mcp-remote@^0.1 x", "mcp-remote", "npx mcp-remote@^0.1 x"),
        (
            "npx -y --package=@scope/pkg@1 -p other tool --flag",
            "pkg",
            "npx -p @scope/pkg@1 -p other tool --flag",
        ),
        ("npm exec --yes -- pkg@1.2.3 --flag", "pkg", "npx pkg@1.2.3 --flag"),
        ("npm exec pkg -- --flag -- x", "pkg", "npx pkg --flag -- x"),
        ("npm x -y pkg a", "pkg", "npx pkg a"),
        ("pnpm dlx pkg", "pkg", "npx pkg"),
        ("bunx --bun pkg", "pkg", "npx pkg"),
        ("cmd /c npx -y pkg", "pkg", "npx pkg"),
        ("npx -y pkg -- --port 1", "pkg", "npx pkg -- --port 1"),
    ] {
        assert_eq!(package_line(line), expected, "{line}");
        assert_eq!(parsed(line).name, name, "{line}");
    }
}

#[test]
fn python_packages() {
    for (line, name, expected) in [
        (
            "uvx mcp-server-time --local-timezone=America/New_York",
            "mcp-server-time",
            "uvx mcp-server-time --local-timezone=America/New_York",
        ),
        (
            "uvx awslabs.aws-documentation-mcp-server@latest",
            "awslabs.aws-documentation-mcp-server",
            "uvx awslabs.aws-documentation-mcp-server@latest",
        ),
        (
            "uvx --from git+https://github.com/oraios/serena serena start-mcp-server --context ide",
            "serena",
            "uvx --from git+https://github.com/oraios/serena serena start-mcp-server --context ide",
        ),
        (
            "uvx --python python3.12 --with httpx,anyio==4 mcp-server-git==2026.1 -r /repo",
            "mcp-server-git",
            "uvx --with httpx --with anyio==4 --python 3.12 mcp-server-git==2026.1 -r /repo",
        ),
        ("uv tool run --from mcp-proxy mcp-proxy x", "mcp-proxy", "uvx mcp-proxy x"),
        ("pipx run --spec 'pkg[cli]==1' tool", "pkg", "uvx --from pkg[cli]==1 tool"),
    ] {
        assert_eq!(package_line(line), expected, "{line}");
        assert_eq!(parsed(line).name, name, "{line}");
    }
}

#[test]
fn the_words_of_a_key_give_the_key_again() {
    for line in [
        "npx -p a@1 -p b tool --flag '$HOME' '${A}'",
        "npx pkg -- -y",
        "uvx --with a --python 3.12 --from b==1 tool -x",
        "uvx b@1 --with c",
        "uvx 'b @ git+https://h/x' --with c",
        "uvx --with c --from a python -m b",
        "uv --directory /d run --with a --python 3.12 --extra x --no-dev server.py -x",
        "uv --directory /d run -m a.b -x",
        "uv --directory /d run tool --y",
    ] {
        let Program::Package(one) = parsed(line).program else { panic!("{line}") };
        assert_eq!(parse_words(one.runner, &one.words()).unwrap(), one, "{line}");
    }
}

#[test]
fn images() {
    assert_eq!(
        table("docker run -i --rm -e GITHUB_PERSONAL_ACCESS_TOKEN ghcr.io/github/github-mcp-server"),
        ["image = \"ghcr.io/github/github-mcp-server\"", "env_vars = [\"GITHUB_PERSONAL_ACCESS_TOKEN\"]",]
    );
    assert_eq!(
        table(
            "docker run -i --rm --mount type=bind,src=/Users/me/Desktop,dst=/projects/Desktop \
             --mount type=bind,src=/other,dst=/projects/other,ro mcp/filesystem /projects"
        ),
        [
            "image = \"mcp/filesystem\"",
            "args = [\"/projects\"]",
            "mounts = [\"/Users/me/Desktop:/projects/Desktop:rw\", \"/other:/projects/other\"]",
        ]
    );
    assert_eq!(
        table("docker run -i -v claude-memory:/app/dist --rm mcp/memory"),
        ["image = \"mcp/memory\"", "volumes = [\"claude-memory:/app/dist:concurrent\"]"]
    );
    assert_eq!(
        table("docker run -i -v data:/data:ro --rm a/b"),
        ["image = \"a/b\"", "volumes = [\"data:/data:ro\"]"]
    );
    let notes = parsed("docker run -i -v data:/data:ro --rm a/b").notes;
    assert!(matches!(&notes[..], [note] if note.contains("`data` begins empty")), "{notes:?}");
    assert_eq!(
        table("docker run -i --rm --init --pull=always mcr.microsoft.com/playwright/mcp"),
        ["image = \"mcr.microsoft.com/playwright/mcp\"", "pull = \"always\""]
    );
    assert_eq!(table("nerdctl run -i --rm a/b:1"), ["image = \"a/b:1\""]);
    assert_eq!(
        table(
            "podman run --rm -itw /w -u 1000:1000 -m 1g --cpus=1.5 --pids-limit 99 --read-only --net none a/b:1"
        ),
        [
            "image = \"a/b:1\"",
            "workdir = \"/w\"",
            "user = \"1000:1000\"",
            "memory = \"1g\"",
            "cpus = \"1.5\"",
            "pids = \"99\"",
            "read_only = true",
            "network = \"none\"",
        ]
    );
    assert_eq!(
        table(
            "docker container run --tmpfs /x:rw,size=8m --tmpfs /y:exec,size=1m --tmpfs /z:exec,noexec --shm-size 1g \
             --mount type=tmpfs,dst=/w --cap-add net_raw --cap-add SYS_PTRACE i"
        ),
        [
            "image = \"i\"",
            "cap_add = [\"NET_RAW\", \"SYS_PTRACE\"]",
            "tmpfs = { \"/tmp\" = \"256m\", \"/x\" = \"8m\", \"/y\" = { size = \"1m\", exec = true }, \"/z\" = \"256m\", \
             \"/dev/shm\" = \"1g\", \"/w\" = \"256m\" }",
        ]
    );
    assert_eq!(
        table("docker run -i --entrypoint node -e A=1 -eB='p$w' -e A=2 img:1 server.js"),
        [
            "image = \"img:1\"",
            "command = [\"node\"]",
            "args = [\"server.js\"]",
            "env = { B = \"p$$w\", A = \"2\" }",
        ]
    );
    assert_eq!(parsed("docker run mcr.microsoft.com/playwright/mcp:v1@sha256:00ff").name, "playwright");
    assert_eq!(parsed("docker run localhost:5000/time").name, "time");
}

#[test]
fn variables_of_a_docker_line_mean_what_they_mean_there() {
    assert_eq!(
        table("docker run -e A -e B=1 -e C=2 -e C -e D -e D=3 -e a.b img"),
        ["image = \"img\"", "env_vars = [\"A\", \"C\", \"a.b\"]", "env = { B = \"1\", D = \"3\" }"]
    );
    assert_eq!(
        table("docker run --env-file /etc/a.env --env-file=~/b.env --env-file '${X:-/c}/c$.env' img"),
        ["image = \"img\"", "env_file = [\"/etc/a.env\", \"~/b.env\", \"${X:-/c}/c$$.env\"]"]
    );
    let notes = parsed("docker run --env-file /etc/a.env --pull=always img").notes.join("\n");
    assert!(notes.contains("the variables in `/etc/a.env`, read at each start"), "{notes}");
    assert!(notes.contains("`--pull`: the registry is asked at each `berth up`"), "{notes}");
}

#[test]
fn what_is_left_out_is_said() {
    assert_eq!(parsed("docker run -i --rm --name x img").notes, Vec::<String>::new());
    let notes =
        parsed("docker run -p 1:1 --platform linux/amd64 -v /data --pids-limit -1 img").notes.join("\n");
    for flag in ["`-p`", "`--platform`", "`-v`", "`--pids-limit`"] {
        assert!(
            notes.contains(&format!("{flag} is left out: ")) || notes.contains(flag),
            "{flag} in {notes}"
        );
    }
    assert!(parsed("npx --prefer-offline pkg").notes[0].starts_with("`--prefer-offline` is left out: "));
}

#[test]
fn what_would_weaken_a_session_is_refused() {
    for (line, why) in [
        ("docker run --privileged img", "rules the machine"),
        ("docker run --net=mynet img", "sessions share no network"),
        ("docker run -v /var/run/docker.sock:/var/run/docker.sock img", "engine's socket rules"),
        ("docker run --mount type=bind,src=/run,dst=/r img", "engine's socket rules"),
        ("docker run --pid=host img", "shares nothing"),
        ("docker run --ipc host img", "`--shm-size 1g`"),
        ("docker run --userns=host img", "shares nothing"),
        ("docker run --cap-add ALL img", "rules the machine"),
        ("docker run --security-opt seccomp=unconfined img", "protects the machine"),
        ("docker run --device /dev/kvm img", "sessions share nothing"),
        ("docker run -d img", "input and output"),
        ("docker run --env-file .env img", "write the file's absolute path"),
        ("docker run --pull sometimes img", "write `always`, or leave it out"),
        ("docker run '-v ~/.aws:/root/.aws' img", "make two words of them: \"-v\", \"VALUE\""),
        ("docker run '--env A=b' img", "make two words of them: \"--env\", \"VALUE\""),
        ("docker run --add-host=db:10.0.0.5 img", "no other machine"),
        ("docker run --link db img", "no other container"),
        ("docker run -v ./data:/data img", "write an absolute path"),
        ("docker run --what img", "berth does not know `--what` of `docker run`"),
        ("docker run -i", "names no image"),
        ("docker exec -i c cmd", "shared by all sessions"),
        ("docker -H tcp://x run img", "chooses another engine"),
        ("docker compose run x", "compose file"),
    ] {
        let said = refused(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn packages_of_this_machine_are_refused() {
    for (line, why) in [
        ("npx ./server", "node /ABSOLUTE/PATH/TO/FILE"),
        ("npx --prefix /x pkg", "none of this machine's folders"),
        ("npx --no-install pkg", "installed on this machine"),
        ("npx -c 'a | b'", "a shell command"),
        ("npx https://example.org/x.tgz", "[@SCOPE/]NAME[@VERSION]"),
        ("npx github:me/x", "[@SCOPE/]NAME[@VERSION]"),
        ("npx pkg@npm:other", "[@SCOPE/]NAME[@VERSION]"),
        ("npx --registry=https://r pkg", "`npm_registry` in [bake]"),
        ("npx -y", "names no package"),
        ("npx -p pkg", "names a package and no program"),
        ("npx -p pkg ../x", "names no program"),
        ("npm exec pkg --flag", "`npm exec` takes `--flag` for its own"),
        ("npm install pkg", "`npm` runs a script of a project"),
        ("uvx --from . tool", "a folder of this machine"),
        ("uvx ./x", "a folder of this machine"),
        ("uvx --index-url https://i pkg", "`python_index`"),
        ("uvx python -m mcp_server", "uvx --from PACKAGE python -m mcp_server"),
        ("pipx run python3 -m mcpgateway.wrapper", "names Python itself, which is no package"),
        ("uvx --from git+https://hunter2@github.com/a/b c", "a repository with a login"),
        ("uvx --with git+https://u:hunter2@github.com/a/b c", "a repository with a login"),
        ("uvx --python /usr/bin/python3 x", "a version such as 3.12"),
        ("uvx 'a;b'", "write it as NAME"),
        ("uv run server.py", "neither a project's folder nor packages"),
        ("uv run /home/me/shop/server.py", "uv --directory /home/me/shop run server.py"),
        ("uv --directory shop run server.py", "write the folder's absolute path"),
        ("uv --project /home/me/shop run server.py", "names a file without its folder"),
        ("uv run --with-editable . server.py", "name packages with `--with`"),
        ("uv sync", "starts no server this way"),
        ("python -m mcp_server_git", "which may be `mcp-server-git`"),
        ("python -c 'print()'", "names no file"),
        ("node", "names no file"),
        ("node -e 1", "names no file"),
        ("node server.js", "its absolute path"),
        ("node /usr/lib/x/server.js", "cannot be mounted"),
        ("node /server.js", "cannot be mounted"),
        ("node /home/me/../x/server.js", "cannot be mounted"),
        ("bash -c npx", "names no package"),
        ("bash /home/me/start.sh", "a shell runs a script of this machine"),
        ("npx tsx src/index.ts", "its absolute path"),
        ("npx tsx", "names no file"),
        ("deno run -A server.ts", "denoland/deno"),
        ("deno task start", "deno run npm:PACKAGE"),
        (
            "dnx Azure.Mcp --yes -- azmcp server start",
            "args = [\"dnx\", \"Azure.Mcp\", \"--yes\", \"--\", …]",
        ),
        ("java -cp a.jar Main", "one jar"),
        ("java -Dx=1", "names no jar"),
        ("java -jar app.jar", "its absolute path"),
        ("npm start", "dist/index.js"),
        ("wsl.exe npx p", "is a program of Windows"),
        ("docker run -i -v ./x:/x img", "`${CLAUDE_PROJECT_DIR:-.}` for the client's project"),
        ("poetry run server", "uv --directory FOLDER run"),
        ("serena start", "`serena` is no runner that berth knows; berth understands `npx"),
        ("", "there is no command; berth understands `npx"),
    ] {
        let said = refused(line);
        assert!(said.contains(why), "{line}: {said}");
    }
}

#[test]
fn scripts_run_where_they_are() {
    assert_eq!(
        table("node --no-warnings -r x /home/me/proj/dist/index.js --port '$1'"),
        [
            "image = \"base-node\"",
            "command = [\"node\"]",
            "args = [\"--no-warnings\", \"-r\", \"x\", \"/home/me/proj/dist/index.js\", \"--port\", \"$$1\"]",
            "mounts = [\"/home/me/proj:/home/me/proj\"]",
        ]
    );
    assert_eq!(parsed("node /home/me/proj/dist/index.js").name, "proj");
    assert_eq!(
        table("/usr/bin/python3.12 -u ${HOME}/w/weather.py"),
        [
            "image = \"base-python\"",
            "command = [\"python3\"]",
            "args = [\"-u\", \"${HOME}/w/weather.py\"]",
            "mounts = [\"${HOME}/w:${HOME}/w\"]",
        ]
    );
    assert_eq!(parsed("python /home/me/w/weather.py").name, "weather");
}

#[test]
fn variables_before_a_command_are_the_servers() {
    assert_eq!(table("env A=1 'B=$x' npx pkg"), ["npx = \"pkg\"", "env = { A = \"1\", B = \"$$x\" }"]);
    assert!(refused("env -i A=1 npx pkg").contains("`-i` of `env`"));
}

#[test]
fn a_credential_is_in_no_message() {
    for line in [
        "docker run -e 1TOKEN=hunter2 img",
        "docker run -e TOKEN=hunter2 --memory=hunter2 img",
        "docker run --what=hunter2 img",
        "npx --registry=https://u:hunter2@r pkg",
        "npx https://u:hunter2@r/x",
        "npm exec pkg --token=hunter2",
        "uvx --from git+ssh://hunter2@x y",
        "uvx --index https://hunter2@x y",
        "python hunter2",
        "env A=hunter2 -S=hunter2 npx pkg",
        "bash -c 'A=hunter2 npx $(x)'",
        "bash -c 'hunter2/x=y'",
        "deno run hunter2",
        "uv run --with a --project=hunter2 b.py",
        "java -cp hunter2",
        "dnx 'hunter2 x'",
    ] {
        let said = refused(line);
        assert!(!said.contains("hunter2"), "{line}: {said}");
    }
}

proptest! {
    #[test]
    fn no_line_panics(
        program in "(npx|npm|uvx|uv|docker|node|python|env|cmd|pipx|bash|deno|java|dnx)",
        words in prop::collection::vec(
            r"(exec|run|tool|/c|-c|--|tsx|cd|&&|-[a-zA-Z]{1,4}|--(package|from|with|mount|volume|env|tmpfs|memory)(=\PC{0,12})?|\PC{0,12}|/[a-z/.]{0,12})",
            0..8,
        ),
    ) {
        let argv: Vec<String> = [program].into_iter().chain(words).collect();
        if let Ok(parsed) = parse(&argv) {
            let _ = parsed.table(|_| "base".to_owned()).to_string();
            prop_assert!(crate::values::is_server_name(&parsed.name));
        }
    }
}
