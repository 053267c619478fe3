//! Whose numbers the users of session containers have on the engine's machine. Judges only.

use super::line::{Findings, Line, Seen};
use crate::dind::ids::Ids;

/// Seen from inside of a session's container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Users {
    /// The kernel's `uid_map`.
    pub map: String,
    /// What the daemon is to have; `None` where it is another's, or has none by its configuration.
    pub ids: Option<Ids>,
    /// The DinD daemon's container, where it is ours.
    pub container: Option<String>,
    /// Sessions whose user has the number that it has on the machine, and that number.
    pub known: Vec<(String, String)>,
}

pub(super) const NAME: &str = "users";

pub(super) fn judge(seen: &Seen<Users>) -> Line {
    seen.line(NAME, |found| {
        let mut findings = Findings::default();
        let Some((inside, outside, count)) = first(&found.map) else {
            return Line::failed(NAME, format!("`{}` is no map of users", found.map.trim()), "berth validate");
        };
        let last = outside + count.saturating_sub(1);
        match (found.ids, &found.container) {
            (Some(ids), _) if ids.contains(outside) => findings.fact(format!(
                "a session's users {inside} to {} are {outside} to {last} on the machine, and nobody else is",
                inside + count.saturating_sub(1)
            )),
            _ if outside != 0 => findings.fact("session users are those of the engine's own user namespace"),
            (Some(_), Some(container)) => findings
                .warn("session users are the machine's: there is no user namespace", format!("docker logs {container}")),
            (None, Some(_)) => findings.fact("session users are the machine's: `userns` is false in [dind]"),
            _ => findings.fact("session users are the machine's, by that daemon's own configuration"),
        }
        // Without a namespace all have, and for another reason.
        let is_apart = found.ids.is_some_and(|ids| ids.contains(outside));
        for (session, user) in found.known.iter().filter(|_| is_apart) {
            findings.fact(format!(
                "`{session}` has user {user} of the machine, for a mount of its is on a file system without id-mapped mounts"
            ));
        }
        findings.into_line(NAME)
    })
}

/// Of the map's lines.
fn first(map: &str) -> Option<(u32, u32, u32)> {
    let mut fields = map.lines().next()?.split_whitespace().map(str::parse);
    Some((fields.next()?.ok()?, fields.next()?.ok()?, fields.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn users(map: &str) -> Users {
        let container = Some("berth-dind".to_owned());
        Users { map: map.to_owned(), ids: Some(Ids::of("berth-dind")), container, known: Vec::new() }
    }

    fn judged(users: Users) -> Line {
        judge(&Seen::Found(users))
    }

    #[test]
    fn users_of_their_own_are_told_with_their_numbers() {
        let first = Ids::of("berth-dind").first;
        let line = judged(users(&format!("         0 {first}     262143\n")));
        let last = first + 262_142;
        let fact =
            format!("a session's users 0 to 262142 are {first} to {last} on the machine, and nobody else is");
        assert_eq!((line.state, line.fact), (State::Ok, fact.clone()));
        let known = vec![("mcp-x-1".to_owned(), "1000".to_owned())];
        let line = judged(Users { known, ..users(&format!("0 {first} 262143")) });
        assert!(line.fact.contains("`mcp-x-1` has user 1000 of the machine"), "{}", line.fact);
    }

    #[test]
    fn the_machines_own_users_are_a_warning_where_there_should_be_others() {
        const WHOLE: &str = "         0          0 4294967295\n";
        let line = judged(users(WHOLE));
        assert_eq!((line.state, line.next.as_deref()), (State::Warning, Some("docker logs berth-dind")));
        let known = vec![("mcp-x-1".to_owned(), "1000".to_owned())];
        let line = judged(Users { known, ..users(WHOLE) });
        assert!(!line.fact.contains("id-mapped"), "no mount is the cause: {}", line.fact);
        let line = judged(Users { ids: None, ..users(WHOLE) });
        assert!(line.state == State::Ok && line.fact.contains("`userns` is false"), "{}", line.fact);
        let line = judged(Users { ids: None, container: None, ..users(WHOLE) });
        assert!(line.fact.contains("that daemon's own configuration"), "{}", line.fact);
        let line = judged(users("0 1000 1\n1 100000 65536\n"));
        assert!(
            line.state == State::Ok && line.fact.contains("the engine's own user namespace"),
            "{}",
            line.fact
        );
        assert_eq!(judged(users("")).state, State::Failed);
    }
}
