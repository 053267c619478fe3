//! `berth uninstall --all`: says what is of berth's on this machine, asks, and removes it.
//!
//! Its sessions may be a reason to leave everything: they are looked at before anything is ended. What stays is said: the
//! configuration, unless it is to go too, and what is not berth's to remove.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use super::super::variable;
use crate::cli::UninstallArgs;
use crate::clients::{Installed, installed};
use crate::config::{Config, Home};
use crate::dind::images::room::{self, Shelf};
use crate::dind::progress::Progress;
use crate::dind::{self, DindError, down, spec};
use crate::dock::docker::Engine;
use crate::dock::labels::managed_by;
use crate::failure::{Code, Failure};
use crate::history::manager::{self, Holder};

/// What is of berth's.
struct Everything {
    entries: Vec<Installed>,
    /// The engine, where it holds a daemon, a volume or images of berth's.
    engine: Option<Engine>,
    of_engine: Vec<String>,
    units: Vec<PathBuf>,
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    manager: Option<Holder>,
    /// What could not be seen.
    unseen: Vec<String>,
}

pub(super) async fn run(args: &UninstallArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let everything = look(args, config, home).await?;
    let lines = everything.lines();
    let mut said = vec![if args.dry_run { "this would be removed:" } else { "this is removed:" }.to_owned()];
    said.extend(lines.iter().map(|line| format!("  {line}")));
    if lines.is_empty() {
        said = vec!["nothing of berth's is left".to_owned()];
    }
    said.extend(everything.unseen.iter().map(|unseen| format!("not looked at: {unseen}")));
    said.push(format!(
        "this stays: secrets in the keyring, backups of clients' files{}, and the programs themselves",
        stays(args, config)
    ));
    super::super::print(&said)?;
    if lines.is_empty() || args.dry_run {
        return Ok(ExitCode::SUCCESS);
    }
    if !everything.unseen.is_empty() && !args.force {
        return Err(Failure {
            code: Code::Unavailable,
            text: "nothing was removed, as not all of it can be seen".to_owned(),
            next: Some("start the engine, or leave what it holds with `--force`".to_owned()),
        }
        .into());
    }
    if let Some(holder) = everything.manager.as_ref().filter(|holder| holder.is_elsewhere()) {
        return Err(alive(holder).into());
    }
    everything.check(args, config, home).await?;
    if !args.yes {
        if !ask()? {
            return Err(Failure {
                code: Code::Usage,
                text: "nothing was removed".to_owned(),
                next: Some("type `berth uninstall --all --yes` to remove it without a question".to_owned()),
            }
            .into());
        }
        // Sessions may have begun meanwhile.
        everything.check(args, config, home).await?;
    }
    everything.remove(args, config, home).await?;
    super::super::print(&["everything of berth's is removed".to_owned()])?;
    Ok(ExitCode::SUCCESS)
}

/// The configuration's file, where it stays.
fn stays(args: &UninstallArgs, config: &Config) -> String {
    match &config.file {
        Some(file) if !args.config_too => format!(", {} (`--config-too` removes it)", file.display()),
        _ => String::new(),
    }
}

/// Anything but a yes is a no, and so is nobody at a terminal.
fn ask() -> io::Result<bool> {
    if !io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    write!(io::stderr().lock(), "Go on? [y/N] ")?;
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

async fn look(args: &UninstallArgs, config: &Config, home: &Home) -> anyhow::Result<Everything> {
    let there = |path: &PathBuf| path.symlink_metadata().is_ok();
    let mut everything = Everything {
        entries: installed(&variable)?,
        engine: None,
        of_engine: Vec::new(),
        units: units().into_iter().filter(there).collect(),
        folders: vec![home.certs.clone(), home.state.clone()].into_iter().filter(there).collect(),
        files: config.file.iter().filter(|_| args.config_too).cloned().collect(),
        manager: manager::running(&home.state)
            .map_err(|error| failed(&manager::lock(&home.state), &error))?,
        unseen: Vec::new(),
    };
    if let Some(host) = &config.dind.host {
        super::super::print(&[format!("the daemon at {host} is not berth's to remove, nor what it holds")])?;
        return Ok(everything);
    }
    let found = async {
        let engine = dind::engine(&config.dind.engine(&variable)?).await.map_err(|e| Failure::of(&e))?;
        let of_engine = of_engine(&engine, config, home).await?;
        Ok::<_, anyhow::Error>((engine, of_engine))
    };
    match found.await {
        Ok((engine, of_engine)) => (everything.engine, everything.of_engine) = (Some(engine), of_engine),
        Err(error) => everything.unseen.push(format!("the engine ({error:#})")),
    }
    Ok(everything)
}

async fn of_engine(engine: &Engine, config: &Config, home: &Home) -> Result<Vec<String>, Failure> {
    let name = &config.dind.name;
    let mut lines = Vec::new();
    if let Some(container) = engine.inspect(name).await.map_err(Failure::from)?
        && dind::is_ours(&container)
    {
        lines.push(format!("the DinD daemon `{name}`, with all sessions and servers' volumes"));
    }
    let volume = spec::volume(&config.dind);
    let (label, berth) = managed_by();
    let labels = engine.volume_labels(&volume).await.map_err(Failure::from)?;
    if labels.is_some_and(|labels| labels.get(&label) == Some(&berth)) {
        lines.push(format!("the volume `{volume}` of the engine, with all images and servers' volumes"));
    }
    // Nobody has a note of what the engine itself pulled: these are baked ones.
    let baked = room::clear(&home.state, engine, &Shelf::default(), true).await.map_err(Failure::from)?;
    lines.extend(baked.iter().map(|image| format!("the image `{}` of the engine", image.name)));
    Ok(lines)
}

/// What `berth manager unit` prints is put there.
fn units() -> Vec<PathBuf> {
    let set = |name: &str| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let folder = config.map(|config| config.join("systemd/user"));
    let names = ["berth-manager.service", "berth-manager.socket"];
    folder.into_iter().flat_map(|folder| names.map(|name| folder.join(name))).collect()
}

impl Everything {
    fn lines(&self) -> Vec<String> {
        let entries = self.entries.iter().flat_map(|installed| {
            let title = installed.title();
            installed.names.iter().map(move |name| format!("{title}: the entry `{name}`"))
        });
        let paths = self.units.iter().chain(&self.folders).chain(&self.files);
        let manager = self.manager.iter().map(|holder| format!("the manager, process {}", holder.pid));
        manager
            .chain(entries)
            .chain(self.of_engine.iter().cloned())
            .chain(paths.map(|path| path.display().to_string()))
            .collect()
    }

    /// The engine, if it holds anything of berth's. Who looks for nothing leaves nothing, such as a lock.
    fn to_clear(&self) -> Option<&Engine> {
        self.engine.as_ref().filter(|_| !self.of_engine.is_empty())
    }

    /// Refuses what the end of the daemon would refuse, while everything is still there.
    async fn check(&self, args: &UninstallArgs, config: &Config, home: &Home) -> Result<(), Failure> {
        let Some(engine) = self.to_clear() else { return Ok(()) };
        let checked = down::check(engine, config, home, options(args), |_| false).await;
        checked.map(drop).map_err(|error| refused(&error))
    }

    /// Nothing is removed while it lives: it would write into the state folder again.
    fn end_manager(&self, home: &Home) -> anyhow::Result<()> {
        if self.manager.is_none() {
            return Ok(());
        }
        // Its socket would start the next one.
        self.systemctl(&["stop"]);
        quietly(&std::env::current_exe()?.with_file_name("berth-manager"), &["stop"]);
        match manager::running(&home.state)? {
            None => Ok(()),
            Some(holder) => Err(alive(&holder).into()),
        }
    }

    fn systemctl(&self, words: &[&str]) {
        let names: Vec<&str> =
            self.units.iter().filter_map(|unit| unit.file_name().and_then(|name| name.to_str())).collect();
        if !names.is_empty() {
            quietly(Path::new("systemctl"), &[&["--user"], words, &names[..]].concat());
        }
    }

    async fn remove(&self, args: &UninstallArgs, config: &Config, home: &Home) -> anyhow::Result<()> {
        self.end_manager(home)?;
        if let Some(engine) = self.to_clear() {
            let progress = Progress::stderr();
            let ended = down::down(config, home, &variable, options(args), |_| false, &progress).await;
            ended.map_err(|error| refused(&error))?;
            room::clear(&home.state, engine, &Shelf::default(), false).await.map_err(Failure::from)?;
        }
        for installed in &self.entries {
            installed.remove()?;
        }
        self.systemctl(&["disable", "--now"]);
        for path in self.units.iter().chain(&self.files) {
            std::fs::remove_file(path).map_err(|error| failed(path, &error))?;
        }
        if !self.units.is_empty() {
            // It has read the units that are gone.
            quietly(Path::new("systemctl"), &["--user", "daemon-reload"]);
        }
        for folder in [&home.certs, &home.state] {
            match std::fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(failed(folder, &error).into());
                }
                _ => {}
            }
        }
        // The folder around both, if nothing else is in it.
        for folder in [&home.certs, &home.state].into_iter().filter_map(|folder| folder.parent()) {
            let _ = std::fs::remove_dir(folder);
        }
        Ok(())
    }
}

fn options(args: &UninstallArgs) -> down::Options {
    down::Options { volumes: true, force: args.force }
}

/// Where force helps, it is this command's.
fn refused(error: &DindError) -> Failure {
    let failure = Failure::of(error);
    match error {
        DindError::Active(_) | DindError::Uncounted { .. } | DindError::OtherHome { .. } => {
            let next = "end the sessions, or remove everything all the same with `--force`".to_owned();
            Failure { next: Some(next), ..failure }
        }
        _ => failure,
    }
}

fn alive(holder: &Holder) -> Failure {
    let (text, next) = if holder.is_elsewhere() {
        (
            "nothing was removed: a manager runs in a container, or outside of this one".to_owned(),
            "end it, with `docker rm -f berth-manager` for one in a container, and type the same command again",
        )
    } else {
        (
            format!("nothing was removed: the manager, process {}, does not end", holder.pid),
            "see why with `berth manager stop`, and type the same command again",
        )
    };
    Failure { code: Code::Unavailable, text, next: Some(next.to_owned()) }
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure {
        code: Code::Configuration,
        text: format!("cannot remove `{}`: {error}", path.display()),
        next: Some("correct its owner and permissions, and type the same command again".to_owned()),
    }
}

/// Runs what may not be there, or have nothing to do.
fn quietly(program: &Path, args: &[&str]) {
    let mut command = Command::new(program);
    let _ = command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_that_cannot_be_ended_is_listed_and_refused() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
        let path = manager::lock(&home.state);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let holder = Holder { pid: 7, namespace: "another".to_owned(), ..Holder::default() };
        std::fs::write(&path, serde_json::to_vec(&holder).unwrap()).unwrap();
        let lock = std::fs::File::open(&path).unwrap();
        lock.lock().unwrap();
        let everything = Everything {
            entries: Vec::new(),
            engine: None,
            of_engine: Vec::new(),
            units: Vec::new(),
            folders: Vec::new(),
            files: Vec::new(),
            manager: manager::running(&home.state).unwrap(),
            unseen: Vec::new(),
        };
        assert_eq!(everything.lines(), ["the manager, process 7"]);
        let said = everything.end_manager(&home).unwrap_err().to_string();
        assert!(
            said.contains("nothing was removed") && said.contains("docker rm -f berth-manager"),
            "{said}"
        );
        drop(lock);
        assert!(everything.end_manager(&home).is_ok(), "it has ended meanwhile");
    }
}
