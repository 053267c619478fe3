//! A session's pod: what the API server is asked to make.
//!
//! Pure: from the server's settings to the object. It has no argument, no variable and no secret of the server's: those go
//! over the exec stream (`start.rs`), as whatever stands in a pod stands in etcd, in audit logs, and in `kubectl get`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::config::Settings;
use mcp_berth::dock::owner::Owner;
use mcp_berth::dock::spec::Spec;
use mcp_berth::human::hex;
use mcp_berth::values::Isolation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::ground::network::{PolicyLabel, network_of};
use super::names;

/// The container that the server runs in. Streams always name it: a pod may have others.
pub(crate) const CONTAINER: &str = "server";
/// The one that brings the keeper, before that.
pub(crate) const KEEPER_CONTAINER: &str = "keeper";
/// Where the keeper is, for all of the pod's processes to read and none to change.
const FOLDER: &str = "/.berth";
/// The keeper's program there.
pub(crate) const KEEPER: &str = "/.berth/keeper";

pub(crate) const LABEL_MANAGED_BY: &str = "app.kubernetes.io/managed-by";
pub(crate) const LABEL_CLIENT: &str = "mcp-berth.io/client";
pub(crate) const LABEL_SERVER: &str = "mcp-berth.io/server";
pub(crate) const LABEL_SPEC: &str = "mcp-berth.io/spec";
/// `active` or `standby`: a claim changes it.
pub(crate) const LABEL_STATE: &str = "mcp-berth.io/state";
pub(crate) const ANNOTATION_SESSION: &str = "mcp-berth.io/session";
pub(crate) const ANNOTATION_PROJECT: &str = "mcp-berth.io/project";
pub(crate) const ANNOTATION_CLIENT_SESSION: &str = "mcp-berth.io/client-session";
pub(crate) const ANNOTATION_VERSION: &str = "mcp-berth.io/version";
/// For so many seconds at the most its session waits for a pod's start.
pub(crate) const ANNOTATION_PATIENCE: &str = "mcp-berth.io/patience";
/// Somebody has ended the session from outside.
pub(crate) const ANNOTATION_ENDED: &str = "mcp-berth.io/ended";

/// What is berth's, by [`LABEL_MANAGED_BY`].
pub(crate) const MANAGER: &str = "mcp-berth";
/// The two of [`LABEL_STATE`].
pub(crate) const ACTIVE: &str = "active";
pub(crate) const STANDBY: &str = "standby";

/// How long the kubelet waits after the keeper was asked to end, which itself gives the server its grace.
const BEYOND_GRACE: Duration = Duration::from_secs(1);

/// A session that was killed before it spoke to its keeper leaves it for no longer than one that was killed later.
const SHORTEST_CLAIM: Duration = Duration::from_secs(4);
const LONGEST_CLAIM: Duration = Duration::from_secs(30);

/// The pod of a session's server, or one on standby.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) keeper_image: &'a str,
}

impl Plan<'_> {
    /// The session's own.
    pub(crate) fn active(&self, name: &str) -> Result<Pod, serde_json::Error> {
        let within = self.spec.server.settings.reconnect.clamp(SHORTEST_CLAIM, LONGEST_CLAIM);
        let mut annotations = self.annotations();
        annotations.extend(owner(&self.spec.owner()));
        self.object(name, (ACTIVE, annotations), within)
    }

    /// One that some session may claim.
    pub(crate) fn standby(&self, name: &str) -> Result<Pod, serde_json::Error> {
        self.object(name, (STANDBY, self.annotations()), self.spec.server.settings.standby_ttl)
    }

    /// Twelve hex digits: equal for pods that could stand for one another. What the server runs is told by its session.
    pub(crate) fn hash(&self) -> String {
        let like = json!([self.body(Duration::ZERO), self.spec.server.name, self.network()]);
        hex(&Sha256::digest(like.to_string())[..6])
    }

    fn object(
        &self,
        name: &str,
        (state, annotations): (&str, BTreeMap<&'static str, String>),
        claim_within: Duration,
    ) -> Result<Pod, serde_json::Error> {
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": name, "labels": self.labels(state), "annotations": annotations },
            "spec": self.body(claim_within),
        }))
    }

    fn labels(&self, state: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([
            (LABEL_MANAGED_BY, MANAGER.to_owned()),
            (LABEL_CLIENT, names::label(&self.spec.client).into_owned()),
            (LABEL_SERVER, names::label(&self.spec.server.name).into_owned()),
            (LABEL_SPEC, self.hash()),
            (LABEL_STATE, state.to_owned()),
            (PolicyLabel::KEY, self.network().to_owned()),
        ])
    }

    /// What the cluster's policies go by. A network that it cannot have was refused before (`server.rs`).
    fn network(&self) -> &'static str {
        network_of(&self.spec.server.settings).unwrap_or(PolicyLabel::None).as_str()
    }

    /// There is always one, so that a claim can add to them.
    fn annotations(&self) -> BTreeMap<&'static str, String> {
        // What waits for a node longer than this has no session any more.
        let patience = self.spec.server.settings.start_timeout.as_secs().to_string();
        BTreeMap::from([
            (ANNOTATION_VERSION, env!("CARGO_PKG_VERSION").to_owned()),
            (ANNOTATION_PATIENCE, patience),
        ])
    }

    fn body(&self, claim_within: Duration) -> Value {
        let settings = &self.spec.server.settings;
        let Settings { memory, nano_cpus, stop_grace, read_only, isolation, reconnect, .. } = settings;
        let milliseconds = |time: Duration| time.as_millis().to_string();
        let confined = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": settings.cap_add },
            "readOnlyRootFilesystem": read_only,
            "seccompProfile": { "type": "RuntimeDefault" },
        });
        let mut spec = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            "terminationGracePeriodSeconds": (*stop_grace + BEYOND_GRACE).as_secs().max(1),
            "volumes": [{ "name": "berth", "emptyDir": { "sizeLimit": "16Mi" } }],
            "initContainers": [{
                "name": KEEPER_CONTAINER,
                "image": self.keeper_image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/keeper", "install", KEEPER],
                "volumeMounts": [{ "name": "berth", "mountPath": FOLDER }],
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true,
                    "runAsUser": 65_534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                "resources": { "limits": { "memory": "32Mi", "cpu": "100m" } },
            }],
            "containers": [{
                "name": CONTAINER,
                "image": self.spec.server.image,
                "imagePullPolicy": "IfNotPresent",
                "command": [
                    KEEPER, "hold-pod",
                    "--claim-within", milliseconds(claim_within),
                    "--grace", milliseconds(*stop_grace),
                    "--reconnect", milliseconds(*reconnect),
                ],
                "stdin": true,
                // A cut of the lifeline is no end: the keeper knows by its silence.
                "stdinOnce": false,
                "volumeMounts": [{ "name": "berth", "mountPath": FOLDER, "readOnly": true }],
                "securityContext": confined,
                "resources": {
                    "limits": { "memory": memory.to_string(), "cpu": format!("{}m", nano_cpus / 1_000_000) },
                },
            }],
        });
        if let Some((user, group)) = settings.user.as_deref().and_then(numbers) {
            let context = &mut spec["containers"][0]["securityContext"];
            context["runAsUser"] = user.into();
            context["runAsNonRoot"] = (user != 0).into();
            if let Some(group) = group {
                context["runAsGroup"] = group.into();
            }
        }
        if *isolation == Isolation::Gvisor {
            spec["runtimeClassName"] = "gvisor".into();
        }
        spec
    }
}

/// What is said of a session that has a pod.
pub(crate) fn owner(owner: &Owner) -> impl Iterator<Item = (&'static str, String)> {
    let said = [
        (ANNOTATION_SESSION, Some(owner.session.clone())),
        (ANNOTATION_CLIENT_SESSION, owner.client_session.clone()),
        (ANNOTATION_PROJECT, owner.project.clone()),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name, value?)))
}

/// A user and a group as numbers; names are the image's to resolve, which Kubernetes cannot.
fn numbers(user: &str) -> Option<(i64, Option<i64>)> {
    match user.split_once(':') {
        Some((user, group)) => Some((user.parse().ok()?, Some(group.parse().ok()?))),
        None => Some((user.parse().ok()?, None)),
    }
}
