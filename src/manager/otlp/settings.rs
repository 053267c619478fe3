//! OpenTelemetry's own variables, as far as they say how to reach a collector. What is secret stands there, not in the file.

use std::path::PathBuf;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Uri};
use mcp_berth::config::Collector;
use mcp_berth::failure::{Code, Failure};
use percent_encoding::percent_decode_str;

/// The specification's defaults.
const TIMEOUT: Duration = Duration::from_secs(10);
const INTERVAL: Duration = Duration::from_mins(1);

/// Where one kind of telemetry goes.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) uri: Uri,
    pub(super) headers: HeaderMap,
    /// Of a request, with its answer.
    pub(super) timeout: Duration,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("Target").field("uri", &self.uri).field("headers", &names).finish_non_exhaustive()
    }
}

#[derive(Debug)]
pub(super) struct Settings {
    /// `None`: it is not wanted.
    pub(super) traces: Option<Target>,
    pub(super) metrics: Option<Target>,
    /// A file of the certificates that are trusted instead of the machine's.
    pub(super) certificate: Option<PathBuf>,
    /// Between two exports of metrics.
    pub(super) interval: Duration,
}

impl Settings {
    /// # Errors
    /// A variable's value can't be read; the error does not repeat it.
    pub(super) fn read(collector: &Collector, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, Failure> {
        let env = |name: &str| env(name).filter(|value| !value.trim().is_empty());
        // The one of a signal goes before the one of all.
        let of = |signal: &str, end: &str| {
            let names = [format!("OTEL_EXPORTER_OTLP_{signal}_{end}"), format!("OTEL_EXPORTER_OTLP_{end}")];
            names.into_iter().find_map(|name| env(&name).map(|value| (name, value)))
        };
        let target = |signal: &str, path: &str| -> Result<_, Failure> {
            if env(&format!("OTEL_{signal}_EXPORTER")).is_some_and(|exporter| exporter.trim() == "none") {
                return Ok(None);
            }
            let uri = collector.of(path).parse().map_err(|_| wrong("[manager] otlp", "an address"))?;
            let headers = of(signal, "HEADERS").map(|(name, value)| headers(&name, &value)).transpose()?;
            let timeout =
                of(signal, "TIMEOUT").map(|(name, value)| milliseconds(&name, &value)).transpose()?;
            let headers = headers.unwrap_or_default();
            Ok(Some(Target { uri, headers, timeout: timeout.unwrap_or(TIMEOUT) }))
        };
        let interval = "OTEL_METRIC_EXPORT_INTERVAL";
        Ok(Self {
            traces: target("TRACES", "traces")?,
            metrics: target("METRICS", "metrics")?,
            certificate: env("OTEL_EXPORTER_OTLP_CERTIFICATE").map(PathBuf::from),
            interval: env(interval).map_or(Ok(INTERVAL), |value| milliseconds(interval, &value))?,
        })
    }
}

/// `name=value` pairs with commas between them, the values percent-encoded.
fn headers(variable: &str, text: &str) -> Result<HeaderMap, Failure> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty());
    let header = |pair: &str| {
        let (name, value) = pair.split_once('=')?;
        let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
        let mut value = HeaderValue::from_str(&value).ok()?;
        value.set_sensitive(true);
        Some((HeaderName::from_bytes(name.trim().as_bytes()).ok()?, value))
    };
    let headers = pairs.map(header).collect::<Option<HeaderMap>>();
    headers.ok_or_else(|| wrong(variable, "a list such as `authorization=Bearer%20TOKEN`"))
}

fn milliseconds(variable: &str, text: &str) -> Result<Duration, Failure> {
    let number = text.trim().parse().ok().filter(|number| *number > 0);
    number.map(Duration::from_millis).ok_or_else(|| wrong(variable, "a number of milliseconds"))
}

fn wrong(what: &str, expected: &str) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("`{what}` must be {expected}"),
        next: Some("correct it in the manager's environment".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::{Config, Home};

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Settings, Failure> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[manager]\notlp = \"https://example.org/otlp\"";
        let collector = Config::parse(text, Path::new("b.toml"), &home).unwrap().manager.otlp.unwrap();
        let env = |name: &str| {
            let found = variables.iter().find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        };
        Settings::read(&collector, &env)
    }

    #[test]
    fn a_signals_own_variable_goes_before_the_common_one() {
        let settings = read(&[
            ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20sesame, x-tenant = a"),
            ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-tenant=b"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "250"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "5000"),
            ("OTEL_EXPORTER_OTLP_CERTIFICATE", ""),
        ]);
        let settings = settings.unwrap();
        let (traces, metrics) = (settings.traces.unwrap(), settings.metrics.unwrap());
        assert_eq!(traces.uri, "https://example.org/otlp/v1/traces");
        assert_eq!(metrics.uri, "https://example.org/otlp/v1/metrics");
        assert_eq!(
            (&traces.headers["authorization"], &traces.headers["x-tenant"]),
            (&"Bearer sesame".parse().unwrap(), &"a".parse().unwrap())
        );
        assert_eq!((metrics.headers.len(), &metrics.headers["x-tenant"]), (1, &"b".parse().unwrap()));
        assert_eq!((traces.timeout, metrics.timeout), (Duration::from_millis(250), TIMEOUT));
        assert_eq!((settings.interval, settings.certificate), (Duration::from_secs(5), None));
        assert!(!format!("{traces:?}").contains("sesame"), "{traces:?}");
    }

    #[test]
    fn a_signal_can_be_left_out() {
        let settings = read(&[("OTEL_METRICS_EXPORTER", "none"), ("OTEL_TRACES_EXPORTER", "otlp")]).unwrap();
        assert!(settings.metrics.is_none() && settings.traces.is_some());
    }

    #[test]
    fn a_mistake_is_told_without_what_may_be_secret() {
        for (name, value) in [
            ("OTEL_EXPORTER_OTLP_HEADERS", "sesame"),
            ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=sesame%0A"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "sesame"),
            ("OTEL_METRIC_EXPORT_INTERVAL", "0"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(error.text.starts_with(&format!("`{name}` must be")), "{error}");
            assert!(!error.to_string().contains("sesame"), "{error}");
        }
    }
}
