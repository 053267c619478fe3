//! Which engine holds the daemon that `berth up` makes: the file's choice, else the docker CLI's.
//!
//! [`Said::gather`] reads the environment and the docker CLI's files; the choice between them is pure.

use std::path::{Path, PathBuf};

use super::Home;
use super::daemon::{Daemon, Origin, leave, remote_host};
use super::dind::Dind;
use super::error::ConfigError;
use crate::docker_cli::{Context, ContextError, DockerCli};
use crate::failure::chain;
use crate::values::Address;
use crate::values::Lookup;
use crate::values::Value;

/// The engine's socket where nobody has chosen one.
const SOCKET: &str = "/var/run/docker.sock";

/// What the environment and the docker CLI's files say of engines.
#[derive(Debug)]
pub(super) struct Said {
    /// `DOCKER_HOST`, and the certificates for it.
    host: Option<String>,
    certs: Option<PathBuf>,
    /// The certificates of our own daemon.
    own_certs: Option<PathBuf>,
    context: Result<Option<Context>, ContextError>,
    /// Where engines listen, the usual one first, each with whether a socket is there.
    sockets: Vec<(PathBuf, bool)>,
}

impl Said {
    /// Reads what there is on this machine.
    fn gather(lookup: Lookup) -> Self {
        use std::os::unix::fs::FileTypeExt;
        let is_socket =
            |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.file_type().is_socket());
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty());
        let cli = DockerCli::from_env(lookup);
        let certs = || set("DOCKER_CERT_PATH").map(PathBuf::from).or_else(|| Some(cli.folder()?.to_owned()));
        let uid = rustix::process::getuid().as_raw();
        Self {
            host: set("DOCKER_HOST"),
            certs: set("DOCKER_TLS_VERIFY").and_then(|_| certs()),
            own_certs: Home::from_env(lookup).ok().map(|home| home.certs),
            context: cli.context(set("DOCKER_CONTEXT")),
            sockets: sockets(lookup, uid).into_iter().map(|path| (path.clone(), is_socket(&path))).collect(),
        }
    }

    /// The certificates of the context that is at `address`, if it is.
    fn certs_of_context(&self, address: &str) -> Option<PathBuf> {
        let context = self.context.as_ref().ok()?.as_ref()?;
        context.certs.clone().filter(|_| context.host.trim_end_matches('/') == address.trim_end_matches('/'))
    }
}

/// Where engines listen, the usual one first: that of the system, of the person, and of the programs that bring one along.
fn sockets(lookup: Lookup, uid: u32) -> Vec<PathBuf> {
    let set = |name: &str| lookup(name).map(PathBuf::from).filter(|path| path.is_absolute());
    // Clients that clear the environment leave HOME alone.
    let run = set("XDG_RUNTIME_DIR").unwrap_or_else(|| format!("/run/user/{uid}").into());
    let mut sockets = vec![PathBuf::from(SOCKET), run.join("docker.sock")];
    if let Some(home) = set("HOME") {
        let known = [".docker/desktop/docker.sock", ".colima/default/docker.sock", ".rd/docker.sock"];
        sockets.extend(known.map(|socket| home.join(socket)));
    }
    sockets
}

impl Dind {
    /// The engine that holds the daemon of `berth up`: what the file says, else what the docker CLI would use. An error if
    /// sessions could not reach the daemon there.
    pub fn engine(&self, lookup: Lookup) -> Result<Daemon, ConfigError> {
        self.reachable_engine(&Said::gather(lookup))
    }

    pub(super) fn find_engine(&self, lookup: Lookup) -> Result<Daemon, ConfigError> {
        self.choose_engine(&Said::gather(lookup))
    }

    fn reachable_engine(&self, said: &Said) -> Result<Daemon, ConfigError> {
        let engine = self.choose_engine(said)?;
        if self.host.is_none() {
            self.check_reach(&engine)?;
        }
        Ok(engine)
    }

    /// The docker CLI's own order: `DOCKER_HOST` goes before `DOCKER_CONTEXT`, and that before the file's context. After
    /// `eval "$(berth env)"` that is our own daemon, which cannot hold itself.
    fn choose_engine(&self, said: &Said) -> Result<Daemon, ConfigError> {
        if let Some(engine) = &self.engine {
            let certs = said.certs.clone().or_else(|| said.certs_of_context(engine));
            return Ok(Daemon::configured(engine, certs.filter(|_| engine.starts_with("tcp:"))));
        }
        if let Some(host) = &said.host {
            let Some(address) = Address::from_text(host).map(Address::into_inner) else {
                let message = format!("DOCKER_HOST must be {}, not `{host}`", Address::EXPECTED);
                return Err(ConfigError::new(message).with_hint("correct it, or set `engine` in [dind]"));
            };
            // Where it is reached at another address than it listens, its certificates tell.
            let has_own_certs =
                address.starts_with("tcp:") && said.certs.is_some() && said.certs == said.own_certs;
            if !(self.is_own(&address) || has_own_certs) {
                let certs = said.certs.clone().filter(|_| address.starts_with("tcp:"));
                return Ok(Daemon { certs, address, origin: Origin::DockerHost });
            }
        }
        match &said.context {
            Err(error) => return Err(unusable(error)),
            Ok(Some(context)) if !context.host.is_empty() && !self.is_own(&context.host) => {
                return of_context(context);
            }
            Ok(_) => {}
        }
        let found = said.sockets.iter().position(|(_, is_there)| *is_there);
        let looked_for: Vec<PathBuf> = match found {
            Some(found) => said.sockets.iter().take(found + 1),
            None => said.sockets.iter().take(said.sockets.len()),
        }
        .map(|(path, _)| path.clone())
        .collect();
        let socket = found.and_then(|_| looked_for.last()).map_or(Path::new(SOCKET), PathBuf::as_path);
        Ok(Daemon {
            address: format!("unix://{}", socket.display()),
            certs: None,
            origin: Origin::Socket { is_there: found.is_some(), looked_for },
        })
    }

    fn is_own(&self, address: &str) -> bool {
        address.trim_end_matches('/').replace("//localhost:", "//127.0.0.1:") == self.own_address()
    }

    /// Whether sessions on this machine would find the daemon where it listens.
    fn check_reach(&self, engine: &Daemon) -> Result<(), ConfigError> {
        let Daemon { address, origin, .. } = engine;
        if remote_host(address).is_none() {
            return Ok(());
        }
        let named = format!("`engine = \"{address}\"`");
        let (message, line) = if self.bind.is_loopback() {
            let message = format!(
                "the engine `{address}` is on another machine; a daemon that listens only on {} there \
                 cannot be reached from here",
                self.bind
            );
            let line = "`bind = \"0.0.0.0\"`".to_owned();
            (message, if self.engine.is_some() { line } else { format!("{line} and {named}") })
        } else if self.bind.is_unspecified() && self.engine.is_none() {
            // The clients that start sessions give them an environment of their own making, and another context may be the
            // current one by then.
            let why = match origin {
                Origin::Context { .. } => "the current docker context may change",
                _ => "their clients may not set DOCKER_HOST",
            };
            (format!("sessions may not find the engine `{address}`: {why}"), named)
        } else {
            return Ok(());
        };
        Err(ConfigError::new(message).with_hint(format!("add {line} to [dind]")))
    }
}

/// The engine of a context, if it can be used.
fn of_context(context: &Context) -> Result<Daemon, ConfigError> {
    let Context { name, by_variable, host, certs, skips_verification } = context;
    let another = leave(*by_variable);
    let Some(address) = Address::from_text(host).map(Address::into_inner) else {
        let message =
            format!("the docker context `{name}` is at `{host}`; berth needs {}", Address::EXPECTED);
        return Err(ConfigError::new(message).with_hint(format!("set `engine` in [dind], or {another}")));
    };
    if address.starts_with("tcp:") && *skips_verification && certs.is_none() {
        let message =
            format!("the docker context `{name}` does not verify the engine's certificate (`SkipTLSVerify`)");
        return Err(ConfigError::new(message).with_hint(format!(
            "give it the engine's certificates with `docker context update`, or {another}"
        )));
    }
    let certs = certs.clone().filter(|_| address.starts_with("tcp:"));
    let origin = Origin::Context { name: name.clone(), by_variable: *by_variable };
    Ok(Daemon { address, certs, origin })
}

fn unusable(error: &ContextError) -> ConfigError {
    let (source, hint) = match error {
        ContextError::Missing { by_variable: true, .. } => (", which DOCKER_CONTEXT names", leave(true)),
        ContextError::Missing { .. } => (", which the docker CLI's file names", leave(false)),
        ContextError::Bare(_) | ContextError::File(_) => ("", leave(false)),
    };
    ConfigError::new(format!("{}{source}", chain(error))).with_hint(hint)
}

#[cfg(test)]
mod tests;
