//! Which of Pod Security's profiles the servers' settings allow.

use mcp_berth::config::{Config, Settings};
use mcp_berth::values::Backend;

/// What «restricted» lets a container add.
const RESTRICTED: [&str; 1] = ["NET_BIND_SERVICE"];
/// What «baseline» does.
const BASELINE: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// A namespace's profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Profile {
    /// As the label has it.
    pub(super) name: &'static str,
    /// Why it is not «restricted»; one line for each server.
    pub(super) why: Vec<String>,
    /// Servers whose pods even this profile refuses.
    pub(super) refused: Vec<String>,
}

/// By all servers that run in the cluster.
pub(super) fn profile(config: &Config) -> Profile {
    let servers = config.servers.values().filter(|server| server.settings.backend == Backend::Kubernetes);
    let (mut why, mut refused) = (Vec::new(), Vec::new());
    for server in servers {
        let name = &server.name;
        let beyond = |allowed: &[&str]| {
            let added = &server.settings.cap_add;
            added.iter().find(|added| !allowed.contains(&capability(added))).map(ToString::to_string)
        };
        if let Some(capability) = beyond(&BASELINE) {
            refused.push(format!(
                "server `{name}`: `cap_add` has `{capability}`, which `baseline` refuses, too"
            ));
        } else if let Some(capability) = beyond(&RESTRICTED) {
            why.push(format!("server `{name}`: `cap_add` has `{capability}`"));
        }
        if !server.settings.no_new_privileges {
            why.push(format!("server `{name}`: `no_new_privileges` is false, which `restricted` refuses"));
        }
        if !has_user(&server.settings) {
            why.push(format!("server `{name}`: `user` is no number but 0, so its image may run as root"));
        }
    }
    let name = if why.is_empty() && refused.is_empty() { "restricted" } else { "baseline" };
    Profile { name, why, refused }
}

fn capability(name: &str) -> &str {
    name.strip_prefix("CAP_").unwrap_or(name)
}

/// A name is the image's to resolve.
fn has_user(settings: &Settings) -> bool {
    let user = settings.user.as_deref().map(|user| user.split(':').next().unwrap_or(user));
    user.and_then(|user| user.parse::<u32>().ok()).is_some_and(|user| user != 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;

    use super::*;

    fn judged(servers: &str) -> Profile {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        profile(&Config::parse(servers, Path::new("b.toml"), &home).unwrap())
    }

    #[test]
    fn the_strictest_profile_that_all_servers_pass_is_chosen_and_who_does_not_is_named() {
        let server = "[servers.x]\nimage = \"i\"\nbackend = \"kubernetes\"\n";
        assert_eq!(judged("").name, "restricted");
        for user in ["1000", "1000:1000"] {
            let found = judged(&format!("{server}user = \"{user}\"\ncap_add = [\"NET_BIND_SERVICE\"]"));
            assert_eq!(found, Profile { name: "restricted", why: Vec::new(), refused: Vec::new() });
        }
        let privileges = "user = \"1000\"\nno_new_privileges = false";
        let named = ["", "user = \"0\"", "user = \"node\"", "user = \"1000\"\ncap_add = [\"CHOWN\"]"];
        for keys in named.into_iter().chain([privileges]) {
            let found = judged(&format!("{server}{keys}"));
            assert_eq!((found.name, found.why.len(), found.refused.len()), ("baseline", 1, 0), "{keys}");
            assert!(found.why[0].contains("`x`"), "{found:?}");
        }
        let found = judged(&format!("{server}user = \"1000\"\ncap_add = [\"NET_ADMIN\"]"));
        assert_eq!((found.name, found.refused.len()), ("baseline", 1));
        let docker = server.replace("kubernetes", "docker");
        assert_eq!(judged(&docker).name, "restricted", "a server of the daemon's says nothing of a cluster");
    }
}
