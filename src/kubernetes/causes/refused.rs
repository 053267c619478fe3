//! What the API server refuses, and why.

use kube::core::Status;
use mcp_berth::failure::{Code, Failure, chain};

/// Why a request came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The same may succeed a moment later: nobody has answered, or not as it should be.
    Passing(Failure),
    /// There is no room, and may be when others end.
    Full(Failure),
    Lasting(Failure),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let (Refused::Passing(failure) | Refused::Full(failure) | Refused::Lasting(failure)) = refused;
        failure
    }
}

/// What was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// As RBAC calls it, such as `create`.
    pub(crate) verb: &'a str,
    /// Such as `pods`, or `pods/exec`.
    pub(crate) resource: &'a str,
    pub(crate) namespace: &'a str,
}

impl Asked<'_> {
    pub(crate) fn refused(&self, error: &kube::Error) -> Refused {
        match error {
            kube::Error::Api(status) => self.by_server(status),
            kube::Error::Auth(error) => Refused::Lasting(Failure {
                code: Code::Configuration,
                text: format!("there are no credentials for the cluster: {}", chain(error)),
                next: Some("try `kubectl auth whoami`, and log in to the cluster".to_owned()),
            }),
            error => Refused::Passing(Failure {
                code: Code::Unavailable,
                text: format!("cannot {} in the cluster: {}", self.what(), chain(error)),
                next: Some("try `kubectl version`; look at the `context` in [kubernetes]".to_owned()),
            }),
        }
    }

    fn what(&self) -> String {
        format!("{} {}", self.verb, self.resource)
    }

    fn by_server(&self, status: &Status) -> Refused {
        let message = status.message.as_str();
        let namespace = self.namespace;
        let lasting = |text: String, next: String| {
            Refused::Lasting(Failure { code: Code::Configuration, text, next: Some(next) })
        };
        match status.code {
            401 => lasting(
                "the cluster does not accept the credentials of the kubeconfig".to_owned(),
                "try `kubectl auth whoami`, and log in to the cluster".to_owned(),
            ),
            403 if let Some(over) = quota(message) => Refused::Full(Failure {
                code: Code::Unavailable,
                text: format!("the namespace `{namespace}` is full: {over}"),
                next: Some(format!("type `kubectl describe quota -n {namespace}`, or end other sessions")),
            }),
            403 if message.contains("cannot ") && message.contains(" resource ") => self.right(message),
            403 if let Some(rules) = message.split_once("violates PodSecurity ") => lasting(
                format!("the policy of the namespace `{namespace}` refuses the pod: PodSecurity {}", rules.1),
                "change what it names in the server's settings (`user`, `cap_add`), or the namespace's label \
                 `pod-security.kubernetes.io/enforce`"
                    .to_owned(),
            ),
            403 if message.contains("RuntimeClass") && message.contains("not found") => lasting(
                format!("the cluster has no runtime for `isolation`: {message}"),
                "set `isolation = \"container\"`, or install the RuntimeClass".to_owned(),
            ),
            403 if let Some(limit) = limit_range(message) => lasting(
                format!("the limits of the namespace `{namespace}` refuse the pod: {limit}"),
                format!("change `memory` or `cpus`; type `kubectl describe limitrange -n {namespace}`"),
            ),
            404 if message.starts_with("namespaces ") => lasting(
                format!("the namespace `{namespace}` is not there"),
                format!("type `berth up`, or `kubectl create namespace {namespace}`"),
            ),
            // A quota that others changed in this moment, or a name.
            409 => self.passing(status),
            429 | 500.. => self.passing(status),
            _ if policy(message) => lasting(
                format!("a policy of the cluster refuses the pod: {message}"),
                "change what it names in the server's settings or in `pod_template`, or ask who runs the cluster"
                    .to_owned(),
            ),
            422 => lasting(
                format!("the cluster does not take the pod: {message}"),
                "change what it names in the server's settings or in `pod_template`".to_owned(),
            ),
            _ => lasting(
                format!("the cluster refuses to {}: {message}", self.what()),
                format!("try `kubectl auth can-i {} {} -n {namespace}`", self.verb, self.resource),
            ),
        }
    }

    fn passing(&self, status: &Status) -> Refused {
        Refused::Passing(Failure {
            code: Code::Unavailable,
            text: format!("the cluster cannot {} at the moment: {}", self.what(), status.message),
            next: Some("try `kubectl get --raw /readyz`".to_owned()),
        })
    }

    /// The line of RBAC that lacks.
    fn right(&self, message: &str) -> Refused {
        let Self { verb, resource, namespace } = self;
        let user =
            message.split('"').nth(if message.contains("User \"") { message_user(message) } else { 1 });
        let whom = match user.and_then(|user| user.strip_prefix("system:serviceaccount:")) {
            Some(account) => format!("--serviceaccount={account}"),
            None => format!("--user={}", user.unwrap_or("NAME")),
        };
        Refused::Lasting(Failure {
            code: Code::Configuration,
            text: format!(
                "`{}` may not {verb} {resource} in the namespace `{namespace}`",
                user.unwrap_or("the kubeconfig's user")
            ),
            next: Some(format!(
                "who runs the cluster types `kubectl create role berth --verb={verb} --resource={resource} -n \
                 {namespace}` and `kubectl create rolebinding berth --role=berth {whom} -n {namespace}`, or `berth up`"
            )),
        })
    }
}

/// Which of the words in quotation marks is the user.
fn message_user(message: &str) -> usize {
    let before = message.split("User \"").next().unwrap_or_default();
    before.matches('"').count() + 1
}

/// What a quota has too little of.
fn quota(message: &str) -> Option<String> {
    let over = message.split_once("exceeded quota: ")?.1;
    let mut parts = over.splitn(2, ", ");
    Some(format!("quota `{}` ({})", parts.next()?, parts.next().unwrap_or_default()))
}

fn limit_range(message: &str) -> Option<&str> {
    let said = message.split_once("is forbidden: ")?.1;
    let is_limit = ["maximum ", "minimum ", "must specify "].iter().any(|start| {
        let said = said.trim_start_matches('[');
        said.starts_with(start)
    });
    is_limit.then_some(said)
}

fn policy(message: &str) -> bool {
    ["admission webhook ", "ValidatingAdmissionPolicy ", "denied the request", "denied request"]
        .iter()
        .any(|word| message.contains(word))
}
