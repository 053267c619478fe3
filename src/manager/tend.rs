//! The child that looks after the sessions' pods in a cluster: `berth-kubernetes`, so that this program links no client of a
//! cluster. It says after each look which there are.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use mcp_berth::values::Backend;
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
