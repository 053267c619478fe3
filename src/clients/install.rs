//! `berth install`: adds configured servers to a client's configuration.

use std::path::Path;

use super::{
    Became, Changes, Cli, Document, Draft, Entry, Found, Kind, Place, Scope, Surroundings, Wanted, is_berth,
    of_berth, of_profile,
};
use crate::config::Config;
use crate::failure::{Code, Failure};
use crate::values::Lookup;

/// How servers are put in.
#[derive(Debug, Clone, Copy, Default)]
pub struct Manner<'a> {
    /// Entries of the same names that are not berth's are replaced.
    pub force: bool,
    /// The client is to wait for them.
    pub required: bool,
    /// One entry for the servers of this profile, instead of those that are wanted.
    pub profile: Option<&'a str>,
}

/// What is to be done for one server.
enum Step {
    Nothing,
    Add(Entry),
    Replace(Entry),
    Rewire(Entry),
}

/// Puts servers in, one after the other; what is done is in `changes`, whatever comes after it.
///
/// `explicit` is the configuration that the command line names.
pub fn install(
    wanted: Wanted<'_>,
    manner: Manner<'_>,
    config: &Config,
    explicit: Option<&Path>,
    lookup: Lookup<'_>,
    changes: &mut Changes,
) -> Result<(), Failure> {
    if manner.required && wanted.client != Kind::Codex {
        return Err(Failure {
            code: Code::Usage,
            text: format!("{} has no `required` for its servers", wanted.client.name()),
            next: Some("leave `--required` out".to_owned()),
        });
    }
    let around = Surroundings::here(lookup)?;
    let place = Place::of(wanted.client, wanted.scope.unwrap_or(Scope::User), &around)?;
    let mut draft = Draft::of(&place.path)?;
    let mut document = place.read(draft.before())?;
    // All of them are looked at before the first is done.
    let mut steps = Vec::new();
    for (name, entry) in entries(&wanted, manner, config, place.scope, (explicit, lookup))? {
        let entry = Entry { required: manner.required, ..entry };
        steps.push((name, step(&*document, name, entry, &place, manner.force)?));
    }
    let cli = Cli::of(&place, lookup);
    let mut is_kept = false;
    for (name, step) in steps {
        let cli = cli.as_ref().filter(|_| Cli::takes(name));
        let became = match (step, cli) {
            (Step::Nothing, _) => {
                changes.said.push(format!("{}: `{name}` is there already", place.title()));
                continue;
            }
            (Step::Add(entry), Some(cli)) => {
                // The client writes its own file; what it was is kept all the same.
                if !is_kept {
                    changes.kept(draft.backup()?);
                }
                is_kept = true;
                cli.add(name, &entry)?;
                changes.entry(&place, name, Became::Installed);
                draft = Draft::of(&place.path)?;
                document = place.read(draft.before())?;
                continue;
            }
            (Step::Add(entry) | Step::Replace(entry), _) => {
                document.put(name, &entry);
                Became::Installed
            }
            (Step::Rewire(entry), _) => {
                document.rewire(name, &entry);
                Became::Updated
            }
        };
        draft.after = document.text();
        let private = place.scope != Scope::Project;
        changes.kept(draft.write(private)?);
        changes.entry(&place, name, became);
        draft = Draft::of(&place.path)?;
    }
    Ok(())
}

/// The entries by their names: one for each server, or one for all of a profile.
fn entries<'a>(
    wanted: &Wanted<'a>,
    manner: Manner<'a>,
    config: &Config,
    scope: Scope,
    (explicit, lookup): (Option<&Path>, Lookup<'_>),
) -> Result<Vec<(&'a str, Entry)>, Failure> {
    let place = (wanted.client, scope);
    let single = |name: &str| -> Result<Entry, Failure> {
        Ok(of_berth(place, config.server(name)?, explicit, lookup))
    };
    let Some(name) = manner.profile else {
        return wanted.servers.iter().map(|name| Ok((name.as_str(), single(name)?))).collect();
    };
    let mut entry = of_profile(place, (name, name), explicit, lookup);
    for server in &config.profile(name)?.servers {
        let Entry { env_vars, startup_timeout, .. } = single(server)?;
        entry.env_vars.extend(env_vars);
        entry.startup_timeout = entry.startup_timeout.max(startup_timeout);
    }
    entry.env_vars.sort();
    entry.env_vars.dedup();
    Ok(vec![(name, entry)])
}

fn step(
    document: &dyn Document,
    name: &str,
    entry: Entry,
    place: &Place,
    force: bool,
) -> Result<Step, Failure> {
    let found = document.servers().into_iter().find(|(known, _)| known == name);
    match found {
        None => Ok(Step::Add(entry)),
        Some((_, Found::Stdio(old))) if is_berth(&old) => {
            let has =
                |name: &String| old.env_vars.contains(name) || old.env.iter().any(|(known, _)| known == name);
            let is_same = old.command == entry.command
                && old.args == entry.args
                && entry.env_vars.iter().all(has)
                && (old.required || !entry.required);
            Ok(if is_same { Step::Nothing } else { Step::Rewire(entry) })
        }
        Some(_) if force => Ok(Step::Replace(entry)),
        Some(_) => Err(Failure {
            code: Code::Configuration,
            text: format!("{} has a `{name}` that is not berth's", place.title()),
            next: Some("replace it with `--force`, or take it over with `berth import`".to_owned()),
        }),
    }
}

/// Takes servers of berth's out, wherever they stand; what is done is in `changes`, whatever comes after it.
pub fn uninstall(wanted: Wanted<'_>, lookup: Lookup<'_>, changes: &mut Changes) -> Result<(), Failure> {
    let around = Surroundings::here(lookup)?;
    let mut gone = Vec::new();
    for place in Place::chosen(wanted.client, wanted.scope, &around)? {
        let mut draft = Draft::of(&place.path)?;
        let mut document = place.read(draft.before())?;
        let own = own(&*document, &place, wanted.servers)?;
        if own.is_empty() {
            continue;
        }
        let cli = Cli::of(&place, lookup).filter(|_| own.iter().all(|name| Cli::takes(name)));
        if cli.is_some() {
            changes.kept(draft.backup()?);
        } else {
            for name in &own {
                document.remove(name);
            }
            draft.after = document.text();
            changes.kept(draft.write(true)?);
        }
        for name in own {
            cli.as_ref().map_or(Ok(()), |cli| cli.remove(&name))?;
            changes.entry(&place, &name, Became::TakenOut);
            gone.push(name);
        }
    }
    let missing = wanted.servers.iter().filter(|name| !gone.contains(name));
    changes.said.extend(missing.map(|name| format!("{}: there is no `{name}`", wanted.client.name())));
    Ok(())
}

/// Those of the named servers that stand there; all of them have to be berth's.
fn own(document: &dyn Document, place: &Place, wanted: &[String]) -> Result<Vec<String>, Failure> {
    let named = document.servers().into_iter().filter(|(name, _)| wanted.contains(name));
    let own = named.map(|(name, found)| match found {
        Found::Stdio(entry) if is_berth(&entry) => Ok(name),
        _ => Err(Failure {
            code: Code::Configuration,
            text: format!("{} has a `{name}` that is not berth's", place.title()),
            next: Some("name another scope, or remove it with the client's own command".to_owned()),
        }),
    });
    own.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Changed;
    use crate::config::Home;

    #[test]
    fn what_is_written_is_a_change_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| at.clone())).unwrap();
        let config = Config::parse("[servers.files]\nimage = \"i\"\n", Path::new("b.toml"), &home).unwrap();
        let servers = ["files".to_owned(), "nobody".to_owned()];
        let wanted = |servers| Wanted { client: Kind::Codex, scope: None, servers, move_secrets: false };
        // An entry is berth's by its program's name.
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), folder.path().join("berth")).unwrap();
        let lookup = |codex: &str, name: &str| match name {
            "HOME" | "PATH" => Some(at.clone()),
            "CODEX_HOME" => Some(codex.to_owned()),
            _ => None,
        };
        let put = |codex: &str| {
            let mut changes = Changes::default();
            let lookup = |name: &str| lookup(codex, name);
            let manner = Manner::default();
            let done = install(wanted(&servers[..1]), manner, &config, None, &lookup, &mut changes);
            (done.is_ok(), changes)
        };
        let of = |changes: &Changes| {
            let became = changes.made.iter().map(|changed| match changed {
                Changed::Entry { place, name, became } => (place.kind, name.clone(), *became),
                other => panic!("{other}"),
            });
            became.collect::<Vec<_>>()
        };
        let (is_done, changes) = put(&at);
        assert_eq!((is_done, of(&changes)), (true, vec![(Kind::Codex, "files".into(), Became::Installed)]));
        assert_eq!(changes.said, [format!("Codex, user ({at}/config.toml): `files` installed")]);
        let (is_done, changes) = put(&at);
        assert_eq!((is_done, of(&changes), changes.said.len()), (true, Vec::new(), 1), "it was there");
        let (is_done, changes) = put("/proc");
        assert_eq!((is_done, of(&changes)), (false, Vec::new()), "nobody can write there");
        let mut changes = Changes::default();
        uninstall(wanted(&servers), &|name| lookup(&at, name), &mut changes).unwrap();
        assert_eq!(of(&changes), [(Kind::Codex, "files".into(), Became::TakenOut)]);
        assert_eq!(changes.said.last().unwrap(), "Codex: there is no `nobody`");
    }

    #[test]
    fn a_profile_is_one_entry_that_hands_on_what_all_its_servers_need() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[servers.files]\nimage = \"i\"\nenv = { A = \"${B_FILES}\", C = \"${BOTH}\" }\n\
                    [servers.git]\nuvx = \"mcp-server-git\"\nenv = { A = \"${A_GIT}\", C = \"${BOTH}\" }\n\
                    [profiles.work]\nservers = [\"files\", \"git\"]\n";
        let config = Config::parse(text, Path::new("b.toml"), &home).unwrap();
        let servers = ["git".to_owned()];
        let made = |client, profile| {
            let wanted = Wanted { client, scope: None, servers: &servers, move_secrets: false };
            let manner = Manner { profile, ..Manner::default() };
            let file = Some(Path::new("/b.toml"));
            let mut entries = entries(&wanted, manner, &config, Scope::User, (file, &|_| None)).unwrap();
            assert_eq!(entries.len(), 1);
            let (name, entry) = entries.remove(0);
            (name, entry.args.join(" "), entry.env_vars.join(" "), entry.startup_timeout)
        };
        let args = |client| format!("run --profile work --entry work --client {client} --config /b.toml");
        assert_eq!(made(Kind::ClaudeCode, Some("work")), ("work", args("claude-code"), String::new(), None));
        let handed = "A_GIT BOTH B_FILES".to_owned();
        assert_eq!(made(Kind::Codex, Some("work")), ("work", args("codex"), handed, Some(600)));
        let single = "run git --client claude-code --config /b.toml".to_owned();
        assert_eq!(made(Kind::ClaudeCode, None), ("git", single, String::new(), None), "never prefixed");
    }
}
