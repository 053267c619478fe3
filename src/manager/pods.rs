//! What is known of the sessions' pods in a cluster, by what the child that looks after them says (`tend.rs`).

use std::sync::{Mutex, PoisonError};

use mcp_berth::config::Config;
use mcp_berth::dock::owner::Owner;
use mcp_berth::dock::roster::{Entry, State};
use mcp_berth::values::{Backend, Isolation};
use serde_json::Value;

use crate::web::problem::Problem;

/// So many may stand by in a namespace where nobody says another number.
const CAP: u32 = 64;

/// How many may stand by.
pub(crate) fn cap(config: &Config) -> usize {
    config.limits.standby.unwrap_or(CAP) as usize
}

/// What is known of them.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    last: Mutex<Option<Result<Vec<Entry>, String>>>,
}

impl Pods {
    /// Those that run or start; none where no server runs in a cluster.
    ///
    /// # Errors
    /// Why nobody knows.
    pub(crate) fn all(&self, config: &Config) -> Result<Vec<Entry>, Problem> {
        if !config.uses(Backend::Kubernetes) {
            return Ok(Vec::new());
        }
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let unknown = || Err("the cluster has not been looked at yet; ask again in a moment".to_owned());
        last.unwrap_or_else(unknown).map_err(Problem::unavailable)
    }

    pub(crate) fn note(&self, said: Option<Result<Vec<Entry>, String>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    pub(crate) fn hear(&self, line: &str) {
        let is_new = |why: &String| {
            let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            last.as_ref().is_none_or(|last| last.as_ref().err() != Some(why))
        };
        match read(line) {
            Some(Ok(rows)) => self.note(Some(Ok(rows))),
            Some(Err(why)) => {
                if is_new(&why) {
                    tracing::warn!("cannot look at the cluster: {why}");
                }
                self.note(Some(Err(why)));
            }
            None => tracing::debug!("the cluster's program says what nobody knows"),
        }
    }
}

/// A line of the child's: the pods, or why it knows of none.
fn read(line: &str) -> Option<Result<Vec<Entry>, String>> {
    let said: Value = serde_json::from_str(line).ok()?;
    match said["failure"].as_str() {
        Some(why) => Some(Err(why.to_owned())),
        None => Some(Ok(said["pods"].as_array()?.iter().filter_map(entry).collect())),
    }
}

/// A pod as the child tells of it.
fn entry(said: &Value) -> Option<Entry> {
    let text = |key: &str| said[key].as_str().unwrap_or_default().to_owned();
    let isolations = [Isolation::Container, Isolation::Gvisor];
    let states = [State::Starting, State::Active, State::Standby];
    let name = said["name"].as_str()?.to_owned();
    Some(Entry {
        id: name.clone(),
        name,
        client: text("client"),
        server: text("server"),
        owner: Owner::new(&text("session"), said["client_session"].as_str(), said["project"].as_str()),
        way: None,
        isolation: isolations
            .into_iter()
            .find(|known| said["isolation"] == known.as_str())
            .unwrap_or_default(),
        spec: text("spec"),
        user: String::new(),
        state: states.into_iter().find(|known| said["state"] == known.as_str())?,
        running: said["running"] == true,
        created: said["created"].as_i64().unwrap_or_default(),
        list: None,
        place: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shared::Shared;

    #[tokio::test]
    async fn what_the_child_says_last_is_known() {
        let folder = tempfile::tempdir().unwrap();
        let shared = Shared::of(folder.path(), "[defaults]\nbackend = \"kubernetes\"\n");
        let config = shared.config_now().await.unwrap_or_else(|_| panic!("a configuration"));
        let rows = || shared.pods.all(&config).map(|rows| rows.len()).map_err(|_| ());
        assert_eq!(rows(), Err(()), "nobody has looked yet");
        let pod = r#"{"name":"a","state":"active","session":"s","spec":"0123","running":true}"#;
        shared.pods.hear(&format!(r#"{{"pods":[{pod},{{"name":"half"}}],"swept":["b"]}}"#));
        assert_eq!(rows(), Ok(1));
        let known = shared.pods.all(&config).unwrap_or_default().remove(0);
        assert_eq!(
            (known.name.as_str(), known.owner.session.as_str(), known.state),
            ("a", "s", State::Active)
        );
        assert_eq!((known.spec.as_str(), known.running), ("0123", true));
        shared.pods.hear(r#"{"failure":"no cluster"}"#);
        assert_eq!(rows(), Err(()));
        shared.pods.hear("no JSON");
        shared.pods.hear(r#"{"pods":[],"swept":[]}"#);
        assert_eq!(rows(), Ok(0));
        let folder = tempfile::tempdir().unwrap();
        let docker = Shared::of(folder.path(), "");
        let config = docker.config_now().await.unwrap_or_else(|_| panic!("a configuration"));
        assert_eq!(docker.pods.all(&config).map(|rows| rows.len()).map_err(|_| ()), Ok(0));
    }
}
