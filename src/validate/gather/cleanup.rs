//! Ends all sessions at once, and watches their containers go.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Bench, Live};
use crate::dock::docker::Engine;
use crate::dock::roster::{self, Entry};
use crate::exam::check::Seen;
use crate::validate::checks::cleanup::{By, Cleanup, End, WITHIN};

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Watched so many times longer than allowed, so that a failure has a figure.
const WATCH: u32 = 3;
/// A container that is created in this moment by somebody else runs by then.
const SECOND_LOOK_AFTER: Duration = Duration::from_secs(1);

pub(super) async fn end(bench: &Bench<'_>, sessions: Vec<(Live, By)>) -> Cleanup {
    let known: Vec<(String, By, String)> =
        sessions.iter().map(|(live, by)| (live.session.title.clone(), *by, live.container.clone())).collect();
    let containers: Vec<&str> = known.iter().map(|(.., container)| container.as_str()).collect();
    let within = WITHIN * bench.plan.patience;
    let began = Instant::now();
    let (exits, gone) = tokio::join!(
        join_all(sessions.into_iter().map(|(live, by)| live.session.end(by))),
        watch(&bench.engine, &containers, began, within * WATCH),
    );
    let ends = known.iter().zip(exits).zip(gone);
    let ends = ends.map(|(((title, by, _), exit), gone_after)| End {
        title: title.clone(),
        by: *by,
        gone_after,
        exit,
    });
    Cleanup { ends: ends.collect(), leftovers: leftovers(&bench.engine, within).await, within }
}

/// For each of `containers` when it was gone. A daemon that is merely slow is asked again.
async fn watch(engine: &Engine, containers: &[&str], began: Instant, limit: Duration) -> Vec<Seen<Duration>> {
    let mut gone: Vec<Option<Duration>> = vec![None; containers.len()];
    let mut why = String::new();
    while gone.iter().any(Option::is_none) && began.elapsed() < limit {
        match look(engine, limit).await {
            Ok(listed) => {
                let after = began.elapsed();
                for (gone, id) in gone.iter_mut().zip(containers) {
                    if listed.iter().all(|entry| entry.id != **id) {
                        gone.get_or_insert(after);
                    }
                }
                why = format!("still there after {} s", limit.as_secs());
            }
            Err(error) => why = error,
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
    gone.into_iter().map(|gone| gone.ok_or_else(|| why.clone())).collect()
}

/// Containers that don't run, and still don't a moment later.
async fn leftovers(engine: &Engine, within: Duration) -> Seen<Vec<String>> {
    let idle = |listed: Vec<Entry>| listed.into_iter().filter(|entry| !entry.running);
    let first: Vec<String> = idle(look(engine, within).await?).map(|entry| entry.id).collect();
    if first.is_empty() {
        return Ok(Vec::new());
    }
    tokio::time::sleep(SECOND_LOOK_AFTER).await;
    Ok(idle(look(engine, within).await?)
        .filter(|entry| first.contains(&entry.id))
        .map(|entry| entry.name)
        .collect())
}

async fn look(engine: &Engine, within: Duration) -> Seen<Vec<Entry>> {
    match tokio::time::timeout(within, roster::list(engine)).await {
        Ok(listed) => listed.map_err(|error| error.to_string()),
        Err(_) => Err("the daemon does not answer".to_owned()),
    }
}
