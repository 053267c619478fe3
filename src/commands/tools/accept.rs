//! A person accepts what servers have made of their tools.

use crate::catalogue::Catalogue;
use crate::config::{Config, Server};
use crate::failure::{Code, Failure};
use crate::values::full_name::{full_name, room};

/// Accepts the definitions of all servers, of a server, or of a tool by its full name, as they were told last: a line for each
/// that was not accepted before.
pub(super) fn accept(
    name: Option<&str>,
    entry: Option<&str>,
    catalogue: &Catalogue,
    config: &Config,
) -> anyhow::Result<Vec<String>> {
    let mut lines = Vec::new();
    for (server, tool) in meant(name, entry, catalogue, config)? {
        let accepted = catalogue.accept(&server.name, tool.as_deref())?;
        lines.extend(accepted.into_iter().map(|tool| format!("accepted `{tool}` of `{}`", server.name)));
    }
    if lines.is_empty() {
        lines.push("nothing was held back".to_owned());
    }
    Ok(lines)
}

/// The servers whose tools are meant, and which tool of them; `None`: all.
fn meant<'a>(
    name: Option<&str>,
    entry: Option<&str>,
    catalogue: &Catalogue,
    config: &'a Config,
) -> Result<Vec<(&'a Server, Option<String>)>, Failure> {
    let servers = config.servers.values();
    let Some(name) = name else { return Ok(servers.map(|server| (server, None)).collect()) };
    if let Some(server) = servers.clone().find(|server| server.name == name || server.prefix() == name) {
        return Ok(vec![(server, None)]);
    }
    let is_called = |server: &Server, tool: &str| {
        let prefix = server.prefix();
        format!("{prefix}__{tool}") == name || full_name(prefix, tool, room(entry)) == name
    };
    let of_server = |server: &'a Server| {
        let tools = catalogue.tools(&server.name).into_iter();
        tools.filter(move |tool| is_called(server, tool)).map(move |tool| (server, Some(tool)))
    };
    let meant: Vec<_> = servers.flat_map(of_server).collect();
    if meant.is_empty() {
        return Err(Failure {
            code: Code::Usage,
            text: format!("no server and no tool that the catalogue knows is called `{name}`"),
            next: Some("`berth tools` lists their full names; `--entry` has part in them".to_owned()),
        });
    }
    Ok(meant)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::catalogue::{Hello, Key, List, Told};
    use crate::config::Home;

    fn keep(catalogue: &Catalogue, server: &str, tools: &[&str]) {
        let items = tools.iter().map(|tool| tool.as_bytes().to_vec().into()).collect();
        let told = Told {
            image: "sha256:1".to_owned(),
            hello: Hello::Initialize("{}".into()),
            tools: Some(List { items, ..List::default() }),
            prompts: None,
            resources: None,
            templates: None,
        };
        let text = |text: &str| text.to_owned();
        let (spec, client, revision, capabilities) =
            (text("s"), text("codex"), text("2025-06-18"), text("{}"));
        let key = Key { server: text(server), spec, env: Vec::new(), client, revision, capabilities };
        catalogue.keep(&key, &told).unwrap();
    }

    #[test]
    fn all_a_server_or_one_tool_is_accepted() {
        let state = tempfile::tempdir().unwrap();
        let catalogue = Catalogue::open(state.path());
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let text = "[servers.github]\nimage = \"i\"\nalias = \"gh\"\n[servers.git]\nimage = \"i\"\n";
        let config = Config::parse(text, Path::new("b.toml"), &home).unwrap();
        let accept = |name| accept(name, None, &catalogue, &config).map_err(|error| error.to_string());
        for server in ["github", "git"] {
            keep(&catalogue, server, &[r#"{"name":"a.b"}"#, r#"{"name":"c"}"#]);
            keep(&catalogue, server, &[r#"{"name":"a.b","description":"new"}"#, r#"{"name":"c"}"#]);
        }
        assert_eq!(accept(Some("gh__c")).unwrap(), ["nothing was held back"]);
        assert_eq!(accept(Some("gh__a.b")).unwrap(), ["accepted `a.b` of `github`"]);
        assert_eq!(accept(Some("gh")).unwrap(), ["nothing was held back"]);
        let marked = full_name("git", "a.b", room(None));
        assert_eq!(accept(Some(&marked)).unwrap(), ["accepted `a.b` of `git`"]);
        assert_eq!(accept(None).unwrap(), ["nothing was held back"]);
        assert!(accept(Some("hub")).unwrap_err().contains("is called `hub`; `berth tools` lists"));
    }
}
