//! What keeps a volume from its pod: events of its claim. A pod's own status says only that it waits.

use k8s_openapi::api::core::v1::{Event, Pod};
use mcp_berth::failure::{Code, Failure};

use super::stuck::Stuck;

/// The claims that a pod waits for.
pub(super) fn of(pod: &Pod) -> impl Iterator<Item = String> {
    let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
    volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()))
}

pub(super) fn of_event(event: &Event, claim: &str) -> Option<Stuck> {
    let why = event.message.as_deref().unwrap_or_default();
    let waiting = |text: String, next: &str| {
        Some(Stuck::Waiting(Failure { code: Code::Unavailable, text, next: Some(next.to_owned()) }))
    };
    match event.reason.as_deref()? {
        "ProvisioningFailed" => waiting(
            format!("the cluster cannot make the volume of the claim `{claim}`: {why}"),
            "look at `storage_class` and `storage_size` in [kubernetes]; type `kubectl get storageclass`",
        ),
        "FailedBinding" => waiting(
            format!("there is no volume for the claim `{claim}`: {why}"),
            "set `storage_class` in [kubernetes] to one of `kubectl get storageclass`",
        ),
        "Provisioning" | "ExternalProvisioning" => waiting(
            format!("the cluster makes the volume of the claim `{claim}`"),
            "start again when it is there, or raise `start_timeout`",
        ),
        "ProvisioningSucceeded" => Some(Stuck::Over),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_claim_says_why_there_is_no_volume() {
        let said = |reason: &str| {
            let event = json!({
                "metadata": {}, "involvedObject": {}, "reason": reason, "message": "no class `fast`",
            });
            match of_event(&serde_json::from_value(event).unwrap(), "c")? {
                Stuck::Waiting(failure) => Some(failure.to_string()),
                Stuck::Over => Some(String::new()),
                Stuck::Lasting(failure) => panic!("{failure}"),
            }
        };
        let failed = said("ProvisioningFailed").unwrap();
        assert!(
            failed.contains("claim `c`: no class `fast`") && failed.contains("`storage_class`"),
            "{failed}"
        );
        assert!(said("FailedBinding").unwrap().contains("no volume for the claim `c`"));
        assert_eq!(said("ProvisioningSucceeded").as_deref(), Some(""));
        assert_eq!(said("WaitForFirstConsumer"), None, "that is how it goes");
    }

    #[test]
    fn a_pod_waits_for_its_claims_alone() {
        let pod = json!({ "metadata": {}, "spec": { "containers": [], "volumes": [
            { "name": "berth", "emptyDir": {} }, { "name": "a", "persistentVolumeClaim": { "claimName": "c" } },
        ] } });
        let pod: Pod = serde_json::from_value(pod).unwrap();
        assert_eq!(of(&pod).collect::<Vec<_>>(), ["c"]);
    }
}
