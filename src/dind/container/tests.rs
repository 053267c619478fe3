use super::super::owner::LABEL_HOME;
use super::*;
use crate::dock::docker::Container;

fn container(status: &str, hash: &str) -> Container {
    let mut labels = std::collections::HashMap::from([managed_by()]);
    labels.insert(LABEL_SPEC.to_owned(), hash.to_owned());
    Container {
        id: String::new(),
        image: String::new(),
        labels,
        pid: 0,
        running: status == "running",
        status: status.to_owned(),
        health: String::new(),
        health_log: String::new(),
        exit_code: 0,
        restarts: 0,
        oom_killed: false,
        created_at: String::new(),
        started_at: String::new(),
        finished_at: String::new(),
        address: None,
    }
}

fn home() -> Owner {
    let lookup = |name: &str| (name == "BERTH_HOME").then(|| "/b".to_owned());
    Owner::of(&Home::from_env(&lookup).unwrap())
}

#[test]
fn each_state_has_its_step() {
    let changed = "its settings have changed";
    for (status, same, other) in [
        ("running", Need::Look, Need::Update),
        ("created", Need::Start, Need::Replacement(changed)),
        ("exited", Need::Start, Need::Replacement(changed)),
        ("restarting", Need::Restart, Need::Replacement(changed)),
        ("paused", Need::Thaw, Need::Thaw),
        ("removing", Need::Wait, Need::Wait),
        ("dead", Need::Replacement("it was dead"), Need::Replacement("it was dead")),
    ] {
        assert_eq!(need(Some(&container(status, "h")), "h", &home()), same, "{status}");
        assert_eq!(need(Some(&container(status, "h")), "other", &home()), other, "{status}, other settings");
    }
    assert_eq!(need(None, "h", &home()), Need::Creation);
}

#[test]
fn another_ones_container_is_never_touched() {
    for status in ["running", "exited", "dead", "paused"] {
        let mut foreign = container(status, "h");
        foreign.labels.remove(&managed_by().0);
        assert_eq!(need(Some(&foreign), "h", &home()), Need::NotOurs, "{status}");
        let mut other = container(status, "h");
        other.labels.insert(LABEL_HOME.to_owned(), "box:/c".to_owned());
        for hash in ["h", "other"] {
            let need = need(Some(&other), hash, &home());
            assert_eq!(need, Need::OtherHome("box:/c".to_owned()), "{status}");
        }
    }
}
