//! Volumes that outlive their sessions: their names, and their owners.

pub(super) mod enter;
pub mod held;
pub mod import;
pub mod staging;
pub mod whole;

use serde_json::{Value, json};

use super::labels::{self, LABEL_CLIENT, LABEL_STAGING, LABEL_VOLUME};
use super::protocol::volumes;
use crate::config::{Settings, Volume};

/// What a container has its volumes for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Purpose {
    /// For a server, or to be read.
    #[default]
    Use,
    /// To get other content.
    Restore,
    /// In their place it has those in which that content is made, which no session uses.
    Staging,
}

/// The volumes that a server may write.
pub(super) fn written(settings: &Settings) -> impl Iterator<Item = &Volume> {
    settings.volumes.iter().filter(|volume| volume.writable)
}

/// The keeper's option by which its session has it.
pub(super) fn lock(volume: &Volume, purpose: Purpose) -> &'static str {
    match purpose {
        Purpose::Use if volume.concurrent => volumes::LOCK_TOGETHER,
        Purpose::Use => volumes::LOCK,
        Purpose::Restore | Purpose::Staging => volumes::LOCK_TO_RESTORE,
    }
}

/// What the daemon calls a volume. No client's name has a `_`, so no two are called alike.
pub(super) fn name(volume: &Volume, client: &str) -> String {
    named("berth-data", volume, client)
}

fn named(begin: &str, volume: &Volume, client: &str) -> String {
    if volume.shared {
        format!("{begin}_{}", volume.name)
    } else {
        format!("{begin}-{client}_{}", volume.name)
    }
}

/// The same of the volume in which its other content is made.
fn staging_name(volume: &Volume, client: &str) -> String {
    named("berth-staging", volume, client)
}

/// The volume in `Mounts` of the container; the daemon makes it where there is none.
pub(super) fn mount(volume: &Volume, client: &str, purpose: Purpose) -> Value {
    let (label, value) = labels::managed_by();
    let (source, named) = match purpose {
        Purpose::Use | Purpose::Restore => (name(volume, client), LABEL_VOLUME),
        Purpose::Staging => (staging_name(volume, client), LABEL_STAGING),
    };
    let mut labels = json!({ label: value, named: volume.name });
    if !volume.shared {
        labels[LABEL_CLIENT] = client.into();
    }
    let mut mount = json!({
        "Type": "volume", "Source": source, "Target": volume.target, "ReadOnly": !volume.writable,
        "VolumeOptions": { "Labels": labels },
    });
    if purpose != Purpose::Use {
        mount["VolumeOptions"]["NoCopy"] = true.into();
    }
    mount
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
    fn no_session_has_the_volume_in_which_other_content_is_made() {
        let staging = mount(&volume("memory:/data"), "codex", Purpose::Staging);
        let labels = &staging["VolumeOptions"]["Labels"];
        assert_eq!(staging["Source"], "berth-staging-codex_memory");
        assert_eq!((&labels[LABEL_STAGING], &labels[LABEL_VOLUME]), (&json!("memory"), &Value::Null));
        assert_eq!(lock(&volume("memory:/data:concurrent"), Purpose::Restore), "--lock-to-restore");
    }

    #[test]
    fn one_session_has_a_volume_unless_several_may() {
        let locks = ["memory:/d", "memory:/d:concurrent"].map(|text| lock(&volume(text), Purpose::Use));
        assert_eq!(locks, ["--lock", "--lock-together"]);
    }

    #[test]
    fn a_volume_says_whose_it_is() {
        let own = mount(&volume("memory:/data"), "codex", Purpose::Use);
        assert_eq!((&own["Source"], &own["ReadOnly"]), (&json!("berth-data-codex_memory"), &json!(false)));
        let labels = &own["VolumeOptions"]["Labels"];
        assert_eq!((&labels[LABEL_CLIENT], &labels[LABEL_VOLUME]), (&json!("codex"), &json!("memory")));
        assert_eq!(own["VolumeOptions"].get("NoCopy"), None, "what the image has there is its beginning");
        let shared = mount(&volume("memory:/data:shared,ro"), "codex", Purpose::Use);
        assert_eq!(
            (&shared["VolumeOptions"]["Labels"][LABEL_CLIENT], &shared["ReadOnly"]),
            (&Value::Null, &json!(true))
        );
    }
}
