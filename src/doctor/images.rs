//! Does the daemon have each configured server's image, and its newest version? Judges only.

use super::line::{Line, Seen, list};
use crate::human::Bytes;

/// An image that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    pub name: String,
    /// Whose it is.
    pub servers: Vec<String>,
    pub there: Seen<Presence>,
    /// What makes it.
    pub made_by: Maker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The host's engine has it, or a registry.
    Up,
    /// berth bakes it at the first start.
    Bake,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Presence {
    Missing,
    Present {
        bytes: u64,
        created: String,
        /// When the host's was made, where that is another one.
        hosts: Option<String>,
    },
}

const NAME: &str = "image";

/// One line each.
pub(super) fn judge(images: &[Image]) -> Vec<Line> {
    if images.is_empty() {
        return vec![Line::not_applicable(NAME, "no server is configured")];
    }
    images.iter().map(|image| image.there.line(NAME, |there| one(image, there)).of(&image.name)).collect()
}

fn one(image: &Image, there: &Presence) -> Line {
    let servers = list(image.servers.iter().map(String::as_str));
    match there {
        Presence::Missing if image.made_by == Maker::Bake => {
            let fact = format!("not baked yet; the first start of {servers} will bake it");
            Line::warning(NAME, fact, "berth bake")
        }
        Presence::Missing => Line::failed(NAME, format!("not in the daemon; {servers} needs it"), "berth up"),
        Presence::Present { hosts: Some(hosts), created, .. } => {
            let fact = format!(
                "the host's engine has another image (made {}, the daemon's {}); for {servers}",
                day(hosts),
                day(created)
            );
            Line::warning(NAME, fact, "berth up")
        }
        Presence::Present { bytes, created, hosts: None } => {
            Line::ok(NAME, format!("{}, made {}; for {servers}", Bytes(*bytes), day(created)))
        }
    }
}

/// `2026-11-22T10:20:30.4Z` is told to the second.
fn day(created: &str) -> String {
    let seconds = created.get(..19).unwrap_or(created);
    if seconds.is_empty() { "at an unknown time".to_owned() } else { seconds.replace('T', " ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn line(there: Presence, made_by: Maker) -> Line {
        let servers = vec!["time".to_owned(), "clock".to_owned()];
        judge(&[Image { name: "i".into(), servers, there: Seen::Found(there), made_by }]).remove(0)
    }

    fn present(hosts: Option<&str>) -> Presence {
        let created = "2026-11-22T10:20:30.456Z".to_owned();
        Presence::Present { bytes: 5 << 20, created, hosts: hosts.map(str::to_owned) }
    }

    #[test]
    fn an_image_is_there_or_the_command_that_brings_it_is_told() {
        let fine = line(present(None), Maker::Up);
        assert_eq!(fine.fact, "5.0 MiB, made 2026-11-22 10:20:30; for `time`, `clock`");
        assert_eq!((fine.state, fine.object.as_deref()), (State::Ok, Some("i")));
        let missing = line(Presence::Missing, Maker::Up);
        assert_eq!((missing.state, missing.next.as_deref()), (State::Failed, Some("berth up")));
        let unbaked = line(Presence::Missing, Maker::Bake);
        assert_eq!((unbaked.state, unbaked.next.as_deref()), (State::Warning, Some("berth bake")));
    }

    #[test]
    fn another_one_on_the_host_is_newer() {
        let old = line(present(Some("2026-11-23T00:00:00Z")), Maker::Up);
        assert_eq!((old.state, old.next.as_deref()), (State::Warning, Some("berth up")));
        assert!(old.fact.contains("2026-11-23 00:00:00"), "{}", old.fact);
    }

    #[test]
    fn no_servers_need_no_images() {
        assert_eq!(judge(&[])[0].state, State::NotApplicable);
    }
}
