//! What of a session's records a person would look for.

use mcp_berth::history::Record;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What kind of thing has happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// A session has its first server.
    Start,
    /// A session has another server, in the place of one that was lost.
    Recovery,
    /// A server has ended, and the session goes on.
    ServerEnded,
    /// A server was killed for using too much memory.
    OutOfMemory,
    /// A line that is no message, or was no message as it came.
    Quarantine,
    /// Somebody was refused something.
    Denial,
    /// A server's definitions are others than they were.
    Definition,
    /// Anything else of a session.
    Note,
    /// A line of berth's.
    Log,
    /// A session has ended.
    End,
    /// A session was killed, or its machine stopped.
    Killed,
    /// Another line of the audit file.
    Audit,
    /// Another number of containers on standby, and why.
    Scaling,
}

impl Kind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Recovery => "recovery",
            Self::ServerEnded => "server_ended",
            Self::OutOfMemory => "out_of_memory",
            Self::Quarantine => "quarantine",
            Self::Denial => "denial",
            Self::Definition => "definition",
            Self::Note => "note",
            Self::Log => "log",
            Self::End => "end",
            Self::Killed => "killed",
            Self::Audit => "audit",
            Self::Scaling => "scaling",
        }
    }

    /// Of a record that is one; the session has had so many servers before.
    pub(super) fn of(record: &Record, servers: i64) -> Option<Self> {
        let name = record.name.as_deref().unwrap_or_default();
        match record.kind.as_str() {
            "up" if servers == 0 => Some(Self::Start),
            "up" => Some(Self::Recovery),
            "end" => Some(Self::End),
            "log" => Some(Self::Log),
            "note" => Some(match name {
                "server ended" if is_out_of_memory(record) => Self::OutOfMemory,
                "server ended" => Self::ServerEnded,
                "other capabilities" => Self::Definition,
                "stray output" | "line too long" | "invalid JSON" | "repaired" => Self::Quarantine,
                _ => Self::Note,
            }),
            _ => None,
        }
    }

    /// Of a line of the audit file.
    pub(super) fn of_audit(event: &str) -> Self {
        match event {
            "tool refused" | "over a ceiling" => Self::Denial,
            "definition held" | "definition accepted" => Self::Definition,
            _ => Self::Audit,
        }
    }

    /// What the event is called.
    pub(super) fn name(self, record: &Record) -> &str {
        let said = match self {
            Self::Start | Self::Recovery => record.how.as_deref(),
            _ => record.name.as_deref(),
        };
        said.unwrap_or(self.as_str())
    }
}

/// `session::upstream::Exit`, as a journal has it.
fn is_out_of_memory(record: &Record) -> bool {
    record.detail.as_deref().is_some_and(|exit| exit.starts_with("OutOfMemory"))
}
