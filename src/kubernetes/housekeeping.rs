//! What a session does in the cluster besides serving: it starts the next standby and deletes what others have left. None of
//! it begins before the server's first answer, when the client has what it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::trace::Trace;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::pod::Plan;
use super::standby;
use super::sweep::{self, Among, LOOKED_AT_WITHIN};
use super::template::Template;

/// A session that ends at once starts the next one's pod all the same, but takes no longer than this for it.
const REPLENISHED_WITHIN: Duration = Duration::from_millis(500);

/// When the session's pod was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Now,
    Before,
}

/// All that it needs.
pub(crate) struct Housekeeping {
    pub(crate) cluster: Cluster,
    pub(crate) spec: Arc<Spec>,
    /// How many pods are to stand by for the next sessions like this one.
    pub(crate) wanted: u32,
    /// How many may stand by in the namespace, where the configuration says it.
    pub(crate) limit: Option<u32>,
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) trace: Trace,
}

/// The work under way.
pub(crate) struct Housekeeper {
    answered: CancellationToken,
    replenished: CancellationToken,
    work: JoinHandle<()>,
}

impl Housekeeping {
    pub(crate) fn start(self) -> Housekeeper {
        let (answered, replenished) = (CancellationToken::new(), CancellationToken::new());
        let (answer, done) = (answered.clone(), replenished.clone());
        let work = async move {
            answer.cancelled().await;
            self.replenish().await;
            done.cancel();
            // What has ended a moment ago is its own session's to look at; no later session might come.
            if self.sweep().await {
                tokio::time::sleep(LOOKED_AT_WITHIN).await;
                self.sweep().await;
            }
        };
        Housekeeper { answered, replenished, work: tokio::spawn(work) }
    }

    async fn replenish(&self) {
        let wanted = self.wanted;
        if wanted == 0 {
            return;
        }
        let began = Instant::now();
        let keeper_image = self.cluster.settings.keeper_image();
        let plan = Plan { spec: &self.spec, keeper_image: &keeper_image, template: self.template.as_deref() };
        match standby::replenish(&self.cluster, &plan, wanted, self.limit).await {
            Ok(names) => names.iter().for_each(|name| self.trace.step("put on standby", began, name)),
            Err(failure) => tracing::warn!("cannot put a pod on standby: {failure}"),
        }
    }

    /// Whether something was spared.
    async fn sweep(&self) -> bool {
        let has_sidecars = self.template.as_deref().is_some_and(Template::has_sidecars);
        let among = if has_sidecars { Among::All } else { Among::Still };
        match sweep::sweep(&self.cluster, among).await {
            Ok(swept) => {
                for name in swept.gone {
                    self.trace.note(None, "leftover removed", &name, 0);
                    tracing::warn!("deleted the pod `{name}`, which a session had left");
                }
                swept.has_spared
            }
            Err(error) => {
                tracing::debug!("cannot delete what ended sessions have left: {error}");
                false
            }
        }
    }
}

impl Housekeeper {
    /// The server has answered: the client has what it was waiting for.
    pub(crate) fn answered(&self) {
        self.answered.cancel();
    }

    /// Ends it with the session.
    pub(crate) async fn finish(self) {
        if self.answered.is_cancelled() {
            let _ = tokio::time::timeout(REPLENISHED_WITHIN, self.replenished.cancelled()).await;
        }
        self.work.abort();
    }
}

#[cfg(test)]
mod tests {
    use mcp_berth::config::Server;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    #[tokio::test(start_paused = true)]
    async fn what_was_spared_is_looked_at_once_more() {
        let looks = async |ended: &'static str| {
            let status = json!({ "phase": "Failed", "containerStatuses": fake::ended("server", ended) });
            let pod: Value = json!({ "metadata": { "name": "p" }, "status": status });
            let now = "2026-01-01T00:00:10Z".parse().unwrap();
            let (cluster, seen) = fake::cluster_at(Some(now), move |(method, ..)| match method.as_str() {
                "GET" => (200, json!({ "metadata": {}, "items": [pod] })),
                _ => (200, json!({ "kind": "Status", "status": "Success" })),
            });
            let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
            let spec = Arc::new(Spec::new(server, "a", "s"));
            let trace = Trace::default();
            let housekeeping = Housekeeping { cluster, spec, wanted: 0, limit: None, template: None, trace };
            let keeper = housekeeping.start();
            keeper.answered();
            keeper.work.await.unwrap();
            fake::told(&seen)
        };
        assert_eq!(looks("2026-01-01T00:00:08Z").await, ["GET ", "GET "]);
        assert_eq!(looks("2026-01-01T00:00:01Z").await, ["GET ", "DELETE /p"]);
    }
}
