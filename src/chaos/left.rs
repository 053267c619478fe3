//! What the daemon holds that it did not hold before the first session.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;

use super::Site;
use crate::dock::docker::DockerError;
use crate::dock::door::Doors;
use crate::dock::wire::{Request, Wire};

/// A container on standby ends by itself when its time is over.
const GONE_WITHIN: Duration = super::STANDBY_TTL.saturating_add(Duration::from_secs(15));
const LOOK_EVERY: Duration = Duration::from_millis(250);

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
    fn beyond(mut self, before: &Self) -> Self {
        self.containers.retain(|name| !before.containers.contains(name));
        self.volumes.retain(|name| !before.volumes.contains(name));
        self.networks.retain(|name| !before.networks.contains(name));
        self.processes.retain(|name| !before.processes.contains(name));
        self.doors.retain(|name| !before.doors.contains(name));
        self
    }
}

/// Everything that there is.
pub(super) async fn look(site: &Site) -> Result<Left, DockerError> {
    let mut wire = Wire::connect(site.daemon.endpoint()).await?;
    let mut get = async |path: &str| wire.call(&Request::get("look at", "the daemon", path.to_owned())).await;
    let containers = get("/containers/json?all=1").await?;
    let volumes = get("/volumes").await?;
    let networks = get("/networks").await?;
    let processes = site.host.processes(&site.container).await?;
    let doors = site.doors.iter().flat_map(Doors::names).collect();
    Ok(Left {
        doors,
        containers: names(&containers, |row| row["Names"][0].as_str()),
        volumes: names(&volumes["Volumes"], |row| row["Name"].as_str()),
        networks: names(&networks, |row| row["Name"].as_str()),
        processes: processes.into_iter().map(|(_, line)| line).filter(|line| !is_passing(line)).collect(),
    })
}

/// What is there beyond `before`, once the last of it has had its time to go.
pub(super) async fn left(site: &Site, before: &Left) -> Result<Left, DockerError> {
    let deadline = Instant::now() + GONE_WITHIN;
    loop {
        // As each session does; no container is being made any more, whose door would be young.
        if let Some(doors) = &site.doors
            && let Err(error) = doors.sweep(&site.daemon, Duration::ZERO).await
        {
            tracing::debug!("cannot remove the doors of ended containers: {error}");
        }
        let left = look(site).await.map(|now| now.beyond(before));
        if Instant::now() > deadline || matches!(&left, Ok(left) if left.count() == 0) {
            return left;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

/// The daemon's own health check, and what it runs for each.
fn is_passing(line: &str) -> bool {
    line.contains("keeper ping ")
}

fn names(rows: &Value, name: impl Fn(&Value) -> Option<&str>) -> BTreeSet<String> {
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
