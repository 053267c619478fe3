//! Ports: of this machine's loopback that a server reaches, and of a session's container that this machine reaches.

use std::fmt;

use super::value::{Value, ValueError, from_str};

from_str!(HostService, PublishedPort);

/// The longest name, as the domain name system has it.
const LONGEST_NAME: usize = 253;

/// A port of this machine's loopback, and another name by which a server knows its machine.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostService {
    pub name: Option<String>,
    pub port: u16,
}

/// A port of a session's container, and the port of this machine's loopback where it appears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PublishedPort {
    pub host: u16,
    pub container: u16,
}

/// Only as people write it: no sign, no zeros in front.
fn port(text: &str) -> Option<u16> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|_| is_plain)
}

/// A name that stands in a list of hosts. A number or `localhost` would be somebody else.
fn is_host(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 63
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
            && !part.starts_with('-')
    };
    name.len() <= LONGEST_NAME
        && name.split('.').all(part)
        && name.rsplit('.').next().is_some_and(|last| last.bytes().any(|byte| byte.is_ascii_alphabetic()))
        && !name.eq_ignore_ascii_case("localhost")
}

impl Value for HostService {
    const EXPECTED: &'static str = "a port such as \"5432\", or a name and a port such as \"redis:6379\"";

    fn from_text(text: &str) -> Option<Self> {
        let Some((name, number)) = text.split_once(':') else {
            return Some(Self { name: None, port: port(text)? });
        };
        let name = is_host(name).then(|| name.to_ascii_lowercase())?;
        Some(Self { name: Some(name), port: port(number)? })
    }

    fn from_number(number: &str) -> Option<Self> {
        Some(Self { name: None, port: port(number)? })
    }
}

impl fmt::Display for HostService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.name {
            Some(name) => write!(f, "{name}:{}", self.port),
            None => self.port.fmt(f),
        }
    }
}

impl Value for PublishedPort {
    const EXPECTED: &'static str = "a port such as \"8085\", or \"HOST:CONTAINER\" such as \"8085:80\"";

    fn from_text(text: &str) -> Option<Self> {
        let (host, container) = text.split_once(':').unwrap_or((text, text));
        Some(Self { host: port(host)?, container: port(container)? })
    }

    fn from_number(number: &str) -> Option<Self> {
        Self::from_text(number)
    }
}

impl fmt::Display for PublishedPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host == self.container {
            self.host.fmt(f)
        } else {
            write!(f, "{}:{}", self.host, self.container)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_a_port_with_a_name_or_without() {
        for text in ["5432", "redis:6379", "db.example.org:5432", "host.containers.internal:11434"] {
            assert_eq!(text.parse::<HostService>().unwrap().to_string(), text);
        }
        assert_eq!("Redis:1".parse::<HostService>().unwrap().to_string(), "redis:1");
        for text in [
            "",
            "0",
            "05432",
            "65536",
            "+1",
            "-1",
            "a",
            ":1",
            "a:",
            "a:b:1",
            "10.0.0.5:5432",
            "[::1]:1",
            "localhost:1",
        ] {
            assert!(text.parse::<HostService>().is_err(), "{text}");
        }
        for text in ["127.0.0.1:1", "15432:5432", "a b:1", "*:1", "a/b:1", "-a:1", "a..b:1"] {
            assert!(text.parse::<HostService>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_published_port_has_no_address_of_its_own() {
        for (text, shown) in [("8085", "8085"), ("8085:80", "8085:80"), ("80:80", "80")] {
            assert_eq!(text.parse::<PublishedPort>().unwrap().to_string(), shown);
        }
        for text in
            ["", "0", "8085:", ":80", "0:80", "127.0.0.1:80:80", "0.0.0.0:80", "a:80", "1:2:3", "80/udp"]
        {
            assert!(text.parse::<PublishedPort>().is_err(), "{text}");
        }
    }
}
