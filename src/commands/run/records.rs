//! What is written down of a session: its trace, for who asked for one, and its journal.

use std::path::Path;

use super::variable;
use crate::backend::plan::Plan;
use crate::cli::RunArgs;
use crate::failure::{Code, Failure};
use crate::observe::journal::{self, Journal};
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::{Sink, Trace};
use crate::session::client::identity::Client;
use crate::values::Journaling;

pub(super) fn open_trace(args: &RunArgs, redactor: Redactor, stderr: &StderrSink) -> Result<Trace, Failure> {
    let sink = match args.trace.as_deref() {
        None => return Ok(Trace::off()),
        Some(file) if file == Path::new("-") => Sink::Stderr,
        Some(file) => Sink::File(file.to_owned()),
    };
    let trace = Trace::open(sink, args.trace_bodies, redactor, stderr.clone());
    trace.map_err(|error| Failure::new(Code::Configuration, &error, "correct `--trace`"))
}

/// Switches the sessions' histories off for whoever sets it to `off`.
const JOURNAL: &str = "BERTH_JOURNAL";

pub(super) fn open_journal(
    plan: &Plan,
    redactor: Redactor,
    stderr: &StderrSink,
    is_lazy: bool,
) -> Option<Journal> {
    let journaling = plan.spec.server.settings.journal;
    if journaling == Journaling::Off || variable(JOURNAL).is_some_and(|value| value == "off") {
        return None;
    }
    let journal = Journal::begin(&plan.state, &plan.spec.session, redactor, journaling == Journaling::Calls);
    stderr.record_in(&journal);
    journal.start(&journal::Start {
        server: &plan.spec.server.name,
        image: &plan.spec.server.image,
        client: plan.client.as_ref().map(Client::as_str),
        client_session: plan.spec.client_session.as_deref(),
        project: plan.spec.project.as_deref(),
        is_lazy,
    });
    Some(journal)
}
