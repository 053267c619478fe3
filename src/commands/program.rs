//! What each program of the package does from its start to its exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use crate::dock::lease;
use crate::logging;
use crate::observe::stderr::StderrSink;

/// A standard error that nobody reads holds the exit up no longer than this.
const EXIT_WITHIN: Duration = Duration::from_secs(1);

/// Runs `execute`; a failure of its is told on standard error, and has its exit code.
pub fn program(execute: impl AsyncFnOnce(&StderrSink) -> anyhow::Result<ExitCode>) -> ExitCode {
    let stderr = StderrSink::new();
    logging::init(&stderr);
    // One thread: a session is two pumps that mostly wait, and there may be hundreds of sessions.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            stderr.line(format!("berth: cannot start: {error}"));
            stderr.flush(EXIT_WITHIN);
            return ExitCode::from(super::INTERNAL);
        }
    };
    write_errors_only(&runtime);
    let result = runtime.block_on(async {
        let result = execute(&stderr).await;
        lease::settled().await;
        result
    });
    let code = result.unwrap_or_else(|error| {
        if super::is_unread(&error) {
            return ExitCode::from(super::UNREAD);
        }
        stderr.line(format!("berth: {}", super::explain(&error)));
        ExitCode::from(super::exit_code(&error))
    });
    stderr.flush(EXIT_WITHIN);
    // A read of standard input can't be cancelled; nobody waits for it.
    runtime.shutdown_background();
    code
}

/// A write beyond a limit of the length of files fails, and ends nothing: that is the kernel's wish unless somebody listens
/// for its signal.
fn write_errors_only(runtime: &tokio::runtime::Runtime) {
    /// So on every Linux but MIPS and PA-RISC.
    const SIGXFSZ: i32 = 25;
    let _entered = runtime.enter();
    // The handler stays when its listener is dropped.
    drop(signal(SignalKind::from_raw(SIGXFSZ)));
}
