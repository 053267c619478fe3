//! berth's own log: `tracing` events as short lines on standard error, and nowhere else.
//!
//! `BERTH_LOG` says which events: a level, or a module with its level (`info`, `mcp_berth::dock=debug`), separated by
//! commas. By default these are warnings and errors. Standard output belongs to the session.
use std::fmt;
use std::io::{self, Write};

use bytes::Bytes;
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};

use crate::observe::StderrSink;

/// The variable that sets what is logged.
pub const VARIABLE: &str = "BERTH_LOG";

/// Sends the events of the whole process to `stderr`. Once: later calls change nothing.
pub fn init(stderr: &StderrSink) {
    let subscriber = subscriber(std::env::var(VARIABLE).ok().as_deref(), stderr);
    _ = tracing::subscriber::set_global_default(subscriber);
}

pub(crate) fn subscriber(filter: Option<&str>, stderr: &StderrSink) -> impl Subscriber + Send + Sync + use<> {
    // Not `EnvFilter`: it brings the regex crates, which are a twentieth of the whole program, for spans alone.
    // Of an empty part `Targets` would make a default of its own.
    let parts = filter.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty());
    let targets = match parts.collect::<Vec<_>>().join(",") {
        filter if filter.is_empty() => Ok(Targets::new()),
        filter => filter.parse(),
    };
    let targets = match targets {
        Ok(targets) => targets,
        Err(error) => {
            stderr.line(format!("berth: warning: {VARIABLE} is ignored: {error}"));
            Targets::new()
        }
    };
    let targets = match targets.default_level() {
        Some(_) => targets,
        None => targets.with_default(LevelFilter::WARN),
    };
    let lines = tracing_subscriber::fmt::layer().event_format(Line).with_writer(Lines(stderr.clone()));
    Registry::default().with(targets).with(lines)
}

/// `berth: warning: message key=value`; below `info` with the module that says so.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut line: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        match *event.metadata().level() {
            Level::ERROR => line.write_str("berth: error: ")?,
            Level::WARN => line.write_str("berth: warning: ")?,
            Level::INFO => line.write_str("berth: ")?,
            Level::DEBUG => write!(line, "berth: debug: {}: ", event.metadata().target())?,
            Level::TRACE => write!(line, "berth: trace: {}: ", event.metadata().target())?,
        }
        context.field_format().format_fields(line.by_ref(), event)?;
        writeln!(line)
    }
}

struct Lines(StderrSink);

impl<'a> MakeWriter<'a> for Lines {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        LineWriter(&self.0)
    }
}

/// The subscriber writes a whole line at once.
struct LineWriter<'a>(&'a StderrSink);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.raw(Bytes::copy_from_slice(line));
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
