//! `berth chaos` in a cluster: pods are deleted under load, and a person's commands break parts of the cluster.
//!
//! Its sessions run in the namespace of the configuration, and call themselves `chaos-N`; all of their pods are gone in the
//! end.

use std::collections::BTreeSet;
use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use mcp_berth::chaos::ground::{Ground, Missed};
use mcp_berth::chaos::left::Left;
use mcp_berth::chaos::plan::{Fault, Kind};
use mcp_berth::chaos::{CLIENT, STANDBY_TTL, site};
use mcp_berth::cli::ChaosArgs;
use mcp_berth::commands;
use mcp_berth::config::{Config, Kubernetes, Server};
use mcp_berth::failure::{Code, Failure};
use tokio::process::Command;
use tokio::time::timeout;
use toml::Table;

use super::cluster::Cluster;
use super::pod::{ACTIVE, LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_STATE, MANAGER};
use super::sweep::{Among, LOOKED_AT_WITHIN, sweep};

/// How long a pod waits for its session in a run; less than a person's own sessions may have.
const RECONNECT: Duration = Duration::from_secs(15);
/// Kubernetes' own scheduler was seen to give no pod to a node for 90 s after an API server was killed twice in two minutes.
const RECOVER_WITHIN: Duration = Duration::from_mins(2);
/// A command that is not done by then is ended.
const COMMAND_WITHIN: Duration = Duration::from_mins(1);
/// An API server that was broken and mended has come back by then.
const ANSWERS_WITHIN: Duration = Duration::from_secs(30);
/// Deleting pods takes the kubelet its time.
const BEYOND: Duration = Duration::from_secs(30);

/// `berth chaos SERVER`
pub(crate) async fn run(args: &ChaosArgs, config: &Config) -> anyhow::Result<ExitCode> {
    let name = args.server.as_deref().unwrap_or_default();
    let server = config.server(name)?;
    let cluster = Cluster::connect(&config.kubernetes).await?;
    let pods = Pods {
        server: table(server),
        kubernetes: kubernetes(&config.kubernetes, &cluster.namespace),
        cluster,
        commands: args.fault.clone(),
        next: AtomicUsize::default(),
    };
    let there = pods.look().await?;
    if there.count() > 0 {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("another run has pods there: {}", Vec::from_iter(there.containers).join(", ")),
            next: Some("wait for its end, or type `berth gc`".to_owned()),
        }
        .into());
    }
    commands::chaos::run_on(args, config, Box::new(pods)).await
}

/// The pods of a run.
struct Pods {
    cluster: Cluster,
    /// What the sessions are configured by.
    server: Table,
    kubernetes: Table,
    /// A person's commands, and how many were run.
    commands: Vec<String>,
    next: AtomicUsize,
}

impl std::fmt::Debug for Pods {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pods").field("namespace", &self.cluster.namespace).finish_non_exhaustive()
    }
}

/// What of a person's server makes its pod.
fn table(server: &Server) -> Table {
    let mut table = Table::new();
    let mut set = |key: &str, value: toml::Value| drop(table.insert(key.to_owned(), value));
    set("backend", "kubernetes".into());
    set("image", server.image.clone().into());
    set("memory", "128m".into());
    set("reconnect", format!("{}s", RECONNECT.as_secs()).into());
    set("recover_within", format!("{}s", RECOVER_WITHIN.as_secs()).into());
    set("standby_ttl", format!("{}s", STANDBY_TTL.as_secs()).into());
    set("on_failure", "restart".into());
    if let Some(user) = &server.settings.user {
        set("user", user.clone().into());
    }
    if let Some(command) = &server.command {
        set("command", command.clone().into());
    }
    if let Some(args) = &server.args {
        set("args", args.clone().into());
    }
    table
}

fn kubernetes(settings: &Kubernetes, namespace: &str) -> Table {
    let mut table = Table::new();
    let mut set = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            table.insert(key.to_owned(), value.into());
        }
    };
    let path = |path: &std::path::PathBuf| path.display().to_string();
    set("context", settings.context.clone());
    set("namespace", Some(namespace.to_owned()));
    set("kubeconfig", settings.kubeconfig.as_ref().map(path));
    set("keeper_image", settings.keeper_image.clone());
    set("pod_template", settings.pod_template.as_ref().map(path));
    table
}

impl Ground for Pods {
    fn kinds(&self) -> Vec<Kind> {
        let can = |kind: &Kind| *kind != Kind::Commanded || !self.commands.is_empty();
        Kind::IN_A_CLUSTER.into_iter().filter(can).collect()
    }

    /// Every second slot uses pods on standby.
    fn config(&self, slot: usize) -> Table {
        let mut server = self.server.clone();
        server.insert("standby".to_owned(), i64::from(slot % 2 == 1).into());
        Table::from_iter([
            ("kubernetes".to_owned(), self.kubernetes.clone().into()),
            ("servers".to_owned(), site::servers(&server)),
        ])
    }

    fn inject<'a>(&'a self, client: &'a str, fault: &'a Fault) -> LocalBoxFuture<'a, Result<(), Missed>> {
        async move {
            match fault.kind {
                Kind::PodDeleted => self.delete(client).await,
                Kind::Commanded => self.command().await,
                // Those of sessions are done to them.
                _ => Ok(()),
            }
        }
        .boxed_local()
    }

    fn look(&self) -> LocalBoxFuture<'_, anyhow::Result<Left>> {
        async {
            let pods = self.cluster.pods();
            let params = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
            let listed = timeout(ANSWERS_WITHIN, pods.list(&params)).await.context("no answer in time")?;
            let listed = listed.context("cannot look at the pods")?;
            let is_ours = |client: &String| client.starts_with(CLIENT);
            let ours = listed.items.iter().filter(|pod| pod.labels().get(LABEL_CLIENT).is_some_and(is_ours));
            let containers: BTreeSet<String> = ours.map(ResourceExt::name_any).collect();
            Ok(Left { containers, ..Left::default() })
        }
        .boxed_local()
    }

    fn tidy(&self) -> LocalBoxFuture<'_, ()> {
        async {
            if let Ok(Err(error)) = timeout(ANSWERS_WITHIN, sweep(&self.cluster, Among::All)).await {
                tracing::debug!("cannot sweep: {error}");
            }
        }
        .boxed_local()
    }

    fn gone_within(&self) -> Duration {
        RECONNECT.max(STANDBY_TTL) + LOOKED_AT_WITHIN + BEYOND
    }
}

impl Pods {
    /// The newest of the client's that serves a session.
    async fn delete(&self, client: &str) -> Result<(), Missed> {
        let missed = |error: kube::Error| Missed(error.to_string());
        let labels = format!("{LABEL_MANAGED_BY}={MANAGER},{LABEL_CLIENT}={client},{LABEL_STATE}={ACTIVE}");
        let listed =
            self.cluster.pods().list(&ListParams::default().labels(&labels)).await.map_err(missed)?;
        let runs = |phase: Option<&str>| phase == Some("Running");
        let running = listed.items.into_iter().filter(|pod| {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            pod.metadata.deletion_timestamp.is_none() && runs(phase)
        });
        let newest = running.max_by_key(|pod| pod.metadata.creation_timestamp.clone());
        let name = newest.ok_or_else(|| Missed("the session has no running pod".to_owned()))?.name_any();
        self.cluster.pods().delete(&name, &DeleteParams::default()).await.map(drop).map_err(missed)
    }

    /// The next one of the person's; each breaks something, and mends it.
    async fn command(&self) -> Result<(), Missed> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let line = &self.commands[number % self.commands.len()];
        let mut command = Command::new("sh");
        command.args(["-c", line]).stdin(Stdio::null()).stdout(Stdio::null()).kill_on_drop(true);
        match timeout(COMMAND_WITHIN, command.status()).await {
            Ok(Ok(status)) if status.success() => Ok(()),
            Ok(Ok(status)) => Err(Missed(format!("`{line}` failed ({status})"))),
            Ok(Err(error)) => Err(Missed(format!("`{line}`: {error}"))),
            Err(_) => Err(Missed(format!("`{line}` took longer than {COMMAND_WITHIN:?}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;

    use super::*;
    use crate::fake;

    #[tokio::test]
    async fn a_runs_sessions_are_configured_as_the_persons_own() {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        let text = "[kubernetes]\nnamespace = \"n\"\nkubeconfig = \"/k\"\nkeeper_image = \"k:1\"\n\
                    [servers.a]\nbackend = \"kubernetes\"\nimage = \"i\"\ncommand = [\"/p\"]\nuser = \"1000\"\n";
        let config = Config::parse(text, Path::new("/b.toml"), &home).unwrap();
        let (cluster, _) = fake::cluster(|_| (200, fake::status(200, "")));
        let pods = |commands: &[&str]| Pods {
            server: table(&config.servers["a"]),
            kubernetes: kubernetes(&config.kubernetes, "n"),
            cluster: cluster.clone(),
            commands: commands.iter().map(|line| (*line).to_owned()).collect(),
            next: AtomicUsize::default(),
        };
        let ground = pods(&[]);
        assert!(!ground.kinds().contains(&Kind::Commanded), "nobody has named one");
        for slot in 0..2 {
            let text = ground.config(slot).to_string();
            let own = Config::parse(&text, Path::new("/slot.toml"), &home).unwrap();
            assert_eq!(own.kubernetes.keeper_image(), "k:1", "{text}");
            assert_eq!(own.servers["fixture"].settings.user.as_deref(), Some("1000"));
            assert_eq!(own.servers["fixture"].settings.standby.least(), u32::from(slot == 1));
        }
        let ground = pods(&["true", "exit 3"]);
        assert!(ground.kinds().contains(&Kind::Commanded));
        assert!(ground.command().await.is_ok());
        let failed = ground.command().await.unwrap_err().to_string();
        assert!(failed.contains("`exit 3` failed") && ground.command().await.is_ok(), "{failed}");
    }

    #[tokio::test]
    async fn a_sessions_own_pod_is_deleted_and_only_a_runs_pods_are_left() {
        let pod = |name: &str, client: &str, phase: &str, at: &str| {
            serde_json::json!({
                "metadata": { "name": name, "labels": { LABEL_CLIENT: client }, "creationTimestamp": at },
                "status": { "phase": phase },
            })
        };
        let items = [
            pod("old", "chaos-1", "Running", "2026-01-01T00:00:01Z"),
            pod("new", "chaos-1", "Running", "2026-01-01T00:00:02Z"),
            pod("starting", "chaos-1", "Pending", "2026-01-01T00:00:03Z"),
            pod("other", "codex", "Running", "2026-01-01T00:00:04Z"),
        ];
        let list = serde_json::json!({ "metadata": {}, "items": items });
        let (cluster, seen) = fake::cluster(move |(method, ..)| match method.as_str() {
            "GET" => (200, list.clone()),
            _ => (200, serde_json::json!({ "kind": "Status", "status": "Success" })),
        });
        let (server, kubernetes) = (Table::new(), Table::new());
        let pods = Pods { cluster, server, kubernetes, commands: Vec::new(), next: AtomicUsize::default() };
        let left = pods.look().await.unwrap();
        assert_eq!(Vec::from_iter(left.containers), ["new", "old", "starting"]);
        // The API server chooses by the labels: here it is all of them.
        pods.delete("chaos-1").await.unwrap();
        assert_eq!(fake::told(&seen).last().unwrap(), "DELETE /other");
    }
}
