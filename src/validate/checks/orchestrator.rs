//! Is there a healthy daemon, and does berth speak to it over mutual TLS?

use std::time::Duration;

use crate::exam::check::{Check, Question, Seen, UNEXAMINED};

/// The DinD daemon as it was found.
#[derive(Debug, Clone)]
pub struct Orchestrator {
    pub address: String,
    /// The engine's version, and how long it took to say so.
    pub engine: Seen<(String, Duration)>,
    pub connection: Connection,
    pub container: Container,
    pub image: String,
    /// Whether the daemon has it.
    pub image_present: Seen<bool>,
    /// What `berth status` finds wrong, and the command that it gives.
    pub problems: Vec<String>,
    pub next: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    Unix,
    /// A request was answered and both ends had shown certificates.
    MutualTls,
    Unprotected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Container {
    /// `[dind] host` names a daemon that somebody else made.
    NotOurs,
    /// Its engine could not be asked.
    Unknown,
    Ours {
        name: String,
        state: String,
        health: String,
    },
}

impl Default for Orchestrator {
    fn default() -> Self {
        Self {
            address: String::new(),
            engine: Err(UNEXAMINED.to_owned()),
            connection: Connection::Unprotected,
            container: Container::Unknown,
            image: String::new(),
            image_present: Err(UNEXAMINED.to_owned()),
            problems: vec![UNEXAMINED.to_owned()],
            next: None,
        }
    }
}

const ANSWERS: Question = Question::new("the daemon answers", "berth up");
const MUTUAL_TLS: Question = Question::new("both ends show certificates", "set `certs` in [dind]");
const CONTAINER: Question = Question::new("its container is healthy", "berth up");
const IMAGE: Question = Question::new("the server's image is there", "berth up");
const STATUS: Question = Question::new("`berth status` finds nothing wrong", "berth status");

pub(super) fn judge(seen: &Orchestrator) -> Vec<Check> {
    let answers = match &seen.engine {
        Ok((version, took)) => {
            ANSWERS.passed(format!("Docker {version} at {}, in {} ms", seen.address, took.as_millis()))
        }
        Err(why) => ANSWERS.failed(why.as_str()),
    };
    let mutual_tls = match seen.connection {
        Connection::Unix => MUTUAL_TLS.not_applicable("the daemon is reached by a Unix socket"),
        Connection::MutualTls => MUTUAL_TLS.passed("a request was answered over mutual TLS"),
        Connection::Unprotected => MUTUAL_TLS.failed("no request was answered over mutual TLS"),
    };
    let container = match &seen.container {
        Container::NotOurs => {
            CONTAINER.not_applicable("`host` in [dind] names a daemon that berth did not make")
        }
        Container::Unknown => CONTAINER.not_applicable("the engine that holds it cannot be asked from here"),
        Container::Ours { name, state, health } => {
            // The first health check comes half a minute after the start; until then our own request has to do.
            let well = health == "healthy" || (health == "starting" && seen.engine.is_ok());
            CONTAINER.holds(state == "running" && well, format!("`{name}` is {state}, health: {health}"))
        }
    };
    let image = match &seen.image_present {
        Ok(present) => IMAGE.holds(
            *present,
            format!("`{}` is{} in the daemon", seen.image, if *present { "" } else { " not" }),
        ),
        Err(why) => IMAGE.failed(why.as_str()),
    };
    let mut status =
        STATUS.each([()], "no problems", |()| (!seen.problems.is_empty()).then(|| seen.problems.join("; ")));
    if let (Some(next), Some(told)) = (&seen.next, &mut status.next) {
        next.clone_into(told);
    }
    vec![answers, mutual_tls, container, image, status]
}
