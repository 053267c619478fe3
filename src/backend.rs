//! A backend starts a session's server and gives it to the session as an [`Upstream`]. It also keeps containers on
//! standby, and tidies up.

pub mod caller;
pub mod ceiling;
pub mod docker;
pub mod plan;
pub mod publish;

use serde_json::Value;
use tokio::sync::oneshot;

use crate::config::{Config, EnvVar, Home};
use crate::dock::spec::Spec;
use crate::failure::Failure;
use crate::observe::trace::Trace;
use crate::session::upstream::Upstream;
use docker::peers::Peers;
use plan::Plan;

/// Who runs servers.
pub trait Backend {
    type Ready: Ready;

    /// A server that can be started: all that can be found out before the first connection.
    ///
    /// # Errors
    /// What the server asks for and cannot have here.
    fn ready(&self, plan: Plan, config: &Config, home: &Home) -> Result<Self::Ready, Failure>;

    /// What would be created for a server with these variables.
    ///
    /// # Errors
    /// As [`ready`](Self::ready).
    fn preview(&self, spec: Spec, env: &[EnvVar], config: &Config, home: &Home) -> Result<Value, Failure>;
}

/// A server of a session, to be started as often as it is needed.
pub trait Ready: Clone + 'static {
    type Upstream: Upstream + 'static;

    fn plan(&self) -> &Plan;
    fn plan_mut(&mut self) -> &mut Plan;

    /// The session begins, with what it holds to its end.
    fn begin(&mut self, trace: &Trace);

    /// Its server is to share a network with these.
    ///
    /// # Errors
    /// It cannot.
    fn share(&mut self, peers: &Peers) -> Result<(), Failure>;

    /// Starts the server. Begins before the client has said anything; `said` gives the client's name then.
    fn start(
        self,
        said: oneshot::Receiver<Option<String>>,
        trace: Trace,
    ) -> impl Future<Output = Result<Self::Upstream, Failure>>;
}
