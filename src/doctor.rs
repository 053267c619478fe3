//! `berth doctor`: examines everything that sessions need, and reports it line by line with the command that mends it.
//!
//! ```text
//! gather (questions, a probe container) -> facts -> judgement (pure) -> lines -> report
//! ```
//!
//! `gather` judges nothing, and judges speak to no daemon. So a test can show each line as right, as a warning and as a
//! failure. Every question has a time limit. Nothing is changed and nothing is left behind: the probe container has a
//! lifeline as any session's has.

pub mod certificates;
pub mod clients;
pub mod confinement;
pub mod containers;
pub mod daemon;
pub mod disk;
mod gather;
pub mod ids;
pub mod images;
pub mod kernel;
pub mod leftovers;
pub mod line;
pub mod names;
pub mod probes;
pub mod proxies;
pub mod report;
pub mod servers;
pub mod streams;

use std::path::PathBuf;
use std::time::Instant;

use crate::config::{Config, ConfigError, Home};
use crate::dind::progress::Progress;
use crate::human::count;
use crate::values::{Backend, Lookup};
use line::{Line, Seen};
use report::Report;

/// What a daemon's silence makes of everything else.
const SILENT: &str = "the daemon does not answer";

/// Where and how to look.
#[derive(Debug)]
pub struct Options {
    /// Leave the probe container out.
    pub quick: bool,
    /// How many times as long everything may take as on an ordinary machine.
    pub patience: u32,
    /// The folder whose clients' files count.
    pub folder: PathBuf,
}

/// All that was found out, as plain data.
#[derive(Debug)]
pub struct Facts {
    pub engine: Seen<daemon::Answer>,
    pub container: Seen<daemon::Container>,
    pub daemon: Seen<daemon::Answer>,
    pub certificates: Seen<certificates::Certificates>,
    pub clock: Seen<daemon::Clock>,
    pub confinement: Seen<confinement::Confinement>,
    pub data: Seen<disk::Data>,
    pub state: Seen<disk::Folder>,
    pub images: Vec<images::Image>,
    pub proxies: Seen<proxies::Proxies>,
    pub standby: Seen<containers::Standby>,
    pub orphans: Seen<containers::Orphans>,
    pub leftovers: Seen<leftovers::Leftovers>,
    pub servers: Vec<servers::Server>,
    pub clients: Seen<Vec<clients::File>>,
    pub probes: Seen<probes::Probes>,
    pub kernel: Seen<kernel::Kernel>,
    pub streams: Seen<streams::Streams>,
}

/// Looks at everything, and at what `beside` sees; the report has a line for each.
pub async fn examine(
    config: &Config,
    home: &Home,
    lookup: Lookup<'_>,
    options: &Options,
    progress: &Progress,
    beside: impl Future<Output = Vec<Line>>,
) -> Report {
    let began = Instant::now();
    let mut lines = vec![configuration(config)];
    if config.uses(Backend::Docker) {
        let facts = Box::pin(gather::gather(config, home, lookup, options, progress)).await;
        lines.extend(judge(&facts));
    } else {
        let (state, servers, clients) = Box::pin(gather::at_home(config, home, lookup, options)).await;
        lines.push(Line::not_applicable("daemon", "no server runs in one"));
        lines.push(disk::folder(&state));
        lines.extend(servers::judge(&servers, &clients, &[]));
        lines.extend(clients::judge(&clients));
    }
    lines.extend(beside.await);
    Report::new(lines, began.elapsed())
}

/// The report where there is no configuration to go by.
pub fn misconfigured(error: &ConfigError) -> Report {
    let next = "correct it; `berth run --dry-run SERVER` checks it, too";
    Report::new(vec![Line::failed("configuration", error.to_string(), next)], std::time::Duration::ZERO)
}

fn configuration(config: &Config) -> Line {
    const NAME: &str = "configuration";
    let servers = count(config.servers.len(), "server");
    match &config.file {
        None => {
            let next = "write a [servers.NAME] with an `image`; the README's «Use it» shows one";
            Line::warning(NAME, "there is no configuration file, so no server has a name", next)
        }
        Some(file) => Line::ok(NAME, format!("{servers} in {}", file.display())),
    }
}

/// All lines but the configuration's, in the order in which they are told.
pub fn judge(facts: &Facts) -> Vec<Line> {
    let answers = matches!(facts.daemon, Seen::Found(_));
    let container = daemon::container(&facts.container, answers);
    let daemon = if !answers && container.state == line::State::Failed {
        Line::not_applicable("daemon", "its container has to work first")
    } else {
        daemon::daemon(&facts.daemon)
    };
    let mut lines = vec![daemon::engine(&facts.engine), container, daemon];
    lines.extend(certificates::judge(&facts.certificates));
    lines.push(daemon::clock(&facts.clock));
    lines.push(confinement::judge(&facts.confinement));
    lines.push(disk::data(&facts.data));
    lines.push(disk::folder(&facts.state));
    lines.extend(images::judge(&facts.images));
    lines.extend(proxies::judge(&facts.proxies));
    lines.push(containers::standby(&facts.standby));
    lines.push(containers::orphans(&facts.orphans));
    lines.push(leftovers::judge(&facts.leftovers));
    lines.extend(servers::judge(&facts.servers, &facts.clients, &facts.images));
    lines.extend(clients::judge(&facts.clients));
    lines.extend(probes::judge(&facts.probes));
    lines.push(streams::judge(&facts.streams, &probes::handed(&facts.probes)));
    lines.push(kernel::judge(&facts.kernel));
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use line::State;

    fn silent<T>() -> Seen<T> {
        Seen::NotApplicable(SILENT.to_owned())
    }

    fn facts() -> Facts {
        Facts {
            engine: Seen::failed("no engine", "start it"),
            container: Seen::NotApplicable("the engine does not answer".to_owned()),
            daemon: Seen::failed("connection refused", "berth up"),
            certificates: Seen::NotApplicable("a socket".to_owned()),
            clock: silent(),
            confinement: silent(),
            data: silent(),
            state: silent(),
            images: Vec::new(),
            proxies: silent(),
            standby: silent(),
            orphans: silent(),
            leftovers: silent(),
            servers: Vec::new(),
            clients: Seen::Found(Vec::new()),
            probes: silent(),
            kernel: silent(),
            streams: silent(),
        }
    }

    #[test]
    fn a_dead_daemon_is_one_failure() {
        let failed = |facts: &Facts| {
            let lines = judge(facts);
            lines
                .into_iter()
                .filter(|line| line.state == State::Failed)
                .map(|line| line.name)
                .collect::<Vec<_>>()
        };
        assert_eq!(failed(&facts()), ["engine", "daemon"]);
        let exited = daemon::Container { status: "exited".into(), ..daemon::Container::default() };
        let found = Facts { engine: silent(), container: Seen::Found(exited), ..facts() };
        assert_eq!(failed(&found), ["container"]);
    }

    #[test]
    fn a_broken_configuration_is_the_only_line() {
        let error = Home::from_env(&|_| None).unwrap_err();
        let report = misconfigured(&error);
        assert!(!report.healthy);
        assert!(report.lines[0].fact.contains("BERTH_HOME"));
    }
}
