//! A person with a home folder, a project in it, and the real clients of `fixtures/setup.sh`. The environment of the
//! tests' own user stays out, and only loopback can be reached.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use super::model::{Call, Model};
use crate::harness;

/// Answers nothing, so that whatever would leave the machine fails.
const NOWHERE: &str = "http://127.0.0.1:9";

pub(crate) struct Person {
    home: tempfile::TempDir,
    pub(crate) model: Model,
}

impl Person {
    /// With a model that has these tools called.
    pub(crate) fn new(calls: Vec<Call>) -> Self {
        harness::daemon();
        // Not in the folder for temporary files: Codex warns of a home there.
        let home = tempfile::Builder::new().prefix("person-").tempdir_in(harness::home()).expect("a folder");
        std::fs::create_dir_all(home.path().join("project")).expect("a folder");
        let person = Self { home, model: Model::with(calls) };
        person.write(".codex/config.toml", &person.codex_config());
        person
    }

    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    pub(crate) fn project(&self) -> PathBuf {
        self.home().join("project")
    }

    pub(crate) fn write(&self, path: &str, text: &str) {
        let path = self.home().join(path);
        std::fs::create_dir_all(path.parent().expect("in the home folder")).expect("a folder");
        std::fs::write(path, text).expect("written");
    }

    pub(crate) fn read(&self, path: &str) -> String {
        std::fs::read_to_string(self.home().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    /// A model of ours instead of an account.
    fn codex_config(&self) -> String {
        format!(
            "model = \"mock\"\nmodel_provider = \"mock\"\ncheck_for_update_on_startup = false\n\n\
             [model_providers.mock]\nname = \"mock\"\nbase_url = \"{}/v1\"\nwire_api = \"responses\"\n\n\
             [analytics]\nenabled = false\n",
            self.model.url()
        )
    }

    /// A program in the person's project, with the person's environment alone.
    pub(crate) fn command(&self, program: impl AsRef<Path>) -> Command {
        let berth = Path::new(env!("CARGO_BIN_EXE_berth")).parent().expect("a folder");
        let folders =
            [berth, &clients(), Path::new("/usr/local/bin"), Path::new("/usr/bin"), Path::new("/bin")];
        let mut command = Command::new(program.as_ref());
        command
            .current_dir(self.project())
            .stdin(Stdio::null())
            .env_clear()
            .env("HOME", self.home())
            .env("PATH", std::env::join_paths(folders).expect("a search path"))
            .env("BERTH_HOME", harness::home())
            .env("HTTP_PROXY", NOWHERE)
            .env("HTTPS_PROXY", NOWHERE)
            .env("NO_PROXY", "127.0.0.1,localhost");
        command
    }

    pub(crate) fn claude(&self) -> Command {
        let mut command = self.command(client("claude"));
        command
            .env("ANTHROPIC_BASE_URL", self.model.url())
            .env("ANTHROPIC_API_KEY", "dummy")
            .env("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1")
            .env("DISABLE_AUTOUPDATER", "1")
            .env("DISABLE_TELEMETRY", "1")
            // The model calls tools without looking for them first.
            .env("ENABLE_TOOL_SEARCH", "false");
        command
    }

    pub(crate) fn codex(&self) -> Command {
        self.command(client("codex"))
    }

    pub(crate) fn inspector(&self) -> Command {
        self.command(client("mcp-inspector"))
    }

    pub(crate) fn berth(&self) -> Command {
        self.command(env!("CARGO_BIN_EXE_berth"))
    }

    /// One prompt, to the end of what the model has to say.
    pub(crate) fn claude_prompt(&self) -> Command {
        let mut command = self.claude();
        command.args(["-p", "go", "--permission-mode", "dontAsk", "--allowedTools"]);
        command
    }

    pub(crate) fn codex_prompt(&self) -> Command {
        let mut command = self.codex();
        command.args(["exec", "--skip-git-repo-check", "--dangerously-bypass-approvals-and-sandbox", "go"]);
        command
    }

    /// What both clients are told of a server, as each of them wants it.
    pub(crate) fn has_server(&self, name: &str, args: &[&str]) {
        let env = json!({ "BERTH_HOME": harness::home() });
        let entry = json!({ "command": "berth", "args": args, "env": env });
        self.write(".claude.json", &json!({ "mcpServers": { name: entry } }).to_string());
        let text = |value: &Value| value.to_string();
        self.write(
            ".codex/config.toml",
            &format!(
                "{}\n[mcp_servers.{name}]\ncommand = \"berth\"\nargs = {}\nenv = {{ BERTH_HOME = {} }}\nrequired = true\n",
                self.codex_config(),
                text(&json!(args)),
                text(&json!(harness::home())),
            ),
        );
    }
}

/// A real client's program.
fn client(name: &str) -> PathBuf {
    let program = clients().join(name);
    assert!(
        program.exists(),
        "there is no {}: `bash fixtures/setup.sh` installs it from npm",
        program.display()
    );
    program
}

/// Where `fixtures/setup.sh` puts them.
fn clients() -> PathBuf {
    cache().join("clients/bin")
}

/// The folder that `fixtures/env.sh` calls `cache`.
pub(crate) fn cache() -> PathBuf {
    let home = || PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache");
    std::env::var_os("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("mcp-berth")
}

/// What a command that must not fail wrote to its standard output.
pub(crate) fn succeeds(mut command: Command) -> String {
    let Output { status, stdout, stderr } = command.output().expect("it runs");
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}
