//! Which clients start berth, and would that work? Judges only.

use super::line::{Findings, Line, Seen, list};
use crate::clients::{Kind, Scope};
use crate::human::count;

/// A client's configuration, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub kind: Kind,
    pub path: String,
    /// Why it can't be read, or its servers.
    pub servers: Result<Vec<Examined>, String>,
}

/// A server of a client's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Examined {
    pub scope: Scope,
    /// The folder that it is for alone (`local`).
    pub project: Option<String>,
    pub name: String,
    pub enabled: bool,
    /// Where it starts berth.
    pub berth: Option<Start>,
}

impl Examined {
    /// For people.
    fn title(&self) -> String {
        match &self.project {
            Some(folder) => format!("`{}` of {folder}", self.name),
            None => format!("`{}`", self.name),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The servers of berth's configuration that it runs.
    pub servers: Vec<String>,
    /// The profile whose servers these are.
    pub profile: Option<String>,
    pub program: Program,
    pub target: Target,
    /// What mends the target, where the configuration says it.
    pub mends: Option<String>,
}

impl Start {
    /// For a command line.
    fn words(&self) -> String {
        match (&self.profile, self.servers.is_empty()) {
            (Some(profile), _) => format!("--profile {profile}"),
            (None, true) => "SERVER".to_owned(),
            (None, false) => self.servers.join(" "),
        }
    }
}

/// What the client would start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    /// This very program, or one that is the same byte for byte.
    This,
    /// Another berth.
    Version {
        path: String,
        version: String,
    },
    Missing(String),
    NotExecutable(String),
    /// It doesn't say that it is berth.
    NoBerth {
        path: String,
        why: String,
    },
    /// A project's file names it, which is no reason to run it.
    Untried(String),
}

/// What it would be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    Works,
    /// Wrong in any case.
    Wrong(String),
    /// Wrong where the client is started as we were.
    Doubtful(String),
}

const NAME: &str = "client";

/// One line for each file.
pub(super) fn judge(files: &Seen<Vec<File>>) -> Vec<Line> {
    match files {
        Seen::Found(files) if !files.is_empty() => {
            files.iter().map(|file| one(file).of(format!("{} {}", file.kind.name(), file.path))).collect()
        }
        Seen::Found(_) => {
            vec![Line::not_applicable(NAME, "neither Claude Code nor Codex has a configuration here")]
        }
        other => vec![other.line(NAME, |_| Line::ok(NAME, ""))],
    }
}

fn one(file: &File) -> Line {
    let servers = match &file.servers {
        Ok(servers) => servers,
        Err(why) => return Line::failed(NAME, why, format!("correct {}", file.path)),
    };
    let mut findings = Findings::default();
    let mut ours = Vec::new();
    for server in servers {
        let Some(start) = &server.berth else { continue };
        ours.push(server.name.as_str());
        if server.enabled {
            program(&mut findings, file.kind, server, start);
            target(&mut findings, file.kind, server, start);
        }
    }
    findings.fact(match (servers.len(), ours.len()) {
        (0, _) => "no servers".to_owned(),
        (all, 0) => format!("{}, none of them berth's", count(all, "server")),
        (all, some) => format!("{}, {some} of them berth's: {}", count(all, "server"), list(ours)),
    });
    findings.into_line(NAME)
}

fn program(findings: &mut Findings, kind: Kind, server: &Examined, start: &Start) {
    let (title, next) = (server.title(), install(kind, server, start));
    match &start.program {
        Program::This => {}
        Program::Version { version, .. } if version == env!("CARGO_PKG_VERSION") => {}
        Program::Version { path, version } => {
            let ours = env!("CARGO_PKG_VERSION");
            findings.warn(format!("{title} starts {path}, which is berth {version}, not {ours}"), next);
        }
        Program::Missing(path) => findings.fail(format!("{title} starts `{path}`, which is not there"), next),
        Program::NotExecutable(path) => findings
            .fail(format!("{title} starts {path}, which cannot be executed"), format!("chmod +x {path}")),
        Program::NoBerth { path, why } => {
            findings.fail(format!("{title} starts {path}, which does not work as berth: {why}"), next);
        }
        Program::Untried(path) => findings.warn(
            format!("{title} starts {path}, which is not this berth; a project's file names it, so it was not tried"),
            format!("{path} --version"),
        ),
    }
}

fn target(findings: &mut Findings, kind: Kind, server: &Examined, start: &Start) {
    let title = server.title();
    match &start.target {
        Target::Works => {}
        Target::Wrong(why) => findings.fail(format!("{title}: {why}"), install(kind, server, start)),
        Target::Doubtful(why) => {
            let next = format!("berth run --dry-run {}   # where {} is started", start.words(), kind.name());
            findings.warn(format!("{title}: {why}"), next);
        }
    }
}

/// The command that writes the entry anew.
pub(super) fn install(kind: Kind, server: &Examined, start: &Start) -> String {
    format!("berth install {} --scope {} {}", kind.id(), server.scope.as_str(), start.words())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::line::State;

    fn file(program: Program, target: Target) -> File {
        let clock = Examined {
            scope: Scope::User,
            project: None,
            name: "clock".into(),
            enabled: true,
            berth: Some(Start { servers: vec!["time".into()], profile: None, program, target, mends: None }),
        };
        let other = Examined { name: "other".into(), berth: None, ..clock.clone() };
        let servers = vec![clock, other];
        File { kind: Kind::ClaudeCode, path: "/h/.claude.json".into(), servers: Ok(servers) }
    }

    fn line(file: File) -> Line {
        judge(&Seen::Found(vec![file])).remove(0)
    }

    #[test]
    fn an_entry_that_works_is_counted() {
        let line = line(file(Program::This, Target::Works));
        assert_eq!((line.state, line.next), (State::Ok, None));
        assert_eq!(line.fact, "2 servers, 1 of them berth's: `clock`");
        assert_eq!(line.object.as_deref(), Some("Claude Code /h/.claude.json"));
        let version = env!("CARGO_PKG_VERSION").to_owned();
        let twin = Program::Version { path: "/opt/berth".into(), version };
        assert_eq!(self::line(file(twin, Target::Works)).state, State::Ok);
    }

    #[test]
    fn what_a_client_could_not_start_is_told() {
        let path = || "/opt/berth".to_owned();
        for (program, state, next) in [
            (Program::Missing(path()), State::Failed, "berth install claude-code --scope user time"),
            (Program::NotExecutable(path()), State::Failed, "chmod +x /opt/berth"),
            (
                Program::NoBerth { path: path(), why: "it hangs".into() },
                State::Failed,
                "berth install claude-code --scope user time",
            ),
            (
                Program::Version { path: path(), version: "0.0.1".into() },
                State::Warning,
                "berth install claude-code --scope user time",
            ),
            (Program::Untried(path()), State::Warning, "/opt/berth --version"),
        ] {
            let line = line(file(program.clone(), Target::Works));
            assert_eq!((line.state, line.next.as_deref()), (state, Some(next)), "{program:?}");
            assert!(line.fact.contains("`clock`") && line.fact.contains("/opt/berth"), "{}", line.fact);
        }
    }

    #[test]
    fn what_it_would_be_told_has_to_be_right_too() {
        let wrong = line(file(Program::This, Target::Wrong("unknown server `time`".into())));
        assert_eq!(wrong.state, State::Failed);
        let doubtful = line(file(Program::This, Target::Doubtful("needs `TOKEN`".into())));
        assert_eq!(doubtful.state, State::Warning);
        let mut local = file(Program::This, Target::Wrong("unknown server `time`".into()));
        let clock = &mut local.servers.as_mut().unwrap()[0];
        (clock.scope, clock.project) = (Scope::Local, Some("/p".into()));
        let local = line(local);
        assert!(local.fact.contains("`clock` of /p: unknown"), "{}", local.fact);
        assert_eq!(local.next.as_deref(), Some("berth install claude-code --scope local time"));
    }

    #[test]
    fn the_entry_of_a_profile_is_written_anew_as_one() {
        let mut file = file(Program::This, Target::Wrong("unknown profile `work`".into()));
        let start = file.servers.as_mut().unwrap()[0].berth.as_mut().unwrap();
        start.profile = Some("work".into());
        let next = line(file).next.unwrap();
        assert_eq!(next, "berth install claude-code --scope user --profile work");
    }

    #[test]
    fn one_that_is_switched_off_may_be_wrong() {
        let mut off = file(Program::Missing("/opt/berth".into()), Target::Works);
        off.servers.as_mut().unwrap()[0].enabled = false;
        assert_eq!(line(off).state, State::Ok);
    }

    #[test]
    fn a_file_that_cannot_be_read_fails_and_none_is_no_failure() {
        let broken =
            File { kind: Kind::Codex, path: "/h/config.toml".into(), servers: Err("no TOML".into()) };
        let line = line(broken);
        assert_eq!((line.state, line.next.as_deref()), (State::Failed, Some("correct /h/config.toml")));
        assert_eq!(judge(&Seen::Found(Vec::new()))[0].state, State::NotApplicable);
    }
}
