//! What the client hears first: one answer for all members of a session.

use bytes::Bytes;
use serde_json::{Map, Value, json};

use crate::catalogue::Hello;

/// What clients keep of a server's instructions (characters).
const INSTRUCTIONS: usize = 2048;

/// Which revisions a message belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Era {
    /// Up to 2025-11-25: a session begins with `initialize`.
    #[default]
    Legacy,
    /// Since 2026-07-28: each request says its own revision.
    Modern,
}

/// What a member's first answer says.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Said {
    pub(super) capabilities: Map<String, Value>,
    /// The revision that it chose, or those that it supports.
    pub(super) revisions: Vec<String>,
    pub(super) instructions: Option<String>,
    pub(super) ttl_ms: Option<u64>,
    pub(super) is_private: bool,
}

impl Said {
    pub(super) fn of(hello: &Hello) -> Self {
        let (Hello::Initialize(result) | Hello::Discover(result)) = hello else { return Self::default() };
        Self::of_result(result)
    }

    fn of_result(result: &Bytes) -> Self {
        let Ok(mut result) = serde_json::from_slice::<Value>(result) else { return Self::default() };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let revisions = match result["supportedVersions"].as_array() {
            Some(supported) => supported.iter().filter_map(text).collect(),
            None => text(&result["protocolVersion"]).into_iter().collect(),
        };
        let capabilities = match result["capabilities"].take() {
            Value::Object(capabilities) => capabilities,
            _ => Map::new(),
        };
        Self {
            capabilities,
            revisions,
            instructions: text(&result["instructions"]).filter(|text| !text.trim().is_empty()),
            ttl_ms: result["ttlMs"].as_u64(),
            is_private: result["cacheScope"] == "private",
        }
    }

    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities.get(capability).is_some_and(|value| !value.is_null() && *value != false)
    }
}

/// The revision of a session: the client's own if any member speaks it, else the oldest that a member chose, for newer members
/// mostly know it, too.
pub(super) fn revision(asked: &str, members: &[Said]) -> String {
    let mut chosen: Vec<&str> =
        members.iter().filter_map(|said| said.revisions.first()).map(String::as_str).collect();
    chosen.sort_unstable();
    if chosen.is_empty() || chosen.contains(&asked) {
        return asked.to_owned();
    }
    chosen[0].to_owned()
}

/// What any member can, the session can; and it tells of changes to its lists itself.
pub(super) fn capabilities(members: &[Said], all_have_told: bool, has_more_resources: bool) -> Value {
    let mut all = Map::new();
    for said in members {
        merge(&mut all, &said.capabilities);
    }
    all.entry("tools").or_insert_with(|| json!({}));
    // What a member that has told nothing yet may have.
    if !all_have_told {
        all.entry("prompts").or_insert_with(|| json!({}));
    }
    if !all_have_told || has_more_resources {
        all.entry("resources").or_insert_with(|| json!({}));
    }
    for list in ["tools", "prompts", "resources"] {
        if let Some(Value::Object(capability)) = all.get_mut(list) {
            capability.insert("listChanged".to_owned(), true.into());
        }
    }
    Value::Object(all)
}

fn merge(into: &mut Map<String, Value>, from: &Map<String, Value>) {
    for (key, value) in from {
        match (into.get_mut(key), value) {
            (None, value) => drop(into.insert(key.clone(), value.clone())),
            (Some(Value::Object(into)), Value::Object(from)) => merge(into, from),
            (Some(present @ Value::Bool(false)), value) => *present = value.clone(),
            _ => {}
        }
    }
}

/// Instructions of all members in one text, and those that had to be cut.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Instructions {
    pub(super) text: String,
    /// Whose whole instructions are to be a resource.
    pub(super) cut: Vec<usize>,
}

/// Where the whole instructions of a member stand.
pub(super) fn instructions_uri(label: &str) -> String {
    format!("berth://instructions/{label}")
}

/// Gives each member its share of what clients keep; who needs less leaves the rest to the others.
pub(super) fn instructions<'a>(
    members: impl Iterator<Item = (usize, &'a str, Option<&'a str>)>,
) -> Instructions {
    let mut parts: Vec<(usize, String, &str)> = Vec::new();
    for (member, label, text) in members {
        if let Some(text) = text {
            parts.push((member, format!("# {label}\n"), text.trim()));
        }
    }
    let length = |text: &str| text.chars().count();
    let between = parts.len().saturating_sub(1) * 2;
    let mut left = INSTRUCTIONS.saturating_sub(between);
    let mut order: Vec<usize> = (0..parts.len()).collect();
    order.sort_by_key(|&part| length(parts[part].2));
    let mut shares = vec![0; parts.len()];
    for (done, &part) in order.iter().enumerate() {
        let share = left / (parts.len() - done);
        let (_, title, text) = &parts[part];
        shares[part] = (length(title) + length(text)).min(share);
        left -= shares[part];
    }
    let mut all = Instructions::default();
    let mut texts = Vec::new();
    for ((member, title, text), share) in parts.into_iter().zip(shares) {
        let whole = format!("{title}{text}");
        if length(&whole) <= share {
            texts.push(whole);
            continue;
        }
        all.cut.push(member);
        let label = title.trim_start_matches("# ").trim();
        let end = format!("… ({})", instructions_uri(label));
        let kept = share.saturating_sub(length(&end));
        texts.push(whole.chars().take(kept).chain(end.chars()).take(share).collect());
    }
    all.text = texts.join("\n\n");
    all
}

/// The `result` of `initialize`, for `all` members of whom these have told.
pub(super) fn initialized(asked: &str, members: &[Said], all: usize, instructions: &Instructions) -> Value {
    let mut result = json!({
        "protocolVersion": revision(asked, members),
        "capabilities": capabilities(members, members.len() == all, !instructions.cut.is_empty()),
        "serverInfo": info(),
    });
    if !instructions.text.is_empty() {
        result["instructions"] = instructions.text.clone().into();
    }
    result
}

/// The `result` of `server/discover`, where all members speak its revisions.
pub(super) fn discovered(members: &[Said], instructions: &Instructions) -> Value {
    let mut revisions: Vec<&String> =
        members.first().map(|first| first.revisions.iter().collect()).unwrap_or_default();
    revisions.retain(|revision| members.iter().all(|said| said.revisions.contains(revision)));
    let mut result = json!({
        "resultType": "complete",
        "supportedVersions": revisions,
        "capabilities": capabilities(members, true, !instructions.cut.is_empty()),
        "_meta": { "io.modelcontextprotocol/serverInfo": info() },
    });
    keep_for(
        &mut result,
        members.iter().filter_map(|said| said.ttl_ms).min(),
        members.iter().any(|said| said.is_private),
    );
    if !instructions.text.is_empty() {
        result["instructions"] = instructions.text.clone().into();
    }
    result
}

/// How long a result of the new era may be kept, and for whom.
pub(super) fn keep_for(result: &mut Value, ttl_ms: Option<u64>, is_private: bool) {
    result["ttlMs"] = ttl_ms.unwrap_or_default().into();
    result["cacheScope"] = if is_private { "private" } else { "public" }.into();
}

fn info() -> Value {
    json!({ "name": "berth", "version": env!("CARGO_PKG_VERSION") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(result: &Value) -> Said {
        Said::of(&Hello::Initialize(result.to_string().into()))
    }

    #[test]
    fn the_client_has_its_own_revision_where_anybody_speaks_it() {
        let of = |revision: &str| said(&json!({ "protocolVersion": revision }));
        let both = [of("2025-03-26"), of("2025-11-25")];
        assert_eq!(revision("2025-11-25", &both), "2025-11-25");
        assert_eq!(revision("2026-01-01", &both), "2025-03-26");
        assert_eq!(revision("2025-06-18", &[]), "2025-06-18");
    }

    #[test]
    fn capabilities_are_those_of_all_together() {
        let one =
            said(&json!({ "capabilities": { "tools": {}, "resources": { "subscribe": false }, "x": 1 } }));
        let other = said(&json!({ "capabilities": { "resources": { "subscribe": true }, "logging": {} } }));
        assert_eq!(
            capabilities(&[one, other], true, false),
            json!({
                "tools": { "listChanged": true },
                "resources": { "subscribe": true, "listChanged": true },
                "x": 1, "logging": {},
            })
        );
        assert_eq!(capabilities(&[], true, true)["resources"]["listChanged"], true);
        let unknown = capabilities(&[], false, false);
        assert!(["tools", "prompts", "resources"].iter().all(|list| unknown[list]["listChanged"] == true));
    }

    #[test]
    fn instructions_share_what_clients_keep_and_who_needs_less_leaves_it() {
        let long = "x".repeat(3000);
        let members = [
            (0, "a", Some("Short.")),
            (1, "b", None),
            (2, "c", Some(long.as_str())),
            (3, "d", Some(long.as_str())),
        ];
        let all = instructions(members.into_iter());
        assert_eq!(all.text.chars().count(), INSTRUCTIONS, "{}", all.text.len());
        assert!(all.text.starts_with("# a\nShort.\n\n# c\nxxx"), "{}", &all.text[..40]);
        assert_eq!(all.cut, [2, 3]);
        assert!(all.text.ends_with("… (berth://instructions/d)"));
        let shares: Vec<usize> = all.text.split("\n\n").map(|part| part.chars().count()).collect();
        assert!(shares[1].abs_diff(shares[2]) <= 1, "{shares:?}");
        assert_eq!(
            instructions([(0, "a", Some("One.")), (1, "b", Some("Two."))].into_iter()),
            Instructions { text: "# a\nOne.\n\n# b\nTwo.".to_owned(), cut: Vec::new() }
        );
    }

    #[test]
    fn discover_offers_what_all_members_support() {
        let of = |versions: &Value, ttl: u64, scope: &str| {
            let result = json!({ "supportedVersions": versions, "ttlMs": ttl, "cacheScope": scope, "capabilities": {} });
            Said::of(&Hello::Discover(result.to_string().into()))
        };
        let members =
            [of(&json!(["2026-07-28", "x"]), 500, "public"), of(&json!(["2026-07-28"]), 20, "private")];
        let result = discovered(&members, &Instructions::default());
        assert_eq!(result["supportedVersions"], json!(["2026-07-28"]));
        assert_eq!((&result["ttlMs"], &result["cacheScope"]), (&json!(20), &json!("private")));
    }
}
