//! The two sockets that a manager listens on: those that systemd hands over, or its own.

use std::net::SocketAddr;

use listenfd::ListenFd;
use mcp_berth::cli::ManagerRunArgs;
use mcp_berth::config::Manager;
use mcp_berth::failure::{Code, Failure};
use tokio::net::TcpListener;

use crate::holder;

#[derive(Debug)]
pub(crate) struct Listeners {
    pub(crate) api: TcpListener,
    pub(crate) monitor: TcpListener,
}

/// Those that were handed over, in the order of the socket unit's lines; else the configured addresses.
///
/// # Errors
/// An address cannot be had, or something else was handed over.
pub(crate) async fn take(args: &ManagerRunArgs, config: &Manager) -> Result<Listeners, Failure> {
    let mut handed = ListenFd::from_env();
    if handed.len() > 0 {
        return Ok(Listeners { api: handed_over(&mut handed, 0)?, monitor: handed_over(&mut handed, 1)? });
    }
    Ok(Listeners {
        api: bind(args.api.unwrap_or(config.api), "api").await?,
        monitor: bind(args.monitor.unwrap_or(config.monitor), "monitor").await?,
    })
}

fn handed_over(handed: &mut ListenFd, at: usize) -> Result<TcpListener, Failure> {
    let wrong = |why: String| Failure {
        code: Code::Configuration,
        text: format!("socket {at} of the socket unit cannot be used: {why}"),
        next: Some("compare the unit with that of `berth manager unit socket`".to_owned()),
    };
    let listener = handed.take_tcp_listener(at).map_err(|error| wrong(error.to_string()))?;
    let listener = listener.ok_or_else(|| wrong("there is none; two were expected".to_owned()))?;
    listener.set_nonblocking(true).map_err(|error| wrong(error.to_string()))?;
    TcpListener::from_std(listener).map_err(|error| wrong(error.to_string()))
}

/// Binds an address. A taken one names its holder.
async fn bind(address: SocketAddr, key: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let is_taken = error.kind() == std::io::ErrorKind::AddrInUse;
        let holder = is_taken.then(|| holder::of(address)).flatten();
        let (why, end) = match holder {
            Some(holder) => (format!("{holder} has it"), "end that process"),
            None if is_taken => ("another process has it".to_owned(), "end that process"),
            None => (error.to_string(), "correct the address"),
        };
        Failure {
            code: Code::Unavailable,
            text: format!("cannot listen on {address}: {why}"),
            next: Some(format!("{end}, or choose another `{key}` in [manager] or with `--{key}`")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_address_names_its_holder() {
        let first = bind("127.0.0.1:0".parse().unwrap(), "api").await.unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address, "api").await.unwrap_err();
        let text = format!("cannot listen on {address}: process {} (", std::process::id());
        assert!(error.text.starts_with(&text) && error.text.ends_with(") has it"), "{error}");
        let elsewhere = bind("192.0.2.1:1".parse().unwrap(), "api").await.unwrap_err();
        assert!(elsewhere.next.unwrap().starts_with("correct the address"));
    }
}
