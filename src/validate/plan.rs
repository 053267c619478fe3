//! What to examine, and with what: fixed before anything starts.

use std::path::Path;

use crate::config::{Config, Server};
use crate::exam::client::Kind;
use crate::exam::environment::Berth;
use crate::failure::{Code, Failure};
use crate::values::{Backend, Lookup};

/// The examination's subject.
#[derive(Debug, Clone)]
pub struct Plan {
    pub clients: usize,
    /// Of each client.
    pub calls: usize,
    pub server: Server,
    /// How many times as long everything may take as on an ordinary machine.
    pub patience: u32,
    pub berth: Berth,
}

impl Plan {
    /// # Errors
    /// Where there is no such server.
    pub fn new(
        clients: usize,
        calls: usize,
        server: Option<&str>,
        config: &Config,
        config_file: Option<&Path>,
        lookup: Lookup<'_>,
    ) -> Result<Self, Failure> {
        let server = choose(server, config)?;
        let berth = Berth::new(config_file, &server, lookup)?;
        Ok(Self { clients, calls, patience: 1, server, berth })
    }

    /// The clients: claude-code and codex in turns.
    pub fn kinds(&self) -> impl Iterator<Item = Kind> + use<> {
        [Kind::ClaudeCode, Kind::Codex].into_iter().cycle().take(self.clients)
    }
}

/// Whether the server that would be examined runs elsewhere than in a Docker daemon.
pub fn is_elsewhere(server: Option<&str>, config: &Config) -> bool {
    choose(server, config).is_ok_and(|server| server.settings.backend != Backend::Docker)
}

/// The named one, or `everything`, or the first.
fn choose(name: Option<&str>, config: &Config) -> Result<Server, Failure> {
    let name = match name {
        Some(name) => name,
        None if config.servers.contains_key("everything") => "everything",
        None => config.servers.keys().next().map(String::as_str).ok_or_else(|| Failure {
            code: Code::Configuration,
            text: "the configuration has no server to examine".to_owned(),
            next: Some("add a [servers.NAME] with an `image`".to_owned()),
        })?,
    };
    Ok(config.server(name)?.clone())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;

    fn config(text: &str) -> Config {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        Config::parse(text, Path::new("/b/berth.toml"), &home).unwrap()
    }

    fn plan(text: &str, server: Option<&str>) -> Result<Plan, Failure> {
        let config = config(text);
        Plan::new(4, 5, server, &config, None, &|name| (name == "TOKEN").then(|| "t0".to_owned()))
    }

    #[test]
    fn everything_goes_before_the_first_and_a_name_before_both() {
        let both = "[servers.a]\nimage = \"a\"\n[servers.everything]\nimage = \"e\"";
        let chosen = |text, server| plan(text, server).unwrap().server.name;
        assert_eq!(chosen(both, None), "everything");
        assert_eq!(chosen(both, Some("a")), "a");
        assert_eq!(chosen("[servers.b]\nimage = \"b\"\n[servers.a]\nimage = \"a\"", None), "a");
        assert_eq!(plan("", None).unwrap_err().code, Code::Configuration);
        assert_eq!(plan(both, Some("c")).unwrap_err().code, Code::Configuration);
    }

    #[test]
    fn the_server_says_where_it_is_examined() {
        let config =
            config("[servers.here]\nimage = \"a\"\n[servers.there]\nimage = \"a\"\nbackend = \"kubernetes\"");
        assert!(is_elsewhere(Some("there"), &config));
        assert!(!is_elsewhere(Some("here"), &config) && !is_elsewhere(None, &config));
        assert!(!is_elsewhere(Some("nowhere"), &config));
    }

    #[test]
    fn half_of_the_clients_are_claude_code() {
        let mut plan = plan("[servers.a]\nimage = \"a\"", None).unwrap();
        plan.clients = 5;
        assert_eq!(plan.kinds().filter(|kind| *kind == Kind::ClaudeCode).count(), 3);
        assert_eq!(plan.kinds().count(), 5);
    }

    #[test]
    fn each_client_gives_the_environment_that_the_real_one_gives() {
        let plan = plan("[servers.a]\nimage = \"a\"\nenv = { KEY = \"${TOKEN}\" }", None).unwrap();
        let ours = ["HOME", "SECRET", "BERTH_HOME", "TOKEN", "CLAUDECODE", "CLAUDE_CODE_SESSION_ID"];
        let names = |kind| {
            let ours = ours.map(|name| (name.into(), "x".into()));
            let mut given = plan.berth.environment(kind, ours, "s1");
            given.sort();
            given.dedup_by(|a, b| a.0 == b.0);
            given
                .into_iter()
                .map(|(name, value)| format!("{}={}", name.display(), value.display()))
                .collect::<Vec<_>>()
        };
        assert_eq!(names(Kind::Codex), ["BERTH_HOME=x", "HOME=x", "TOKEN=t0"]);
        let claudes =
            ["BERTH_HOME=x", "CLAUDECODE=1", "CLAUDE_CODE_SESSION_ID=s1", "HOME=x", "SECRET=x", "TOKEN=x"];
        assert_eq!(names(Kind::ClaudeCode), claudes);
    }
}
