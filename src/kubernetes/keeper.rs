//! How the keeper comes into a pod: by a config map, which `berth kubernetes up` makes, or by an image that a person names.
//!
//! An image needs a container that runs before the server's, and a kubelet sees the end of that at its next look, once a
//! second. A config map is there as soon as the container is, and needs no registry. Both are out of the server's reach: it
//! has the folder for reading only.

use mcp_berth::config::Kubernetes;
use serde_json::{Value, json};

/// The container that the server runs in. Streams always name it: a pod may have others.
pub(crate) const CONTAINER: &str = "server";
/// The one that brings the keeper before that, where an image has it.
pub(crate) const KEEPER_CONTAINER: &str = "keeper";
/// The program.
pub(crate) const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/pod-keeper"));
/// The config map that holds this very program. Another one has another, so nothing is ever replaced.
pub(crate) const CONFIG_MAP: &str = concat!("berth-keeper-", env!("BERTH_POD_KEEPER_HASH"));
/// Where the keeper is, for all of the pod's processes to read and none to change.
const FOLDER: &str = "/.berth";
/// Its program there.
pub(crate) const KEEPER: &str = "/.berth/keeper";
/// Its name in the folder, in the map, and in an image's root.
pub(crate) const FILE: &str = "keeper";

const VOLUME: &str = "berth";
/// For everybody to read and to run.
const MODE: u32 = 0o555;
/// What a config map holds (bytes).
const MOST: usize = 1 << 20;

/// What brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Keeper {
    ConfigMap,
    Image(String),
}

impl Keeper {
    pub(crate) fn of(settings: &Kubernetes) -> Self {
        match &settings.keeper_image {
            Some(image) => Self::Image(image.clone()),
            // A linker that makes it larger than this gives it by the image alone.
            None if PROGRAM.len() > MOST => Self::Image(settings.keeper_image()),
            None => Self::ConfigMap,
        }
    }

    /// Gives the keeper to the server's container, the only one of a pod's `spec`.
    pub(crate) fn bring(&self, spec: &mut Value) {
        let container = &spec["containers"][0];
        debug_assert_eq!(container["name"], CONTAINER);
        let resources = container["resources"].clone();
        let mount = |read_only| json!([{ "name": VOLUME, "mountPath": FOLDER, "readOnly": read_only }]);
        spec["containers"][0]["volumeMounts"] = mount(true);
        spec["volumes"] = match self {
            Self::ConfigMap => json!([volume()]),
            Self::Image(_) => json!([{ "name": VOLUME, "emptyDir": { "sizeLimit": "16Mi" } }]),
        };
        if let Self::Image(image) = self {
            spec["initContainers"] = json!([{
                "name": KEEPER_CONTAINER,
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "command": ["/keeper", "install", KEEPER],
                "volumeMounts": mount(false),
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "capabilities": { "drop": ["ALL"] },
                    "readOnlyRootFilesystem": true,
                    "runAsNonRoot": true,
                    "runAsUser": 65_534,
                    "seccompProfile": { "type": "RuntimeDefault" },
                },
                // The same: a pod needs what its hungriest container needs, and less would only slow it down.
                "resources": resources,
            }]);
        }
    }

    /// Gives the keeper to a container of a pod's `spec` as `/keeper`, where an image of its own has it.
    pub(crate) fn bring_as_file(&self, spec: &mut Value, container: usize) {
        if *self == Self::ConfigMap {
            append(&mut spec["volumes"], volume());
            append(
                &mut spec["containers"][container]["volumeMounts"],
                json!({ "name": VOLUME, "mountPath": format!("/{FILE}"), "subPath": FILE, "readOnly": true }),
            );
        }
    }
}

fn volume() -> Value {
    json!({ "name": VOLUME, "configMap": { "name": CONFIG_MAP, "defaultMode": MODE } })
}

pub(crate) fn append(list: &mut Value, item: Value) {
    match list.as_array_mut() {
        Some(list) => list.push(item),
        None => *list = json!([item]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_config_map_has_room_for_it() {
        assert!(PROGRAM.len() <= MOST, "{} bytes", PROGRAM.len());
        assert_eq!(Keeper::of(&Kubernetes::default()), Keeper::ConfigMap);
    }

    #[test]
    fn the_server_has_it_for_reading_and_waits_for_no_other_container() {
        let mut spec = json!({ "containers": [{ "name": CONTAINER }] });
        Keeper::ConfigMap.bring(&mut spec);
        let mount = json!([{ "name": "berth", "mountPath": "/.berth", "readOnly": true }]);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        let map = json!({ "name": CONFIG_MAP, "defaultMode": 0o555 });
        assert_eq!(spec["volumes"], json!([{ "name": "berth", "configMap": map }]));
        assert_eq!(spec.get("initContainers"), None);
        Keeper::Image("k".to_owned()).bring(&mut spec);
        assert_eq!(spec["containers"][0]["volumeMounts"], mount);
        assert_eq!(spec["initContainers"][0]["volumeMounts"][0]["readOnly"], false);
    }

    #[test]
    fn an_image_that_is_named_brings_it() {
        let mut settings = Kubernetes::default();
        settings.keeper_image = Some("r/k:1".to_owned());
        assert_eq!(Keeper::of(&settings), Keeper::Image("r/k:1".to_owned()));
        // A registry is for other images, too.
        let mut settings = Kubernetes::default();
        settings.registry = Some("r".to_owned());
        assert_eq!(Keeper::of(&settings), Keeper::ConfigMap);
    }
}
