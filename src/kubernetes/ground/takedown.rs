//! `berth kubernetes down`: takes back what is berth's by its label, and the namespace where `up` made it and nothing else
//! is in it.

use std::fmt;
use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::Api;
use kube::api::{DeleteParams, ListParams, Preconditions};
use kube::discovery::{Discovery, Scope, verbs};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::human::count;
use tokio::time::Instant;

use super::living::lives;
use super::network::FORWARDER;
use super::refused::{code, failure};
use super::{Cluster, LABEL_MANAGED_BY, MANAGER, PROBER, apply, kind};

/// For pods and a namespace to be gone.
const GONE_WITHIN: Duration = Duration::from_mins(1);
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// What Kubernetes itself puts into each namespace.
const EVERYWHERE: [(&str, &str); 2] = [("ConfigMap", "kube-root-ca.crt"), ("ServiceAccount", "default")];
/// What is no content of it: reports of what was.
const REPORTS: [&str; 2] = ["Event", "PodMetrics"];

/// What has become of the namespace.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    NotThere,
    Deleted,
    Stays(String),
}

/// What was done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Done {
    namespace: String,
    removed: Vec<String>,
    fate: Fate,
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for what in &self.removed {
            writeln!(f, "removed  {what}")?;
        }
        let name = &self.namespace;
        match &self.fate {
            Fate::NotThere => writeln!(f, "the namespace `{name}` is not there"),
            Fate::Deleted => writeln!(f, "the namespace `{name}` is deleted"),
            Fate::Stays(why) if self.removed.is_empty() => {
                writeln!(f, "nothing of berth's is in the namespace `{name}`; it stays: {why}")
            }
            Fate::Stays(why) => writeln!(f, "the namespace `{name}` stays: {why}"),
        }
    }
}

pub(super) async fn down(cluster: &Cluster, force: bool, volumes: bool) -> Result<Done, Failure> {
    let name = cluster.namespace.clone();
    let namespaces: Api<Namespace> = Api::all(cluster.client.clone());
    let mut done = Done { namespace: name.clone(), removed: Vec::new(), fate: Fate::NotThere };
    let made = match namespaces.get_opt(&name).await {
        Ok(None) => return Ok(done),
        Ok(Some(namespace)) => Ok(namespace).and_then(|namespace| {
            let ours = apply::is_made_by_us(&namespace);
            if ours { Ok(namespace) } else { Err("`berth kubernetes up` did not make it".to_owned()) }
        }),
        Err(error) if code(&error) == Some(403) => Err("you may not see namespaces".to_owned()),
        Err(error) => return Err(failure(&format!("look at the namespace `{name}`"), &error)),
    };
    done.removed = pods(cluster, force).await?;
    for resource in kind::all().chain(volumes.then(kind::claims)) {
        for object in apply::ours(cluster, &resource).await? {
            if apply::remove(cluster, &resource, &object).await? {
                done.removed.push(format!("{} {object}", resource.kind));
            }
        }
    }
    // What Kubernetes has made of a deployment and a service goes a moment later.
    let leaves = done.removed.iter().any(|what| *what == format!("Deployment {FORWARDER}"));
    done.fate = match made {
        Err(why) => Fate::Stays(why),
        Ok(namespace) => match content_after(cluster, leaves).await {
            Some(content) => Fate::Stays(content),
            None => delete(&namespaces, &namespace).await?,
        },
    };
    Ok(done)
}

/// Ends the sessions' pods, where there are none that live or somebody wants it so.
async fn pods(cluster: &Cluster, force: bool) -> Result<Vec<String>, Failure> {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let what = |verb: &str| format!("{verb} pods in the namespace `{}`", cluster.namespace);
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY} in ({MANAGER},{PROBER})"));
    let listed = api.list(&ours).await.map_err(|error| failure(&what("list"), &error))?;
    let living = listed.items.iter().filter(|pod| lives(pod)).count();
    if living > 0 && !force {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!(
                "{} of sessions or on standby in the namespace `{}`",
                count(living, "pod"),
                cluster.namespace
            ),
            next: Some("type `berth kubernetes down --force` to end them".to_owned()),
        });
    }
    let names: Vec<String> = listed.items.into_iter().filter_map(|pod| pod.metadata.name).collect();
    for name in &names {
        match api.delete(name, &DeleteParams::default()).await {
            Ok(_) => {}
            Err(error) if code(&error) == Some(404) => {}
            Err(error) => return Err(failure(&what("delete"), &error)),
        }
    }
    let until = Instant::now() + GONE_WITHIN;
    // The policies hold for as long as any of them is there.
    while !names.is_empty() {
        let left = api.list_metadata(&ours).await.map_err(|error| failure(&what("list"), &error))?;
        if left.items.is_empty() {
            break;
        }
        if Instant::now() > until {
            return Err(late(&count(left.items.len(), "pod"), &cluster.namespace));
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
    Ok(names.into_iter().map(|name| format!("Pod {name}")).collect())
}

fn late(what: &str, namespace: &str) -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("{what} of the namespace `{namespace}` not gone in {} s", GONE_WITHIN.as_secs()),
        next: Some(format!("look at it with `kubectl get pods -n {namespace} -o wide`, and try again")),
    }
}

/// What else is in the namespace, once what goes by itself has had its time.
async fn content_after(cluster: &Cluster, leaves: bool) -> Option<String> {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let content = content(cluster).await;
        if content.is_none() || !leaves || Instant::now() > until {
            return content;
        }
        tokio::time::sleep(LOOKS_EVERY).await;
    }
}

/// What else is in the namespace; `None`: nothing at all. Where that cannot be told, there may be something.
async fn content(cluster: &Cluster) -> Option<String> {
    let discovered =
        match Discovery::new(cluster.client.clone()).exclude(&["metrics.k8s.io"]).run_aggregated().await {
            Ok(discovered) => discovered,
            Err(error) => return Some(format!("what else is in it cannot be told: {error}")),
        };
    for group in discovered.groups() {
        for (resource, capabilities) in group.recommended_resources() {
            if capabilities.scope != Scope::Namespaced || !capabilities.supports_operation(verbs::LIST) {
                continue;
            }
            if REPORTS.contains(&resource.kind.as_str()) {
                continue;
            }
            match kind::api(cluster, &resource).list_metadata(&ListParams::default().limit(3)).await {
                Ok(listed) => {
                    let stays =
                        listed.items.into_iter().filter(|it| it.metadata.deletion_timestamp.is_none());
                    let names = stays.filter_map(|object| object.metadata.name);
                    let other = |name: &String| !EVERYWHERE.contains(&(resource.kind.as_str(), name));
                    if let Some(name) = names.into_iter().find(other) {
                        return Some(format!("the {} `{name}` is in it", resource.kind));
                    }
                }
                Err(error) if [Some(404), Some(405)].contains(&code(&error)) => {}
                Err(error) => {
                    return Some(format!("it cannot be told whether {} are in it: {error}", resource.plural));
                }
            }
        }
    }
    None
}

async fn delete(namespaces: &Api<Namespace>, namespace: &Namespace) -> Result<Fate, Failure> {
    let name = namespace.metadata.name.as_deref().unwrap_or_default();
    let same = Preconditions { uid: namespace.metadata.uid.clone(), resource_version: None };
    let params = DeleteParams { preconditions: Some(same), ..DeleteParams::default() };
    let what = || format!("delete the namespace `{name}`");
    match namespaces.delete(name, &params).await {
        Ok(_) => {}
        Err(error) if code(&error) == Some(403) => {
            return Ok(Fate::Stays("you may not delete namespaces".to_owned()));
        }
        Err(error) => return Err(failure(&what(), &error)),
    }
    let until = Instant::now() + GONE_WITHIN;
    loop {
        match namespaces.get_opt(name).await {
            Ok(None) => return Ok(Fate::Deleted),
            Ok(Some(_)) if Instant::now() < until => tokio::time::sleep(LOOKS_EVERY).await,
            Ok(Some(_)) => return Err(late("the end", name)),
            Err(error) => return Err(failure(&what(), &error)),
        }
    }
}
