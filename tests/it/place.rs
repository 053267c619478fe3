//! berth in a container with the engine's socket: it finds the daemon, refuses folders that the engine cannot see, and
//! leaves nothing.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::dind::own::host;
use crate::harness::{PATIENCE, eventually, shared};

const SOCKET: &str = "/var/run/docker.sock";
const HOME: &str = "/root/berth";

/// A development container with a daemon of its own; both are removed at the end.
struct Contained {
    name: String,
    dind: String,
    port: u16,
}

impl Contained {
    /// `options` are those of `docker run`.
    fn new(name: &str, port: u16, options: &[&str]) -> Self {
        assert!(
            std::os::unix::net::UnixStream::connect(SOCKET).is_ok(),
            "these tests hand the host's engine to a container, and none answers at {SOCKET}"
        );
        let contained = Self { name: format!("{name}-dev"), dind: format!("{name}-dind"), port };
        host(&["rm", "-f", &contained.name]);
        contained.run(options);
        contained
    }

    fn run(&self, options: &[&str]) {
        let socket = format!("{SOCKET}:{SOCKET}");
        let program = format!("{}:/usr/local/bin/berth:ro", env!("CARGO_BIN_EXE_berth"));
        let home = format!("BERTH_HOME={HOME}");
        let mut args = vec!["run", "-d", "--name", &self.name, "-v", &socket, "-v", &program, "-e", &home];
        args.extend(options);
        args.extend(["berth-base", "sleep", "3600"]);
        let run = Command::new("docker").args(args).output().expect("the docker CLI runs");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        self.configure("");
    }

    /// `dind` are more lines of that table.
    fn configure(&self, dind: &str) {
        let config = format!(
            "[dind]\nname = \"{}\"\nimage = \"berth-dind\"\nport = {}\n{dind}\n\
             [defaults]\nstandby = 0\n[servers.fixture]\nimage = \"berth-fixture\"\nnetwork = \"none\"\n",
            self.dind, self.port
        );
        let script = format!("mkdir -p {HOME} && cat >{HOME}/berth.toml");
        assert!(self.exec(&["sh", "-c", &script], &config).status.success());
    }

    fn exec(&self, command: &[&str], input: &str) -> Output {
        let mut docker = Command::new("docker");
        docker.args(["exec", "-i", &self.name]).args(command);
        docker.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut running = docker.spawn().expect("the docker CLI runs");
        // Dropped behind it: the end of the input is the end of a session.
        let written = running.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = running.wait_with_output().expect("it ends");
        // Whoever refuses may not have read all.
        drop(written);
        output
    }

    /// What a `berth` command in the container says: exit code, standard output, standard error.
    fn berth(&self, args: &[&str]) -> (Option<i32>, String, String) {
        let output = self.exec(&[&["berth"], args].concat(), "");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    }

    fn succeeds(&self, args: &[&str]) -> String {
        let (code, out, err) = self.berth(args);
        assert_eq!(code, Some(0), "{args:?}: {out}{err}");
        out + &err
    }

    /// The answer to one call in a session of its own.
    fn call(&self, options: &[&str]) -> Value {
        let messages = [
            json!({ "jsonrpc": "2.0", "id": 0, "method": "initialize", "params": {
                "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": { "name": "place", "version": "1" } } }),
            json!({ "jsonrpc": "2.0", "method": "notifications/initialized" }),
            json!({ "jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
                "name": "echo", "arguments": { "text": "here" } } }),
        ];
        let input = messages.map(|message| message.to_string()).join("\n") + "\n";
        let output = self.exec(&[&["berth", "run", "fixture"], options].concat(), &input);
        let lines = String::from_utf8_lossy(&output.stdout).into_owned();
        let answers = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let answer = answers.into_iter().find(|answer| answer["id"] == 1);
        answer.unwrap_or_else(|| panic!("no answer: {lines}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn is_served(&self) {
        let answer = self.call(&[]);
        assert_eq!(answer["result"]["content"][0]["text"], "here", "{answer}");
    }

    fn dind_id(&self) -> String {
        says(&["inspect", "--format", "{{.Id}} {{.State.StartedAt}}", &self.dind])
    }

    fn networks(&self) -> String {
        let names = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        says(&["inspect", "--format", names, &self.name])
    }
}

impl Drop for Contained {
    fn drop(&mut self) {
        self.berth(&["down", "--volumes", "--force"]);
        host(&["rm", "-f", &self.name]);
    }
}

/// A network of the person's own.
struct OwnNetwork(&'static str);

impl OwnNetwork {
    fn new(name: &'static str) -> Self {
        host(&["network", "create", name]);
        Self(name)
    }

    /// False where somebody is in it.
    fn remove(&self) -> bool {
        host(&["network", "rm", self.0]).status.success()
    }
}

impl Drop for OwnNetwork {
    fn drop(&mut self) {
        self.remove();
    }
}

/// What the docker CLI on the host's engine prints, trimmed.
fn says(args: &[&str]) -> String {
    String::from_utf8_lossy(&host(args).stdout).trim().to_owned()
}

/// The first and the last address of a network.
fn net(text: &str) -> (u32, u32) {
    let (address, prefix) = text.split_once('/').unwrap_or_else(|| panic!("a network, not {text:?}"));
    let address: u32 = address.parse::<std::net::Ipv4Addr>().expect("an address").into();
    let hosts = u32::MAX.checked_shr(prefix.parse().expect("a prefix")).unwrap_or_default();
    (address & !hosts, address | hosts)
}

fn overlap(one: (u32, u32), other: (u32, u32)) -> bool {
    one.0 <= other.1 && other.0 <= one.1
}

/// What of this name the engine has.
fn left(name: &str) -> String {
    let filter = format!("name={name}");
    let all = [&["ps", "-aq"][..], &["volume", "ls", "-q"], &["network", "ls", "-q"]];
    all.map(|list| says(&[list, &["--filter", &filter]].concat())).concat()
}

#[test]
fn in_a_container_with_the_engines_socket_the_daemon_is_met_in_a_network_of_its_own() {
    let dev = Contained::new("berth-test-place", 22422, &[]);
    let before = dev.networks();
    let said = dev.succeeds(&["up"]);
    assert!(!said.contains("does not answer"), "it was not waited for in vain: {said}");
    assert!(said.contains("to the network `berth-test-place-dind-net`"), "{said}");
    dev.is_served();
    let bridge = "{{index .Config.Labels \"io.mcp-berth.bip\"}}";
    let bridge = net(&says(&["inspect", "--format", bridge, &dev.dind]));
    let subnet = "{{range .IPAM.Config}}{{.Subnet}}{{end}}";
    let subnet = net(&says(&["network", "inspect", "--format", subnet, "berth-test-place-dind-net"]));
    assert!(!overlap(subnet, bridge), "{subnet:?} is apart from {bridge:?}");

    let first = (dev.dind_id(), dev.networks());
    let said = dev.succeeds(&["up"]);
    assert!(!said.contains("joined") && !said.contains("started"), "{said}");
    assert_eq!((dev.dind_id(), dev.networks()), first, "up twice changes nothing");
    let status: Value = serde_json::from_str(&dev.succeeds(&["status", "--json"])).expect("JSON");
    assert_eq!((&status["healthy"], &status["tls"]), (&json!(true), &json!(true)), "{status}");
    assert_eq!(status["endpoint"], "tcp://berth-test-place-dind:2376");

    // What is started again keeps its place; what is made again gets it back.
    host(&["restart", "-t", "3", &dev.dind]);
    eventually("the daemon's restart", PATIENCE, || (dev.berth(&["status"]).0 == Some(0)).then_some(()));
    dev.is_served();
    host(&["restart", "-t", "0", &dev.name]);
    dev.is_served();
    host(&["rm", "-f", &dev.dind]);
    dev.succeeds(&["up"]);
    dev.is_served();

    dev.succeeds(&["down", "--volumes"]);
    assert_eq!(dev.networks(), before);
    assert_eq!(left(&dev.dind), "");
    // The network that it was in is gone, and it starts all the same.
    assert!(host(&["restart", "-t", "0", &dev.name]).status.success());
}

#[test]
fn a_container_in_a_network_of_the_persons_own_keeps_it_to_itself() {
    let network = "berth-test-place-own";
    let own = OwnNetwork::new(network);
    {
        let dev = Contained::new("berth-test-place-user", 22423, &["--network", network]);
        dev.succeeds(&["up"]);
        dev.is_served();
        let names = "{{range $name, $_ := .NetworkSettings.Networks}}{{$name}} {{end}}";
        let joined = says(&["inspect", "--format", names, &dev.dind]);
        assert!(!joined.contains(network), "the daemon is not for whoever else is there: {joined}");

        // A copy of this home in another container holds nothing for it.
        let archive = host(&["cp", &format!("{}:{HOME}", dev.name), "-"]).stdout;
        assert!(!archive.is_empty());
        host(&["rm", "-f", &dev.name]);
        dev.run(&["--network", network]);
        let mut docker = Command::new("docker");
        docker.args(["cp", "-", &format!("{}:/root/", dev.name)]).stdin(Stdio::piped());
        let mut copy = docker.spawn().expect("the docker CLI runs");
        copy.stdin.take().expect("a pipe").write_all(&archive).expect("an archive");
        assert!(copy.wait().expect("it ends").success());
        let answer = dev.call(&[]);
        let refused = answer["error"]["message"].as_str().unwrap_or_default();
        assert!(refused.contains("127.0.0.1:22423") && refused.contains("`berth up`"), "{answer}");
        assert!(dev.succeeds(&["up"]).contains("to the network"), "it was another container");
        dev.is_served();
    }
    assert!(own.remove(), "nobody of berth's is in it");
}

#[test]
fn what_the_engine_does_not_see_is_refused_and_what_it_sees_is_shared() {
    let both = shared("place").to_str().expect("a plain path").to_owned();
    let dev = Contained::new("berth-test-place-files", 22424, &["-v", &format!("{both}:{both}")]);
    let why = "does not see the files of the container that berth runs in";
    let is_refused = |folder: &str| {
        dev.configure(&format!("share = [\"{both}\", \"{folder}\"]"));
        let before = dev.dind_id();
        let (code, _, said) = dev.berth(&["up"]);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains(&format!("`{folder}` in `share`")) && said.contains(why), "{said}");
        assert_eq!(dev.dind_id(), before, "the daemon that is there stays");
        assert_eq!(says(&["ps", "-aq", "--filter", &format!("name={}-files", dev.dind)]), "");
        let answer = dev.call(&["--mount", &format!("{folder}:/w")]);
        assert!(answer["error"]["message"].as_str().is_some_and(|text| text.contains(why)), "{answer}");
    };
    assert!(dev.exec(&["mkdir", "-p", "/work"], "").status.success());
    // The engine's machine has one, too, and it is not the same.
    let elsewhere = shared("place-elsewhere").to_str().expect("a plain path").to_owned();
    assert!(dev.exec(&["mkdir", "-p", &elsewhere], "").status.success());
    is_refused("/work");
    is_refused(&elsewhere);

    dev.configure(&format!("share = [\"{both}\"]"));
    dev.succeeds(&["up"]);
    let answer = dev.call(&["--mount", &format!("{both}:/w")]);
    assert_eq!(answer["result"]["content"][0]["text"], "here", "{answer}");
    is_refused(&elsewhere);
    dev.configure(&format!("share = [\"{both}\"]"));
    let answer = dev.call(&["--mount", "/work:/w"]);
    let text = answer["error"]["message"].as_str().unwrap_or_default();
    assert!(text.contains("not shared") && text.contains(why), "{answer}");
}
