//! Explains checks that could not be examined: what was missing.

use super::deployment::Deployed;
use super::{Observations, Section};
use crate::exam::check::UNEXAMINED;

/// Says of each check that had nothing to look at why that was so.
pub(super) fn explain(sections: &mut [Section], seen: &Observations) {
    let Some(why) = missing(seen) else { return };
    let checks = sections.iter_mut().flat_map(|section| &mut section.checks);
    for check in checks.filter(|check| check.detail == UNEXAMINED) {
        check.detail = format!("{UNEXAMINED}: {why}");
    }
}

fn missing(seen: &Observations) -> Option<String> {
    let sessions = &seen.deployment.sessions;
    let Some(first) = sessions.first() else { return Some("no session was started".to_owned()) };
    let live = sessions.iter().filter(|session| fault(session).is_none()).count();
    match (live, seen.missing_spares.first()) {
        (0, _) => Some(format!("no session is live ({}: {})", first.title, fault(first).unwrap_or_default())),
        (_, Some((title, why))) => Some(format!("the session «{title}» did not start: {why}")),
        (1, None) => Some("this needs two sessions, and only one is live".to_owned()),
        _ => None,
    }
}

fn fault(session: &Deployed) -> Option<&str> {
    session.ready.as_ref().err().or(session.container.as_ref().err()).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::super::judge;
    use super::super::sample::good;
    use super::*;
    use crate::exam::check::Check;
    use crate::validate::checks::isolation::Doors;

    fn unexamined(seen: &Observations) -> Vec<Check> {
        let checks = judge(seen).into_iter().flat_map(|section| section.checks);
        checks.filter(|check| check.detail.starts_with(UNEXAMINED)).collect()
    }

    fn all_say(seen: &Observations, why: &str) {
        let checks = unexamined(seen);
        assert!(!checks.is_empty());
        let expected = format!("{UNEXAMINED}: {why}");
        assert!(checks.iter().all(|check| check.detail == expected && check.next.is_none()), "{checks:#?}");
    }

    #[test]
    fn a_server_that_does_not_start_is_the_reason_for_all_that_needs_one() {
        let mut seen = Observations { orchestrator: good().orchestrator, ..Observations::default() };
        all_say(&seen, "no session was started");
        seen.deployment = good().deployment;
        for session in &mut seen.deployment.sessions {
            session.ready = Err("the server exited with code 3".to_owned());
        }
        all_say(&seen, "no session is live (claude-code 1: the server exited with code 3)");
        assert!(unexamined(&seen).len() > 10);
    }

    #[test]
    fn a_spare_that_does_not_start_is_the_reason_for_what_is_tried_with_it() {
        let mut seen = good();
        seen.isolation.daemon = Doors::default();
        seen.missing_spares = vec![("spare 1".to_owned(), "no network".to_owned())];
        all_say(&seen, "the session «spare 1» did not start: no network");
        let mut seen = good();
        seen.isolation.reaches.clear();
        for session in &mut seen.deployment.sessions[1..] {
            session.container = Err("gone".to_owned());
        }
        all_say(&seen, "this needs two sessions, and only one is live");
    }
}
