//! Why a session has lost its server, in words: the cause, and the next command to type.

use super::inflight::Counts;
use super::stderr_tail::StderrTail;
use crate::failure::{Code, Failure};
use crate::observe::journal::End;
use crate::session::client::ClientEnd;
use crate::session::lane::outcome::{Ending, Over, Served};
use crate::session::lane::shared::Shared;
use crate::session::options::Options;
use crate::session::upstream::Exit;

/// How the session ended, for its history.
pub(in crate::session) fn end(shared: &Shared, over: &Over) -> End {
    let Counts { requests, errors, lost, unanswered } = shared.in_flight.counts();
    let why = match over {
        Over::Client => shared.client_end.get().map_or("", |end| ClientEnd::as_str(*end)).to_owned(),
        Over::Server { why, .. } => why.clone(),
        Over::Failed(failure) => failure.text.clone(),
    };
    let (code, is_servers) = (over.exit_code(), matches!(over, Over::Server { .. }));
    End { why, code, is_servers, requests, errors, lost, unanswered }
}

impl Options {
    fn answered_late(&self) -> Failure {
        let (server, answer_timeout) = (&self.server, self.settings.answer_timeout);
        Failure {
            code: Code::Unavailable,
            text: format!("the server `{server}` has not answered anything within {answer_timeout:?}"),
            next: Some("see its messages with `--trace`, or raise `answer_timeout`".to_owned()),
        }
    }

    fn hears_nothing(&self) -> Failure {
        Failure {
            code: Code::Unavailable,
            text: format!("the server `{}` has closed its input and goes on without it", self.server),
            next: Some("look for what closes its standard input, or ask its author".to_owned()),
        }
    }

    /// Why a call is answered though the server is still there.
    pub(in crate::session) fn overdue(&self) -> Failure {
        let (server, call_timeout) = (&self.server, self.settings.call_timeout);
        Failure {
            code: Code::Unavailable,
            text: format!(
                "the server `{server}` has not answered this call within {:?}; it was told to stop",
                call_timeout.unwrap_or_default()
            ),
            next: Some("raise `call_timeout`, or ask for less at a time".to_owned()),
        }
    }

    fn ended_late(&self) -> Failure {
        let (server, grace) = (&self.server, self.settings.stop_grace);
        Failure {
            code: Code::Unavailable,
            text: format!(
                "the client closed its output, and the server `{server}` had no answer within {:?}",
                grace / 2
            ),
            next: Some(
                "keep the connection open until the answer is there, or raise `stop_grace`".to_owned(),
            ),
        }
    }

    fn unfit(&self, why: &str) -> Failure {
        Failure {
            code: Code::Unavailable,
            text: format!("the new server `{}` cannot replace the lost server: {why}", self.server),
            next: Some("begin a new session, or see its messages with `--trace`".to_owned()),
        }
    }

    /// Why there is no server any more.
    pub(super) fn failure(&self, served: &Served, exit: &Exit, tail: &StderrTail) -> Failure {
        match &served.end {
            Ending::Itself => {}
            Ending::Terminated => return self.ended_late(),
            Ending::Late => return self.answered_late(),
            Ending::Deaf => return self.hears_nothing(),
            Ending::Unfit(why) => return self.unfit(why),
        }
        let name = &self.server;
        // The client passes it on to its model.
        let at_once = !served.has_spoken;
        let said = tail.words(at_once, &self.redactor);
        let said = if said.is_empty() { String::new() } else { format!("; its last words: {said}") };
        let text = match exit {
            Exit::Code(code) => format!("the server `{name}` exited with code {code}{said}"),
            Exit::OutOfMemory(limit) => format!(
                "the server `{name}` was killed because it used more than its memory limit of {} MiB{said}",
                limit >> 20
            ),
            Exit::Silent => format!("the server `{name}` has closed its output and goes on without it{said}"),
            Exit::Lost => format!("the container of the server `{name}` is gone{said}"),
            Exit::LostAs { why, .. } => format!("the server `{name}` was lost: {why}{said}"),
            Exit::Ended => format!("the session with the server `{name}` was ended by `berth kill`"),
        };
        let next = match exit {
            Exit::Code(_) => tail.next(at_once).unwrap_or("see its command with `berth run --dry-run`"),
            Exit::OutOfMemory(_) => "raise `memory` in the configuration",
            Exit::Silent => "look for what closes its standard output, or ask its author",
            Exit::Lost => "look at the DinD daemon with `berth status`",
            Exit::LostAs { next, .. } => next,
            Exit::Ended => "begin a new session if this was not intended",
        };
        Failure { code: Code::Unavailable, text, next: Some(next.to_owned()) }
    }
}
