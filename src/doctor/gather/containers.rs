//! Asks the daemon for its containers: those on standby, and those without an owner.

use std::collections::HashMap;
use std::time::Duration;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

use super::{Asked, WITHIN, failed};
use crate::config::Server;
use crate::config::within::{Within, within};
use crate::dind::soon;
use crate::dock::docker::{DockerError, Engine, Listed};
use crate::dock::roster::{self, State};
use crate::dock::spec::Spec;
use crate::dock::wire::{Request, Wire};
use crate::dock::{keeper, labels, standby};
use crate::doctor::containers::{Fit, Orphans, Standby, Waiting};
use crate::doctor::line::Seen;

pub(super) async fn look(asked: &Asked<'_>) -> (Seen<Standby>, Seen<Orphans>) {
    let daemon = match (asked.daemon(), asked.daemon()) {
        (Ok(daemon), _) => daemon,
        (Err(standby), Err(orphans)) => return (standby, orphans),
        (Err(standby), Ok(_)) => return (standby, Seen::NotApplicable(String::new())),
    };
    let stale_after = match roster::stale_after(asked.lookup) {
        Ok(stale_after) => stale_after,
        Err(failure) => return (failed(failure.clone()), failed(failure)),
    };
    let found = async {
        let rows = soon(daemon, daemon.list(&labels::managed_by_filter())).await?;
        let now = soon(daemon, daemon.now()).await?;
        let cap = soon(daemon, standby::cap(daemon, asked.config.limits.standby)).await?;
        let waiting = waiting(asked, daemon, &rows, now).await?;
        Ok::<_, DockerError>((
            Standby { waiting, cap },
            orphans(daemon, &rows, now, stale_after, asked.is_ours()).await?,
        ))
    };
    let within = WITHIN * asked.patience;
    match tokio::time::timeout(within, found).await {
        Ok(Ok((standby, orphans))) => (Seen::Found(standby), Seen::Found(orphans)),
        Ok(Err(error)) => {
            let failure = crate::failure::Failure::from(error);
            (failed(failure.clone()), failed(failure))
        }
        Err(_) => {
            let late = || format!("no answer within {} s", within.as_secs());
            (Seen::failed(late(), "berth status"), Seen::failed(late(), "berth status"))
        }
    }
}

async fn waiting(
    asked: &Asked<'_>,
    daemon: &Engine,
    rows: &[Listed],
    now: i64,
) -> Result<Vec<Waiting>, DockerError> {
    let mut images: HashMap<&str, Option<String>> = HashMap::new();
    let mut waiting = Vec::new();
    for row in rows.iter().filter(|row| row.running && State::of(&row.name) == State::Standby) {
        let label = |key: &str| row.labels.get(key).cloned().unwrap_or_default();
        let (client, name) = (label(labels::LABEL_CLIENT), label(labels::LABEL_SERVER));
        let fit = match asked.config.servers.get(&name) {
            None => Fit::NoSuchServer,
            Some(server) => {
                if !images.contains_key(server.image.as_str()) {
                    let id = soon(daemon, daemon.image(&server.image)).await?.map(|image| image.id);
                    images.insert(&server.image, id);
                }
                let image = images.get(server.image.as_str()).and_then(Option::as_deref);
                fit(asked, row, server, image)
            }
        };
        waiting.push(Waiting { name: row.name.clone(), client, server: name, age: now - row.created, fit });
    }
    Ok(waiting)
}

/// `image` is the id of the server's image in the daemon.
fn fit(asked: &Asked<'_>, row: &Listed, server: &Server, image: Option<&str>) -> Fit {
    // Of the client's variables only the names count, unless the server runs already; then it can have none.
    let lookup = |name: &str| Some((asked.lookup)(name).unwrap_or_default());
    let mut server = server.clone();
    let (Ok(env), Ok(_)) = (server.resolve_env(&lookup), server.resolve_args(asked.lookup)) else {
        return Fit::Unknown;
    };
    let Ok(mounts) = asked.config.mounts(&server, asked.lookup) else { return Fit::Unknown };
    let Ok(Within { mounts, .. }) = within(&server, &mounts) else { return Fit::Unknown };
    let of_the_client = server.args.is_some() || !mounts.is_empty();
    let caller = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
    server.settle(caller, server.settings.user.is_none() && asked.config.lends(&mounts));
    let client = row.labels.get(labels::LABEL_CLIENT).map(String::as_str).unwrap_or_default();
    let spec = Spec {
        env: env.iter().map(|var| format!("{}={}", var.name, var.value)).collect(),
        mounts,
        looked_at: asked.config.dind.host.is_none(),
        ..Spec::new(server, client, "")
    };
    let same = row.labels.get(labels::LABEL_SPEC).is_some_and(|hash| *hash == spec.hash());
    match same && Some(row.image.as_str()) == image {
        true => Fit::Yes,
        // Another client may stand in another folder, with other variables.
        false if of_the_client => Fit::Unknown,
        false => Fit::Outdated,
    }
}

async fn orphans(
    daemon: &Engine,
    rows: &[Listed],
    now: i64,
    stale_after: Duration,
    is_own: bool,
) -> Result<Orphans, DockerError> {
    let stopped = rows.iter().filter(|row| roster::is_stale(row, now, stale_after));
    let frozen = rows.iter().filter(|row| !row.running && !row.stopped);
    let unclaimed = soon(daemon, roster::unclaimed(daemon)).await?;
    let nameless = if is_own { soon(daemon, daemon.unused_volumes()).await?.len() } else { 0 };
    Ok(Orphans {
        containers: rows.len(),
        stopped: stopped.map(|row| (row.name.clone(), now - row.created)).collect(),
        frozen: frozen.map(|row| row.name.clone()).collect(),
        unclaimed: unclaimed.into_iter().map(|entry| entry.name).collect(),
        nameless,
        volumes: former_volumes(daemon).await?,
    })
}

/// Other keepers' volumes that no container mounts.
async fn former_volumes(daemon: &Engine) -> Result<Vec<String>, DockerError> {
    let all = soon(daemon, daemon.volumes(&labels::managed_by_filter())).await?;
    let mut former = Vec::new();
    for name in all.into_iter().filter(|name| keeper::is_former(name)) {
        let filters = json!({ "volume": [name] }).to_string();
        let filters = utf8_percent_encode(&filters, NON_ALPHANUMERIC);
        let path = format!("/containers/json?all=1&filters={filters}");
        let ask = async {
            let request = Request::get("list the containers of", &name, path);
            Wire::connect(daemon.endpoint()).await?.call(&request).await
        };
        if soon(daemon, ask).await?.as_array().is_some_and(Vec::is_empty) {
            former.push(name);
        }
    }
    Ok(former)
}
