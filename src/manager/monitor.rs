//! The monitor's listener: the metrics for programs, the page for people.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;

use crate::metrics::Metrics;
use crate::page;
use crate::shared::Shared;
use crate::web::guard;

pub(crate) fn router(shared: &Arc<Shared>, metrics: &Arc<Metrics>, metrics_auth: bool) -> Router {
    // The page has a log-in of its own.
    let open = Router::new().route("/healthz", get(async || "ok\n")).merge(page::router(shared));
    let with_token = page::links(shared);
    let (with_token, open) = if metrics_auth {
        (with_token.merge(metrics.router()), open)
    } else {
        (with_token, open.merge(metrics.router()))
    };
    guard::behind(open, with_token, &shared.guard())
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use mcp_berth::config::Config;

    use tower_service::Service;

    use super::*;

    #[tokio::test]
    async fn the_metrics_ask_for_the_token_unless_the_configuration_says_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let metrics = Metrics::open(folder.path(), Arc::default(), Arc::default()).unwrap();
        let shared = Shared::of(folder.path(), "");
        for (text, expected) in [("", 401), ("[manager]\nmetrics_auth = false", 200)] {
            let config = Config::parse(text, std::path::Path::new("b.toml"), &shared.home).unwrap();
            let mut router = super::router(&shared, &metrics, config.manager.metrics_auth);
            let mut ask = async |headers: &[(&str, &str)]| {
                let request = headers
                    .iter()
                    .fold(Request::get("/metrics"), |request, (name, value)| request.header(*name, *value));
                router.call(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
            };
            let here = ("host", "127.0.0.1:19090");
            assert_eq!(ask(&[here]).await, expected, "{text}");
            let bearer = format!("Bearer {}", shared.token.text());
            assert_eq!(ask(&[here, ("authorization", &bearer)]).await, 200);
            assert_eq!(ask(&[("host", "example.org"), ("authorization", &bearer)]).await, 403, "{text}");
        }
    }
}
