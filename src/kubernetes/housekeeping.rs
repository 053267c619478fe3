//! What a session does in the cluster besides serving: it starts the next standby and deletes what others have left. None of
//! it begins before the server's first answer, when the client has what it waits for.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use mcp_berth::backend::docker::targets;
use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::journal::Choice;
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

/// What a pod holds whose server does not run yet (bytes).
const KEEPER_NEEDS: u64 = 8 << 20;

/// When the session's pod was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Made {
    /// `has_others`: beside its server's container, be they a template's or a webhook's.
    Now { has_others: bool },
    /// It stood by, beside so many others of its kind.
    Before { left: usize },
}

impl Made {
    /// As the API server has made it.
    pub(crate) fn now(pod: &Pod) -> Self {
        let containers = pod.spec.as_ref().map_or(0, |spec| spec.containers.len());
        Self::Now { has_others: containers > 1 }
    }
}

/// All that it needs.
pub(crate) struct Housekeeping {
    pub(crate) cluster: Cluster,
    pub(crate) spec: Arc<Spec>,
    pub(crate) made: Made,
    pub(crate) bounds: Bounds,
    pub(crate) template: Option<Arc<Template>>,
    pub(crate) trace: Trace,
}

/// Who says how many pods stand by, beside the server's settings.
#[derive(Debug, Clone, Default)]
pub(crate) struct Bounds {
    /// How many may stand by in the namespace (`[limits] standby`).
    pub(crate) limit: Option<u32>,
    /// The folder of berth's state, where a manager says what it wants.
    pub(crate) state: PathBuf,
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
            let looked = self.replenish().await;
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

    /// Makes what is missing on standby. One look serves that and the sweep.
    async fn replenish(&self) -> Option<Looked> {
        let keeper = Keeper::of(&self.cluster.settings);
        let plan = Plan { spec: &self.spec, keeper: &keeper, template: self.template.as_deref() };
        let kind = plan.kind();
        self.publish(&kind);
        let most = self.most(&kind);
        let replaced = self.replace(&plan, most).await;
        let mut made = if replaced { standby::Made::default() } else { self.make(&plan, most).await };
        let looked = self.look(!made.names.is_empty()).await;
        if let Some(looked) = &looked {
            self.level(&plan, most, &mut made, &looked.pods).await;
        }
        looked
    }

    /// How many pods are to stand by for the next sessions like this one, and in all. A manager may have said another number.
    fn most(&self, kind: &str) -> Most {
        let standby = self.spec.server.settings.standby;
        let target = targets::read(&self.bounds.state).of(kind);
        let wanted = target.map_or(standby.unchosen(), |target| target.within(standby));
        Most { wanted, limit: self.bounds.limit }
    }

    /// Whether nothing is missing on standby but what this session has taken, which is made anew.
    async fn replace(&self, plan: &Plan<'_>, most: Most) -> bool {
        let Made::Before { left } = self.made else { return false };
        if left.saturating_add(1) != most.wanted as usize {
            return false;
        }
        let began = Instant::now();
        match standby::add(&self.cluster, plan).await {
            Ok(name) => self.trace.step("put on standby", began, &name),
            Err(failure) => tracing::warn!("cannot put a pod on standby: {failure}"),
        }
        true
    }

    /// What is missing on standby.
    async fn make(&self, plan: &Plan<'_>, most: Most) -> standby::Made {
        if most.wanted == 0 {
            return standby::Made::default();
        }
        standby::make(&self.cluster, plan, most).await.unwrap_or_else(|failure| {
            tracing::warn!("cannot put a pod on standby: {failure}");
            standby::Made::default()
        })
    }

    /// Others may have made the same.
    async fn level(&self, plan: &Plan<'_>, most: Most, made: &mut standby::Made, seen: &[Pod]) {
        if made.names.is_empty() {
            return;
        }
        let began = Instant::now();
        standby::level(&self.cluster, plan, most, made, seen).await;
        made.names.iter().for_each(|name| self.trace.step("put on standby", began, name));
    }

    async fn look(&self, fresh: bool) -> Option<Looked> {
        // A pod that stood by has no others but the template's, or it is not used.
        let has_others = match self.made {
            Made::Now { has_others } => has_others,
            Made::Before { .. } => self.template.as_deref().is_some_and(Template::has_sidecars),
        };
        let among = if has_others { Among::All } else { Among::Still };
        let looked = sweep::look(&self.cluster, among, fresh).await;
        looked
            .inspect_err(|error| tracing::debug!("cannot delete what ended sessions have left: {error}"))
            .ok()
    }

    /// Says what a manager needs to know to choose, or a person to choose in the configuration's place.
    fn publish(&self, kind: &str) {
        let standby = self.spec.server.settings.standby;
        if let Some(journal) = self.trace.journal() {
            let (least, most) = (standby.least(), standby.most());
            journal.standby(&Choice { kind, least, most, memory: KEEPER_NEEDS });
        }
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
    pub(crate) async fn finish(mut self) {
        if self.answered.is_cancelled() {
            let _ = tokio::time::timeout(REPLENISHED_WITHIN, self.replenished.cancelled()).await;
        }
        self.work.abort();
        // What it holds is on its way out then, and the process waits for that.
        let _ = (&mut self.work).await;
    }
}

#[cfg(test)]
mod tests {
    use mcp_berth::backend::docker::targets::Targets;
    use mcp_berth::config::Server;
    use mcp_berth::values::Standby;
    use serde_json::{Value, json};

    use super::*;
    use crate::fake;

    const ALONE: Made = Made::Now { has_others: false };

    fn spec(standby: Standby) -> Arc<Spec> {
        let mut server = Server::from_image("i".parse().unwrap(), Vec::new(), &fake::settings());
        server.settings.standby = standby;
        Arc::new(Spec::new(server, "a", "s"))
    }

    #[tokio::test]
    async fn a_manager_says_how_many_stand_by_where_there_is_something_to_choose() {
        let folder = tempfile::tempdir().unwrap();
        let made = async |standby: Standby| {
            let (cluster, seen) = fake::cluster(|(method, _, body)| match method.as_str() {
                "POST" => (201, body.clone()),
                _ => (200, json!({ "metadata": {}, "items": [] })),
            });
            let spec = spec(standby);
            let keeper = Keeper::of(&cluster.settings);
            let kind = Plan { spec: &spec, keeper: &keeper, template: None }.kind();
            let expires = "9999-01-01T00:00:00Z".parse().unwrap();
            let targets = Targets::new([(kind, 3)].into(), [].into(), expires);
            targets.write(folder.path()).unwrap();
            let bounds = Bounds { limit: None, state: folder.path().to_owned() };
            let (made, trace) = (ALONE, Trace::default());
            Housekeeping { cluster, spec, made, bounds, template: None, trace }.replenish().await;
            fake::told(&seen).into_iter().filter(|told| told.starts_with("POST")).count()
        };
        assert_eq!(made(Standby::between(0, 4).unwrap()).await, 3);
        assert_eq!(made(Standby::between(0, 2).unwrap()).await, 2);
        assert_eq!(made(Standby::fixed(1)).await, 1, "the configuration leaves nothing to choose");
    }

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
            let spec = spec(Standby::NONE);
            let trace = Trace::default();
            let (made, bounds) = (ALONE, Bounds::default());
            let housekeeping = Housekeeping { cluster, spec, made, bounds, template: None, trace };
            let keeper = housekeeping.start();
            keeper.answered();
            keeper.work.await.unwrap();
            fake::told(&seen)
        };
        assert_eq!(looks("2026-01-01T00:00:08Z").await, ["GET ", "GET "]);
        assert_eq!(looks("2026-01-01T00:00:01Z").await, ["GET ", "DELETE /p"]);
    }

    #[tokio::test]
    async fn where_something_goes_on_beside_a_server_pods_that_run_are_looked_at_too() {
        let all = async |made, template: Option<&str>| {
            let (cluster, seen) = fake::cluster(|_| (200, json!({ "metadata": {}, "items": [] })));
            let template = template.map(|text| Arc::new(Template::parse(text).unwrap()));
            let (spec, bounds, trace) = (spec(Standby::NONE), Bounds::default(), Trace::default());
            Housekeeping { cluster, spec, made, bounds, template, trace }.look(false).await.unwrap();
            !seen.lock().unwrap()[0].1.contains("fieldSelector")
        };
        let of = |names: &[&str]| {
            let containers: Vec<Value> = names.iter().map(|name| json!({ "name": name })).collect();
            let pod = json!({ "metadata": {}, "spec": { "containers": containers } });
            Made::now(&serde_json::from_value(pod).unwrap())
        };
        let sidecar = Some("spec: { containers: [{ name: sidecar, image: s }] }");
        assert!(!all(of(&["server"]), None).await);
        assert!(all(of(&["server", "a-webhooks"]), None).await);
        assert!(!all(Made::Before { left: 0 }, None).await && all(Made::Before { left: 0 }, sidecar).await);
    }

    #[tokio::test(start_paused = true)]
    async fn what_it_holds_at_the_end_is_on_its_way_out_before_the_process_ends() {
        let (cluster, seen) = fake::cluster(|_| (200, json!({ "kind": "Status", "status": "Success" })));
        let hold = crate::hold::Hold::new(cluster.pods(), "p".to_owned());
        let work = tokio::spawn(async move {
            std::future::pending::<()>().await;
            drop(hold);
        });
        let (answered, replenished) = (CancellationToken::new(), CancellationToken::new());
        Housekeeper { answered, replenished, work }.finish().await;
        crate::hold::settled().await;
        assert_eq!(fake::told(&seen), ["DELETE /p"]);
    }

    /// All that a session asks for beside its start and its end: at most three requests.
    #[tokio::test(start_paused = true)]
    async fn one_list_serves_the_sweep_and_the_look_at_what_others_have_made() {
        let asks = async |wanted, made| {
            let (cluster, seen) = fake::cluster(|(method, _, body)| match method.as_str() {
                "POST" => (201, body.clone()),
                _ => (200, json!({ "metadata": {}, "items": [] })),
            });
            let (spec, trace) = (spec(Standby::fixed(wanted)), Trace::default());
            let bounds = Bounds::default();
            let housekeeping = Housekeeping { cluster, spec, made, bounds, template: None, trace };
            let keeper = housekeeping.start();
            keeper.answered();
            keeper.work.await.unwrap();
            let fresh = !seen.lock().unwrap().last().unwrap().1.contains("resourceVersion=0");
            (fake::told(&seen), fresh)
        };
        let told = |told: &[&str]| told.iter().map(|told| (*told).to_owned()).collect::<Vec<_>>();
        assert_eq!(asks(0, ALONE).await, (told(&["GET "]), false));
        assert_eq!(asks(1, ALONE).await, (told(&["GET ", "POST ", "GET "]), true));
        let taken = |left| Made::Before { left };
        assert_eq!(asks(2, taken(1)).await, (told(&["POST ", "GET "]), false), "who takes one makes one");
        assert_eq!(asks(2, taken(0)).await.0, told(&["GET ", "POST ", "POST ", "GET "]), "others lack, too");
    }
}
