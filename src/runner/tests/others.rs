//! Lines of runners that stand for another: shells, Java, Deno, `uv run`, packages that run a file.

use super::*;

#[test]
fn jars_run_where_they_are() {
    assert_eq!(
        table("java -Dspring.ai.mcp.server.stdio=true -jar /home/alex/weather/server-0.0.1.jar --x"),
        [
            "image = \"base-java\"",
            "command = [\"java\"]",
            "args = [\"-Dspring.ai.mcp.server.stdio=true\", \"-jar\", \"/home/alex/weather/server-0.0.1.jar\", \"--x\"]",
            "mounts = [\"/home/alex/weather:/home/alex/weather\"]",
        ]
    );
}

#[test]
fn a_package_that_runs_a_file_has_its_folder() {
    assert_eq!(
        table("npx tsx --tsconfig /x/t.json /home/alex/shop/src/index.ts --port 1"),
        [
            "npx = \"tsx --tsconfig /x/t.json /home/alex/shop/src/index.ts --port 1\"",
            "mounts = [\"/home/alex/shop:/home/alex/shop\"]",
        ]
    );
    assert_eq!(parsed("npx -y tsx watch /home/alex/shop/src/index.ts").name, "shop");
    assert_eq!(table("npx -y other /home/alex/shop/src/index.ts").len(), 1, "another package's argument");
}

#[test]
fn uv_run_is_packages_or_a_project() {
    for (line, name, expected) in [
        (
            "uv run --with 'mcp[cli]' mcp run /home/alex/bookshop/server.py",
            "bookshop",
            ["uvx = \"--from 'mcp[cli]' mcp run /home/alex/bookshop/server.py\"", BOOKSHOP].as_slice(),
        ),
        (
            "/home/alex/.local/bin/uv run --frozen --with mcp[cli]==2.0.0 mcp run /home/alex/bookshop/server.py:app",
            "bookshop",
            &["uvx = \"--from 'mcp[cli]==2.0.0' mcp run /home/alex/bookshop/server.py:app\"", BOOKSHOP],
        ),
        (
            "uv run --with fastmcp,httpx -p 3.12 /home/alex/bookshop/books.py --x",
            "books",
            &[
                "uvx = \"--with httpx --python 3.12 --from fastmcp python /home/alex/bookshop/books.py --x\"",
                BOOKSHOP,
            ],
        ),
        ("uv run --with a python -m b", "a", &["uvx = \"--from a python -m b\""]),
        ("uv run --with a -m b --c", "a", &["uvx = \"--from a python -m b --c\""]),
        (
            "uv --directory /home/alex/bookshop run server.py -v",
            "bookshop",
            &[
                "uv = \"--directory /home/alex/bookshop run python /home/alex/bookshop/server.py -v\"",
                BOOKSHOP,
                START,
            ],
        ),
        (
            "uv run --project /home/alex/bookshop --extra cli books --port 1",
            "books",
            &["uv = \"--directory /home/alex/bookshop run --extra cli books --port 1\"", BOOKSHOP],
        ),
    ] {
        assert_eq!(table(line), expected, "{line}");
        assert_eq!(parsed(line).name, name, "{line}");
    }
}

const BOOKSHOP: &str = "mounts = [\"/home/alex/bookshop:/home/alex/bookshop\"]";
const START: &str = "workdir = \"/home/alex/bookshop\"";

#[test]
fn a_shell_before_one_plain_command_is_left_out() {
    for (line, expected) in [
        ("bash -c 'npx -y pkg --flag \"a b\"'", &["npx = \"pkg --flag 'a b'\""][..]),
        ("sh -lc 'exec uvx pkg'", &["uvx = \"pkg\""]),
        (
            "bash -l -c 'A=1 B=$C npx pkg ~/x'",
            &["npx = \"pkg '${HOME}/x'\"", "env = { A = \"1\", B = \"${C}\" }"],
        ),
        (
            "zsh -c 'export A=b && source ~/.nvm/nvm.sh && nvm use 22 && npx pkg'",
            &["npx = \"pkg\"", "env = { A = \"b\" }"],
        ),
        (
            "bash -c 'cd /home/alex/mcp-server-mysql && node dist/index.js'",
            &[
                "image = \"base-node\"",
                "command = [\"node\"]",
                "args = [\"/home/alex/mcp-server-mysql/dist/index.js\"]",
                "mounts = [\"/home/alex/mcp-server-mysql:/home/alex/mcp-server-mysql\"]",
                "workdir = \"/home/alex/mcp-server-mysql\"",
            ],
        ),
        (
            "bash -c 'cd /home/alex/bookshop && uv run server.py'",
            &[
                "uv = \"--directory /home/alex/bookshop run python /home/alex/bookshop/server.py\"",
                BOOKSHOP,
                START,
            ],
        ),
        ("cmd /c npx pkg", &["npx = \"pkg\""]),
        ("bash -c 'npx mcp-remote https://x/mcp?a=b'", &["npx = \"mcp-remote 'https://x/mcp?a=b'\""]),
    ] {
        assert_eq!(table(line), expected, "{line}");
    }
}

#[test]
fn what_needs_a_shell_is_refused() {
    for (line, why) in [
        ("npx a; rm -rf /", "more than one command"),
        ("npx a | tee x", "more than one command"),
        ("npx a & npx b", "more than one command"),
        ("npx a || npx b", "more than one command"),
        ("npx a && npx b", "more than one command"),
        ("npx $(cat x)", "a `$` that is no plain variable"),
        ("npx `cat x`", "a command in it"),
        ("npx \"`cat x`\"", "a command in it"),
        ("npx \"$(cat x)\"", "a `$` that is no plain variable"),
        ("npx a 2>/dev/null", "a redirection"),
        ("npx a < x", "a redirection"),
        ("(npx a)", "a group of commands"),
        ("npx a *.json", "a pattern of files"),
        ("cd x && npx a", "not named by its absolute path"),
        ("npx 'a", "an unclosed quote"),
        ("npx a\nnpx b", "more than one command"),
        ("npx ${A:-$(x)}", "a `$` that is no plain variable"),
        ("npx '${A}'", "a `$` in single quotes"),
        ("npx ~root/x", "another user's home folder"),
        ("source ./env && npx a", "more than one command"),
    ] {
        let argv = ["bash", "-c", line].map(str::to_owned);
        let said = parse(&argv).map(|parsed| panic!("{line}: {parsed:?}")).unwrap_err().to_string();
        assert!(said.contains(why), "{line}: {said}");
        assert!(said.contains("berth starts no shell"), "{line}: {said}");
    }
    assert!(refused("bash -c 'npx a' x").contains("words behind it"));
    assert!(refused("bash -O extglob -c x").contains("a shell runs a script"));
}

#[test]
fn packages_of_other_runners() {
    for (line, name, expected) in [
        (
            "deno run --allow-env=NO_DEPRECATION,TRACE_DEPRECATION --allow-net npm:@upstash/context7-mcp",
            "context7-mcp",
            "npx @upstash/context7-mcp",
        ),
        ("deno run -A npm:pkg@1/tool --x", "pkg", "npx -p pkg@1 tool --x"),
        ("deno x -A npm:/pkg", "pkg", "npx pkg"),
        ("uvx git+https://github.com/a/b.git@v1", "b", "uvx git+https://github.com/a/b.git@v1"),
        (
            "uvx serena-agent@git+https://github.com/a/b run",
            "serena-agent",
            "uvx serena-agent @ git+https://github.com/a/b run",
        ),
        (
            "uvx --from 'b[cli] @ git+https://github.com/a/b' tool",
            "tool",
            "uvx --from b[cli] @ git+https://github.com/a/b tool",
        ),
        ("pipx run pkg --x", "pkg", "uvx pkg --x"),
        ("uvx --with pkg python -m pkg", "pkg", "uvx --from pkg python -m pkg"),
    ] {
        assert_eq!(package_line(line), expected, "{line}");
        assert_eq!(parsed(line).name, name, "{line}");
    }
    assert_eq!(
        table("npx -y --node-options=--experimental-vm-modules pkg@1"),
        ["npx = \"pkg@1\"", "env = { NODE_OPTIONS = \"--experimental-vm-modules\" }"]
    );
    let key = words("--node-options=--x pkg");
    assert!(parse_words(Runner::Npx, &key).unwrap_err().to_string().contains("into the server's `env`"));
    assert!(refused("uvx a@git+https://hunter2@github.com/a/b").contains("a repository with a login"));
}

#[test]
fn a_whole_line_is_to_be_split_and_not_shown() {
    let line = "npx -y mcp-remote https://x/?key=hunter2".to_owned();
    let said = parse(std::slice::from_ref(&line)).unwrap_err().to_string();
    assert!(said.contains("first word as `command`") && !said.contains("hunter2"), "{said}");
    let said = parse(&["KEY=hunter2/x".to_owned()]).unwrap_err().to_string();
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn a_line_that_starts_in_a_folder_sees_it() {
    let parsed = shell::within("/home/alex/shop", &words("npx pkg")).unwrap();
    assert_eq!(parsed.mounts, ["/home/alex/shop:/home/alex/shop"]);
    assert!(
        parsed
            .settings
            .iter()
            .any(|(key, value)| *key == "workdir" && value.as_str() == Some("/home/alex/shop"))
    );
    assert!(
        shell::within("/etc", &words("npx pkg"))
            .unwrap_err()
            .to_string()
            .contains("the folder that it starts in")
    );
}

#[test]
fn what_uv_is_told_of_choosing_versions_is_left_out_with_a_word() {
    for runner in ["uvx", "uv run --with a"] {
        for flag in ["--prerelease=allow", "--resolution lowest", "--torch-backend auto"] {
            let parsed = parsed(&format!("{runner} {flag} b"));
            let name = flag.split(['=', ' ']).next().unwrap();
            assert!(parsed.notes[0].contains(&format!("`{name}` is left out")), "{:?}", parsed.notes);
        }
    }
    assert!(parsed("uvx --prerelease allow b").notes[0].contains("`PACKAGE==1.0rc1`"));
}

#[test]
fn a_program_of_a_folder_is_its_projects() {
    for line in [
        "uvx --from /home/alex/bookshop books --x",
        "uvx --from file:///home/alex/bookshop books --x",
        "uv tool run --from /home/alex/bookshop books --x",
    ] {
        assert_eq!(
            table(line),
            [
                "uv = \"--directory /home/alex/bookshop run books --x\"",
                "mounts = [\"/home/alex/bookshop:/home/alex/bookshop\"]",
            ],
            "{line}"
        );
    }
    assert!(
        table("uvx --with b -p 3.12 --from /home/alex/bookshop books")[0]
            .contains("--directory /home/alex/bookshop run --with b --python 3.12 books")
    );
    // A folder without its place is nobody's.
    assert!(parse(&["uvx", "--from", ".", "books"].map(str::to_owned)).is_err());
    assert!(parse_words(Runner::Uvx, &["--from", "/home/alex/b", "books"].map(str::to_owned)).is_err());
}

#[test]
fn a_module_without_its_package_is_guessed_at() {
    for line in ["pipx run python3 -m mcpgateway.wrapper", "uvx python -m mcpgateway.wrapper"] {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let error = parse(&words).unwrap_err();
        assert!(error.message.contains("Python itself"), "{error}");
        assert!(
            error.next.contains("`uvx --from PACKAGE python -m mcpgateway.wrapper`")
                && error.next.contains("may be `mcpgateway`"),
            "{error}"
        );
    }
}
