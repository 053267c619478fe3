//! A start by a pod that stands by.

use std::time::Duration;

use mcp_berth::failure::Failure;

use super::{ASKED_WITHIN, Start};
use crate::claim::{self, Claimed, Found, Standing};
use crate::hold::Hold;
use crate::housekeeping::Made;
use crate::nodes;
use crate::pump::{From, To};
use crate::streams::Execs;
use crate::upstream::KubernetesUpstream;

/// A pod that runs answers by then, or never. Where all is slow, it has so many times as long as the claim took.
const CLAIMED_WITHIN: Duration = Duration::from_secs(5);
const CLAIMED_LATEST: Duration = Duration::from_secs(20);
const SLOWER: u32 = 10;

/// What became of a pod that was claimed.
enum Taken {
    Up(Box<KubernetesUpstream>),
    /// It came to its end in this moment.
    Ended,
    /// It gave no answer.
    Silent,
}

impl Start {
    /// A pod that stood by; `None`: there is none, or none that still runs.
    pub(super) async fn claimed(&self) -> Option<KubernetesUpstream> {
        if self.spec.server.settings.standby.is_none() {
            return None;
        }
        let keeper = self.keeper();
        let plan = self.plan(&keeper);
        let began = std::time::Instant::now();
        let Standing { ready, count } = self.in_time("list", claim::find(&self.cluster, &plan)).await?;
        self.trace.step("look for a pod on standby", began, &format!("{} found", ready.len()));
        if ready.is_empty() {
            return None;
        }
        let cordoned = nodes::cordoned(&self.cluster.client).await;
        for Found { name, node } in ready {
            // Where one does not answer, its node may be gone, and the others with it.
            if cordoned.contains(&node) || self.nodes.off().contains(&node) {
                self.trace.step("pass over a pod on standby, for its node", began, &name);
                continue;
            }
            let began = std::time::Instant::now();
            let owner = self.spec.owner();
            match self.in_time("patch", claim::claim(&self.cluster, &name, &plan, &owner)).await? {
                Some(Claimed { hold, announced }) => {
                    self.trace.step("claim a pod on standby", began, &name);
                    let within = (began.elapsed() * SLOWER).clamp(CLAIMED_WITHIN, CLAIMED_LATEST);
                    let made = Made::Before { left: count - 1 };
                    match self.take(hold, announced, made, within).await {
                        Taken::Up(upstream) => return Some(*upstream),
                        Taken::Ended => {}
                        Taken::Silent => self.nodes.keep_off(&node),
                    }
                }
                None => self.trace.step("lose a pod on standby to another session", began, &name),
            }
        }
        None
    }

    /// What a standby costs that cannot be had is little: a pod can always be made.
    async fn in_time<T>(&self, verb: &str, asked: impl Future<Output = kube::Result<T>>) -> Option<T> {
        let why = match tokio::time::timeout(ASKED_WITHIN, asked).await {
            Ok(Ok(answer)) => return Some(answer),
            Ok(Err(error)) => Failure::from(self.asked(verb, "pods").refused(&error)).to_string(),
            Err(_) => format!("no answer to `{verb}` within {ASKED_WITHIN:?}"),
        };
        tracing::warn!("cannot use a pod on standby: {why}");
        None
    }

    /// By the stream over which its keeper was told, too.
    async fn take(&self, mut hold: Hold, announced: (To, From), made: Made, within: Duration) -> Taken {
        let began = std::time::Instant::now();
        let name = hold.name().to_owned();
        let execs = Execs::new(self.cluster.client.clone(), self.cluster.place(&name));
        let (linked, opened) = self.link(&name, execs);
        hold.keep_alive(self.lifeline(&name, &linked.cuts, Some(announced)));
        let failed = match tokio::time::timeout(within, opened).await {
            Ok(Ok(())) => {
                self.trace.step("take over the pod", began, &name);
                return Taken::Up(Box::new(self.up(hold, linked, made)));
            }
            // It came to its end in this moment.
            Ok(Err(_)) => Taken::Ended,
            Err(_) => {
                hold.mark_unheard();
                Taken::Silent
            }
        };
        tracing::warn!("cannot use the pod `{name}`, which stood by");
        failed
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::fake;
    use crate::start::tests;

    #[tokio::test(start_paused = true)]
    async fn who_asks_for_a_standby_waits_for_no_answer() {
        let (cluster, _) = fake::cluster(|_| (200, fake::status(200, "")));
        let start = tests::start(cluster, |_| ());
        assert_eq!(start.in_time("list", std::future::ready(Ok(1))).await, Some(1));
        let began = Instant::now();
        assert_eq!(start.in_time("list", std::future::pending::<kube::Result<()>>()).await, None);
        assert_eq!(began.elapsed(), ASKED_WITHIN);
    }
}
