//! The text of the metrics: `OpenMetrics` where the reader knows it, Prometheus's older format for all others.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, MetricEncoder};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::Registry;

use super::families::{ALL, Family, Kind};
use super::tally::{Tally, Value};

/// In what form the metrics are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    OpenMetrics,
    Prometheus,
}

impl Format {
    /// By what a request says that it accepts.
    pub(super) fn of(accept: &str) -> Self {
        if accept.contains("application/openmetrics-text") { Self::OpenMetrics } else { Self::Prometheus }
    }

    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => prometheus_text::CONTENT_TYPE,
        }
    }
}

/// All metrics, of which `values` has the samples.
pub(super) fn render(values: Tally, format: Format) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(Values(values)));
    let mut out = String::new();
    match format {
        Format::OpenMetrics => text::encode(&mut out, &registry)?,
        Format::Prometheus => prometheus_text::encode(&mut out, &registry)?,
    }
    Ok(out)
}

#[derive(Debug)]
struct Values(Tally);

impl Collector for Values {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in ALL {
            let (unit, kind) = (family.unit(), family.kind.metric_type());
            let mut metric = encoder.encode_descriptor(family.name(), family.help, unit.as_ref(), kind)?;
            for (labels, value) in self.0.of(family) {
                sample(&mut metric, family, &Set(family.labels, labels), value)?;
            }
        }
        Ok(())
    }
}

fn sample(
    metric: &mut MetricEncoder<'_>,
    family: &Family,
    labels: &Set<'_>,
    value: &Value,
) -> Result<(), fmt::Error> {
    type NoExemplar = Option<&'static Exemplar<[(&'static str, &'static str); 0], f64>>;
    match family.kind {
        Kind::Info => metric.encode_info(labels),
        Kind::Counter => metric.encode_family(labels)?.encode_counter(&value.sum, NoExemplar::None),
        Kind::Gauge => metric.encode_family(labels)?.encode_gauge(&value.sum),
        Kind::Histogram(bounds) => {
            let bounds = bounds.iter().copied().chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(value.counts.iter().copied()).collect();
            let count = value.counts.iter().sum();
            let exemplars = None::<&std::collections::HashMap<_, Exemplar<[(&str, &str); 0], f64>>>;
            metric.encode_family(labels)?.encode_histogram(value.sum, count, &buckets, exemplars)
        }
    }
}

/// Names and values; what does not apply is not said.
struct Set<'a>(&'static [&'static str], &'a [String]);

impl EncodeLabelSet for Set<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), fmt::Error> {
        let pairs = self.0.iter().zip(self.1).filter(|(_, value)| !value.is_empty());
        pairs.map(|(name, value)| (*name, value.as_str())).collect::<Vec<_>>().encode(encoder)
    }
}
