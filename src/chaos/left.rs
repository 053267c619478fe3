//! What there is that was not there before the first session.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;

/// By their names; processes by their command lines.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Left {
    pub containers: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    pub networks: BTreeSet<String>,
    pub processes: BTreeSet<String>,
    /// What the next session would not clear away either.
    pub doors: BTreeSet<String>,
}

impl Left {
    pub fn count(&self) -> usize {
        let Self { containers, volumes, networks, processes, doors } = self;
        [containers, volumes, networks, processes, doors].map(BTreeSet::len).iter().sum()
    }

    /// What is here and not in `before`.
    pub(super) fn beyond(mut self, before: &Self) -> Self {
        self.containers.retain(|name| !before.containers.contains(name));
        self.volumes.retain(|name| !before.volumes.contains(name));
        self.networks.retain(|name| !before.networks.contains(name));
        self.processes.retain(|name| !before.processes.contains(name));
        self.doors.retain(|name| !before.doors.contains(name));
        self
    }
}

pub(super) fn names(rows: &Value, name: impl Fn(&Value) -> Option<&str>) -> BTreeSet<String> {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter().filter_map(|row| Some(name(row)?.trim_start_matches('/').to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_is_new_is_left() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let before = Left { volumes: set(&["keeper"]), networks: set(&["bridge"]), ..Left::default() };
        assert_eq!(before.clone().beyond(&before).count(), 0);
        let now = Left {
            containers: set(&["c"]),
            volumes: set(&["keeper", "v"]),
            networks: set(&["bridge", "n"]),
            processes: set(&["p"]),
            doors: set(&["d"]),
        };
        let left = now.beyond(&before);
        assert_eq!(left.count(), 5);
        assert_eq!((left.volumes, left.networks), (set(&["v"]), set(&["n"])));
    }

    #[test]
    fn names_are_read_from_the_daemons_lists() {
        let rows = json!([{ "Names": ["/mcp-a-1"] }, { "Names": [] }]);
        assert_eq!(names(&rows, |row| row["Names"][0].as_str()), ["mcp-a-1".to_owned()].into());
        assert!(names(&Value::Null, |row| row["Name"].as_str()).is_empty());
    }
}
