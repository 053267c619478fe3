//! Before a server gets its container: what of its mounts is protected, and who clears away afterwards.
//!
//! Clients kill berth before it can tidy up, and no code of a killed process runs. So another process of berth stands
//! behind a session that has reserved names, and reads a pipe until it ends. It is there to be tidy, not to be safe: what
//! it leaves, the next session or `berth gc` removes.

use std::ffi::OsString;
use std::process::Stdio;

use tokio::process::{ChildStdin, Command};

use super::plan::DockerPlan;
use crate::config::within::within;
use crate::dock::reserved::{ReserveError, Reserved, reserve};
use crate::failure::Failure;
use crate::values::Standby;

/// A name that was made while it was looked for is there at the next look.
const ATTEMPTS: u32 = 5;

/// What a session holds as long as it has its container.
#[derive(Debug)]
pub(super) struct Guard {
    _reserved: Reserved,
    /// Its end is heard.
    _after: Option<ChildStdin>,
}

/// Adds what lies within the mounts of the plan's container.
pub(super) async fn protect(plan: &mut DockerPlan) -> Result<Option<Guard>, Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut within = within(&plan.spec.server, &plan.spec.mounts).map_err(Failure::from)?;
        if within.missing.is_empty() {
            plan.spec.mounts = within.mounts;
            return Ok(None);
        }
        let after = stand_behind(&plan.clear);
        match reserve(&plan.state, &mut within).await {
            Ok(reserved) => {
                plan.spec.mounts = within.mounts;
                plan.spec.reserved = reserved.label();
                // Nothing waits that would keep an empty folder in a project.
                plan.spec.server.settings.standby = Standby::NONE;
                return Ok(Some(Guard { _reserved: reserved, _after: after }));
            }
            Err(ReserveError::Made(_)) if attempts < ATTEMPTS => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn stand_behind(arguments: &[OsString]) -> Option<ChildStdin> {
    let spawned = std::env::current_exe().and_then(|program| {
        let mut command = Command::new(program);
        // The client waits for the end of what it has given us.
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        command.current_dir("/").process_group(0).spawn()
    });
    match spawned {
        Ok(mut child) => child.stdin.take(),
        Err(error) => {
            tracing::warn!("cannot start what tidies up after this session: {error}; type `berth gc` later");
            None
        }
    }
}
