//! The last words of a daemon: what it printed before it died. Our own entry script says `berth: CAUSE; type: NEXT`.

use super::Next;

/// More than this is no line for a person.
const LONGEST: usize = 400;
const OURS: &str = "berth: ";
/// Said on the way; no reason to end.
const NOTE: &str = "berth: note: ";
const TYPE: &str = "type: ";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words {
    pub cause: String,
    pub next: Option<Next>,
    /// The entry script has said them, and ended.
    pub are_berths: bool,
}

impl Words {
    /// The last line of `log` that is no mere note. A line of ours that is not the last was no reason to end.
    pub fn last_of(log: &str) -> Option<Self> {
        let last = log.lines().map(str::trim).rfind(|line| !line.is_empty() && !line.starts_with(NOTE))?;
        let line: String = last.chars().filter(|c| !c.is_control()).take(LONGEST).collect();
        let Some(ours) = line.strip_prefix(OURS) else {
            return Some(Self { cause: line, next: None, are_berths: false });
        };
        let (cause, next) = match ours.rsplit_once("; ") {
            Some((cause, last)) if last.contains(TYPE) => (cause, Some(next(last))),
            _ => (ours, None),
        };
        Some(Self { cause: cause.to_owned(), next, are_berths: true })
    }

    /// Of one that said nothing.
    pub(super) fn none(exit_code: i64) -> Self {
        Self { cause: format!("it ends with exit code {exit_code}"), next: None, are_berths: false }
    }
}

/// A command, unless something has to be done before it, or elsewhere.
fn next(advice: &str) -> Next {
    match advice.strip_prefix(TYPE) {
        Some(command) => Next::Command(command.to_owned()),
        None => Next::Advice(advice.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(log: &str) -> (String, Option<String>, bool) {
        let words = Words::last_of(log).unwrap();
        (words.cause, words.next.map(|next| next.phrase()), words.are_berths)
    }

    #[test]
    fn the_cause_stands_before_what_is_to_be_typed() {
        let missing = "iptables: not found\nberth: /berth/certs/ca.pem is missing; type: berth up\n\n";
        let expected =
            ("/berth/certs/ca.pem is missing".to_owned(), Some("type `berth up`".to_owned()), true);
        assert_eq!(words(missing), expected);
        let bare = "berth: cannot set up the packet filter";
        assert_eq!(words(bare), ("cannot set up the packet filter".to_owned(), None, true));
        let elsewhere = "berth: sessions could meet; no module; on the engine's host type: modprobe x; y";
        assert_eq!(words(elsewhere).1, None, "what stands last is no advice");
        let elsewhere = "berth: sessions could meet; on the engine's host type: modprobe x";
        let expected = (
            "sessions could meet".to_owned(),
            Some("on the engine's host type: modprobe x".to_owned()),
            true,
        );
        assert_eq!(words(elsewhere), expected);
    }

    #[test]
    fn what_was_said_before_the_last_line_was_no_reason_to_end() {
        let log =
            "berth: no kernel for that\ntime=\"x\" level=info msg=\"Starting up\"\nfailed to start daemon: y";
        assert_eq!(words(log), ("failed to start daemon: y".to_owned(), None, false));
        let noted = "failed to start daemon: y\nberth: note: no controller io here\n";
        assert_eq!(words(noted).0, "failed to start daemon: y", "the next life has begun");
        assert_eq!(Words::last_of(" \n\nberth: note: x\n"), None);
    }

    #[test]
    fn a_terminal_is_told_no_tricks() {
        let log = format!("berth: \x1b[31mred\u{7}{}", "x".repeat(1000));
        let (cause, ..) = words(&log);
        assert!(cause.starts_with("[31mredxx") && cause.len() < LONGEST, "{cause}");
    }
}
