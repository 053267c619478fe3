//! `/v1/events`: what has happened, as a list, or as it happens (server-sent events).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::sse::{self, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::{OwnedSemaphorePermit, watch};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::limit;
use crate::index::event::Kind;
use crate::index::query::events::{self, Event, Wanted};
use crate::index::{Index, IndexError, micros};
use crate::shared::Shared;
use crate::web::input::Query;
use crate::web::problem::Problem;

/// So many events are read at once for one who follows them.
const TOGETHER: u32 = 100;

/// A comment is sent where nothing has happened for so long: a client that is gone is noticed by it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

pub(super) fn paths() -> OpenApiRouter<Arc<Shared>> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(follow))
}

/// Which events.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Asked {
    /// Only of the session with this id.
    session: Option<String>,
    kind: Option<Kind>,
    /// Only those that happened since then.
    #[param(value_type = Option<String>, format = DateTime)]
    since: Option<Timestamp>,
    /// How many, at the most; 100 unless it is said.
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u32>,
    /// The `next` of the answer before.
    #[param(pattern = "^[0-9]{1,18}$")]
    after: Option<String>,
}

/// Which events are followed.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[serde(default, deny_unknown_fields)]
#[into_params(parameter_in = Query)]
struct Followed {
    /// Only of the session with this id.
    session: Option<String>,
    kind: Option<Kind>,
    /// The `id` of the event behind which the stream begins. `Last-Event-ID` goes before; without both it begins now.
    #[param(minimum = 0)]
    after: Option<i64>,
}

/// Where a client goes on that has lost its stream.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Header)]
struct Resumed {
    /// The id of the last event that the client has.
    #[param(rename = "Last-Event-ID", value_type = i64, required = false, minimum = 0)]
    last: Option<i64>,
}

impl Resumed {
    fn of(headers: &HeaderMap) -> Result<Self, Problem> {
        let number = |id: &HeaderValue| id.to_str().ok().and_then(|id| id.trim().parse().ok());
        let problem = || Problem::bad_request("`Last-Event-ID` must be an event's number");
        let last = headers.get("last-event-id").map(|id| number(id).ok_or_else(problem)).transpose()?;
        Ok(Self { last })
    }
}

/// A part of the list.
#[derive(Debug, Serialize, ToSchema)]
struct EventPage {
    events: Vec<Event>,
    /// `after` of the next part; without it, this is the last.
    next: Option<String>,
}

/// An event of a stream.
#[derive(Debug, ToSchema)]
struct Sent {
    /// The event's number.
    id: String,
    /// An `Event` as JSON.
    data: String,
}

impl Sent {
    fn of(event: &Event) -> Result<Self, axum::Error> {
        let data = serde_json::to_string(event).map_err(axum::Error::new)?;
        Ok(Self { id: event.id.to_string(), data })
    }

    fn frame(self) -> sse::Event {
        sse::Event::default().id(self.id).data(self.data)
    }
}

/// Lists events, the newest first.
#[utoipa::path(
    get,
    path = "/v1/events",
    tag = "history",
    params(Asked),
    responses(
        (status = 200, description = "a part of the list", body = EventPage),
        (status = 400, description = "bad input", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "the index gave no answer", body = Problem, content_type = "application/problem+json"),
    ),
)]
async fn list(
    State(shared): State<Arc<Shared>>,
    Query(asked): Query<Asked>,
) -> Result<Json<EventPage>, Problem> {
    let limit = limit::limit(asked.limit)?;
    let before = limit::after(asked.after.as_deref())?;
    let wanted = Wanted { session: asked.session, kind: asked.kind, since: asked.since.map(micros) };
    let page = shared.index.read(move |connection| events::list(connection, wanted, before, limit)).await?;
    Ok(Json(EventPage { events: page.entries, next: page.next.map(|id| id.to_string()) }))
}

/// Sends events as they happen. Each has its number as its id, so that `Last-Event-ID` goes on behind the last one.
#[utoipa::path(
    get,
    path = "/v1/events/stream",
    tag = "history",
    params(Followed, Resumed),
    responses(
        (status = 200, description = "a stream of events", body = Sent,
            content_type = "text/event-stream"),
        (status = 400, description = "bad input", body = Problem, content_type = "application/problem+json"),
        (status = 503, description = "too many streams, or no answer of the index", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
async fn follow(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Query(asked): Query<Followed>,
) -> Result<Response, Problem> {
    let (Resumed { last }, after) = (Resumed::of(&headers)?, asked.after);
    if [last, after].iter().flatten().any(|after| *after < 0) {
        return Err(Problem::bad_request("an event's number is not below 0"));
    }
    let after = last.or(after);
    let Some(place) = shared.index.follow() else {
        let mut problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "too many clients follow the events");
        problem.retry_after = Some(10);
        return Err(problem);
    };
    // Before the index is asked: what happens then is not passed over.
    let news = shared.index.news();
    let after = match after {
        Some(after) => after,
        None => shared.index.read(events::newest).await?,
    };
    let wanted = Wanted { session: asked.session, kind: asked.kind, since: None };
    let feed =
        Feed { index: shared.index.clone(), news, wanted, after, ready: VecDeque::new(), _place: place };
    let events = stream::unfold(feed, |mut feed| async { Some((feed.next().await?, feed)) });
    let events = events.take_until(shared.stop.clone().cancelled_owned());
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response())
}

/// What one client follows. It reads on when the client has taken what was read.
struct Feed {
    index: Index,
    news: watch::Receiver<()>,
    wanted: Wanted,
    /// Behind this event the next ones are.
    after: i64,
    ready: VecDeque<Event>,
    _place: OwnedSemaphorePermit,
}

impl Feed {
    /// `None` ends the stream: the index cannot be read, and the client may come again.
    async fn next(&mut self) -> Option<Result<sse::Event, axum::Error>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(Sent::of(&event).map(Sent::frame));
            }
            self.news.mark_unchanged();
            let found = self.read().await.inspect_err(|error| tracing::warn!("{error}")).ok()?;
            let is_all = found.len() < usize::try_from(TOGETHER).unwrap_or_default();
            self.ready = found.into();
            if self.ready.is_empty() && is_all {
                self.news.changed().await.ok()?;
            }
        }
    }

    async fn read(&mut self) -> Result<Vec<Event>, IndexError> {
        let (wanted, after) = (self.wanted.clone(), self.after);
        let ask = move |connection: &rusqlite::Connection| events::after(connection, wanted, after, TOGETHER);
        let (found, last) = self.index.read(ask).await?;
        self.after = last;
        Ok(found)
    }
}
