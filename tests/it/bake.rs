//! Packages as servers: baked once inside the daemon, by the first session that needs them, through any interruption.
//!
//! Each test has a package of its own, because the tests run at once in one daemon.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{
    Berth, PATIENCE, Session, berth_says, docker, docker_command, docker_says, eventually, home, inspect,
    shared,
};

/// An installation downloads what it needs, and shares the machine with all other tests.
const BAKED_WITHIN: Duration = Duration::from_mins(5);

/// The image that a line needs, and the container that bakes it; it is baked anew.
fn forget_all(line: &[&str]) -> [String; 2] {
    let plan = [&["run", "--dry-run", "--"], line].concat();
    let (code, plan, error) = berth_says(&plan);
    assert_eq!(code, Some(0), "{error}");
    let plan: Value = serde_json::from_str(&plan).unwrap();
    let [image, container] = [&plan["container"]["Image"], &plan["bake"]["container"]]
        .map(|name| name.as_str().unwrap().to_owned());
    docker(&["rmi", "--force", &image]);
    docker(&["rm", "--force", &container]);
    [image, container]
}

fn forget(line: &[&str]) -> String {
    let [image, _] = forget_all(line);
    image
}

/// Sends the first request; gives its answer, however long the baking takes.
pub(crate) fn first_answer(session: &mut Session) -> Value {
    session.send(&json!({ "jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "it", "version": "1" } } }));
    let line = eventually("the first answer", BAKED_WITHIN, || session.line_within(PATIENCE));
    serde_json::from_slice(&line).unwrap()
}

fn installations(image: &str) -> Vec<String> {
    let label = format!("label=io.mcp-berth.bake={image}");
    let found = docker_says(&[
        "ps",
        "-a",
        "--filter",
        &label,
        "--filter",
        "name=berth-bake-",
        "--format",
        "{{.Names}}",
    ]);
    found.lines().map(str::to_owned).collect()
}

/// Counts the installations of an image that begin; the daemon remembers few of its events, so it listens.
struct Watch {
    events: Child,
    names: Arc<Mutex<Vec<String>>>,
}

impl Watch {
    fn new(image: &str) -> Self {
        let label = format!("label=io.mcp-berth.bake={image}");
        let format = "{{.Actor.Attributes.name}}";
        let args = ["events", "--filter", "event=create", "--filter", &label, "--format", format];
        let mut events = docker_command(&args).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(events.stdout.take().unwrap()).lines();
        let names = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&names);
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|name| heard.lock().unwrap().push(name));
        });
        let watch = Self { events, names };
        // A container of no image's makes it certain that the daemon tells us by now.
        let probe = format!("berth-bake-probe-{}", watch.events.id());
        eventually("the daemon's events", PATIENCE, || {
            let label = format!("io.mcp-berth.bake={image}");
            let made = docker(&["create", "--name", &probe, "--label", &label, "berth-everything"]);
            assert!(made.status.success(), "{made:?}");
            docker(&["rm", &probe]);
            watch.names.lock().unwrap().contains(&probe).then_some(())
        });
        watch
    }

    fn begun(&self) -> usize {
        let names = self.names.lock().unwrap();
        names.iter().filter(|name| name.starts_with("berth-bake-") && !name.contains("probe")).count()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = self.events.kill();
        let _ = self.events.wait();
    }
}

#[test]
fn the_first_start_bakes_and_the_second_asks_nobody() {
    const LINE: [&str; 3] = ["npx", "-y", "@modelcontextprotocol/server-everything@2026.8.31"];
    let image = forget(&LINE);
    let mut first =
        Berth::line().client("bake-first").args(["--read-only", "--", LINE[0], LINE[1], LINE[2]]).start();
    assert_eq!(first_answer(&mut first)["result"]["serverInfo"]["name"], "mcp-servers/everything");
    assert!(
        first.stderr().contains("baked `@modelcontextprotocol/server-everything@2026.8.31`"),
        "{}",
        first.stderr()
    );
    assert_eq!(installations(&image), Vec::<String>::new(), "its container has gone");
    first.close().wait();

    // Whatever would be downloaded now goes to a proxy that is not there.
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = std::fs::read_to_string(home().join("berth.toml")).unwrap();
    std::fs::write(config.path(), text.replace("[bake]", "[bake]\nproxy = \"http://127.0.0.1:9\"")).unwrap();
    let watch = Watch::new(&image);
    let mut second = Berth::line()
        .client("bake-second")
        .args(["--config", config.path().to_str().unwrap(), "--read-only", "--network", "none"])
        .args(["--", LINE[0], LINE[1], LINE[2]])
        .start();
    second.initialize();
    let sum = second.call_text("get-sum", json!({ "a": 2, "b": 3 }));
    assert!(sum.contains('5'), "{sum}");
    assert!(!second.stderr().contains("baking"), "{}", second.stderr());
    assert_eq!(watch.begun(), 0);

    // And with that proxy nothing else can be baked.
    let other = ["--", "npx", "@modelcontextprotocol/server-everything@latest"];
    let mut offline = Berth::line()
        .client("bake-offline")
        .args(["--config", config.path().to_str().unwrap()])
        .args(other)
        .start();
    let answer = first_answer(&mut offline);
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("or set `npm_registry`"), "{answer}");
}

#[test]
fn an_installation_outlives_the_berth_that_began_it() {
    const LINE: [&str; 2] = ["npx", "@modelcontextprotocol/server-memory@2026.8.31"];
    let image = forget(&LINE);
    let watch = Watch::new(&image);
    let start = |client| Berth::line().client(client).args(["--", LINE[0], LINE[1]]).start();
    let mut killed = start("bake-killed");
    // What it is installed on is fetched before.
    eventually("an installation that runs", BAKED_WITHIN, || {
        let names = installations(&image);
        (!names.is_empty() && inspect(&names[0])["State"]["Running"] == true).then_some(())
    });
    killed.signal("-KILL").wait();
    let mut next = start("bake-next");
    let answer = first_answer(&mut next);
    assert_eq!(answer["result"]["serverInfo"]["name"], "memory-server", "{answer}");
    assert_eq!(watch.begun(), 1, "the second start waited for the first one's installation");
    assert_eq!(installations(&image), Vec::<String>::new());
}

#[test]
fn an_installation_that_never_began_is_begun_anew() {
    const LINE: [&str; 5] =
        ["uvx", "--from", "mcp-server-time==2026.10.19", "mcp-server-time", "--local-timezone=UTC"];
    let [image, container] = forget_all(&LINE);
    // What a berth leaves that is killed between the two requests.
    let label = format!("io.mcp-berth.bake={image}");
    docker_says(&["create", "--name", &container, "--label", &label, "berth-everything"]);
    let mut session = Berth::line().client("bake-anew").args(["--"]).args(LINE).start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["result"]["serverInfo"]["version"], "2026.10.19", "{answer}");
    assert_eq!(installations(&image), Vec::<String>::new());
}

#[test]
fn an_installation_that_takes_too_long_is_ended() {
    const LINE: [&str; 2] = ["uvx", "mcp-server-time==2026.10.19.0"];
    let [image, container] = forget_all(&LINE);
    let label = format!("io.mcp-berth.bake={image}");
    let run = ["run", "--detach", "--name", &container, "--label", &label, "--entrypoint", "sleep"];
    docker_says(&[&run[..], &["berth-everything", "600"]].concat());
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let text = std::fs::read_to_string(home().join("berth.toml")).unwrap();
    std::fs::write(config.path(), text.replace("[bake]", "[bake]\ntime = \"1s\"")).unwrap();
    let mut session = Berth::line()
        .client("bake-long")
        .args(["--config", config.path().to_str().unwrap(), "--", LINE[0], LINE[1]])
        .start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["error"]["code"], 69, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains("the installation takes longer than 1s; raise `time` in [bake]"), "{message}");
    assert_eq!(installations(&image), Vec::<String>::new());
}

#[test]
fn those_who_come_together_bake_once() {
    const LINE: [&str; 4] = ["uvx", "mcp-server-time@2026.10.19", "--local-timezone", "UTC"];
    let image = forget(&LINE);
    let watch = Watch::new(&image);
    let start = |client| {
        let [runner, package, flag, zone] = LINE;
        Berth::line().client(client).args(["--read-only", "--", runner, package, flag, zone]).start()
    };
    let mut sessions = [start("bake-together-1"), start("bake-together-2"), start("bake-together-3")];
    for session in &mut sessions {
        let answer = first_answer(session);
        assert_eq!(answer["result"]["serverInfo"]["version"], "2026.10.19", "{answer}");
    }
    assert_eq!(watch.begun(), 1);
    assert_eq!(installations(&image), Vec::<String>::new());
    let labels: Value =
        serde_json::from_str(&docker_says(&["inspect", "--format", "{{json .Config}}", &image])).unwrap();
    assert_eq!(labels["Labels"]["io.mcp-berth.package-version"], "2026.10.19");
    assert_eq!(labels["User"], "65534:65534");
    let left = docker_says(&[
        "run",
        "--rm",
        "--network",
        "none",
        "--entrypoint",
        "sh",
        &image,
        "-c",
        "ls -A /opt/berth; find /opt/berth -name uv-receipt.toml; env",
    ]);
    let words: Vec<&str> = left.split_whitespace().collect();
    assert!(["bin", "ca.pem", "tools", "HOME=/tmp"].iter().all(|name| words.contains(name)), "{left}");
    for gone in ["tmp", "uv-receipt.toml", "UV_CACHE_DIR"] {
        assert!(
            !words.iter().any(|word| word.rsplit('/').next() == Some(gone) && *word != "HOME=/tmp"),
            "{gone} in {left}"
        );
    }
}

#[test]
fn a_package_that_is_not_there_is_explained_and_leaves_nothing() {
    const LINE: [&str; 2] = ["npx", "@modelcontextprotocol/there-is-no-such-server@1.0.0"];
    let image = forget(&LINE);
    let mut session = Berth::line().client("bake-missing").args(["--", LINE[0], LINE[1]]).start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["error"]["code"], 78, "{answer}");
    let message = answer["error"]["message"].as_str().unwrap();
    for part in
        ["cannot bake `@modelcontextprotocol/there-is-no-such-server@1.0.0`", "correct the package's name"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(session.close().exit_code(), Some(78));
    assert_eq!(installations(&image), Vec::<String>::new());
    assert!(!docker(&["image", "inspect", &image]).status.success());
}

#[test]
fn what_was_found_is_pinned_and_not_baked_again() {
    let config = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
    let path = config.path().to_str().unwrap();
    let text = std::fs::read_to_string(home().join("berth.toml")).unwrap();
    let server =
        "\n[servers.thinking] # mine\nnpx = \"@modelcontextprotocol/server-sequential-thinking\" # of old\n";
    std::fs::write(path, text.clone() + server).unwrap();
    let (code, said, error) = berth_says(&["bake", "--config", path, "thinking", "--pin"]);
    assert_eq!(code, Some(0), "{error}");
    let version = said.split_whitespace().nth(2).unwrap();
    let pinned = std::fs::read_to_string(path).unwrap();
    let line = format!("npx = \"@modelcontextprotocol/server-sequential-thinking@{version}\" # of old\n");
    assert!(pinned.starts_with(&text) && pinned.contains(&line), "{pinned}");
    assert!(pinned.contains("integrity = \"sha512-"), "{pinned}");

    let (code, said, error) = berth_says(&["bake", "--config", path, "thinking"]);
    assert_eq!(code, Some(0), "{error}");
    assert!(said.ends_with("baked before"), "{said}");
    // Another package under the same name and version is found out.
    std::fs::write(path, pinned.replace("integrity = \"sha512-", "integrity = \"sha512-x")).unwrap();
    let (code, _, error) = berth_says(&["bake", "--config", path, "thinking", "--update"]);
    assert_eq!(code, Some(78), "{error}");
    assert!(error.contains("has changed: its digest is"), "{error}");
    let (code, said, _) = berth_says(&["bake", "--config", path, "time"]);
    assert_eq!((code, said.as_str()), (Some(64), ""), "an image is nothing to bake");
}

#[test]
fn a_project_is_baked_from_its_files_and_runs_where_it_is() {
    const SERVER: &str = "import importlib.metadata, json, os, sys\n\
        def main():\n    sys.stdin.readline()\n    \
        name = f'{importlib.metadata.version(\"shop\")} {os.getcwd()} {sys.argv[1:]}'\n    \
        print(json.dumps({'jsonrpc': '2.0', 'id': 1, 'result': {'serverInfo': name}}), flush=True)\n    \
        sys.stdin.read()\n\
        if __name__ == '__main__': main()\n";
    let folder = shared("bake-project");
    std::fs::create_dir_all(folder.join("src")).unwrap();
    let about = |version: &str| {
        format!(
            "[project]\nname = \"shop\"\nversion = \"{version}\"\ndependencies = []\n[project.scripts]\nshop = \"shop:main\"\n"
        )
    };
    let write = |file: &str, text: &str| std::fs::write(folder.join(file), text).unwrap();
    write("pyproject.toml", &about("1.2.3"));
    write("src/shop.py", SERVER);
    let place = folder.to_str().unwrap();
    let by_name = ["uv", "--directory", place, "run", "shop", "-x"];
    let first = forget(&by_name);
    let said = |client: &str, line: &[&str]| {
        let run = line.iter().fold(Berth::line().client(client).args(["--"]), |run, word| run.args([*word]));
        let mut session = run.start();
        let answer = first_answer(&mut session);
        answer["result"]["serverInfo"].as_str().map_or_else(|| answer.to_string(), str::to_owned)
    };
    assert_eq!(said("bake-project", &by_name), format!("1.2.3 {place} ['-x']"));
    let file = ["uv", "run", "--directory", place, "src/shop.py"];
    forget(&file);
    assert_eq!(said("bake-project-file", &file), format!("1.2.3 {place} []"));
    // Another `pyproject.toml` is another image.
    write("pyproject.toml", &about("1.2.4"));
    assert_ne!(forget(&by_name), first);
    assert_eq!(said("bake-project-new", &by_name), format!("1.2.4 {place} ['-x']"));
}

#[test]
fn what_needs_a_compiler_is_baked_beside_one_and_runs_without() {
    // Its wheels are refused by a variable that is for the installation.
    const LINE: [&str; 7] = [
        "env",
        "UV_NO_BINARY_PACKAGE=ujson",
        "uvx",
        "--with",
        "ujson==5.10.0",
        "mcp-server-time==2026.10.19",
        "--local-timezone=UTC",
    ];
    let image = forget(&LINE);
    let mut session = Berth::line().client("bake-compiled").args(["--"]).args(LINE).start();
    let answer = first_answer(&mut session);
    assert_eq!(answer["result"]["serverInfo"]["version"], "2026.10.19", "{answer}");
    session.expect_stderr("needs a compiler or git, and is baked with them");
    let find = "command -v gcc make; find /opt/berth -name 'ujson*.so' | wc -l; command -v git";
    let left = docker_says(&["run", "--rm", "--network", "none", "--entrypoint", "sh", &image, "-c", find]);
    assert_eq!(left.split_whitespace().collect::<Vec<_>>(), ["1", "/usr/bin/git"]);
}
