//! The examination of a cluster, and what `berth doctor` says of one.

use serde_json::Value;

use crate::harness::Place;

fn examined(place: &Place) -> (Option<i32>, Value) {
    let (code, out, err) = place.says(&["validate", "--server", "hasty", "--patience", "3", "--json"]);
    let report = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    (code, report)
}

#[test]
#[ignore = "needs a cluster"]
fn four_clients_in_pods_pass_the_examination() {
    let place = Place::new("validate");
    let (code, out, err) = place.says(&["kubernetes", "up"]);
    assert_eq!(code, Some(0), "{out}{err}");
    let (code, report) = examined(&place);
    let checks: Vec<&Value> = report["sections"]
        .as_array()
        .into_iter()
        .flatten()
        .flat_map(|section| section["checks"].as_array().into_iter().flatten())
        .collect();
    let failed: Vec<&&Value> = checks.iter().filter(|check| check["outcome"] == "failed").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!((code, &report["passed"], &report["runs_in"]), (Some(0), &true.into(), &"Kubernetes".into()));
    assert_eq!(report["figures"][3]["ours"], "100 % (20 of 20)");
    let passed =
        |name: &str| checks.iter().any(|check| check["name"] == name && check["outcome"] == "passed");
    for name in [
        "no message crosses to another session",
        "other sessions are out of reach",
        "the API server is out of reach from inside",
        "memory beyond the limit is refused",
        "nothing is left after SIGKILL",
        "no pod is left once a berth has looked",
    ] {
        assert!(passed(name), "{name}: {checks:#?}");
    }
    assert!(place.pods().is_empty(), "{:?}", place.pods());
}

#[test]
#[ignore = "needs a cluster"]
fn the_doctor_tells_of_the_cluster_and_of_no_daemon_that_nobody_needs() {
    let place = Place::new("doctor");
    let (_, out, err) = place.says(&["doctor", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}"));
    let lines = report["lines"].as_array().expect("lines");
    let state = |name: &str| lines.iter().find(|line| line["name"] == name).map(|line| line["state"].clone());
    assert_eq!(state("cluster"), Some("ok".into()), "{report:#}");
    assert_eq!(state("namespace"), Some("ok".into()), "{report:#}");
    assert_eq!(state("ground"), Some("warning".into()), "`up` has not run: {report:#}");
    assert_eq!(state("daemon"), Some("not_applicable".into()), "{report:#}");
    drop(place);
    let absent = Place::new("doctor-absent").within("t-absent-for-ever");
    let (code, out, _) = absent.says(&["doctor"]);
    assert_eq!(code, Some(69), "{out}");
    let said = ["namespace `t-absent-for-ever`", "it is not there", "next: berth kubernetes up"];
    assert!(said.iter().all(|said| out.contains(said)), "{out}");
}
