//! The servers of a session, and how each is made ready.

use std::cell::RefCell;
use std::rc::Rc;

use super::{Config, Home, RunArgs, caller, hand_proxies, prepare, variable};
use crate::backend::docker::peers::Peers;
use crate::backend::{Backend, Ready};
use crate::config::Server;
use crate::failure::Failure;
use crate::session::mux::MemberOptions;
use crate::session::options::Options;
use crate::values::{Definitions, Start};

/// A server of the session: ready to be started, or why it cannot be.
pub(super) struct Member<R> {
    pub(super) server: Server,
    pub(super) prepared: Result<R, Failure>,
    pub(super) options: Options,
    pub(super) is_eager: bool,
    /// Others may reach it without a message of the client's.
    has_peers: bool,
}

/// All servers that a session has had; their numbers stay.
pub(super) type Members<R> = Rc<RefCell<Vec<Member<R>>>>;

/// What each server of a session is made with.
pub(super) struct Making<'a, B> {
    pub(super) args: &'a RunArgs,
    pub(super) home: &'a Home,
    pub(super) is_shared: bool,
    /// Whose network all servers of the session share.
    pub(super) peers: Option<Peers>,
    pub(super) options: Options,
    pub(super) backend: &'a B,
}

impl<B: Backend> Making<'_, B> {
    /// A server of the session. One that cannot be started says so to whoever calls it.
    pub(super) fn member(&self, config: &Config, server: Server) -> Member<B::Ready> {
        let Self { args, home, is_shared, peers, options, backend } = self;
        let mut options = Options { server: server.name.clone(), ..options.clone() };
        let resolved = config.resolve(server.clone(), &variable, caller()).map_err(Failure::from);
        let prepared = resolved.and_then(|mut resolved| {
            hand_proxies(&mut resolved, config, home);
            // What one server is given no other's records show.
            options.redactor.learn(resolved.secrets());
            let mut ready = prepare(args, (config, home), resolved, &mut options, *backend)?;
            if let Some(peers) = peers {
                ready.share(peers)?;
            }
            Ok(ready)
        });
        let is_eager = server.settings.start(*is_shared) == Start::Session;
        Member { server, prepared, options, is_eager, has_peers: peers.is_some() }
    }
}

impl<R> Member<R> {
    pub(super) fn options(&self) -> MemberOptions {
        let settings = &self.server.settings;
        // What a session has to itself it keeps to its end.
        let is_alone = settings.volumes.is_empty() && settings.publish.is_empty() && !self.has_peers;
        let may_park = settings.stateless && is_alone;
        MemberOptions {
            server: self.server.name.clone(),
            label: self.server.prefix().to_owned(),
            is_eager: self.is_eager,
            idle: settings.idle.filter(|_| may_park),
            holds: settings.definitions == Definitions::Hold,
        }
    }
}
