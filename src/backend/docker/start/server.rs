//! The server in a container that is the session's already: started by an exec, or taken over, with the way of its bytes.

use std::time::Instant;

use super::{BY_PIPES, SILENT, Start};
use crate::backend::docker::again::Setback;
use crate::backend::docker::hold::Hold;
use crate::backend::docker::housekeeping::Made;
use crate::backend::docker::upstream::DockerUpstream;
use crate::dock::docker::DockerError;
use crate::dock::door::Door;
use crate::dock::exec::{self, Command, Exec};
use crate::dock::place::Place;
use crate::dock::ports::{self, Link};
use crate::dock::standby::{Prestarted, Standby};
use crate::dock::streams::{Streams, WhyNot};
use crate::dock::wire::Wire;
use crate::failure::{Code, Failure};
use crate::values::{Isolation, Way};

/// A server that an exec has become.
pub(super) struct Running {
    /// The daemon's id of it.
    pub(super) exec: String,
    pub(super) streams: Streams,
    pub(super) door: Option<Door>,
}

impl Start {
    pub(super) async fn take_server(
        &self,
        standby: &Standby,
        wire: Wire,
        waiting: Wire,
    ) -> Result<DockerUpstream, Setback> {
        let mut owner = self.spec.owner();
        let began = Instant::now();
        let door = self.door_of(standby);
        if standby.has_door() && door.is_none() {
            // Its server has pipes that nobody else can hand over.
            return Err(DockerError::broken("take the server of", standby.name(), "its door is gone").into());
        }
        let taken = standby.take_server(wire, waiting, door.as_ref(), &mut owner).await;
        let Prestarted { mut streams, end } = taken?;
        self.tell_the_way(began, &streams)?;
        let link = self.join_ports(standby.id(), standby.place()).await?;
        let lifeline = streams.beside.take();
        let hold = Hold::Container { end, lifeline, owner };
        let upstream = self.upstream(standby.id().to_owned(), standby.place(), streams, hold, Made::Before);
        Ok(upstream.joined(link).behind(door))
    }

    /// The door that a container on standby was made with.
    pub(super) fn door_of(&self, standby: &Standby) -> Option<Door> {
        let doors = self.spec.doors.as_ref().filter(|_| standby.has_door())?;
        let door = doors.door_of(standby.place());
        door.inspect_err(|error| tracing::debug!("the door of `{}` is gone: {error}", standby.name())).ok()
    }

    /// Before the server, which may look for its services at once.
    pub(super) async fn join_ports(&self, container: &str, place: &Place) -> Result<Option<Link>, Setback> {
        let server = &self.spec.server;
        if !server.settings.has_ports() {
            return Ok(None);
        }
        let began = Instant::now();
        let whose = (server.name.as_str(), &server.settings);
        let link = Box::pin(ports::join(&self.engine, container, place, whose, &self.trace)).await?;
        self.trace.step("join its ports", began, &server.name);
        if let Some(published) = &self.published {
            published.lead_to(&link);
        }
        Ok(Some(link))
    }

    pub(super) async fn exec(
        &self,
        wire: Wire,
        container: &str,
        place: &Place,
        door: Option<Door>,
    ) -> Result<Running, Setback> {
        let (wire, env) = self.env(wire).await?;
        let began = Instant::now();
        let listening = door.as_ref().map(Door::listen).transpose();
        let listening = listening
            .inspect_err(|error| tracing::debug!("cannot listen at the container's door: {error}"))
            .unwrap_or_default();
        let command = Command {
            door: listening.is_some(),
            place: place.clone(),
            argv: self.argv.clone(),
            env,
            session: self.spec.session.clone(),
            options: self.spec.keeper_options(),
        };
        let Exec { id, input, output } = exec::start(wire, container, &command).await?;
        self.trace.step("start the server", began, &self.spec.server.name);
        let began = Instant::now();
        let streams = match listening {
            Some(listening) => Streams::through(listening, &[], container, input, output).await?,
            None => Streams::of_daemon(input, output),
        };
        self.tell_the_way(began, &streams)?;
        Ok(Running { exec: id, streams, door })
    }

    /// Which way the server's bytes take; fails where it may not be that one.
    pub(super) fn tell_the_way(&self, began: Instant, streams: &Streams) -> Result<(), Setback> {
        if streams.is_direct() {
            self.trace.step(BY_PIPES, began, &self.spec.server.name);
            return Ok(());
        }
        let why = match &streams.why_not {
            Some(WhyNot::KeeperEnded) => return Ok(()),
            Some(WhyNot::Refused(why)) => why,
            None if self.spec.doors.is_some() => "the container has no door",
            None if self.spec.server.settings.isolation == Isolation::Gvisor => {
                "no pipe leads out of a kernel of its own"
            }
            None => "the daemon shares no folder with this machine",
        };
        let server = &self.spec.server;
        match server.settings.streams {
            Way::Exec => Ok(()),
            Way::Auto => {
                self.trace.step("stay with the daemon's stream", began, why);
                Ok(())
            }
            Way::Direct => Err(Setback::Lasting(Failure {
                code: Code::Unavailable,
                text: format!("the bytes of `{}` cannot come by pipes: {why}", server.name),
                next: Some(
                    "type `berth up` for a daemon of berth's own on this machine, or set `streams = \"auto\"`"
                        .to_owned(),
                ),
            })),
        }
    }

    /// The server's environment, and a connection that has not been silent for long.
    pub(super) async fn env(&self, wire: Wire) -> Result<(Wire, Vec<String>), Setback> {
        let Some(secrets) = &self.secrets else { return Ok((wire, self.spec.env.clone())) };
        let began = Instant::now();
        let env = secrets.fill(&self.spec.env).await?;
        self.trace.step("wait for the secrets", began, "");
        let is_fresh = began.elapsed() < SILENT;
        let wire = if is_fresh { wire } else { Wire::connect(self.engine.endpoint()).await? };
        Ok((wire, env))
    }
}
