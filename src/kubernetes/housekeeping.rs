//! What a session does in the cluster besides serving: it starts the next standby and deletes what others have left. None of
//! it begins before the server's first answer, when the client has what it waits for.

use std::sync::Arc;
use std::time::Duration;

use mcp_berth::dock::spec::Spec;
use mcp_berth::observe::trace::Trace;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::cluster::Cluster;

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
            self.sweep().await;
        };
        Housekeeper { answered, replenished, work: tokio::spawn(work) }
    }

    async fn replenish(&self) {
        let _ = (&self.cluster, &self.spec, &self.trace);
    }

    async fn sweep(&self) {}
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
