//! The slowest calls, and those that came to nothing.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use mcp_berth::human::Bytes;

use super::{Sorry, chart, layout, since};
use crate::index::query::calls::{self, Call, Wanted};
use crate::shared::Shared;

/// So many of each.
const SHOWN: u32 = 50;

/// Calls of so many hours.
const HOURS: u32 = 7 * 24;

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Result<Html<String>, Sorry> {
    let wanted = Wanted { since: Some(since(HOURS)), limit: SHOWN, ..Wanted::default() };
    let (slow, failed) = shared
        .index
        .read(move |connection| {
            let slow = calls::list(connection, Wanted { slow: true, ..wanted.clone() })?;
            Ok((slow, calls::list(connection, Wanted { failed: true, ..wanted })?))
        })
        .await?;
    let body = html! {
        p { "Of the last seven days." }
        section id="slow" data-live="" aria-labelledby="slow-title" {
            h2 id="slow-title" { "The slowest" }
            (table("The slowest calls", &slow.entries, "No call was made."))
        }
        section id="failed" data-live="" aria-labelledby="failed-title" {
            h2 id="failed-title" { "Errors" }
            (table("The last calls that failed", &failed.entries, "No call failed."))
        }
    };
    Ok(layout::page("Calls", "/calls", &body))
}

pub(super) fn table(caption: &str, calls: &[Call], none: &str) -> Markup {
    let rows: Vec<Vec<Markup>> = calls
        .iter()
        .map(|call| {
            vec![
                layout::moment(call.time),
                layout::session(&call.session),
                layout::known(call.client.as_deref()),
                layout::known(call.server.as_deref()),
                layout::text(call.tool.as_deref().unwrap_or(&call.method)),
                html! { (chart::milliseconds(call.latency_ms)) },
                html! { (Bytes(u64::try_from(call.answer_bytes).unwrap_or(0))) },
                outcome(call),
            ]
        })
        .collect();
    let titles = ["Time", "Session", "Client", "Server", "Call", "Took", "Answer", "Outcome"];
    layout::table(caption, &titles, &rows, none)
}

fn outcome(call: &Call) -> Markup {
    html! {
        span class=[(call.outcome != "ok").then_some("bad")] { (layout::text(&call.outcome)) }
        @if let Some(code) = call.code { " " (code) }
    }
}
