use mcp_berth::dock::owner::Owner;
use mcp_berth::dock::roster::State;
use mcp_berth::values::Isolation;

use super::*;
use crate::metrics::families::{ALL, Family};

fn entry(id: &str, server: &str, state: State, running: bool) -> Entry {
    Entry {
        id: id.to_owned(),
        name: String::new(),
        client: "codex".to_owned(),
        server: server.to_owned(),
        spec: String::new(),
        owner: Owner::default(),
        way: None,
        isolation: Isolation::default(),
        user: String::new(),
        state,
        running,
        created: 0,
        list: None,
        place: None,
    }
}

fn usage(mib: u64, used: u64) -> Usage {
    Usage { memory_bytes: mib << 20, cpu_percent: 0.0, cpu_total: Duration::from_secs(used), pids: 3 }
}

fn value(tally: &Tally, family: &Family, labels: &[&str]) -> Option<f64> {
    let labels = labels.iter().map(|label| (*label).to_owned()).collect();
    tally.get(family, &labels).map(|value| value.sum)
}

#[tokio::test(start_paused = true)]
async fn containers_are_summed_by_server() {
    let mut processors = Processors::default();
    let containers = |used| {
        vec![
            (entry("a", "files", State::Active, true), Some(usage(10, used))),
            (entry("b", "files", State::Active, true), Some(usage(20, used))),
            (entry("c", "files", State::Standby, true), Some(usage(5, 0))),
            (entry("d", "time", State::Active, false), None),
        ]
    };
    let first = sums(&containers(1), Bounds::default(), &mut processors, Instant::now());
    assert_eq!(value(&first, &CPU, &["files"]), None, "one look tells no difference");
    tokio::time::advance(Duration::from_secs(10)).await;
    let second = sums(&containers(6), Bounds::default(), &mut processors, Instant::now());
    for (family, labels, expected) in [
        (&CONTAINERS, &["files", "active"][..], 2.0),
        (&CONTAINERS, &["files", "standby"], 1.0),
        (&CONTAINERS, &["time", "stopped"], 1.0),
        (&MEMORY, &["files"], f64::from(35 << 20)),
        (&PIDS, &["files"], 9.0),
        (&CPU, &["files"], 1.0),
    ] {
        assert_eq!(value(&second, family, labels), Some(expected), "{family:?}");
    }
    assert_eq!(value(&second, &MEMORY, &["time"]), None);
}

#[test]
fn the_disk_is_told_by_kind() {
    let usage = serde_json::json!({
        "LayersSize": 100,
        "Volumes": [{ "UsageData": { "Size": 7 } }, { "UsageData": { "Size": -1 } }, { "UsageData": null }],
        "Containers": [{ "SizeRw": 3 }, {}],
        "BuildCache": null,
    });
    let expected = [("images", 100), ("volumes", 7), ("containers", 3), ("build_cache", 0)];
    assert_eq!(disk_by_kind(&usage), expected);
}

#[tokio::test(start_paused = true)]
async fn of_a_daemon_that_is_down_its_certificates_alone_are_told() {
    let samples = Samples::default();
    let told = |samples: &Samples| {
        let now = samples.now();
        let number = ALL.iter().map(|family| now.of(family).count()).sum::<usize>();
        (value(&now, &DAEMON_UP, &[]).unwrap(), number)
    };
    assert_eq!(told(&samples), (0.0, 1));
    let mut processors = Processors::default();
    let containers = [(entry("a", "files", State::Active, true), Some(usage(10, 1)))];
    let seen = sums(&containers, Bounds::default(), &mut processors, Instant::now());
    let mut disk = Tally::default();
    disk.add(&DISK, vec!["images".to_owned()], 1.0);
    disk.add(&CERTIFICATE, vec!["client".to_owned()], DAY);
    keep(&samples.containers, Some(seen.clone()));
    keep(&samples.disk, Some(disk));
    assert_eq!(told(&samples), (1.0, 6));
    // A look that hangs tells nothing new for ever.
    tokio::time::advance(STALE).await;
    assert_eq!(told(&samples), (0.0, 2));
    keep(&samples.containers, Some(seen));
    assert_eq!(told(&samples), (1.0, 6));
    keep(&samples.containers, None);
    assert_eq!(told(&samples), (0.0, 2));
}
