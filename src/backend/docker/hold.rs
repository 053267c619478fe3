//! What keeps a session's container, and tells of its end.

use std::time::Duration;

use futures::FutureExt;

use crate::dock::docker::DockerError;
use crate::dock::exec;
use crate::dock::keeper;
use crate::dock::lease::Lifeline;
use crate::dock::owner::Owner;
use crate::dock::standby::End;

/// What the keeper is only told must not hold up the session.
pub(super) const TOLD_WITHIN: Duration = Duration::from_millis(500);

/// What keeps the container, and tells of its end.
#[derive(Debug)]
pub(super) enum Hold {
    /// The lifeline; the server is a process beside it.
    Lifeline { lifeline: Lifeline, exec: String, owner: Owner },
    /// The server is the container's first process but one, and both end together; `end` resolves with its exit code.
    /// `lifeline`: where its own streams are others; else they are what holds it.
    Container { end: End, lifeline: Option<exec::Input>, owner: Owner },
}

impl Hold {
    /// Resolves when the container has ended or the daemon is out of reach, once; with the exit code where it is the
    /// server's. Cancel safe.
    pub(super) async fn ended(&mut self) -> Option<Result<i64, DockerError>> {
        match self {
            Self::Lifeline { lifeline, .. } => {
                lifeline.ended().await;
                None
            }
            Self::Container { end, .. } => Some(end.wait().await),
        }
    }

    /// Has the keeper show what is known of the owner by now. No failure counts: it is only shown.
    pub(super) async fn introduce(&mut self, change: impl FnOnce(&mut Owner)) {
        let (Self::Lifeline { owner, .. } | Self::Container { owner, .. }) = self;
        let before = owner.clone();
        change(owner);
        if *owner == before {
            return;
        }
        let introducing = async {
            match self {
                Self::Lifeline { lifeline, owner, .. } => lifeline.introduce(owner).await,
                Self::Container { lifeline: Some(lifeline), owner, .. } => {
                    keeper::say(lifeline, &keeper::introduce(owner)).await
                }
                // The lifeline is the server's input, and nothing else may be written there.
                Self::Container { .. } => Ok(()),
            }
        };
        let _ = tokio::time::timeout(TOLD_WITHIN, introducing).await;
    }

    /// Whether somebody has ended the session from outside, by what the keeper has said until now.
    pub(super) fn has_heard_of_the_end(&mut self) -> bool {
        if let Self::Lifeline { lifeline, .. } = self {
            let _ = lifeline.ended().now_or_never();
        }
        self.is_ended()
    }

    /// Whether somebody has ended the session from outside, as far as is known.
    pub(super) fn is_ended(&self) -> bool {
        matches!(self, Self::Lifeline { lifeline, .. } if lifeline.is_ended())
    }
}
