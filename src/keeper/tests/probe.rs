//! The probes' readings, and their answers as another program reads them.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Instant;

use serde_json::{Value, json};

use super::{AT_ONCE, KEEPER, keeper};
use crate::json::quoted;
use crate::limits::{Limits, cpus, field};
use crate::probe::{command_line, local_addresses};

#[test]
fn what_proc_says_is_read() {
    let status = "Name:\tkeeper\nUid:\t7\t8\t8\t8\nNoNewPrivs:\t1\nNoNewPrivsToo:\t0\n";
    assert_eq!(field(status, "NoNewPrivs"), Some("1"));
    assert_eq!(field(status, "Uid"), Some("7\t8\t8\t8"));
    assert_eq!(field(status, "Seccomp"), None);
    assert_eq!(command_line(b"npx\0-y\0a b\0"), "npx -y a b");
    assert_eq!(command_line(b""), "");
    let trie = "Main:\n  +-- 0.0.0.0/0 3 0 5\n     |-- 0.0.0.0\n        /0 universe UNICAST\n     |-- 127.0.0.1\n\
                \x20       /32 host LOCAL\n     |-- 172.17.0.2\n        /32 host LOCAL\n     |-- 172.17.255.255\n\
                \x20       /32 link BROADCAST\nLocal:\n     |-- 172.17.0.2\n        /32 host LOCAL\n";
    assert_eq!(local_addresses(trie), [Ipv4Addr::new(172, 17, 0, 2)]);
}

#[test]
fn limits_are_read_from_both_versions_of_control_groups() {
    let limits = |files: &[(&str, &str)]| {
        let root = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = root.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        let Limits { memory_bytes, pids, cpus } = Limits::read(root.path());
        (memory_bytes, pids, cpus)
    };
    let two = [("memory.max", "536870912\n"), ("pids.max", "256\n"), ("cpu.max", "50000 100000\n")];
    assert_eq!(limits(&two), (Some(536_870_912), Some(256), Some(0.5)));
    let open = [("memory.max", "max\n"), ("pids.max", "max\n"), ("cpu.max", "max 100000\n")];
    assert_eq!(limits(&open), (None, None, None));
    let one = [
        ("memory/memory.limit_in_bytes", "1048576\n"),
        ("pids/pids.max", "64\n"),
        ("cpu,cpuacct/cpu.cfs_quota_us", "150000\n"),
        ("cpu,cpuacct/cpu.cfs_period_us", "100000\n"),
    ];
    assert_eq!(limits(&one), (Some(1_048_576), Some(64), Some(1.5)));
    assert_eq!(limits(&[("memory/memory.limit_in_bytes", "9223372036854771712\n")]), (None, None, None));
    assert_eq!((cpus("-1 100000"), cpus("5 0")), (None, None));
}

#[test]
fn strings_are_quoted_as_json() {
    let all: String = ('\0'..='\u{2ff}').chain("\"\\/😀\u{2028}".chars()).collect();
    assert_eq!(serde_json::from_str::<String>(&quoted(&all)).unwrap(), all);
}

fn probe(arguments: &[&str]) -> Value {
    let output = keeper(&[&["probe"], arguments].concat());
    assert!(output.status.success(), "{output:?}");
    assert_eq!(output.stdout.lines().count(), 1, "{output:?}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn probes_answer_in_json() {
    let limits = probe(&["limits"]);
    assert_eq!(limits["uid"], fs::metadata("/proc/self").unwrap().uid());
    assert_eq!(limits["cap_eff"].as_str().unwrap().len(), 16);
    let status = fs::read_to_string("/proc/self/status").unwrap();
    assert_eq!(limits["cap_bnd"].as_str(), field(&status, "CapBnd"));
    assert_eq!(limits["keeper_writable"], true, "the build's own folder");
    assert!(limits["no_new_privs"].is_boolean() && limits["root_writable"].is_boolean());

    let processes = probe(&["processes"]);
    let own = |entry: &&Value| entry["cmdline"] == format!("{KEEPER} probe processes");
    assert!(processes["processes"].as_array().unwrap().iter().any(|entry| own(&entry)));
    assert!(probe(&["addresses"])["addresses"].is_array());
    assert_eq!(probe(&["allocate", "3000000"]), json!({"allocated": 3_000_000, "error": null}));
    assert_eq!(probe(&["allocate", "18446744073709551615"])["allocated"], 0);
    assert_eq!(probe(&["fork", "3"]), json!({"started": 3, "error": null}));

    let refused = json!({"connected": false, "error": "Connection refused (os error 111)"});
    // Nobody's; one that was the kernel's choice and was let go may be another's in a moment.
    assert_eq!(probe(&["connect", "127.0.0.1", "1"]), refused);
}

#[test]
fn probes_write_and_read_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    assert_eq!(probe(&["write", &path("a"), "x \"y\""]), json!({"written": true, "error": null}));
    assert_eq!(probe(&["read", &path("a")]), json!({"found": true, "text": "x \"y\"", "error": null}));
    let nowhere = path("none/a");
    assert_eq!(probe(&["write", &nowhere, ""])["written"], false);
    let absent = json!({"found": false, "text": null, "error": "No such file or directory (os error 2)"});
    assert_eq!(probe(&["read", &nowhere]), absent);
    let _socket = UnixListener::bind(path("s")).unwrap();
    assert_eq!(probe(&["read", &path("s")])["found"], true, "though it cannot be opened");
}

#[test]
fn a_listening_probe_tells_of_each_connection_and_ends() {
    let mut child = Command::new(KEEPER)
        .args(["probe", "listen", "0", "--for", "1500"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(|line| serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    let port = lines.next().unwrap()["listening"].to_string();
    assert_eq!(probe(&["connect", "127.0.0.1", &port]), json!({"connected": true, "error": null}));
    assert!(lines.next().unwrap()["accepted"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(lines.next(), None);
    assert!(child.wait().unwrap().success());
}

#[test]
fn a_listening_probe_ends_before_its_time_when_it_is_told_to() {
    let began = Instant::now();
    let mut command = Command::new(KEEPER);
    command.args(["probe", "listen", "0", "--for", "60000"]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"q").unwrap();
    assert!(child.wait().unwrap().success());
    assert!(began.elapsed() < AT_ONCE);
}

#[test]
fn a_draining_probe_answers_only_after_the_end_of_its_input() {
    let mut command = Command::new(KEEPER);
    command.args(["probe", "drain", "--pause", "50"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(b"four").unwrap();
    let (sent, heard) = std::sync::mpsc::channel();
    let output = child.stdout.take().unwrap();
    std::thread::spawn(move || {
        BufReader::new(output).lines().for_each(|line| sent.send(line.unwrap()).unwrap());
    });
    assert!(heard.recv_timeout(std::time::Duration::from_millis(200)).is_err(), "its input is open still");
    drop(input);
    let answer: Value = serde_json::from_str(&heard.recv_timeout(AT_ONCE).unwrap()).unwrap();
    assert_eq!(answer, json!({ "drained": 4 }));
    assert!(child.wait().unwrap().success());
}
