//! What the API server refuses, and why.

use kube::core::Status;
use mcp_berth::failure::{Code, Failure, chain};

use crate::cluster::{LOG_IN, no_credentials};

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
                text: format!("there are no credentials for the cluster: {}", no_credentials(error)),
                next: Some(LOG_IN.to_owned()),
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
                LOG_IN.to_owned(),
            ),
            403 if let Some(over) = quota(message) => Refused::Full(Failure {
                code: Code::Unavailable,
                text: format!("the namespace `{namespace}` is full: {over}"),
                next: Some(format!("type `kubectl describe quota -n {namespace}`, or end other sessions")),
            }),
            // A new quota counts what there is first.
            403 if message.contains("status unknown for quota") => self.passing(status),
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
                format!("type `berth kubernetes up`, or `kubectl create namespace {namespace}`"),
            ),
            // 409: a quota that others changed in this moment, or a name.
            409 | 429 | 500.. => self.passing(status),
            _ if is_policy(message) => lasting(
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

    /// The right that lacks, in the API server's own words where it has them: a stream is asked for as `get` or `create`.
    fn right(&self, message: &str) -> Refused {
        let quoted = |word: &str| message.split_once(word).and_then(|(_, rest)| rest.split('"').next());
        let verb = message.split_once("cannot ").and_then(|(_, rest)| rest.split(' ').next());
        let (verb, resource) = (verb.unwrap_or(self.verb), quoted(" resource \"").unwrap_or(self.resource));
        let (namespace, user) = (self.namespace, quoted("User \""));
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
                "who runs the cluster types `berth kubernetes up` and `kubectl create rolebinding {} -n {namespace} \
                 --role=berth-user {whom}`",
                binding(user.unwrap_or("name"))
            )),
        })
    }
}

/// A name for the binding, as Kubernetes takes it.
fn binding(user: &str) -> String {
    let last = user.rsplit(':').next().unwrap_or(user).to_lowercase();
    let name = last.replace(|char: char| !char.is_ascii_alphanumeric(), "-");
    format!("berth-{}", name.trim_matches('-'))
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

fn is_policy(message: &str) -> bool {
    ["admission webhook ", "ValidatingAdmissionPolicy ", "denied the request", "denied request"]
        .iter()
        .any(|word| message.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(code: u16, message: &str) -> Refused {
        let asked = Asked { verb: "create", resource: "pods", namespace: "team" };
        asked.refused(&kube::Error::Api(Status::failure(message, "").with_code(code).boxed()))
    }

    fn lasting(code: u16, message: &str) -> String {
        match refused(code, message) {
            Refused::Lasting(failure) => {
                assert_eq!(failure.code, Code::Configuration, "{failure}");
                assert!(failure.next.is_some(), "{failure}");
                failure.to_string()
            }
            other => panic!("{other:?}"),
        }
    }

    /// All of these are a real cluster's words.
    #[test]
    fn what_a_namespace_refuses_is_told_with_its_rule() {
        let restricted = lasting(
            403,
            r#"pods "p" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true (pod or container "server" must set securityContext.runAsNonRoot=true)"#,
        );
        let start = r#"the policy of the namespace `team` refuses the pod: PodSecurity "restricted:latest": runAsNonRoot != true"#;
        assert!(restricted.starts_with(start) && restricted.contains("`user`"), "{restricted}");
        let limit = lasting(
            403,
            r#"pods "p" is forbidden: maximum memory usage per Container is 64Mi, but limit is 512Mi"#,
        );
        assert!(limit.contains("is 64Mi, but limit is 512Mi; change `memory`"), "{limit}");
        let runtime = lasting(403, r#"pods "p" is forbidden: pod rejected: RuntimeClass "gvisor" not found"#);
        assert!(runtime.contains(r#"set `isolation = "container"`"#), "{runtime}");
        let policy = r#"pods "p" is forbidden: ValidatingAdmissionPolicy 'a' with binding 'b' denied request: images come from registry.example"#;
        assert!(lasting(422, policy).contains("denied request: images come from registry.example; change"));
        for code in [400, 403] {
            let webhook = lasting(code, r#"admission webhook "v.example" denied the request: no"#);
            assert!(webhook.contains(r#"refuses the pod: admission webhook "v.example""#), "{webhook}");
        }
        let invalid = lasting(422, r#"Pod "p" is invalid: spec.containers[0].resources: Invalid value"#);
        assert!(invalid.contains("the cluster does not take the pod: "), "{invalid}");
        let missing = lasting(404, r#"namespaces "team" not found"#);
        assert!(missing.contains("`berth kubernetes up`, or `kubectl create namespace team`"), "{missing}");
    }

    #[test]
    fn a_right_that_is_missing_is_told_as_the_commands_that_give_it() {
        let message = |user: &str| {
            format!(
                r#"pods is forbidden: User "{user}" cannot create resource "pods" in API group "" in the namespace "team""#
            )
        };
        assert_eq!(
            lasting(403, &message("jane")),
            "`jane` may not create pods in the namespace `team`; who runs the cluster types `berth kubernetes up` and \
             `kubectl create rolebinding berth-jane -n team --role=berth-user --user=jane`"
        );
        let agent = lasting(403, &message("system:serviceaccount:ci:bot"));
        assert!(
            agent.contains("rolebinding berth-bot -n team --role=berth-user --serviceaccount=ci:bot`"),
            "{agent}"
        );
        let stream = r#"pods "p" is forbidden: User "jane" cannot get resource "pods/exec" in API group "" in the namespace "team""#;
        assert!(
            lasting(403, stream).starts_with("`jane` may not get pods/exec in"),
            "the API server's words"
        );
        assert!(lasting(401, "Unauthorized").contains("kubectl auth whoami"));
    }

    #[test]
    fn a_full_namespace_and_a_bad_moment_pass() {
        let quota = refused(
            403,
            r#"pods "p" is forbidden: exceeded quota: small, requested: pods=1, used: pods=9, limited: pods=9"#,
        );
        let Refused::Full(failure) = quota else { panic!("{quota:?}") };
        assert_eq!(
            failure.text,
            "the namespace `team` is full: quota `small` (requested: pods=1, used: pods=9, limited: pods=9)"
        );
        let new = r#"pods "p" is forbidden: status unknown for quota: small, resources: pods"#;
        assert!(matches!(refused(403, new), Refused::Passing(_)), "its controller counts the pods");
        for code in [409, 429, 500, 503] {
            assert!(matches!(refused(code, "no"), Refused::Passing(_)), "{code}");
        }
        let asked = Asked { verb: "list", resource: "pods", namespace: "team" };
        let unreachable = asked.refused(&kube::Error::Service("connection refused".into()));
        let Refused::Passing(failure) = unreachable else { panic!("{unreachable:?}") };
        let text = failure.text;
        assert!(text.contains("cannot list pods in the cluster") && text.ends_with("refused"), "{text}");
    }
}
