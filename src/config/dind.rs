//! Which Docker daemon holds the sessions, and which engine holds that daemon. Only addresses: nothing here
//! connects.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};

use ipnet::Ipv4Net;

use super::error::ConfigError;
use super::reader::Section;
use super::share::Shares;
use super::subnet::{AddressPool, BridgeAddress};
use super::value::Value;
use super::word::{Address, ContainerName, Image};
use super::{Home, Lookup};

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
}

/// A daemon's address and the folder of the certificates for it; without one, no TLS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemon {
    pub address: String,
    pub certs: Option<PathBuf>,
}

impl Default for Dind {
    fn default() -> Self {
        Self {
            name: "berth-dind".to_owned(),
            image: "docker:28-dind".to_owned(),
            port: 12376,
            bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
            privileged: false,
            host: None,
            certs: None,
            engine: None,
            share: Shares::default(),
            bip: None,
            address_pools: Vec::new(),
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
        let dind = Self {
            name: section.take("name")?.map_or(default.name, ContainerName::into_inner),
            image: section.take("image")?.map_or(default.image, Image::into_inner),
            port: section.take("port")?.map_or(default.port, NonZeroU16::get),
            bind: section.take("bind")?.unwrap_or(default.bind),
            privileged: section.take("privileged")?.unwrap_or(default.privileged),
            host,
            certs,
            engine,
            share,
            bip: section.take::<BridgeAddress>("bip")?.map(|BridgeAddress(bip)| bip),
            address_pools: section.take_list("address_pools")?.unwrap_or_default(),
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
                .with_hint("the daemon that `berth up` makes has certificates of berth's own"));
        }
        dind.check_shares(dind.host.as_deref().or(dind.engine.as_deref()).unwrap_or_default())?;
        Ok(dind)
    }

    /// Whether a daemon or an engine at `address` can have folders of this machine.
    fn check_shares(&self, address: &str) -> Result<(), ConfigError> {
        let message =
            || format!("`share` in [dind] needs a daemon on this machine, and `{address}` is another");
        match remote_host(address).and_then(|_| self.share.error(message())) {
            Some(error) => Err(error.with_hint("take it out; that machine's files are not this one's")),
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
            Some(host) => Daemon { address: host.clone(), certs: self.certs.clone() },
            None => Daemon { address: self.own_address(), certs: Some(home.certs.clone()) },
        }
    }

    /// The engine that holds the daemon of `berth up`: what the file says, else what `DOCKER_HOST` and its
    /// companions say, else the usual socket. An error if sessions could not reach the daemon there.
    pub fn engine(&self, lookup: Lookup) -> Result<Daemon, ConfigError> {
        let engine = self.find_engine(lookup)?;
        if self.host.is_none() {
            self.check_reach(&engine.address)?;
        }
        Ok(engine)
    }

    pub(super) fn find_engine(&self, lookup: Lookup) -> Result<Daemon, ConfigError> {
        if let Some(engine) = &self.engine {
            return Ok(Daemon { address: engine.clone(), certs: docker_certs(engine, lookup) });
        }
        let usual = || Daemon { address: "unix:///var/run/docker.sock".to_owned(), certs: None };
        let Some(host) = lookup("DOCKER_HOST").filter(|host| !host.is_empty()) else { return Ok(usual()) };
        let Some(address) = Address::from_text(&host).map(Address::into_inner) else {
            let message = format!("DOCKER_HOST is {}, not `{host}`", Address::EXPECTED);
            return Err(ConfigError::new(message).with_hint("or set `engine` in [dind]"));
        };
        // After `eval "$(berth env)"` it is our own daemon, which cannot hold itself.
        if address.trim_end_matches('/') == self.own_address() {
            return Ok(usual());
        }
        Ok(Daemon { certs: docker_certs(&address, lookup), address })
    }

    /// Whether sessions on this machine would find the daemon where it listens.
    fn check_reach(&self, engine: &str) -> Result<(), ConfigError> {
        if remote_host(engine).is_none() {
            return Ok(());
        }
        let named = format!("`engine = \"{engine}\"`");
        let (message, line) = if self.bind.is_loopback() {
            let message = format!(
                "the engine `{engine}` is on another machine, and a daemon that listens on its {} alone cannot be \
                 reached from here",
                self.bind
            );
            let line = "`bind = \"0.0.0.0\"`".to_owned();
            (message, if self.engine.is_some() { line } else { format!("{line} and {named}") })
        } else if self.bind.is_unspecified() && self.engine.is_none() {
            // The clients that start sessions give them an environment of their own making.
            let message =
                format!("sessions cannot find the engine `{engine}`, for they may not have DOCKER_HOST");
            (message, named)
        } else {
            return Ok(());
        };
        Err(ConfigError::new(message).with_hint(format!("add {line} to [dind]")))
    }

    fn own_address(&self) -> String {
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

/// The host of a TCP address on another machine, as it stands there: with brackets where it is IPv6.
fn remote_host(address: &str) -> Option<&str> {
    let (host, _) = address.strip_prefix("tcp://")?.rsplit_once(':')?;
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let local = match bare.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => bare.eq_ignore_ascii_case("localhost"),
    };
    (!local).then_some(host)
}

/// Where the docker CLI takes its certificates from, if it is told to use TLS.
fn docker_certs(address: &str, lookup: Lookup) -> Option<PathBuf> {
    let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
    if !address.starts_with("tcp:") || set("DOCKER_TLS_VERIFY").is_none() {
        return None;
    }
    set("DOCKER_CERT_PATH")
        .map(PathBuf::from)
        .or_else(|| set("HOME").map(|home| Path::new(&home).join(".docker")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env<'a>(vars: &'a [(&'a str, &'a str)]) -> impl Fn(&str) -> Option<String> + 'a {
        move |name| vars.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    }

    fn engine(dind: &Dind, vars: &[(&str, &str)]) -> (String, Option<String>) {
        let daemon = dind.engine(&env(vars)).unwrap();
        (daemon.address, daemon.certs.map(|certs| certs.to_str().unwrap().to_owned()))
    }

    const SOCKET: &str = "unix:///var/run/docker.sock";

    #[test]
    fn the_engine_is_the_files_then_docker_hosts_then_the_usual_one() {
        let dind = Dind::default();
        let host = [("DOCKER_HOST", "unix:///run/user/1000/docker.sock")];
        assert_eq!(engine(&dind, &[]), (SOCKET.to_owned(), None));
        assert_eq!(engine(&dind, &[("DOCKER_HOST", "")]).0, SOCKET);
        assert_eq!(engine(&dind, &host).0, "unix:///run/user/1000/docker.sock");
        let dind = Dind { engine: Some("unix:///own.sock".to_owned()), ..dind };
        assert_eq!(engine(&dind, &host).0, "unix:///own.sock");
    }

    #[test]
    fn a_remote_engine_has_the_docker_clis_certificates() {
        let remote = ("DOCKER_HOST", "tcp://10.0.0.5:2376");
        let verify = ("DOCKER_TLS_VERIFY", "1");
        let dind = Dind { bind: [10, 0, 0, 5].into(), ..Dind::default() };
        let certs = |vars: &[_]| engine(&dind, vars).1;
        assert_eq!(certs(&[remote, ("DOCKER_CERT_PATH", "/c"), ("HOME", "/h")]), None);
        assert_eq!(certs(&[remote, verify, ("DOCKER_CERT_PATH", "/c")]).as_deref(), Some("/c"));
        assert_eq!(certs(&[remote, verify, ("HOME", "/h")]).as_deref(), Some("/h/.docker"));
        assert_eq!(certs(&[("DOCKER_HOST", SOCKET), verify, ("HOME", "/h")]), None);
    }

    #[test]
    fn our_own_daemon_is_never_its_own_engine() {
        let ours = [("DOCKER_HOST", "tcp://127.0.0.1:12376"), ("DOCKER_TLS_VERIFY", "1"), ("HOME", "/h")];
        assert_eq!(engine(&Dind::default(), &ours), (SOCKET.to_owned(), None));
        let elsewhere = Dind { port: 12377, ..Dind::default() };
        assert_eq!(engine(&elsewhere, &ours).0, "tcp://127.0.0.1:12376");
    }

    #[test]
    fn a_remote_engines_daemon_has_to_be_where_sessions_find_it() {
        let remote = [("DOCKER_HOST", "tcp://10.0.0.5:2376")];
        let refused =
            |dind: &Dind, vars: &[(&str, &str)]| dind.engine(&env(vars)).err().map(|error| error.to_string());
        let far = "the engine `tcp://10.0.0.5:2376` is on another machine, and a daemon that listens on its 127.0.0.1 \
                   alone cannot be reached from here; add `bind = \"0.0.0.0\"`";
        let dind = Dind::default();
        assert_eq!(
            refused(&dind, &remote).unwrap(),
            format!("{far} and `engine = \"tcp://10.0.0.5:2376\"` to [dind]")
        );
        let named = Dind { engine: Some("tcp://10.0.0.5:2376".to_owned()), ..Dind::default() };
        assert_eq!(refused(&named, &[]).unwrap(), format!("{far} to [dind]"));
        let open = |dind: Dind| Dind { bind: [0, 0, 0, 0].into(), ..dind };
        assert_eq!(refused(&open(named.clone()), &[]), None);
        assert_eq!(
            refused(&open(dind.clone()), &remote).unwrap(),
            "sessions cannot find the engine `tcp://10.0.0.5:2376`, for they may not have DOCKER_HOST; \
             add `engine = \"tcp://10.0.0.5:2376\"` to [dind]"
        );
        let bound = Dind { bind: [10, 0, 0, 5].into(), ..Dind::default() };
        assert_eq!(refused(&bound, &remote), None);
        for local in ["tcp://127.0.0.2:2376", "tcp://localhost:2376", "tcp://[::1]:2376", SOCKET] {
            assert_eq!(refused(&dind, &[("DOCKER_HOST", local)]), None, "{local}");
        }
        let elsewhere = Dind { host: Some("unix:///s".to_owned()), ..dind };
        assert_eq!(refused(&elsewhere, &remote), None, "`berth up` makes no daemon then");
    }

    #[test]
    fn an_address_of_another_kind_is_an_error() {
        let error = Dind::default().engine(&env(&[("DOCKER_HOST", "ssh://me@box")])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "DOCKER_HOST is an address such as \"tcp://10.0.0.5:2376\" or \"unix:///var/run/docker.sock\", \
             not `ssh://me@box`; or set `engine` in [dind]"
        );
    }

    #[test]
    fn the_daemon_is_reached_where_it_listens() {
        let home = Home::from_env(&env(&[("BERTH_HOME", "/b")])).unwrap();
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
        assert_eq!(host.daemon(&home), Daemon { address: "unix:///s".to_owned(), certs: None });
    }
}
