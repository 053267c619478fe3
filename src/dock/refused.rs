//! What a session with a list of names was refused: the forwarder's words about it (`keeper/egress.rs`), read from outside.
//!
//! The forwarder writes them into a volume of the container's own, which the container has read-only. So the daemon shows
//! them for as long as the container is there, to whoever may ask it.

use serde::Serialize;
use serde_json::{Value, json};

use super::docker::{DockerError, Engine};
use super::place::Place;
use crate::config::Settings;
use crate::values::Network;

/// Where names are asked in such a container (`keeper/egress/names.rs`).
const NAMES: &str = "198.18.0.1";
/// The file, in the folder.
const FILE: &str = "refused";
/// It is no longer (`keeper/egress/told.rs`).
const LONGEST: usize = 64 << 10;
/// What a container's command line says of a list.
const ALLOW: &str = "--allow";

/// One thing that was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refusal {
    pub count: u64,
    pub what: String,
    pub why: String,
    /// What would allow it.
    pub entry: Option<String>,
}

/// A container's list, and where it is told what was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct List {
    allowed: Vec<String>,
    folder: String,
}

/// The folder, in a container whose keeper is at `place`.
fn folder(place: &Place) -> String {
    format!("{}-told", place.folder())
}

/// A volume of the container's own, which goes with it.
pub(super) fn mount(network: &Network, place: &Place) -> Option<Value> {
    let Network::Allow(_) = network else { return None };
    Some(json!({
        // The daemon's runtime makes it read-only there: the daemon itself would not, where a volume has no name.
        "Type": "volume", "Target": folder(place), "VolumeOptions": { "NoCopy": true },
    }))
}

/// What the daemon's runtime is told of the network.
pub(super) fn options(network: &Network, place: &Place) -> Vec<String> {
    match network {
        Network::Egress | Network::None => Vec::new(),
        Network::Lan => vec!["--lan".to_owned()],
        Network::Allow(entries) => {
            let entries = entries.iter().flat_map(|entry| [ALLOW.to_owned(), entry.to_string()]);
            entries.chain(["--told".to_owned(), folder(place)]).collect()
        }
    }
}

/// Names are asked of nobody else, as they are.
pub(super) fn ask_the_forwarder(host: &mut Value) {
    host["Dns"] = json!([NAMES]);
    host["DnsSearch"] = json!(["."]);
}

impl List {
    /// Of a session's container.
    pub fn new(settings: &Settings, place: &Place) -> Option<Self> {
        let Network::Allow(entries) = &settings.network else { return None };
        Some(Self { allowed: entries.iter().map(ToString::to_string).collect(), folder: folder(place) })
    }

    /// Of a container with this command line; `None` where it has no list.
    pub fn of(command_line: &str) -> Option<Self> {
        let place = Place::of(command_line)?;
        let own = command_line.split_once(" -- ").map_or(command_line, |(own, _)| own);
        let words: Vec<&str> = own.split(' ').collect();
        let pairs = words.windows(2).filter(|pair| pair[0] == ALLOW);
        let allowed: Vec<String> = pairs.map(|pair| pair[1].to_owned()).collect();
        (!allowed.is_empty()).then(|| Self { allowed, folder: folder(&place) })
    }

    /// What was refused so far, in the order of its first time.
    pub async fn refusals(&self, engine: &Engine, container: &str) -> Result<Vec<Refusal>, DockerError> {
        let text = engine.small_file(container, &format!("{}/{FILE}", self.folder), LONGEST).await?;
        Ok(text.map(|text| read(&text)).unwrap_or_default())
    }

    /// In words for a person, with the line that allows it.
    pub fn line(&self, refusal: &Refusal) -> String {
        let Refusal { count, what, why, entry } = refusal;
        let times = if *count > 1 { format!(", {count} times") } else { String::new() };
        let mut line = format!("refused: {what} ({why}{times})");
        if let Some(entry) = entry {
            let all = self.allowed.iter().chain([entry]).map(|entry| format!("\"{entry}\""));
            let all = all.collect::<Vec<_>>().join(", ");
            line = format!("{line}; to allow it: network = {{ allow = [{all}] }}");
        }
        line
    }
}

fn read(text: &str) -> Vec<Refusal> {
    // A last line without its end is still being written.
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let refusal = |line: &str| {
        let [count, what, why, entry] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        let entry = Some(entry).filter(|entry| *entry != "-").map(str::to_owned);
        Some(Refusal { count: count.parse().ok()?, what: what.to_owned(), why: why.to_owned(), entry })
    };
    whole.lines().filter_map(refusal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forwarders_lines_are_read_and_told_with_what_to_type() {
        let text = "3\tapi.x.org\tnot in `allow`\tapi.x.org\n1\ta.org:22\tits TLS names `b`\t-\n7\tcut of";
        let refusals = read(text);
        assert_eq!(refusals.len(), 2);
        let command = format!(
            "{} hold --room --- --claim-within 1 --allow a.org --allow *.b.org:443 --told /x -- s --allow no",
            Place::new().unwrap().program()
        );
        let list = List::of(&command).unwrap();
        assert_eq!(
            list.line(&refusals[0]),
            "refused: api.x.org (not in `allow`, 3 times); \
             to allow it: network = { allow = [\"a.org\", \"*.b.org:443\", \"api.x.org\"] }"
        );
        assert_eq!(list.line(&refusals[1]), "refused: a.org:22 (its TLS names `b`)");
        assert_eq!(read(""), []);
    }

    #[test]
    fn a_container_without_a_list_has_none() {
        let program = Place::new().unwrap().program();
        assert_eq!(List::of(&format!("{program} hold --claim-within 1 --lan -- s --allow a.org")), None);
        assert_eq!(List::of("sleep --allow a.org"), None);
    }
}
