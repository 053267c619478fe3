//! `berth status`: whether sessions would work now. It exits with 0 only then.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::StatusArgs;
use crate::config::{Config, Home};
use crate::dind::status::{self, Status};
use crate::dock::resolver;
use crate::failure::Code;
use crate::human::count;

pub async fn run(args: &StatusArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let status = status::status(config, home, &super::variable).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &status)?;
        writeln!(out)?;
    } else {
        print(&mut out, &status)?;
    }
    Ok(if status.healthy { ExitCode::SUCCESS } else { ExitCode::from(Code::Unavailable.exit_code()) })
}

fn print(out: &mut impl Write, status: &Status) -> std::io::Result<()> {
    let mut row = |title: &str, text: &str| writeln!(out, "{title:<13} {text}");
    row("status", if status.healthy { "healthy" } else { "not healthy" })?;
    let tls = if status.tls { ", mutual TLS" } else { "" };
    match &status.engine {
        Some(engine) => row("daemon", &format!("Docker {engine} at {}{tls}", status.endpoint))?,
        None => row("daemon", &format!("no answer at {}", status.endpoint))?,
    }
    if let Some(container) = &status.container {
        let health = if container.health.is_empty() { "" } else { ", " };
        let text = format!("{}, {}{health}{}", container.name, container.state, container.health);
        row("container", &text)?;
    }
    if let Some(certificates) = &status.certificates {
        let days = |days: Option<i64>| {
            days.map_or("unknown".to_owned(), |days| format!("{} left", count(days, "day")))
        };
        let text = format!(
            "client: {}, server: {}, in {}",
            days(certificates.client_days_left),
            days(certificates.server_days_left),
            certificates.folder,
        );
        row("certificates", &text)?;
    }
    for image in &status.images {
        let present = match image.present {
            Some(true) => "present",
            Some(false) => "missing",
            None => "unknown",
        };
        row("image", &format!("{}, {present}", image.name))?;
    }
    if let Some(sessions) = status.sessions {
        row("sessions", &format!("{} active, {} standby", sessions.active, sessions.standby))?;
    }
    if let Some(nameservers) = status.nameservers.as_ref().filter(|those| !those.daemon.is_empty()) {
        row("nameservers", &resolver::list(&nameservers.daemon))?;
    }
    for warning in &status.warnings {
        row("warning", warning)?;
    }
    for problem in &status.problems {
        row("problem", problem)?;
    }
    status.next.as_ref().map_or(Ok(()), |next| row("next", next))
}
