//! Sends what waits, and the metrics at an interval; tries again what could not be sent, in longer and longer pauses.

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::metrics::v1::{
    ExportMetricsServiceRequest, ExportMetricsServiceResponse,
};
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message;
use tokio_util::sync::CancellationToken;

use super::Common;
use super::outbox::{Batch, MOST, Outbox};
use super::post::{Post, Unsent};
use super::resource;
use super::settings::{Settings, Target};
use crate::metrics::Metrics;

/// So many spans are sent at once.
pub(super) const BATCH: usize = 512;

/// Spans wait so long for others to go with them.
const GATHER: Duration = Duration::from_secs(1);

/// Pauses after failures begin with the first of these, and grow to the second.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

#[derive(Debug)]
pub(super) struct Exporter {
    settings: Settings,
    resource: Resource,
    post: Post,
    common: Arc<Common>,
    /// How long spans wait for others, and how long it waits after a failure.
    pub(super) gather: Duration,
    pub(super) pauses: (Duration, Duration),
}

/// Says once that something fails, and once that it goes on.
#[derive(Debug)]
struct Trouble<'a> {
    what: &'static str,
    target: &'a Target,
    is_told: Mutex<bool>,
}

impl Trouble<'_> {
    fn is(&self, why: &str, then: &str) {
        let Self { what, target, is_told } = self;
        if !std::mem::replace(&mut *is_told.lock().unwrap_or_else(PoisonError::into_inner), true) {
            tracing::warn!("cannot send {what} to `{}`: {why}; {then}", target.uri);
        }
    }

    fn is_over(&self) {
        let Self { what, target, is_told } = self;
        if std::mem::take(&mut *is_told.lock().unwrap_or_else(PoisonError::into_inner)) {
            tracing::info!("{what} are sent to `{}` again", target.uri);
        }
    }
}

impl Exporter {
    pub(super) fn new(settings: Settings, resource: Resource, post: Post, common: Arc<Common>) -> Self {
        Self { settings, resource, post, common, gather: GATHER, pauses: PAUSES }
    }

    /// Until the journals are `read` to their end.
    pub(super) async fn work(&self, metrics: &Arc<Metrics>, read: &CancellationToken) {
        tokio::join!(self.traces(read), self.metrics(metrics, read));
    }

    async fn traces(&self, read: &CancellationToken) {
        let Some(target) = &self.settings.traces else { return };
        let trouble = Trouble { what: "traces", target, is_told: Mutex::default() };
        let mut pause = self.pauses.0;
        loop {
            let is_last = read.is_cancelled();
            let sent = self.send_waiting(target, &trouble).await;
            if is_last {
                return;
            }
            match sent {
                Ok(()) => {
                    pause = self.pauses.0;
                    let come = async {
                        self.common.news.notified().await;
                        tokio::time::sleep(self.gather).await;
                    };
                    until(read, come).await;
                }
                Err(asked) => {
                    until(read, tokio::time::sleep(asked.unwrap_or(pause))).await;
                    pause = (2 * pause).min(self.pauses.1);
                }
            }
        }
    }

    /// All that waits. `Err`: it is to be tried again, after the pause that the collector asks for.
    async fn send_waiting(&self, target: &Target, trouble: &Trouble<'_>) -> Result<(), Option<Duration>> {
        let failed = |error: anyhow::Error| {
            trouble.is(&format!("{error:#}"), "it is tried again");
            None
        };
        loop {
            let taken = self.at_outbox(|outbox| outbox.take(BATCH)).await.map_err(failed)?;
            let Some(batch) = taken else { return Ok(()) };
            let message = self.message(&batch);
            let refused = match self.post.send(target, message).await {
                Ok(answer) => {
                    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
                    let rejected = answer.partial_success.unwrap_or_default();
                    match u64::try_from(rejected.rejected_spans).unwrap_or_default() {
                        0 => trouble.is_over(),
                        _ => trouble.is(&rejected.error_message, "what it rejects is dropped, and counted"),
                    }
                    u64::try_from(rejected.rejected_spans).unwrap_or_default()
                }
                Err(Unsent::Refused(why)) => {
                    trouble.is(&why, "what it refuses is dropped, and counted");
                    batch.spans.len() as u64
                }
                Err(Unsent::Later { why, pause }) => {
                    trouble.is(&why, &format!("the last {MOST} spans wait for it"));
                    self.common.outbox.lock().unwrap_or_else(PoisonError::into_inner).put_back();
                    return Err(pause);
                }
            };
            self.at_outbox(move |outbox| outbox.done(&batch, refused)).await.map_err(failed)?;
        }
    }

    fn message(&self, batch: &Batch) -> Bytes {
        // What this berth has not written itself, it can't send.
        let spans = batch.spans.iter().filter_map(|span| Span::decode(span.as_slice()).ok()).collect();
        let scope_spans = ScopeSpans { scope: Some(resource::scope()), spans, ..ScopeSpans::default() };
        let resource_spans = ResourceSpans {
            resource: Some(self.resource.clone()),
            scope_spans: vec![scope_spans],
            ..ResourceSpans::default()
        };
        ExportTraceServiceRequest { resource_spans: vec![resource_spans] }.encode_to_vec().into()
    }

    /// At the disk, so elsewhere.
    async fn at_outbox<T: Send + 'static>(
        &self,
        act: impl FnOnce(&mut Outbox) -> anyhow::Result<T> + Send + 'static,
    ) -> anyhow::Result<T> {
        let common = Arc::clone(&self.common);
        let acted = tokio::task::spawn_blocking(move || {
            let mut outbox = common.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            let acted = act(&mut outbox);
            common.dropped.store(outbox.dropped(), Ordering::Relaxed);
            acted
        });
        acted.await?
    }

    /// Metrics that could not be sent are not kept: the next ones say more.
    async fn metrics(&self, metrics: &Arc<Metrics>, read: &CancellationToken) {
        let Some(target) = &self.settings.metrics else { return };
        let trouble = Trouble { what: "metrics", target, is_told: Mutex::default() };
        loop {
            until(read, tokio::time::sleep(self.settings.interval)).await;
            let is_last = read.is_cancelled();
            let sent = async {
                let metrics = Arc::clone(metrics);
                let metrics = tokio::task::spawn_blocking(move || metrics.exported()).await?;
                let scope_metrics =
                    ScopeMetrics { scope: Some(resource::scope()), metrics, ..ScopeMetrics::default() };
                let resource_metrics = ResourceMetrics {
                    resource: Some(self.resource.clone()),
                    scope_metrics: vec![scope_metrics],
                    ..ResourceMetrics::default()
                };
                let message = ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] };
                Ok::<_, anyhow::Error>(self.post.send(target, message.encode_to_vec().into()).await?)
            };
            match sent.await {
                Ok(answer) => {
                    let answer = ExportMetricsServiceResponse::decode(answer).unwrap_or_default();
                    match answer.partial_success.filter(|partial| partial.rejected_data_points > 0) {
                        Some(partial) => trouble.is(&partial.error_message, "some are not taken"),
                        None => trouble.is_over(),
                    }
                }
                Err(error) => trouble.is(&format!("{error:#}"), "the next ones are tried in turn"),
            }
            if is_last {
                return;
            }
        }
    }
}

/// Waits for something, or for the end.
async fn until(end: &CancellationToken, come: impl Future<Output = ()>) {
    tokio::select! {
        () = come => {}
        () = end.cancelled() => {}
    }
}
