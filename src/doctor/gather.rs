//! From questions to facts: whom to ask, in which order, for how long. Judges nothing.

mod certificates;
mod clients;
mod containers;
mod daemon;
mod disk;
mod ids;
mod images;
mod kernel;
mod leftovers;
mod names;
mod probes;
mod proxies;
mod servers;
mod streams;

use std::time::Duration;

use super::clients::File;
use super::disk::Folder;
use super::line::Seen;
use super::servers::Server;
use super::{Facts, Options, SILENT};
use crate::config::{Config, Home};
use crate::dind::diagnosis::Trouble;
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::values::Lookup;

/// For a group of questions; each has a shorter time of its own.
const WITHIN: Duration = Duration::from_secs(20);
/// For all that is tried in the probe container.
const PROBES_WITHIN: Duration = Duration::from_mins(1);

const LEFT_OUT: &str = "left out by `--quick`";

/// Who can be asked.
struct Asked<'a> {
    config: &'a Config,
    home: &'a Home,
    lookup: Lookup<'a>,
    /// The engine that holds the daemon, if it answers.
    host: Option<Engine>,
    /// The DinD daemon, if it answers.
    daemon: Option<Engine>,
    /// How many times as long everything may take as on an ordinary machine.
    patience: u32,
    /// Why it does not.
    trouble: Option<Trouble>,
}

pub(super) async fn gather(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    options: &Options,
    progress: &Progress,
) -> Facts {
    let task = progress.task("asking the engine and the daemon");
    let ((engine, host), (daemon, inner, trouble)) =
        tokio::join!(daemon::engine(config, lookup), daemon::daemon(config, home, lookup, options.patience));
    let asked = Asked { config, home, lookup, host, daemon: inner, trouble, patience: options.patience };
    let limit = WITHIN * options.patience;
    let (container, certificates, clock, confinement, data, images, (standby, orphans), leftovers, clients) = tokio::join!(
        within(limit, daemon::container(&asked)),
        within(limit, certificates::look(&asked)),
        within(limit, daemon::clock(&asked)),
        within(limit, daemon::confinement(&asked)),
        within(limit, disk::data(&asked)),
        images::look(&asked),
        containers::look(&asked),
        within(limit, leftovers::look(&asked)),
        within(limit, clients::look(&asked, options)),
    );
    let streams = within(limit, streams::look(&asked, &container)).await;
    drop(task);
    let probes = if options.quick {
        Seen::NotApplicable(LEFT_OUT.to_owned())
    } else {
        let _task = progress.task("trying limits, end of input and lifeline in a container");
        within(PROBES_WITHIN * options.patience, Box::pin(probes::look(&asked, &images))).await
    };
    let kernel = if options.quick {
        Seen::NotApplicable(LEFT_OUT.to_owned())
    } else {
        Box::pin(within(PROBES_WITHIN * options.patience, kernel::look(&asked, &images))).await
    };
    Facts {
        engine,
        container,
        daemon,
        certificates,
        clock,
        confinement,
        data,
        state: disk::folder(home),
        images,
        proxies: proxies::look(&asked),
        standby,
        orphans,
        leftovers,
        servers: servers::look(&asked),
        clients,
        probes,
        kernel,
        streams,
    }
}

/// What there is to see where no server needs a daemon.
pub(super) async fn at_home(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    options: &Options,
) -> (Seen<Folder>, Vec<Server>, Seen<Vec<File>>) {
    let patience = options.patience;
    let asked = Asked { config, home, lookup, host: None, daemon: None, trouble: None, patience };
    let clients = within(WITHIN * patience, clients::look(&asked, options)).await;
    (disk::folder(home), servers::look(&asked), clients)
}

impl Asked<'_> {
    /// The daemon, or why what it would have been asked is not applicable.
    fn daemon<T>(&self) -> Result<&Engine, Seen<T>> {
        self.daemon.as_ref().ok_or_else(|| Seen::NotApplicable(SILENT.to_owned()))
    }

    /// The engine that holds the daemon.
    fn host<T>(&self) -> Result<&Engine, Seen<T>> {
        let why = "the engine does not answer";
        self.host.as_ref().ok_or_else(|| Seen::NotApplicable(why.to_owned()))
    }

    /// Whether `berth up` makes the daemon.
    fn is_ours(&self) -> bool {
        self.config.dind.host.is_none()
    }
}

async fn within<T>(limit: Duration, look: impl Future<Output = Seen<T>>) -> Seen<T> {
    tokio::time::timeout(limit, look)
        .await
        .unwrap_or_else(|_| Seen::failed(format!("no answer within {} s", limit.as_secs()), "berth status"))
}

/// A question that was not answered.
fn failed<T>(error: impl Into<crate::failure::Failure>) -> Seen<T> {
    let failure = error.into();
    Seen::failed(failure.text, failure.next.unwrap_or_else(|| "berth status".to_owned()))
}
