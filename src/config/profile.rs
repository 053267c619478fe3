//! Several servers behind one entry of a client's: a profile of the file, or the names on a command line.

use std::collections::BTreeMap;

use super::error::{ConfigError, nearest};
use super::key::Key;
use super::network;
use super::reader::{Item, Section};
use super::server::Server;
use super::settings::definition::DefaultValue;
use crate::values::full_name::plain;
use crate::values::{Network, ToolPattern};

/// The keys of `[profiles.NAME]`.
pub const KEYS: [Key; 5] = [
    Key::new("servers", DefaultValue::Words(""), "required: the servers' names, in the order of all lists"),
    Key::new(
        "tools",
        DefaultValue::Words("all"),
        "the only tools that a client sees and may call, by their full names: `[\"git__*\"]`",
    ),
    Key::new(
        "deny_tools",
        DefaultValue::Words("none"),
        "forbidden tools by their full names, whatever `tools` says",
    ),
    Key::new(
        "peers",
        DefaultValue::Value("false"),
        "whether the servers share one network, in which each server's name leads to `127.0.0.1`; see \
         [profiles](profiles.md)",
    ),
    Key::new(
        "network",
        DefaultValue::Words("the servers' own"),
        "with `peers`, what all servers of a session reach outside, in the place of their own `network`",
    ),
];

/// Servers that share one session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// As the file has it, or all servers' names.
    pub name: String,
    /// In the order of all lists; each once, and never none.
    pub servers: Vec<String>,
    /// The only tools that a client may use, by their full names; `None`: all.
    pub tools: Option<Vec<ToolPattern>>,
    /// None of these, whatever `tools` says.
    pub deny_tools: Vec<ToolPattern>,
    /// Whether they share one network.
    pub peers: bool,
    /// What that lets out; `None`: what each of them says.
    pub network: Option<Network>,
}

impl Profile {
    /// What a command line's names make.
    ///
    /// # Errors
    /// Where they do not go together.
    pub fn of_names(names: &[String], servers: &BTreeMap<String, Server>) -> Result<Self, ConfigError> {
        check(names, servers).map_err(|(why, hint)| ConfigError::new(why).with_hint(hint))?;
        let (tools, deny_tools, network) = (None, Vec::new(), None);
        Ok(Self { name: names.join(", "), servers: names.to_vec(), tools, deny_tools, peers: false, network })
    }

    pub(super) fn read(
        name: &str,
        mut section: Section,
        servers: &BTreeMap<String, Server>,
    ) -> Result<Self, ConfigError> {
        let names = section.take_item("servers");
        let tools = section.take_list("tools")?;
        let deny_tools = section.take_list("deny_tools")?.unwrap_or_default();
        let peers = section.take::<bool>("peers")?.unwrap_or_default();
        let network = network::take(&mut section, "network")?;
        section.finish()?;
        let Some(item) = names else {
            return Err(section.error("`servers` is missing").with_hint("list the servers' names"));
        };
        let network = match network {
            Some((_, place)) if !peers => {
                return Err(ConfigError::new(format!(
                    "profile `{name}`: `network` is for servers that share one"
                ))
                .at(Some(place))
                .with_hint("set `peers = true`, or set `network` for each server"));
            }
            network => network.map(|(network, _)| network),
        };
        let names = named(&item, name, servers)?;
        let members = names.iter().filter_map(|name| servers.get(name)).cloned().collect();
        let profile = Self { name: name.to_owned(), servers: names, tools, deny_tools, peers, network };
        profile.of_session(members, false)?;
        Ok(profile)
    }
}

fn named(item: &Item, profile: &str, servers: &BTreeMap<String, Server>) -> Result<Vec<String>, ConfigError> {
    let names = item.list::<String>()?;
    match check(&names, servers) {
        Ok(()) => Ok(names),
        Err((why, hint)) => Err(item.error(format!("profile `{profile}`: {why}")).with_hint(hint)),
    }
}

/// Whether these can share a session. No two tools may be called alike; beside that no server's names depend on another.
///
/// # Errors
/// What is wrong, and what mends it.
fn check(names: &[String], servers: &BTreeMap<String, Server>) -> Result<(), (String, String)> {
    if names.is_empty() {
        return Err(("`servers` is empty".to_owned(), "list the servers' names".to_owned()));
    }
    let mut before = BTreeMap::<String, &Server>::new();
    for name in names {
        let Some(server) = servers.get(name) else {
            let hint = match nearest(name, servers.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("add a [servers.{name}]"),
            };
            return Err((format!("unknown server `{name}`"), hint));
        };
        let prefix = plain(server.prefix());
        match before.get(&prefix) {
            Some(other) if other.name == *name => {
                return Err((format!("server `{name}` is there twice"), "name it once".to_owned()));
            }
            Some(other) => {
                let why = format!(
                    "the tools of the servers `{}` and `{name}` would both begin with `{prefix}__`",
                    other.name
                );
                return Err((why, format!("set another `alias` in [servers.{name}]")));
            }
            None => before.insert(prefix, server),
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Config, Home};

    const SERVERS: &str = "[servers.files]\nimage = \"i\"\n[servers.git]\nimage = \"i\"\n[servers.\"a.b\"]\nimage = \"i\"\n\
                           [servers.a_b]\nimage = \"i\"\n[servers.hub]\nimage = \"i\"\nalias = \"git\"\n[profiles.work]\n";

    fn parse(keys: &str) -> Result<Config, String> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = format!("{SERVERS}{keys}");
        Config::parse(&text, Path::new("b.toml"), &home).map_err(|error| error.to_string())
    }

    fn error(keys: &str) -> String {
        parse(keys).unwrap_err()
    }

    #[test]
    fn every_key_arrives_and_the_order_stays() {
        let config = parse(
            "servers = [\"git\", \"files\"]\ntools = [\"git__*\"]\ndeny_tools = [\"*_push\"]\n\
             [profiles.other]\nservers = [\"files\"]",
        )
        .unwrap();
        let work = config.profile("work").unwrap();
        assert_eq!(
            (work.name.as_str(), &work.servers[..]),
            ("work", &["git".to_owned(), "files".to_owned()][..])
        );
        assert_eq!(work.tools, Some(vec!["git__*".parse().unwrap()]));
        assert_eq!(work.deny_tools, ["*_push".parse().unwrap()]);
        let other = config.profile("other").unwrap();
        assert!(other.tools.is_none() && other.deny_tools.is_empty());
    }

    #[test]
    fn its_servers_are_there_each_once_under_names_of_their_own() {
        assert_eq!(error(""), "b.toml:12: `servers` is missing in [profiles.work]; list the servers' names");
        assert_eq!(
            error("servers = []"),
            "b.toml:13: profile `work`: `servers` is empty; list the servers' names"
        );
        assert_eq!(
            error("\nservers = [\"fils\"]"),
            "b.toml:14: profile `work`: unknown server `fils`; did you mean `files`?"
        );
        assert_eq!(
            error("servers = [\"zzz\"]"),
            "b.toml:13: profile `work`: unknown server `zzz`; add a [servers.zzz]"
        );
        assert_eq!(
            error("servers = [\"git\", \"files\", \"git\"]"),
            "b.toml:13: profile `work`: server `git` is there twice; name it once"
        );
        assert_eq!(
            error("servers = [\"a_b\", \"a.b\"]"),
            "b.toml:13: profile `work`: the tools of the servers `a_b` and `a.b` would both begin with `a_b__`; \
             set another `alias` in [servers.a.b]"
        );
        let aliased = error("servers = [\"git\", \"hub\"]");
        assert!(aliased.contains("`git` and `hub` would both begin with `git__`"), "{aliased}");
        assert!(parse("servers = [\"files\", \"hub\"]").is_ok(), "its own name counts no more");
    }

    #[test]
    fn mistakes_in_its_table_are_told_as_elsewhere() {
        assert_eq!(
            error("servers = [\"git\"]\ntool = true"),
            "b.toml:14: unknown key `tool` in [profiles.work]; did you mean `tools`?"
        );
        let pattern = error("servers = [\"git\"]\ntools = [\"[ab]\"]");
        assert!(
            pattern.starts_with("b.toml:14: each of `tools` must be a tool's name, or a pattern"),
            "{pattern}"
        );
        let name = error("servers = [\"git\"]\n[profiles.\"a b\"]\nservers = [\"git\"]");
        assert!(
            name.starts_with("b.toml:14: `a b` cannot be a profile's name; a name is at most 64"),
            "{name}"
        );
    }

    #[test]
    fn an_unknown_profile_names_the_nearest() {
        let config = parse("servers = [\"git\"]").unwrap();
        let error = |name| config.profile(name).unwrap_err().to_string();
        assert_eq!(error("wrk"), "unknown profile `wrk`: b.toml has `work`; did you mean `work`?");
        assert_eq!(
            error("zzz"),
            "unknown profile `zzz`: b.toml has `work`; add a [profiles.zzz], or use one of these"
        );
    }

    #[test]
    fn names_of_a_command_line_are_a_profile() {
        let config = parse("servers = [\"git\"]").unwrap();
        let of = |names: &[&str]| {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            Profile::of_names(&names, &config.servers).map_err(|error| error.to_string())
        };
        let two = of(&["git", "files"]).unwrap();
        assert_eq!((two.name.as_str(), two.servers.len()), ("git, files", 2));
        assert_eq!(of(&["git", "git"]), Err("server `git` is there twice; name it once".to_owned()));
        assert_eq!(of(&["gitt"]), Err("unknown server `gitt`; did you mean `git`?".to_owned()));
    }
}
