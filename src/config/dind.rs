//! Which Docker daemon holds the sessions, and which engine holds that daemon. Only addresses: nothing here connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::Home;
use super::daemon::{Daemon, remote_host};
use super::error::ConfigError;
use super::key::Key;
use super::reader::Section;
use super::settings::definition::DefaultValue;
use super::share::Shares;
use crate::docker_cli::Proxies;
use crate::values::Value;
use crate::values::{Address, ContainerName, Image};
use crate::values::{AddressPool, BridgeAddress};

/// The `[dind]` table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dind {
    /// The container; its volume is `<name>-data`.
    pub name: String,
    pub image: String,
    /// The port on the engine's host, mTLS only.
    pub port: u16,
    pub bind: IpAddr,
    pub privileged: bool,
    /// Whether containers have user namespaces of their own, where the engine has the ids for them.
    pub userns: bool,
    /// An existing daemon to use instead of one that `berth up` makes.
    pub host: Option<String>,
    /// The folder of `ca.pem`, `cert.pem` and `key.pem` for `host`; always there for a TCP `host`.
    pub certs: Option<PathBuf>,
    pub(crate) engine: Option<String>,
    /// Folders of this machine that the daemon has, too.
    pub share: Shares,
    /// The address of the daemon's bridge in its network; berth chooses one where there is none.
    pub bip: Option<Ipv4Net>,
    /// What other networks in the daemon are made of.
    pub address_pools: Vec<AddressPool>,
    /// By which it reaches registries.
    pub proxies: Proxies,
}

/// The keys of the table.
pub const KEYS: [Key; 14] = [
    Key::new("name", DefaultValue::Value("\"berth-dind\""), "the container; its volume is `NAME-data`"),
    Key::new(
        "image",
        DefaultValue::Value("\"docker:28-dind\""),
        "any image with dockerd, iptables and a shell",
    ),
    Key::new("port", DefaultValue::Value("12376"), "where the daemon listens; mutual TLS is the only way in"),
    Key::new("bind", DefaultValue::Value("\"127.0.0.1\""), "the address of that port"),
    Key::new(
        "engine",
        DefaultValue::Words("see [hosts](hosts.md)"),
        "the host's engine, as `unix:///PATH` or `tcp://HOST:PORT`; with an engine on another machine, `bind` must be an \
         address of that machine",
    ),
    Key::new(
        "host",
        DefaultValue::Words("none"),
        "an existing daemon, instead of a daemon that `berth up` makes; an address like that of `engine`",
    ),
    Key::new("certs", DefaultValue::Words("none"), "the folder of the certificates for `host`"),
    Key::new(
        "share",
        DefaultValue::Words("none"),
        "folders of this machine that servers may be given; see [files](files.md)",
    ),
    Key::new(
        "bip",
        DefaultValue::Words("chosen"),
        "the address of the sessions' bridge with its prefix, such as `\"172.30.240.1/20\"`",
    ),
    Key::new(
        "address_pools",
        DefaultValue::Words("Docker's"),
        "the ranges for other networks in the daemon: `[\"10.99.0.0/16:24\"]`",
    ),
    Key::new(
        "proxy",
        DefaultValue::Words("none"),
        "the proxy by which the daemon reaches registries (`http`, `https` or `socks5`)",
    ),
    Key::new(
        "no_proxy",
        DefaultValue::Words("none"),
        "hosts that the daemon reaches without the proxy, with commas between",
    ),
    Key::new(
        "userns",
        DefaultValue::Value("true"),
        "user namespaces for all containers in the daemon, where the engine has ids for them; see \
         [security](security.md)",
    ),
    Key::new("privileged", DefaultValue::Value("false"), "no known host needs it"),
];

impl Default for Dind {
    fn default() -> Self {
        Self {
            name: "berth-dind".to_owned(),
            image: "docker:28-dind".to_owned(),
            port: 12376,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            privileged: false,
            userns: true,
            host: None,
            certs: None,
            engine: None,
            share: Shares::default(),
            bip: None,
            address_pools: Vec::new(),
            proxies: Proxies::default(),
        }
    }
}

impl Dind {
    pub(super) fn read(mut section: Section, file: &Path, home: &Home) -> Result<Self, ConfigError> {
        let default = Self::default();
        let host = section.take::<Address>("host")?.map(Address::into_inner);
        let certs = section.take::<String>("certs")?.map(|certs| home.resolve(Path::new(&certs), file));
        let engine = section.take::<Address>("engine")?.map(Address::into_inner);
        let sockets = [host.as_deref(), engine.as_deref()];
        let share = Shares::read(&mut section, file, home, certs.as_deref(), sockets)?;
        let proxy = section.take_quietly::<Proxy>("proxy")?.map(|proxy| proxy.0);
        let proxies = Proxies::of(proxy.as_deref(), section.take::<String>("no_proxy")?.as_deref());
        let dind = Self {
            name: section.take("name")?.map_or(default.name, ContainerName::into_inner),
            image: section.take("image")?.map_or(default.image, Image::into_inner),
            port: section.take("port")?.map_or(default.port, NonZeroU16::get),
            bind: section.take("bind")?.unwrap_or(default.bind),
            privileged: section.take("privileged")?.unwrap_or(default.privileged),
            userns: section.take("userns")?.unwrap_or(default.userns),
            host,
            certs,
            engine,
            share,
            bip: section.take::<BridgeAddress>("bip")?.map(|BridgeAddress(bip)| bip),
            address_pools: section.take_list("address_pools")?.unwrap_or_default(),
            proxies,
        };
        section.finish()?;
        if dind.host.as_ref().is_some_and(|host| host.starts_with("tcp:")) && dind.certs.is_none() {
            return Err(section
                .error("a TCP `host` needs `certs`")
                .with_hint("name the folder of its ca.pem, cert.pem and key.pem"));
        }
        if dind.certs.is_some() && dind.host.is_none() {
            return Err(section
                .error("`certs` needs a `host`")
                .with_hint("remove `certs`: berth itself makes the certificates of its own daemon"));
        }
        dind.check_shares(dind.host.as_deref().or(dind.engine.as_deref()).unwrap_or_default())?;
        Ok(dind)
    }

    /// Whether a daemon or an engine at `address` can have folders of this machine.
    fn check_shares(&self, address: &str) -> Result<(), ConfigError> {
        let message = || {
            format!("`share` in [dind] needs a daemon on this machine, but `{address}` is on another machine")
        };
        match remote_host(address).and_then(|_| self.share.error(message())) {
            Some(error) => {
                Err(error.with_hint("remove `share`: that machine does not have this machine's files"))
            }
            None => Ok(()),
        }
    }

    /// The same with the shared folders as the kernel knows them, for the daemon on `engine`.
    pub fn shared(&self, engine: &Daemon) -> Result<Vec<PathBuf>, ConfigError> {
        self.check_shares(&engine.address)?;
        self.share.clone().without_socket(&engine.address).canonical()
    }

    /// The daemon that holds the sessions.
    pub fn daemon(&self, home: &Home) -> Daemon {
        match &self.host {
            Some(host) => Daemon::configured(host.clone(), self.certs.clone()),
            None => Daemon::configured(self.own_address(), Some(home.certs.clone())),
        }
    }

    pub(super) fn own_address(&self) -> String {
        let remote = self.engine.as_deref().and_then(remote_host).filter(|_| self.bind.is_unspecified());
        if let Some(host) = remote {
            return format!("tcp://{host}:{}", self.port);
        }
        let reached = match self.bind {
            IpAddr::V4(bind) if bind.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(bind) if bind.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            bind => bind,
        };
        format!("tcp://{}", SocketAddr::new(reached, self.port))
    }
}

/// A proxy's address.
struct Proxy(String);

impl Value for Proxy {
    const EXPECTED: &'static str =
        "an address such as \"http://10.0.0.5:3128\", with `http`, `https` or `socks5` before it";

    fn from_text(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let is_address = !rest.is_empty() && rest.chars().all(|c| c.is_ascii_graphic());
        (["http", "https", "socks5"].contains(&scheme) && is_address).then(|| Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxys_address_is_checked_and_never_shown() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let parse = |proxy: &str| {
            let text = format!("[dind]\nproxy = \"{proxy}\"\nno_proxy = \"box\"\n");
            super::super::Config::parse(&text, Path::new("b.toml"), &home)
        };
        let config = parse("socks5://me:hunter2@p:1").unwrap();
        assert_eq!(config.dind.proxies, Proxies::of(Some("socks5://me:hunter2@p:1"), Some("box")));
        assert!(!format!("{config:?}").contains("hunter2"));
        for wrong in ["me:hunter2@p:1", "http://", "ftp://me:hunter2@p:1"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(
                error.starts_with("b.toml:2: `proxy` must be an address") && !error.contains("hunter2"),
                "{error}"
            );
        }
    }

    #[test]
    fn the_daemon_is_reached_where_it_listens() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let address = |bind: &str| {
            let daemon = Dind { bind: bind.parse().unwrap(), ..Dind::default() }.daemon(&home);
            assert_eq!(daemon.certs.as_deref(), Some(Path::new("/b/certs")));
            daemon.address
        };
        assert_eq!(address("127.0.0.1"), "tcp://127.0.0.1:12376");
        assert_eq!(address("0.0.0.0"), "tcp://127.0.0.1:12376");
        assert_eq!(address("192.168.0.2"), "tcp://192.168.0.2:12376");
        assert_eq!(address("::"), "tcp://[::1]:12376");
        let remote = |bind: &str, engine: &str| {
            let engine = Some(engine.to_owned());
            Dind { bind: bind.parse().unwrap(), engine, ..Dind::default() }.daemon(&home).address
        };
        assert_eq!(remote("0.0.0.0", "tcp://box.example:2376"), "tcp://box.example:12376");
        assert_eq!(remote("::", "tcp://[fd00::5]:2376"), "tcp://[fd00::5]:12376");
        assert_eq!(remote("10.0.0.6", "tcp://10.0.0.5:2376"), "tcp://10.0.0.6:12376");
        assert_eq!(remote("0.0.0.0", "tcp://localhost:2376"), "tcp://127.0.0.1:12376");
        assert_eq!(remote("0.0.0.0", "unix:///s"), "tcp://127.0.0.1:12376");
        let host = Dind { host: Some("unix:///s".to_owned()), ..Dind::default() };
        assert_eq!(host.daemon(&home), Daemon::configured("unix:///s", None));
    }
}
