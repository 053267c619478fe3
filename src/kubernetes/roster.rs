//! The sessions' pods as `berth ps` and `berth kill` show them, beside those in a Docker daemon.

use std::process::ExitCode;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use mcp_berth::cli::{GcArgs, KillArgs, PsArgs};
use mcp_berth::commands::{self, gc, kill, ps};
use mcp_berth::config::{Config, Home};
use mcp_berth::dind::containers::{self, Seen};
use mcp_berth::dock::owner::{self, Owner};
use mcp_berth::dock::roster::{self, Entry, State};
use mcp_berth::failure::Failure;
use mcp_berth::values::{Backend, Isolation};
use serde_json::json;

use super::causes::refused::Asked;
use super::cluster::Cluster;
use super::pod::{
    ACTIVE, ANNOTATION_CLIENT_SESSION, ANNOTATION_ENDED, ANNOTATION_PROJECT, ANNOTATION_SESSION,
    LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SERVER, LABEL_SPEC, LABEL_STATE, MANAGER, STANDBY,
};
use super::sweep;

/// What tells a session's pod in the daemon from one in the cluster: no container's id has it.
const MARK: &str = "pod/";

/// `berth ps`.
pub(crate) async fn ps(args: &PsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let mut seen = match config.uses(Backend::Docker) {
        true => ps::see(args, config, home).await?,
        false => Seen { rows: Vec::new(), cap: None },
    };
    let asked = args.client_session.as_deref().map(owner::id);
    let pods = entries(&Cluster::connect(&config.kubernetes).await?).await?;
    let is_meant = |entry: &Entry| asked.is_none() || entry.owner.client_session == asked.clone().flatten();
    seen.rows.extend(pods.into_iter().filter(is_meant).map(|entry| containers::known(entry, &home.state)));
    ps::show(args, &seen)
}

/// `berth kill`.
pub(crate) async fn kill(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let cluster = Cluster::connect(&config.kubernetes).await?;
    let mut all = entries(&cluster).await?;
    let engine = config.uses(Backend::Docker).then(|| commands::dind_engine(config, home)).transpose()?;
    if let Some(engine) = &engine {
        all.extend(roster::list_with_owners(engine).await.map_err(Failure::from)?);
    }
    let end = async |entry: &Entry| match (entry.id.strip_prefix(MARK), &engine) {
        (None, Some(engine)) => roster::end(engine, &entry.id).await.map_err(Failure::from),
        _ => end(&cluster, &entry.name).await,
    };
    kill::end(args, home, all, end).await
}

/// `berth gc`.
pub(crate) async fn gc(_: &GcArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let mut left = match config.uses(Backend::Docker) {
        true => gc::sweep(config, home).await?,
        false => gc::Leftovers::default(),
    };
    let cluster = Cluster::connect(&config.kubernetes).await?;
    let swept = sweep::sweep(&cluster).await;
    let swept = swept.map_err(|error| refused(&cluster, "delete", &error))?;
    left.removed.extend(swept.into_iter().map(|pod| format!("the pod {pod}")));
    gc::say(&left)
}

/// Its session is told so before the pod goes.
async fn end(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let ended = json!({ "metadata": { "annotations": { ANNOTATION_ENDED: "true" } } });
    let pods = cluster.pods();
    let failed = |verb| move |error: kube::Error| refused(cluster, verb, &error);
    pods.patch(name, &PatchParams::default(), &Patch::Merge(ended)).await.map_err(failed("patch"))?;
    pods.delete(name, &DeleteParams::default()).await.map(drop).map_err(failed("delete"))
}

fn refused(cluster: &Cluster, verb: &str, error: &kube::Error) -> Failure {
    Asked { verb, resource: "pods", namespace: &cluster.namespace }.refused(error).into()
}

async fn entries(cluster: &Cluster) -> Result<Vec<Entry>, Failure> {
    let ours = ListParams::default().labels(&format!("{LABEL_MANAGED_BY}={MANAGER}"));
    let pods = cluster.pods().list(&ours).await;
    let pods = pods.map_err(|error| refused(cluster, "list", &error))?;
    Ok(pods.items.iter().filter_map(entry).collect())
}

/// `None`: it is no session's, or at its end.
fn entry(pod: &Pod) -> Option<Entry> {
    let label = |name| pod.labels().get(name).cloned();
    let said = |name| pod.annotations().get(name).cloned();
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return None;
    }
    let running = phase == Some("Running");
    let state = match label(LABEL_STATE)?.as_str() {
        STANDBY => State::Standby,
        ACTIVE if running => State::Active,
        _ => State::Starting,
    };
    let session = said(ANNOTATION_SESSION).unwrap_or_default();
    let (client_session, project) = (said(ANNOTATION_CLIENT_SESSION), said(ANNOTATION_PROJECT));
    let runtime = pod.spec.as_ref().and_then(|spec| spec.runtime_class_name.as_deref());
    Some(Entry {
        id: format!("{MARK}{}", pod.name_any()),
        name: pod.name_any(),
        client: label(LABEL_CLIENT)?,
        server: label(LABEL_SERVER)?,
        owner: Owner::new(&session, client_session.as_deref(), project.as_deref()),
        way: None,
        isolation: if runtime.is_some() { Isolation::Gvisor } else { Isolation::Container },
        spec: label(LABEL_SPEC).unwrap_or_default(),
        user: String::new(),
        state,
        running,
        created: pod.creation_timestamp().map(|time| time.0.as_second()).unwrap_or_default(),
        list: None,
        place: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(phase: &str, labels: serde_json::Value) -> Option<Entry> {
        let pod = json!({
            "metadata": {
                "name": "mcp-codex-1", "labels": labels, "creationTimestamp": "2026-01-01T00:00:00Z",
                "annotations": { ANNOTATION_SESSION: "0123456789ab", ANNOTATION_PROJECT: "/p" },
            },
            "spec": { "containers": [], "runtimeClassName": "gvisor" },
            "status": { "phase": phase },
        });
        entry(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_a_sessions_until_its_end() {
        let labels =
            |state: &str| json!({ LABEL_STATE: state, LABEL_CLIENT: "codex", LABEL_SERVER: "files" });
        let found = pod("Running", labels(ACTIVE)).unwrap();
        assert_eq!((found.name.as_str(), found.id.as_str()), ("mcp-codex-1", "pod/mcp-codex-1"));
        assert_eq!((found.client.as_str(), found.server.as_str()), ("codex", "files"));
        assert_eq!(
            (found.owner.session.as_str(), found.owner.project.as_deref()),
            ("0123456789ab", Some("/p"))
        );
        assert_eq!((found.state, found.isolation, found.running), (State::Active, Isolation::Gvisor, true));
        assert_eq!(found.created, 1_767_225_600);
        assert_eq!(pod("Pending", labels(ACTIVE)).unwrap().state, State::Starting);
        assert_eq!(pod("Running", labels(STANDBY)).unwrap().state, State::Standby);
        for over in ["Succeeded", "Failed"] {
            assert!(pod(over, labels(ACTIVE)).is_none(), "{over}");
        }
        assert!(pod("Running", json!({})).is_none(), "it is something else of berth's");
    }
}
