//! Who the client is. Self-reported: it chooses names and labels, never privileges.

/// The name of a client that says nothing of itself.
const UNKNOWN: &str = "unknown";

/// Names stand in container names, beside `mcp-` and a number.
const MAX_LENGTH: usize = 40;

/// A client's name as containers and labels carry it: lower case, `a-z 0-9 . -`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client(String);

impl Client {
    /// What `--client` or `clientInfo.name` says, made fit for a container's name.
    pub fn new(name: &str) -> Self {
        let mut fit = String::with_capacity(name.len());
        for c in name.to_lowercase().chars() {
            match c {
                'a'..='z' | '0'..='9' | '.' => fit.push(c),
                _ if fit.ends_with('-') => {}
                _ => fit.push('-'),
            }
        }
        let fit: String = fit.trim_matches(['-', '.']).chars().take(MAX_LENGTH).collect();
        Self(match fit.trim_end_matches(['-', '.']) {
            "" => UNKNOWN.into(),
            "codex-mcp-client" => "codex".into(),
            fit => fit.into(),
        })
    }

    /// What is known before the client's first message: `--client`, or the environment that it gave us.
    pub fn from_start(flag: Option<&str>, variable: impl Fn(&str) -> Option<String>) -> Option<Self> {
        if let Some(name) = flag {
            return Some(Self::new(name));
        }
        let claude = variable("CLAUDECODE").is_some_and(|value| value == "1")
            || variable("CLAUDE_CODE_SESSION_ID").is_some_and(|value| !value.is_empty());
        claude.then(|| Self::new("claude-code"))
    }

    /// What the first message says, if anything.
    pub fn from_message(client_info_name: Option<&str>) -> Self {
        Self::new(client_info_name.unwrap_or(UNKNOWN))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_fits_a_container_whatever_the_client_says() {
        for (said, expected) in [
            ("claude-code", "claude-code"),
            ("codex-mcp-client", "codex"),
            ("Visual Studio Code", "visual-studio-code"),
            ("../../etc", "etc"),
            ("a/b\nc\0d", "a-b-c-d"),
            ("…", "unknown"),
            ("", "unknown"),
            (".-.", "unknown"),
            (&"x".repeat(100), &"x".repeat(40)),
        ] {
            assert_eq!(Client::new(said).as_str(), expected, "{said:?}");
        }
    }

    #[test]
    fn the_flag_goes_before_the_environment_and_both_before_the_message() {
        let claude = |name: &str| (name == "CLAUDECODE").then(|| "1".to_owned());
        let nothing = |_: &str| None;
        assert_eq!(Client::from_start(Some("ci"), claude), Some(Client::new("ci")));
        assert_eq!(Client::from_start(None, claude), Some(Client::new("claude-code")));
        assert_eq!(Client::from_start(None, nothing), None);
        assert_eq!(Client::from_message(Some("codex-mcp-client")).as_str(), "codex");
    }
}
