//! Would each configured server start, for each client that has it? One line a server, with the step that mends that one.
//! Judges only.

use super::clients::{Examined, File, Program, Start, Target, install};
use super::images::{Image, Maker, Presence};
use super::line::{Findings, Line, Seen};

/// A server of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    pub name: String,
    pub image: String,
    /// Whether it has all that it needs here, where no client starts it.
    pub alone: Result<(), Lack>,
}

/// What a server has to have, and what brings it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lack {
    pub why: String,
    pub next: Option<String>,
}

const NAME: &str = "server";

/// One line each.
pub(super) fn judge(servers: &[Server], clients: &Seen<Vec<File>>, images: &[Image]) -> Vec<Line> {
    let files: &[File] = match clients {
        Seen::Found(files) => files,
        _ => &[],
    };
    servers.iter().map(|server| one(server, files, images).of(&server.name)).collect()
}

fn one(server: &Server, files: &[File], images: &[Image]) -> Line {
    let mut findings = Findings::default();
    let mut starts = Vec::new();
    for file in files {
        for entry in file.servers.iter().flatten().filter(|entry| entry.enabled) {
            let Some(start) = entry.berth.as_ref().filter(|start| start.servers.contains(&server.name))
            else {
                continue;
            };
            let title = title(file, entry);
            entry_starts(&mut findings, server, (file, entry, start), &title);
            starts.push(title);
        }
    }
    if let (true, Err(lack)) = (starts.is_empty(), &server.alone) {
        let next = lack.next.clone().unwrap_or_else(|| format!("berth run --dry-run {}", server.name));
        findings.warn(&lack.why, next);
    }
    image(&mut findings, server, images);
    findings.fact(match &starts[..] {
        [] => "no client starts it".to_owned(),
        starts => format!("started by {}", starts.join(", ")),
    });
    findings.into_line(NAME)
}

/// Whose entry it is, and under which name where that is another.
fn title(file: &File, entry: &Examined) -> String {
    let (client, scope) = (file.kind.name(), entry.scope.as_str());
    match entry.berth.as_ref().map(|start| &start.servers[..]) {
        Some([server]) if *server == entry.name => format!("{client} ({scope})"),
        _ => format!("{client} ({scope}) as `{}`", entry.name),
    }
}

fn entry_starts(
    findings: &mut Findings,
    server: &Server,
    (file, entry, start): (&File, &Examined, &Start),
    title: &str,
) {
    let anew = || install(file.kind, entry, start);
    match &start.program {
        Program::This | Program::Version { .. } | Program::Untried(_) => {}
        Program::Missing(path) => {
            findings.fail(format!("{title} starts `{path}`, which is not there"), anew());
        }
        Program::NotExecutable(path) => {
            findings
                .fail(format!("{title} starts {path}, which cannot be executed"), format!("chmod +x {path}"));
        }
        Program::NoBerth { path, why } => {
            findings.fail(format!("{title} starts {path}, which does not work as berth: {why}"), anew());
        }
    }
    let dry_run = || format!("berth run --dry-run {}", server.name);
    match &start.target {
        Target::Works => {}
        Target::Wrong(why) => {
            findings.fail(format!("{title}: {why}"), start.mends.clone().unwrap_or_else(anew));
        }
        Target::Doubtful(why) => {
            findings.warn(format!("{title}: {why}"), start.mends.clone().unwrap_or_else(dry_run));
        }
    }
}

fn image(findings: &mut Findings, server: &Server, images: &[Image]) {
    let Some(image) = images.iter().find(|image| image.name == server.image) else { return };
    match (&image.there, image.made_by) {
        (Seen::Found(Presence::Missing), Maker::Bake) => {
            let next = format!("berth bake {}", server.name);
            findings.warn("its package is not baked yet; the first start does it, and takes longer", next);
        }
        (Seen::Found(Presence::Missing), Maker::Up) => {
            findings.fail(format!("the daemon has no image `{}`", image.name), "berth up");
        }
        (Seen::Found(Presence::Present { .. }), _) => findings.fact("its image is there"),
        (Seen::NotApplicable(why), _) => findings.fact(format!("its image is not known: {why}")),
        (Seen::Failed { why, next }, _) => findings.warn(why, next),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::{Kind, Scope};
    use crate::doctor::line::State;

    fn server() -> Server {
        Server { name: "time".into(), image: "i".into(), alone: Ok(()) }
    }

    fn images(there: Presence, made_by: Maker) -> Vec<Image> {
        vec![Image { name: "i".into(), servers: vec!["time".into()], there: Seen::Found(there), made_by }]
    }

    fn present() -> Vec<Image> {
        images(Presence::Present { bytes: 1, created: String::new(), hosts: None }, Maker::Up)
    }

    fn file(name: &str, program: Program, target: Target, mends: Option<&str>) -> File {
        let (servers, mends) = (vec!["clock".into(), "time".into()], mends.map(str::to_owned));
        let servers = if name == "work" { servers } else { servers[1..].to_vec() };
        let start = Start { servers, profile: None, program, target, mends };
        let entry = Examined {
            scope: Scope::User,
            project: None,
            name: name.into(),
            enabled: true,
            berth: Some(start),
        };
        File { kind: Kind::Codex, path: "/h/config.toml".into(), servers: Ok(vec![entry]) }
    }

    fn line(server: Server, files: Vec<File>, images: &[Image]) -> Line {
        judge(&[server], &Seen::Found(files), images).remove(0)
    }

    #[test]
    fn a_server_that_would_start_says_for_whom() {
        let fine = line(server(), vec![file("time", Program::This, Target::Works, None)], &present());
        assert_eq!(fine, Line::ok(NAME, "its image is there; started by Codex (user)").of("time"));
        let other = line(server(), vec![file("the time", Program::This, Target::Works, None)], &present());
        assert_eq!(other.fact, "its image is there; started by Codex (user) as `the time`");
        let work = line(server(), vec![file("work", Program::This, Target::Works, None)], &present());
        assert_eq!(work.fact, "its image is there; started by Codex (user) as `work`", "one of several");
        assert_eq!(line(server(), Vec::new(), &present()).fact, "its image is there; no client starts it");
    }

    #[test]
    fn each_lack_has_the_step_that_mends_it() {
        let lacks = |server: Server, files, images: &[Image]| {
            let line = line(server, files, images);
            (line.state, line.next.unwrap())
        };
        let unset = Server {
            alone: Err(Lack { why: "needs the variable `T`".into(), next: Some("set it".into()) }),
            ..server()
        };
        let is = |state, next: &str| (state, next.to_owned());
        assert_eq!(lacks(unset.clone(), Vec::new(), &present()), is(State::Warning, "set it"));
        // A client that has it all is what counts.
        let works = || vec![file("time", Program::This, Target::Works, None)];
        assert_eq!(line(unset, works(), &present()).state, State::Ok);
        let wrong = |mends| vec![file("time", Program::This, Target::Wrong("needs `T`".into()), mends)];
        assert_eq!(lacks(server(), wrong(Some("set it")), &present()), is(State::Failed, "set it"));
        let anew = "berth install codex --scope user time";
        assert_eq!(lacks(server(), wrong(None), &present()), is(State::Failed, anew));
        let doubtful = vec![file("time", Program::This, Target::Doubtful("needs `T`".into()), None)];
        assert_eq!(lacks(server(), doubtful, &present()), is(State::Warning, "berth run --dry-run time"));
        let gone = vec![file("time", Program::Missing("/x/berth".into()), Target::Works, None)];
        assert_eq!(lacks(server(), gone, &present()), is(State::Failed, anew));
        let missing = |made_by| images(Presence::Missing, made_by);
        assert_eq!(lacks(server(), works(), &missing(Maker::Bake)), is(State::Warning, "berth bake time"));
        assert_eq!(lacks(server(), works(), &missing(Maker::Up)), is(State::Failed, "berth up"));
    }
}
