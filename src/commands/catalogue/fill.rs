//! Asks servers what they are, by short sessions as each client begins them, and keeps it.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use crate::backend::plan::key;
use crate::catalogue::{Catalogue, Hello, Kept, List};
use crate::clients::{Handed, Surroundings};
use crate::commands::run::spec_for;
use crate::commands::{dind_engine, variable};
use crate::config::{Config, Home, Server};
use crate::dind::progress::Progress;
use crate::dock::docker::Engine;
use crate::dock::spec::Spec;
use crate::exam::client::{Client, Kind};
use crate::exam::environment::Berth;
use crate::exam::process::{Launch, Process, Scratch};
use crate::exam::told::listen;
use crate::failure::{Code, Failure};
use crate::human::{Plain, count};
use crate::values::Start;

/// What an examining client says that it can do.
const CAPABILITIES: &str = "{}";

/// What Claude Code would call its session.
const SESSION: &str = "catalogue";

/// A server that has not told all by then, its start left aside, won't.
const TELL_WITHIN: Duration = Duration::from_secs(30);

/// A session that was told to end is not waited for longer: then it is killed.
const END_WITHIN: Duration = Duration::from_secs(10);

/// What is filled ahead takes no longer, all servers together, and each of them: one that waits for something is asked by
/// its first session.
const FILL_WITHIN: Duration = Duration::from_mins(1);
const FILL_EACH_WITHIN: Duration = Duration::from_secs(25);

/// All that asking needs.
#[derive(Debug)]
pub(in crate::commands) struct Ground<'a> {
    config: &'a Config,
    home: &'a Home,
    config_file: Option<&'a Path>,
    catalogue: Catalogue,
    engine: Engine,
    scratch: Scratch,
    pub(in crate::commands) progress: Progress,
}

impl<'a> Ground<'a> {
    pub(in crate::commands) fn new(
        config: &'a Config,
        home: &'a Home,
        config_file: Option<&'a Path>,
        progress: Progress,
    ) -> Result<Self, Failure> {
        let scratch = Scratch::new("catalogue").map_err(|error| {
            Failure::new(Code::Unavailable, &error, "set TMPDIR to a folder that can be written to")
        })?;
        let catalogue = Catalogue::open(&home.state);
        let engine = dind_engine(config, home)?;
        Ok(Self { config, home, config_file, catalogue, engine, scratch, progress })
    }

    /// As each client: a line of what the server told, and what is wrong with it.
    pub(in crate::commands) async fn ask(&self, server: &Server) -> Result<Vec<String>, Failure> {
        let mut lines = Vec::new();
        for kind in [Kind::ClaudeCode, Kind::Codex] {
            lines.extend(self.ask_as(kind, server).await?);
        }
        Ok(lines)
    }

    async fn ask_as(&self, kind: Kind, server: &Server) -> Result<Vec<String>, Failure> {
        let (berth, environment) = self.environment(kind, server)?;
        let spec = self.spec(kind, server, &environment)?;
        let name = format!("{}-{}", server.name, kind.name());
        let launch = Launch {
            program: &berth.program,
            config: berth.config_file.as_deref(),
            folder: self.scratch.path(),
            name: &name,
        };
        // Nobody is going to call it: nothing is put on standby. Its own answers are wanted.
        let arguments =
            [server.name.as_str(), "--client", kind.name(), "--start", "session", "--standby", "0"];
        let fault = |what: &str| Failure {
            code: Code::Unavailable,
            text: format!("`{}` told {} nothing: {what}", server.name, kind.name()),
            next: Some(format!("try it with `berth run --trace {}`", server.name)),
        };
        let mut process = launch
            .spawn(arguments, |command| {
                command.env_clear().envs(environment);
            })
            .map_err(|error| fault(&error.to_string()))?;
        let (from_session, to_session) = process.pipes().map_err(|error| fault(&error.to_string()))?;
        // A server that starts slowly would else be heard in the wrong revision, or not at all.
        let mut client = Client::new(kind, from_session, to_session).patient();
        let heard = listen(&mut client, server.settings.start_timeout + TELL_WITHIN).await;
        let (heard, notes) = heard.map_err(|error| fault(&process.with_last_words(&error.to_string())))?;
        // By now the daemon has the image that the session ran in.
        let image = self.engine.image(&spec.server.image).await.map_err(Failure::from)?;
        let image = image.map(|image| image.id).unwrap_or_default();
        client.close().await;
        end(process).await;
        let mut lines = Vec::new();
        for mut one in heard {
            one.told.image.clone_from(&image);
            let key = key(&spec, kind.name(), one.revision, CAPABILITIES);
            let kept = self.catalogue.keep(&key, &one.told).map_err(|error| {
                let next = format!("look at `{}`", self.home.state.join("catalogue").display());
                Failure::new(Code::Unavailable, &error, &next)
            })?;
            let number = |list: Option<&List>, what| list.map(|list| count(list.items.len(), what));
            let (tools, prompts) = (one.told.tools.as_ref(), one.told.prompts.as_ref());
            let lists = [
                number(tools, "tool"),
                number(prompts, "prompt"),
                number(one.told.resources.as_ref(), "resource"),
            ];
            let lists: Vec<String> = lists.into_iter().flatten().collect();
            if !lists.is_empty() {
                lines.push(format!("{} for {}: {}", server.name, kind.name(), lists.join(", ")));
            }
            if let Kept::Changed { changes, .. } = kept {
                lines.extend(changes.iter().map(|change| format!("  {change}")));
            }
        }
        lines.extend(notes.iter().map(|note| format!("  {}", Plain(note))));
        Ok(lines)
    }

    /// What a client would start berth with: its own environment, and what its entry adds.
    fn environment(
        &self,
        kind: Kind,
        server: &Server,
    ) -> Result<(Berth, Vec<(OsString, OsString)>), Failure> {
        let around = Surroundings::here(&variable).ok();
        let profiles = self.config.profiles_of(&server.name);
        let handed = around.and_then(|around| Handed::of_server(&server.name, &profiles, &around));
        let lookup = |name: &str| {
            let of_entry = handed.as_ref().and_then(|handed| handed.value(name, &variable));
            of_entry.or_else(|| variable(name))
        };
        let berth = Berth::new(self.config_file, server, &lookup)?;
        let of_entry = handed.iter().flat_map(|handed| handed.env(&variable));
        let of_entry = of_entry.map(|(name, value)| (name.into(), value.into()));
        let environment = berth.environment(kind, std::env::vars_os().chain(of_entry), SESSION);
        Ok((berth, environment))
    }

    fn spec(
        &self,
        kind: Kind,
        server: &Server,
        environment: &[(OsString, OsString)],
    ) -> Result<Spec, Failure> {
        // The last of equal names counts, as in a process's environment.
        let lookup = |name: &str| {
            let (_, value) = environment.iter().rfind(|(known, _)| known == name)?;
            value.to_str().map(str::to_owned)
        };
        spec_for(kind.name(), server.clone(), (self.config, self.home), &lookup)
    }

    /// Whether the catalogue has what the image that the daemon has now told both clients.
    async fn is_known(&self, server: &Server) -> bool {
        let Ok(Some(image)) = self.engine.image(&server.image).await else { return false };
        let told = |kind: Kind, revision| {
            let (_, environment) = self.environment(kind, server).ok()?;
            let spec = self.spec(kind, server, &environment).ok()?;
            let known = self.catalogue.find(&key(&spec, kind.name(), revision, CAPABILITIES))?;
            (known.is_exact && known.told.image == image.id).then_some(known.told)
        };
        let is_known = |kind: Kind| {
            // Where the probe was refused, the session began as an older one.
            let (first, then) = kind.revisions();
            told(kind, first)
                .is_some_and(|first| first.hello != Hello::NoDiscover || told(kind, then).is_some())
        };
        [Kind::ClaudeCode, Kind::Codex].into_iter().all(is_known)
    }
}

/// In order: its input is closed already.
async fn end(mut process: Process) {
    if tokio::time::timeout(END_WITHIN, process.wait()).await.is_err() {
        process.kill().await;
    }
}

/// Fills the catalogue ahead of the first session, for servers that start at their first call. Of `only` these, or of all.
/// A failure is a note: the first session will ask.
pub(in crate::commands) async fn ahead(
    config: &Config,
    home: &Home,
    config_file: Option<&Path>,
    only: Option<&[String]>,
    progress: &Progress,
) {
    let servers = lazy(config, only);
    if servers.is_empty() {
        return;
    }
    let ground = match Ground::new(config, home, config_file, progress.clone()) {
        Ok(ground) => ground,
        Err(failure) => return progress.say(&format!("the catalogue is not filled: {failure}")),
    };
    let asking = async {
        for server in servers {
            if ground.is_known(server).await {
                continue;
            }
            match tokio::time::timeout(FILL_EACH_WITHIN, ground.ask(server)).await {
                Ok(Ok(lines)) => lines.iter().for_each(|line| progress.say(line)),
                Ok(Err(failure)) => progress.say(&format!("the catalogue is not filled: {failure}")),
                Err(_) => {
                    progress.say(&format!("the catalogue is not filled: `{}` takes too long", server.name));
                }
            }
        }
    };
    if tokio::time::timeout(FILL_WITHIN, asking).await.is_err() {
        progress.say("the catalogue is not filled in time; `berth catalogue --refresh` goes on");
    }
}

/// The servers that a client may be told of before they run.
fn lazy<'a>(config: &'a Config, only: Option<&[String]>) -> Vec<&'a Server> {
    let in_profiles: BTreeSet<&String> =
        config.profiles.values().flat_map(|profile| &profile.servers).collect();
    let is_lazy = |server: &&Server| {
        // What it has to itself a session of a person's may have at this moment.
        if !server.settings.publish.is_empty() || !server.settings.volumes.is_empty() {
            return false;
        }
        let starts_late = |in_profile| server.settings.start(in_profile) == Start::FirstCall;
        (starts_late(false) || in_profiles.contains(&server.name) && starts_late(true))
            && only.is_none_or(|only| only.contains(&server.name))
    };
    config.servers.values().filter(is_lazy).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_servers_that_start_late_are_asked_ahead() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let server = |name: &str, more: &str| format!("[servers.{name}]\nimage = \"i\"\n{more}\n");
        let text = [
            server("alone", ""),
            server("early", "start = \"session\""),
            server("late", "start = \"first-call\""),
            server("shared", ""),
            server("varying", "start = \"first-call\"\ndefinitions = \"varying\""),
            "[profiles.p]\nservers = [\"shared\", \"early\"]\n".to_owned(),
        ]
        .concat();
        let config = Config::parse(&text, Path::new("/b/berth.toml"), &home).unwrap();
        let names = |only: Option<&[String]>| {
            lazy(&config, only).iter().map(|server| server.name.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(None), ["late", "shared"]);
        assert_eq!(names(Some(&["shared".to_owned(), "alone".to_owned()])), ["shared"]);
    }
}
