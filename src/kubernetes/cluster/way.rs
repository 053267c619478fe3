//! The way to a cluster's API server: straight, or by a proxy, as kubectl goes.
//!
//! A kubeconfig's `proxy-url` counts for its cluster, whatever the environment says. Otherwise it is `HTTPS_PROXY` (or
//! `HTTP_PROXY`) and `NO_PROXY`, with Go's rules: nobody's proxy leads to this machine's loopback.

use std::net::IpAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use kube::Config;
use kube::client::ConfigExt;
use mcp_berth::failure::{Code, Failure};
use tokio::net::TcpStream;
use tower::BoxError;
use tower_service::Service;

use super::super::resolver::{self, Connector};
use super::kubeconfig::LOOK;

/// As kubectl has them.
const SCHEMES: [&str; 4] = ["http", "https", "socks5", "socks5h"];
const HTTPS: u16 = 443;
const HTTP: u16 = 80;

/// The proxy for a cluster: the one that its kubeconfig names, or the environment's.
pub(super) fn proxy(
    named: Option<&str>,
    cluster: &Uri,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Option<Intercept>, Failure> {
    let Some(named) = named else { return Ok(of_environment(cluster, lookup)) };
    let proxy = Matcher::builder().all(named.to_owned()).build().intercept(cluster);
    proxy.filter(is_known).map(Some).ok_or_else(|| Failure {
        code: Code::Configuration,
        // It may have a password.
        text: "cannot use the kubeconfig: the `proxy-url` of its cluster is no address of a proxy".to_owned(),
        next: Some(format!("it begins with `http://`, `https://` or `socks5://`: {LOOK}")),
    })
}

fn is_known(proxy: &Intercept) -> bool {
    proxy.uri().scheme_str().is_some_and(|scheme| SCHEMES.contains(&scheme))
}

fn of_environment(cluster: &Uri, lookup: impl Fn(&str) -> Option<String>) -> Option<Intercept> {
    let first = |names: [&str; 2]| names.into_iter().filter_map(&lookup).find(|value| !value.is_empty());
    let host = cluster.host()?.trim_matches(['[', ']']);
    if host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback()) {
        return None;
    }
    let port = cluster.port_u16().unwrap_or(if cluster.scheme_str() == Some("http") { HTTP } else { HTTPS });
    let matcher = Matcher::builder()
        .https(first(["HTTPS_PROXY", "https_proxy"]).unwrap_or_default())
        .http(first(["HTTP_PROXY", "http_proxy"]).unwrap_or_default())
        .no(exceptions(&first(["NO_PROXY", "no_proxy"]).unwrap_or_default(), port))
        .build();
    matcher.intercept(cluster).filter(is_known)
}

/// Those that count for a port, as curl has them: it knows neither ports nor `*.`.
fn exceptions(list: &str, port: u16) -> String {
    let without_port = |entry: &'_ str| -> Option<String> {
        let entry = entry.trim();
        let is_address = entry.parse::<IpAddr>().is_ok();
        let host = match entry.rsplit_once(':').filter(|_| !is_address) {
            Some((host, only)) => {
                only.parse().map_or(Some(entry), |only: u16| (only == port).then_some(host))?
            }
            None => entry,
        };
        Some(host.trim_matches(['[', ']']).trim_start_matches("*.").to_owned())
    };
    // A list of everything is one star alone.
    list.split(',').filter_map(without_port).collect::<Vec<_>>().join(",")
}

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects to the API server.
#[derive(Clone)]
pub(super) struct Way {
    how: How,
    /// The proxy, for a person.
    by: Option<String>,
    /// Behind a proxy nothing else bounds it.
    within: Option<Duration>,
}

#[derive(Clone)]
enum How {
    Straight(Connector),
    Tunnel(Box<Tunnel<HttpsConnector<Connector>>>),
    Socks(Box<SocksV5<Connector>>),
}

#[derive(Debug, thiserror::Error)]
#[error("there is no way by the proxy `{by}`")]
struct NoWay {
    by: String,
    source: BoxError,
}

impl Way {
    pub(super) fn new(config: &Config, proxy: Option<&Intercept>) -> kube::Result<Self> {
        let mut straight = resolver::connector();
        straight.enforce_http(false);
        // Two frames in a row would take 40 ms, until the first is acknowledged.
        straight.set_nodelay(true);
        straight.set_connect_timeout(config.connect_timeout);
        let Some(proxy) = proxy else {
            return Ok(Self { how: How::Straight(straight), by: None, within: None });
        };
        let address = proxy.uri().clone();
        let how = if address.scheme_str().is_some_and(|scheme| scheme.starts_with("socks")) {
            let socks = SocksV5::new(address.clone(), straight);
            How::Socks(Box::new(match proxy.raw_auth() {
                Some((user, password)) => socks.with_auth(user.to_owned(), password.to_owned()),
                None => socks,
            }))
        } else {
            // It is known by the same certificates as the cluster, as with kubectl.
            let tunnel =
                Tunnel::new(address.clone(), config.rustls_https_connector_with_connector(straight)?);
            How::Tunnel(Box::new(match proxy.basic_auth() {
                Some(header) => tunnel.with_auth(header.clone()),
                None => tunnel,
            }))
        };
        Ok(Self { how, by: Some(address.to_string()), within: config.connect_timeout })
    }
}

impl Service<Uri> for Way {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match &mut self.how {
            How::Straight(straight) => straight.poll_ready(context).map_err(BoxError::from),
            How::Tunnel(tunnel) => tunnel.poll_ready(context).map_err(BoxError::from),
            How::Socks(socks) => socks.poll_ready(context).map_err(BoxError::from),
        }
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting: Self::Future = match &mut self.how {
            How::Straight(straight) => {
                let connecting = straight.call(to);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
            How::Tunnel(tunnel) => {
                let connecting = tunnel.call(to);
                Box::pin(async move { Ok(connecting.await?) })
            }
            How::Socks(socks) => {
                let connecting = socks.call(to);
                Box::pin(async move { Ok(MaybeHttpsStream::Http(connecting.await?)) })
            }
        };
        let Some(by) = self.by.clone() else { return connecting };
        let within = self.within.unwrap_or(Duration::MAX);
        Box::pin(async move {
            let connected =
                tokio::time::timeout(within, connecting).await.unwrap_or_else(|late| Err(late.into()));
            connected.map_err(|source| NoWay { by, source }.into())
        })
    }
}

#[cfg(test)]
mod tests;
