//! The forwarder of servers with a list of names: a deployment, the only way out for their pods, and where it is.
//!
//! One container of its pods watches sessions' pods and writes their lists (`lists.rs`); the other one has no account, reads
//! hostile bytes and connects (`keeper/egress/far.rs`). An entry of a list may be an address of somebody's own network, so no
//! policy can close that to it: its own code does, as with the Docker backend.

use std::net::{IpAddr, SocketAddr};

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use mcp_berth::config::{Config, Settings};
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::{Backend, Network};
use serde_json::{Value, json};

use super::super::keeper::Keeper;
use super::Cluster;
use super::network::{self, FORWARDER as NAME, PolicyLabel};
use super::refused::failure;
use super::wanted::Wanted;

/// The policy of the pods that have a list.
const POLICY_OF_LISTS: &str = "berth-allow";
/// Not berth's label of sessions' pods: no policy of theirs is for it, and nobody takes it for a session.
const LABEL: &str = "app.kubernetes.io/name";
/// Where it listens (`keeper/egress/forward.rs`).
const PORT: u16 = 3128;
const LISTS: &str = "/lists";
/// One may end at any time.
const REPLICAS: u64 = 2;
/// What both containers of a pod may have (bytes), and so many more pods there may be during a change.
pub(super) const MEMORY: u64 = (256 + 64) << 20;
pub(super) const PODS: u64 = REPLICAS + 1;

/// Whether a server needs it.
pub(super) fn is_wanted(config: &Config) -> bool {
    let has_list = |settings: &Settings| {
        settings.backend == Backend::Kubernetes && matches!(settings.network, Network::Allow(_))
    };
    has_list(&config.defaults) || config.servers.values().any(|server| has_list(&server.settings))
}

/// Whether an object of berth's of this name is one of [`objects`].
pub(super) fn is_its(name: &str) -> bool {
    [NAME, POLICY_OF_LISTS].contains(&name)
}

/// All that it needs; nothing where no server has a list.
pub(super) fn objects(config: &Config, namespace: &str) -> Vec<Wanted> {
    if !is_wanted(config) {
        return Vec::new();
    }
    let rbac = "rbac.authorization.k8s.io/v1";
    let one = |kind: (&str, &str), why: &str, rest: Value| Wanted::new(kind, (namespace, NAME), why, rest);
    let rules =
        json!({ "rules": [{ "apiGroups": [""], "resources": ["pods"], "verbs": ["list", "watch"] }] });
    let binding = json!({
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": NAME },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": namespace }],
    });
    let ports = json!([{ "name": "proxy", "protocol": "TCP", "port": PORT, "targetPort": PORT }]);
    let service = json!({ "spec": { "selector": { LABEL: NAME }, "ports": ports } });
    let deployment = json!({ "spec": {
        "replicas": REPLICAS,
        "selector": { "matchLabels": { LABEL: NAME } },
        "template": { "metadata": { "labels": { LABEL: NAME } }, "spec": pod(config) },
    } });
    let policy = ("networking.k8s.io/v1", "NetworkPolicy");
    let [itself, lists] = policies();
    vec![
        one(("v1", "ServiceAccount"), "The forwarder of servers with a list of names.", json!({})),
        one((rbac, "Role"), "Which pod has which address, and which list.", rules),
        one((rbac, "RoleBinding"), "Gives the forwarder its role.", binding),
        one(
            ("v1", "Service"),
            "Where sessions' pods find the forwarder, whatever becomes of its pods.",
            service,
        ),
        one(
            ("apps/v1", "Deployment"),
            "The forwarder. Its first container knows the lists; the second one makes connections.",
            deployment,
        ),
        one(policy, "Only pods with a list reach the forwarder. It reaches what a list may name.", itself),
        Wanted::new(
            policy,
            (namespace, POLICY_OF_LISTS),
            "`network = { allow = [...] }`: the forwarder, and nothing else.",
            lists,
        ),
    ]
}

/// Of the forwarder, and of the pods that it is for.
fn policies() -> [Value; 2] {
    let forwarder = json!({ "matchLabels": { LABEL: NAME } });
    let lists = network::selector(Some(PolicyLabel::Allow));
    let port = json!([{ "protocol": "TCP", "port": PORT }]);
    [
        json!({ "spec": {
            "podSelector": forwarder,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{ "from": [{ "podSelector": lists }], "ports": port }],
            "egress": [network::dns(), network::all_but_metadata()],
        } }),
        json!({ "spec": {
            "podSelector": lists,
            "policyTypes": ["Egress"],
            "egress": [{ "to": [{ "podSelector": forwarder }], "ports": port }],
        } }),
    ]
}

fn pod(config: &Config) -> Value {
    let confined = json!({
        "allowPrivilegeEscalation": false,
        "capabilities": { "drop": ["ALL"] },
        "readOnlyRootFilesystem": true,
    });
    let resources = |limit: &str, cpu: &str| {
        json!({
            "limits": { "memory": limit, "cpu": cpu },
            "requests": { "memory": "16Mi", "cpu": "10m" },
        })
    };
    let account = "/var/run/secrets/kubernetes.io/serviceaccount";
    let keeper = Keeper::of(&config.kubernetes);
    // Any image is one for a program that the keeper's config map brings.
    let keeper_image = match &keeper {
        Keeper::ConfigMap => config.kubernetes.agent_image(),
        Keeper::Image(image) => image.clone(),
    };
    let mut pod = json!({
        "serviceAccountName": NAME,
        // One container has it, and the other one does not.
        "automountServiceAccountToken": false,
        "enableServiceLinks": false,
        "securityContext": {
            "runAsNonRoot": true, "runAsUser": 65_533, "seccompProfile": { "type": "RuntimeDefault" },
        },
        "topologySpreadConstraints": [{
            "maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": { "matchLabels": { LABEL: NAME } },
        }],
        // What it has open ends with it in any case.
        "terminationGracePeriodSeconds": 5,
        "volumes": [
            { "name": "lists", "emptyDir": { "sizeLimit": "64Mi" } },
            { "name": "account", "projected": { "sources": [
                { "serviceAccountToken": { "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
                { "downwardAPI": { "items": [
                    { "path": "namespace", "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.namespace" } },
                ] } },
            ] } },
        ],
        "containers": [
            {
                "name": "lists",
                "image": config.kubernetes.agent_image(),
                "imagePullPolicy": "IfNotPresent",
                "command": ["/berth-kubernetes", "kubernetes", "lists", LISTS],
                // It has no configuration; a home must be named.
                "env": [{ "name": "BERTH_HOME", "value": "/nonexistent" }],
                "volumeMounts": [
                    { "name": "lists", "mountPath": LISTS },
                    { "name": "account", "mountPath": account, "readOnly": true },
                ],
                "securityContext": confined,
                "resources": resources("64Mi", "500m"),
            },
            {
                "name": "forward",
                "image": keeper_image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/keeper", "forward", LISTS],
                "ports": [{ "name": "proxy", "protocol": "TCP", "containerPort": PORT }],
                "readinessProbe": { "tcpSocket": { "port": PORT }, "periodSeconds": 2 },
                "volumeMounts": [{ "name": "lists", "mountPath": LISTS, "readOnly": true }],
                "securityContext": confined,
                "resources": resources("256Mi", "2"),
            },
        ],
    });
    keeper.bring_as_file(&mut pod, 1);
    pod
}

/// Where the forwarder is, for a server with a list. Two requests at once.
///
/// # Errors
/// Where there is none, or none that is ready.
pub(super) async fn address(cluster: &Cluster) -> Result<SocketAddr, Failure> {
    let namespace = &cluster.namespace;
    let services: Api<Service> = Api::namespaced(cluster.client.clone(), namespace);
    let deployments: Api<Deployment> = Api::namespaced(cluster.client.clone(), namespace);
    let found = tokio::try_join!(services.get_opt(NAME), deployments.get_opt(NAME));
    let what = || format!("look at `{NAME}` in the namespace `{namespace}`");
    let (service, deployment) = found.map_err(|error| failure(&what(), &error))?;
    let address = service.and_then(|service| service.spec?.cluster_ip?.parse::<IpAddr>().ok());
    let (Some(address), Some(deployment)) = (address, deployment) else {
        return Err(Failure {
            code: Code::Configuration,
            text: format!(
                "a list of names needs berth's forwarder, and the namespace `{namespace}` has none"
            ),
            next: Some("type `berth kubernetes up`".to_owned()),
        });
    };
    let ready = deployment.status.and_then(|status| status.ready_replicas).unwrap_or_default();
    if ready == 0 {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("berth's forwarder in the namespace `{namespace}` is not ready"),
            next: Some(format!("look at it: kubectl describe pods -n {namespace} -l {LABEL}={NAME}")),
        });
    }
    Ok(SocketAddr::new(address, PORT))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;

    use super::*;
    use crate::fake;

    fn config(text: &str) -> Config {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        Config::parse(text, Path::new("b.toml"), &home).unwrap()
    }

    const WITH_LIST: &str =
        "[servers.x]\nimage = \"i\"\nbackend = \"kubernetes\"\nnetwork = { allow = [\"a.org\"] }\n";

    #[test]
    fn it_is_made_where_a_server_in_the_cluster_has_a_list() {
        assert!(objects(&config(""), "n").is_empty());
        assert!(objects(&config(&WITH_LIST.replace("kubernetes", "docker")), "n").is_empty());
        let made = objects(&config(WITH_LIST), "n");
        let names: Vec<String> = made.iter().map(|it| format!("{} {}", it.kind(), it.name())).collect();
        assert_eq!(
            names,
            [
                "ServiceAccount berth-forwarder",
                "Role berth-forwarder",
                "RoleBinding berth-forwarder",
                "Service berth-forwarder",
                "Deployment berth-forwarder",
                "NetworkPolicy berth-forwarder",
                "NetworkPolicy berth-allow",
            ]
        );
        assert!(made.iter().all(|it| is_its(it.name())), "`up` knows them again");
        assert!(made.iter().all(|it| super::super::kind::of(it.kind()).is_some()), "`down` knows all kinds");
    }

    #[test]
    fn who_reads_hostile_bytes_has_no_account() {
        let pod = pod(&config(WITH_LIST));
        assert_eq!(pod["automountServiceAccountToken"], false);
        let mounts = |at: usize| pod["containers"][at]["volumeMounts"].to_string();
        assert!(mounts(0).contains("account") && !mounts(1).contains("account"), "{pod:#}");
        assert_eq!(pod["containers"][1]["volumeMounts"][0]["readOnly"], true);
    }

    #[test]
    fn only_pods_with_a_list_reach_it_and_they_reach_nothing_else() {
        let [itself, lists] = policies();
        let label = json!({ "mcp-berth.io/network": "allow", "app.kubernetes.io/managed-by": "mcp-berth" });
        assert_eq!(itself["spec"]["ingress"][0]["from"][0]["podSelector"]["matchLabels"], label);
        assert_eq!(lists["spec"]["podSelector"]["matchLabels"], label);
        let ways = lists["spec"]["egress"].as_array().unwrap();
        assert_eq!(ways.len(), 1);
        assert_eq!(ways[0]["to"], json!([{ "podSelector": itself["spec"]["podSelector"] }]));
    }

    #[tokio::test]
    async fn a_forwarder_that_lacks_or_is_not_ready_is_told_with_what_to_type() {
        let answering = |ready: u64, is_there: bool| {
            fake::cluster(move |(_, uri, _)| match (is_there, uri.contains("services")) {
                (false, _) => (404, json!({ "kind": "Status", "reason": "NotFound", "code": 404 })),
                (true, true) => (200, json!({ "metadata": {}, "spec": { "clusterIP": "10.0.0.9" } })),
                (true, false) => (200, json!({ "metadata": {}, "status": { "readyReplicas": ready } })),
            })
            .0
        };
        assert_eq!(address(&answering(1, true)).await, Ok("10.0.0.9:3128".parse().unwrap()));
        let failure = address(&answering(0, true)).await.unwrap_err();
        assert!(failure.text.contains("not ready") && failure.next.unwrap().contains("kubectl describe"));
        let failure = address(&answering(0, false)).await.unwrap_err();
        assert_eq!(failure.next.as_deref(), Some("type `berth kubernetes up`"));
    }
}
