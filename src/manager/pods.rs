//! The sessions' pods in a cluster. `berth-kubernetes` looks after them as a child, so that this program links no client of a
//! cluster, and says after each look which there are.

use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use mcp_berth::config::Config;
use mcp_berth::dock::owner::Owner;
use mcp_berth::dock::roster::{Entry, State};
use mcp_berth::values::{Backend, Isolation};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::shared::Shared;
use crate::web::problem::Problem;

/// The program's name; it lies beside this one.
const PROGRAM: &str = "berth-kubernetes";

/// Before it is started again, and between two looks at the configuration.
const AGAIN_AFTER: Duration = Duration::from_secs(5);
/// A look takes this long at the most; who says nothing for longer is started anew.
const SPEAKS_WITHIN: Duration = Duration::from_mins(3);
/// A pod's end waits for its session.
const ENDS_WITHIN: Duration = Duration::from_mins(1);

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

    fn note(&self, said: Option<Result<Vec<Entry>, String>>) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = said;
    }

    fn hear(&self, line: &str) {
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
            None => tracing::debug!("`{PROGRAM}` says what nobody knows"),
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

/// Has the pods looked after, for as long as servers run in a cluster, until the manager ends.
pub(crate) async fn work(shared: &Shared) {
    loop {
        if is_wanted(shared).await {
            tokio::select! {
                () = shared.stop.cancelled() => return,
                why = follow(shared) => tracing::warn!("`{PROGRAM}` {why}; it is started again"),
            }
        }
        shared.pods.note(None);
        tokio::select! {
            () = shared.stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN_AFTER) => {}
        }
    }
}

async fn is_wanted(shared: &Shared) -> bool {
    shared.config_now().await.is_ok_and(|config| config.uses(Backend::Kubernetes))
}

/// Hears a child to its end; gives why that has come.
async fn follow(shared: &Shared) -> String {
    let mut child = match start(shared) {
        Ok(child) => child,
        Err(error) => return format!("cannot be started: {error}"),
    };
    // It ends with its input.
    let (input, Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return "has no pipes".to_owned();
    };
    let mut lines = BufReader::new(output).lines();
    let why = loop {
        match tokio::time::timeout(SPEAKS_WITHIN, lines.next_line()).await {
            Ok(Ok(Some(line))) => shared.pods.hear(&line),
            Ok(Ok(None)) => break "has ended".to_owned(),
            Ok(Err(error)) => break format!("cannot be heard: {error}"),
            Err(_) => break format!("said nothing within {SPEAKS_WITHIN:?}"),
        }
        if !is_wanted(shared).await {
            break "is not needed any more".to_owned();
        }
    };
    drop(input);
    let _ = child.kill().await;
    why
}

fn start(shared: &Shared) -> std::io::Result<Child> {
    let mut command = program(shared)?;
    command.args(["kubernetes", "tend"]).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    command.spawn()
}

/// With the configuration that this manager has.
fn program(shared: &Shared) -> std::io::Result<Command> {
    let program: PathBuf = std::env::current_exe()?.with_file_name(PROGRAM);
    let mut command = Command::new(program);
    command.arg("--config").arg(shared.configured.path());
    Ok(command)
}

/// Ends the session of a pod, as `berth kill` does.
///
/// # Errors
/// It has not ended.
pub(crate) async fn end(shared: &Shared, pod: &str) -> Result<(), Problem> {
    let unavailable = |why: String| Problem::unavailable(format!("`{pod}` was not ended: {why}"));
    let mut command = program(shared).map_err(|error| unavailable(error.to_string()))?;
    command.args(["kill", "--yes", pod]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(ENDS_WITHIN, command.output()).await;
    match ended {
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => Err(unavailable(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        Ok(Err(error)) => Err(unavailable(error.to_string())),
        Err(_) => Err(unavailable(format!("no end within {ENDS_WITHIN:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
