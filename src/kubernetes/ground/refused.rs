//! What the API server refuses while the ground is laid, in a person's words.

use mcp_berth::failure::{Code, Failure, chain};

/// `what` is a verb and its object, such as «create the namespace `n`».
pub(super) fn failure(what: &str, error: &kube::Error) -> Failure {
    let configuration =
        |text: String, next: &str| Failure { code: Code::Configuration, text, next: Some(next.to_owned()) };
    match error {
        kube::Error::Api(status) => match status.code {
            401 => configuration(
                format!("cannot {what}: the cluster does not accept the credentials"),
                "try `kubectl auth whoami`, and log in to the cluster",
            ),
            403 if status.message.contains("exceeded quota") => Failure {
                code: Code::Unavailable,
                text: format!("there is no room to {what}: {}", status.message),
                next: Some(
                    "type `kubectl describe quota` for the namespace; then `berth kubernetes up`".to_owned(),
                ),
            },
            403 => configuration(
                format!("you may not {what}: {}", status.message),
                "have whoever may do it type: berth kubernetes up --print | kubectl apply --server-side -f -",
            ),
            409 if status.message.contains("conflict") => configuration(
                format!("cannot {what}: somebody else has changed it: {}", status.message.replace('\n', " ")),
                "type `berth kubernetes up --force` to set it all the same",
            ),
            404 | 409 | 429 | 500.. => Failure {
                code: Code::Unavailable,
                text: format!("the cluster cannot {what} at the moment: {}", status.message),
                next: Some("try again; look at `kubectl get --raw /readyz`".to_owned()),
            },
            _ => configuration(
                format!("the cluster refuses to {what}: {}", status.message),
                "look at it with: berth kubernetes up --print",
            ),
        },
        kube::Error::Auth(error) => configuration(
            format!("there are no credentials for the cluster: {}", chain(error)),
            "try `kubectl auth whoami`, and log in to the cluster",
        ),
        error => Failure {
            code: Code::Unavailable,
            text: format!("cannot {what}: {}", chain(error)),
            next: Some("try `kubectl version`; look at `context` in [kubernetes]".to_owned()),
        },
    }
}

/// The code of the API server's answer.
pub(super) fn code(error: &kube::Error) -> Option<u16> {
    match error {
        kube::Error::Api(status) => Some(status.code),
        _ => None,
    }
}
