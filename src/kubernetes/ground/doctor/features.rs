//! What newer clusters can do, as far as an API server tells: a pod that is only tried (`dryRun`).
//!
//! A field whose feature is off comes back without its value, or is refused. Whether the nodes' runtimes can do it, only a
//! pod on each would show.

use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::PostParams;
use mcp_berth::doctor::line::Line;
use serde_json::{Value, json};

use super::super::Cluster;
use super::probes::{Prober, pod};

pub(super) async fn lines(cluster: &Cluster, prober: &Prober, is_there: bool) -> [Line; 2] {
    const USERS: &str = "user namespaces";
    const VOLUMES: &str = "image volumes";
    if !is_there {
        return [USERS, VOLUMES].map(|name| Line::not_applicable(name, "there is no namespace for a pod"));
    }
    let users = json!({ "hostUsers": false });
    let volumes = json!({ "volumes": [{ "name": "image", "image": { "reference": prober.image } }] });
    let (users, volumes) = tokio::join!(tried(cluster, prober, users), tried(cluster, prober, volumes));
    let has_users = |pod: &Pod| pod.spec.as_ref().is_some_and(|spec| spec.host_users == Some(false));
    let has_volumes = |pod: &Pod| {
        let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_ref());
        volumes.is_some_and(|volumes| volumes.iter().any(|volume| volume.image.is_some()))
    };
    // A node whose runtime has none starts no such pod, so a person chooses.
    let users_by = "the API server takes them; `hostUsers: false` in `pod_template` gives each pod its own";
    let volumes_by = "the API server takes them; berth does not need them";
    [
        judge(USERS, users_by, users.map(|pod| has_users(&pod))),
        judge(VOLUMES, volumes_by, volumes.map(|pod| has_volumes(&pod))),
    ]
}

fn judge(name: &'static str, how: &str, taken: Result<bool, String>) -> Line {
    match taken {
        Ok(true) => Line::ok(name, how),
        Ok(false) => {
            Line::not_applicable(name, "this cluster has them switched off; berth does not need them")
        }
        Err(why) => {
            Line::not_applicable(name, format!("this cluster refuses them; berth does not need them: {why}"))
        }
    }
}

async fn tried(cluster: &Cluster, prober: &Prober, with: Value) -> Result<Pod, String> {
    let mut object = pod("berth-probe-tried", prober, "tried", None, None);
    if let (Value::Object(spec), Value::Object(with)) = (&mut object["spec"], with) {
        for (key, value) in with {
            match (spec.get_mut(&key), value) {
                (Some(Value::Array(own)), Value::Array(more)) => own.extend(more),
                (_, value) => _ = spec.insert(key, value),
            }
        }
    }
    let object: Pod = serde_json::from_value(object).map_err(|error| error.to_string())?;
    let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), &cluster.namespace);
    let params = PostParams { dry_run: true, ..PostParams::default() };
    pods.create(&params, &object).await.map_err(|error| match error {
        kube::Error::Api(status) => status.message.clone(),
        error => error.to_string(),
    })
}
