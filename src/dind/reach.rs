//! How berth reaches the daemon if the engine publishes the port elsewhere: berth runs in a container with the engine's
//! socket, as in development containers.
//!
//! A silent address proves nothing by itself. It does if the daemon answers inside its own container meanwhile. Then
//! berth makes a network of its own, which leads nowhere, and attaches both containers to it. It never uses the
//! person's own networks: their members would see the daemon's port, and removing such a network would fail. An address
//! on the engine's own bridge would not do, because it changes.

use std::time::{Duration, Instant};

use tokio::sync::Mutex;

use super::answer::{self, Answer};
use super::place::{self, Place};
use super::progress::Progress;
use super::{DindError, addresses, spec};
use crate::config::{Dind, Home};
use crate::dock::dial::{DialError, Endpoint};
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::managed_by;
use crate::failure::chain;

/// Between two looks into the daemon's container, for a berth that is in another one.
const CONTAINED: Duration = Duration::from_millis(300);
/// The same for one that is not: then the silence is a start that takes its time, as a rule.
const ELSEWHERE: Duration = Duration::from_millis(1500);
/// A connection in a network of its own is made within milliseconds.
const JOINED_WITHIN: Duration = Duration::from_secs(5);
/// How many other daemons may take a network between a look at what is free and its creation.
const NETWORK_ATTEMPTS: u32 = 5;

/// The network in which a berth in a container meets the daemon.
pub(super) fn network(dind: &Dind) -> String {
    format!("{}-net", dind.name)
}

/// The daemon as it is reached from here.
#[derive(Debug)]
pub(super) struct Reach<'a> {
    dind: &'a Dind,
    home: &'a Home,
    engine: &'a Engine,
    progress: &'a Progress,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    endpoint: Endpoint,
    /// The endpoint is the noted one, and it is not yet known whether the daemon's container is in that network.
    to_rejoin: bool,
    silent_since: Option<Instant>,
    looked: Option<Instant>,
    place: Option<Place>,
    /// How often in a row it answered in its container and not here.
    contradictions: u32,
}

impl<'a> Reach<'a> {
    pub(super) fn new(
        dind: &'a Dind,
        home: &'a Home,
        engine: &'a Engine,
        progress: &'a Progress,
    ) -> Result<Self, DialError> {
        let noted = place::address(dind, home);
        let address = noted.clone().unwrap_or_else(|| dind.daemon(home).address);
        let state = State {
            endpoint: Endpoint::parse(&address, Some(&home.certs))?,
            to_rejoin: noted.is_some(),
            silent_since: None,
            looked: None,
            place: None,
            contradictions: 0,
        };
        Ok(Self { dind, home, engine, progress, state: Mutex::new(state) })
    }

    /// Where the daemon is, as far as is known.
    pub(super) async fn endpoint(&self) -> Endpoint {
        self.state.lock().await.endpoint.clone()
    }

    /// What the daemon answers, by whatever way there is to it. An error says that there is none.
    pub(super) async fn ask(&self) -> Result<Answer, DindError> {
        let mut state = self.state.lock().await;
        if std::mem::take(&mut state.to_rejoin) {
            self.rejoin().await;
        }
        match self.ask_at(&state.endpoint).await {
            Answer::Silence(cause) => {
                Ok(self.elsewhere(&mut state, &cause).await?.unwrap_or(Answer::Silence(cause)))
            }
            answer => {
                state.silent_since = None;
                Ok(answer)
            }
        }
    }

    async fn ask_at(&self, endpoint: &Endpoint) -> Answer {
        answer::ask(endpoint, &self.home.certs).await
    }

    /// A daemon that was made again has lost its place in the network.
    async fn rejoin(&self) {
        let (name, network) = (self.dind.name.as_str(), network(self.dind));
        if let Ok(Some(attached)) = self.engine.attached(name).await
            && !attached.networks.contains(&network)
        {
            // Where that fails, nothing will answer there, and it is seen to again.
            drop(self.engine.connect(&network, name).await);
        }
    }

    /// Whether the daemon is to be had by another way than the one that is silent.
    async fn elsewhere(&self, state: &mut State, cause: &str) -> Result<Option<Answer>, DindError> {
        let ordinary = self.dind.daemon(self.home).address;
        if state.endpoint.to_string() != ordinary
            && let Ok(endpoint) = Endpoint::parse(&ordinary, Some(&self.home.certs))
            && let answer @ (Answer::Good | Answer::OldCertificate(_)) = self.ask_at(&endpoint).await
        {
            state.endpoint = endpoint;
            self.place(state).await.note_way(self.dind, self.home, None)?;
            return Ok(Some(answer));
        }
        let since = *state.silent_since.get_or_insert_with(Instant::now);
        let is_inside = self.place(state).await.container.is_some();
        let (pause, enough) = if is_inside { (CONTAINED, 2) } else { (ELSEWHERE, 3) };
        if state.looked.unwrap_or(since).elapsed() < pause {
            return Ok(None);
        }
        let answers_inside = self.answers_inside().await;
        state.looked = Some(Instant::now());
        if !answers_inside {
            state.contradictions = 0;
            return Ok(None);
        }
        // It may have begun to meanwhile.
        match self.ask_at(&state.endpoint).await {
            Answer::Silence(_) => {}
            answer => return Ok(Some(answer)),
        }
        state.contradictions += 1;
        if state.contradictions < enough {
            return Ok(None);
        }
        let place = self.place(state).await;
        let Some(container) = &place.container else { return Err(self.unreached(cause, None)) };
        let (endpoint, answer) = self.join(container, cause).await?;
        place.note_way(self.dind, self.home, Some(&endpoint.to_string()))?;
        state.endpoint = endpoint;
        Ok(Some(answer))
    }

    async fn place(&self, state: &mut State) -> Place {
        if let Some(place) = &state.place {
            return place.clone();
        }
        let place = Place::find(self.engine, self.home).await;
        state.place.insert(place).clone()
    }

    /// Whether the daemon answers its own health check.
    async fn answers_inside(&self) -> bool {
        let check = spec::health_check();
        let answer = self.engine.succeeds(&self.dind.name, &check);
        matches!(super::soon(self.engine, answer).await, Ok(true))
    }

    /// Attaches the daemon and the container that berth is in to a network of their own.
    async fn join(&self, container: &str, cause: &str) -> Result<(Endpoint, Answer), DindError> {
        let network = network(self.dind);
        let unreached = |why: String| self.unreached(cause, Some((container, &network, why)));
        let failed = |error: DockerError| unreached(chain(&error));
        let (label, value) = managed_by();
        let made = match self.engine.network_labels(&network).await.map_err(failed)? {
            Some(labels) if labels.get(&label) != Some(&value) => {
                return Err(unreached("another network that is not berth's has that name".to_owned()));
            }
            Some(_) => false,
            None => {
                self.create_network(&network).await.map_err(failed)?;
                true
            }
        };
        let mut joined = Vec::new();
        match self.meet(container, &network, &mut joined).await {
            Ok(met) => {
                let said = format!(
                    "joined the container `{}`, in which berth runs, to the network `{network}`: it cannot \
                     reach the engine's {}",
                    short(container),
                    self.dind.daemon(self.home).address
                );
                self.progress.say(&said);
                Ok(met)
            }
            Err(why) => {
                for member in joined {
                    drop(self.engine.disconnect(&network, &member).await);
                }
                if made {
                    drop(self.engine.remove_network(&network).await);
                }
                Err(unreached(why))
            }
        }
    }

    /// The engine chooses the addresses, since it alone knows its machine's routes. It knows nothing of the daemon's own
    /// networks, so its choice may be of no use.
    async fn create_network(&self, network: &str) -> Result<(), DockerError> {
        self.engine.create_network(network, None, [managed_by()].into()).await?;
        let chosen = self.engine.network_subnets(network).await?;
        if addresses::is_apart(self.dind, &chosen) {
            return Ok(());
        }
        self.engine.remove_network(network).await?;
        let mut attempts = 0;
        loop {
            let subnet = addresses::meeting(self.dind, self.engine).await?;
            attempts += 1;
            match self.engine.create_network(network, subnet, [managed_by()].into()).await {
                // Another daemon's network was made there since the look.
                Err(DockerError::Refused { message, .. })
                    if message.contains("overlaps") && attempts < NETWORK_ATTEMPTS =>
                {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                created => return created,
            }
        }
    }

    async fn meet(
        &self,
        container: &str,
        network: &str,
        joined: &mut Vec<String>,
    ) -> Result<(Endpoint, Answer), String> {
        // One that shares another's network is reached by that one.
        let attached = self.engine.attached(container).await.map_err(|error| chain(&error))?;
        let owner = attached.and_then(|attached| Some(attached.mode.strip_prefix("container:")?.to_owned()));
        for member in [self.dind.name.as_str(), owner.as_deref().unwrap_or(container)] {
            if self.engine.connect(network, member).await.map_err(|error| chain(&error))? {
                joined.push(member.to_owned());
            }
        }
        let address = format!("tcp://{}:{}", self.dind.name, spec::PORT_NUMBER);
        let endpoint = Endpoint::parse(&address, Some(&self.home.certs)).map_err(|error| chain(&error))?;
        let began = Instant::now();
        loop {
            match self.ask_at(&endpoint).await {
                Answer::Silence(why) if began.elapsed() > JOINED_WITHIN => {
                    return Err(format!("nothing answers at {address} there: {why}"));
                }
                Answer::Silence(_) => tokio::time::sleep(Duration::from_millis(100)).await,
                answer => return Ok((endpoint, answer)),
            }
        }
    }

    fn unreached(&self, cause: &str, joining: Option<(&str, &str, String)>) -> DindError {
        let engine = self.engine.endpoint();
        let (why, next) = match joining {
            None => (
                format!(
                    "berth runs neither on the machine of the engine `{engine}` nor in one of its containers"
                ),
                "set `bind` in [dind] to an address of that machine that this machine reaches",
            ),
            Some((container, network, why)) => (
                format!(
                    "the container `{}`, in which berth runs, cannot reach it in the network `{network}`: {why}",
                    short(container)
                ),
                "set `bind` in [dind] to an address of the engine's machine that this container reaches, or start \
                 this container with that machine's network (`--network host`)",
            ),
        };
        DindError::Unreached {
            name: self.dind.name.clone(),
            address: self.dind.daemon(self.home).address,
            cause: cause.to_owned(),
            why,
            next,
        }
    }
}

fn short(id: &str) -> &str {
    id.get(..12).unwrap_or(id)
}

/// Has a container start again whose network was removed while it was stopped; false if it was in none.
pub(super) async fn leave(engine: &Engine, dind: &Dind) -> bool {
    engine.disconnect(&network(dind), &dind.name).await.is_ok()
}

/// Removes the network, if there is one of berth's. Who is in it is taken out first, what doesn't run too: a container
/// whose network is gone can't be started again.
pub(super) async fn part(engine: &Engine, dind: &Dind, progress: &Progress) -> Result<(), DockerError> {
    let (network, (label, value)) = (network(dind), managed_by());
    let labels = engine.network_labels(&network).await?;
    if labels.is_none_or(|labels| labels.get(&label) != Some(&value)) {
        return Ok(());
    }
    for member in engine.members(&network).await? {
        // One that has gone meanwhile needs nothing; of any other the network's removal will say it.
        drop(engine.disconnect(&network, &member).await);
    }
    if engine.remove_network(&network).await? {
        progress.say(&format!("removed the network `{network}`"));
    }
    Ok(())
}
