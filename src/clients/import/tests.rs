mod one_entry;
mod restrictions;
mod undo;

use std::path::PathBuf;

use super::*;
use crate::clients::{Asked, Kind, Scope};

fn tools() -> Vec<String> {
    ["one", "two", "read.file"].map(str::to_owned).to_vec()
}

/// A person's home folder with a client's file.
struct Person {
    home: tempfile::TempDir,
}

impl Person {
    fn with(servers: &str) -> Self {
        let person = Self { home: tempfile::tempdir().unwrap() };
        // An entry is berth's by its program's name.
        let berth = person.path("bin/berth");
        std::fs::create_dir(berth.parent().unwrap()).unwrap();
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), berth).unwrap();
        std::fs::write(person.path(".claude.json"), format!("{{ \"mcpServers\": {{ {servers} }} }}\n"))
            .unwrap();
        person
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn lookup(&self, name: &str) -> Option<String> {
        let home = self.home.path().display().to_string();
        match name {
            "HOME" | "BERTH_HOME" => Some(home),
            "PATH" => Some(home + "/bin"),
            _ => None,
        }
    }

    /// What is planned where the servers' trials end so.
    fn planned(&self, failing: Option<&[(&str, &str)]>) -> Import {
        let lookup = |name: &str| self.lookup(name);
        let home = Home::from_env(&lookup).unwrap();
        let config = Config::load(&home, None).unwrap();
        let wanted =
            Wanted { client: Kind::ClaudeCode, scope: Some(Scope::User), servers: &[], move_secrets: false };
        let reading = Reading::new(wanted, Asked::default(), &config, &home, None, &lookup).unwrap();
        let untried = reading.plan(Check::LeftOut, &lookup).unwrap();
        let Some(failing) = failing else { return untried };
        let tried = untried.taken.iter().map(|taken| {
            let fails = failing.iter().find(|(name, _)| *name == taken.which.1);
            (taken.which.clone(), fails.map_or(Ok(tools()), |(_, why)| Err((*why).to_owned())))
        });
        reading.plan(Check::Made(&tried.collect()), &lookup).unwrap()
    }

    fn imported(&self) -> Import {
        let import = self.planned(Some(&[]));
        for draft in &import.drafts {
            draft.write(true).unwrap();
        }
        import
    }

    fn entries(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.path(".claude.json")).unwrap();
        serde_json::from_str::<serde_json::Value>(&text).unwrap()["mcpServers"].take()
    }
}

#[test]
fn every_name_that_a_client_runs_is_taken_over_and_stays_the_entrys_own() {
    let person = Person::with(
        r#""github.com/upstash/context7-mcp": { "command": "npx", "args": ["-y", "a"] },
           "Framelink MCP for Figma": { "command": "npx", "args": ["-y", "b"] },
           "Framelink-MCP for Figma": { "command": "npx", "args": ["-y", "c"] },
           "awslabs.cloudtrail-mcp-server": { "command": "uvx", "args": ["d"] }"#,
    );
    let import = person.imported();
    assert_eq!(import.failed, 0, "{:?}", import.said);
    let run = |name: &str| person.entries()[name]["args"][1].as_str().map(str::to_owned);
    assert_eq!(run("github.com/upstash/context7-mcp").as_deref(), Some("github-com-upstash-context7-mcp"));
    assert_eq!(run("Framelink MCP for Figma").as_deref(), Some("Framelink-MCP-for-Figma"));
    assert_eq!(run("Framelink-MCP for Figma").as_deref(), Some("Framelink-MCP-for-Figma-2"));
    assert_eq!(run("awslabs.cloudtrail-mcp-server").as_deref(), Some("awslabs-cloudtrail-mcp-server"));
    let told = "  berth.toml has it as [servers.Framelink-MCP-for-Figma-2]";
    assert!(import.said.iter().any(|line| line == told), "{:?}", import.said);
    // All is berth's already.
    let again = person.imported();
    assert!(again.drafts.is_empty() && again.taken.is_empty() && again.failed == 0, "{:?}", again.said);
    // The same entries from a backup get the same servers.
    let before = std::fs::read_to_string(person.path("berth.toml")).unwrap();
    let restored = Person::with(r#""Framelink-MCP for Figma": { "command": "npx", "args": ["-y", "c"] }"#);
    std::fs::write(restored.path("berth.toml"), &before).unwrap();
    restored.imported();
    assert_eq!(restored.entries()["Framelink-MCP for Figma"]["args"][1], "Framelink-MCP-for-Figma-2");
    assert_eq!(std::fs::read_to_string(restored.path("berth.toml")).unwrap(), before);
}

#[test]
fn an_entry_whose_server_does_not_start_stays_and_leaves_no_trace() {
    let person = Person::with(
        r#""good": { "command": "npx", "args": ["-y", "a"] },
           "bad": { "command": "npx", "args": ["-y", "b"], "env": { "PATH": "/x" } }"#,
    );
    let before = person.entries();
    let why = "the server `bad` exited with code 1; its words: boom";
    let import = person.planned(Some(&[("bad", why)]));
    assert_eq!(import.failed, 1);
    assert!(import.config.contains("[servers.good]") && !import.config.contains("[servers.bad]"));
    let said = import.said.join("\n");
    assert!(said.contains("`good` runs in a container now; it has 3 tools"), "{said}");
    // What import would say of it may be the very cause.
    let told =
        format!("`bad` stays as it is: {why}\n  what would be so in its container:\n    `PATH` is taken out");
    assert!(said.contains(&told), "{said}");
    for draft in &import.drafts {
        draft.write(true).unwrap();
    }
    assert_eq!(person.entries()["bad"], before["bad"]);
    assert_eq!(
        person.entries()["good"]["args"],
        serde_json::json!(["run", "good", "--client", "claude-code"])
    );
}

#[test]
fn only_what_was_tried_is_said_to_run() {
    let person = Person::with(r#""a": { "command": "npx", "args": ["-y", "a"] }"#);
    let untried = person.planned(None).said.join("\n");
    assert!(untried.contains("`a` is taken over; not tried") && !untried.contains("runs"), "{untried}");
}

#[test]
fn what_berth_would_obey_is_gone_from_the_entry_and_a_trial_gets_the_rest() {
    let person = Person::with(
        r#""a": { "command": "npx", "args": ["-y", "a"], "env": { "HOME": "/x", "BERTH_HOME": "/evil", "LEVEL": "${UNSET:-high}" } },
           "b": { "command": "npx", "args": ["-y", "b"], "env": { "PATH": "/x" } }"#,
    );
    let import = person.imported();
    assert_eq!(person.entries()["a"]["env"], serde_json::json!({ "LEVEL": "${UNSET:-high}" }));
    assert_eq!(person.entries()["b"].get("env"), None);
    let handed = import.taken[0].handed.env(&|_| None);
    assert_eq!(handed, [("LEVEL".to_owned(), "high".to_owned())]);
    assert!(Path::new(person.entries()["a"]["command"].as_str().unwrap()).is_absolute());
}

#[test]
fn what_no_pod_has_is_told_with_its_reason_and_stays() {
    let folder = tempfile::tempdir().unwrap();
    let docker =
        |more: &str| format!(r#"{{ "command": "docker", "args": ["run", "-i", "--rm"{more}, "i"] }}"#);
    let bound = docker(&format!(r#", "-v", "{}:/docs""#, folder.path().display()));
    let kept = docker(r#", "-v", "mem:/data""#);
    let person = Person::with(&format!(
        r#""bound": {bound}, "kept": {kept}, "package": {{ "command": "npx", "args": ["-y", "a"] }}"#
    ));
    std::fs::write(person.path("berth.toml"), "[defaults]\nbackend = \"kubernetes\"\n").unwrap();
    let said = person.planned(None).said.join("\n");
    let why = "`bound` stays as it is: it cannot have `mounts` in a pod: folders of this machine are not on the cluster's nodes";
    assert!(said.contains(why), "{said}");
    assert!(said.contains("`kept` is taken over") && !said.contains("`berth up`"), "{said}");
    assert!(said.contains("type `berth bake --push package` before it starts"), "{said}");
}
