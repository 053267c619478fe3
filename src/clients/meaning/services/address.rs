//! Addresses of this machine in a text: in URLs, in lists, in the connection strings of databases.

use super::USUAL;
use super::known::default_of_scheme;

/// Names and addresses that mean the machine itself, whoever says them.
const HOSTS: [&str; 10] = [
    "localhost",
    "127.0.0.1",
    "[::1]",
    "0.0.0.0",
    USUAL,
    "gateway.docker.internal",
    "host.containers.internal",
    "docker.for.mac.localhost",
    "docker.for.mac.host.internal",
    "docker.for.win.localhost",
];

/// By these a server reaches its container's own loopback, where berth listens.
const LOOPBACK: [&str; 5] = ["localhost", "127.0.0.1", "[::1]", "::1", "0.0.0.0"];

/// This machine, named in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mention<'a> {
    /// In lower case.
    pub(super) host: String,
    /// In front of `://`.
    pub(super) scheme: Option<&'a str>,
    pub(super) port: Option<u16>,
    /// What follows, up to the next separator.
    pub(super) path: &'a str,
}

impl Mention<'_> {
    /// Whether a server knows the host by that name anyway.
    pub(super) fn is_usual(&self) -> bool {
        LOOPBACK.contains(&self.host.as_str()) || self.host == USUAL
    }

    /// What the scheme means where no port stands.
    pub(super) fn default_port(&self) -> Option<u16> {
        default_of_scheme(self.scheme?)
    }
}

/// Every place of `text` that names this machine, by one of the usual names or of `names`.
pub(super) fn mentions<'a>(text: &'a str, names: &[String]) -> Vec<Mention<'a>> {
    if text == "::1" {
        return vec![Mention { host: text.to_owned(), scheme: None, port: None, path: "" }];
    }
    let lower = text.to_ascii_lowercase();
    let hosts =
        HOSTS.into_iter().chain(names.iter().map(String::as_str).filter(|name| !HOSTS.contains(name)));
    let mut found: Vec<(usize, Mention<'a>)> = hosts
        .flat_map(|host| lower.match_indices(host).map(|(at, _)| (at, host)).collect::<Vec<_>>())
        .filter_map(|(at, host)| Some((at, mention(text, at, host)?)))
        .collect();
    found.sort_by_key(|(at, _)| *at);
    found.into_iter().map(|(_, mention)| mention).collect()
}

fn mention<'a>(text: &'a str, at: usize, host: &str) -> Option<Mention<'a>> {
    let (before, rest) = (&text[..at], &text[at + host.len()..]);
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if before.ends_with(is_of_name) || rest.starts_with(|c: char| is_of_name(c) && c != '.') {
        return None;
    }
    if rest.strip_prefix('.').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_alphanumeric())) {
        return None;
    }
    let digits = |text: &str| -> Option<(u16, usize)> {
        let length = text.bytes().take_while(u8::is_ascii_digit).count();
        Some((text[..length].parse().ok().filter(|port| *port > 0)?, length))
    };
    // SQL Server has a comma before its port, and libpq a word.
    let is_list = before.to_ascii_lowercase().trim_end().ends_with(['=']);
    let behind = rest.strip_prefix(':').or(rest.strip_prefix(',').filter(|_| is_list));
    let (port, path) = match behind.and_then(|behind| Some((behind, digits(behind)?))) {
        Some((behind, (port, length))) => (Some(port), &behind[length..]),
        None => (named_port(text).filter(|_| is_list), rest),
    };
    let end = path.find([' ', '"', '\'', ',', ';', '}', ')', '\t']).unwrap_or(path.len());
    Some(Mention { host: host.to_owned(), scheme: scheme(before), port, path: &path[..end] })
}

/// The scheme of the address that `before` is the beginning of: what lies between is a login, or other hosts of a list.
fn scheme(before: &str) -> Option<&str> {
    let (head, between) = before.rsplit_once("://")?;
    if between.contains([' ', '"', '\'', '?', '(', '{']) || (between.contains('/') && !between.contains('@'))
    {
        return None;
    }
    let is_of_scheme = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let start = head
        .rfind(|c: char| !is_of_scheme(c))
        .map_or(0, |at| at + head[at..].chars().next().map_or(1, char::len_utf8));
    Some(&head[start..]).filter(|scheme| !scheme.is_empty())
}

/// `port=5433`, in a text of such words.
fn named_port(text: &str) -> Option<u16> {
    let lower = text.to_ascii_lowercase();
    let words = lower.split([' ', ';', '&', ',']);
    let port = words.filter_map(|word| word.trim().split_once('=')).find(|(key, _)| key.trim() == "port")?;
    port.1.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ports(text: &str) -> Vec<Option<u16>> {
        mentions(text, &[]).iter().map(|found| found.port.or(found.default_port())).collect()
    }

    #[test]
    fn addresses_of_this_machine_are_seen_wherever_they_stand() {
        for (text, port) in [
            ("postgres://u:p@localhost/db", 5432),
            ("postgresql+asyncpg://u:p@127.0.0.1:5433/db", 5433),
            ("redis://localhost:6379/0", 6379),
            ("REDIS://LOCALHOST", 6379),
            ("mongodb://localhost", 27017),
            ("bolt+s://host.docker.internal", 7687),
            ("http://localhost", 80),
            ("https://[::1]/x", 443),
            ("ws://0.0.0.0:9000", 9000),
            ("jdbc:mysql://localhost:3307/db?useSSL=false", 3307),
            ("jdbc:oracle:thin:@localhost:1521:xe", 1521),
            ("root:pw@tcp(127.0.0.1:3306)/db", 3306),
            ("host=localhost port=5433 dbname=x", 5433),
            ("Server=localhost,1433;Database=x", 1433),
            ("{\"url\":\"http://localhost:4444/x\"}", 4444),
            ("localhost:11434", 11434),
        ] {
            assert_eq!(ports(text), [Some(port)], "{text}");
        }
        assert_eq!(ports("localhost:9092,localhost:9093"), [Some(9092), Some(9093)]);
        assert_eq!(ports("mongodb://u:p@localhost:27017,localhost:27018/db"), [Some(27017), Some(27018)]);
        assert_eq!(ports("localhost"), [None]);
        assert_eq!(ports("::1"), [None]);
    }

    #[test]
    fn other_machines_and_other_words_are_none() {
        for text in [
            "https://api.example.org:443/x",
            "http://localhost.example.org:80",
            "http://mylocalhost:80",
            "10.127.0.0.1",
            "127.0.0.11",
            "not-localhost",
            "localhost-x",
            "",
        ] {
            assert!(mentions(text, &[]).is_empty(), "{text}");
        }
    }

    #[test]
    fn a_line_may_have_names_of_its_own_for_the_machine() {
        let names = ["db".to_owned()];
        let found = mentions("postgres://u@db:5432/x", &names);
        assert_eq!((found[0].host.as_str(), found[0].port, found[0].is_usual()), ("db", Some(5432), false));
        assert!(mentions("postgres://u@db:5432/x", &[]).is_empty());
    }
}
