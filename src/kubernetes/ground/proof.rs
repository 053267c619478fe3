//! Whether network policies were shown to hold here: written by `doctor`, read by a session that needs it.
//!
//! An API server takes a policy where nobody enforces any. So the record stands on the policy itself: without the policy
//! there is none, and after a change of the policy it says nothing any more. Sessions may read it, and cannot write it.

use std::net::SocketAddr;

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use kube::Api;
use kube::api::{Patch, PatchParams};
use mcp_berth::config::Settings;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::values::Network;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::Cluster;
use super::forwarder;
use super::network::DENY;
use super::refused::failure;

const ANNOTATION: &str = "mcp-berth.io/enforced";
/// Another name than `up` has, which then leaves the record alone.
const WRITER: &str = "mcp-berth-doctor";
/// What may not reach anything at all.
pub(super) const NONE: &str = "`network = \"none\"`";
const NEXT: &str = "type `berth kubernetes doctor`";

/// As it stands there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Record {
    holds: bool,
    /// The policy's, which grows with each change of it.
    generation: i64,
    at: Timestamp,
}

/// What is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Enforcement {
    Proved(Timestamp),
    /// Somebody has looked, and the policy did nothing.
    Refuted(Timestamp),
    /// Nobody has looked, or not since the policy was changed.
    Unknown,
    /// There is no such policy.
    NoPolicy,
}

fn policies(cluster: &Cluster) -> Api<NetworkPolicy> {
    Api::namespaced(cluster.client.clone(), &cluster.namespace)
}

/// One request.
pub(super) async fn read(cluster: &Cluster) -> Result<Enforcement, Failure> {
    let found = policies(cluster).get_opt(DENY).await;
    let what = || format!("look at the network policy `{DENY}` in the namespace `{}`", cluster.namespace);
    Ok(found.map_err(|error| failure(&what(), &error))?.map_or(Enforcement::NoPolicy, |policy| said(&policy)))
}

fn said(policy: &NetworkPolicy) -> Enforcement {
    let record = policy.metadata.annotations.as_ref().and_then(|all| all.get(ANNOTATION));
    let record = record.and_then(|text| serde_json::from_str::<Record>(text).ok());
    match record.filter(|record| Some(record.generation) == policy.metadata.generation) {
        Some(Record { holds: true, at, .. }) => Enforcement::Proved(at),
        Some(Record { holds: false, at, .. }) => Enforcement::Refuted(at),
        None => Enforcement::Unknown,
    }
}

/// Whether a server may start: `network = "none"` has to be proved, and so has a list of names, or what may be instead
/// accepted. All others cost no request. Gives where the forwarder of a list is.
///
/// # Errors
/// Unless it was. Nobody waits longer for it than for the start itself.
pub(crate) async fn admit(cluster: &Cluster, settings: &Settings) -> Result<Option<SocketAddr>, Failure> {
    let what = match settings.network {
        Network::Egress | Network::Lan => return Ok(None),
        Network::None => NONE,
        Network::Allow(_) => "a list of names",
    };
    let within = settings.start_timeout;
    tokio::time::timeout(within, ask(cluster, what)).await.unwrap_or_else(|_| {
        Err(Failure {
            code: Code::Unavailable,
            text: format!(
                "{what} needs a look at the cluster's policies, and it gave no answer within {within:?}"
            ),
            next: Some("look at it with `berth kubernetes doctor`, or raise `start_timeout`".to_owned()),
        })
    })
}

async fn ask(cluster: &Cluster, what: &str) -> Result<Option<SocketAddr>, Failure> {
    let is_accepted = cluster.settings.accept_unenforced;
    if what == NONE {
        let known = async { require(&read(cluster).await?, what, &cluster.namespace) };
        accepted(known.await, is_accepted)?;
        return Ok(None);
    }
    let (enforcement, address) = tokio::try_join!(read(cluster), forwarder::address(cluster))?;
    accepted(require(&enforcement, what, &cluster.namespace), is_accepted)?;
    Ok(Some(address))
}

/// What a person has accepted is no more than said.
fn accepted(known: Result<(), Failure>, is_accepted: bool) -> Result<(), Failure> {
    match known {
        Err(failure) if is_accepted => {
            tracing::warn!("{}; `accept_unenforced` in [kubernetes] lets the server start", failure.text);
            Ok(())
        }
        known => known,
    }
}

/// What is said to a session whose `network` is this.
///
/// # Errors
/// Unless the policies were shown to hold.
pub(super) fn require(enforcement: &Enforcement, network: &str, namespace: &str) -> Result<(), Failure> {
    let (why, next) = match enforcement {
        Enforcement::Proved(_) => return Ok(()),
        Enforcement::Refuted(at) => (
            format!("`berth kubernetes doctor` found at {at:.0} that the cluster enforces no network policy"),
            "install a network plug-in that does, and then type `berth kubernetes doctor`; or accept what such a server may \
             reach with `accept_unenforced = true` in [kubernetes]",
        ),
        Enforcement::Unknown => (format!("nobody has shown that the policy `{DENY}` is enforced"), NEXT),
        Enforcement::NoPolicy => (format!("there is no policy `{DENY}`"), "type `berth kubernetes up`"),
    };
    Err(Failure {
        code: Code::Configuration,
        text: format!("{network} cannot be had in the namespace `{namespace}`: {why}"),
        next: Some(next.to_owned()),
    })
}

/// Writes what was found. It holds for the policy as it was when the looking began.
pub(super) async fn write(cluster: &Cluster, generation: i64, holds: bool) -> Result<(), kube::Error> {
    let now = Timestamp::from_second(Timestamp::now().as_second()).unwrap_or_default();
    let record = Record { holds, generation, at: now };
    let text = serde_json::to_string(&record).map_err(kube::Error::SerdeError)?;
    let patch = Patch::Merge(json!({ "metadata": { "annotations": { ANNOTATION: text } } }));
    let params = PatchParams { field_manager: Some(WRITER.to_owned()), ..PatchParams::default() };
    policies(cluster).patch(DENY, &params, &patch).await.map(drop)
}

/// The policy's generation; `None`: there is none.
pub(super) async fn generation(cluster: &Cluster) -> Result<Option<i64>, kube::Error> {
    let policy = policies(cluster).get_opt(DENY).await?;
    Ok(policy.map(|policy| policy.metadata.generation.unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn policy(generation: i64, record: Option<&str>) -> NetworkPolicy {
        let annotations = record.map(|record| json!({ ANNOTATION: record }));
        let metadata = json!({ "generation": generation, "annotations": annotations });
        serde_json::from_value(json!({ "metadata": metadata })).unwrap()
    }

    #[test]
    fn a_record_holds_for_the_policy_that_it_was_made_of() {
        let at: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        let text = |holds| serde_json::to_string(&Record { holds, generation: 2, at }).unwrap();
        assert_eq!(said(&policy(2, Some(&text(true)))), Enforcement::Proved(at));
        assert_eq!(said(&policy(2, Some(&text(false)))), Enforcement::Refuted(at));
        assert_eq!(said(&policy(3, Some(&text(true)))), Enforcement::Unknown, "it was changed since");
        assert_eq!(said(&policy(2, None)), Enforcement::Unknown);
        assert_eq!(said(&policy(2, Some("yes"))), Enforcement::Unknown);
    }

    #[test]
    fn only_a_proof_lets_a_session_have_no_network() {
        let at: Timestamp = "2026-11-28T12:00:00Z".parse().unwrap();
        require(&Enforcement::Proved(at), NONE, "n").unwrap();
        for (enforcement, said) in [
            (Enforcement::Refuted(at), "2026-11-28T12:00:00Z"),
            (Enforcement::Unknown, "nobody has shown"),
            (Enforcement::NoPolicy, "there is no policy"),
        ] {
            let failure = require(&enforcement, NONE, "n").unwrap_err();
            assert_eq!(failure.code, Code::Configuration);
            assert!(failure.text.contains(said) && failure.next.is_some(), "{failure}");
            assert!(accepted(Err(failure.clone()), false).is_err());
            assert!(accepted(Err(failure), true).is_ok(), "a person has said so");
        }
    }

    #[tokio::test]
    async fn who_accepts_it_starts_without_a_proof() {
        let (mut cluster, _) = fake::cluster(|_| (404, fake::status(404, "there is none")));
        let mut settings = fake::settings();
        settings.network = Network::None;
        assert!(admit(&cluster, &settings).await.is_err());
        cluster.settings.accept_unenforced = true;
        admit(&cluster, &settings).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_cluster_that_does_not_answer_holds_up_a_start_no_longer_than_it_may() {
        let mut settings = fake::settings();
        for network in ["none", "allow=a.org"] {
            settings.network = network.parse().unwrap();
            let began = tokio::time::Instant::now();
            let failure = admit(&fake::silent(), &settings).await.unwrap_err();
            assert_eq!((failure.code, began.elapsed()), (Code::Unavailable, settings.start_timeout));
            assert!(failure.text.contains("no answer within"), "{failure}");
        }
    }
}
