//! Every metric that there is: its name, its type, its labels and what it says. The manual has the same table.
//!
//! Names and buckets are OpenTelemetry's where it has them (semantic conventions for MCP); `berth_` begins berth's own.

use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

/// What a metric's samples are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Kind {
    Counter,
    Gauge,
    /// With the upper bounds of its buckets, but for the last one, which has none.
    Histogram(&'static [f64]),
    /// Its labels say all.
    Info,
}

impl Kind {
    pub(super) fn metric_type(self) -> MetricType {
        match self {
            Self::Counter => MetricType::Counter,
            Self::Gauge => MetricType::Gauge,
            Self::Histogram(_) => MetricType::Histogram,
            Self::Info => MetricType::Info,
        }
    }
}

/// A metric: samples that differ in their labels.
#[derive(Debug)]
pub(crate) struct Family {
    /// Without its unit, and without what samples of its type end with.
    name: &'static str,
    unit: Option<&'static str>,
    pub(super) kind: Kind,
    /// In this order wherever there are values of them.
    pub(super) labels: &'static [&'static str],
    pub(super) help: &'static str,
}

impl Family {
    /// Without its unit: what a file calls it.
    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// What its samples' names have after it.
    pub(super) fn unit_name(&self) -> Option<&'static str> {
        self.unit
    }

    pub(super) fn unit(&self) -> Option<Unit> {
        match self.unit? {
            "seconds" => Some(Unit::Seconds),
            "bytes" => Some(Unit::Bytes),
            other => Some(Unit::Other(other.to_owned())),
        }
    }

    /// A counter without labels is there before there is something to count.
    pub(super) fn is_always_there(&self) -> bool {
        self.kind == Kind::Counter && self.labels.is_empty()
    }

    /// As a person asks for it: the name of its samples, or what those of a histogram begin with.
    #[cfg(test)]
    pub(super) fn shown(&self) -> String {
        let unit = self.unit.map(|unit| format!("_{unit}")).unwrap_or_default();
        let end = match self.kind {
            Kind::Counter => "_total",
            Kind::Info => "_info",
            Kind::Gauge | Kind::Histogram(_) => "",
        };
        format!("{}{unit}{end}", self.name)
    }
}

/// OpenTelemetry's, for operations and sessions (seconds).
const OPERATION: &[f64] = &[0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0];
const START: &[f64] = &[0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0];
const PHASE: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Of what berth adds to a request (seconds).
const RELAY: &[f64] = &[
    0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 1.0,
];

macro_rules! families {
    ($($id:ident = $name:literal, $unit:expr, $kind:expr, [$($label:literal),*], $help:literal;)*) => {
        $(pub(super) static $id: Family =
            Family { name: $name, unit: $unit, kind: $kind, labels: &[$($label),*], help: $help };)*

        /// All of them, in the order in which they are told.
        pub(super) static ALL: &[&Family] = &[$(&$id),*];
    };
}

families! {
    OPERATIONS = "mcp_server_operation_duration", Some("seconds"), Kind::Histogram(OPERATION),
        ["server", "mcp_method_name", "gen_ai_tool_name", "error_type"],
        "How long requests took, as the client sees it";
    OVERHEAD = "berth_relay_overhead", Some("seconds"), Kind::Histogram(RELAY), ["server"],
        "What berth itself added to the time of requests";
    SESSION_DURATION = "mcp_server_session_duration", Some("seconds"), Kind::Histogram(OPERATION),
        ["server", "client", "error_type"],
        "How long sessions lasted that are over";
    SESSIONS = "berth_sessions", None, Kind::Gauge, ["client", "server"],
        "Sessions that are open now";
    SESSIONS_STARTED = "berth_sessions_started", None, Kind::Counter, ["client", "server"],
        "Sessions that have begun";
    STARTS = "berth_start_duration", Some("seconds"), Kind::Histogram(START), ["server", "kind"],
        "How long it took until a server was there for its client";
    PHASES = "berth_start_phase_duration", Some("seconds"), Kind::Histogram(PHASE), ["phase", "kind"],
        "How long the steps of starts took, and the steps after them";
    STANDBY_HITS = "berth_standby_hits", None, Kind::Counter, ["server"],
        "Starts that found a container on standby";
    STANDBY_MISSES = "berth_standby_misses", None, Kind::Counter, ["server"],
        "Starts that looked for a container on standby and found none";
    RECOVERIES = "berth_recoveries", None, Kind::Counter, ["server"],
        "Lost servers that were replaced in the middle of a session";
    SERVER_ENDS = "berth_server_ends", None, Kind::Counter, ["server", "exit"],
        "Servers that have ended, by how they ended";
    ERRORS = "berth_errors", None, Kind::Counter, ["server", "kind"],
        "Requests and sessions that came to nothing";
    EVENTS = "berth_events", None, Kind::Counter, ["server", "event"],
        "What sessions met that is out of the ordinary";
    AUDIT = "berth_audit_events", None, Kind::Counter, ["server", "event"],
        "Lines of the audit file";
    MESSAGE_BYTES = "berth_message", Some("bytes"), Kind::Counter, ["server", "direction"],
        "Sizes of requests and of their answers";
    ORPHANS = "berth_orphans_removed", None, Kind::Counter, [],
        "Containers that crashed sessions had left and that later sessions removed";
    RECORDS = "berth_journal_records", None, Kind::Counter, [],
        "Records of journals that the counters have seen";
    DROPPED = "berth_journal_records_dropped", None, Kind::Counter, [],
        "Records of journals that nobody will ever see";
    LAG = "berth_index_lag", Some("bytes"), Kind::Gauge, [],
        "How much the journals have that the manager has not read yet";
    OTLP_DROPPED = "berth_otlp_dropped", None, Kind::Counter, [],
        "Spans that the OpenTelemetry collector did not take, and that nobody will ever get";
    DAEMON_UP = "berth_daemon_up", None, Kind::Gauge, [],
        "Whether the sessions' daemon answers";
    CONTAINERS = "berth_containers", None, Kind::Gauge, ["server", "state"],
        "Containers of sessions and on standby";
    MEMORY = "berth_container_memory", Some("bytes"), Kind::Gauge, ["server"],
        "Memory of all containers of a server, without what the kernel can drop";
    CPU = "berth_container_cpu", Some("cores"), Kind::Gauge, ["server"],
        "Processors that all containers of a server used since the last look";
    PIDS = "berth_container_pids", None, Kind::Gauge, ["server"],
        "Processes and threads in all containers of a server";
    STANDBY_TARGET = "berth_standby_target", None, Kind::Gauge, ["server"],
        "Containers on standby for each client of a server, as the configuration has it";
    STANDBY_CAP = "berth_standby_cap", None, Kind::Gauge, [],
        "Containers that the daemon may have on standby";
    DISK = "berth_disk", Some("bytes"), Kind::Gauge, ["kind"],
        "What images, volumes and containers take of the daemon's disk";
    CERTIFICATE = "berth_certificate_remaining", Some("seconds"), Kind::Gauge, ["certificate"],
        "How long a certificate is still good, in whole days";
    MANAGER = "berth_manager", None, Kind::Info, ["version"],
        "The manager that tells all this";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unlike_and_buckets_ascend() {
        let names: BTreeSet<String> = ALL.iter().map(|family| family.shown()).collect();
        assert_eq!(names.len(), ALL.len());
        for family in ALL {
            if let Kind::Histogram(bounds) = family.kind {
                assert!(bounds.is_sorted_by(|one, other| one < other), "{}", family.name);
            }
        }
    }

    #[test]
    fn the_manual_has_each_metric_with_its_type_and_its_labels() {
        let manual = include_str!("../../help/manager.md");
        for family in ALL {
            let kind = match family.kind {
                Kind::Counter => "counter",
                Kind::Gauge => "gauge",
                Kind::Histogram(_) => "histogram",
                Kind::Info => "info",
            };
            let labels: Vec<String> = family.labels.iter().map(|label| format!("`{label}`")).collect();
            let row = format!("| `{}` | {kind} | {} |", family.shown(), labels.join(", "));
            assert!(manual.contains(&row), "`berth help manager` needs the row {row}");
        }
        let rows = manual.lines().filter(|line| line.starts_with("| `berth_") || line.starts_with("| `mcp_"));
        assert_eq!(rows.count(), ALL.len(), "a row of the manual is of no metric");
    }
}
