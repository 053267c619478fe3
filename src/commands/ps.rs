//! `berth ps`: the sessions, as the daemon's names and labels have them.

use std::io::Write;
use std::process::ExitCode;

use futures::future::join_all;
use serde::Serialize;

use crate::cli::PsArgs;
use crate::config::{Config, Home};
use crate::dock::docker::{Engine, Usage};
use crate::dock::roster::{self, Entry, State};

/// One object of `berth ps --json`.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    client: String,
    server: String,
    session: String,
    state: State,
    /// RFC 3339, by the daemon's clock.
    created: String,
    memory_bytes: u64,
    /// Of one processor.
    cpu_percent: f64,
}

pub async fn run(args: &PsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let entries = roster::list_with_sessions(&engine).await.map_err(crate::failure::Failure::from)?;
    let rows = join_all(entries.into_iter().map(|entry| row(&engine, entry))).await;
    let mut out = std::io::stdout().lock();
    if args.json {
        serde_json::to_writer_pretty(&mut out, &rows)?;
        writeln!(out)?;
        return Ok(ExitCode::SUCCESS);
    }
    let mut lines = vec![["NAME", "STATE", "SERVER", "SESSION", "AGE", "MEMORY", "CPU"].map(str::to_owned)];
    lines.extend(rows.iter().map(|row| {
        [
            row.name.clone(),
            row.state.as_str().to_owned(),
            row.server.clone(),
            row.session.clone(),
            age(&row.created),
            format!("{:.1} MiB", mebibytes(row.memory_bytes)),
            format!("{:.1} %", row.cpu_percent),
        ]
    }));
    table(&mut out, &lines)?;
    Ok(ExitCode::SUCCESS)
}

async fn row(engine: &Engine, entry: Entry) -> Row {
    // One that ends in this moment uses nothing.
    let usage =
        if entry.running { engine.usage(&entry.id).await.unwrap_or_default() } else { Usage::default() };
    Row {
        created: jiff::Timestamp::from_second(entry.created).unwrap_or_default().to_string(),
        name: entry.name,
        client: entry.client,
        server: entry.server,
        session: entry.session,
        state: entry.state,
        memory_bytes: usage.memory_bytes,
        cpu_percent: usage.cpu_percent,
    }
}

fn age(created: &str) -> String {
    let Ok(created) = created.parse::<jiff::Timestamp>() else { return String::new() };
    let seconds = jiff::Timestamp::now().duration_since(created).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[expect(clippy::cast_precision_loss, reason = "shown with one decimal")]
fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// Writes rows in columns as wide as their widest cell.
pub(super) fn table<const N: usize>(out: &mut impl Write, rows: &[[String; N]]) -> std::io::Result<()> {
    let widths: [usize; N] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].len()).max().unwrap_or_default());
    for row in rows {
        let cells: Vec<String> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        writeln!(out, "{}", cells.join("  ").trim_end())?;
    }
    Ok(())
}
