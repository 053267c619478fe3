//! Ends all sessions at once, and watches their containers go.

use std::time::{Duration, Instant};

use futures::future::join_all;

use super::{Bench, Live};
use crate::exam::check::Seen;
use crate::validate::checks::cleanup::{By, Cleanup, End, WITHIN};
use crate::validate::place::Place;

const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Watched so many times longer than allowed, so that a failure has a figure.
const WATCH: u32 = 3;

pub(super) async fn end(bench: &Bench<'_>, sessions: Vec<(Live, By)>) -> Cleanup {
    let known: Vec<(String, By, String)> =
        sessions.iter().map(|(live, by)| (live.session.title.clone(), *by, live.container.clone())).collect();
    let containers: Vec<String> = known.iter().map(|(.., container)| container.clone()).collect();
    let within = WITHIN * bench.plan.patience;
    let killed_within = within + bench.place.waits_for_the_killed();
    let began = Instant::now();
    let (exits, gone) = tokio::join!(
        join_all(sessions.into_iter().map(|(live, by)| live.session.end(by))),
        watch(bench.place, &containers, began, killed_within + within * (WATCH - 1)),
    );
    let ends = known.iter().zip(exits).zip(gone);
    let ends = ends.map(|(((title, by, _), exit), gone_after)| End {
        title: title.clone(),
        by: *by,
        gone_after,
        exit,
    });
    let leftovers = bench.place.leftovers(&containers, within).await;
    Cleanup { ends: ends.collect(), leftovers, within, killed_within }
}

/// For each of `containers` when it was gone. A daemon that is merely slow is asked again.
async fn watch(
    place: &dyn Place,
    containers: &[String],
    began: Instant,
    limit: Duration,
) -> Vec<Seen<Duration>> {
    let mut gone: Vec<Option<Duration>> = vec![None; containers.len()];
    let mut why = String::new();
    while gone.iter().any(Option::is_none) && began.elapsed() < limit {
        match place.list().await {
            Ok(listed) => {
                let after = began.elapsed();
                for (gone, id) in gone.iter_mut().zip(containers) {
                    if listed.iter().all(|entry| entry.id != *id) {
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
