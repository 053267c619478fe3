//! What a pod needs for ports at its own loopback (`ports.rs`): names that lead there, and the right to listen.

use std::collections::BTreeSet;

use mcp_berth::config::Settings;
use mcp_berth::dock::peers::service_names;
use serde_json::{Value, json};

const LOOPBACK: &str = "127.0.0.1";
/// Ports below are root's alone, unless the pod's own kernel setting says another.
const FIRST_FREE: u16 = 1024;
/// Any of them, for any user: one of the settings that the profile `restricted` lets a pod have.
const UNPRIVILEGED: &str = "net.ipv4.ip_unprivileged_port_start";

/// What a pod's object needs for them.
pub(super) fn prepare(pod: &mut Value, settings: &Settings) {
    let names: BTreeSet<String> = service_names(settings).collect();
    if !names.is_empty() {
        pod["hostAliases"] = json!([{ "ip": LOOPBACK, "hostnames": names }]);
    }
    if settings.host_services.iter().any(|service| service.port < FIRST_FREE) {
        pod["securityContext"]["sysctls"] = json!([{ "name": UNPRIVILEGED, "value": "0" }]);
    }
}

/// A name that a pod cannot have.
pub(super) fn misnamed(settings: &Settings) -> Option<&str> {
    let part = |part: &str| !part.contains('_') && !part.ends_with('-');
    let mut names = settings.host_services.iter().filter_map(|service| service.name.as_deref());
    names.find(|name| !name.split('.').all(part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake;

    fn settings(services: &[&str]) -> Settings {
        let mut settings = fake::settings();
        settings.host_services = services.iter().map(|service| service.parse().unwrap()).collect();
        settings
    }

    #[test]
    fn a_pod_knows_its_services_by_name_and_may_have_their_ports() {
        let prepared = |services: &[&str]| {
            let mut pod = json!({});
            prepare(&mut pod, &settings(services));
            pod
        };
        assert_eq!(prepared(&[]), json!({}));
        let names = json!(["host.docker.internal", "redis"]);
        let aliases = json!({ "hostAliases": [{ "ip": "127.0.0.1", "hostnames": names }] });
        assert_eq!(prepared(&["redis:6379", "redis:6380"]), aliases);
        let low = prepared(&["80"]);
        assert_eq!(low["securityContext"]["sysctls"][0]["name"], "net.ipv4.ip_unprivileged_port_start");
        let mut with_volume = json!({ "securityContext": { "fsGroup": 1000 } });
        prepare(&mut with_volume, &settings(&["80"]));
        let both = json!({ "fsGroup": 1000, "sysctls": low["securityContext"]["sysctls"] });
        assert_eq!(with_volume["securityContext"], both, "its volumes have their group");
        for name in ["my_db", "a.b-.c"] {
            assert_eq!(misnamed(&settings(&["ok:1", &format!("{name}:5432")])), Some(name));
        }
        assert_eq!(misnamed(&settings(&["5432", "my-db.example:5432"])), None);
    }
}
