//! `berth ps`: the sessions, as the daemon's names and labels show them.

use std::io::Write;
use std::process::ExitCode;

use crate::cli::PsArgs;
use crate::config::{Config, Home};
use crate::dind::containers::{self, Seen};
use crate::dock::roster::State;
use crate::dock::standby::Count;
use crate::failure::Failure;
use crate::human::table::{self, Cut};
use crate::human::{Bytes, Plain};

pub async fn run(args: &PsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    show(args, &see(args, config, home).await?)
}

/// What the daemon has.
///
/// # Errors
/// It gives no answer.
pub async fn see(args: &PsArgs, config: &Config, home: &Home) -> Result<Seen, Failure> {
    let engine = super::dind_engine(config, home)?;
    let client_session = args.client_session.as_deref();
    let host = config.dind.engine(&super::variable).ok();
    let seen = containers::see(&engine, config, &home.state, client_session, args.stats, host.as_ref());
    seen.await.map_err(Failure::from)
}

/// Prints it.
///
/// # Errors
/// Standard output cannot be written.
pub fn show(args: &PsArgs, Seen { rows, cap }: &Seen) -> anyhow::Result<ExitCode> {
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let head = [
        "NAME",
        "STATE",
        "SERVER",
        "SESSION",
        "STARTED AS",
        "PROJECT",
        "AGE",
        "IDLE",
        "MEMORY",
        "CPU",
        "HOST USER",
        "ISOLATION",
        "STREAMS",
    ];
    let mut lines = vec![head.map(str::to_owned)];
    // The fields of a line are counted by whoever reads it by machine; an empty one would not be.
    let shown = |text: &str| if text.is_empty() { "-".to_owned() } else { text.to_owned() };
    lines.extend(rows.iter().map(|row| {
        [
            row.name.clone(),
            row.state.as_str().to_owned(),
            row.server.clone(),
            shown(&row.session),
            shown(&row.client_session),
            shown(&row.project),
            age(&row.created),
            row.idle_seconds.map_or_else(|| "-".to_owned(), elapsed),
            Bytes(row.memory_bytes).to_string(),
            format!("{:.1} %", row.cpu_percent),
            shown(&row.host_user),
            row.isolation.to_owned(),
            shown(row.streams),
        ]
    }));
    let width = table::terminal_width(&out);
    let [never, end, beginning] = [Cut::Never, Cut::End, Cut::Beginning];
    let cuts = [never, never, end, never, end, beginning, never, never, never, never, never, never, never];
    table::write(&mut out, &lines, cuts, width)?;
    let waiting = rows.iter().filter(|row| row.state == State::Standby).count();
    // A daemon that doesn't say how much memory it has is no reason to show nothing.
    if let Some(cap) = cap.filter(|_| waiting > 0) {
        writeln!(out, "{}", Count { waiting, cap })?;
    }
    for row in rows {
        let told = row.list.iter().flat_map(|list| row.refused.iter().map(|refusal| list.line(refusal)));
        for line in told {
            writeln!(out, "{} {}", row.name, Plain(&line))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn age(created: &str) -> String {
    let Ok(created) = created.parse::<jiff::Timestamp>() else { return String::new() };
    let seconds = jiff::Timestamp::now().duration_since(created).as_secs();
    elapsed(u64::try_from(seconds).unwrap_or(0))
}

fn elapsed(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}
