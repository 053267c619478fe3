//! What a start needs to know of its session's container.

use std::ffi::OsString;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::again::Setback;
use super::inquiry::Inquiry;
use super::peers::Peers;
use crate::backend::plan::Plan;
use crate::backend::publish::Published;
use crate::config::{Config, Daemon, EnvVar, Home, Server, Settings};
use crate::dind;
use crate::dind::images::room::Shelf;
use crate::dock::dial::Endpoint;
use crate::dock::door::Doors;
use crate::dock::place::Place;
use crate::dock::spec::Spec;
use crate::docker_cli::DockerCli;
use crate::failure::{Code, Failure};
use crate::values::{Isolation, Way};

/// A plan, and all that a start needs beside it where a daemon runs the server.
#[derive(Debug, Clone)]
pub struct DockerPlan {
    plan: Plan,
    pub endpoint: Endpoint,
    /// Whoever can say why the daemon does not answer.
    pub inquiry: Option<Inquiry>,
    /// Where what a package is baked on may be.
    pub host: Option<Daemon>,
    /// Who pulls it from a registry.
    pub cli: DockerCli,
    /// The daemon's folder of doors, where it has one.
    pub doors: Option<Doors>,
    /// What berth is to be told to clear away what a session has reserved.
    pub clear: Vec<OsString>,
    /// Whether the daemon is to ask this machine's nameservers.
    pub tell_nameservers: bool,
    /// The session's, over all of its servers; `None`: it publishes no port.
    pub published: Option<Arc<Published>>,
    /// Those that its server shares a network with; `None`: it has its own.
    pub peers: Option<Peers>,
    /// Whether an image that the daemon lacks is fetched: there is no configuration that `berth up` could have it from.
    pub fetch: bool,
    /// Whether a registry is asked for a newer image once the session runs (`Config::may_renew`).
    pub renew: bool,
    /// What room there is for an image that the daemon lacks.
    pub shelf: Arc<Shelf>,
}

impl Deref for DockerPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.plan
    }
}

impl DerefMut for DockerPlan {
    fn deref_mut(&mut self) -> &mut Plan {
        &mut self.plan
    }
}

impl DockerPlan {
    /// All that can be found out before the first connection.
    ///
    /// # Errors
    /// What the server cannot have in this daemon; that there is no way to the daemon.
    pub fn of(
        mut plan: Plan,
        config: &Config,
        home: &Home,
        lookup: fn(&str) -> Option<String>,
    ) -> Result<Self, Failure> {
        plan.spec = in_daemon(plan.spec, config, home)?;
        let settings = &plan.spec.server.settings;
        let endpoint = dind::endpoint(config, home)?.with_timeout(settings.connect_timeout);
        Ok(Self {
            tell_nameservers: dind::asks_as_we_do(config, &endpoint),
            endpoint,
            // Where there is none, what is needed of it will be missed.
            host: config.dind.engine(&lookup).ok(),
            inquiry: Inquiry::of(config, home, lookup),
            cli: DockerCli::from_env(&lookup),
            doors: doors(config, home),
            clear: clear(config),
            fetch: !plan.is_configured,
            published: None,
            peers: None,
            renew: config.may_renew(&plan.spec.server),
            shelf: Arc::new(Shelf::of(config)),
            plan,
        })
    }
}

/// A container of the configuration's daemon.
///
/// # Errors
/// What the server cannot have there.
pub fn in_daemon(mut spec: Spec, config: &Config, home: &Home) -> Result<Spec, Failure> {
    let Server { name, settings, .. } = &spec.server;
    if settings.isolation == Isolation::Gvisor && config.dind.host.is_some() {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "server `{name}` cannot have `isolation = \"gvisor\"`: `host` in [dind] names a daemon that berth did not make"
            ),
            next: Some("remove `host` and type `berth up`, or set `isolation = \"container\"`".to_owned()),
        });
    }
    if let Some(volume) = settings.volumes.iter().find(|volume| volume.claim) {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "server `{name}` cannot have the claim `{}` in a container: a claim is a cluster's",
                volume.name
            ),
            next: Some(format!(
                "remove `claim` behind `{}`, or set `backend = \"kubernetes\"`",
                volume.target
            )),
        });
    }
    spec.looked_at = config.dind.host.is_none();
    spec.doors = doors(config, home).filter(|_| may_come_directly(&spec.server.settings));
    Ok(spec)
}

/// The daemon's folder of doors, where it has one: a daemon of berth's own making alone.
fn doors(config: &Config, home: &Home) -> Option<Doors> {
    config.dind.host.is_none().then(|| Doors::find(&home.state, &config.dind.name)).flatten()
}

/// Whether a server can hand its pipes to us. A kernel of the server's own passes no open files on.
fn may_come_directly(settings: &Settings) -> bool {
    settings.streams != Way::Exec && settings.isolation == Isolation::Container
}

/// The command line that clears away what a session has reserved.
fn clear(config: &Config) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["gc".into(), "--after-session".into()];
    if let Some(file) = &config.file {
        // It stands in another folder.
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        words.extend(["--config".into(), file.into()]);
    }
    words
}

/// What would be created, as the Engine API would be told.
pub fn preview(daemon: &str, spec: &Spec, env: &[EnvVar]) -> serde_json::Value {
    let Server { command, args, recipe, .. } = &spec.server;
    let command = match (command, args) {
        (Some(command), args) => json!([command.as_slice(), args.as_deref().unwrap_or_default()].concat()),
        (None, Some(args)) => json!(["the image's ENTRYPOINT", args]),
        (None, None) => json!("the image's ENTRYPOINT and CMD"),
    };
    let mut plan = json!({
        "daemon": daemon,
        "name": format!("mcp-{}-<n>", spec.client),
        "container": spec.create_body(&Place::example()),
        "streams": spec.way().as_str(),
        "exec": { "command": command, "env": env.iter().map(ToString::to_string).collect::<Vec<_>>() },
    });
    if let Some(recipe) = recipe {
        let package = &recipe.package;
        plan["bake"] = json!({
            "runner": package.runner.as_str(),
            "packages": package.packages,
            "on": recipe.base(),
            "container": recipe.container(),
        });
    }
    plan
}

/// A part of the start, for as long as `start_timeout` lets it take.
pub(super) async fn in_time<T>(
    timeout: Duration,
    what: &str,
    server: &str,
    work: impl Future<Output = Result<T, Setback>>,
) -> Result<T, Setback> {
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        Err(Setback::Lasting(Failure {
            code: Code::Unavailable,
            text: format!("the {what} of `{server}` was not ready within {timeout:?}"),
            next: Some("look at the DinD daemon with `berth status`, or raise `start_timeout`".to_owned()),
        }))
    })
}
