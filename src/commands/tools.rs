//! `berth tools`: what a client would be offered, by what the servers told before.

mod accept;

use std::io::Write;
use std::process::ExitCode;

use crate::catalogue::{Catalogue, Held, Told};
use crate::cli::ToolsArgs;
use crate::config::{Config, Home, Profile, Server};
use crate::failure::Failure;
use crate::human::table::terminal_width;
use crate::observe::audit;
use crate::offer::{self, Asked, Member, Offer};
use crate::values::Definitions;

pub fn run(args: &ToolsArgs, config: &Config, home: &Home) -> anyhow::Result<ExitCode> {
    let catalogue = Catalogue::open(&home.state);
    if let Some(name) = &args.accept {
        let lines = accept::accept(name.as_deref(), args.entry.as_deref(), &catalogue, config)?;
        for line in lines.iter().filter(|line| line.starts_with("accepted")) {
            audit::note(&home.state, &audit::Entry::new("definition accepted", line));
        }
        super::print(&lines)?;
        return Ok(ExitCode::SUCCESS);
    }
    let held = |server: &Server| match server.settings.definitions {
        Definitions::Varying => Vec::new(),
        Definitions::Warn | Definitions::Hold => catalogue.held(&server.name),
    };
    let offers = offers(args, config, &|server| (catalogue.latest(&server.name), held(server)))?;
    let mut out = std::io::stdout().lock();
    if args.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&offers)?)?;
    } else {
        let width = terminal_width(&out);
        offer::print(&mut out, &offers, width)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// One for each entry that the arguments mean.
fn offers(
    args: &ToolsArgs,
    config: &Config,
    told: &impl Fn(&Server) -> (Option<Told>, Vec<Held>),
) -> Result<Vec<Offer>, Failure> {
    let entry = args.entry.as_deref();
    let of = |entry: Option<&str>, profile: Option<&Profile>, names: &[String]| -> Result<Offer, Failure> {
        let members = names.iter().map(|name| {
            let server = config.server(name)?;
            let (told, held) = told(server);
            Ok(Member { server, told, held })
        });
        let members = members.collect::<Result<Vec<_>, Failure>>()?;
        Ok(offer::of(&Asked { entry, profile, members }))
    };
    if let Some(name) = &args.profile {
        let profile = config.profile(name)?;
        // So `berth install` calls it.
        return Ok(vec![of(entry.or(Some(name)), Some(profile), &profile.servers)?]);
    }
    if args.servers.len() > 1 {
        let profile = Profile::of_names(&args.servers, &config.servers)?;
        return Ok(vec![of(entry, Some(&profile), &profile.servers)?]);
    }
    let all: Vec<String> = match &args.servers[..] {
        [] => config.servers.keys().cloned().collect(),
        named => named.to_vec(),
    };
    all.iter().map(|name| of(entry.or(Some(name)), None, std::slice::from_ref(name))).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use bytes::Bytes;

    use super::*;
    use crate::catalogue::{Hello, List};

    fn offered(args: &ToolsArgs) -> Result<Vec<Offer>, String> {
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[servers.files]\nimage = \"i\"\n[servers.git]\nimage = \"i\"\n[servers.new]\nimage = \"i\"\n\
                    [profiles.work]\nservers = [\"git\", \"files\"]\n";
        let config = Config::parse(text, Path::new("b.toml"), &home).unwrap();
        let held = |server: &Server| Held {
            tool: "read".to_owned(),
            accepted: None,
            told: format!("{{\"name\":\"{}\"}}", server.name),
        };
        let told = |server: &Server| match server.name.as_str() {
            "new" => (None, Vec::new()),
            _ => (Some(told()), vec![held(server)]),
        };
        offers(args, &config, &told).map_err(|failure| failure.text)
    }

    fn told() -> Told {
        let tool = Bytes::from_static(b"{\"name\":\"read\",\"inputSchema\":{}}");
        Told {
            image: String::new(),
            hello: Hello::NoDiscover,
            tools: Some(List { items: vec![tool], ..List::default() }),
            prompts: None,
            resources: None,
            templates: None,
        }
    }

    fn args(servers: &[&str], profile: Option<&str>) -> ToolsArgs {
        let servers = servers.iter().map(|name| (*name).to_owned()).collect();
        ToolsArgs { servers, profile: profile.map(str::to_owned), entry: None, json: false, accept: None }
    }

    #[test]
    fn a_profile_or_several_servers_are_one_entry_and_single_servers_one_each() {
        let shown = |args: &ToolsArgs| -> Vec<(Option<String>, Vec<String>)> {
            let offers = offered(args).unwrap().into_iter();
            offers
                .map(|offer| (offer.entry, offer.tools.into_iter().map(|tool| tool.full_name).collect()))
                .collect()
        };
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let entry = |name: &str| Some(name.to_owned());
        assert_eq!(
            shown(&args(&[], Some("work"))),
            [(entry("work"), names(&["git__read", "files__read"]))],
            "in the profile's order"
        );
        assert_eq!(shown(&args(&["files", "git"], None)), [(None, names(&["files__read", "git__read"]))]);
        assert_eq!(shown(&args(&["git"], None)), [(entry("git"), names(&["read"]))]);
        let accept = |args: &ToolsArgs| {
            let offers = offered(args).unwrap().into_iter();
            offers.flat_map(|offer| offer.held).map(|held| held.accept).collect::<Vec<_>>()
        };
        assert_eq!(accept(&args(&[], Some("work"))), ["git__read", "files__read"]);
        assert_eq!(accept(&args(&["git"], None)), ["git__read"], "as `--accept` takes it");
        let all = shown(&args(&[], None));
        assert_eq!(all.len(), 3);
        assert_eq!(all[2], (entry("new"), Vec::new()));
        assert_eq!(offered(&args(&[], None)).unwrap()[2].unknown, ["new"]);
    }

    #[test]
    fn what_is_not_configured_is_a_mistake() {
        assert!(offered(&args(&["fils"], None)).unwrap_err().contains("unknown server `fils`"));
        assert!(offered(&args(&["git", "git"], None)).unwrap_err().contains("there twice"));
        assert!(offered(&args(&[], Some("wrk"))).unwrap_err().contains("unknown profile `wrk`"));
    }
}
