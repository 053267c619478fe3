//! Sends traces and metrics to the OpenTelemetry collector that `[manager] otlp` names: OTLP over HTTP, in protobuf.
//!
//! ```text
//!  journals -> sink::Spans (span) -> outbox.db -> Exporter -> post::Post -> collector
//!  metrics::Metrics ------------------------------^
//! ```
//!
//! The SDK's own exporter is not used: its metrics begin with a process, and berth's counters are older than theirs. So
//! both go one way, as the protocol's own messages.
//!
//! It makes nobody wait: what a collector does not take waits in the outbox, which is bounded.

mod exporter;
mod outbox;
mod post;
mod resource;
mod settings;
mod sink;
mod span;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use mcp_berth::config::Collector;
use mcp_berth::failure::Failure;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::journals::Sink;
use crate::metrics::Metrics;
use exporter::Exporter;
use outbox::Outbox;
use post::Post;
use settings::Settings;
use sink::Spans;

/// After the manager was asked to end, it sends no longer than this.
const LAST: Duration = Duration::from_secs(1);

/// What the journals' thread and the exporter share.
#[derive(Debug)]
struct Common {
    outbox: Mutex<Outbox>,
    /// There are spans.
    news: Notify,
    /// Spans that nobody will ever get.
    dropped: Arc<AtomicU64>,
}

/// The way to a collector.
#[derive(Debug)]
pub(crate) struct Otlp {
    common: Arc<Common>,
    exporter: Exporter,
    has_traces: bool,
}

impl Otlp {
    /// `folder` is the manager's; `dropped` will be how many spans nobody ever got.
    ///
    /// # Errors
    /// A variable of OpenTelemetry's has a mistake, or a file cannot be used.
    pub(crate) fn open(
        collector: &Collector,
        folder: &Path,
        dropped: Arc<AtomicU64>,
    ) -> Result<Self, Failure> {
        let settings = Settings::read(collector, &|name| std::env::var(name).ok())?;
        let outbox = Outbox::open(folder)?;
        dropped.store(outbox.dropped(), Ordering::Relaxed);
        let resource = resource::of(outbox.instance());
        let post = Post::new(collector, settings.certificate.as_deref())?;
        let has_traces = settings.traces.is_some();
        let common = Arc::new(Common { outbox: Mutex::new(outbox), news: Notify::new(), dropped });
        let exporter = Exporter::new(settings, resource, post, Arc::clone(&common));
        Ok(Self { common, exporter, has_traces })
    }

    /// Who makes spans of the journals' records; `None`: only metrics are asked for.
    ///
    /// # Errors
    /// The outbox cannot be read.
    pub(crate) fn sink(&self) -> anyhow::Result<Option<Box<dyn Sink>>> {
        let spans = self.has_traces.then(|| Spans::open(Arc::clone(&self.common))).transpose()?;
        Ok(spans.map(|spans| Box::new(spans) as _))
    }

    /// Sends until the journals are `read` to their end, which is soon after `stop`; and not much longer than that.
    pub(crate) async fn work(
        &self,
        metrics: &Arc<Metrics>,
        read: &CancellationToken,
        stop: &CancellationToken,
    ) {
        let late = async {
            stop.cancelled().await;
            tokio::time::sleep(LAST).await;
        };
        tokio::select! {
            () = self.exporter.work(metrics, read) => {}
            () = late => tracing::info!("what was not sent to the collector is sent by the next manager"),
        }
    }
}

#[cfg(test)]
mod tests;
