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
/// The folder that the client works in, where it is known.
pub const LABEL_PROJECT: &str = "io.mcp-berth.project";

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
