//! What of a line is about the machine's own loopback: `-p`, `--network host`, `--add-host NAME:host-gateway`.

use toml_edit::{Array, Value};

use super::super::flags::Line;
use super::super::{Parsed, RunnerError};
use crate::values::PublishedPort;

/// A longer range is no log-in's.
const RANGE: u16 = 16;

/// What a line says of the machine that it runs on, and no setting can say: which of its services the server uses has to
/// be found out elsewhere.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostAccess {
    /// All of them, by `--network host`.
    pub network: bool,
    /// Names of the machine, by `--add-host NAME:host-gateway`.
    pub names: Vec<String>,
}

impl HostAccess {
    /// Why a line cannot be taken as it is where nobody finds out; `None` where it says nothing of this.
    pub fn refusal(&self) -> Option<RunnerError> {
        let flag = match self {
            Self { network: true, .. } => "--network host",
            Self { names, .. } if !names.is_empty() => "--add-host",
            _ => return None,
        };
        Some(RunnerError::new(
            format!(
                "berth does not take over `{flag}` of `docker run`: the machine's own services would be open to the server"
            ),
            "leave it out, and name those that it needs in its [servers.NAME]: `host_services = [\"PORT\"]`",
        ))
    }
}

/// `-p [[ADDRESS:]HOST:]CONTAINER[/PROTOCOL]`
pub(super) fn publish(parsed: &mut Parsed, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
    let wrong = || line.wrong(flag, "write 127.0.0.1:PORT:PORT");
    let (places, protocol) = value.split_once('/').unwrap_or((value, "tcp"));
    let mut parts = places.rsplitn(3, ':');
    let container = range(parts.next().unwrap_or_default()).ok_or_else(wrong)?;
    let host = parts.next().unwrap_or_default();
    let address = parts.next().unwrap_or_default().trim_start_matches('[').trim_end_matches(']');
    let mut left_out = |why: &str| {
        parsed.notes.push(format!("`{flag}` is left out: {why}"));
        Ok(())
    };
    if protocol != "tcp" {
        return left_out("berth publishes TCP alone");
    }
    if host.is_empty() || host == "0" {
        return left_out("the engine would choose a port; name one: `publish = [\"HOST:CONTAINER\"]`");
    }
    let host = range(host).ok_or_else(wrong)?;
    if host.1 - host.0 != container.1 - container.0 {
        return Err(wrong());
    }
    if host.1 - host.0 >= RANGE {
        return left_out("it names very many ports; name those that are used in `publish`");
    }
    match address {
        "127.0.0.1" | "::1" | "localhost" => {}
        "" | "0.0.0.0" | "::" => parsed.notes.push(format!(
            "`{flag}` leads from this machine alone: berth publishes at 127.0.0.1, and nowhere else"
        )),
        _ => return left_out("berth publishes at 127.0.0.1, and nowhere else"),
    }
    for (host, container) in (host.0..=host.1).zip(container.0..) {
        parsed.add_to("publish", &PublishedPort { host, container }.to_string());
    }
    Ok(())
}

/// `--add-host NAME:ADDRESS`
pub(super) fn add_host(parsed: &mut Parsed, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
    let (name, address) = value.split_once(['=', ':']).unwrap_or((value, ""));
    if !["host-gateway", "127.0.0.1", "::1", "[::1]"].contains(&address) {
        return Err(line.refuse(
            flag,
            "a session reaches no other machine by a name of its line",
            "give the server the address itself",
        ));
    }
    let name = name.to_ascii_lowercase();
    if !parsed.host_access.names.contains(&name) {
        parsed.host_access.names.push(name);
    }
    Ok(())
}

fn range(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let port = |text: &str| text.parse().ok().filter(|port| *port > 0);
    let (first, last) = (port(first)?, port(last)?);
    (first <= last).then_some((first, last))
}

impl Parsed {
    /// Adds a text to a setting that is a list, unless it is there.
    pub fn add_to(&mut self, key: &'static str, text: &str) {
        let known = self.settings.iter().find(|(known, _)| *known == key);
        let mut list = known.and_then(|(_, list)| list.as_array()).cloned().unwrap_or_else(Array::new);
        if list.iter().all(|known| known.as_str() != Some(text)) {
            list.push(text);
        }
        self.set(key, Value::Array(list));
    }
}

#[cfg(test)]
mod tests {
    use crate::runner::{Parsed, parse};

    fn run(flags: &str) -> Result<Parsed, String> {
        let line = format!("docker run -i --rm {flags} image/x");
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .map_err(|error| error.to_string())
    }

    fn published(flags: &str) -> String {
        let parsed = run(flags).unwrap();
        let list = parsed.settings.iter().find(|(key, _)| *key == "publish");
        list.map(|(_, list)| list.to_string()).unwrap_or_default()
    }

    #[test]
    fn a_port_of_the_loopback_is_published() {
        assert_eq!(published("-p 127.0.0.1:8085:8085"), "[\"8085\"]");
        assert_eq!(published("--publish=127.0.0.1:8085:80/tcp -p [::1]:1:1"), "[\"8085:80\", \"1\"]");
        assert_eq!(published("-p 127.0.0.1:5000-5001:6000-6001"), "[\"5000:6000\", \"5001:6001\"]");
        let parsed = run("-p 8000:8000").unwrap();
        assert!(parsed.notes[0].contains("at 127.0.0.1, and nowhere else"), "{:?}", parsed.notes);
        assert_eq!(published("-p 8000:8000"), "[\"8000\"]");
    }

    #[test]
    fn what_is_more_than_that_is_left_out_with_a_word() {
        for flags in
            ["-p 192.168.1.5:80:80", "-p 53:53/udp", "-p 8085", "-p 127.0.0.1::80", "-p 1000-2000:1000-2000"]
        {
            let parsed = run(flags).unwrap();
            assert!(
                published(flags).is_empty() && parsed.notes[0].contains("is left out"),
                "{flags}: {:?}",
                parsed.notes
            );
        }
        for flags in ["-p a:b", "-p 1-2:3", "-p 0:0", "-p 70000:1"] {
            assert!(published_or_refused(flags), "{flags}");
        }
    }

    fn published_or_refused(flags: &str) -> bool {
        run(flags).is_err()
    }

    #[test]
    fn the_machines_own_network_and_names_are_for_others_to_find_out() {
        let parsed = run("--network host").unwrap();
        assert!(parsed.host_access.network);
        assert!(parsed.host_access.refusal().unwrap().to_string().contains("host_services"));
        let parsed = run("--add-host=host.docker.internal:host-gateway --add-host DB:127.0.0.1").unwrap();
        assert_eq!(parsed.host_access.names, ["host.docker.internal", "db"]);
        assert!(parsed.host_access.refusal().is_some());
        assert!(run("").unwrap().host_access.refusal().is_none());
        assert!(run("--add-host db:10.0.0.5").unwrap_err().contains("no other machine"));
    }
}
