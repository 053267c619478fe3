//! The proxies that a server is told of: what `docker run` would hand to its container.

use super::{Chosen, variable};
use crate::config::{Config, EnvVar, Home};
use crate::docker_cli::{DockerCli, Proxies};
use crate::failure::chain;
use crate::values::Network;

/// Those of the docker CLI's file that a container can reach.
pub(super) fn of(config: &Config, home: &Home) -> Proxies {
    let engine = || Some(config.dind.engine(&variable).ok()?.address);
    let found = DockerCli::from_env(&variable).proxies(&config.dind.daemon(home).address, engine);
    let proxies = found.unwrap_or_else(|error| {
        tracing::warn!("{}; servers have no proxies", chain(&error));
        Proxies::default()
    });
    proxies.reachable()
}

/// Gives them to a server that has a network. What its own `env` says, in either spelling, goes before.
pub(super) fn hand_over(proxies: &Proxies, chosen: &mut Chosen) {
    let Chosen { server, env, secrets, .. } = chosen;
    if server.settings.network == Network::None {
        return;
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
        })
        .collect();
    if server.settings.prestart && handed.iter().any(|var| var.secret) {
        let name = &server.name;
        tracing::warn!(
            "server `{name}` is not prestarted: its proxy's address holds credentials, and they would stand in its \
             container's configuration"
        );
        server.settings.prestart = false;
    }
    env.extend(handed);
    secrets.extend(hidden);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Overrides, Server, Settings};

    fn chosen(over: &Overrides) -> Chosen {
        let server = Server::from_image("i".parse().unwrap(), Vec::new(), &Settings::default());
        let server = server.with_overrides(over);
        let env = server.resolve_env(&|_| None).unwrap();
        Chosen { server, env, mounts: Vec::new(), secrets: Vec::new() }
    }

    fn handed(proxies: &Proxies, over: &Overrides) -> (Vec<String>, Chosen) {
        let mut chosen = chosen(over);
        hand_over(proxies, &mut chosen);
        (chosen.env.iter().map(ToString::to_string).collect(), chosen)
    }

    #[test]
    fn a_server_has_what_docker_run_would_give_it() {
        let proxies = Proxies::of(Some("http://p:1"), Some("a"));
        let (env, chosen) = handed(&proxies, &Overrides::default());
        let http = ["HTTP_PROXY=http://p:1", "http_proxy=http://p:1", "HTTPS_PROXY=http://p:1"];
        assert_eq!(env[..3], http);
        assert_eq!(env[3..], ["https_proxy=http://p:1", "NO_PROXY=a", "no_proxy=a"]);
        assert!(chosen.secrets.is_empty());
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
        let none = Overrides::default().with("network", &["none"]);
        assert!(handed(&Proxies::of(Some("http://p:1"), None), &none).0.is_empty());
    }

    #[test]
    fn credentials_are_hidden_and_never_in_a_containers_configuration() {
        let prestart = || Overrides::default().with("prestart", &["true"]);
        let proxies = Proxies::of(Some("http://me:hunter2@p:1"), Some("a"));
        let (env, chosen) = handed(&proxies, &prestart());
        assert!(!format!("{env:?} {:?}", chosen.env).contains("hunter2"), "{env:?}");
        assert!(env.contains(&"NO_PROXY=a".to_owned()), "{env:?}");
        let secrets: Vec<String> = chosen.secrets().collect();
        for secret in ["http://me:hunter2@p:1", "me:hunter2", "hunter2"] {
            assert!(secrets.contains(&secret.to_owned()), "{secret}");
        }
        assert!(!chosen.server.settings.prestart);
        let (_, open) = handed(&Proxies::of(Some("http://p:1"), None), &prestart());
        assert!(open.server.settings.prestart);
    }
}
