//! A server with all that the environment of its client says of it.

use std::fmt;

use super::program::SecretWords;
use super::{Config, ConfigError, EnvVar, Mount, Server};
use crate::docker_cli::Proxies;
use crate::values::{Lookup, MARK, Network, parts};

/// A value of so many bytes stands for itself wherever it is found.
const LONG: usize = 4;

/// A server of one session.
#[derive(Clone)]
pub struct Resolved {
    pub server: Server,
    pub env: Vec<EnvVar>,
    pub mounts: Vec<Mount>,
    /// What of its arguments, and of its proxies' addresses, is secret.
    secrets: Vec<String>,
    /// Its program and its arguments, for people.
    shown: (Vec<String>, Vec<String>),
}

impl fmt::Debug for Resolved {
    /// Its arguments may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resolved").field("server", &self.server.name).finish_non_exhaustive()
    }
}

impl Config {
    /// Finds out all that the client's environment says. `caller`: the user and the group that berth runs as.
    pub fn resolve(
        &self,
        mut server: Server,
        lookup: Lookup<'_>,
        caller: (u32, u32),
    ) -> Result<Resolved, ConfigError> {
        server.check()?;
        server.settle_places(lookup)?;
        self.check_network(&server)?;
        let env = server.resolve_env(lookup)?;
        let SecretWords { mut secrets, command, shown } = server.resolve_args(lookup)?;
        secrets.extend(server.secrets_in_env(lookup));
        let mounts = self.mounts(&server, lookup)?;
        server.settle(caller, server.settings.user.is_none() && self.lends(&mounts));
        Ok(Resolved { server, env, mounts, secrets, shown: (command, shown) })
    }
}

impl Config {
    /// Only the daemon of our own making has a forwarder.
    fn check_network(&self, server: &Server) -> Result<(), ConfigError> {
        let (Network::Allow(_), Some(host)) = (&server.settings.network, &self.dind.host) else {
            return Ok(());
        };
        let name = &server.name;
        let message = format!("server `{name}` cannot have `allow`: the daemon at `{host}` has no forwarder");
        Err(ConfigError::new(message).with_hint(
            "set its `network` to \"egress\" or \"none\", or remove `host` from [dind] and type `berth up`",
        ))
    }
}

impl Resolved {
    /// All that nobody is to read.
    pub fn secrets(&self) -> impl Iterator<Item = String> {
        let of_env = self.env.iter().filter(|var| var.secret).map(|var| var.value.clone());
        of_env.chain(self.secrets.iter().cloned()).flat_map(|secret| parts(&secret))
    }

    /// Has these values hidden wherever they are shown: variables that are just that, and in arguments what is too long to be a
    /// word of theirs by chance.
    pub fn hide(&mut self, values: impl IntoIterator<Item = String>) {
        for value in values {
            for var in self.env.iter_mut().filter(|var| !value.is_empty() && var.value == value) {
                var.secret = true;
            }
            if value.len() >= LONG {
                for word in self.shown.0.iter_mut().chain(&mut self.shown.1) {
                    *word = word.replace(&value, MARK);
                }
                self.secrets.push(value);
            }
        }
    }

    /// Hides the secrets on its command line, for a person to read them.
    pub fn redact_args(&mut self) {
        if let Some(args) = &mut self.server.args {
            args.clone_from(&self.shown.1);
        }
        if let Some(command) = &mut self.server.command {
            command.clone_from(&self.shown.0);
        }
    }

    /// Gives the proxies to a server that has a network, as `docker run` would. What its own `env` says, in either spelling, goes before.
    pub fn hand_over(&mut self, proxies: &Proxies) {
        let Self { server, env, secrets, .. } = self;
        // The forwarder of a list leads to no proxy.
        if !server.settings.network.is_connected() {
            return;
        }
        if let (Network::Egress, Some(proxy)) = (&server.settings.network, proxies.local().next()) {
            let name = &server.name;
            tracing::warn!(
                "server `{name}` cannot reach its proxy `{proxy}`, which is in the local network; \
                 set its `network` to \"lan\""
            );
        }
        let hidden = proxies.secrets();
        let is_free = |name: &str| !env.iter().any(|var| var.name.eq_ignore_ascii_case(name));
        let handed: Vec<EnvVar> = proxies
            .variables()
            .filter(|(name, _)| is_free(name))
            .map(|(name, value)| EnvVar {
                name: name.to_owned(),
                value: value.to_owned(),
                secret: hidden.iter().any(|secret| value.contains(secret)),
                kept: None,
            })
            .collect();
        if server.settings.prestart && handed.iter().any(|var| var.secret) {
            let name = &server.name;
            tracing::warn!(
                "server `{name}` is not prestarted: its proxy's address holds credentials, which its \
             container's configuration would show"
            );
            server.settings.prestart = false;
        }
        env.extend(handed);
        secrets.extend(hidden);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Settings};

    fn resolved(over: &Overrides) -> Resolved {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
        let server = server.with_overrides(over);
        let env = server.resolve_env(&|_| None).unwrap();
        Resolved { server, env, mounts: Vec::new(), secrets: Vec::new(), shown: Default::default() }
    }

    fn handed(proxies: &Proxies, over: &Overrides) -> (Vec<String>, Resolved) {
        let mut resolved = resolved(over);
        resolved.hand_over(proxies);
        (resolved.env.iter().map(ToString::to_string).collect(), resolved)
    }

    #[test]
    fn a_server_has_what_docker_run_would_give_it() {
        let proxies = Proxies::of(Some("http://p:1"), Some("a"));
        let (env, resolved) = handed(&proxies, &Overrides::default());
        let http = ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "HTTPS_PROXY=http://p:1"];
        assert_eq!(env[..3], http);
        assert_eq!(env[3..], ["https_proxy=http://p:1", "NO_PROXY=a", "no_proxy=a"]);
        assert!(resolved.secrets.is_empty());
    }

    #[test]
    fn what_a_client_hands_over_is_hidden() {
        let mut resolved = resolved(&Overrides::default().with("env", &["A=plain-value", "B=7", "C=other"]));
        let args = vec!["--of=plain-value".to_owned(), "--port=7".to_owned()];
        resolved.server.args = Some(args.clone());
        resolved.shown = (Vec::new(), args);
        resolved.hide(["plain-value".to_owned(), "7".to_owned(), String::new()]);
        resolved.redact_args();
        let shown: Vec<String> = resolved.env.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["A=[redacted]", "B=[redacted]", "C=other"]);
        assert_eq!(resolved.server.args.unwrap(), ["--of=[redacted]", "--port=7"]);
    }

    #[test]
    fn its_own_variables_go_before_in_either_spelling() {
        let own = |var: &str| Overrides::default().with("env", &[var]);
        let proxies = Proxies::of(Some("http://p:1"), None);
        let (env, _) = handed(&proxies, &own("http_proxy="));
        assert_eq!(env, ["http_proxy=", "HTTPS_PROXY=http://p:1", "https_proxy=http://p:1"]);
        let (env, _) = handed(&proxies, &own("HTTPS_PROXY=http://own:1"));
        assert_eq!(env, ["HTTPS_PROXY=http://own:1", "HTTP_PROXY=http://p:1", "http_proxy=http://p:1"]);
    }

    #[test]
    fn a_server_without_a_network_needs_none() {
        for network in ["none", "allow=a.org"] {
            let over = Overrides::default().with("network", &[network]);
            assert!(handed(&Proxies::of(Some("http://p:1"), None), &over).0.is_empty(), "{network}");
        }
    }

    #[test]
    fn a_daemon_that_is_not_ours_has_no_forwarder() {
        let home =
            crate::config::Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let resolve = |dind: &str, network: &str| {
            let text = format!("{dind}[servers.a]\nimage = \"i\"\nnetwork = {network}\n");
            let config = Config::parse(&text, std::path::Path::new("b.toml"), &home).unwrap();
            let server = config.server("a").unwrap().clone();
            config.resolve(server, &|_| None, (0, 0)).map(drop).map_err(|error| error.to_string())
        };
        let (foreign, list) = ("[dind]\nhost = \"unix:///s\"\n", "{ allow = [\"a.org\"] }");
        assert_eq!(
            resolve(foreign, list).unwrap_err(),
            "server `a` cannot have `allow`: the daemon at `unix:///s` has no forwarder; \
             set its `network` to \"egress\" or \"none\", or remove `host` from [dind] and type `berth up`"
        );
        assert!(resolve("", list).is_ok() && resolve(foreign, "\"egress\"").is_ok());
    }

    #[test]
    fn credentials_are_hidden_and_never_in_a_containers_configuration() {
        let prestart = || Overrides::default().with("prestart", &["true"]);
        let proxies = Proxies::of(Some("http://me:hunter2@p:1"), Some("a"));
        let (env, resolved) = handed(&proxies, &prestart());
        assert!(!format!("{env:?} {:?}", resolved.env).contains("hunter2"), "{env:?}");
        assert!(env.contains(&"NO_PROXY=a".to_owned()), "{env:?}");
        let secrets: Vec<String> = resolved.secrets().collect();
        for secret in ["http://me:hunter2@p:1", "me:hunter2", "hunter2"] {
            assert!(secrets.contains(&secret.to_owned()), "{secret}");
        }
        assert!(!resolved.server.settings.prestart);
        let (_, open) = handed(&Proxies::of(Some("http://p:1"), None), &prestart());
        assert!(open.server.settings.prestart);
    }
}
