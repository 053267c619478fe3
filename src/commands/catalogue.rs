//! `berth catalogue`: what servers told of themselves, asked again or forgotten.

pub(super) mod fill;

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use jiff::Timestamp;

use crate::catalogue::{Catalogue, Entry, List};
use crate::cli::CatalogueArgs;
use crate::config::{Config, Home, Server};
use crate::dind::progress::Progress;
use crate::failure::Code;
use crate::human::table::{self, Cut};
use crate::human::{Age, Bytes, Plain, count};
use crate::values::Definitions;

pub async fn run(
    args: &CatalogueArgs,
    config: &Config,
    home: &Home,
    config_file: Option<&Path>,
) -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::open(&home.state);
    if args.forget {
        let forgotten = catalogue.forget();
        writeln!(std::io::stdout().lock(), "forgot {}", count(forgotten, "entry"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let Some(names) = &args.refresh else {
        list(&catalogue.entries())?;
        return Ok(ExitCode::SUCCESS);
    };
    let servers = chosen(names, args.profile.as_deref(), config)?;
    let ground = fill::Ground::new(config, home, config_file, Progress::stderr())?;
    let mut code = ExitCode::SUCCESS;
    for server in servers {
        if server.settings.definitions == Definitions::Varying {
            ground.progress.say(&format!("{}: its definitions vary, and are not kept", server.name));
            continue;
        }
        let asked = tokio::select! {
            asked = ground.ask(server) => asked,
            // The session is killed as it is dropped.
            stopped = super::validate::stopped() => {
                stopped?;
                return Ok(ExitCode::from(super::validate::INTERRUPTED));
            }
        };
        match asked {
            Ok(lines) => super::print(&lines)?,
            Err(failure) => {
                ground.progress.say(&failure.message());
                code = ExitCode::from(Code::Unavailable.exit_code());
            }
        }
    }
    Ok(code)
}

/// The named ones, those of the profile, or all.
fn chosen<'a>(
    names: &[String],
    profile: Option<&str>,
    config: &'a Config,
) -> anyhow::Result<Vec<&'a Server>> {
    let of_profile = profile.map(|name| config.profile(name)).transpose()?;
    let names: Vec<&String> =
        of_profile.into_iter().flat_map(|profile| &profile.servers).chain(names).collect();
    if names.is_empty() {
        return Ok(config.servers.values().collect());
    }
    Ok(names.into_iter().map(|name| config.server(name)).collect::<Result<_, _>>()?)
}

fn list(entries: &[Entry]) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    let head = ["SERVER", "CLIENT", "REVISION", "IMAGE", "AGE", "TOOLS", "PROMPTS", "RESOURCES", "SIZE"];
    let mut rows = vec![head.map(str::to_owned)];
    let now = Timestamp::now().as_second();
    rows.extend(entries.iter().map(|entry| row(entry, now)));
    let [never, end] = [Cut::Never, Cut::End];
    let cuts = [end, end, never, never, never, never, never, never, never];
    let width = table::terminal_width(&out);
    table::write(&mut out, &rows, cuts, width)?;
    Ok(())
}

fn row(entry: &Entry, now: i64) -> [String; 9] {
    let Entry { server, client, revision, told, at, bytes } = entry;
    let number =
        |list: Option<&List>| list.map_or_else(|| "-".to_owned(), |list| list.items.len().to_string());
    // As the docker CLI shows an id.
    let image = told.image.trim_start_matches("sha256:");
    [
        Plain(server).to_string(),
        Plain(client).to_string(),
        Plain(revision).to_string(),
        Plain(image.get(..12).unwrap_or(image)).to_string(),
        Age(now - i64::try_from(*at).unwrap_or(now)).to_string(),
        number(told.tools.as_ref()),
        number(told.prompts.as_ref()),
        number(told.resources.as_ref()),
        Bytes(*bytes as u64).to_string(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalogue::{Hello, Told};

    #[test]
    fn a_row_says_what_there_is() {
        let list = |items: usize| Some(List { items: vec!["{}".into(); items], ..List::default() });
        let told = Told {
            image: "sha256:0123456789abcdef".to_owned(),
            hello: Hello::NoDiscover,
            tools: list(12),
            prompts: list(0),
            resources: None,
            templates: None,
        };
        let text = |text: &str| text.to_owned();
        let (client, revision) = (text("a\u{7}b"), text("2025-11-25"));
        let entry = Entry { server: text("git"), client, revision, told, at: 1000, bytes: 2048 };
        assert_eq!(
            row(&entry, 4600),
            ["git", "a\\u{7}b", "2025-11-25", "0123456789ab", "1 h", "12", "0", "-", "2.0 KiB"]
        );
    }

    #[test]
    fn the_named_servers_are_asked_those_of_a_profile_or_all() {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[servers.a]\nimage = \"i\"\n[servers.b]\nimage = \"i\"\n[servers.c]\nimage = \"i\"\n\
                    [profiles.p]\nservers = [\"c\", \"a\"]\n";
        let config = Config::parse(text, Path::new("/b/berth.toml"), &home).unwrap();
        let names = |names: &[&str], profile| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            let chosen = chosen(&names, profile, &config).map_err(|error| error.to_string())?;
            Ok::<_, String>(chosen.iter().map(|server| server.name.clone()).collect::<Vec<_>>())
        };
        assert_eq!(names(&[], None).unwrap(), ["a", "b", "c"]);
        assert_eq!(names(&["b"], None).unwrap(), ["b"]);
        assert_eq!(names(&[], Some("p")).unwrap(), ["c", "a"]);
        assert!(names(&["d"], None).is_err() && names(&[], Some("q")).is_err());
    }
}
