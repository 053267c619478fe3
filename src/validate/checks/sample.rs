//! Observations of a healthy, fully examined system; tests alter them.

use std::time::Duration;

use super::Observations;
use super::access::{Access, Call, CallOutcome, ClientCalls, Later};
use super::cleanup::{By, Cleanup, End};
use super::cluster::Cluster;
use super::deployment::{Deployed, Deployment, Found};
use super::isolation::{Door, Doors, Egress, Files, Isolation, Reach, Sight, Socket, Volume};
use super::orchestrator::{Connection, Container, Orchestrator};
use super::tls::{Attempt, ContainerPorts, Doors as Ports, Tls};
use crate::exam::check::Seen;
use crate::exam::limits::{Limits, Proof, Resources, Went};

const TITLES: [(&str, &str); 4] = [
    ("claude-code 1", "claude-code"),
    ("codex 1", "codex"),
    ("claude-code 2", "claude-code"),
    ("codex 2", "codex"),
];

pub(in crate::validate) fn good() -> Observations {
    Observations {
        orchestrator: orchestrator(),
        cluster: None,
        deployment: deployment(),
        missing_spares: Vec::new(),
        access: access(),
        isolation: isolation(),
        resources: resources(),
        tls: tls(),
        cleanup: cleanup(),
    }
}

/// The same of a cluster.
pub(in crate::validate) fn good_cluster() -> Observations {
    let mut seen = good();
    seen.cluster = Some(Cluster {
        address: "https://10.0.0.1:6443/".to_owned(),
        namespace: "berth".to_owned(),
        version: Ok(("v1.34.4".to_owned(), ms(4))),
        stranger: Attempt::Answered(401),
        problems: Vec::new(),
    });
    for (at, deployed) in seen.deployment.sessions.iter_mut().enumerate() {
        if let Ok(found) = &mut deployed.container {
            found.name = format!("mcp-{}-0123456789a{at}", deployed.client);
        }
    }
    seen.resources.pids_of_node = true;
    seen.cleanup.killed_within += Duration::from_secs(15);
    seen
}

pub(in crate::validate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

fn titles() -> impl Iterator<Item = String> {
    TITLES.iter().map(|(title, _)| (*title).to_owned())
}

fn orchestrator() -> Orchestrator {
    Orchestrator {
        address: "tcp://127.0.0.1:12376".to_owned(),
        engine: Ok(("28.5.1".to_owned(), ms(4))),
        connection: Connection::MutualTls,
        container: Container::Ours {
            name: "berth-dind".to_owned(),
            state: "running".to_owned(),
            health: "healthy".to_owned(),
        },
        image: "berth-everything".to_owned(),
        image_present: Ok(true),
        problems: Vec::new(),
        next: None,
    }
}

fn deployment() -> Deployment {
    let deployed = |(at, (title, client)): (usize, &(&str, &'static str))| Deployed {
        title: (*title).to_owned(),
        client,
        ready: Ok(ms(900)),
        container: Ok(Found {
            id: format!("id{at}"),
            name: format!("mcp-{client}-{}", at / 2 + 1),
            client: (*client).to_owned(),
            server: "everything".to_owned(),
            session: format!("session{at}"),
            running: true,
        }),
    };
    Deployment {
        server: "everything".to_owned(),
        sessions: TITLES.iter().enumerate().map(deployed).collect(),
        took: ms(1000),
        ..Deployment::default()
    }
}

fn access() -> Access {
    let call = Call { took: ms(5), outcome: CallOutcome::Right };
    let client = |title| ClientCalls { title, calls: vec![call.clone(); 2], ..ClientCalls::default() };
    Access {
        operation: "tools/call echo".to_owned(),
        calls: 2,
        clients: titles().map(client).collect(),
        later: titles().map(|title| Later { title, age: ms(5500), answered: Ok(()) }).collect(),
        ..Access::default()
    }
}

fn isolation() -> Isolation {
    let sight = |title| Sight { title, processes: Ok(3), sees_own: true, sees_others: Vec::new() };
    Isolation {
        containers: (0..4).map(|at| format!("id{at}")).collect(),
        sights: titles().map(sight).collect(),
        reaches: vec![reach("claude-code 1", "codex 1")],
        egress: Egress::Pair(vec![reach("spare 1", "spare 2")]),
        daemon: Doors::Tried(vec![Door {
            from: "spare 1".to_owned(),
            address: "172.18.0.1:2376".parse().unwrap(),
            connected: Ok(false),
        }]),
        volumes: titles()
            .map(|title| Volume { title, writable: Ok(false), mounts: Ok(Vec::new()) })
            .collect(),
        files: vec![Files {
            from: "claude-code 1".to_owned(),
            to: "codex 1".to_owned(),
            path: "/tmp/x".to_owned(),
            written: Ok(Some(true)),
            seen: Ok(false),
        }],
        sockets: titles().map(|title| Socket { title, path: "/run/docker.sock", there: Ok(false) }).collect(),
    }
}

pub(super) fn reach(from: &str, to: &str) -> Reach {
    let address = "172.18.0.2:21000".parse().unwrap();
    Reach { from: from.to_owned(), to: to.to_owned(), address, itself: Ok(true), connected: Ok(false) }
}

fn resources() -> Resources {
    let limits = Limits {
        memory: Some(512 << 20),
        pids: Some(256),
        cpus: Some(1.0),
        effective: Some(0),
        bounding: Some(0x2000),
        no_new_privileges: true,
        read_only_root: true,
    };
    let under: Seen<_> = Ok(Went::Through("16 MiB".to_owned()));
    let proof = Proof { under, over: Ok(Went::Stopped("killed".to_owned())) };
    Resources {
        own_kernel: false,
        pids_of_node: false,
        wanted: limits.clone(),
        seen: Ok(limits),
        memory: proof.clone(),
        pids: proof,
    }
}

fn tls() -> Tls {
    let container = ContainerPorts { address: "172.17.0.2".to_owned(), tls_port: true, plain_port: false };
    Tls::Tcp(Box::new(Ports {
        ours: Attempt::Answered(200),
        no_certificate: Attempt::Refused("certificate required".to_owned()),
        foreign_certificate: Attempt::Refused("unknown CA".to_owned()),
        plain: Attempt::Answered(400),
        plain_ports: vec![("127.0.0.1:12375".to_owned(), false)],
        container: Some(container),
    }))
}

fn cleanup() -> Cleanup {
    let end = |(title, by): (&str, By)| End {
        title: title.to_owned(),
        by,
        gone_after: Ok(ms(300)),
        exit: Ok((by != By::Sigkill).then_some(0)),
    };
    let ends = [("codex 1", By::Eof), ("codex 2", By::Sigterm), ("spare 1", By::Sigkill)];
    Cleanup { ends: ends.map(end).into(), leftovers: Ok(Vec::new()), ..Cleanup::default() }
}
