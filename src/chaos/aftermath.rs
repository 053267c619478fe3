//! What an ended session left in its files.

use std::path::Path;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::Site;
use crate::backend::docker::start::BY_PIPES;
use crate::session::upstream::Exit;

/// As `session::recovery` has it: a server that is lost more often than so in this time is given up.
const LOSSES: usize = 5;
const WINDOW: Duration = Duration::from_mins(1);

/// Takes over what the session's servers wrote of their executions.
pub(super) fn read_executions(stderr: &Path, site: &Site) {
    let said = std::fs::read(stderr).unwrap_or_default();
    let mut tally = site.tally();
    for ((process, token), times) in executions(&String::from_utf8_lossy(&said)) {
        tally.executed(process, token, times);
    }
}

fn executions(said: &str) -> std::collections::BTreeMap<(&str, &str), u64> {
    let mut times = std::collections::BTreeMap::new();
    for line in said.lines() {
        if let Some((process, token)) = line.strip_prefix("tally ").and_then(|rest| rest.split_once(' ')) {
            *times.entry((process, token)).or_default() += 1;
        }
    }
    times
}

/// The ids of the requests that the proxy has read.
pub(super) fn taken(trace: &Path) -> Vec<u64> {
    records(trace)
        .iter()
        .filter(|record| record["direction"] == "client->server" && record["kind"] == "request")
        .filter_map(|record| record["id"].as_u64())
        .collect()
}

/// How many of the session's servers handed over their pipes.
pub(super) fn by_pipes(trace: &Path) -> usize {
    records(trace).iter().filter(|record| record["name"] == BY_PIPES).count()
}

/// Whether the session's last server, or that of one of its lanes, ended with its input, by itself, and as well as can be.
pub(super) fn ended_in_order(trace: &Path, lane: Option<&str>) -> bool {
    let records = records(trace);
    let is_of_lane = |record: &Value| lane.is_none_or(|lane| record["lane"] == lane);
    let last = records.iter().rfind(|record| record["name"] == "server ended" && is_of_lane(record));
    last.is_some_and(|record| record["detail"] == format!("{:?}", Exit::Code(0)))
}

/// Whether the session had lost so many servers that its end is what was promised.
pub(super) fn gave_up(trace: &Path) -> bool {
    let losses: Vec<Timestamp> = records(trace)
        .iter()
        .filter(|record| record["name"] == "server ended")
        .filter_map(|record| record["time"].as_str()?.parse().ok())
        .collect();
    let Some(last) = losses.last() else { return false };
    let recent = |loss: &&Timestamp| last.duration_since(**loss).unsigned_abs() < WINDOW;
    losses.iter().filter(recent).count() > LOSSES
}

fn records(trace: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(trace).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn executions_are_counted_and_other_lines_are_none() {
        let said = "tally p a.1\nberth: another server\ntally p a.2\ntally p a.1\ntally q a.3\ntally\n";
        let counted: Vec<_> = executions(said).into_iter().collect();
        assert_eq!(counted, [(("p", "a.1"), 2), (("p", "a.2"), 1), (("q", "a.3"), 1)]);
    }

    #[test]
    fn only_many_losses_at_once_are_a_reason_to_give_up() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let ended = |second: usize| {
            format!(
                "{{\"time\":\"2026-11-22T10:{:02}:{:02}Z\",\"name\":\"server ended\"}}\n",
                second / 60,
                second % 60
            )
        };
        let write = |seconds: &[usize]| {
            std::fs::write(file.path(), seconds.iter().map(|second| ended(*second)).collect::<String>())
                .unwrap();
            gave_up(file.path())
        };
        assert!(write(&[0, 10, 20, 30, 40, 50]));
        assert!(!write(&[0, 10, 20, 30, 40]));
        assert!(!write(&[0, 20, 40, 60, 80, 100]));
        assert!(!write(&[]));
    }

    #[test]
    fn a_server_that_was_lost_has_not_ended_in_order() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let last = |details: &[&str]| {
            let line = |detail| format!("{{\"name\":\"server ended\",\"detail\":\"{detail}\"}}\n");
            std::fs::write(file.path(), details.iter().map(line).collect::<String>()).unwrap();
            ended_in_order(file.path(), None)
        };
        assert!(last(&["Lost", "Code(0)"]));
        assert!(!last(&["Code(0)", "Lost"]) && !last(&["Code(1)"]) && !last(&[]));
        let lines = [("a", "Code(0)"), ("b", "Lost")].map(|(lane, detail)| {
            format!("{{\"lane\":\"{lane}\",\"name\":\"server ended\",\"detail\":\"{detail}\"}}\n")
        });
        std::fs::write(file.path(), lines.concat()).unwrap();
        assert!(ended_in_order(file.path(), Some("a")) && !ended_in_order(file.path(), Some("b")));
    }

    #[test]
    fn servers_whose_pipes_came_are_counted_by_the_steps_of_their_starts() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let names = ["start the server", BY_PIPES, "server ended", "stay with the daemon's stream", BY_PIPES];
        let lines = names.map(|name| format!("{{\"kind\":\"step\",\"name\":\"{name}\"}}\n"));
        std::fs::write(file.path(), lines.concat()).unwrap();
        assert_eq!(by_pipes(file.path()), 2);
    }

    #[test]
    fn a_request_that_was_read_is_known_by_its_id() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let text = concat!(
            r#"{"direction":"client->server","kind":"request","id":4}"#,
            "\n",
            r#"{"direction":"client->server","kind":"notification"}"#,
            "\n",
            r#"{"direction":"server->client","kind":"request","id":5}"#,
            "\ncut off"
        );
        std::fs::write(file.path(), text).unwrap();
        assert_eq!(taken(file.path()), [4]);
    }
}
