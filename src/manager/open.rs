//! `berth manager open`: a link to the page that opens it once.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::Context;
use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use mcp_berth::config::Home;
use mcp_berth::failure::{Code, Failure};
use mcp_berth::history::manager::{FOLDER, running};
use tokio::net::TcpStream;

use crate::token;

/// A manager that is slower has an answer no more.
const WITHIN: Duration = Duration::from_secs(5);

/// An answer is no longer (bytes).
const LONGEST: usize = 64 << 10;

pub(crate) async fn open(home: &Home) -> anyhow::Result<ExitCode> {
    let Some(monitor) = running(&home.state)?.and_then(|holder| holder.monitor) else {
        return Err(Failure {
            code: Code::Unavailable,
            text: "no manager runs".to_owned(),
            next: Some("start it with `berth manager`".to_owned()),
        }
        .into());
    };
    let token = token::read_or_make(&home.state.join(FOLDER))?;
    let asked = tokio::time::timeout(WITHIN, ask(monitor, token.text())).await;
    let path = asked.context("the manager gives no answer")??;
    let link = format!("http://{monitor}{path}");
    writeln!(io::stdout().lock(), "{link}")?;
    // Somebody who reads the link by a program wants no browser.
    if io::stdout().is_terminal() {
        let mut browser = Command::new("xdg-open");
        let quiet = browser.arg(&link).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        _ = quiet.spawn();
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(monitor: SocketAddr, token: &str) -> anyhow::Result<String> {
    let stream = TcpStream::connect(monitor).await.context("cannot reach the manager")?;
    let (mut client, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    let request = Request::post("/login")
        .header(header::HOST, monitor.to_string())
        .header(header::AUTHORIZATION, format!("Bearer {token}"))
        .body(Body::empty())?;
    let response = client.send_request(request).await?;
    let status = response.status();
    let body = to_bytes(Body::new(response.into_body()), LONGEST).await?;
    let answer: serde_json::Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = answer["path"].as_str().filter(|_| status.is_success());
    path.map(str::to_owned).with_context(|| format!("the manager answers {status}: {}", answer["detail"]))
}
