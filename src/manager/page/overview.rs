//! The first view: where start time goes, standby hits, memory, who holds what.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use mcp_berth::dind::containers::Row;
use mcp_berth::dock::roster::State as Held;
use mcp_berth::human::{Bytes, count};
use serde::Deserialize;

use super::chart::{self, Part, Spread};
use super::{Sorry, layout, since};
use crate::index::event::Kind;
use crate::index::query::events::{self, Event, Wanted};
use crate::index::query::starts::{self, Start, Step};
use crate::shared::Shared;
use crate::web::input::Query;

/// So many of the last changes are shown.
const DECISIONS: u32 = 20;

const SPANS: [(u32, &str); 3] = [(1, "hour"), (24, "day"), (7 * 24, "week")];

#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    #[serde(default = "a_day")]
    hours: u32,
}

const fn a_day() -> u32 {
    24
}

pub(super) async fn show(
    State(shared): State<Arc<Shared>>,
    Query(Asked { hours }): Query<Asked>,
) -> Result<Html<String>, Sorry> {
    let hours = hours.clamp(1, 10_000);
    let since = since(hours);
    let (steps, starts, decisions) = shared
        .index
        .read(move |connection| {
            let wanted = Wanted { kind: Some(Kind::Scaling), since: Some(since), ..Wanted::default() };
            let decisions = events::list(connection, wanted, None, DECISIONS)?;
            Ok((starts::steps(connection, since)?, starts::list(connection, since)?, decisions.entries))
        })
        .await?;
    let held = super::held(&shared).await;
    let body = html! {
        nav aria-label="Period" {
            ul class="choice" {
                @for (span, name) in SPANS {
                    li { a href=(format!("/?hours={span}")) aria-current=[(span == hours).then_some("true")] { "last " (name) } }
                }
            }
        }
        section id="starts" data-live="" aria-labelledby="starts-title" {
            h2 id="starts-title" { "Starts" }
            (of_starts(&starts))
            (of_steps(&steps))
        }
        section id="standby" data-live="" aria-labelledby="standby-title" {
            h2 id="standby-title" { "Standby" }
            (of_decisions(&decisions))
        }
        section id="held" data-live="" aria-labelledby="held-title" {
            h2 id="held-title" { "Who holds what" }
            @match &held {
                Ok(rows) => (holders(rows)),
                Err(why) => p class="bad" role="status" { (layout::text(why)) },
            }
        }
    };
    Ok(layout::page("Overview", "/", &body))
}

/// Why another number of containers stands by, the newest first.
fn of_decisions(decisions: &[Event]) -> Markup {
    let rows: Vec<Vec<Markup>> = decisions
        .iter()
        .map(|event| {
            vec![
                layout::moment(event.time),
                layout::known(event.server.as_deref()),
                layout::text(&event.name),
                layout::known(event.detail.as_deref()),
            ]
        })
        .collect();
    let titles = ["Time", "Server", "Kind of container", "Number and reason"];
    layout::table(
        "Changes of the number on standby",
        &titles,
        &rows,
        "The number was not changed in this period.",
    )
}

/// How servers were had, server by server.
fn of_starts(starts: &[Start]) -> Markup {
    let mut servers: BTreeMap<&str, Vec<&Start>> = BTreeMap::new();
    for start in starts {
        servers.entry(&start.server).or_default().push(start);
    }
    let longest = servers
        .values()
        .filter_map(|starts| Spread::of(starts.iter().map(|start| start.ms).collect()))
        .map(|spread| spread.high)
        .fold(0.0, f64::max);
    let rows: Vec<Vec<Markup>> = servers
        .iter()
        .map(|(server, starts)| {
            let hits = starts.iter().filter(|start| start.how != "cold").count();
            let spread = Spread::of(starts.iter().map(|start| start.ms).collect());
            vec![
                layout::text(server),
                html! { (starts.len()) },
                hit_bar(hits, starts.len()),
                html! { (hits * 100 / starts.len().max(1)) " %" },
                html! { @if let Some(spread) = spread { (chart::spread(spread, longest)) } },
                took(spread.map(|spread| spread.median)),
                took(spread.map(|spread| spread.high)),
            ]
        })
        .collect();
    let titles = ["Server", "Starts", "Hits", "From standby", "Time", "Median", "95th percentile"];
    layout::table("Starts by server", &titles, &rows, "No session started in this period.")
}

fn hit_bar(hits: usize, of: usize) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "for a drawing")]
    let (hits, of) = (hits as f64, of as f64);
    chart::bar(&[Part { value: hits, class: "first" }], of, &format!("{hits} of {of} from standby"))
}

/// Where the time goes, by how the server was had.
fn of_steps(steps: &[Step]) -> Markup {
    let mut groups: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    for step in steps {
        groups.entry((&step.how, &step.name)).or_default().push(step.ms);
    }
    let mut spreads: Vec<((&str, &str), Spread)> =
        groups.into_iter().filter_map(|(key, times)| Some((key, Spread::of(times)?))).collect();
    spreads.sort_by(|((how, _), one), ((other_how, _), other)| {
        how.cmp(other_how).then(other.median.total_cmp(&one.median))
    });
    let longest = spreads.iter().map(|(_, spread)| spread.high).fold(0.0, f64::max);
    let rows: Vec<Vec<Markup>> = spreads
        .into_iter()
        .map(|((how, name), spread)| {
            vec![
                layout::text(how),
                layout::text(name),
                html! { (spread.count) },
                chart::spread(spread, longest),
                took(Some(spread.median)),
                took(Some(spread.high)),
            ]
        })
        .collect();
    html! {
        @if !rows.is_empty() {
            (layout::table("Where start time goes", &["Start", "Step", "Times", "Time", "Median", "95th percentile"], &rows, ""))
            p class="note" { "Steps may run at the same time: their sum is more than the start." }
        }
    }
}

fn took(time: Option<f64>) -> Markup {
    html! { @if let Some(time) = time { (chart::milliseconds(time)) } @else { "–" } }
}

/// The daemon's containers: memory by server, and each with its holder.
fn holders(rows: &[Row]) -> Markup {
    let mut servers: BTreeMap<&str, (usize, usize, u64)> = BTreeMap::new();
    for row in rows {
        let (active, waiting, memory) = servers.entry(&row.server).or_default();
        *(if row.state == Held::Standby { waiting } else { active }) += 1;
        *memory += row.memory_bytes;
    }
    let most = servers.values().map(|(.., memory)| *memory).max().unwrap_or(0);
    let by_server: Vec<Vec<Markup>> = servers
        .iter()
        .map(|(server, (active, waiting, memory))| {
            vec![
                layout::text(server),
                html! { (active) },
                html! { (waiting) },
                memory_bar(*memory, most),
                html! { (Bytes(*memory)) },
            ]
        })
        .collect();
    let most = rows.iter().map(|row| row.memory_bytes).max().unwrap_or(0);
    let mut sorted: Vec<&Row> = rows.iter().collect();
    sorted.sort_by(|one, other| {
        (&one.client, &one.project, &one.session).cmp(&(&other.client, &other.project, &other.session))
    });
    let each: Vec<Vec<Markup>> = sorted
        .into_iter()
        .map(|row| {
            let session =
                if row.session.is_empty() { layout::known(None) } else { layout::session(&row.session) };
            vec![
                layout::text(&row.client),
                layout::known(Some(&row.project)),
                session,
                layout::text(&row.server),
                html! { (row.state.as_str()) },
                memory_bar(row.memory_bytes, most),
                html! { (Bytes(row.memory_bytes)) },
                html! { (format!("{:.1} %", row.cpu_percent)) },
                layout::text(&row.name),
            ]
        })
        .collect();
    let titles = ["Client", "Project", "Session", "Server", "State", "Share", "Memory", "CPU", "Container"];
    html! {
        p { (count(rows.len(), "container")) " in the daemon." }
        (layout::table("Memory by server", &["Server", "In sessions", "On standby", "Share", "Memory"], &by_server, ""))
        (layout::table("Containers", &titles, &each, "No container runs."))
    }
}

fn memory_bar(memory: u64, most: u64) -> Markup {
    #[expect(clippy::cast_precision_loss, reason = "for a drawing")]
    let (value, whole) = (memory as f64, most as f64);
    chart::bar(&[Part { value, class: "first" }], whole, &format!("{}", Bytes(memory)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(name: &str, state: Held, memory_bytes: u64) -> Row {
        let text = String::new;
        Row {
            name: name.to_owned(),
            client: "codex".to_owned(),
            server: "files".to_owned(),
            isolation: "container",
            session: text(),
            client_session: text(),
            project: text(),
            parent_pid: None,
            machine: text(),
            state,
            streams: "",
            created: text(),
            idle_seconds: None,
            memory_bytes,
            cpu_percent: 0.0,
            host_user: text(),
            refused: Vec::new(),
            list: None,
        }
    }

    #[test]
    fn a_servers_containers_are_summed_up_by_what_they_are_for() {
        let rows = [("a", Held::Active, 1), ("b", Held::Active, 2), ("c", Held::Standby, 5)];
        let text = holders(&rows.map(|(name, state, mib)| row(name, state, mib << 20))).into_string();
        let cells = text.split("<td>files</td>").nth(1).unwrap();
        assert!(cells.starts_with("<td>2</td><td>1</td>"), "{cells}");
        assert!(
            cells.split("</tr>").next().unwrap().contains(&format!("<td>{}</td>", Bytes(8 << 20))),
            "{cells}"
        );
    }
}
