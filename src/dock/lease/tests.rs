//! Numbers of containers, and a runtime that a daemon lacks.

use super::*;

#[test]
fn a_number_is_taken_by_whoever_will_have_it_too() {
    let free = |names: &[&str]| {
        let row = |name: &&str| Listed {
            id: String::new(),
            name: (*name).to_owned(),
            labels: std::collections::HashMap::new(),
            image: String::new(),
            command: String::new(),
            running: true,
            stopped: false,
            created: 0,
        };
        let taken: Vec<Listed> = names.iter().map(row).collect();
        free_names("x", &taken).take(3).collect::<Vec<_>>()
    };
    assert_eq!(free(&[]), ["mcp-x-1", "mcp-x-2", "mcp-x-3"]);
    assert_eq!(free(&["mcp-x-1", "mcp-x-3.standby"]), ["mcp-x-2", "mcp-x-4", "mcp-x-5"]);
    assert_eq!(free(&["mcp-x-2.standby", "mcp-x-2"]), ["mcp-x-1", "mcp-x-3", "mcp-x-4"]);
    // None of these is a number of this client's.
    let others = ["mcp-x-0a1b2c.starting", "mcp-x-1.starting", "mcp-y-1", "mcp-x-y-2.standby", "mcp-x-10"];
    assert_eq!(free(&others), ["mcp-x-1", "mcp-x-2", "mcp-x-3"]);
}

#[test]
fn a_missing_runtime_is_told_by_its_whole_name() {
    let refused = |message: &str| DockerError::Refused {
        op: CREATE,
        object: String::new(),
        status: 400,
        message: message.to_owned(),
    };
    for said in ["unknown or invalid runtime name: ", "Unknown runtime specified "] {
        for (name, other) in [("berth", "berth-gvisor"), ("berth-gvisor", "berth")] {
            let error = refused(&format!("{said}{name}\n"));
            assert!(is_runtime_missing(&error, name) && !is_runtime_missing(&error, other), "{error}");
        }
    }
}
