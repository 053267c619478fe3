//! The sessions' pods as `berth ps` and `berth kill` show them, beside those in a Docker daemon.

use std::process::ExitCode;
use std::time::Duration;

use bytes::Bytes;
use futures::SinkExt;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use mcp_berth::cli::{GcArgs, KillArgs, PsArgs};
use mcp_berth::commands::{self, gc, kill, ps};
use mcp_berth::config::{Config, Home};
use mcp_berth::dind::containers::{self, Seen};
use mcp_berth::dock::owner::{self, Owner};
use mcp_berth::dock::protocol;
use mcp_berth::dock::roster::{self, Entry, State};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::{Backend, Isolation};
use serde_json::json;
use tokio::time::Instant;

use super::causes::refused::Asked;
use super::cluster::Cluster;
use super::nodes::node_of;
use super::pod::{
    self, ACTIVE, ANNOTATION_CLIENT_SESSION, ANNOTATION_ENDED, ANNOTATION_PROJECT, ANNOTATION_SESSION,
    LABEL_CLIENT, LABEL_MANAGED_BY, LABEL_SERVER, LABEL_SPEC, LABEL_STATE, MANAGER, STANDBY,
};
use super::pump::{From, To, What};
use super::sweep::{self, Among, LOOKED_AT_WITHIN};

/// What tells a session's pod in the daemon from one in the cluster: no container's id has it.
pub(crate) const MARK: &str = "pod/";

/// Who gives no answer within this time gives none.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

const NOT_FOUND: u16 = 404;
/// A keeper that is there hears within this time.
const TOLD_WITHIN: Duration = Duration::from_secs(8);
/// A server has its grace, and a session looks then: at once, and where the end has cut its stream, too.
const LEFT_WITHIN: Duration = Duration::from_secs(30);
const LOOKED_WITHIN: Duration = LOOKED_AT_WITHIN;
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A kubelet says by then that a container runs.
const SAID_WITHIN: Duration = Duration::from_secs(3);
/// What a container waits for that may run in this moment.
const STARTING: [&str; 2] = ["ContainerCreating", "PodInitializing"];

/// What the daemon and the cluster have said, and the failure of the one that has not.
struct Sides<D, P> {
    docker: Option<D>,
    pods: Option<P>,
    away: Option<Failure>,
}

/// Asks both at once. One that is away is no reason to leave the other alone.
async fn ask<D, P>(
    config: &Config,
    docker: impl Future<Output = Result<D, Failure>>,
    pods: impl Future<Output = Result<P, Failure>>,
) -> Result<Sides<D, P>, Failure> {
    let (docker, pods) = tokio::join!(in_time("the daemon", docker), in_time("the cluster", pods));
    match (docker, pods) {
        (Ok(docker), Ok(pods)) => Ok(Sides { docker: Some(docker), pods: Some(pods), away: None }),
        (Ok(docker), Err(failure)) => Ok(Sides { docker: Some(docker), pods: None, away: Some(failure) }),
        // No server of the configuration needs a daemon.
        (Err(_), Ok(pods)) if !config.uses(Backend::Docker) => {
            Ok(Sides { docker: None, pods: Some(pods), away: None })
        }
        (Err(failure), Ok(pods)) => Ok(Sides { docker: None, pods: Some(pods), away: Some(failure) }),
        (Err(docker), Err(pods)) => {
            if config.uses(Backend::Docker) {
                tracing::warn!("{docker}");
            }
            Err(pods)
        }
    }
}

async fn in_time<T>(who: &str, asked: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::time::timeout(ANSWER_WITHIN, asked).await.unwrap_or_else(|_| {
        Err(Failure {
            code: Code::Unavailable,
            text: format!("{who} gave no answer within {ANSWER_WITHIN:?}"),
            next: Some("look at it with `berth status`, or with `berth kubernetes doctor`".to_owned()),
        })
    })
}

/// What was shown is not all, where one was away.
fn unless_away(done: anyhow::Result<ExitCode>, away: Option<Failure>) -> anyhow::Result<ExitCode> {
    done.and_then(|code| away.map_or(Ok(code), |failure| Err(failure.into())))
}

/// `berth ps`.
pub(crate) async fn ps(args: &PsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let pods = async { entries(&Cluster::connect(&config.kubernetes).await?).await };
    let Sides { docker, pods, away } = Box::pin(ask(config, ps::see(args, config, home), pods)).await?;
    let mut seen = docker.unwrap_or(Seen { rows: Vec::new(), cap: None });
    let asked = args.client_session.as_deref().map(owner::id);
    let is_meant = |entry: &Entry| asked.is_none() || entry.owner.client_session == asked.clone().flatten();
    let pods = pods.into_iter().flatten().filter(is_meant);
    seen.rows.extend(pods.map(|entry| containers::known(entry, &home.state)));
    unless_away(ps::show(args, &seen), away)
}

/// `berth kill`.
pub(crate) async fn kill(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let docker = async {
        let engine = commands::dind_engine(config, home)?;
        let entries = roster::list_with_owners(&engine).await.map_err(Failure::from)?;
        Ok((engine, entries))
    };
    let pods = async {
        let cluster = Cluster::connect(&config.kubernetes).await?;
        let entries = entries(&cluster).await?;
        Ok((cluster, entries))
    };
    let Sides { docker, pods, away } = Box::pin(ask(config, docker, pods)).await?;
    let (engine, containers) = docker.unzip();
    let (cluster, pods) = pods.unzip();
    let all = containers.into_iter().chain(pods).flatten().collect();
    let end = async |entry: &Entry| match (entry.id.strip_prefix(MARK), &engine, &cluster) {
        (None, Some(engine), _) => roster::end(engine, &entry.id).await.map_err(Failure::from),
        (Some(name), _, Some(cluster)) => end(cluster, name).await,
        // It was listed by one of them.
        _ => Ok(()),
    };
    in_both(kill::end(args, home, all, end).await, away)
}

/// What was not found may be where nobody looked.
fn in_both(done: anyhow::Result<ExitCode>, away: Option<Failure>) -> anyhow::Result<ExitCode> {
    let Some(failure) = away else { return done };
    match done {
        Ok(code) => {
            tracing::warn!("{failure}");
            Ok(code)
        }
        Err(error) => {
            tracing::warn!("{error}");
            Err(failure.into())
        }
    }
}

/// `berth gc`.
pub(crate) async fn gc(_: &GcArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let pods = async {
        let cluster = Cluster::connect(&config.kubernetes).await?;
        let swept = sweep::sweep(&cluster, Among::All).await;
        swept.map(|swept| swept.gone).map_err(|error| refused(&cluster, "delete", &error))
    };
    let Sides { docker, pods, away } = Box::pin(ask(config, gc::sweep(config, home), pods)).await?;
    let mut left = docker.unwrap_or_default();
    left.removed.extend(pods.into_iter().flatten().map(|pod| format!("the pod {pod}")));
    unless_away(gc::say(&left), away)
}

/// Ends a session from outside. Its pod stays until the session has looked why, which deletes it itself: a pod that was
/// deleted at once says nothing any more.
async fn end(cluster: &Cluster, name: &str) -> Result<(), Failure> {
    let ended = json!({ "metadata": { "annotations": { ANNOTATION_ENDED: "true" } } });
    let pods = cluster.pods();
    let failed = |verb| move |error: kube::Error| refused(cluster, verb, &error);
    let (params, patch) = (PatchParams::default(), Patch::Merge(ended));
    let patching = async { pods.patch(name, &params, &patch).await.map_err(failed("patch")) };
    let pod = in_time("the cluster", patching).await?;
    // What it was told by is open until then: nothing of it is cut off on its way.
    if may_hear(&pod)
        && let Some(_stream) = terminate(cluster, name).await
    {
        let _ = tokio::time::timeout(LEFT_WITHIN, left(cluster, name)).await;
    }
    let deleting = async {
        match pods.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == NOT_FOUND => Ok(()),
            deleted => deleted.map(drop).map_err(failed("delete")),
        }
    };
    in_time("the cluster", deleting).await
}

/// Whether its keeper may be there: a node has the pod, and is not known to wait for something else.
fn may_hear(pod: &Pod) -> bool {
    let waiting = pod::state_of_server(pod).and_then(|state| state.waiting.as_ref()?.reason.as_deref());
    !node_of(pod).is_empty() && waiting.is_none_or(|reason| STARTING.contains(&reason))
}

/// Tells the keeper; `None`: it does not hear.
async fn terminate(cluster: &Cluster, name: &str) -> Option<(To, From)> {
    let told = async {
        loop {
            if let Ok((mut to, from)) = cluster.place(name).open(&cluster.client, What::Attach).await
                && to.send(Bytes::from_static(&[protocol::TERMINATE])).await.is_ok()
            {
                return (to, from);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    tokio::time::timeout(TOLD_WITHIN, told).await.ok()
}

/// Waits until a session has deleted its pod, or has had the time for it since the server's end. An API server takes a
/// stream to a container that is not there, too.
async fn left(cluster: &Cluster, name: &str) {
    let began = Instant::now();
    let mut ended = None;
    while let Ok(Some(pod)) = cluster.pods().get_opt(name).await {
        let is_over = match pod::state_of_server(&pod) {
            Some(state) if state.terminated.is_some() => {
                ended.get_or_insert_with(Instant::now).elapsed() >= LOOKED_WITHIN
            }
            Some(state) if state.running.is_some() => false,
            _ => began.elapsed() >= SAID_WITHIN,
        };
        if is_over {
            return;
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

pub(crate) fn refused(cluster: &Cluster, verb: &str, error: &kube::Error) -> Failure {
    Asked { verb, resource: "pods", namespace: &cluster.namespace }.refused(error).into()
}

pub(crate) async fn entries(cluster: &Cluster) -> Result<Vec<Entry>, Failure> {
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
    use serde_json::Value;

    use super::*;
    use crate::fake;

    /// What was asked for by then, and when its end was known.
    async fn end_of(node: &str, state: Value) -> (Vec<String>, Duration) {
        let pod = server_in(node, &state);
        let (cluster, seen) = fake::cluster(move |_| (200, pod.clone()));
        let began = Instant::now();
        end(&cluster, "p").await.unwrap();
        (fake::told(&seen), began.elapsed())
    }

    fn server_in(node: &str, state: &Value) -> Value {
        let mut statuses = fake::ended("server", "2026-01-01T00:00:00Z");
        statuses[0]["state"] = state.clone();
        json!({
            "metadata": { "name": "p" }, "spec": { "containers": [], "nodeName": node },
            "status": { "phase": "Pending", "containerStatuses": statuses },
        })
    }

    fn waiting(reason: &str) -> Value {
        json!({ "waiting": { "reason": reason } })
    }

    #[tokio::test(start_paused = true)]
    async fn a_pod_that_never_started_is_ended_at_once() {
        for (node, state) in [("n1", waiting("ImagePullBackOff")), ("", json!(null))] {
            assert_eq!(
                end_of(node, state).await,
                (["PATCH /p", "DELETE /p"].map(str::to_owned).to_vec(), Duration::ZERO)
            );
        }
        for state in [waiting("ContainerCreating"), json!(null), json!({ "running": {} })] {
            let (told, _) = end_of("n1", state).await;
            assert_eq!(told[1], "GET /p/attach", "its keeper may be there");
        }
        let failure = end(&fake::silent(), "p").await.unwrap_err();
        assert!(failure.text.starts_with("the cluster gave no answer within"), "{failure}");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_the_session_of_a_container_that_does_not_run() {
        let waited = async |state: Value| {
            let pod = server_in("n1", &state);
            let (cluster, _) = fake::cluster(move |_| (200, pod.clone()));
            let began = Instant::now();
            let waited = tokio::time::timeout(LEFT_WITHIN, left(&cluster, "p")).await;
            waited.map(|()| began.elapsed()).ok()
        };
        let ended = json!({ "terminated": { "exitCode": 0 } });
        assert_eq!(waited(waiting("ContainerCreating")).await, Some(SAID_WITHIN));
        assert_eq!(waited(ended).await, Some(LOOKED_WITHIN), "its session may ask how");
        assert_eq!(waited(json!({ "running": {} })).await, None);
    }

    fn pod(phase: &str, labels: &serde_json::Value) -> Option<Entry> {
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

    #[tokio::test(start_paused = true)]
    async fn one_that_is_away_leaves_the_other_to_be_seen() {
        let home = Home::from_env(&|_| Some("/h".to_owned())).unwrap();
        let config = |text: &str| Config::parse(text, std::path::Path::new("/b.toml"), &home).unwrap();
        let both = config("[kubernetes]\nnamespace = \"n\"\n[servers.a]\nimage = \"i\"\n");
        let pods_alone = config("[defaults]\nbackend = \"kubernetes\"\n");
        let away =
            |text: &str| Err::<u8, _>(Failure { code: Code::Unavailable, text: text.to_owned(), next: None });
        let told = |sides: Result<Sides<u8, u8>, Failure>| match sides {
            Ok(Sides { docker, pods, away }) => (docker, pods, away.map(|failure| failure.text)),
            Err(failure) => (None, None, Some(failure.text)),
        };
        let asked = async |config, docker, pods| told(ask(config, async { docker }, async { pods }).await);
        assert_eq!(asked(&both, Ok(1), Ok(2)).await, (Some(1), Some(2), None));
        assert_eq!(asked(&both, away("d"), Ok(2)).await, (None, Some(2), Some("d".to_owned())));
        assert_eq!(asked(&both, Ok(1), away("p")).await, (Some(1), None, Some("p".to_owned())));
        assert_eq!(asked(&both, away("d"), away("p")).await, (None, None, Some("p".to_owned())));
        assert_eq!(
            asked(&pods_alone, away("d"), Ok(2)).await,
            (None, Some(2), None),
            "nobody needs a daemon"
        );
        let late = ask(&both, async { Ok(1) }, std::future::pending::<Result<u8, _>>()).await;
        assert!(told(late).2.unwrap().starts_with("the cluster gave no answer within 20s"));
    }

    #[test]
    fn a_pod_is_a_sessions_until_its_end() {
        let labels =
            |state: &str| json!({ LABEL_STATE: state, LABEL_CLIENT: "codex", LABEL_SERVER: "files" });
        let found = pod("Running", &labels(ACTIVE)).unwrap();
        assert_eq!((found.name.as_str(), found.id.as_str()), ("mcp-codex-1", "pod/mcp-codex-1"));
        assert_eq!((found.client.as_str(), found.server.as_str()), ("codex", "files"));
        assert_eq!(
            (found.owner.session.as_str(), found.owner.project.as_deref()),
            ("0123456789ab", Some("/p"))
        );
        assert_eq!((found.state, found.isolation, found.running), (State::Active, Isolation::Gvisor, true));
        assert_eq!(found.created, 1_767_225_600);
        assert_eq!(pod("Pending", &labels(ACTIVE)).unwrap().state, State::Starting);
        assert_eq!(pod("Running", &labels(STANDBY)).unwrap().state, State::Standby);
        for over in ["Succeeded", "Failed"] {
            assert!(pod(over, &labels(ACTIVE)).is_none(), "{over}");
        }
        assert!(pod("Running", &json!({})).is_none(), "it is something else of berth's");
    }
}
