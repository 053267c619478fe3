//! What is made and taken back, against an API server of the test's own.

mod api_server;

use std::path::Path;

use mcp_berth::config::Home;
use mcp_berth::dock::spec::Spec;
use serde_json::{Value, json};

use super::super::keeper::Keeper;
use super::super::pod::Plan;
use super::*;
use api_server::{Shared, server};

fn config(text: &str) -> Config {
    let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
    Config::parse(text, Path::new("b.toml"), &home).unwrap()
}

const POD: &str = "/api/v1/namespaces/n/pods/mcp-x-1";

fn pod(phase: &str) -> Value {
    json!({
        "metadata": { "name": "mcp-x-1", "labels": { LABEL_MANAGED_BY: MANAGER } },
        "status": { "phase": phase },
    })
}

#[tokio::test]
async fn a_second_run_changes_nothing_and_says_so() {
    let (cluster, store) = server();
    let config = config("[limits]\nsessions = 3");
    let said = apply::up(&cluster, &config, false).await.unwrap().to_string();
    assert!(
        said.contains("made     Namespace n\n") && said.contains("made     ResourceQuota berth\n"),
        "{said}"
    );
    assert!(said.ends_with("is ready: 12 changes, 0 as before\n"), "{said}");
    let created = std::mem::take(&mut store.lock().unwrap().created);
    let [namespace] = created.as_slice() else { panic!("{created:?}") };
    let metadata = json!({ "name": "n", "annotations": { apply::ANNOTATION_MADE: "true" } });
    assert_eq!(namespace["metadata"], metadata, "all else is applied, by one manager alone");
    store.lock().unwrap().changes.clear();
    let said = apply::up(&cluster, &config, false).await.unwrap().to_string();
    assert_eq!(said, "the namespace `n` is ready: nothing has changed\n");
    assert_eq!(store.lock().unwrap().changes, [""; 0]);
}

#[tokio::test]
async fn what_the_configuration_wants_no_more_is_removed() {
    let (cluster, store) = server();
    apply::up(&cluster, &config("[limits]\nsessions = 3"), false).await.unwrap();
    let said = apply::up(&cluster, &config(""), false).await.unwrap().to_string();
    assert_eq!(
        said,
        "removed  ResourceQuota berth\nremoved  ResourceQuota berth-probes\nthe namespace `n` is ready: 2 changes, 10 as before\n"
    );
    assert!(!store.lock().unwrap().objects.keys().any(|path| path.contains("resourcequotas")));
}

#[tokio::test]
async fn the_forwarder_stays_while_pods_need_it_whoever_types_up() {
    let (cluster, store) = server();
    let list = "[servers.x]\nimage = \"i\"\nbackend = \"kubernetes\"\nnetwork = { allow = [\"a.org\"] }";
    apply::up(&cluster, &config(list), false).await.unwrap();
    let put = |network: &str, phase: &str| {
        let mut pod = pod(phase);
        pod["metadata"]["labels"][network::PolicyLabel::KEY] = network.into();
        store.lock().unwrap().objects.insert(POD.to_owned(), pod);
        store.lock().unwrap().changes.clear();
    };
    put("allow", "Running");
    let said = apply::up(&cluster, &config(""), false).await.unwrap().to_string();
    assert!(
        said.contains("note: the forwarder stays, as 1 pod in the namespace `n` still has a list"),
        "{said}"
    );
    let changes = std::mem::take(&mut store.lock().unwrap().changes);
    assert!(!changes.iter().any(|change| change.starts_with("DELETE")), "{changes:?}");
    for (network, phase) in [("allow", "Succeeded"), ("egress", "Running")] {
        put(network, phase);
        let said = apply::up(&cluster, &config(""), false).await.unwrap().to_string();
        assert!(said.contains("removed  Deployment berth-forwarder\n") && !said.contains("stays"), "{said}");
        assert!(said.contains("removed  NetworkPolicy berth-allow\n"), "{said}");
        apply::up(&cluster, &config(list), false).await.unwrap();
    }
}

#[tokio::test]
async fn the_keeper_of_another_version_stays_until_all_goes() {
    let (cluster, store) = server();
    let path = "/api/v1/namespaces/n/configmaps/berth-keeper-0123456789ab";
    let labels = json!({ LABEL_MANAGED_BY: MANAGER });
    let other = json!({ "metadata": { "name": "berth-keeper-0123456789ab", "labels": labels } });
    store.lock().unwrap().objects.insert(path.to_owned(), other);
    apply::up(&cluster, &config(""), false).await.unwrap();
    let maps = |store: &Shared| {
        let store = store.lock().unwrap();
        store.objects.keys().filter(|path| path.contains("/configmaps/berth-keeper-")).count()
    };
    assert_eq!(maps(&store), 2);
    apply::up(&cluster, &config("[kubernetes]\nkeeper_image = \"k\""), false).await.unwrap();
    assert_eq!(maps(&store), 2, "somebody else may have sessions with it");
    takedown::down(&cluster, false, false).await.unwrap();
    assert_eq!(maps(&store), 0);
}

#[tokio::test]
async fn somebody_elses_namespace_gets_no_limits_and_stays() {
    let (cluster, store) = server();
    let theirs = json!({ "metadata": { "name": "n", "resourceVersion": "7" } });
    store.lock().unwrap().objects.insert("/api/v1/namespaces/n".to_owned(), theirs.clone());
    let said = apply::up(&cluster, &config("[limits]\nsessions = 3"), false).await.unwrap().to_string();
    assert!(said.contains("note: somebody else made the namespace `n`"), "{said}");
    let paths: Vec<String> = store.lock().unwrap().objects.keys().cloned().collect();
    assert!(
        !paths.iter().any(|path| path.contains("resourcequotas") || path.contains("limitranges")),
        "{paths:?}"
    );
    assert_eq!(store.lock().unwrap().objects["/api/v1/namespaces/n"], theirs);
    let said = takedown::down(&cluster, false, false).await.unwrap().to_string();
    assert!(said.ends_with("stays: `berth kubernetes up` did not make it\n"), "{said}");
    let store = store.lock().unwrap();
    assert_eq!(store.objects.keys().collect::<Vec<_>>(), ["/api/v1/namespaces/n"]);
}

#[tokio::test]
async fn who_may_not_lay_it_is_told_who_may() {
    let (cluster, store) = server();
    store.lock().unwrap().forbidden =
        vec!["PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/n/roles/berth-agent".to_owned()];
    let failure = apply::up(&cluster, &config(""), false).await.unwrap_err();
    assert_eq!(failure.code, Code::Configuration);
    assert!(failure.text.starts_with("you may not apply the Role `berth-agent`"), "{failure}");
    assert!(failure.next.unwrap().contains("berth kubernetes up --print | kubectl apply --server-side -f -"));
}

#[tokio::test]
async fn who_may_not_see_namespaces_lays_what_is_in_one() {
    let (cluster, store) = server();
    store.lock().unwrap().forbidden = vec!["GET /api/v1/namespaces/n".to_owned()];
    let said = apply::up(&cluster, &config(""), false).await.unwrap().to_string();
    assert!(said.contains("note: you may not see namespaces") && said.contains("8 changes"), "{said}");
}

#[tokio::test]
async fn an_object_of_the_same_name_that_is_not_berths_is_left_alone() {
    let (cluster, store) = server();
    let path = "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/berth-deny";
    let theirs = json!({ "metadata": { "name": "berth-deny" } });
    store.lock().unwrap().objects.insert(path.to_owned(), theirs.clone());
    let failure = apply::up(&cluster, &config(""), true).await.unwrap_err();
    assert!(failure.text.contains("`berth-deny`") && failure.text.contains("is not berth's"), "{failure}");
    takedown::down(&cluster, true, false).await.unwrap();
    assert_eq!(store.lock().unwrap().objects[path], theirs);
}

#[tokio::test]
async fn living_pods_refuse_to_be_taken_down_and_force_ends_them_first() {
    let (cluster, store) = server();
    apply::up(&cluster, &config(""), false).await.unwrap();
    store.lock().unwrap().objects.insert(POD.to_owned(), pod("Running"));
    store.lock().unwrap().changes.clear();
    let failure = takedown::down(&cluster, false, false).await.unwrap_err();
    assert!(failure.text.starts_with("1 pod ") && failure.next.unwrap().contains("--force"));
    assert_eq!(store.lock().unwrap().changes, [""; 0]);
    let said = takedown::down(&cluster, true, false).await.unwrap().to_string();
    assert!(said.ends_with("the namespace `n` is deleted\n"), "{said}");
    let store = store.lock().unwrap();
    assert_eq!(store.changes[0], format!("DELETE {POD}"), "while the policies still hold");
    assert_eq!(store.objects.keys().collect::<Vec<_>>(), [""; 0]);
}

#[tokio::test]
async fn probe_pods_of_a_killed_doctor_go_without_force() {
    let (cluster, store) = server();
    apply::up(&cluster, &config(""), false).await.unwrap();
    for (name, by, phase) in
        [("open", PROBER, "Succeeded"), ("far", PROBER, "Running"), ("none", MANAGER, "Running")]
    {
        let labels = json!({ LABEL_MANAGED_BY: by, network::LABEL_PROBE: "7" });
        let probe = json!({ "metadata": { "name": name, "labels": labels }, "status": { "phase": phase } });
        store.lock().unwrap().objects.insert(format!("/api/v1/namespaces/n/pods/{name}"), probe);
    }
    let said = takedown::down(&cluster, false, false).await.unwrap().to_string();
    assert!(
        said.contains("removed  Pod far\n") && said.ends_with("the namespace `n` is deleted\n"),
        "{said}"
    );
}

#[tokio::test]
async fn a_namespace_with_anything_else_in_it_stays() {
    let (cluster, store) = server();
    apply::up(&cluster, &config(""), false).await.unwrap();
    for name in ["kube-root-ca.crt", "theirs"] {
        let path = format!("/api/v1/namespaces/n/configmaps/{name}");
        store.lock().unwrap().objects.insert(path, json!({ "metadata": { "name": name } }));
    }
    let said = takedown::down(&cluster, false, false).await.unwrap().to_string();
    assert!(said.ends_with("the namespace `n` stays: the ConfigMap `theirs` is in it\n"), "{said}");
    store.lock().unwrap().objects.remove("/api/v1/namespaces/n/configmaps/theirs");
    let said = takedown::down(&cluster, false, false).await.unwrap().to_string();
    assert_eq!(said, "the namespace `n` is deleted\n");
    assert_eq!(
        takedown::down(&cluster, false, false).await.unwrap().to_string(),
        "the namespace `n` is not there\n"
    );
}

#[test]
fn what_is_printed_is_yaml_that_says_why_each_object_is_there() {
    let text = "[limits]\nsessions = 3\n[servers.x]\nimage = \"i\"\nbackend = \"kubernetes\"\ncap_add = [\"SYS_ADMIN\"]";
    let config = config(text);
    let text = super::text(&config, "n").unwrap();
    assert!(text.starts_with("---\n# Sessions' pods. Pod Security is `baseline`.\n"), "{text}");
    assert!(
        text.contains("# server `x`: `cap_add` has `SYS_ADMIN`, which `baseline` refuses, too\n"),
        "{text}"
    );
    assert!(text.contains("# pods: create: a session has a pod of its own\n"), "{text}");
    let documents = serde_saphyr::from_multiple::<serde_json::Value>(&text).unwrap();
    let expected: Vec<serde_json::Value> = std::iter::once(objects::namespace(&config, "n").0)
        .chain(objects::own(&config, "n"))
        .chain(objects::limits(&config, "n"))
        .chain(objects::keeper(&config, "n"))
        .map(|wanted| wanted.object)
        .collect();
    assert_eq!(documents, expected);
}

#[test]
fn nobody_elses_namespace_gets_berths_limits() {
    for namespace in RESERVED {
        let failure = refuse_reserved(namespace).unwrap_err();
        assert!(failure.text.contains(namespace) && failure.next.is_some(), "{failure}");
    }
    refuse_reserved("berth").unwrap();
}

#[tokio::test]
async fn a_server_without_a_network_starts_only_where_policies_were_shown_to_hold() {
    let (cluster, store) = server();
    let settings = |network: &str| {
        let text = format!("[servers.x]\nimage = \"i\"\nnetwork = \"{network}\"");
        config(&text).servers["x"].settings.clone()
    };
    proof::admit(&cluster, &settings("egress")).await.unwrap();
    let refused = proof::admit(&cluster, &settings("none")).await.unwrap_err();
    assert!(refused.text.contains("there is no policy `berth-deny`"), "{refused}");
    let path = "/apis/networking.k8s.io/v1/namespaces/n/networkpolicies/berth-deny";
    let policy = |holds: bool| {
        let record = json!({ "holds": holds, "generation": 1, "at": "2026-11-28T12:00:00Z" }).to_string();
        json!({ "metadata": { "name": "berth-deny", "generation": 1, "annotations": { "mcp-berth.io/enforced": record } } })
    };
    store.lock().unwrap().objects.insert(path.to_owned(), policy(false));
    let refused = proof::admit(&cluster, &settings("none")).await.unwrap_err();
    assert!(refused.text.contains("enforces no network policy"), "{refused}");
    store.lock().unwrap().objects.insert(path.to_owned(), policy(true));
    proof::admit(&cluster, &settings("none")).await.unwrap();
}

#[test]
fn a_pods_network_is_a_label_and_a_part_of_what_pods_are_told_apart_by() {
    let of = |network: &str| {
        let config = config(&format!("[servers.x]\nimage = \"i\"\nnetwork = \"{network}\""));
        let spec = Spec::new(config.servers["x"].clone(), "claude-code", "0");
        let plan = Plan { spec: &spec, keeper: &Keeper::ConfigMap, template: None };
        (plan.standby("p").unwrap().metadata.labels.unwrap()["mcp-berth.io/network"].clone(), plan.hash())
    };
    let [(none, first), (egress, second)] = [of("none"), of("egress")];
    assert_eq!((none.as_str(), egress.as_str()), ("none", "egress"));
    assert_ne!(first, second, "no session may claim a pod of another network");
}
