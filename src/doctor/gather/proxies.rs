//! Reads which proxies the docker CLI's file and `[dind]` name.

use super::Asked;
use crate::docker_cli::DockerCli;
use crate::doctor::line::Seen;
use crate::doctor::proxies::Proxies;
use crate::failure::chain;

pub(super) fn look(asked: &Asked<'_>) -> Seen<Proxies> {
    let cli = DockerCli::from_env(asked.lookup);
    let engine = || Some(asked.config.dind.engine(asked.lookup).ok()?.address);
    let of_file = match cli.proxies(&asked.config.dind.daemon(asked.home).address, engine) {
        Ok(proxies) => proxies,
        Err(error) => {
            return Seen::failed(chain(&error), "correct the file; until then docker and berth use no proxy");
        }
    };
    let of_daemon = &asked.config.dind.proxies;
    if of_file.is_empty() && of_daemon.is_empty() {
        return Seen::NotApplicable("no proxy is configured".to_owned());
    }
    Seen::Found(Proxies {
        file: cli.folder().unwrap_or(std::path::Path::new("")).join("config.json"),
        on_loopback: of_file.on_loopback().collect(),
        servers: of_file.reachable().shown(),
        daemon: of_daemon.shown(),
        daemon_on_loopback: of_daemon.on_loopback().next().is_some(),
    })
}
