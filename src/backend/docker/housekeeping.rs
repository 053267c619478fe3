//! What a session does in the daemon besides serving. It numbers its container and starts the next standby. It removes
//! leftovers of crashed sessions, and tells the daemon this machine's nameservers.
//!
//! None of this may delay the session's own start. It begins with the server's first answer, when the client has what
//! it waits for. Nor may it delay another session's: containers are put on standby when no session starts, one at a time.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::newest::{Newest, Next};
use super::refused::Watch;
use super::targets::{self, Target, Targets};
use super::turn::{Starting, Turn};
use super::uses;
use crate::backend::plan::Replenishing;
use crate::dock::docker::Engine;
use crate::dock::door::Doors;
use crate::dock::refused::List;
use crate::dock::spec::Spec;
use crate::dock::{lease, reserved, resolver, roster, standby};
use crate::failure::Failure;
use crate::observe::journal::Choice;
use crate::observe::trace::Trace;

/// A server whose client asks nothing has its number after this time.
const NAMED_WITHIN: Duration = Duration::from_secs(1);

/// A session that ends at once starts the next one's container all the same, but takes no longer than this for it.
const REPLENISHED_WITHIN: Duration = Duration::from_millis(500);

/// Others give way to a session that waits for its server's first answer, but not for longer.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// A daemon that does not answer a session's replenishing does not hold up that of all others.
const TURN_LASTS: Duration = Duration::from_secs(30);

/// What a container holds whose server does not run yet (bytes).
const KEEPER_NEEDS: u64 = 8 << 20;

/// No start is believed to take longer.
const LONGEST_START: Duration = Duration::from_mins(5);

/// When the session's container was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Made {
    /// For this session; it has no number yet.
    Now,
    /// It was on standby, and got its number with the claim.
    Before,
}

/// All that it needs.
pub(super) struct Housekeeping {
    pub(super) engine: Engine,
    pub(super) container: String,
    pub(super) spec: Spec,
    /// The image's id.
    pub(super) image: String,
    pub(super) argv: Vec<String>,
    pub(super) tell_nameservers: bool,
    /// The daemon is of berth's own making.
    pub(super) is_own: bool,
    /// The folder of berth's state.
    pub(super) state: PathBuf,
    /// The daemon's folder of doors, where it has one.
    pub(super) doors: Option<Doors>,
    /// Who asks the registry for a newer image.
    pub(super) newest: Option<Newest>,
    pub(super) replenishing: Replenishing,
    pub(super) trace: Trace,
    /// Where it is told what its network refuses.
    pub(super) refused: Option<List>,
}

/// The work under way.
#[derive(Debug)]
pub(super) struct Housekeeper {
    answered: CancellationToken,
    /// Nothing is begun that must be finished.
    replenished: CancellationToken,
    /// The session is ending.
    leaving: CancellationToken,
    work: JoinHandle<()>,
    refused: Option<Arc<Watch>>,
}

impl Housekeeping {
    /// `starting` ends with the start.
    pub(super) fn start(self, made: Made, starting: Arc<Starting>) -> Housekeeper {
        let answered = CancellationToken::new();
        let replenished = CancellationToken::new();
        let leaving = CancellationToken::new();
        let watch = self
            .refused
            .clone()
            .map(|list| Arc::new(Watch::new(self.engine.clone(), self.container.clone(), list)));
        let refused = watch.clone();
        let (answer, done, leave) = (answered.clone(), replenished.clone(), leaving.clone());
        let work = async move {
            let mut starting = Some(starting);
            let _ = tokio::time::timeout(NAMED_WITHIN, answer.cancelled()).await;
            // Not after the naming: of sessions that end together one has its turn at once.
            starting.take_if(|_| answer.is_cancelled());
            // First, so that the next standby doesn't take the same number.
            if made == Made::Now {
                tokio::select! {
                    () = self.take_name() => {}
                    // It needs no number any more.
                    () = leave.cancelled() => {}
                }
            }
            let rest = async {
                let _ = tokio::time::timeout(STARTED_WITHIN, answer.cancelled()).await;
                // Nor before it has its number, for others choose theirs for standby by what is taken.
                drop(starting);
                answer.cancelled().await;
                self.publish();
                let targets = targets::read(&self.state);
                let expects_another = self.expects_another(made, targets.of(&kind(&self.spec)));
                if expects_another {
                    self.put_on_standby(&self.spec, &self.image, &self.argv, &targets, &leave).await;
                }
                done.cancel();
                if let Some(journal) = self.trace.journal() {
                    journal.tidy();
                }
                tokio::join!(self.sweep(), self.renew(expects_another, &targets, &leave));
            };
            // To the end of the session. A server that answers nothing may be waiting for a name.
            let follow = async {
                if self.tell_nameservers {
                    resolver::follow(&self.engine).await;
                }
            };
            let refusals = async {
                if let Some(watch) = watch {
                    watch.follow().await;
                }
            };
            tokio::join!(rest, follow, refusals);
        };
        Housekeeper { answered, replenished, leaving, work: tokio::spawn(work), refused }
    }

    /// Gives the container its number.
    async fn take_name(&self) {
        let began = Instant::now();
        match lease::name(&self.engine, &self.container, &self.spec.client).await {
            Ok(name) => self.trace.step("take a name", began, &name),
            // The container is ours by its lifeline; it only keeps its first name.
            Err(error) => tracing::warn!("{}", Failure::from(error).message()),
        }
    }

    /// Clears away what crashed sessions left, if anything. Where a start may take long, others' containers stand still longer
    /// on their way, too.
    async fn sweep(&self) {
        match roster::sweep(&self.engine, stale_after(self.spec.server.settings.start_timeout)).await {
            Ok(swept) => {
                for name in swept {
                    self.trace.note(None, "leftover removed", &name, 0);
                    tracing::warn!("removed `{name}`, which a crash had left");
                }
            }
            Err(error) => tracing::debug!("cannot remove leftovers of crashed sessions: {error}"),
        }
        if self.is_own
            && let Err(error) = roster::sweep_volumes(&self.engine).await
        {
            tracing::debug!("cannot remove the volumes of ended sessions: {error}");
        }
        if let Some(doors) = &self.doors
            && let Err(error) =
                doors.sweep(&self.engine, stale_after(self.spec.server.settings.start_timeout)).await
        {
            tracing::debug!("cannot remove the doors of ended containers: {error}");
        }
        if let Err(error) = reserved::clear(&self.state, &self.engine).await {
            tracing::debug!("cannot remove what crashed sessions reserved: {error}");
        }
    }

    /// Whether another session like this one is likely: somebody has configured it, or this is not the first one.
    fn expects_another(&self, made: Made, target: Option<Target>) -> bool {
        let Spec { server, session, .. } = &self.spec;
        if let Some(target) = target.filter(|target| target.by_hand) {
            return target.within(server.settings.standby) > 0;
        }
        if server.settings.standby.is_none() || self.replenishing.at_first_use {
            return !server.settings.standby.is_none();
        }
        let was_used = uses::note(&self.state, &kind(&self.spec), session);
        was_used || made == Made::Before
    }

    /// Starts what the next session may claim, when its turn comes.
    async fn put_on_standby(
        &self,
        spec: &Spec,
        image: &str,
        argv: &[String],
        targets: &Targets,
        leave: &CancellationToken,
    ) {
        let Some(_turn) = Turn::wait(&self.state, leave).await else { return };
        let began = Instant::now();
        // As many as a manager found useful, where it may choose and runs.
        let standby = spec.server.settings.standby;
        let wanted = targets.of(&kind(spec)).map_or(standby.unchosen(), |target| target.within(standby));
        let replenishing =
            standby::replenish(&self.engine, spec, image, argv, wanted, self.replenishing.limit);
        // Nobody else of this home has the turn meanwhile.
        let replenished = tokio::time::timeout(TURN_LASTS, replenishing).await;
        match replenished.unwrap_or_else(|_| Ok(Vec::new())) {
            Ok(names) => names.iter().for_each(|name| self.trace.step("put on standby", began, name)),
            Err(error) => tracing::warn!("cannot put a container on standby: {}", Failure::from(error)),
        }
    }

    /// Says what a manager needs to know to choose, or a person to choose in the configuration's place.
    fn publish(&self) {
        let settings = &self.spec.server.settings;
        if let Some(journal) = self.trace.journal() {
            journal.standby(&Choice {
                kind: &kind(&self.spec),
                least: settings.standby.least(),
                most: settings.standby.most(),
                memory: if settings.prestart { settings.memory } else { KEEPER_NEEDS },
            });
        }
    }

    /// The next session has the registry's image. Until that is here, one of the image that is there stands by.
    async fn renew(&self, expects_another: bool, targets: &Targets, leave: &CancellationToken) {
        let Some(newest) = &self.newest else { return };
        match Box::pin(newest.fetch(&self.engine, &self.trace)).await {
            Ok(Some(Next { image, declared, argv })) if expects_another => {
                let spec = Spec { image: image.clone(), declared, ..self.spec.clone() };
                self.put_on_standby(&spec, &image, &argv, targets, leave).await;
            }
            Ok(_) => {}
            Err(why) => tracing::warn!("there is no newer `{}`: {why}", self.spec.server.image),
        }
    }
}

fn kind(spec: &Spec) -> String {
    targets::kind(&spec.client, &spec.hash())
}

/// What a session's sweep takes for left behind, by the `start_timeout` of its own server.
fn stale_after(start_timeout: Duration) -> Duration {
    start_timeout.clamp(roster::STALE_AFTER, LONGEST_START)
}

impl Housekeeper {
    /// The server has answered: the client has what it was waiting for.
    pub(super) fn answered(&self) {
        self.answered.cancel();
    }

    /// While the container is still there.
    pub(super) async fn last_look(&self) {
        if let Some(watch) = &self.refused {
            watch.finish().await;
        }
    }

    /// Ends it with the session.
    pub(super) async fn finish(self) {
        self.leaving.cancel();
        if self.answered.is_cancelled() {
            let _ = tokio::time::timeout(REPLENISHED_WITHIN, self.replenished.cancelled()).await;
        }
        self.work.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_daemons_containers_are_left_alone_for_longer() {
        let stale_after = |seconds| stale_after(Duration::from_secs(seconds)).as_secs();
        assert_eq!([stale_after(1), stale_after(30), stale_after(86_400)], [20, 30, 300]);
    }
}
