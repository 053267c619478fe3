//! `berth chaos` for real, short: a fault of each kind, and no call lost, crossed or executed twice, and nothing left.
//!
//! The tests of `src/chaos/tally.rs` prove that berth finds each of these. Here are also a run that is cut off, and a
//! run whose server cannot count calls.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::{berth, eventually};

const IMAGE: &str = "berth-fixture";

/// What the host's engine has of the run of this process.
fn daemons(pid: u32) -> String {
    let name = format!("name=berth-chaos-{pid}-dind");
    let list = |args: &[&str]| {
        let output =
            Command::new("docker").args(args).args(["--filter", &name]).output().expect("docker runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    list(&["ps", "-a", "--format", "{{.Names}}"]) + &list(&["volume", "ls", "--format", "{{.Name}}"])
}

#[test]
fn a_fault_of_each_kind_and_every_call_accounted_for() {
    let args = ["chaos", "--seed", "7", "--faults", "20", "--sessions", "4", "--image", IMAGE, "--json"];
    let run = berth().args(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("berth starts");
    let pid = run.id();
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    let report: Value = serde_json::from_slice(&output.stdout).expect(&said);
    assert!(output.status.success(), "{report:#}\n{said}");
    let faults = report["faults"].as_object().expect("faults");
    assert_eq!(faults.len(), 16, "{faults:#?}");
    let done: u64 = faults.values().map(|tried| tried["done"].as_u64().expect("a number")).sum();
    assert_eq!(done, 20, "{faults:#?}");
    let calls = &report["calls"];
    let count = |what: &str| calls[what].as_u64().expect("a number");
    assert_eq!(count("sent"), count("answered") + count("failed") + count("cut"), "{calls:#}");
    assert!(count("answered") > 0 && count("failed") > 0, "{calls:#}");
    let servers = count("servers");
    assert_eq!((&report["streams"], &report["left"]["doors"]), (&json!("auto"), &json!([])));
    assert!(report["by_pipes"].as_u64().expect("a number") >= servers.min(4), "{report:#}");
    assert_eq!(daemons(pid), "", "the daemon and its volume are gone");
}

/// A run that will be broken off; what it says is read when it has ended.
fn run_to_be_broken_off() -> Child {
    let mut chaos = berth();
    chaos.args(["chaos", "--image", IMAGE]).stdout(Stdio::null()).stderr(Stdio::piped());
    chaos.spawn().expect("berth starts")
}

#[test]
fn an_interrupted_run_takes_everything_down() {
    let run = run_to_be_broken_off();
    let pid = run.id();
    eventually("its daemon", Duration::from_mins(1), || (!daemons(pid).is_empty()).then_some(()));
    let sent = Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill runs");
    assert!(sent.success());
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(daemons(pid), "", "{said}");
}

#[test]
fn a_killed_run_is_cleaned_up_by_the_next_one() {
    let folders = |pid: u32| {
        let prefix = format!("berth-chaos-{pid}-");
        let entries = std::fs::read_dir(std::env::temp_dir()).expect("a folder");
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        names.filter(|name| name.starts_with(&prefix)).count()
    };
    let mut run = run_to_be_broken_off();
    let pid = run.id();
    let daemon = format!("berth-chaos-{pid}-dind\n");
    eventually("its daemon", Duration::from_mins(1), || daemons(pid).contains(&daemon).then_some(()));
    run.kill().expect("it runs");
    let output = run.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    let left = (format!("{daemon}berth-chaos-{pid}-dind-data\n"), 1);
    assert_eq!((daemons(pid), folders(pid)), left, "{said}");

    let output = berth().args(["chaos", "--image", "berth-everything"]).output().expect("berth runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&format!("berth-chaos-{pid}-dind, ")), "{said}");
    assert_eq!((daemons(pid).as_str(), folders(pid)), ("", 0), "{said}");
}

#[test]
fn a_server_without_a_ledger_is_refused() {
    let output = berth().args(["chaos", "--image", "berth-everything"]).output().expect("berth runs");
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("no working `tally` tool"), "{said}");
}
