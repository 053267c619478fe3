//! A session's pod: what the API server is asked to make.
//!
//! Pure: from the server's settings to the object. It has no argument, no variable and no secret of the server's: those go
//! over the exec stream (`start.rs`), as whatever stands in a pod stands in etcd, in audit logs, and in `kubectl get`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::config::Settings;
use mcp_berth::values::Isolation;
use serde_json::{Value, json};

/// The container that the server runs in. Streams always name it: a pod may have others.
pub(crate) const CONTAINER: &str = "server";
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

/// How long the kubelet waits after the keeper was asked to end, which itself gives the server its grace.
const BEYOND_GRACE: Duration = Duration::from_secs(1);

/// A session's pod, or one on standby.
#[derive(Debug, Clone)]
pub(crate) struct Spec<'a> {
    pub(crate) name: &'a str,
    pub(crate) image: &'a str,
    pub(crate) keeper_image: &'a str,
    pub(crate) client: &'a str,
    pub(crate) server: &'a str,
    pub(crate) hash: &'a str,
    pub(crate) settings: &'a Settings,
    /// Nobody need have spoken to the keeper for so long.
    pub(crate) claim_within: Duration,
    pub(crate) reconnect: Duration,
    pub(crate) owner: Option<Owner<'a>>,
}

#[derive(Debug, Clone, Copy)]
pub(crate) struct Owner<'a> {
    pub(crate) session: &'a str,
    pub(crate) client_session: Option<&'a str>,
    pub(crate) project: Option<&'a str>,
}

impl Spec<'_> {
    pub(crate) fn pod(&self) -> Result<Pod, serde_json::Error> {
        serde_json::from_value(self.body())
    }

    fn body(&self) -> Value {
        let Settings { memory, nano_cpus, stop_grace, read_only, isolation, .. } = self.settings;
        let milliseconds = |time: Duration| time.as_millis().to_string();
        // The same for the copying of the keeper, which needs nothing.
        let confined = json!({
            "allowPrivilegeEscalation": false,
            "capabilities": { "drop": ["ALL"], "add": self.settings.cap_add },
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
                "name": "keeper",
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
                "image": self.image,
                "imagePullPolicy": "IfNotPresent",
                "command": [
                    KEEPER, "hold-pod",
                    "--claim-within", milliseconds(self.claim_within),
                    "--grace", milliseconds(*stop_grace),
                    "--reconnect", milliseconds(self.reconnect),
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
        if let Some((user, group)) = self.settings.user.as_deref().and_then(numbers) {
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
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": { "name": self.name, "labels": self.labels(), "annotations": self.annotations() },
            "spec": spec,
        })
    }

    fn labels(&self) -> BTreeMap<&'static str, &str> {
        BTreeMap::from([
            (LABEL_MANAGED_BY, "mcp-berth"),
            (LABEL_CLIENT, self.client),
            (LABEL_SERVER, self.server),
            (LABEL_SPEC, self.hash),
            (LABEL_STATE, if self.owner.is_some() { "active" } else { "standby" }),
        ])
    }

    fn annotations(&self) -> BTreeMap<&'static str, &str> {
        let Some(owner) = self.owner else { return BTreeMap::new() };
        let said = [
            (ANNOTATION_SESSION, Some(owner.session)),
            (ANNOTATION_CLIENT_SESSION, owner.client_session),
            (ANNOTATION_PROJECT, owner.project),
        ];
        said.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }
}

/// A user and a group as numbers; names are the image's to resolve, which Kubernetes cannot.
fn numbers(user: &str) -> Option<(i64, Option<i64>)> {
    match user.split_once(':') {
        Some((user, group)) => Some((user.parse().ok()?, Some(group.parse().ok()?))),
        None => Some((user.parse().ok()?, None)),
    }
}
