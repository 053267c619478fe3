//! Live sessions by client and project; one session's timeline; its end.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::sse::{Event as Sse, KeepAlive};
use axum::response::{Html, IntoResponse, Redirect, Response};
use futures::stream;
use maud::{Markup, html};
use serde::Deserialize;
use subtle::ConstantTimeEq;

use super::{Sorry, calls, chart, layout, login};
use crate::api::containers;
use crate::index::query::calls as asked_calls;
use crate::index::query::events::{self, Event};
use crate::index::query::sessions::{self, One, Session, State as Lives, Wanted};
use crate::shared::Shared;
use crate::web::input::Path;
use crate::web::problem::Problem;

/// So many sessions, events and calls are shown.
const SHOWN: u32 = 200;

/// In the audit.
const EVENT: &str = "ended by the page";

/// The page is told of changes no oftener.
const AT_MOST_EVERY: Duration = Duration::from_secs(1);

pub(super) async fn list(State(shared): State<Arc<Shared>>) -> Result<Html<String>, Sorry> {
    let (live, past) = shared
        .index
        .read(|connection| {
            let wanted = Wanted { limit: SHOWN, ..Wanted::default() };
            let live = sessions::list(connection, Wanted { state: Some(Lives::Live), ..wanted.clone() })?;
            Ok((live, sessions::list(connection, wanted)?))
        })
        .await?;
    let mut groups: BTreeMap<(&str, &str), Vec<&Session>> = BTreeMap::new();
    for session in &live.entries {
        let group = (session.client.as_deref().unwrap_or("–"), session.project.as_deref().unwrap_or("–"));
        groups.entry(group).or_default().push(session);
    }
    let past: Vec<&Session> = past.entries.iter().filter(|session| session.state != Lives::Live).collect();
    let body = html! {
        section id="live" data-live="" aria-labelledby="live-title" {
            h2 id="live-title" { "Live" }
            @if groups.is_empty() { p class="none" { "No session lives." } }
            @for ((client, project), sessions) in &groups {
                h3 { (layout::text(client)) " in " (layout::text(project)) }
                (table(&format!("Sessions of {client} in {project}"), sessions))
            }
        }
        section id="past" data-live="" aria-labelledby="past-title" {
            h2 id="past-title" { "Past" }
            (table("Past sessions", &past))
        }
    };
    Ok(layout::page("Sessions", "/sessions", &body))
}

fn table(caption: &str, sessions: &[&Session]) -> Markup {
    let rows: Vec<Vec<Markup>> = sessions
        .iter()
        .map(|session| {
            vec![
                layout::session(&session.session),
                layout::known(session.client.as_deref()),
                layout::known(session.server.as_deref()),
                layout::moment(session.started),
                layout::known(session.how.as_deref()),
                html! { @if let Some(time) = session.start_ms { (chart::milliseconds(time)) } @else { "–" } },
                html! { (session.recoveries) },
                ended(session),
            ]
        })
        .collect();
    let titles = ["Session", "Client", "Server", "Began", "Start", "Took", "Recoveries", "End"];
    layout::table(caption, &titles, &rows, "There is none.")
}

fn ended(session: &Session) -> Markup {
    html! {
        @match session.state {
            Lives::Live => "lives",
            Lives::Killed => span class="bad" { "killed" },
            Lives::Ended => (layout::known(session.why.as_deref())),
        }
    }
}

pub(super) async fn one(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
) -> Result<Html<String>, Sorry> {
    let asked = id.clone();
    let (found, events, calls) = shared
        .index
        .read(move |connection| {
            let session = Some(asked.clone());
            let wanted = events::Wanted { session: session.clone(), ..events::Wanted::default() };
            let events = events::list(connection, wanted, None, SHOWN)?;
            let wanted = asked_calls::Wanted { session, limit: SHOWN, ..asked_calls::Wanted::default() };
            Ok((sessions::one(connection, &asked)?, events, asked_calls::list(connection, wanted)?))
        })
        .await?;
    let found = found.ok_or_else(|| Problem::not_found(format!("no session `{id}` in the index")))?;
    let One { session, steps, calls: number, failed } = &found;
    let longest = steps.iter().map(|step| step.ms).fold(0.0, f64::max);
    let rows: Vec<Vec<Markup>> = steps
        .iter()
        .map(|step| {
            let bar = chart::bar(
                &[chart::Part { value: step.ms, class: "first" }],
                longest,
                &chart::milliseconds(step.ms),
            );
            vec![
                layout::moment(step.ended),
                layout::text(&step.name),
                bar,
                html! { (chart::milliseconds(step.ms)) },
                layout::known(step.detail.as_deref()),
            ]
        })
        .collect();
    let body = html! {
        section id="facts" data-live="" aria-label="Facts" {
            (facts(session, *number, *failed))
            @if session.state == Lives::Live {
                p { a class="button" href=(format!("/sessions/{}/end", session.session)) { "End this session…" } }
            }
        }
        section id="steps" aria-labelledby="steps-title" {
            h2 id="steps-title" { "Start" }
            (layout::table("Steps", &["Ended", "Step", "Time", "Took", "Detail"], &rows, "No step is known."))
        }
        section id="events" data-live="" aria-labelledby="events-title" {
            h2 id="events-title" { "Timeline" }
            (timeline(&events.entries))
        }
        section id="calls" data-live="" aria-labelledby="calls-title" {
            h2 id="calls-title" { "Calls" }
            (calls::table("The last calls", &calls.entries, "No call was made."))
        }
    };
    Ok(layout::page(&format!("Session {}", session.session), "/sessions", &body))
}

fn facts(session: &Session, calls: i64, failed: i64) -> Markup {
    let began = layout::moment(session.started);
    html! {
        dl {
            dt { "Server" } dd { (layout::known(session.server.as_deref())) }
            dt { "Client" } dd { (layout::known(session.client.as_deref())) }
            dt { "Project" } dd { (layout::known(session.project.as_deref())) }
            dt { "Image" } dd { (layout::known(session.image.as_deref())) }
            dt { "Began" } dd { (began) }
            dt { "End" } dd { (ended(session)) }
            dt { "Calls" } dd { (calls) ", " (failed) " of them came to nothing" }
            dt { "Records" } dd { (session.indexed) " of " (session.last_seq) " are in the index" }
        }
    }
}

fn timeline(events: &[Event]) -> Markup {
    let rows: Vec<Vec<Markup>> = events
        .iter()
        .map(|event| {
            vec![
                layout::moment(event.time),
                layout::text(&event.kind),
                layout::text(&event.name),
                layout::known(event.detail.as_deref()),
            ]
        })
        .collect();
    layout::table(
        "What happened, the newest first",
        &["Time", "Kind", "Event", "Detail"],
        &rows,
        "Nothing happened.",
    )
}

/// `GET /sessions/ID/end`: a question, and nothing more.
pub(super) async fn ask(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Html<String> {
    let body = html! {
        p { "The servers of this session are ended, and their client sees its connection close." }
        form method="post" {
            input type="hidden" name="secret" value=(login::form_secret(&shared, &headers));
            button type="submit" class="bad" { "End session " (layout::text(&id)) }
            " "
            a class="button" href=(format!("/sessions/{id}")) { "Leave it alone" }
        }
    };
    layout::page("End a session", "/sessions", &body)
}

#[derive(Debug, Deserialize)]
pub(super) struct Meant {
    #[serde(default)]
    secret: String,
}

/// `POST /sessions/ID/end`.
pub(super) async fn end(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Form(Meant { secret }): Form<Meant>,
) -> Result<Response, Sorry> {
    let expected = login::form_secret(&shared, &headers);
    let is_ours: bool = expected.as_bytes().ct_eq(secret.as_bytes()).into();
    if expected.is_empty() || !is_ours {
        return Err(Problem::new(StatusCode::FORBIDDEN, "this was no form of the page; open it again").into());
    }
    containers::end_one(&shared, &id, EVENT).await?;
    Ok(Redirect::to(&format!("/sessions/{id}")).into_response())
}

/// `GET /live`: a word whenever something has happened.
pub(super) async fn live(State(shared): State<Arc<Shared>>) -> Result<impl IntoResponse, Sorry> {
    let place = shared.index.follow().ok_or_else(|| Problem::unavailable("too many pages are open"))?;
    let (news, stop) = (shared.index.news(), shared.stop.clone());
    let told = stream::unfold((news, stop, place), |(mut news, stop, place)| async move {
        tokio::select! {
            () = stop.cancelled() => return None,
            changed = news.changed() => changed.ok()?,
        }
        tokio::select! {
            () = stop.cancelled() => return None,
            () = tokio::time::sleep(AT_MOST_EVERY) => {}
        }
        let told = Ok::<_, Infallible>(Sse::default().event("changed").data(""));
        Some((told, (news, stop, place)))
    });
    Ok(axum::response::Sse::new(told).keep_alive(KeepAlive::default()))
}
