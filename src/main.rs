//! Parses the arguments, builds the runtime, and maps the result to an exit code.
#![forbid(unsafe_code)]

use std::process::ExitCode;
use std::time::Duration;

use mcp_berth::cli::help;
use mcp_berth::{commands, logging, observe::stderr::StderrSink};

/// A standard error that nobody reads holds the exit up no longer than this.
const EXIT_WITHIN: Duration = Duration::from_secs(1);

/// A write beyond a limit of the length of files fails, and ends nothing: that is the kernel's wish unless somebody listens
/// for its signal.
fn write_errors_only(runtime: &tokio::runtime::Runtime) {
    /// So on every Linux but MIPS and PA-RISC.
    const SIGXFSZ: i32 = 25;
    let _entered = runtime.enter();
    // The handler stays when its listener is dropped.
    drop(tokio::signal::unix::signal(tokio::signal::unix::SignalKind::from_raw(SIGXFSZ)));
}

fn main() -> ExitCode {
    let stderr = StderrSink::new();
    logging::init(&stderr);
    // One thread: a session is two pumps that mostly wait, and there may be hundreds of sessions.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            stderr.line(format!("berth: cannot start: {error}"));
            stderr.flush(EXIT_WITHIN);
            return ExitCode::from(commands::INTERNAL);
        }
    };
    write_errors_only(&runtime);
    let result = match help::parse() {
        Ok(arguments) => runtime.block_on(commands::execute(arguments, &stderr)),
        Err(error) => runtime.block_on(commands::misuse(error, &stderr)),
    };
    let code = result.unwrap_or_else(|error| {
        if commands::is_unread(&error) {
            return ExitCode::from(commands::UNREAD);
        }
        stderr.line(format!("berth: {}", commands::explain(&error)));
        ExitCode::from(commands::exit_code(&error))
    });
    stderr.flush(EXIT_WITHIN);
    // A read of standard input can't be cancelled; nobody waits for it.
    runtime.shutdown_background();
    code
}
