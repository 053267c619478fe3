//! Whether whoever asks has each right that a session needs.

use futures::future::join_all;
use k8s_openapi::api::authentication::v1::SelfSubjectReview;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::Api;
use kube::api::PostParams;
use mcp_berth::config::Config;
use mcp_berth::doctor::line::Line;

use super::super::Cluster;
use super::super::objects::USER;
use super::super::refused::failure;
use super::super::roles::{Rule, needed};

const NAME: &str = "rights";

pub(super) async fn line(config: &Config, cluster: &Cluster) -> Line {
    let asked = needed(config).flat_map(|rule| rule.verbs.iter().map(move |(verb, _)| (rule, *verb)));
    let answers =
        join_all(asked.map(|(rule, verb)| async move { (rule, verb, may(cluster, rule, verb).await) })).await;
    let mut missing = Vec::new();
    for (rule, verb, answer) in &answers {
        match answer {
            Ok(true) => {}
            Ok(false) => missing.push((*rule, *verb)),
            Err(error) => {
                let failure = failure("ask for your rights", error);
                return Line::failed(NAME, failure.text, failure.next.unwrap_or_default());
            }
        }
    }
    let who = who(cluster).await;
    let who = who.as_deref();
    judge(&missing, answers.len(), who, &cluster.namespace)
}

fn judge(missing: &[(&Rule, &str)], all: usize, who: Option<&str>, namespace: &str) -> Line {
    let whose = who.unwrap_or("you");
    if missing.is_empty() {
        return Line::ok(NAME, format!("`{whose}` has all {all} that a session needs"));
    }
    let said = |(rule, verb): &(&Rule, &str)| format!("{verb} {} ({})", rule.resource, rule.line(verb));
    let lacking: Vec<String> = missing.iter().map(said).collect();
    let subject = match who.and_then(|who| who.strip_prefix("system:serviceaccount:")) {
        Some(account) => format!("--serviceaccount={account}"),
        None => format!("--user={}", who.unwrap_or("YOU")),
    };
    Line::failed(
        NAME,
        format!("`{whose}` may not: {}", lacking.join(", ")),
        format!("kubectl create rolebinding {} -n {namespace} --role={USER} {subject}", binding(whose)),
    )
}

/// A name for the binding, as Kubernetes takes it.
fn binding(who: &str) -> String {
    let last = who.rsplit(':').next().unwrap_or(who).to_lowercase();
    let name = last.chars().map(|char| if char.is_ascii_alphanumeric() { char } else { '-' });
    format!("berth-{}", name.collect::<String>().trim_matches('-'))
}

async fn may(cluster: &Cluster, rule: &Rule, verb: &str) -> Result<bool, kube::Error> {
    let (resource, subresource) = match rule.resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (rule.resource, None),
    };
    let attributes = ResourceAttributes {
        namespace: Some(cluster.namespace.clone()),
        verb: Some(verb.to_owned()),
        group: Some(rule.group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        name: rule.name.map(str::to_owned),
        ..ResourceAttributes::default()
    };
    let spec = SelfSubjectAccessReviewSpec { resource_attributes: Some(attributes), ..Default::default() };
    let review = SelfSubjectAccessReview { spec, ..Default::default() };
    let reviews: Api<SelfSubjectAccessReview> = Api::all(cluster.client.clone());
    let answer = reviews.create(&PostParams::default(), &review).await?;
    Ok(answer.status.is_some_and(|status| status.allowed))
}

/// By the API server's own word.
async fn who(cluster: &Cluster) -> Option<String> {
    let reviews: Api<SelfSubjectReview> = Api::all(cluster.client.clone());
    let answer = reviews.create(&PostParams::default(), &SelfSubjectReview::default()).await.ok()?;
    answer.status?.user_info?.username
}

#[cfg(test)]
mod tests {
    use super::super::super::roles::RULES;
    use mcp_berth::doctor::line::State;

    use super::*;

    #[test]
    fn a_missing_right_is_named_with_the_line_that_lacks_and_who_lacks_it() {
        assert_eq!(judge(&[], 13, Some("ann"), "n").state, State::Ok);
        let exec = &RULES[2];
        assert_eq!(exec.resource, "pods/exec");
        let line = judge(&[(exec, "get")], 13, Some("system:serviceaccount:ci:runner"), "n");
        assert_eq!(line.state, State::Failed);
        assert!(
            line.fact
                .contains(r#"get pods/exec ({"apiGroups":[""],"resources":["pods/exec"],"verbs":["get"]})"#)
        );
        let next = line.next.unwrap();
        assert!(
            next.ends_with("rolebinding berth-runner -n n --role=berth-user --serviceaccount=ci:runner"),
            "{next}"
        );
        let next = judge(&[(exec, "get")], 13, Some("Ann@x.org"), "n").next.unwrap();
        assert!(
            next.contains("rolebinding berth-ann-x-org ") && next.ends_with("--user=Ann@x.org"),
            "{next}"
        );
    }
}
