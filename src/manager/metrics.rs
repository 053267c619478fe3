//! The metrics that Prometheus asks for: counters of all that the journals tell, and gauges of what the daemon has now.
//!
//! Names of the person's servers, clients and tools become labels, within bounds; sessions and URIs never do.

mod counters;
mod exposition;
mod families;
mod labels;
mod otlp;
mod sampler;
mod session;
mod store;
mod tally;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use mcp_berth::failure::Failure;
use opentelemetry_proto::tonic::metrics::v1::Metric;

use crate::journals::Sink;
use crate::shared::Shared;
use crate::web::problem::Problem;
use counters::{Counters, Taken};
use exposition::Format;
use families::{ALL, LAG, MANAGER, OTLP_DROPPED};
use sampler::Samples;
use tally::Tally;

/// All that is told.
#[derive(Debug)]
pub(crate) struct Metrics {
    counters: Arc<Mutex<Counters>>,
    samples: Samples,
    /// What the journals have that was not read yet (bytes).
    behind: Arc<AtomicU64>,
    /// Spans that the collector did not take.
    dropped: Arc<AtomicU64>,
}

impl Metrics {
    /// `folder` is the manager's; `behind` is how far the journals' reader is behind them, `dropped` how many spans a collector
    /// did not take.
    ///
    /// # Errors
    /// The counters' file cannot be used.
    pub(crate) fn open(
        folder: &Path,
        behind: Arc<AtomicU64>,
        dropped: Arc<AtomicU64>,
    ) -> Result<Arc<Self>, Failure> {
        let counters = Arc::new(Mutex::new(Counters::open(folder)?));
        Ok(Arc::new(Self { counters, samples: Samples::default(), behind, dropped }))
    }

    /// Who gets the journals' records.
    pub(crate) fn sink(&self) -> Box<dyn Sink> {
        Box::new(Taken(Arc::clone(&self.counters)))
    }

    /// `/metrics`.
    pub(crate) fn router(self: &Arc<Self>) -> Router {
        Router::new().route("/metrics", get(answer)).with_state(Arc::clone(self))
    }

    /// Looks at the daemon until the manager ends.
    pub(crate) async fn sample(&self, shared: &Shared) {
        let bounds = || self.counters.lock().unwrap_or_else(PoisonError::into_inner).bounds();
        self.samples.take(shared, bounds).await;
    }

    /// For an OpenTelemetry collector.
    pub(crate) fn exported(&self) -> Vec<Metric> {
        let (values, began) = self.values();
        otlp::messages(&values, began, Timestamp::now())
    }

    fn text(&self, format: Format) -> anyhow::Result<String> {
        Ok(exposition::render(self.values().0, format)?)
    }

    /// All that is told, and since when it is counted.
    fn values(&self) -> (Tally, Timestamp) {
        let (mut values, began) = {
            let counters = self.counters.lock().unwrap_or_else(PoisonError::into_inner);
            let mut values = counters.kept();
            values.extend(&counters.open_sessions(), ALL);
            (values, counters.began())
        };
        values.extend(&self.samples.now(), ALL);
        values.add(&LAG, Vec::new(), session::number(self.behind.load(Ordering::Relaxed)));
        values.add(&OTLP_DROPPED, Vec::new(), session::number(self.dropped.load(Ordering::Relaxed)));
        values.add(&MANAGER, vec![env!("CARGO_PKG_VERSION").to_owned()], 1.0);
        for family in ALL.iter().filter(|family| family.is_always_there()) {
            values.add(family, Vec::new(), 0.0);
        }
        (values, began)
    }
}

async fn answer(State(metrics): State<Arc<Metrics>>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let format = Format::of(accept);
    // The counters may be at the disk.
    let text = tokio::task::spawn_blocking(move || metrics.text(format)).await;
    match text.map_err(anyhow::Error::from).flatten() {
        Ok(text) => ([(header::CONTENT_TYPE, format.content_type())], text).into_response(),
        Err(error) => {
            tracing::warn!("cannot tell the metrics: {error:#}");
            let detail = "the metrics could not be told; the manager's standard error has the cause";
            Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail).into_response()
        }
    }
}

#[cfg(test)]
mod tests;
