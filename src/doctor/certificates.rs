//! Are the certificates valid, do they belong together, and are their keys private? Judges only.

use super::line::{Findings, Line, Seen};
use crate::dind::certs;
use crate::human::count;

/// The folder of the certificates, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificates {
    pub folder: String,
    /// What makes a client's credentials unusable, and what mends it.
    pub unusable: Option<(String, String)>,
    /// Of the client's certificate.
    pub client_days: Option<i64>,
    pub server: Seen<Served>,
    pub keys: Vec<Key>,
    /// Whether `berth up` makes them.
    pub ours: bool,
}

/// The certificate that the daemon shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    pub days: Option<i64>,
    /// Whether it is the file's; `None` where there is no such file here.
    pub is_the_files: Option<bool>,
}

/// A private key's file, or the folder of all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    pub path: String,
    /// `None`: there is none.
    pub mode: Option<u32>,
    /// Whether it is this person's.
    pub own: bool,
}

const CLIENT: &str = "client certificate";
const SERVER: &str = "server certificate";
const KEYS: &str = "key files";

pub(super) fn judge(seen: &Seen<Certificates>) -> Vec<Line> {
    vec![
        seen.line(CLIENT, client),
        seen.line(SERVER, |found| found.server.line(SERVER, |served| server(*served, found.renew()))),
        seen.line(KEYS, keys),
    ]
}

impl Certificates {
    fn renew(&self) -> &'static str {
        if self.ours { "berth up" } else { "renew it where it was made" }
    }
}

fn client(found: &Certificates) -> Line {
    if let Some((why, next)) = &found.unusable {
        return Line::failed(CLIENT, why, next);
    }
    let mut findings = Findings::default();
    lasts(&mut findings, "the client's", found.client_days, found.renew());
    findings.fact(format!("its key matches it, in {}", found.folder));
    findings.into_line(CLIENT)
}

fn server(served: Served, renew: &str) -> Line {
    let mut findings = Findings::default();
    lasts(&mut findings, "the daemon's", served.days, renew);
    match served.is_the_files {
        Some(true) => findings.fact("the daemon shows the file's certificate"),
        Some(false) => {
            findings.warn("the daemon still shows another certificate than the file's", "berth up");
        }
        None => {}
    }
    findings.into_line(SERVER)
}

fn lasts(findings: &mut Findings, whose: &str, days: Option<i64>, renew: &str) {
    match days {
        None => findings.fail("it cannot be read", renew),
        Some(days) if days < 0 => findings.fail(format!("expired {} ago", self::days(-days)), renew),
        Some(days) => match certs::warning(whose, days) {
            Some(warning) if days < certs::LAST_DAYS => findings.fail(warning, renew),
            Some(warning) => findings.warn(warning, renew),
            None => findings.fact(format!("{} left", self::days(days))),
        },
    }
}

fn days(days: i64) -> String {
    count(usize::try_from(days).unwrap_or_default(), "day")
}

fn keys(found: &Certificates) -> Line {
    let mut findings = Findings::default();
    for Key { path, mode, own } in &found.keys {
        match mode {
            None => findings.fail(format!("there is no {path}"), found.renew()),
            Some(mode) if mode & 0o077 != 0 => {
                let next = if found.ours { "berth up".to_owned() } else { format!("chmod go= {path}") };
                findings.fail(format!("others may use {path} (mode {:04o})", mode & 0o7777), next);
            }
            Some(_) if !own => {
                findings
                    .warn(format!("{path} belongs to another user"), format!("sudo chown \"$USER\" {path}"));
            }
            Some(_) => {}
        }
    }
    findings.fact(format!("looked at {} in {}", count(found.keys.len(), "path"), found.folder));
    findings.into_line(KEYS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn good() -> Certificates {
        let key = |path: &str| Key { path: path.to_owned(), mode: Some(0o100_600), own: true };
        Certificates {
            folder: "/h/certs".into(),
            unusable: None,
            client_days: Some(364),
            server: Seen::Found(Served { days: Some(364), is_the_files: Some(true) }),
            keys: vec![key("/h/certs/key.pem"), key("/h/certs/ca-key.pem")],
            ours: true,
        }
    }

    fn states(found: Certificates) -> [State; 3] {
        let lines = judge(&Seen::Found(found));
        <[State; 3]>::try_from(lines.iter().map(|line| line.state).collect::<Vec<_>>()).unwrap()
    }

    const FINE: [State; 3] = [State::Ok; 3];

    #[test]
    fn good_ones_are_counted_in_days() {
        let lines = judge(&Seen::Found(good()));
        assert_eq!(states(good()), FINE);
        assert!(lines[0].fact.contains("364 days left"), "{}", lines[0].fact);
        assert!(
            judge(&Seen::NotApplicable("a socket".into()))
                .iter()
                .all(|line| line.state == State::NotApplicable)
        );
    }

    #[test]
    fn the_last_month_is_a_warning_and_the_last_days_are_a_failure() {
        let with = |client_days| states(Certificates { client_days, ..good() })[0];
        assert_eq!(
            [with(Some(29)), with(Some(2)), with(Some(-1)), with(None)],
            [State::Warning, State::Failed, State::Failed, State::Failed]
        );
        let with = |days| {
            let server = Seen::Found(Served { days: Some(days), is_the_files: Some(true) });
            states(Certificates { server, ..good() })[1]
        };
        assert_eq!([with(29), with(2)], [State::Warning, State::Failed]);
    }

    #[test]
    fn what_the_daemon_shows_is_compared_with_the_file() {
        let with = |is_the_files| {
            let server = Seen::Found(Served { days: Some(100), is_the_files });
            judge(&Seen::Found(Certificates { server, ..good() })).remove(1)
        };
        assert_eq!(with(Some(false)).state, State::Warning);
        assert_eq!(with(Some(false)).next.as_deref(), Some("berth up"));
        assert_eq!(with(None).state, State::Ok);
        let silent = Certificates { server: Seen::NotApplicable("silence".into()), ..good() };
        assert_eq!(states(silent), [State::Ok, State::NotApplicable, State::Ok]);
    }

    #[test]
    fn credentials_that_do_not_belong_together_are_unusable() {
        let unusable = Some(("the key is another's".into(), "berth up".into()));
        assert_eq!(states(Certificates { unusable, ..good() })[0], State::Failed);
    }

    #[test]
    fn keys_are_for_their_owner_alone() {
        let with = |mode, own| {
            let keys = vec![Key { path: "/h/certs/key.pem".into(), mode, own }];
            judge(&Seen::Found(Certificates { keys, ..good() })).remove(2)
        };
        let open = with(Some(0o100_640), true);
        assert_eq!((open.state, open.next.as_deref()), (State::Failed, Some("berth up")));
        assert!(open.fact.contains("mode 0640"), "{}", open.fact);
        assert_eq!(with(None, true).state, State::Failed);
        assert_eq!(with(Some(0o100_600), false).state, State::Warning);
    }
}
