//! `docker run` and `podman run`: an image, and its flags. A flag becomes a setting, needs no setting, or is refused.

mod flag;
mod mount;
mod ports;

use toml_edit::{InlineTable, Value};

use super::flags::{Line, Next};
use super::names::{self, template};
use super::{Parsed, Program, RunnerError};
use crate::values::{
    AbsolutePath, ByteSize, Capability, Cpus, DEFAULT_TMPFS, Image, Memory, Pids, Span, User,
};
use flag::{Meaning, flag};
use mount::Mount;
pub use ports::HostAccess;

/// The words after `docker run`.
pub(super) fn parse(engine: &str, words: &[String]) -> Result<Parsed, RunnerError> {
    let runner = format!("{} run", names::program(engine));
    let mut line = Line::new(&runner, words);
    // Named once it is known what it is.
    let image = Program::Image { image: String::new(), command: None, args: None };
    let mut run = Run { parsed: Parsed::new(String::new(), image), entrypoint: None, tmpfs: Vec::new() };
    let image = loop {
        match line.next(flag)? {
            Next::Flag(name, meaning, value) => run.take(&line, &name, meaning, value)?,
            Next::Word(word) => break word,
            Next::End => {
                return Err(RunnerError::new(
                    format!("`{runner}` names no image"),
                    "write the image after the flags",
                ));
            }
        }
    };
    if image.parse::<Image>().is_err() || image.contains('$') {
        let next = "write it as in `ghcr.io/github/github-mcp-server`";
        return Err(RunnerError::new(format!("`{runner}` does not name a valid image"), next));
    }
    run.parsed.notes.append(&mut line.notes);
    Ok(run.finish(image, line.rest()))
}

/// Any other command of the engine's.
pub(super) fn other(engine: &str, command: &str) -> RunnerError {
    let (message, next) = match command {
        "exec" => (
            "a container that runs already is shared by all sessions",
            "write `docker run -i --rm IMAGE` with its image, so that each session has its own container",
        ),
        "compose" | "compose-v2" => {
            ("a compose file may hold anything", "write its server as `docker run -i --rm IMAGE`")
        }
        "mcp" => (
            "Docker's gateway starts servers itself",
            "name each server's image: `docker run -i --rm mcp/NAME`",
        ),
        _ if command.starts_with('-') => (
            "a flag before the command chooses another engine",
            "leave it out: berth has a daemon of its own",
        ),
        _ => ("this command does not start a server", "write `docker run -i --rm IMAGE`"),
    };
    let command = super::flags::bare(command);
    RunnerError::new(format!("berth does not take over `{engine} {command}`: {message}"), next)
}

/// What has been read.
struct Run {
    parsed: Parsed,
    entrypoint: Option<String>,
    /// Path, size, and whether programs in it can be run.
    tmpfs: Vec<(String, String, bool)>,
}

impl Run {
    fn take(&mut self, line: &Line, flag: &str, meaning: Meaning, value: &str) -> Result<(), RunnerError> {
        match meaning {
            Meaning::Env => self.env(line, flag, value)?,
            Meaning::EnvFile => self.env_file(line, flag, value)?,
            Meaning::Pull => self.pull(line, flag, value)?,
            Meaning::Volume => self.mount(line, flag, mount::short(value))?,
            Meaning::Mount => self.mount(line, flag, mount::long(value))?,
            Meaning::AddHost => ports::add_host(&mut self.parsed, line, flag, value)?,
            Meaning::Network => self.network(line, flag, value)?,
            Meaning::Publish => ports::publish(&mut self.parsed, line, flag, value)?,
            Meaning::Own => own(line, flag, value)?,
            Meaning::Tmpfs => {
                let (path, options) = value.split_once(':').unwrap_or((value, ""));
                self.tmpfs(line, flag, path, options)?;
            }
            Meaning::Shm => self.tmpfs(line, flag, "/dev/shm", &format!("size={value}"))?,
            Meaning::Memory => {
                checked::<Memory>(line, flag, value, "write a size such as 512m")?;
                self.parsed.set("memory", value);
            }
            Meaning::Cpus => {
                checked::<Cpus>(line, flag, value, "write a number such as 1.5")?;
                self.parsed.set("cpus", value);
            }
            Meaning::Pids if value.starts_with('-') || value == "0" => {
                self.parsed.notes.push(format!("`{flag}` is left out: berth's own limit holds"));
            }
            Meaning::Pids => {
                checked::<Pids>(line, flag, value, "write a number such as 256")?;
                self.parsed.set("pids", value);
            }
            Meaning::User => {
                checked::<User>(
                    line,
                    flag,
                    value,
                    "write numbers, as in 1000:1000, or names that the image knows",
                )?;
                self.parsed.set("user", value);
            }
            Meaning::Workdir => {
                checked::<AbsolutePath>(line, flag, value, "write an absolute path in the container")?;
                self.parsed.set("workdir", value);
            }
            Meaning::StopTimeout => {
                checked::<Span>(line, flag, value, "write a number of seconds")?;
                self.parsed.set("stop_grace", value);
            }
            Meaning::ReadOnly => self.parsed.set("read_only", true),
            Meaning::CapAdd => self.cap_add(line, flag, value)?,
            Meaning::Security => {
                if !["no-new-privileges", "no-new-privileges:true", "no-new-privileges=true"].contains(&value)
                {
                    let next = "leave it out: the engine's own profiles hold";
                    return Err(line.refuse(flag, "it changes what protects the machine", next));
                }
            }
            Meaning::Entrypoint => self.entrypoint = Some(value.to_owned()),
        }
        Ok(())
    }

    fn env(&mut self, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
        let (name, given) = match value.split_once('=') {
            Some((name, value)) => (name, Some(template(value))),
            None => (value, None),
        };
        if !names::is_variable(name) {
            return Err(line.wrong(flag, "write NAME=VALUE, or NAME for the client's variable"));
        }
        match given {
            Some(value) => self.parsed.set_env(name, value),
            None => self.parsed.pass_env(name),
        }
        Ok(())
    }

    fn env_file(&mut self, line: &Line, flag: &str, path: &str) -> Result<(), RunnerError> {
        if !mount::is_path(path) {
            let next = "write the file's absolute path: each client starts its servers somewhere else";
            return Err(line.wrong(flag, next));
        }
        self.parsed.notes.push(format!("the server gets the variables in `{path}`, read at each start"));
        self.parsed.add("env_file", template(path));
        Ok(())
    }

    fn pull(&mut self, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
        match value {
            "always" => {
                self.parsed.notes.push(format!(
                    "`{flag}`: the registry is asked at each `berth up` and behind a session's start, never in its way"
                ));
                self.parsed.set("pull", "always");
            }
            "missing" => {}
            // Sessions of a configured server pull nothing anyway.
            "never" => {
                self.parsed
                    .notes
                    .push(format!("`{flag}` is left out: `berth up` fetches an image that is missing"));
            }
            _ => return Err(line.wrong(flag, "write `always`, or leave it out")),
        }
        Ok(())
    }

    fn mount(
        &mut self,
        line: &Line,
        flag: &str,
        mount: Result<Mount, mount::Wrong>,
    ) -> Result<(), RunnerError> {
        match mount {
            Ok(Mount::Bind { source, .. }) if mount::is_engine(&source) => {
                let next = "a server that needs an engine cannot run in berth: leave it as it is";
                Err(line.refuse(flag, "a server with an engine's socket rules the machine", next))
            }
            Ok(Mount::Bind { source, target, write }) => {
                let (source, mode) = (template(&source), if write { ":rw" } else { "" });
                self.parsed.mounts.push(format!("{source}:{target}{mode}"));
                Ok(())
            }
            Ok(Mount::Volume { name, target, write }) => {
                // As with docker: whoever starts another container with it has it, too.
                let mode = if write { ":concurrent" } else { ":ro" };
                self.parsed.volumes.push(format!("{name}:{target}{mode}"));
                self.parsed.notes.push(format!(
                    "the volume `{name}` begins empty, as the other engine keeps its own of that name; \
                     `berth volume import {name}` copies that"
                ));
                Ok(())
            }
            // What it holds lasts as long as the container, as anything that the server writes.
            Ok(Mount::Unnamed) => {
                self.parsed.notes.push(format!(
                    "`{flag}` without a source is left out: such a volume ends with its session"
                ));
                Ok(())
            }
            Ok(Mount::Tmpfs { target, options }) => self.tmpfs(line, flag, &target, &options),
            Err(wrong) => Err(line.wrong(flag, wrong.0)),
        }
    }

    fn tmpfs(&mut self, line: &Line, flag: &str, path: &str, options: &str) -> Result<(), RunnerError> {
        checked::<AbsolutePath>(line, flag, path, "write an absolute path in the container")?;
        let size = |option: &str| {
            option.strip_prefix("size=").or(option.strip_prefix("tmpfs-size=")).map(str::to_owned)
        };
        let (_, usual) = DEFAULT_TMPFS[0];
        let size = options.split(',').find_map(size).unwrap_or_else(|| usual.to_owned());
        checked::<ByteSize>(line, flag, &size, "write a size such as 64m")?;
        // The last word counts, as for mount(8).
        let mut words = options.split(',').filter(|word| ["exec", "noexec"].contains(word));
        let exec = words.next_back() == Some("exec");
        self.tmpfs.retain(|(known, ..)| known != path);
        self.tmpfs.push((path.to_owned(), size, exec));
        Ok(())
    }

    fn network(&mut self, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
        match value {
            "none" => self.parsed.set("network", "none"),
            "bridge" | "default" => self.parsed.set("network", "egress"),
            "host" => self.parsed.host_access.network = true,
            _ => {
                let next = "leave it out: a server reaches the world by `network = \"egress\"`, and no other container";
                return Err(line.refuse(flag, "sessions share no network", next));
            }
        }
        Ok(())
    }

    fn cap_add(&mut self, line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
        let name = value.to_ascii_uppercase();
        checked::<Capability>(line, flag, &name, "write a capability such as NET_RAW")?;
        if ["ALL", "CAP_ALL", "SYS_ADMIN", "CAP_SYS_ADMIN"].contains(&name.as_str()) {
            return Err(line.refuse(
                flag,
                "with it a server rules the machine",
                "name the one that it needs",
            ));
        }
        self.parsed.add("cap_add", name);
        Ok(())
    }

    fn finish(self, image: &str, words: &[String]) -> Parsed {
        let Self { mut parsed, entrypoint, tmpfs } = self;
        let untagged = image.split('@').next().unwrap_or(image);
        let mut parts: Vec<&str> = untagged.split('/').collect();
        if let Some(last) = parts.last_mut() {
            *last = last.split(':').next().unwrap_or(last);
        }
        parsed.name = names::server(&parts);
        let mut words: Vec<String> = words.iter().map(|word| template(word)).collect();
        // As docker has it: with another entry point the image's own ENTRYPOINT and CMD are both gone.
        let command = match entrypoint {
            Some(program) if !program.is_empty() => Some(vec![program]),
            Some(_) if !words.is_empty() => Some(vec![words.remove(0)]),
            _ => None,
        };
        let args = (!words.is_empty()).then_some(words);
        parsed.program = Program::Image { image: image.to_owned(), command, args };
        if !tmpfs.is_empty() {
            // The setting replaces the one that holds otherwise.
            let mut table = InlineTable::new();
            for (path, size) in DEFAULT_TMPFS {
                table.insert(path, size.into());
            }
            for (path, size, exec) in tmpfs {
                let folder = if exec {
                    InlineTable::from_iter([("size", Value::from(size)), ("exec", true.into())]).into()
                } else {
                    Value::from(size)
                };
                table.insert(&path, folder);
            }
            parsed.set("tmpfs", Value::InlineTable(table));
        }
        parsed
    }
}

/// A namespace that the container has for itself anyway, or else one that it would share.
fn own(line: &Line, flag: &str, value: &str) -> Result<(), RunnerError> {
    if ["", "private", "none", "shareable"].contains(&value) {
        return Ok(());
    }
    let next = if flag == "--ipc" { "write `--shm-size 1g` for more shared memory" } else { "leave it out" };
    Err(line.refuse(flag, "a session shares nothing with the machine or with others", next))
}

fn checked<T: std::str::FromStr>(
    line: &Line,
    flag: &str,
    value: &str,
    expected: &str,
) -> Result<(), RunnerError> {
    value.parse::<T>().map(drop).map_err(|_| line.wrong(flag, expected))
}
