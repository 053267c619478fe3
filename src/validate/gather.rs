//! From a plan to observations: what to start, try and look at, and in which order. Judges nothing.

mod access;
mod cleanup;
mod deployment;
mod isolation;
pub(crate) mod resources;

use std::io;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::checks::Observations;
use super::checks::cleanup::By;
use super::checks::isolation::Egress;
use super::place::Place;
use super::plan::Plan;
use super::session::Session;
use crate::dind::progress::Progress;
use crate::exam::client::Kind;
use crate::exam::inside::Inside;
use crate::exam::process::Scratch;
use crate::human::count;
use crate::values::Network;

/// A session whose server has answered, and its container.
#[derive(Debug)]
struct Live {
    session: Session,
    container: String,
}

/// Sessions beside the examined ones: what is done to them would disturb those.
struct Spares {
    /// Its limits are overstepped.
    resources: Option<Live>,
    /// With a network; killed in the end.
    others: Vec<Live>,
    /// Those that did not start, and why.
    missing: Vec<(String, String)>,
}

/// What the whole examination needs.
struct Bench<'a> {
    plan: &'a Plan,
    place: &'a dyn Place,
    scratch: Scratch,
    /// Nobody else's: it stands in what is written and looked for.
    nonce: String,
}

impl Bench<'_> {
    /// The way into a container.
    fn inside(&self, container: &str) -> Inside {
        self.place.inside(container).with_patience(self.plan.patience)
    }
}

/// Examines the system; gives what was seen and how long it took. Dropping it midway ends all that was started.
///
/// # Errors
/// Only where there is no place for the sessions' files. All else is an observation.
pub async fn gather(
    plan: &Plan,
    place: &dyn Place,
    progress: &Progress,
) -> io::Result<(Observations, Duration)> {
    let began = Instant::now();
    let mut seen = Observations::default();
    seen.deployment.server.clone_from(&plan.server.name);
    {
        let _task = progress.task("looking at what runs the sessions");
        place.look(&mut seen).await;
    }
    if seen.version().is_err() {
        return Ok((seen, began.elapsed()));
    }
    let nonce = format!("{:x}", jiff::Timestamp::now().as_nanosecond());
    let bench = Bench { plan, place, scratch: Scratch::new("validate")?, nonce };

    let task = progress.task(&format!("starting {} at once", count(plan.clients, "session")));
    let (deployment, mut sessions) = deployment::deploy(&bench).await;
    seen.deployment = deployment;
    drop(task);

    let task = progress.task(&format!(
        "{}, {} at once",
        count(plan.clients * plan.calls, "call"),
        count(plan.clients, "client")
    ));
    seen.access = access::call(&bench, &mut sessions).await;
    drop(task);

    let task = progress.task("trying to see, reach and write into other sessions");
    let (spares, isolation, ()) =
        tokio::join!(start_spares(&bench), isolation::try_out(&bench, &sessions), place.knock(&mut seen));
    seen.isolation = isolation;
    seen.missing_spares.clone_from(&spares.missing);
    drop(task);

    let task = progress.task("overstepping limits");
    let (networked, egress) = match plan.server.settings.network {
        Network::Egress | Network::Lan => (&sessions, Egress::TheSame),
        Network::None | Network::Allow(_) => {
            let reaches = isolation::reach_around(&bench, &spares.others, isolation::SPARE_PORT).await;
            (&spares.others, Egress::Pair(reaches))
        }
    };
    seen.isolation.egress = egress;
    let from_network = networked.first();
    let (doors, resources) = tokio::join!(
        isolation::knock_on_daemon(&bench, from_network),
        resources::overstep(&bench, sessions.first(), spares.resources.as_ref()),
    );
    seen.isolation.daemon = doors;
    seen.resources = resources;
    drop(task);

    let _task = progress.task("ending the sessions");
    access::call_again(&mut sessions, &mut seen.access).await;
    let half = sessions.len() / 2;
    let orderly = sessions.into_iter().enumerate();
    let mut ends: Vec<(Live, By)> =
        orderly.map(|(at, live)| (live, if at < half { By::Eof } else { By::Sigterm })).collect();
    ends.extend(spares.others.into_iter().chain(spares.resources).map(|live| (live, By::Sigkill)));
    seen.cleanup = cleanup::end(&bench, ends).await;
    Ok((seen, began.elapsed()))
}

/// Spares that don't answer are missing afterwards, and what needs them says so.
async fn start_spares(bench: &Bench<'_>) -> Spares {
    let titles = match bench.plan.server.settings.network {
        // One to be killed, or two that try to reach one another and are killed then.
        Network::Egress | Network::Lan => &["spare 1"][..],
        Network::None | Network::Allow(_) => &["spare 1", "spare 2"],
    };
    let starts = titles.iter().map(|title| start(bench, title, &["--network", "egress"]));
    let limited = resources::flags(&bench.plan.server.settings);
    let limited: Vec<&str> = limited.iter().map(String::as_str).collect();
    let (others, resources) = tokio::join!(join_all(starts), start(bench, "spare for limits", &limited));
    let mut missing = Vec::new();
    let mut take =
        |started: Result<Live, (String, String)>| started.map_err(|missed| missing.push(missed)).ok();
    let resources = take(resources);
    let others = others.into_iter().filter_map(take).collect();
    Spares { resources, others, missing }
}

async fn start(bench: &Bench<'_>, title: &str, flags: &[&str]) -> Result<Live, (String, String)> {
    let started = async {
        let session = Session::spawn(bench.plan, &bench.scratch, Kind::Codex, title.to_owned(), flags);
        let mut session = session.map_err(|error| format!("cannot start berth: {error}"))?;
        session.begin().await?;
        let container = session.container().await?;
        Ok(Live { session, container })
    };
    started.await.map_err(|why| (title.to_owned(), why))
}
