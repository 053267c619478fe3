//! A call at an older server, and what the server asks meanwhile.

use bytes::Bytes;
use tokio::time::Instant;

use super::text::{CAPABILITIES, LEVEL, meta};
use crate::rpc::raw::{self, Raw};
use crate::rpc::{Envelope, RawId};

/// What the server waits for.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) id: RawId,
    pub(super) key: String,
    /// As it stands in `inputRequests`.
    pub(super) request: String,
    /// The client has seen it.
    pub(super) is_given: bool,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) method: String,
    /// The tool, the prompt or the resource, as JSON.
    pub(super) target: Option<String>,
    /// Who waits for it at the moment.
    pub(super) client: Option<RawId>,
    /// The request, where the server has to hear something before.
    pub(super) unsent: Option<Bytes>,
    pub(super) questions: Vec<Question>,
    /// By what the client names it when it comes again, and until when.
    pub(super) state: Option<String>,
    pub(super) until: Instant,
    /// What the server has answered while nobody waited.
    pub(super) outcome: Option<Bytes>,
    /// The progress token that the server knows, and that of whoever waits; as JSON.
    pub(super) theirs: Option<String>,
    pub(super) token: Option<String>,
    /// The client's capabilities, as JSON.
    pub(super) capabilities: String,
    pub(super) wants_log: bool,
}

impl Call {
    /// Takes over what a request of the client's says of itself.
    pub(super) fn heard(&mut self, id: &RawId, envelope: &Envelope<'_>) {
        let own = |name| meta(envelope.params, name).map(|found| found.get().to_owned());
        self.client = Some(id.clone());
        self.token = own("progressToken");
        self.capabilities = own(CAPABILITIES).unwrap_or_default();
        self.wants_log = own(LEVEL).is_some();
    }

    pub(super) fn can(&self, capability: &str) -> bool {
        let declared = Raw::parse(&self.capabilities).and_then(|all| raw::member(all, capability));
        declared.is_some_and(|declared| declared.get().starts_with('{'))
    }

    /// Whether the server is about to answer it.
    pub(super) fn is_at_the_server(&self) -> bool {
        self.outcome.is_none() && self.unsent.is_none()
    }

    pub(super) fn bytes(&self) -> usize {
        let questions: usize = self.questions.iter().map(|question| question.request.len()).sum();
        questions + [&self.unsent, &self.outcome].into_iter().flatten().map(Bytes::len).sum::<usize>()
    }
}
