//! The options that a session gets at its beginning.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use tokio_util::sync::CancellationToken;

use super::client::stdio::Hangup;
use super::rewrite::Rules;
use crate::config::Settings;
use crate::observe::redact::Redactor;
use crate::observe::stderr::StderrSink;
use crate::observe::trace::Trace;

/// A session's server, its settings, and what surrounds it.
#[derive(Debug, Clone)]
pub struct Options {
    /// The server's name, for messages.
    pub server: String,
    pub settings: Settings,
    /// Whether a person sits at the terminal.
    pub interactive: bool,
    pub trace: Trace,
    pub stderr: StderrSink,
    pub redactor: Redactor,
    /// Tells that nobody reads our standard output any more.
    pub hangup: Hangup,
    /// Cancelled by a signal.
    pub stop: CancellationToken,
    /// Set while a lost server is being replaced.
    pub is_replaced: Arc<AtomicBool>,
    /// What is changed in messages; by default nothing.
    pub rules: Rules,
}

impl Options {
    /// Takes over what a server's settings say of its sessions.
    pub fn apply(&mut self, settings: &Settings) {
        self.settings = settings.clone();
        self.rules = Rules::of(&self.server, settings);
    }
}
