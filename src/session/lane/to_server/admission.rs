//! Which of the client's lines pass to the server: valid JSON, with its requests entered in the in-flight table.
//!
//! A refused line is answered. No line is changed but by the rules that the configuration asks for.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite};

use super::{ClientToServer, Line};
use crate::observe::Arrival;
use crate::observe::event::Direction;
use crate::rpc::error_object::{INVALID_REQUEST, PARSE_ERROR};
use crate::rpc::{
    Envelope, Frame, FrameError, Kind, Look, RawId, RequestId, Salvage, client_info_name, error_line, look,
    raw,
};
use crate::session::client::identity;
use crate::session::lane::handshake::Handshake;
use crate::session::lane::inflight::CAPACITY;
use crate::session::lane::judge::is_answer;
use crate::session::lane::shared::lock;
use crate::session::rewrite::Edit;
use crate::session::rewrite::tools::{Passes, Refusal, Screened};

impl<R, I> ClientToServer<R, I>
where
    R: AsyncRead + Unpin,
    I: AsyncWrite + Unpin,
{
    /// Looks at a frame, and registers its requests if it passes.
    pub(super) async fn admit(&mut self, frame: &Frame) -> Line {
        let came = self.shared.trace.clock();
        let look = match look(frame.message()) {
            Ok(look) => look,
            Err(error) => {
                let text = error.to_string();
                self.note("invalid JSON", &text, frame.wire().len());
                let salvage = Salvage::of(frame.message());
                return self
                    .refuse(salvage.id(), salvage.kind(), PARSE_ERROR, &format!("berth: {text}"))
                    .await;
            }
        };
        self.shared.trace.message(Direction::ClientToServer, &look, frame.wire(), None);
        if let Some(hello) = self.hello.take() {
            let said = look.envelopes().iter().find_map(client_info_name);
            let _ = self.shared.said.set(said.clone());
            let _ = hello.send(said);
        }
        let screened = self.shared.rules.tools.as_ref().map(|tools| tools.screen(frame, &look));
        match screened {
            None => self.register(&look, frame.wire(), came).await,
            Some(screened) => self.sift(screened, &look, frame.wire(), came).await,
        }
    }

    /// Answers what the server's lists of tools refuse, and registers the rest.
    async fn sift(
        &mut self,
        screened: Screened,
        look: &Look<'_>,
        wire: &Bytes,
        came: Option<Instant>,
    ) -> Line {
        let mut for_server = BytesMut::new();
        for Refusal { id, kind, why } in screened.refused {
            let text = why.to_string();
            self.note("refused", &text, wire.len());
            self.shared.trace.audit("tool refused", &text);
            // Nobody waits for an answer to a notification.
            if kind == Kind::Notification {
                tracing::warn!("dropped a notification from the client: {text}");
            } else if let Line::Forward(line) = self.refuse(id.as_ref(), kind, why.code(), &text).await {
                for_server.extend_from_slice(&line);
            }
        }
        let rest = match screened.passes {
            Passes::AsItIs => self.register(look, wire, came).await,
            Passes::Line(line) => match crate::rpc::look(&line) {
                Ok(look) => self.register(&look, &line, came).await,
                Err(_) => Line::Handled,
            },
            Passes::Nothing => Line::Handled,
        };
        match rest {
            rest if for_server.is_empty() => rest,
            Line::Forward(line) => {
                for_server.extend_from_slice(&line);
                Line::Forward(for_server.freeze())
            }
            Line::Handled | Line::End => Line::Forward(for_server.freeze()),
        }
    }

    /// Registers the requests of a line that passes, and came at that time.
    async fn register(&mut self, look: &Look<'_>, wire: &Bytes, came: Option<Instant>) -> Line {
        let envelopes = look.envelopes();
        let requests = || envelopes.iter().filter(|envelope| envelope.kind == Kind::Request);
        if requests().count() > CAPACITY {
            for request in requests() {
                let id = request.raw_id();
                let refusal =
                    error_line(id.as_ref(), INVALID_REQUEST, "berth: too many requests in one batch", None);
                self.reply(refusal).await;
            }
            return Line::Handled;
        }
        let contexts = self.shared.rules.contexts.as_ref();
        let mut traced = contexts.and_then(|_| Some(Edit::new(std::str::from_utf8(wire).ok()?)));
        for request in requests() {
            let context = traced.as_mut().and_then(|edit| contexts?.write(edit, request));
            let arrival = Arrival { at: came, context: context.as_ref() };
            let call = self.shared.trace.call(request, wire.len(), arrival);
            self.handing.add(call.as_ref());
            self.shared.in_flight.insert(request, call);
        }
        let traced = traced.and_then(|edit| edit.finish(b""));
        self.asks |= requests().next().is_some();
        if self.shared.client_session.borrow().is_none()
            && identity::says_its_session_late(self.shared.said.get())
            && let Some(session) = requests().find_map(identity::session_of_call)
        {
            self.shared.client_session.send_replace(Some(session));
        }
        // The receiver of a cancellation sends no answer; nobody waits for one any more.
        for id in envelopes.iter().filter_map(cancelled) {
            self.shared.in_flight.cancel(&id);
        }
        let translated = self.translated(look, wire, traced);
        for envelope in envelopes.iter().filter(|envelope| Handshake::concerns(envelope)) {
            lock(&self.shared.handshake).client_said(envelope, wire);
        }
        if let Look::One(envelope) = look
            && is_answer(envelope.kind)
            && envelope.request_id().is_some_and(|id| self.shared.asked.is_stale(&id))
        {
            self.note("answer to a lost server", "", wire.len());
            return Line::Handled;
        }
        Line::Forward(translated.unwrap_or_else(|| wire.clone()))
    }

    /// The line with the server's names of the client's folders. `traced`: what it has become before. `None`: it stays as it is.
    fn translated<'a>(&self, look: &Look<'a>, wire: &'a Bytes, traced: Option<Bytes>) -> Option<Bytes> {
        let roots = self.shared.rules.roots.as_ref();
        let translate =
            |line, look: &Look<'_>| roots?.translate(line, look, |id| self.shared.asked.wants_roots(id));
        let translated = translate(wire, look);
        match traced {
            Some(traced) if translated.is_some() => {
                crate::rpc::look(&traced).ok().and_then(|look| translate(&traced, &look)).or(Some(traced))
            }
            traced => traced.or(translated),
        }
    }

    pub(super) async fn refuse_frame(&mut self, error: &FrameError) -> Line {
        let FrameError::TooLong { limit, id, kind } = error;
        self.note("line too long", &error.to_string(), *limit);
        let message = format!("berth: {error}; raise `max_line` for larger messages");
        self.refuse(id.as_ref(), *kind, INVALID_REQUEST, &message).await
    }

    /// Answers a line that can't be forwarded: to the client, or, where the line was itself an answer, to the server that
    /// waits for it (its id means another request to the client, or none).
    async fn refuse(&mut self, id: Option<&RawId>, kind: Kind, code: i64, message: &str) -> Line {
        let line = error_line(id, code, message, None);
        if is_answer(kind) && id.is_some() {
            tracing::warn!("dropped {} from the client, and told the server: {message}", kind.phrase());
            return Line::Forward(line);
        }
        self.reply(line).await;
        Line::Handled
    }
}

/// The request that this message cancels, if it is a cancellation.
fn cancelled(envelope: &Envelope<'_>) -> Option<RequestId> {
    if envelope.method.as_deref() != Some("notifications/cancelled") {
        return None;
    }
    RequestId::from_raw(raw::member(envelope.params?, "requestId")?)
}

#[cfg(test)]
mod tests;
