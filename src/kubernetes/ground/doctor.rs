//! `berth kubernetes doctor`: what sessions need of a cluster, line by line, each with the command that mends it.
//!
//! Probe pods of berth's own try what the network policies claim, for an API server takes a policy where nobody enforces
//! any. They are gone afterwards; where berth is killed they end by themselves.

mod features;
mod probes;
mod reach;
mod rights;
mod verdict;

pub(crate) use probes::api_server;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use k8s_openapi::api::core::v1::Namespace;
use kube::Api;
use mcp_berth::config::{Config, Server};
use mcp_berth::doctor::line::{Line, Seen};
use mcp_berth::doctor::report::{Look, Report};
use mcp_berth::failure::Failure;
use mcp_berth::values::Backend;

use super::network::allows;
use super::proof::Enforcement;
use super::refused::{code, failure};
use super::{Cluster, apply, kind, objects, proof};
use probes::Prober;

const UP: &str = "berth kubernetes up";

#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Make no pod.
    pub(super) quick: bool,
    /// An address far away.
    pub(super) world: SocketAddr,
}

impl Options {
    /// What can be told without a pod.
    pub(super) const QUICK: Self =
        Self { quick: true, world: SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0) };
}

/// How a report is shown, as `berth doctor` has it.
pub(super) fn look(is_terminal: bool) -> Look {
    if !is_terminal {
        return Look::Plain;
    }
    Look::Terminal { colours: std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
}

pub(super) async fn examine(config: &Config, cluster: Result<Cluster, Failure>, options: &Options) -> Report {
    let began = Instant::now();
    let lines = match cluster {
        Ok(cluster) => Box::pin(all(config, &cluster, options)).await,
        Err(failure) => vec![Line::failed("cluster", failure.text, failure.next.unwrap_or_default())],
    };
    Report::new(lines, began.elapsed())
}

async fn all(config: &Config, cluster: &Cluster, options: &Options) -> Vec<Line> {
    let mut lines = Vec::new();
    match cluster.client.apiserver_version().await {
        Ok(version) => {
            let said = format!("Kubernetes {}, namespace `{}`", version.git_version, cluster.namespace);
            lines.push(Line::ok("cluster", said));
        }
        Err(error) => {
            let Failure { text, next, .. } = failure("ask the API server for its version", &error);
            lines.push(Line::failed("cluster", text, next.unwrap_or_default()));
            return lines;
        }
    }
    let (namespace, is_there) = namespace(cluster).await;
    lines.push(namespace);
    lines.push(rights::line(config, cluster).await);
    let (laid, has_keeper) = laid(cluster, config).await;
    lines.push(laid);
    lines.extend(profiles(config));
    let prober = Prober::of(config);
    let seen = if !is_there {
        Seen::NotApplicable("there is no namespace for a pod".to_owned())
    } else if !has_keeper {
        Seen::NotApplicable("the keeper is not there".to_owned())
    } else if prober.image.is_empty() {
        Seen::NotApplicable(
            "no server's image is there for a pod: no server has `backend = \"kubernetes\"`".to_owned(),
        )
    } else if options.quick {
        Seen::NotApplicable("no pod was made".to_owned())
    } else {
        let generation = proof::generation(cluster).await;
        let seen = Box::pin(probes::probe(cluster, &prober, options.world)).await;
        if let (Seen::Found(probes), Ok(Some(generation))) = (&seen, generation) {
            lines.extend(record(cluster, generation, verdict::holds(&probes.nodes)).await);
        }
        seen
    };
    let judged = verdict::judge(&seen, &prober.image);
    lines.extend(judged);
    if !matches!(seen, Seen::Found(_)) {
        lines.push(recorded(cluster).await);
    }
    lines.extend(features::lines(cluster, &prober, is_there).await);
    lines
}

/// The namespace, and whether there is one.
async fn namespace(cluster: &Cluster) -> (Line, bool) {
    const NAME: &str = "namespace";
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let line = match namespaces.get_opt(&cluster.namespace).await {
        Ok(None) => return (Line::failed(NAME, "it is not there", UP), false),
        Ok(Some(namespace)) => {
            let label = "pod-security.kubernetes.io/enforce";
            let labels = namespace.metadata.labels.as_ref();
            let made =
                if apply::is_made_by_us(&namespace) { "made by `up`" } else { "made by somebody else" };
            if let Some(profile) = labels.and_then(|labels| labels.get(label)) {
                Line::ok(NAME, format!("{made}; Pod Security is `{profile}`"))
            } else {
                let next = format!("kubectl label namespace {} {label}=baseline", cluster.namespace);
                Line::warning(NAME, format!("{made}; Pod Security enforces nothing there"), next)
            }
        }
        Err(error) if code(&error) == Some(403) => Line::not_applicable(NAME, "you may not see namespaces"),
        Err(error) => {
            let Failure { text, next, .. } = failure("look at the namespace", &error);
            Line::failed(NAME, text, next.unwrap_or_default())
        }
    };
    (line.of(&cluster.namespace), true)
}

/// Profiles whose network no cluster can have.
fn profiles(config: &Config) -> Vec<Line> {
    let is_pod = |server: &&Server| server.settings.backend == Backend::Kubernetes;
    let pods: Vec<&Server> = config.servers.values().filter(is_pod).collect();
    let profiles = config.profiles.values();
    let profiles =
        profiles.filter(|profile| pods.iter().any(|server| profile.servers.contains(&server.name)));
    let of_profiles = profiles.filter_map(|profile| Some(("profile", &profile.name, allows(profile).err()?)));
    let line = |(what, name, failure): (&'static str, &String, Failure)| {
        Line::failed(what, failure.text, failure.next.unwrap_or_default()).of(name)
    };
    of_profiles.map(line).collect()
}

/// Whether all that `up` makes is there, and whether nothing is known against the keeper.
async fn laid(cluster: &Cluster, config: &Config) -> (Line, bool) {
    const NAME: &str = "ground";
    let mut there = Vec::new();
    for resource in kind::all() {
        match apply::ours(cluster, &resource).await {
            Ok(names) => there.extend(names.into_iter().map(|name| (resource.kind.clone(), name))),
            Err(_) => {
                return (Line::not_applicable(NAME, format!("you may not list {}", resource.plural)), true);
            }
        }
    }
    let mut wanted = objects::own(config, &cluster.namespace);
    let keeper = objects::keeper(config, &cluster.namespace);
    wanted.extend(keeper.clone());
    let is_there = |wanted: &&super::wanted::Wanted| {
        there.iter().any(|(kind, name)| kind == wanted.kind() && name == wanted.name())
    };
    let has_keeper = keeper.as_ref().is_none_or(|keeper| is_there(&keeper));
    let missing: Vec<String> = wanted
        .iter()
        .filter(|wanted| !is_there(wanted))
        .map(|wanted| format!("{} `{}`", wanted.kind(), wanted.name()))
        .collect();
    if missing.is_empty() {
        let said = format!("all {} roles, accounts, policies and keepers are there", wanted.len());
        return (Line::ok(NAME, said), true);
    }
    (Line::warning(NAME, format!("missing: {}", missing.join(", ")), UP), has_keeper)
}

/// Writes what was found to where sessions read it; a line only where that failed.
async fn record(cluster: &Cluster, generation: i64, holds: Option<bool>) -> Option<Line> {
    let error = proof::write(cluster, generation, holds?).await.err()?;
    let next = "have whoever may change network policies type: berth kubernetes doctor";
    let said = "what was found cannot be recorded, so `network = \"none\"` goes by what was before";
    let Failure { text, .. } = failure("write to the policy", &error);
    Some(Line::warning("record", format!("{said}: {text}"), next))
}

/// What a former look found, where there was none now.
async fn recorded(cluster: &Cluster) -> Line {
    const NAME: &str = "record";
    match proof::read(cluster).await {
        Ok(Enforcement::Proved(at)) => Line::ok(NAME, format!("policies were enforced at {at:.0}")),
        Ok(enforcement) => match proof::require(&enforcement, proof::NONE, &cluster.namespace) {
            Ok(()) => Line::ok(NAME, "policies were enforced"),
            Err(failure) => Line::warning(NAME, failure.text, failure.next.unwrap_or_default()),
        },
        Err(failure) => Line::warning(NAME, failure.text, failure.next.unwrap_or_default()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;

    use super::*;

    #[test]
    fn a_network_that_no_cluster_has_is_told_for_profiles_that_run_there() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[servers.a]\nimage = \"i\"\nbackend = \"kubernetes\"\nnetwork = { allow = [\"a.org\"] }\n\
                    [servers.b]\nimage = \"i\"\nbackend = \"kubernetes\"\npublish = [\"8085\"]\n\
                    [servers.c]\nimage = \"i\"\n\
                    [profiles.p]\nservers = [\"b\"]\npeers = true\n\
                    [profiles.q]\nservers = [\"c\"]\npeers = true\n";
        let lines = profiles(&Config::parse(text, Path::new("b.toml"), &home).unwrap());
        let told: Vec<_> = lines.iter().map(|line| (line.name, line.object.as_deref().unwrap())).collect();
        assert_eq!(told, [("profile", "p")], "a list of names can be had");
    }
}
