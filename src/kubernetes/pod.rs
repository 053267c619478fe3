//! A session's pod: what the API server is asked to make.
//!
//! Pure: from the server's settings to the object. It has no argument, no variable and no secret of the server's: those go
//! over the exec stream (`start.rs`), as whatever stands in a pod stands in etcd, in audit logs, and in `kubectl get`.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerState, ContainerStateTerminated, Pod};
use mcp_berth::config::Settings;
use mcp_berth::dock::owner::Owner;
use mcp_berth::dock::spec::Spec;
use mcp_berth::human::hex;
use mcp_berth::values::Isolation;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::allowed;
use super::ground::network::{PolicyLabel, network_of};
pub(crate) use super::keeper::CONTAINER;
use super::keeper::{KEEPER, Keeper, append};
use super::loopback;
use super::mounted;
use super::names;
use super::template::Template;

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
/// What [`LABEL_MANAGED_BY`] says of a probe pod of `doctor` that no policy of berth's is to be for.
pub(crate) const PROBER: &str = "mcp-berth-probe";
/// The two of [`LABEL_STATE`].
pub(crate) const ACTIVE: &str = "active";
pub(crate) const STANDBY: &str = "standby";

/// So many stand by in a namespace, whatever their kind, where nobody says another number.
pub(crate) const STANDBY_AT_MOST: u32 = 64;

/// How long the kubelet waits after the keeper was asked to end, which itself gives the server its grace.
const BEYOND_GRACE: Duration = Duration::from_secs(1);

/// What is set aside for a session, as a part of its limit: a server waits for most of its time, and few ever need all of
/// their memory.
const REQUESTED_MEMORY: u64 = 8;
const REQUESTED_CPU: i64 = 50;

/// A session that was killed before it spoke to its keeper leaves it for no longer than one that was killed later.
/// So its keeper waits for less than for one that has spoken: it begins when its container does.
const STARTS_WITHIN: Duration = Duration::from_secs(3);
const SHORTEST_CLAIM: Duration = Duration::from_secs(4);
const LONGEST_CLAIM: Duration = Duration::from_secs(30);

/// The pod of a session's server, or one on standby.
#[derive(Debug, Clone)]
pub(crate) struct Plan<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) keeper: &'a Keeper,
    /// What a pod has beside this.
    pub(crate) template: Option<&'a Template>,
}

impl Plan<'_> {
    /// The session's own.
    pub(crate) fn active(&self, name: &str) -> Result<Pod, serde_json::Error> {
        let within = self.spec.server.settings.reconnect.saturating_sub(STARTS_WITHIN);
        let within = within.clamp(SHORTEST_CLAIM, LONGEST_CLAIM);
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
        let body = self.over_template("spec", self.body(self.spec.server.settings.standby_ttl));
        let beside = self.over_template("metadata", json!({}));
        let like = json!([
            body,
            beside,
            self.spec.server.name,
            self.network(),
            allowed::annotation(&self.spec.server.settings)
        ]);
        hex(&Sha256::digest(like.to_string())[..6])
    }

    fn object(
        &self,
        name: &str,
        (state, annotations): (&str, BTreeMap<&'static str, String>),
        claim_within: Duration,
    ) -> Result<Pod, serde_json::Error> {
        let metadata = json!({ "name": name, "labels": self.labels(state), "annotations": annotations });
        serde_json::from_value(json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": self.over_template("metadata", metadata),
            "spec": self.over_template("spec", self.body(claim_within)),
        }))
    }

    fn over_template(&self, part: &str, own: Value) -> Value {
        match self.template {
            Some(template) => template.under(part, own),
            None => own,
        }
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

    /// What the policies know it by.
    fn network(&self) -> &'static str {
        network_of(&self.spec.server.settings).as_str()
    }

    /// There is always one, so that a claim can add to them.
    fn annotations(&self) -> BTreeMap<&'static str, String> {
        // What waits for a node longer than this has no session any more.
        let patience = self.spec.server.settings.start_timeout.as_secs().to_string();
        let own =
            [(ANNOTATION_VERSION, env!("CARGO_PKG_VERSION").to_owned()), (ANNOTATION_PATIENCE, patience)];
        own.into_iter().chain(allowed::annotation(&self.spec.server.settings)).collect()
    }

    fn body(&self, claim_within: Duration) -> Value {
        let settings = &self.spec.server.settings;
        let Settings { memory, nano_cpus, stop_grace, read_only, isolation, reconnect, .. } = settings;
        let milliseconds = |time: Duration| time.as_millis().to_string();
        // Docker takes both; a cluster knows them without it.
        let added = settings.cap_add.iter().map(|name| name.strip_prefix("CAP_").unwrap_or(name));
        let confined = json!({
            "allowPrivilegeEscalation": !settings.no_new_privileges,
            "capabilities": { "drop": ["ALL"], "add": added.collect::<Vec<_>>() },
            "readOnlyRootFilesystem": read_only,
            "seccompProfile": { "type": "RuntimeDefault" },
        });
        let milli_cpus = nano_cpus / 1_000_000;
        let resources = json!({
            "limits": { "memory": memory.to_string(), "cpu": format!("{milli_cpus}m") },
            "requests": {
                "memory": memory.div_ceil(REQUESTED_MEMORY).to_string(),
                "cpu": format!("{}m", (milli_cpus / REQUESTED_CPU).max(1)),
            },
        });
        let mut spec = json!({
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "enableServiceLinks": false,
            // A node that dies takes as few sessions with it as may be.
            "topologySpreadConstraints": [{
                "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
                "labelSelector": { "matchLabels": { LABEL_MANAGED_BY: MANAGER } },
            }],
            "terminationGracePeriodSeconds": (*stop_grace + BEYOND_GRACE).as_secs().max(1),
            "containers": [{
                "name": CONTAINER,
                "image": self.spec.server.image,
                "imagePullPolicy": if self.spec.server.wants_newest() { "Always" } else { "IfNotPresent" },
                "command": [
                    KEEPER, "hold-pod",
                    "--claim-within", milliseconds(claim_within),
                    "--grace", milliseconds(*stop_grace),
                    "--reconnect", milliseconds(*reconnect),
                ],
                "stdin": true,
                // A cut of the lifeline is no end: the keeper knows by its silence.
                "stdinOnce": false,
                "securityContext": confined,
                "resources": resources,
            }],
        });
        self.keeper.bring(&mut spec);
        if let Some((user, group)) = settings.user.as_deref().and_then(numbers) {
            let context = &mut spec["containers"][0]["securityContext"];
            context["runAsUser"] = user.into();
            context["runAsNonRoot"] = (user != 0).into();
            if let Some(group) = group {
                context["runAsGroup"] = group.into();
            }
        }
        for (number, (path, tmpfs)) in settings.tmpfs.iter().enumerate() {
            let name = format!("tmpfs-{number}");
            let folder = json!({ "medium": "Memory", "sizeLimit": tmpfs.bytes.to_string() });
            append(&mut spec["volumes"], json!({ "name": name, "emptyDir": folder }));
            append(&mut spec["containers"][0]["volumeMounts"], json!({ "name": name, "mountPath": path }));
        }
        mounted::mount(self.spec, settings.user.as_deref().and_then(numbers), &mut spec);
        if *isolation == Isolation::Gvisor {
            spec["runtimeClassName"] = "gvisor".into();
        }
        loopback::prepare(&mut spec, settings);
        allowed::complete(&mut spec, settings);
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

/// What its kubelet says of the server's container.
pub(crate) fn state_of_server(pod: &Pod) -> Option<&ContainerState> {
    let mut containers = pod.status.as_ref()?.container_statuses.iter().flatten();
    containers.find(|container| container.name == CONTAINER)?.state.as_ref()
}

/// How the server's container ended. A pod with others goes on without it.
pub(crate) fn end_of_server(pod: &Pod) -> Option<&ContainerStateTerminated> {
    state_of_server(pod)?.terminated.as_ref()
}

/// A user and a group as numbers; names are the image's to resolve, which Kubernetes cannot.
pub(crate) fn numbers(user: &str) -> Option<(i64, Option<i64>)> {
    match user.split_once(':') {
        Some((user, group)) => Some((user.parse().ok()?, Some(group.parse().ok()?))),
        None => Some((user.parse().ok()?, None)),
    }
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::Server;
    use mcp_berth::values::{Network, Pull, Tmpfs};

    use super::*;
    use crate::fake;

    fn spec(change: impl FnOnce(&mut Spec)) -> Spec {
        let server = Server::from_image("i:1".parse().unwrap(), Vec::new(), &fake::settings());
        let mut spec = Spec::new(server, "claude-code", "0123456789ab");
        change(&mut spec);
        spec
    }

    fn active(spec: &Spec) -> Value {
        let keeper = Keeper::Image("k".to_owned());
        serde_json::to_value(Plan { spec, keeper: &keeper, template: None }.active("p").unwrap()).unwrap()
    }

    fn hash(change: impl FnOnce(&mut Spec)) -> String {
        Plan { spec: &spec(change), keeper: &Keeper::ConfigMap, template: None }.hash()
    }

    #[test]
    fn a_pod_has_nothing_of_what_its_server_is_told() {
        let spec = spec(|spec| {
            spec.server.command = Some(vec!["/secret-program".to_owned()]);
            spec.server.args = Some(vec!["secret-argument".to_owned()]);
            spec.env = vec!["SECRET=secret-value".to_owned()];
            spec.server.name = "_odd".to_owned();
            spec.server.settings.network = Network::None;
        });
        let pod = active(&spec);
        assert!(!pod.to_string().contains("secret"), "{pod:#}");
        let labels = &pod["metadata"]["labels"];
        assert_eq!((&labels[LABEL_STATE], &labels[LABEL_CLIENT]), (&json!(ACTIVE), &json!("claude-code")));
        assert!(labels[LABEL_SERVER].as_str().unwrap().starts_with("odd."), "{labels}");
        assert_eq!(labels[PolicyLabel::KEY], "none");
        assert_eq!(pod["metadata"]["annotations"][ANNOTATION_SESSION], "0123456789ab");
    }

    #[test]
    fn a_pod_sets_a_part_of_its_limits_aside_and_its_keeper_is_no_slower() {
        let pod = active(&spec(|spec| {
            spec.server.settings.memory = 512 << 20;
            spec.server.settings.nano_cpus = 500_000_000;
        }));
        let resources = &pod["spec"]["containers"][0]["resources"];
        assert_eq!(resources["limits"], json!({ "memory": "536870912", "cpu": "500m" }));
        assert_eq!(resources["requests"], json!({ "memory": "67108864", "cpu": "10m" }));
        assert_eq!(&pod["spec"]["initContainers"][0]["resources"], resources);
    }

    #[test]
    fn a_pod_is_confined_as_its_settings_say() {
        let pod = active(&spec(|spec| {
            let settings = &mut spec.server.settings;
            settings.cap_add = vec!["CAP_NET_RAW".to_owned(), "CHOWN".to_owned()];
            settings.no_new_privileges = false;
            settings.pull = Pull::Always;
            settings.tmpfs = [("/a".to_owned(), Tmpfs { bytes: 64 << 20, exec: false })].into();
        }));
        let (server, keeper) = (&pod["spec"]["containers"][0], &pod["spec"]["initContainers"][0]);
        assert_eq!(server["securityContext"]["capabilities"]["add"], json!(["NET_RAW", "CHOWN"]));
        let privileges = |container: &Value| container["securityContext"]["allowPrivilegeEscalation"].clone();
        assert_eq!((privileges(server), privileges(keeper)), (json!(true), json!(false)));
        assert_eq!(server["imagePullPolicy"], "Always");
        let memory =
            json!({ "name": "tmpfs-0", "emptyDir": { "medium": "Memory", "sizeLimit": "67108864" } });
        assert_eq!(pod["spec"]["volumes"][1], memory);
        assert_eq!(server["volumeMounts"][1], json!({ "name": "tmpfs-0", "mountPath": "/a" }));
        let plain = active(&spec(|_| ()));
        let server = &plain["spec"]["containers"][0];
        assert_eq!((privileges(server), &server["imagePullPolicy"]), (json!(false), &json!("IfNotPresent")));
    }

    #[test]
    fn who_is_killed_early_leaves_its_pod_no_longer_than_who_is_killed_late() {
        let within = |reconnect| {
            let pod = active(&spec(|spec| spec.server.settings.reconnect = Duration::from_secs(reconnect)));
            pod["spec"]["containers"][0]["command"][3].clone()
        };
        assert_eq!([1, 15, 3600].map(within), ["4000", "12000", "30000"]);
    }

    #[test]
    fn pods_that_could_stand_for_one_another_have_one_hash() {
        let plain = hash(|_| ());
        assert_eq!(plain, hash(|spec| spec.session = "other".to_owned()));
        assert_eq!(plain, hash(|spec| spec.env = vec!["A=1".to_owned()]), "its session tells that");
        assert_eq!(plain, hash(|spec| spec.server.args = Some(vec!["a".to_owned()])));
        let labelled = Template::parse("metadata: { labels: { team: a } }").unwrap();
        let others = [
            hash(|spec| spec.server.image = "j".to_owned()),
            hash(|spec| spec.server.name = "other".to_owned()),
            hash(|spec| spec.server.settings.memory += 1),
            hash(|spec| spec.server.settings.network = Network::Lan),
            Plan { spec: &spec(|_| ()), keeper: &Keeper::Image("l".to_owned()), template: None }.hash(),
            Plan { spec: &spec(|_| ()), keeper: &Keeper::ConfigMap, template: Some(&labelled) }.hash(),
        ];
        let different: std::collections::BTreeSet<_> = others.iter().chain([&plain]).collect();
        assert_eq!(different.len(), others.len() + 1, "{others:?}");
    }

    #[test]
    fn a_pod_on_standby_is_nobodys_and_waits_longer() {
        let spec = spec(|spec| spec.server.settings.standby_ttl = Duration::from_mins(5));
        let pod = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None }.standby("p").unwrap();
        let pod = serde_json::to_value(pod).unwrap();
        assert_eq!(pod["metadata"]["labels"][LABEL_STATE], STANDBY);
        assert_eq!(pod["metadata"]["annotations"].get(ANNOTATION_SESSION), None);
        assert_ne!(pod["metadata"]["annotations"], json!({}), "a claim adds to them");
        assert_eq!(pod["spec"]["containers"][0]["command"][3], "300000");
    }
}
