//! The metrics as OTLP's messages: sums since the counters' file began, gauges, and histograms with the same buckets.
//!
//! OpenTelemetry's names and attributes stay its own. Berth's have a namespace, and a unit beside the name: a collector
//! that tells them to Prometheus gives them the names that `/metrics` has.

use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::metric::Data;
use opentelemetry_proto::tonic::metrics::v1::number_data_point::Value as Number;
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint, Sum,
};

use super::families::{ALL, Family, Kind};
use super::tally::{Labels, Tally, Value};

/// All metrics that have values. What only has labels is the resource's.
pub(super) fn messages(values: &Tally, began: Timestamp, now: Timestamp) -> Vec<Metric> {
    let families = ALL.iter().filter(|family| values.of(family).next().is_some());
    families.filter_map(|family| message(family, values, [began, now].map(nanoseconds))).collect()
}

fn message(family: &Family, values: &Tally, [began, now]: [u64; 2]) -> Option<Metric> {
    let number = |start: u64| {
        values.of(family).map(move |(labels, value)| NumberDataPoint {
            attributes: attributes(family, labels),
            start_time_unix_nano: start,
            time_unix_nano: now,
            value: Some(Number::AsDouble(value.sum)),
            ..NumberDataPoint::default()
        })
    };
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind {
        Kind::Info => return None,
        Kind::Gauge => Data::Gauge(Gauge { data_points: number(0).collect() }),
        Kind::Counter => Data::Sum(Sum {
            data_points: number(began).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Histogram(bounds) => {
            let point = |(labels, value): (&Labels, &Value)| HistogramDataPoint {
                attributes: attributes(family, labels),
                start_time_unix_nano: began,
                time_unix_nano: now,
                count: value.counts.iter().sum(),
                sum: Some(value.sum),
                bucket_counts: value.counts.clone(),
                explicit_bounds: bounds.to_vec(),
                ..HistogramDataPoint::default()
            };
            let data_points = values.of(family).map(point).collect();
            Data::Histogram(Histogram { data_points, aggregation_temporality: cumulative })
        }
    };
    let (name, unit) = named(family);
    Some(Metric {
        name,
        unit: unit.to_owned(),
        description: family.help.to_owned(),
        data: Some(data),
        ..Metric::default()
    })
}

/// A metric's name, and its unit as UCUM has it.
fn named(family: &Family) -> (String, &'static str) {
    let name = family.name();
    let name = if name.starts_with("mcp_") { name.replace('_', ".") } else { name.replacen('_', ".", 1) };
    match family.unit_name() {
        None => (name, ""),
        Some("seconds") => (name, "s"),
        Some("bytes") => (name, "By"),
        // What UCUM has no unit for is in braces, which others leave out of the name.
        Some(unit) => (format!("{name}_{unit}"), "{core}"),
    }
}

fn attributes(family: &Family, labels: &Labels) -> Vec<KeyValue> {
    let said = family.labels.iter().zip(labels).filter(|(_, value)| !value.is_empty());
    let attribute = |(label, value): (&&str, &String)| {
        let key = match *label {
            "mcp_method_name" => "mcp.method.name",
            "gen_ai_tool_name" => "gen_ai.tool.name",
            "error_type" => "error.type",
            own => own,
        };
        let value = AnyValue { value: Some(any_value::Value::StringValue(value.clone())) };
        KeyValue { key: key.to_owned(), value: Some(value), ..KeyValue::default() }
    };
    said.map(attribute).collect()
}

fn nanoseconds(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As collectors make Prometheus's names of OpenTelemetry's.
    fn of_prometheus(metric: &Metric) -> String {
        let unit = match metric.unit.as_str() {
            "s" => "_seconds",
            "By" => "_bytes",
            _ => "",
        };
        let end = if matches!(metric.data, Some(Data::Sum(_))) { "_total" } else { "" };
        format!("{}{unit}{end}", metric.name.replace('.', "_"))
    }

    #[test]
    fn a_collector_that_tells_prometheus_has_the_names_of_the_manual() {
        let mut values = Tally::default();
        for family in ALL {
            let labels = vec!["x".to_owned(); family.labels.len()];
            match family.kind {
                Kind::Histogram(_) => values.observe(family, labels, 1.0),
                _ => values.add(family, labels, 1.0),
            }
        }
        let messages = messages(&values, Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        let names: Vec<String> = messages.iter().map(of_prometheus).collect();
        let told = ALL.iter().filter(|family| family.kind != Kind::Info);
        assert_eq!(names, told.map(|family| family.shown()).collect::<Vec<_>>());
        assert_eq!(messages[0].name, "mcp.server.operation.duration");
        assert_eq!(messages[0].unit, "s");
    }
}
