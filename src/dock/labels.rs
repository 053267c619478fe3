//! The labels by which berth's containers and volumes are found again. They are set at creation and never change;
//! what changes is a container's name.

pub const LABEL_MANAGED_BY: &str = "io.mcp-berth.managed-by";
pub const LABEL_CLIENT: &str = "io.mcp-berth.client";
pub const LABEL_SERVER: &str = "io.mcp-berth.server";
pub const LABEL_SESSION: &str = "io.mcp-berth.session";
pub const LABEL_SPEC: &str = "io.mcp-berth.spec";
pub const LABEL_VERSION: &str = "io.mcp-berth.version";
pub const LABEL_CREATED: &str = "io.mcp-berth.created";
/// What the client calls its own session (`CLAUDE_CODE_SESSION_ID`), where it says.
pub const LABEL_CLIENT_SESSION: &str = "io.mcp-berth.client-session";
/// What the person calls a volume.
pub const LABEL_VOLUME: &str = "io.mcp-berth.volume";
/// The same of a volume in which `berth restore` makes the content that is to come into that one.
pub const LABEL_STAGING: &str = "io.mcp-berth.staging";
/// The folder that the client works in, where it is known.
pub const LABEL_PROJECT: &str = "io.mcp-berth.project";
/// What stands between the server and the daemon's kernel.
pub const LABEL_ISOLATION: &str = "io.mcp-berth.isolation";
/// Folders in which the container has names reserved (`reserved.rs`).
pub const LABEL_RESERVED: &str = "io.mcp-berth.reserved";

/// Where the home is of a DinD daemon's container ([`machine`] and folder); also what a person is told.
pub const LABEL_HOME: &str = "io.mcp-berth.home";
/// The fingerprint of that home's certificate authority.
pub const LABEL_AUTHORITY: &str = "io.mcp-berth.authority";
/// What a container installs the package of a baked image for.
pub const LABEL_BAKE: &str = "io.mcp-berth.bake";

/// The package of a baked image.
pub const LABEL_PACKAGE: &str = "io.mcp-berth.package";

/// The name of this machine, as labels and notes tell it; empty where the kernel does not say.
pub fn machine() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default().trim().to_owned()
}

/// The labels by which containers are told apart. A container has its image's labels, too, where it has none of that name.
const OF_CONTAINERS: [&str; 14] = [
    LABEL_MANAGED_BY,
    LABEL_CLIENT,
    LABEL_SERVER,
    LABEL_SESSION,
    LABEL_SPEC,
    LABEL_VERSION,
    LABEL_CREATED,
    LABEL_CLIENT_SESSION,
    LABEL_PROJECT,
    LABEL_ISOLATION,
    LABEL_RESERVED,
    LABEL_HOME,
    LABEL_AUTHORITY,
    LABEL_BAKE,
];

/// The labels of a container: these, and all others of berth's empty, so that no image can say them.
pub fn of_container(said: &[(&str, &str)]) -> serde_json::Map<String, serde_json::Value> {
    let empty = OF_CONTAINERS.iter().map(|key| (*key, ""));
    empty.chain(said.iter().copied()).map(|(key, value)| (key.to_owned(), value.into())).collect()
}

/// The label that everything of berth's in a daemon carries.
pub fn managed_by() -> (String, String) {
    (LABEL_MANAGED_BY.to_owned(), "berth".to_owned())
}

/// The same, as a filter of the Engine API.
pub fn managed_by_filter() -> String {
    format!("{LABEL_MANAGED_BY}=berth")
}

/// What the name of a container on standby ends with.
pub const STANDBY: &str = ".standby";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_said_to_be_nothing() {
        let labels = of_container(&[(LABEL_CLIENT, "codex"), ("other", "1")]);
        assert_eq!((&labels[LABEL_CLIENT], &labels["other"]), (&"codex".into(), &"1".into()));
        for key in OF_CONTAINERS.into_iter().filter(|key| *key != LABEL_CLIENT) {
            assert_eq!(labels[key], "", "{key}");
        }
    }
}
