//! The configured servers, with the tools that they told of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Html;
use maud::{Markup, html};
use mcp_berth::catalogue::Catalogue;

use super::{Sorry, layout};
use crate::shared::Shared;

pub(super) async fn show(State(shared): State<Arc<Shared>>) -> Result<Html<String>, Sorry> {
    let config = shared.config_now().await?;
    let state = shared.home.state.clone();
    let names = config.servers.keys().cloned().collect();
    let tools = tokio::task::spawn_blocking(move || tools(names, &state)).await.unwrap_or_default();
    let rows: Vec<Vec<Markup>> = config
        .servers
        .values()
        .map(|server| {
            let names = tools.get(&server.name);
            vec![
                layout::text(&server.name),
                layout::text(&server.image),
                html! { (server.settings.network.to_string()) },
                html! { (server.settings.isolation.as_str()) },
                html! {
                    @if let Some(names) = names {
                        details {
                            summary { (mcp_berth::human::count(names.len(), "tool")) }
                            ul { @for name in names { li { code { (layout::text(name)) } } } }
                        }
                    } @else {
                        "not known yet"
                    }
                },
            ]
        })
        .collect();
    let titles = ["Server", "Image", "Network", "Isolation", "Tools"];
    let body = layout::table("Configured servers", &titles, &rows, "berth.toml has no servers.");
    Ok(layout::page("Servers", "/servers", &body))
}

/// The names of each server's tools, as it last told them.
fn tools(servers: Vec<String>, state: &Path) -> BTreeMap<String, BTreeSet<String>> {
    let catalogue = Catalogue::open(state);
    let known = servers.into_iter().filter_map(|server| {
        catalogue.latest(&server)?;
        let tools = catalogue.tools(&server);
        Some((server, tools))
    });
    known.collect()
}
