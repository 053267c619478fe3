//! Is there a cluster that answers, and nobody whom it does not know?

use std::time::Duration;

use super::tls::Attempt;
use crate::exam::check::{Check, Question, Seen};

/// The cluster as it was found.
#[derive(Debug, Clone)]
pub struct Cluster {
    /// The API server's.
    pub address: String,
    pub namespace: String,
    /// Its version, and how long it took to say so.
    pub version: Seen<(String, Duration)>,
    /// What it said to a client without credentials.
    pub stranger: Attempt,
    /// What `berth kubernetes doctor --quick` finds wrong.
    pub problems: Vec<String>,
}

const ANSWERS: Question = Question::new("the API server answers", "kubectl cluster-info");
const TLS: Question = Question::new("it is asked over TLS", "set a `server` with https:// in the kubeconfig");
const STRANGER: Question = Question::new(
    "a client without credentials is refused",
    "kubectl get clusterrolebindings, and take away what `system:anonymous` has",
);
const DOCTOR: Question =
    Question::new("`berth kubernetes doctor` finds nothing wrong", "berth kubernetes doctor");

pub(super) fn judge(seen: &Cluster) -> Vec<Check> {
    let Cluster { address, namespace, version, stranger, problems } = seen;
    let answers = match version {
        Ok((version, took)) => ANSWERS.passed(format!(
            "Kubernetes {version} at {address}, namespace `{namespace}`, in {} ms",
            took.as_millis()
        )),
        Err(why) => ANSWERS.failed(why.as_str()),
    };
    let doctor = DOCTOR.each([()], "no problems", |()| (!problems.is_empty()).then(|| problems.join("; ")));
    vec![
        answers,
        TLS.holds(address.starts_with("https:"), address.as_str()),
        STRANGER.holds(stranger.is_refusal(), stranger.to_string()),
        doctor,
    ]
}
