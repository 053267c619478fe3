//! The client that a container belongs to, as its labels and its keeper's command line show it.
//!
//! A client's own words are only shown and searched for, and give no rights. They are shortened, and made safe for any
//! terminal. The command line shows what labels cannot: the owner of a claimed standby container, and words that a
//! client says only later.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

use super::{labels, place, protocol};
use crate::failure::{Code, Failure};

/// A UUID has 36 characters.
const LONGEST_ID: usize = 64;

/// Of a folder's name, encoded.
const LONGEST_PROJECT: usize = 200;

/// Of a machine's name.
const LONGEST_MACHINE: usize = 20;

/// Room for the longest line, in the keeper's first command line.
pub(super) const ROOM: usize = 376;

/// A word of the line.
const DIRECT: &str = " streams=direct";

const PLAIN: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'/').remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b':');

/// Who has claimed a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Owner {
    /// berth's own id of it.
    pub session: String,
    /// What the client calls its session.
    pub client_session: Option<String>,
    /// The folder that the client works in.
    pub project: Option<String>,
    /// What has started its berth.
    pub parent: Option<Parent>,
    /// The server's bytes pass by pipes, not through the daemon.
    pub is_direct: bool,
}

/// A process that has started a session's berth, most often the client's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    pub pid: u32,
    /// The machine that knows it by this number: several may use one daemon.
    pub machine: String,
}

impl Parent {
    /// A process of this machine.
    pub fn here(pid: u32) -> Self {
        Self::on(pid, &labels::machine())
    }

    /// Of this process.
    pub fn own() -> Self {
        Self::here(std::os::unix::process::parent_id())
    }

    fn on(pid: u32, machine: &str) -> Self {
        let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '_' };
        Self { pid, machine: machine.chars().take(LONGEST_MACHINE).map(fit).collect() }
    }

    fn parse(text: &str) -> Option<Self> {
        let (pid, machine) = text.split_once(':')?;
        Some(Self::on(pid.parse().ok()?, machine))
    }
}

/// Twelve hex digits nobody else has.
pub fn new_session() -> Result<String, Failure> {
    let mut bytes = [0_u8; 8];
    rustls::crypto::ring::default_provider().secure_random.fill(&mut bytes).map_err(|_| Failure {
        code: Code::Internal,
        text: "the system gives no random numbers".to_owned(),
        next: None,
    })?;
    Ok(format!("{:012x}", u64::from_be_bytes(bytes) >> 16))
}

impl Owner {
    pub fn new(session: &str, client_session: Option<&str>, project: Option<&str>) -> Self {
        Self {
            session: session.to_owned(),
            client_session: client_session.and_then(id),
            project: project.and_then(folder),
            parent: None,
            is_direct: false,
        }
    }

    /// As the keeper is told, and shows.
    pub(super) fn line(&self) -> String {
        let mut line = self.session.clone();
        for (key, value) in [("client-session", &self.client_session), ("project", &self.project)] {
            if let Some(value) = value {
                line = format!("{line} {key}={}", utf8_percent_encode(value, PLAIN));
            }
        }
        if let Some(Parent { pid, machine }) = &self.parent {
            line = format!("{line} parent={pid}:{machine}");
        }
        if self.is_direct {
            line.push_str(DIRECT);
        }
        line
    }

    /// Reads a keeper's command line; `None` until somebody has claimed.
    pub(super) fn parse(command_line: &str) -> Option<Self> {
        let mut words = place::arguments(command_line)?.strip_prefix(protocol::HELD_FOR)?.split_whitespace();
        let session = words.next()?;
        let (mut client_session, mut project, mut parent, mut is_direct) = (None, None, None, false);
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            let value = percent_decode_str(value).decode_utf8_lossy();
            match key {
                "client-session" => client_session = Some(value),
                "project" => project = Some(value),
                "parent" => parent = Parent::parse(&value),
                "streams" => is_direct = value == "direct",
                _ => {}
            }
        }
        Some(Self { parent, is_direct, ..Self::new(session, client_session.as_deref(), project.as_deref()) })
    }
}

/// A client's id of its session, fit to be shown; `None` if nothing is left of it.
pub fn id(said: &str) -> Option<String> {
    let fit = |c: char| if c.is_ascii_alphanumeric() || "-_.:".contains(c) { c } else { '_' };
    let id: String = said.trim().chars().take(LONGEST_ID).map(fit).collect();
    (!id.is_empty()).then_some(id)
}

/// A folder's name, fit to be shown and to be compared: its end, where all of it is too long.
pub(super) fn folder(said: &str) -> Option<String> {
    let fit = |c: char| if c.is_control() { '?' } else { c };
    let all: String = said.chars().map(fit).collect();
    let length = |text: &str| utf8_percent_encode(text, PLAIN).map(str::len).sum::<usize>();
    if length(&all) <= LONGEST_PROJECT {
        return (!all.is_empty()).then_some(all);
    }
    let mut end = all.strip_prefix('…').unwrap_or(&all);
    while length(end) + length("…") > LONGEST_PROJECT {
        let mut chars = end.chars();
        chars.next();
        end = chars.as_str();
    }
    Some(format!("…{end}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::dock::place::Place;

    #[test]
    fn what_the_keeper_shows_is_read_again() {
        let owner = Owner::new("0123456789ab", Some("0199-af"), Some("/home/me/my project/ä=b"));
        let line = owner.line();
        assert_eq!(line, "0123456789ab client-session=0199-af project=/home/me/my%20project/%C3%A4%3Db");
        let shown = |line: &str| format!("{}{}{line}", Place::example().program(), protocol::HELD_FOR);
        assert_eq!(Owner::parse(&shown(&format!("{line}   "))), None, "no container's");
        let shown = |line: &str| format!("{}{}{line}", Place::new().unwrap().program(), protocol::HELD_FOR);
        assert_eq!(Owner::parse(&shown(&format!("{line}   "))), Some(owner.clone()));
        assert_eq!(Owner::parse(&format!("/.berth/keeper hold for {line}")), Some(owner), "a former berth's");
        let nameless = Owner::new("0123456789ab", None, None);
        assert_eq!(Owner::parse(&shown("0123456789ab")), Some(nameless));
        assert_eq!(Owner::parse("/.berth/keeper hold --claim-within 4000 --grace 3000"), None, "unclaimed");
        assert_eq!(Owner::parse(""), None);
    }

    #[test]
    fn a_parent_is_a_process_of_a_machine() {
        let owner =
            Owner { parent: Some(Parent::on(4711, "my laptop")), ..Owner::new("0123456789ab", None, None) };
        assert_eq!(owner.line(), "0123456789ab parent=4711:my_laptop");
        let shown = |line: &str| format!("/.berth/keeper{}{line}", protocol::HELD_FOR);
        assert_eq!(Owner::parse(&shown(&owner.line())), Some(owner));
        for odd in ["4711", "x:m", ":m", "-1:m"] {
            assert_eq!(Owner::parse(&shown(&format!("s parent={odd}"))).unwrap().parent, None, "{odd}");
        }
        assert_eq!(Parent::own().pid, std::os::unix::process::parent_id());
    }

    #[test]
    fn what_a_client_says_is_made_fit_to_be_shown() {
        let owner = |id: &str, project: &str| Owner::new("s", Some(id), Some(project));
        assert_eq!(owner("a b\u{1b}[2J\nc=%", "/x").client_session.as_deref(), Some("a_b__2J_c__"));
        assert_eq!(owner("", "").client_session, None);
        assert_eq!(owner("", "").project, None);
        assert_eq!(owner(&"x".repeat(100), "").client_session.map(|id| id.len()), Some(LONGEST_ID));
        assert_eq!(owner("", "/a\u{1b}[2J\n").project.as_deref(), Some("/a?[2J?"));
        let long = owner("", &format!("/home/{}/end", "ä".repeat(99))).project.unwrap();
        assert!(long.starts_with('…') && long.ends_with("ä/end"), "{long}");
    }

    proptest! {
        #[test]
        fn it_fits_into_one_line_whatever_is_said(id in "\\PC{0,80}|:{80}", project in ".{0,300}", machine in ".{0,30}") {
            let parent = Some(Parent::on(u32::MAX, &machine));
            let owner = Owner { parent, is_direct: true, ..Owner::new("0123456789ab", Some(&id), Some(&project)) };
            let held = format!("{}{}", protocol::HELD_FOR, owner.line());
            let line = format!("{}{held}", Place::new().unwrap().program());
            prop_assert!(held.len() < ROOM && line.bytes().all(|b| (b' '..=b'~').contains(&b)), "{}", line);
            prop_assert_eq!(Owner::parse(&line), Some(owner));
        }
    }
}
