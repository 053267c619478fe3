//! Did each session get its server, in a container that carries its name?

use std::time::Duration;

use super::Where;
use crate::exam::check::{Check, Question, Seen, repeated, unexamined};
use crate::human::count;

/// The sessions that were started at once.
#[derive(Debug, Clone)]
pub struct Deployment {
    /// The server's name in the configuration.
    pub server: String,
    pub sessions: Vec<Deployed>,
    /// From the first start to the last answer.
    pub took: Duration,
    /// How long a client waits for its server.
    pub patience: Duration,
}

impl Default for Deployment {
    fn default() -> Self {
        Self { server: String::new(), sessions: Vec::new(), took: Duration::ZERO, patience: PATIENCE }
    }
}

/// One session, as it stood once its server had answered.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// For people: `claude-code 1`.
    pub title: String,
    /// What its container's name and label must say.
    pub client: &'static str,
    /// From its start to the answer to its first request of the server.
    pub ready: Seen<Duration>,
    /// The container, by the session's own account and then by the daemon's.
    pub container: Seen<Found>,
}

/// A container as the daemon lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub id: String,
    pub name: String,
    pub client: String,
    pub server: String,
    pub session: String,
    pub running: bool,
}

/// Claude Code and Codex both give up on a server after this time by default.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// More names than these are counted, not told.
const NAMED: usize = 6;

const ANSWERED: Question =
    Question::new("every session's server answers", "berth run --trace SERVER, and type a request");
const IN_TIME: Question = Question::new(
    "servers answer before their clients give up",
    "berth run --trace SERVER, and see which step is slow",
);
const CONTAINERS: Question = Question::new("every session has a running container", "berth ps");
const NAMES: Question = Question::new("containers are named mcp-CLIENT-N", "berth ps");
const PODS: Question = Question::new("pods are named mcp-CLIENT-ID", "berth ps");
const LABELS: Question = Question::new("labels say client, server and session", "berth ps");

pub(super) fn judge(seen: &Deployment, place: Where) -> Vec<Check> {
    let sessions = &seen.sessions;
    let ready = |deployed: &Deployed| deployed.ready.as_ref().ok().copied();
    let slowest = sessions.iter().filter_map(ready).max().unwrap_or_default();
    let containers: Vec<_> =
        sessions.iter().filter_map(|deployed| Some((deployed, deployed.container.as_ref().ok()?))).collect();
    let answered = ANSWERED.each(
        sessions,
        format!("{} in {:.2} s", count(sessions.len(), "session"), seen.took.as_secs_f64()),
        |deployed| deployed.ready.as_ref().err().map(|why| format!("{}: {why}", deployed.title)),
    );
    let in_time = IN_TIME.each(
        sessions.iter().filter_map(|deployed| Some((deployed, ready(deployed)?))),
        format!(
            "the slowest took {:.2} s of the {} s that clients wait",
            slowest.as_secs_f64(),
            seen.patience.as_secs()
        ),
        |(deployed, took)| {
            (took > seen.patience).then(|| format!("{} took {:.1} s", deployed.title, took.as_secs_f64()))
        },
    );
    let present = CONTAINERS.each(sessions, count(containers.len(), "container"), |deployed| match &deployed
        .container
    {
        Ok(found) if found.running => None,
        Ok(found) => Some(format!("the container {} of {} does not run", found.name, deployed.title)),
        Err(why) => Some(unexamined(&deployed.title, why)),
    });
    let mut all_names: Vec<&str> = containers.iter().map(|(_, found)| found.name.as_str()).collect();
    let more = all_names.len().saturating_sub(NAMED);
    all_names.truncate(NAMED);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    let (naming, is_last): (_, fn(&str) -> bool) = match place {
        Where::Daemon => (NAMES, |last| last.parse::<u32>().is_ok_and(|number| number > 0)),
        Where::Cluster => (PODS, is_id),
    };
    let names = naming.each(&containers, format!("{}{more}", all_names.join(", ")), |(deployed, found)| {
        let is_right = found
            .name
            .strip_prefix("mcp-")
            .and_then(|rest| rest.strip_prefix(deployed.client))
            .and_then(|rest| rest.strip_prefix('-'))
            .is_some_and(is_last);
        (!is_right).then(|| format!("{} has {}", deployed.title, found.name))
    });
    let sessions_ids = containers.iter().map(|(_, found)| found.session.as_str());
    let shared_ids = repeated(sessions_ids);
    let labels = LABELS.each(
        &containers,
        format!("{}, all different", count(containers.len(), "session")),
        |(deployed, found)| label_problem(deployed, found, &seen.server, &shared_ids),
    );
    vec![answered, in_time, present, names, labels]
}

/// As a session has it.
fn is_id(text: &str) -> bool {
    text.len() == 12 && text.chars().all(|c| c.is_ascii_hexdigit())
}

fn label_problem(deployed: &Deployed, found: &Found, server: &str, shared_ids: &[&str]) -> Option<String> {
    let name = &found.name;
    if found.client != deployed.client {
        Some(format!("{name} says client `{}` instead of `{}`", found.client, deployed.client))
    } else if found.server != server {
        Some(format!("{name} says server `{}` instead of `{server}`", found.server))
    } else if found.session.is_empty() {
        Some(format!("{name} says no session"))
    } else if shared_ids.contains(&found.session.as_str()) {
        Some(format!("{name} is not the only container of session {}", found.session))
    } else {
        None
    }
}
