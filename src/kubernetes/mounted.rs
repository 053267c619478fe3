//! What a server's `volumes` are called in a cluster, and how its pod has them.

use mcp_berth::config::Volume;
use mcp_berth::dock::spec::Spec;
use mcp_berth::human::hex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// Of whatever the volume has in it, where no setting says whose that is.
const SOME_GROUP: i64 = 1000;

/// What the claim of a volume is called. No two volumes are called alike.
pub(crate) fn claim(volume: &Volume, client: &str) -> String {
    if volume.claim {
        return volume.name.clone();
    }
    let whose = (!volume.shared).then_some(client);
    let hash = hex(&Sha256::digest(json!([whose, volume.name]).to_string())[..5]);
    // As a part of a name in a cluster; the hash tells apart what looks alike then.
    let readable = |text: &str| {
        let words = text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
        words.collect::<Vec<_>>().join("-").to_ascii_lowercase().chars().take(20).collect::<String>()
    };
    let parts = ["berth-data", &readable(whose.unwrap_or_default()), &readable(&volume.name), &hash];
    parts
        .iter()
        .map(|part| part.trim_matches('-'))
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("-")
}

/// Puts the volumes of a server into its pod, whose user may be known.
pub(crate) fn mount(spec: &Spec, user: Option<(i64, Option<i64>)>, pod: &mut Value) {
    let volumes = &spec.server.settings.volumes;
    if volumes.is_empty() {
        return;
    }
    for (number, volume) in volumes.iter().enumerate() {
        let name = format!("volume-{number}");
        let source = json!({ "claimName": claim(volume, &spec.client) });
        let mount = json!({ "name": name, "mountPath": volume.target, "readOnly": !volume.writable });
        for (list, item) in [
            ("/volumes", json!({ "name": name, "persistentVolumeClaim": source })),
            ("/containers/0/volumeMounts", mount),
        ] {
            if let Some(list) = pod.pointer_mut(list).and_then(Value::as_array_mut) {
                list.push(item);
            }
        }
    }
    // A new volume is root's. Its group may write it, and the server is in that.
    let group = user.map(|(user, group)| group.unwrap_or(user));
    pod["securityContext"]["fsGroup"] = group.filter(|group| *group != 0).unwrap_or(SOME_GROUP).into();
    pod["securityContext"]["fsGroupChangePolicy"] = "OnRootMismatch".into();
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mcp_berth::config::Server;

    use super::*;
    use crate::fake;
    use crate::pod::numbers;

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    fn spec(volumes: &[&str]) -> Spec {
        let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        server.settings.volumes = volumes.iter().map(|text| volume(text)).collect();
        Spec::new(server, "codex", "s")
    }

    #[test]
    fn no_two_volumes_are_called_alike_and_each_name_is_a_clusters() {
        let names = [
            ("memory:/d", "claude"),
            ("Memory:/d", "claude"),
            ("code_memory:/d", "claude"),
            ("memory:/d", "claude-code"),
            ("memory:/d", "codex"),
            ("memory:/d:shared", "codex"),
            ("codex_memory:/d:shared", "x"),
            ("codex-memory:/d:shared", "x"),
            ("a_very.long-name-that-is-cut-somewhere-in-it-for-a-cluster:/d", "claude-code-in-a-container"),
            ("a_very.long-name-that-is-cut-somewhere-in-it-for-b-cluster:/d", "claude-code-in-a-container"),
        ]
        .map(|(text, client)| claim(&volume(text), client));
        let different: BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        let is_name = |name: &&String| {
            name.len() <= 63
                && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
                && !name.ends_with('-')
        };
        assert!(names.iter().all(|name| is_name(&name)), "{names:?}");
        assert!(names[4].starts_with("berth-data-codex-memory-"), "{}", names[4]);
        assert_eq!(names[5], claim(&volume("memory:/x:shared,ro"), "another"));
        assert_eq!(claim(&volume("team.work:/d:claim"), "codex"), "team.work");
    }

    #[test]
    fn a_pod_has_its_volumes_and_a_group_that_may_write_them() {
        let pod = |volumes: &[&str], user: Option<&str>| {
            let mut pod = json!({ "volumes": [], "containers": [{ "volumeMounts": [] }] });
            mount(&spec(volumes), user.and_then(numbers), &mut pod);
            pod
        };
        let found = pod(&["memory:/data", "work:/work:claim,ro"], Some("1000:1001"));
        let own = claim(&volume("memory:/data"), "codex");
        assert_eq!(
            found["volumes"],
            json!([
                { "name": "volume-0", "persistentVolumeClaim": { "claimName": own } },
                { "name": "volume-1", "persistentVolumeClaim": { "claimName": "work" } },
            ])
        );
        assert_eq!(
            found["containers"][0]["volumeMounts"],
            json!([
                { "name": "volume-0", "mountPath": "/data", "readOnly": false },
                { "name": "volume-1", "mountPath": "/work", "readOnly": true },
            ])
        );
        let group = |user| pod(&["memory:/data"], user)["securityContext"]["fsGroup"].clone();
        assert_eq!(
            [Some("7:8"), Some("7"), Some("0:0"), None].map(group),
            [8, 7, 1000, 1000].map(Value::from)
        );
        assert_eq!(pod(&[], Some("7")).get("securityContext"), None);
    }
}
