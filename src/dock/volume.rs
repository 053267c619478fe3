//! Volumes that outlive their sessions: their names, and their owners.

pub(super) mod enter;
pub mod import;
pub mod whole;

use serde_json::{Value, json};

use super::labels::{self, LABEL_CLIENT, LABEL_VOLUME};
use super::protocol::volumes;
use crate::config::{Settings, Volume};

/// The volumes that a server may write.
pub(super) fn written(settings: &Settings) -> impl Iterator<Item = &Volume> {
    settings.volumes.iter().filter(|volume| volume.writable)
}

/// The keeper's option by which its session has it.
pub(super) fn lock(volume: &Volume) -> &'static str {
    if volume.concurrent { volumes::LOCK_TOGETHER } else { volumes::LOCK }
}

/// What the daemon calls a volume. No client's name has a `_`, so no two are called alike.
pub(super) fn name(volume: &Volume, client: &str) -> String {
    if volume.shared {
        format!("berth-data_{}", volume.name)
    } else {
        format!("berth-data-{client}_{}", volume.name)
    }
}

/// The volume in `Mounts` of the container; the daemon makes it where there is none.
pub(super) fn mount(volume: &Volume, client: &str) -> Value {
    let (label, value) = labels::managed_by();
    let mut labels = json!({ label: value, LABEL_VOLUME: volume.name });
    if !volume.shared {
        labels[LABEL_CLIENT] = client.into();
    }
    json!({
        "Type": "volume", "Source": name(volume, client), "Target": volume.target, "ReadOnly": !volume.writable,
        "VolumeOptions": { "Labels": labels },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(text: &str) -> Volume {
        text.parse().unwrap()
    }

    #[test]
    fn no_two_volumes_are_called_alike() {
        let names = [
            ("memory:/d", "claude"),
            ("code_memory:/d", "claude"),
            ("memory:/d", "claude-code"),
            ("memory:/d", "codex"),
            ("other:/d", "codex"),
            ("memory:/d:shared", "codex"),
            ("codex_memory:/d:shared", "x"),
        ]
        .map(|(text, client)| name(&volume(text), client));
        let different: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(different.len(), names.len(), "{names:?}");
        assert_eq!(names[0], "berth-data-claude_memory");
        let shared = name(&volume("memory:/d:shared"), "another");
        assert_eq!(shared, names[5]);
    }

    #[test]
    fn one_session_has_a_volume_unless_several_may() {
        let locks = ["memory:/d", "memory:/d:concurrent"].map(|text| lock(&volume(text)));
        assert_eq!(locks, ["--lock", "--lock-together"]);
    }

    #[test]
    fn a_volume_says_whose_it_is() {
        let own = mount(&volume("memory:/data"), "codex");
        assert_eq!((&own["Source"], &own["ReadOnly"]), (&json!("berth-data-codex_memory"), &json!(false)));
        let labels = &own["VolumeOptions"]["Labels"];
        assert_eq!((&labels[LABEL_CLIENT], &labels[LABEL_VOLUME]), (&json!("codex"), &json!("memory")));
        assert_eq!(own["VolumeOptions"].get("NoCopy"), None, "what the image has there is its beginning");
        let shared = mount(&volume("memory:/data:shared,ro"), "codex");
        assert_eq!(
            (&shared["VolumeOptions"]["Labels"][LABEL_CLIENT], &shared["ReadOnly"]),
            (&Value::Null, &json!(true))
        );
    }
}
