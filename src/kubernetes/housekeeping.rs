//! What a session does in the cluster besides serving: it starts the next standby and deletes what others have left. None of
//! it begins before the server's first answer, when the client has what it waits for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::trace::Trace;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;
use super::keeper::Keeper;
use super::pod::Plan;
use super::standby::{self, Most};
use super::sweep::{self, Among, LOOKED_AT_WITHIN, Looked};
use super::template::Template;

/// A session that ends at once starts the next one's pod all the same, but takes no longer than this for it.
const REPLENISHED_WITHIN: Duration = Duration::from_millis(500);

/// When the session's pod was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    Now,
    /// It stood by, beside so many others of its kind.
    Before {
        left: usize,
    },
}

/// All that it needs.
pub(crate) struct Housekeeping {
    pub(crate) cluster: Cluster,
    pub(crate) spec: Arc<Spec>,
    /// How many pods are to stand by for the next sessions like this one.
    pub(crate) wanted: u32,
    pub(crate) made: Made,
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
            let replaced = self.replace().await;
            let mut made = if replaced { standby::Made::default() } else { self.make().await };
            let looked = self.look(!made.names.is_empty()).await;
            if let Some(looked) = &looked {
                self.level(&mut made, &looked.pods).await;
            }
            done.cancel();
            let Some(looked) = looked else { return };
            // What has ended a moment ago is its own session's to look at; no later session might come.
            if self.sweep(&looked).await {
                tokio::time::sleep(LOOKED_AT_WITHIN).await;
                if let Some(looked) = self.look(false).await {
                    self.sweep(&looked).await;
                }
            }
        };
        Housekeeper { answered, replenished, work: tokio::spawn(work) }
    }

    fn most(&self) -> Most {
        Most { wanted: self.wanted, limit: self.limit }
    }

    /// Whether nothing is missing on standby but what this session has taken, which is made anew.
    async fn replace(&self) -> bool {
        let Made::Before { left } = self.made else { return false };
        if left.saturating_add(1) != self.wanted as usize {
            return false;
        }
        let began = Instant::now();
        let keeper = Keeper::of(&self.cluster.settings);
        let plan = Plan { spec: &self.spec, keeper: &keeper, template: self.template.as_deref() };
        match standby::add(&self.cluster, &plan).await {
            Ok(name) => self.trace.step("put on standby", began, &name),
            Err(failure) => tracing::warn!("cannot put a pod on standby: {failure}"),
        }
        true
    }

    /// What is missing on standby.
    async fn make(&self) -> standby::Made {
        if self.wanted == 0 {
            return standby::Made::default();
        }
        let keeper = Keeper::of(&self.cluster.settings);
        let plan = Plan { spec: &self.spec, keeper: &keeper, template: self.template.as_deref() };
        standby::make(&self.cluster, &plan, self.most()).await.unwrap_or_else(|failure| {
            tracing::warn!("cannot put a pod on standby: {failure}");
            standby::Made::default()
        })
    }

    /// Others may have made the same.
    async fn level(&self, made: &mut standby::Made, seen: &[Pod]) {
        if made.names.is_empty() {
            return;
        }
        let began = Instant::now();
        let keeper = Keeper::of(&self.cluster.settings);
        let plan = Plan { spec: &self.spec, keeper: &keeper, template: self.template.as_deref() };
        standby::level(&self.cluster, &plan, self.most(), made, seen).await;
        made.names.iter().for_each(|name| self.trace.step("put on standby", began, name));
    }

    async fn look(&self, fresh: bool) -> Option<Looked> {
        let has_sidecars = self.template.as_deref().is_some_and(Template::has_sidecars);
        let among = if has_sidecars { Among::All } else { Among::Still };
        let looked = sweep::look(&self.cluster, among, fresh).await;
        looked
            .inspect_err(|error| tracing::debug!("cannot delete what ended sessions have left: {error}"))
            .ok()
    }

    /// Whether something was spared.
    async fn sweep(&self, looked: &Looked) -> bool {
        let swept = sweep::delete(&self.cluster, looked).await;
        for name in swept.gone {
            self.trace.note(None, "leftover removed", &name, 0);
            tracing::warn!("deleted the pod `{name}`, which a session had left");
        }
        swept.has_spared
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
            let made = Made::Now;
            let housekeeping =
                Housekeeping { cluster, spec, wanted: 0, made, limit: None, template: None, trace };
            let keeper = housekeeping.start();
            keeper.answered();
            keeper.work.await.unwrap();
            fake::told(&seen)
        };
        assert_eq!(looks("2026-01-01T00:00:08Z").await, ["GET ", "GET "]);
        assert_eq!(looks("2026-01-01T00:00:01Z").await, ["GET ", "DELETE /p"]);
    }
    /// All that a session asks for beside its start and its end: at most three requests.
    #[tokio::test(start_paused = true)]
    async fn one_list_serves_the_sweep_and_the_look_at_what_others_have_made() {
        let asks = async |wanted, made| {
            let (cluster, seen) = fake::cluster(|(method, _, body)| match method.as_str() {
                "POST" => (201, body.clone()),
                _ => (200, json!({ "metadata": {}, "items": [] })),
            });
            let server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
            let spec = Arc::new(Spec::new(server, "a", "s"));
            let trace = Trace::default();
            let housekeeping =
                Housekeeping { cluster, spec, wanted, made, limit: None, template: None, trace };
            let keeper = housekeeping.start();
            keeper.answered();
            keeper.work.await.unwrap();
            let fresh = !seen.lock().unwrap().last().unwrap().1.contains("resourceVersion=0");
            (fake::told(&seen), fresh)
        };
        let told = |told: &[&str]| told.iter().map(|told| (*told).to_owned()).collect::<Vec<_>>();
        assert_eq!(asks(0, Made::Now).await, (told(&["GET "]), false));
        assert_eq!(asks(1, Made::Now).await, (told(&["GET ", "POST ", "GET "]), true));
        let taken = |left| Made::Before { left };
        assert_eq!(asks(2, taken(1)).await, (told(&["POST ", "GET "]), false), "who takes one makes one");
        assert_eq!(asks(2, taken(0)).await.0, told(&["GET ", "POST ", "POST ", "GET "]), "others lack, too");
    }
}
