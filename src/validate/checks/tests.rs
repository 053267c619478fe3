//! Makes each check fail, with observations that differ from good ones in one point.

use std::collections::BTreeSet;
use std::time::Duration;

use super::access::CallOutcome;
use super::cleanup::{By, End};
use super::deployment::Found;
use super::isolation::{Door, Doors as Ways, Egress, Reach};
use super::orchestrator::{Connection, Container};
use super::sample::{good, good_cluster, ms, reach};
use super::tls::{Attempt, Doors};
use super::*;
use crate::exam::check::{Seen, UNEXAMINED};
use crate::exam::limits::{Limits, Went};

fn doors(seen: &mut Observations) -> &mut Doors {
    match &mut seen.tls {
        Tls::Tcp(doors) => doors,
        other => panic!("{other:?}"),
    }
}

fn found(seen: &mut Observations) -> &mut Found {
    seen.deployment.sessions[1].container.as_mut().unwrap()
}

fn inside(seen: &mut Observations) -> &mut Limits {
    seen.resources.seen.as_mut().unwrap()
}

fn end_of(seen: &mut Observations, by: By) -> &mut End {
    seen.cleanup.ends.iter_mut().find(|end| end.by == by).unwrap()
}

fn no<T>() -> Seen<T> {
    Err("the probe broke".to_owned())
}

/// The check that must fail (none but it), and what is wrong.
type Case = (&'static str, fn(&mut Observations));

const ORCHESTRATOR: &[Case] = &[
    ("the daemon answers", |seen| seen.orchestrator.engine = Err("connection refused".to_owned())),
    ("both ends show certificates", |seen| seen.orchestrator.connection = Connection::Unprotected),
    ("its container is healthy", |seen| ours(seen, "running", "unhealthy")),
    ("its container is healthy", |seen| ours(seen, "exited", "healthy")),
    ("the server's image is there", |seen| seen.orchestrator.image_present = Ok(false)),
    ("the server's image is there", |seen| seen.orchestrator.image_present = no()),
    ("`berth status` finds nothing wrong", |seen| seen.orchestrator.problems = vec!["expired".to_owned()]),
];

fn ours(seen: &mut Observations, state: &str, health: &str) {
    let name = "berth-dind".to_owned();
    seen.orchestrator.container =
        Container::Ours { name, state: state.to_owned(), health: health.to_owned() };
}

const DEPLOYMENT: &[Case] = &[
    ("every session's server answers", |seen| seen.deployment.sessions[1].ready = no()),
    ("servers answer before their clients give up", |seen| {
        seen.deployment.sessions[1].ready = Ok(ms(30_001));
    }),
    ("every session has a running container", |seen| seen.deployment.sessions[1].container = no()),
    ("every session has a running container", |seen| found(seen).running = false),
    ("containers are named mcp-CLIENT-N", |seen| found(seen).name = "mcp-codex-abc.starting".to_owned()),
    ("containers are named mcp-CLIENT-N", |seen| found(seen).name = "mcp-claude-code-3".to_owned()),
    ("containers are named mcp-CLIENT-N", |seen| found(seen).name = "mcp-codex-0".to_owned()),
    ("labels say client, server and session", |seen| found(seen).client = "claude-code".to_owned()),
    ("labels say client, server and session", |seen| found(seen).server = "time".to_owned()),
    ("labels say client, server and session", |seen| found(seen).session = String::new()),
    ("labels say client, server and session", |seen| found(seen).session = "session0".to_owned()),
];

fn outcome(seen: &mut Observations, outcome: CallOutcome) {
    seen.access.clients[1].calls[0].outcome = outcome;
}

const ACCESS: &[Case] = &[
    ("every call gets the right answer", |seen| outcome(seen, CallOutcome::Wrong("no answer".to_owned()))),
    ("every call gets the right answer", |seen| drop(seen.access.clients[1].calls.pop())),
    ("no message crosses to another session", |seen| {
        seen.access.clients[1].strange_answers = vec![r#"{"id":"another's"}"#.to_owned()];
    }),
    ("nothing but messages on standard output", |seen| {
        seen.access.clients[1].garbage = vec!["Server started".to_owned()];
    }),
    ("the mean stays under the reference's target", |seen| {
        seen.access.clients[1].calls[0].took = Duration::from_secs(20);
    }),
    ("every session stays alive", |seen| seen.access.later[1].answered = no()),
    ("every session stays alive", |seen| seen.access.later[1].age = ms(2900)),
];

fn reached(seen: &mut Observations) -> &mut Reach {
    &mut seen.isolation.reaches[0]
}

fn door(seen: &mut Observations) -> &mut Door {
    match &mut seen.isolation.daemon {
        Ways::Tried(doors) => &mut doors[0],
        other @ Ways::Open(_) => panic!("{other:?}"),
    }
}

const ISOLATION: &[Case] = &[
    ("no container serves two sessions", |seen| seen.isolation.containers[3] = "id0".to_owned()),
    ("other sessions' processes are invisible", |seen| {
        seen.isolation.sights[1].sees_others = vec!["claude-code 1".to_owned()];
    }),
    ("other sessions' processes are invisible", |seen| seen.isolation.sights[1].sees_own = false),
    ("other sessions' processes are invisible", |seen| seen.isolation.sights[1].processes = no()),
    ("other sessions are out of reach", |seen| reached(seen).connected = Ok(true)),
    ("other sessions are out of reach", |seen| reached(seen).itself = Ok(false)),
    ("other sessions are out of reach", |seen| reached(seen).connected = no()),
    ("other sessions are out of reach", |seen| seen.isolation.reaches.clear()),
    ("sessions with a network are out of reach", |seen| {
        let reach = Reach { connected: Ok(true), ..reach("spare 1", "spare 2") };
        seen.isolation.egress = Egress::Pair(vec![reach]);
    }),
    ("sessions with a network are out of reach", |seen| seen.isolation.egress = Egress::Pair(Vec::new())),
    ("the daemon is out of reach from inside", |seen| door(seen).connected = Ok(true)),
    ("the daemon is out of reach from inside", |seen| door(seen).connected = no()),
    ("the daemon is out of reach from inside", |seen| {
        seen.isolation.daemon = Ways::default();
    }),
    ("the shared volume is read-only", |seen| seen.isolation.volumes[1].writable = Ok(true)),
    ("the shared volume is read-only", |seen| {
        seen.isolation.volumes[1].mounts = Ok(vec!["/.berth".to_owned()]);
    }),
    ("the shared volume is read-only", |seen| seen.isolation.volumes[1].mounts = no()),
    ("each session has its own files", |seen| seen.isolation.files[0].seen = Ok(true)),
    ("each session has its own files", |seen| seen.isolation.files[0].written = Ok(Some(false))),
    ("each session has its own files", |seen| seen.isolation.files[0].written = no()),
    ("no Docker socket inside", |seen| seen.isolation.sockets[1].there = Ok(true)),
    ("no Docker socket inside", |seen| seen.isolation.sockets[1].there = no()),
];

fn through() -> Went {
    Went::Through("all could be allocated".to_owned())
}

fn stopped() -> Went {
    Went::Stopped("nothing could be allocated".to_owned())
}

const RESOURCES: &[Case] = &[
    ("the memory limit is as configured", |seen| inside(seen).memory = Some(256 << 20)),
    ("the memory limit is as configured", |seen| inside(seen).memory = None),
    ("the process limit is as configured", |seen| inside(seen).pids = None),
    ("the processor limit is as configured", |seen| inside(seen).cpus = Some(2.0)),
    ("the processor limit is as configured", |seen| inside(seen).cpus = None),
    ("memory beyond the limit is refused", |seen| seen.resources.memory.over = Ok(through())),
    ("memory beyond the limit is refused", |seen| seen.resources.memory.under = Ok(stopped())),
    ("memory beyond the limit is refused", |seen| seen.resources.memory.over = no()),
    ("processes beyond the limit are refused", |seen| seen.resources.pids.over = Ok(through())),
    ("processes beyond the limit are refused", |seen| seen.resources.pids.under = Ok(stopped())),
    ("capabilities are as configured", |seen| inside(seen).bounding = Some(0x2001)),
    ("capabilities are as configured", |seen| inside(seen).bounding = Some(0)),
    ("capabilities are as configured", |seen| inside(seen).effective = Some(1)),
    ("capabilities are as configured", |seen| inside(seen).effective = None),
    ("new privileges are out of reach", |seen| inside(seen).no_new_privileges = false),
    ("the root file system is read-only", |seen| inside(seen).read_only_root = false),
];

const TLS: &[Case] = &[
    ("our own certificate is accepted", |seen| {
        doors(seen).ours = Attempt::Refused("bad certificate".to_owned());
    }),
    ("our own certificate is accepted", |seen| doors(seen).ours = Attempt::Answered(403)),
    ("a client without a certificate is refused", |seen| doors(seen).no_certificate = Attempt::Answered(200)),
    ("a client without a certificate is refused", |seen| {
        doors(seen).no_certificate = Attempt::Unknown("timeout".to_owned());
    }),
    ("a foreign authority's certificate is refused", |seen| {
        doors(seen).foreign_certificate = Attempt::Answered(200);
    }),
    ("plain HTTP on the port is refused", |seen| doors(seen).plain = Attempt::Answered(200)),
    ("plain HTTP on the port is refused", |seen| doors(seen).plain = Attempt::Unknown("timeout".to_owned())),
    ("no plain port on the host", |seen| doors(seen).plain_ports[0].1 = true),
    ("no plain port on the host", |seen| doors(seen).plain_ports.clear()),
    ("no plain port in the daemon's container", |seen| {
        doors(seen).container.as_mut().unwrap().plain_port = true;
    }),
];

const CLEANUP: &[Case] = &[
    ("nothing is left after the end of input", |seen| end_of(seen, By::Eof).gone_after = Ok(ms(5001))),
    ("nothing is left after the end of input", |seen| end_of(seen, By::Eof).gone_after = no()),
    ("nothing is left after SIGTERM", |seen| end_of(seen, By::Sigterm).gone_after = no()),
    ("nothing is left after SIGKILL", |seen| end_of(seen, By::Sigkill).gone_after = no()),
    ("nothing is left after SIGKILL", |seen| seen.cleanup.ends.retain(|end| end.by != By::Sigkill)),
    ("ended sessions exit with 0", |seen| end_of(seen, By::Eof).exit = Ok(Some(70))),
    ("ended sessions exit with 0", |seen| end_of(seen, By::Sigterm).exit = Ok(None)),
    ("ended sessions exit with 0", |seen| end_of(seen, By::Sigterm).exit = no()),
    ("no container was created and never started", |seen| {
        seen.cleanup.leftovers = Ok(vec!["mcp-codex-1".to_owned()]);
    }),
    ("no container was created and never started", |seen| seen.cleanup.leftovers = no()),
];

const CASES: [&[Case]; 7] = [ORCHESTRATOR, DEPLOYMENT, ACCESS, ISOLATION, RESOURCES, TLS, CLEANUP];

fn named(sections: &[Section], outcome: Outcome) -> Vec<&'static str> {
    let checks = sections.iter().flat_map(|section| &section.checks);
    checks.filter(|check| check.outcome == outcome).map(|check| check.name).collect()
}

#[test]
fn good_observations_pass_every_check() {
    let sections = judge(&good());
    assert_eq!(named(&sections, Outcome::Failed), [""; 0]);
    assert_eq!(named(&sections, Outcome::NotApplicable), [""; 0]);
    assert_eq!(sections.len(), CASES.len());
    assert!(sections.iter().all(Section::passed));
}

#[test]
fn each_fault_fails_its_check_and_no_other() {
    for (at, (name, doctor)) in CASES.concat().into_iter().enumerate() {
        let mut seen = good();
        doctor(&mut seen);
        let sections = judge(&seen);
        assert_eq!(named(&sections, Outcome::Failed), [name], "case {at}");
        let failed =
            sections.iter().flat_map(|section| &section.checks).find(|check| check.name == name).unwrap();
        let has_next = failed.next.as_ref().is_some_and(|next| !next.is_empty());
        assert!(has_next || failed.detail.starts_with(UNEXAMINED), "{name} has no next step");
        assert!(!failed.detail.is_empty(), "{name} has no detail");
    }
}

fn cluster(seen: &mut Observations) -> &mut Cluster {
    seen.cluster.as_mut().unwrap()
}

/// What only a cluster has.
const OF_A_CLUSTER: &[Case] = &[
    ("the API server answers", |seen| cluster(seen).version = no()),
    ("it is asked over TLS", |seen| cluster(seen).address = "http://10.0.0.1:8080/".to_owned()),
    ("a client without credentials is refused", |seen| cluster(seen).stranger = Attempt::Answered(200)),
    ("a client without credentials is refused", |seen| {
        cluster(seen).stranger = Attempt::Unknown("no answer".to_owned());
    }),
    ("`berth kubernetes doctor` finds nothing wrong", |seen| {
        cluster(seen).problems = vec!["no namespace".to_owned()];
    }),
    ("pods are named mcp-CLIENT-ID", |seen| found(seen).name = "mcp-codex-1".to_owned()),
    ("pods are named mcp-CLIENT-ID", |seen| found(seen).name = "mcp-claude-code-0123456789ab".to_owned()),
    ("other sessions are out of reach", |seen| reached(seen).connected = Ok(true)),
    ("sessions with a network are out of reach", |seen| seen.isolation.egress = Egress::Pair(Vec::new())),
    ("the API server is out of reach from inside", |seen| door(seen).connected = Ok(true)),
    ("the keeper's folder is read-only", |seen| seen.isolation.volumes[1].writable = Ok(true)),
    ("no token and no socket of the node inside", |seen| seen.isolation.sockets[1].there = Ok(true)),
    ("nothing is left after SIGKILL", |seen| end_of(seen, By::Sigkill).gone_after = Ok(ms(20_001))),
    ("nothing is left after SIGTERM", |seen| end_of(seen, By::Sigterm).gone_after = Ok(ms(5001))),
    ("no pod is left once a berth has looked", |seen| {
        seen.cleanup.leftovers = Ok(vec!["mcp-codex-0123456789ab".to_owned()]);
    }),
];

#[test]
fn a_cluster_is_examined_in_the_same_way() {
    let mut good = good_cluster();
    end_of(&mut good, By::Sigkill).gone_after = Ok(ms(19_000));
    let sections = judge(&good);
    assert_eq!(named(&sections, Outcome::Failed), [""; 0]);
    let of_node = ["the process limit is as configured", "processes beyond the limit are refused"];
    assert_eq!(named(&sections, Outcome::NotApplicable), of_node);
    good.isolation.daemon = Ways::Open("`network = \"lan\"` lets a session reach it".to_owned());
    assert!(
        named(&judge(&good), Outcome::NotApplicable).contains(&"the API server is out of reach from inside")
    );
    for (at, (name, doctor)) in OF_A_CLUSTER.iter().enumerate() {
        let mut seen = good_cluster();
        doctor(&mut seen);
        assert_eq!(named(&judge(&seen), Outcome::Failed), [*name], "case {at}");
    }
    let all: BTreeSet<&str> = named(&judge(&good_cluster()), Outcome::Passed).into_iter().collect();
    let tried: BTreeSet<&str> = CASES.concat().iter().chain(OF_A_CLUSTER).map(|(name, _)| *name).collect();
    assert!(all.is_subset(&tried), "{:?}", all.difference(&tried));
}

#[test]
fn no_check_is_without_a_failing_case() {
    let sections = judge(&good());
    let checks = named(&sections, Outcome::Passed);
    let all: BTreeSet<&str> = checks.iter().copied().collect();
    assert_eq!(all.len(), checks.len(), "names are unique");
    let failing: BTreeSet<&str> = CASES.concat().into_iter().map(|(name, _)| name).collect();
    assert_eq!(failing, all);
}

#[test]
fn a_crossed_answer_fails_both_checks_that_it_breaks() {
    let mut seen = good();
    outcome(&mut seen, CallOutcome::Crossed("the marker of codex 2".to_owned()));
    let failed = ["every call gets the right answer", "no message crosses to another session"];
    assert_eq!(named(&judge(&seen), Outcome::Failed), failed);
}

#[test]
fn what_was_not_examined_does_not_pass() {
    let seen = Observations { orchestrator: good().orchestrator, ..Observations::default() };
    let sections = judge(&seen);
    assert_eq!(sections.len(), 7);
    assert!(sections[0].passed());
    assert_eq!(named(&sections[1..], Outcome::Passed), [""; 0]);
    assert!(sections[1..].iter().all(|section| !section.passed()));
}

#[test]
fn without_a_daemon_there_is_nothing_else_to_judge() {
    let sections = judge(&Observations::default());
    assert_eq!(sections.iter().map(|section| section.name).collect::<Vec<_>>(), ["orchestrator"]);
    assert_eq!(named(&sections, Outcome::Passed), [""; 0]);
    let mut seen = good();
    seen.orchestrator.engine = no();
    assert_eq!(judge(&seen).len(), 1);
}

#[test]
fn what_does_not_apply_is_no_pass() {
    let mut seen = good();
    seen.tls = Tls::Unix;
    seen.orchestrator.connection = Connection::Unix;
    seen.orchestrator.container = Container::NotOurs;
    seen.isolation.egress = Egress::TheSame;
    seen.isolation.files[0].written = Ok(None);
    (seen.resources.wanted.no_new_privileges, seen.resources.wanted.read_only_root) = (false, false);
    (seen.resources.wanted.effective, seen.resources.wanted.bounding) = (None, None);
    let sections = judge(&seen);
    assert_eq!(named(&sections, Outcome::Failed), [""; 0]);
    let expected = [
        "both ends show certificates",
        "its container is healthy",
        "sessions with a network are out of reach",
        "each session has its own files",
        "capabilities are as configured",
        "new privileges are out of reach",
        "the root file system is read-only",
        "our own certificate is accepted",
        "a client without a certificate is refused",
        "a foreign authority's certificate is refused",
        "plain HTTP on the port is refused",
        "no plain port on the host",
        "no plain port in the daemon's container",
    ];
    assert_eq!(named(&sections, Outcome::NotApplicable), expected);
}

#[test]
fn many_problems_are_told_in_part_and_the_server_is_named() {
    let mut seen = good();
    seen.deployment.sessions.iter_mut().for_each(|deployed| deployed.ready = no());
    let check = &judge(&seen)[1].checks[0];
    assert_eq!(
        check.detail,
        "claude-code 1: the probe broke; codex 1: the probe broke; claude-code 2: the probe broke; and 1 more"
    );
    assert!(check.next.as_ref().unwrap().starts_with("berth run --trace everything"));
}

#[test]
fn where_everything_may_take_longer_so_may_clients_and_containers() {
    let mut slow = good();
    slow.deployment.sessions[1].ready = Ok(ms(30_001));
    end_of(&mut slow, By::Sigkill).gone_after = Ok(ms(5_001));
    let failed = |seen: &Observations| {
        let checks = judge(seen).into_iter().flat_map(|section| section.checks);
        checks.filter(|check| check.outcome == Outcome::Failed).count()
    };
    assert_eq!(failed(&slow), 2);
    slow.deployment.patience = super::deployment::PATIENCE * 2;
    slow.cleanup.killed_within = super::cleanup::WITHIN * 2;
    assert_eq!(failed(&slow), 0);
}
