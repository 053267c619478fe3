//! Secrets from files, commands and the keyring: the server has them, and nobody else; nothing that reads them stays.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::harness::{
    Berth, PATIENCE, Session, containers_of, daemon, docker_says, eventually, expect_gone, home, inspect,
};

/// A container that was never taken ends by itself: the keeper's four seconds, behind a start that the daemon finishes alone.
const NEVER_TAKEN_WITHIN: Duration = Duration::from_secs(10);

/// What was given up while it started.
fn gone(client: &str) {
    eventually("the end of what was never taken", NEVER_TAKEN_WITHIN, || {
        containers_of(client).is_empty().then_some(())
    });
}

/// A configuration with the server `kept`, whose secrets are these.
fn with_secrets(secrets: &str) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("berth.toml");
    let config = fs::read_to_string(home().join("berth.toml")).unwrap();
    let secrets = secrets.replace("FOLDER", &folder.path().display().to_string());
    let server = format!("[servers.kept]\nimage = \"berth-fixture\"\nsecrets = {{ {secrets} }}\n");
    fs::write(&file, format!("{config}\n{server}")).unwrap();
    let path = file.to_str().unwrap().to_owned();
    (folder, path)
}

fn run(config: &str, client: &str) -> Berth {
    Berth::run("kept").client(client).args(["--config", config])
}

fn write_private(path: &Path, text: &str) {
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn hello() -> Value {
    json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "t", "version": "1" } } })
}

fn variable(session: &mut Session, name: &str) -> String {
    session.call("env", json!({ "name": name }))["structuredContent"]["value"].as_str().unwrap().to_owned()
}

#[test]
fn a_file_and_a_command_reach_the_server_and_nobody_else() {
    let (folder, config) = with_secrets(
        "F = { file = \"f\" }, C = { command = [\"sh\", \"-c\", \"cat; printf hunter2-of-command\"] }",
    );
    write_private(&folder.path().join("f"), "hunter2-of-file\n");
    let trace = folder.path().join("trace");
    let option = format!("--trace={}", trace.display());
    let mut session = run(&config, "it-kept").args([&option, "--trace-bodies"]).start();
    session.initialize();
    assert_eq!(variable(&mut session, "F"), "hunter2-of-file");
    assert_eq!(variable(&mut session, "C"), "hunter2-of-command");
    session.call("stderr", json!({ "text": "hunter2-of-file" }));
    let container = session.container();
    assert!(!inspect(&container).to_string().contains("hunter2"), "the container's configuration shows it");
    assert!(!docker_says(&["top", &container, "-eo", "pid,args"]).contains("hunter2"));
    let id = inspect(&container)["Config"]["Labels"]["io.mcp-berth.session"].as_str().unwrap().to_owned();
    assert_eq!(session.close().exit_code(), Some(0));
    let traced = fs::read_to_string(&trace).unwrap();
    assert!(traced.contains("[redacted]") && !traced.contains("hunter2"), "{traced}");
    assert!(traced.contains("wait for the secrets"), "{traced}");
    let history = fs::read_to_string(home().join(format!("state/sessions/{id}.jsonl"))).unwrap();
    assert!(history.contains("[redacted]") && !history.contains("hunter2"), "{history}");
    assert!(!session.stderr().contains("hunter2-of-command"));
}

#[test]
fn nothing_is_read_for_a_dry_run() {
    let (folder, config) = with_secrets("C = { command = [\"sh\", \"-c\", \"echo x >FOLDER/ran\"] }");
    let mut berth = crate::harness::berth();
    let said = berth.args(["run", "--dry-run", "kept", "--config", &config]).output().unwrap();
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    assert!(said.contains("C=[redacted]"), "{said}");
    assert!(!folder.path().join("ran").exists());
}

#[test]
fn a_secret_that_cannot_be_had_is_told_to_the_client() {
    let (_folder, config) =
        with_secrets("C = { command = [\"sh\", \"-c\", \"echo it is locked >&2; exit 2\"] }");
    let mut session = run(&config, "it-kept-not").start();
    session.send(&hello());
    let answer = session.answer(0);
    let message = answer["error"]["message"].as_str().unwrap();
    for part in
        ["server `kept` cannot have its secret `C`", "failed (exit status: 2): it is locked", "berth.toml:"]
    {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(answer["error"]["code"], 69);
    assert_eq!(session.exit_code(), Some(69));
    expect_gone("it-kept-not");
}

#[test]
fn a_command_that_asks_on_the_clients_terminal_is_told_at_once() {
    daemon();
    let (folder, config) = with_secrets("C = { command = [\"sh\", \"-c\", \"read x </dev/tty; echo $x\"] }");
    let here = |name: &str| folder.path().join(name).display().to_string();
    fs::write(here("input"), format!("{}\n", hello())).unwrap();
    let script = format!(
        "mkfifo {pipe}; exec 3<>{pipe}; cat {input} >&3; \
         \"$BERTH\" run kept --client it-kept-tty --config {config} <{pipe} >{out} 2>&1 3>&-",
        pipe = here("pipe"),
        input = here("input"),
        out = here("out"),
    );
    // A terminal of its own, in whose foreground berth is.
    let mut terminal = Command::new("script");
    terminal.args(["-qec", &script, "/dev/null"]).env("BERTH", env!("CARGO_BIN_EXE_berth"));
    let ended = terminal.env("BERTH_HOME", home()).stdin(Stdio::null()).output();
    assert_eq!(ended.expect("`script` of util-linux").status.code(), Some(69));
    let said = fs::read_to_string(here("out")).unwrap();
    assert!(said.contains("asks on a terminal, where it is not heard; type `sh -c"), "{said}");
    expect_gone("it-kept-tty");
}

#[test]
fn a_command_that_waits_ends_with_its_client() {
    let (folder, config) = with_secrets(
        "C = { command = [\"sh\", \"-c\", \"sleep 600 & echo $! >FOLDER/part; mv FOLDER/part FOLDER/pid; wait\"] }",
    );
    let pid = folder.path().join("pid");
    let mut session = run(&config, "it-kept-wait").start();
    let pid = eventually("the command", PATIENCE, || fs::read_to_string(&pid).ok());
    let lives = || {
        let stat = fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
        stat.is_ok_and(|stat| !stat.contains(") Z "))
    };
    assert!(lives());
    // A client that has said nothing and closes its input may still want its server; one that ends us does not.
    assert_eq!(session.signal("-TERM").exit_code(), Some(0));
    eventually("its end", PATIENCE, || (!lives()).then_some(()));
    gone("it-kept-wait");
}

#[test]
fn of_several_servers_each_ones_secrets_are_hidden() {
    let (folder, config) = with_secrets("C = { command = [\"sh\", \"-c\", \"printf hunter2-of-kept\"] }");
    let other = "[servers.other]\nimage = \"berth-fixture\"\nsecrets = { C = { command = [\"sh\", \"-c\", \"printf hunter2-of-other\"] } }\n";
    fs::write(&config, format!("{}\n{other}", fs::read_to_string(&config).unwrap())).unwrap();
    let trace = folder.path().join("trace");
    let option = format!("--trace={}", trace.display());
    let session = Berth::several(&["kept", "other"]).client("it-kept-several");
    let mut session = session.args(["--config", &config, &option, "--trace-bodies"]).started();
    for server in ["kept", "other"] {
        let answer = session.call(&format!("{server}__env"), json!({ "name": "C" }));
        assert_eq!(answer["structuredContent"]["value"], format!("hunter2-of-{server}"));
    }
    assert_eq!(session.close().exit_code(), Some(0));
    let traced = fs::read_to_string(&trace).unwrap();
    assert!(traced.contains("[redacted]") && !traced.contains("hunter2-"), "{traced}");
    expect_gone("it-kept-several");
}

#[test]
fn the_server_that_follows_a_lost_one_has_the_same_secret() {
    let (folder, config) =
        with_secrets("C = { command = [\"sh\", \"-c\", \"echo x >>FOLDER/count; printf value-one\"] }");
    let mut session = run(&config, "it-kept-again").args(["--on-failure", "restart"]).started();
    let container = session.container();
    let first = inspect(&container)["Id"].take();
    docker_says(&["kill", &container]);
    eventually("another server", PATIENCE, || {
        let answer = session.request("tools/call", json!({ "name": "env", "arguments": { "name": "C" } }));
        (answer["result"]["structuredContent"]["value"] == "value-one").then_some(())
    });
    assert_ne!(inspect(&session.container())["Id"], first);
    assert_eq!(fs::read_to_string(folder.path().join("count")).unwrap(), "x\n");
}

/// A bus of its own with a keyring in it: what `script` does there. `$BERTH` is the program.
fn with_keyring(folder: &Path, script: &str) -> (Option<i32>, String, String) {
    let unlock = "printf '\\n' | gnome-keyring-daemon --unlock --components=secrets >/dev/null || exit 99\n";
    let mut bus = Command::new("dbus-run-session");
    bus.args(["--", "sh", "-c", &format!("{unlock}{script}")])
        .env("BERTH", env!("CARGO_BIN_EXE_berth"))
        .env("BERTH_HOME", home())
        .env("HOME", folder)
        .env("XDG_RUNTIME_DIR", folder)
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .env_remove("XDG_DATA_HOME")
        .stdin(Stdio::null());
    let output = bus.output().expect("the package dbus-daemon, which fixtures/setup.sh installs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let error = text(&output.stderr);
    assert_ne!(
        output.status.code(),
        Some(99),
        "the package gnome-keyring, which fixtures/setup.sh installs: {error}"
    );
    (output.status.code(), text(&output.stdout), error)
}

#[test]
fn the_keyring_keeps_secrets_and_a_session_gets_them() {
    daemon();
    let (folder, config) = with_secrets("K = { keyring = \"a name\" }");
    let hello = hello();
    let call = json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
        "name": "env", "arguments": { "name": "K" } } });
    fs::write(folder.path().join("input"), format!("{hello}\n{call}\n")).unwrap();
    let script = format!(
        "set -e
         \"$BERTH\" secret list
         printf 'hunter2-first' | \"$BERTH\" secret set 'a name'
         printf 'hunter2-of-keyring\\n' | \"$BERTH\" secret set 'a name'
         printf other | \"$BERTH\" secret set other
         echo names: $(\"$BERTH\" secret list)
         mkfifo {pipe}
         exec 3<>{pipe}
         cat {input} >&3
         \"$BERTH\" run kept --client it-keyring --config {config} <{pipe} >{out} 3>&- & session=$!
         until grep -q '\"id\":1' {out}; do sleep 0.1; done
         exec 3>&-
         wait $session
         grep '\"id\":1' {out}
         \"$BERTH\" secret remove 'a name'
         echo left: $(\"$BERTH\" secret list)
         \"$BERTH\" secret remove 'a name' || echo again: $?
         \"$BERTH\" run kept --client it-keyring --config {config} <{input} || echo without: $?",
        input = folder.path().join("input").display(),
        out = folder.path().join("out").display(),
        pipe = folder.path().join("pipe").display(),
    );
    let (code, said, error) = with_keyring(folder.path(), &script);
    assert_eq!(code, Some(0), "{said}{error}");
    assert!(said.starts_with("names: a name other\n"), "{said}{error}");
    assert!(said.contains("hunter2-of-keyring"), "{said}{error}");
    assert!(said.contains("left: other\nagain: 78\n") && said.contains("without: 78\n"), "{said}{error}");
    assert!(error.contains("the keyring's `a name` is not there; type `berth secret list`"), "{error}");
    assert!(error.contains("type `berth secret set 'a name'`, or correct"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    // The last one was given up while the daemon made its container, which waits to be taken and then ends by itself.
    gone("it-keyring");
}

#[test]
fn a_locked_keyring_and_none_are_told_apart() {
    let (folder, config) = with_secrets("K = { keyring = \"x\", timeout = \"5s\" }");
    fs::write(folder.path().join("input"), format!("{}\n", hello())).unwrap();
    // Nobody is here to be asked.
    let lock = "dbus-send --session --print-reply --dest=org.freedesktop.secrets /org/freedesktop/secrets \
         org.freedesktop.Secret.Service.Lock array:objpath:/org/freedesktop/secrets/collection/login >/dev/null";
    let script = format!(
        "set -e
         printf x1 | \"$BERTH\" secret set x
         {lock}
         mkfifo {pipe}
         exec 3<>{pipe}
         cat {input} >&3
         \"$BERTH\" run kept --client it-keyring-locked --config {config} <{pipe} 3>&- || echo locked: $?",
        input = folder.path().join("input").display(),
        pipe = folder.path().join("pipe").display(),
    );
    let (_, said, error) = with_keyring(folder.path(), &script);
    assert!(
        error.contains("the keyring's `x` cannot be read: the keyring is locked; unlock it"),
        "{said}{error}"
    );
    let mut alone = Command::new(env!("CARGO_BIN_EXE_berth"));
    alone.args(["secret", "list"]).env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nowhere").stdin(Stdio::null());
    let output = alone.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(69), "{error}");
    assert!(error.contains("the keyring cannot be read: no keyring answers"), "{error}");
}
