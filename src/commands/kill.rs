//! `berth kill`: ends sessions from outside: one by its name, or all that belong to a client's session, a process or a
//! project. More than one are never ended unasked.

use std::io::{BufRead, IsTerminal, Write};
use std::process::ExitCode;

use futures::future::join_all;

use crate::cli::KillArgs;
use crate::config::{Config, Home};
use crate::dind::containers;
use crate::dock::roster::{self, Asked, Entry};
use crate::failure::{Code, Failure};
use crate::human::{count, table};
use crate::observe::journal;
use crate::values::Ago;

pub async fn run(args: &KillArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let engine = super::dind_engine(config, home)?;
    let all = roster::list_with_owners(&engine).await.map_err(Failure::from)?;
    end(args, home, all, async |entry: &Entry| roster::end(&engine, &entry.id).await.map_err(Failure::from))
        .await
}

/// Ends those among `all` that are meant, each by `end`.
///
/// # Errors
/// There is none; they were not confirmed; the first that could not be ended.
pub async fn end(
    args: &KillArgs,
    home: &Home,
    all: Vec<Entry>,
    end: impl AsyncFn(&Entry) -> Result<(), Failure>,
) -> anyhow::Result<ExitCode> {
    let (mut entries, is_sure) = match &args.session {
        Some(word) => {
            let asked = Asked::new(word, &std::env::current_dir().unwrap_or_default());
            let entries = asked.among(all);
            let is_sure = entries.len() == 1 && !asked.is_by_process(&entries);
            (entries, is_sure)
        }
        None => (all, false),
    };
    if let Some(least) = args.idle.map(Ago::duration) {
        let idle = |entry: &Entry| journal::idle(&home.state, &entry.owner.session);
        entries.retain(|entry| idle(entry).is_some_and(|idle| idle >= least));
    }
    let word = &meant(args);
    if entries.is_empty() {
        return Err(Failure {
            code: Code::Unavailable,
            text: format!("no session `{word}`"),
            next: Some("see `berth ps`".to_owned()),
        }
        .into());
    }
    if !is_sure && !args.yes {
        show(&mut std::io::stderr().lock(), &entries)?;
        if !(std::io::stdin().is_terminal() && confirmed(entries.len())) {
            return Err(unconfirmed(word, entries.len()).into());
        }
    }
    let ended = join_all(entries.iter().map(|entry| end(entry))).await;
    let mut out = std::io::stdout().lock();
    let mut failed = None;
    for (entry, ended) in entries.iter().zip(ended) {
        if let Err(error) = ended {
            failed.get_or_insert(error);
            continue;
        }
        containers::note_end(&home.state, entry, "ended by hand");
        let whose = match entry.owner.session.as_str() {
            "" => String::new(),
            session => format!(" (session {session})"),
        };
        writeln!(out, "ended {}{whose}", entry.name)?;
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if entries.len() > 1 {
        writeln!(out, "{} of `{word}` ended", count(entries.len(), "session"))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// What the person has said.
fn meant(args: &KillArgs) -> String {
    let idle = args.idle.map(|idle| format!("--idle {}s", idle.duration().as_secs()));
    args.session.clone().into_iter().chain(idle).collect::<Vec<_>>().join(" ")
}

/// What would be ended.
fn show(out: &mut impl Write, entries: &[Entry]) -> std::io::Result<()> {
    let shown = |text: Option<&str>| text.filter(|text| !text.is_empty()).unwrap_or("-").to_owned();
    let mut lines = vec![["NAME", "SERVER", "SESSION", "STARTED AS", "PROJECT"].map(str::to_owned)];
    lines.extend(entries.iter().map(|Entry { name, server, owner, .. }| {
        [
            name.clone(),
            server.clone(),
            shown(Some(&owner.session)),
            shown(owner.client_session.as_deref()),
            shown(owner.project.as_deref()),
        ]
    }));
    table::plain(out, &lines)
}

/// Asks the person on the terminal; anything but a yes is a no.
fn confirmed(sessions: usize) -> bool {
    let mut answer = String::new();
    let asked =
        write!(std::io::stderr().lock(), "{} will be ended. Go on? [y/N] ", count(sessions, "session"))
            .and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    asked.is_ok() && matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

fn unconfirmed(word: &str, sessions: usize) -> Failure {
    Failure {
        code: Code::Usage,
        text: format!("`{word}` means {}, and none was ended", count(sessions, "session")),
        next: Some(format!("end all of them with `berth kill --yes {word}`, or one by its name")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_ended_that_was_not_confirmed() {
        let refused = unconfirmed("0199", 2);
        assert_eq!(refused.code, Code::Usage);
        assert_eq!(refused.text, "`0199` means 2 sessions, and none was ended");
        assert!(refused.next.unwrap().contains("`berth kill --yes 0199`"));
    }
}
