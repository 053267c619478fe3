//! Starts the sessions, all at once, and finds their containers.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Bench, Live};
use crate::dock::roster::State;
use crate::exam::check::Seen;
use crate::exam::client::Kind;
use crate::validate::checks::deployment::{Deployed, Deployment, Found, PATIENCE};
use crate::validate::place::Place;
use crate::validate::session::Session;

/// A container gets its number while its server starts.
const NAMED_WITHIN: Duration = Duration::from_secs(5);
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Gives the sessions that answered, besides what was seen of all.
pub(super) async fn deploy(bench: &Bench<'_>) -> (Deployment, Vec<Live>) {
    let mut counts: HashMap<&str, usize> = HashMap::new();
    let titled: Vec<(Kind, String)> = bench
        .plan
        .kinds()
        .map(|kind| {
            let count = counts.entry(kind.name()).or_default();
            *count += 1;
            (kind, format!("{} {count}", kind.name()))
        })
        .collect();
    let began = Instant::now();
    // All processes are there before the first of them is spoken to.
    let spawned: Vec<_> = titled
        .into_iter()
        .map(|(kind, title)| {
            (kind, title.clone(), Session::spawn(bench.plan, &bench.scratch, kind, title, &[]))
        })
        .collect();
    let started = join_all(spawned.into_iter().map(|(kind, title, session)| async move {
        match session {
            Ok(mut session) => {
                let ready = session.begin().await;
                (kind, title, ready, Some(session))
            }
            Err(error) => (kind, title, Err(format!("cannot start berth: {error}")), None),
        }
    }))
    .await;
    let took = started.iter().filter_map(|(.., session)| session.as_ref()?.answered).max();
    let took = took.map(|last| last - began).unwrap_or_default();

    let mut claims = Vec::new();
    for (kind, title, ready, session) in started {
        let claim = match &session {
            Some(session) if ready.is_ok() => session.container().await,
            _ => Err("its server has not answered".to_owned()),
        };
        claims.push((kind, title, ready, session, claim));
    }
    let ids: Vec<&str> = claims.iter().filter_map(|claim| claim.4.as_deref().ok()).collect();
    let listed = containers(bench.place, &ids, NAMED_WITHIN * bench.plan.patience).await;

    let (mut sessions, mut lives) = (Vec::new(), Vec::new());
    for (kind, title, ready, session, claim) in claims {
        let container = match (&claim, &listed) {
            (Ok(id), Ok(listed)) => {
                listed.get(id).cloned().ok_or_else(|| format!("its container {id:.12} is not listed"))
            }
            (Err(why), _) | (_, Err(why)) => Err(why.clone()),
        };
        sessions.push(Deployed { title, client: kind.name(), ready, container });
        if let (Some(session), Ok(container)) = (session, claim) {
            lives.push(Live { session, container });
        }
    }
    let server = bench.plan.server.name.clone();
    (Deployment { server, sessions, took, patience: PATIENCE * bench.plan.patience }, lives)
}

/// Those of `ids` that the daemon has, by id; waits a little for their names.
async fn containers(place: &dyn Place, ids: &[&str], within: Duration) -> Seen<HashMap<String, Found>> {
    let deadline = Instant::now() + within;
    loop {
        let listed = place.list().await?;
        let ours: Vec<_> = listed.into_iter().filter(|entry| ids.contains(&entry.id.as_str())).collect();
        let named = ours.iter().filter(|entry| entry.state == State::Active).count() >= ids.len();
        if named || Instant::now() > deadline {
            let found = ours.into_iter().map(|entry| Found {
                id: entry.id,
                name: entry.name,
                client: entry.client,
                server: entry.server,
                session: entry.owner.session,
                running: entry.running,
            });
            return Ok(found.map(|found| (found.id.clone(), found)).collect());
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}
