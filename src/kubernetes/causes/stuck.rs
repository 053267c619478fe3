//! What keeps a pod from its start, by what the cluster says of it.

use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};
use mcp_berth::failure::{Code, Failure};

use crate::keeper::CONFIG_MAP;
use crate::pod::CONTAINER;

/// A pod that does not start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Stuck {
    /// It may start all the same.
    Waiting(Failure),
    Lasting(Failure),
    /// What it has waited for is there.
    Over,
}

/// What the cluster says of an image that nobody has.
const NOT_FOUND: [&str; 4] = ["not found", "manifest unknown", "does not exist", "name unknown"];
/// What it says of one that is somebody else's.
const DENIED: [&str; 6] = [
    "unauthorized",
    "authentication required",
    "access denied",
    "insufficient_scope",
    "forbidden",
    "no basic auth",
];

fn unavailable(text: String, next: String) -> Failure {
    Failure { code: Code::Unavailable, text, next: Some(next) }
}

fn configuration(text: String, next: String) -> Failure {
    Failure { code: Code::Configuration, text, next: Some(next) }
}

/// What a pod's own status says; `None`: nothing is wrong.
pub(crate) fn of_pod(pod: &Pod, namespace: &str) -> Option<Stuck> {
    let name = pod.metadata.name.as_deref().unwrap_or_default();
    let describe = || format!("type `kubectl describe pod {name} -n {namespace}`");
    if pod.metadata.deletion_timestamp.is_some() {
        let text = format!("the pod `{name}` was deleted while it started");
        return Some(Stuck::Lasting(unavailable(text, "look who deletes it, and start again".to_owned())));
    }
    let status = pod.status.as_ref()?;
    let mut containers = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    if let Some(stuck) = containers.find_map(|container| of_container(container, name, namespace)) {
        return Some(stuck);
    }
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("it failed");
        let why = status.message.as_deref().unwrap_or_default();
        let text = format!("the node `{}` ended the pod `{name}`: {reason}: {why}", node(pod));
        return Some(Stuck::Lasting(unavailable(text, describe())));
    }
    let mut conditions = status.conditions.iter().flatten();
    let scheduled = conditions.find(|it| it.type_ == "PodScheduled" && it.status == "False")?;
    let why = scheduled.message.as_deref().unwrap_or_default();
    Some(Stuck::Waiting(unavailable(no_node(why), no_node_next(why, namespace))))
}

pub(super) fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or("none")
}

/// What no node has, without what the scheduler has tried besides.
fn no_node(why: &str) -> String {
    let why = why.split(". ").next().unwrap_or(why).trim_end_matches('.');
    match lacking(why) {
        Some(what) => format!("no node has room for the pod: {what} is short ({why})"),
        None => format!("no node takes the pod: {why}"),
    }
}

fn lacking(why: &str) -> Option<String> {
    let mut short: Vec<&str> = why.split("Insufficient ").skip(1).collect();
    if why.contains("Too many pods") {
        short.push("the number of pods");
    }
    let mut short: Vec<&str> =
        short.into_iter().filter_map(|text| text.split([',', '.']).next()).map(str::trim).collect();
    short.dedup();
    (!short.is_empty()).then(|| short.join(" and "))
}

fn no_node_next(why: &str, namespace: &str) -> String {
    if lacking(why).is_some() {
        return format!(
            "end other sessions (`kubectl get pods -n {namespace}`), set less `memory` or `cpus`, or add a node"
        );
    }
    if why.contains("olume") {
        return format!("look at `kubectl get pvc,pv -n {namespace}`: a volume may be bound to its node");
    }
    "look at `kubectl describe nodes`; tolerations and selectors belong into `pod_template`".to_owned()
}

fn of_container(container: &ContainerStatus, pod: &str, namespace: &str) -> Option<Stuck> {
    let ContainerState { waiting, terminated, .. } = container.state.as_ref()?;
    if let Some(waiting) = waiting {
        let why = waiting.message.as_deref().unwrap_or_default();
        return match waiting.reason.as_deref()? {
            "ErrImagePull"
            | "ImagePullBackOff"
            | "ErrImageNeverPull"
            | "InvalidImageName"
            | "ImageInspectError"
            | "RegistryUnavailable"
            | "SignatureValidationFailed" => {
                Some(image(container, waiting.reason.as_deref().unwrap_or_default(), why))
            }
            reason @ ("CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PreCreateHookError"
            | "PreStartHookError"
            | "PostStartHookError") => {
                let text = format!(
                    "the container `{}` of the pod `{pod}` cannot start: {reason}: {why}",
                    container.name
                );
                Some(Stuck::Lasting(configuration(text, why_not_next(why))))
            }
            _ => None,
        };
    }
    let ended = terminated.as_ref()?;
    let is_ours = container.name == CONTAINER || container.name == crate::keeper::KEEPER_CONTAINER;
    if !is_ours || (container.name != CONTAINER && ended.exit_code == 0) {
        return None;
    }
    let why = [ended.reason.as_deref(), ended.message.as_deref()].into_iter().flatten();
    let why = why.map(str::trim).collect::<Vec<_>>().join(": ");
    let code = ended.exit_code;
    let text = if ended.reason.as_deref() == Some("OOMKilled") {
        format!("the pod `{pod}` ran out of memory before its server started")
    } else {
        format!("berth's keeper ended in the pod `{pod}` with code {code} ({why})")
    };
    let next = if ended.reason.as_deref() == Some("OOMKilled") {
        "raise `memory`".to_owned()
    } else {
        format!("type `kubectl describe pod {pod} -n {namespace}`; look at `keeper_image` in [kubernetes]")
    };
    Some(Stuck::Lasting(unavailable(text, next)))
}

fn why_not_next(why: &str) -> String {
    if why.contains("runAsNonRoot") {
        return "set `user` to a number, such as `user = \"1000:1000\"`".to_owned();
    }
    "change what it names in the server's settings or in `pod_template`".to_owned()
}

/// An image that a node does not get.
fn image(container: &ContainerStatus, reason: &str, why: &str) -> Stuck {
    let image = &container.image;
    let (says, why) = (why.to_lowercase(), pulled(why));
    let has = |words: &[&str]| words.iter().any(|word| says.contains(word));
    let is_keeper = container.name == crate::keeper::KEEPER_CONTAINER;
    let set = if is_keeper { "`keeper_image` in [kubernetes]" } else { "`image`" };
    match reason {
        "InvalidImageName" => {
            Stuck::Lasting(configuration(format!("`{image}` is no image's name"), format!("change {set}")))
        }
        "ErrImageNeverPull" => Stuck::Lasting(configuration(
            format!("the node has no image `{image}`, and may not pull it"),
            format!("change {set}, or the `imagePullPolicy` in `pod_template`"),
        )),
        _ if has(&DENIED) => Stuck::Lasting(configuration(
            format!("the registry gives the image `{image}` to nobody without credentials: {why}"),
            format!("put `imagePullSecrets` into `pod_template`, or change {set}"),
        )),
        _ if has(&NOT_FOUND) && is_baked(image) => Stuck::Lasting(configuration(
            format!("the baked image `{image}` is not there: {why}"),
            "type `berth bake --push`".to_owned(),
        )),
        _ if has(&NOT_FOUND) => Stuck::Lasting(configuration(
            format!("the image `{image}` is not there: {why}"),
            format!("push it to a registry that the nodes reach, or change {set}"),
        )),
        // The kubelet tries again, in ever longer pauses that no client waits for.
        _ => Stuck::Lasting(unavailable(
            format!("the node cannot pull the image `{image}`: {why}"),
            format!("look whether the nodes reach its registry, or change {set}"),
        )),
    }
}

/// Whether it is of a package, by its name.
fn is_baked(image: &str) -> bool {
    image.split('/').any(|part| ["berth-npx", "berth-uvx"].contains(&part))
}

/// Without the steps on the way there.
fn pulled(why: &str) -> &str {
    let why = why.rsplit("failed to resolve reference ").next().unwrap_or(why);
    why.split_once("\": ").map_or(why, |(_, why)| why)
}

/// What no status says.
pub(crate) fn of_event(event: &Event, pod: &str) -> Option<Stuck> {
    let why = event.message.as_deref().unwrap_or_default();
    match event.reason.as_deref()? {
        // `Pulling image "i:1"`: a start may lose its patience over that.
        "Pulling" => Some(Stuck::Waiting(unavailable(
            format!("the node pulls the image `{}`", why.split('"').nth(1).unwrap_or(why)),
            "start again when it is there, or raise `start_timeout`".to_owned(),
        ))),
        "Pulled" | "Started" => Some(Stuck::Over),
        "FailedCreatePodSandBox" if why.contains("no runtime for") => Some(Stuck::Lasting(configuration(
            format!("the node has no runtime for `isolation`: {why}"),
            "set `isolation = \"container\"`, or install the runtime on the nodes".to_owned(),
        ))),
        "FailedMount" if why.contains(&format!("\"{CONFIG_MAP}\" not found")) => {
            let namespace = event.metadata.namespace.as_deref().unwrap_or("default");
            let text = format!("the keeper of this berth is not in the namespace `{namespace}`: {why}");
            Some(Stuck::Lasting(configuration(text, "type `berth kubernetes up`".to_owned())))
        }
        reason @ ("FailedCreatePodSandBox" | "FailedMount" | "FailedAttachVolume" | "NetworkNotReady") => {
            Some(Stuck::Waiting(unavailable(
                format!("the pod `{pod}` does not start yet: {reason}: {why}"),
                format!("type `kubectl describe pod {pod}`"),
            )))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
