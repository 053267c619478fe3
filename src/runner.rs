//! Understands the command lines by which people start MCP servers today: `npx`, `uvx`, `uv run`, `docker run`, a script.
//!
//! Pure: it turns words into the keys of a `[servers.NAME]` table, which the configuration's own reader then reads. It
//! looks nothing up. No message contains the value of a variable or an argument, because it may be a credential.

mod deno;
mod docker;
mod flags;
mod foreign;
mod installing;
mod names;
mod npx;
mod package;
mod script;
mod shell;
mod uv;
mod uvx;

use std::collections::BTreeMap;

use toml_edit::{Array, InlineTable, Table, Value};

use crate::values::{looks_secret, without_credentials};
pub use docker::HostAccess;
pub(crate) use names::template;
pub use package::{Package, Runner, is_version};
pub use script::{is_python as is_script, is_systems_own, project as project_of_script};

/// What is understood, for the messages about what isn't.
const UNDERSTOOD: &str = "berth understands `npx [-y] PACKAGE…`, `uvx PACKAGE…`, `uv --directory FOLDER run …`, `docker run … IMAGE…`, \
                          and `node FILE…`, `python FILE…` or `java -jar FILE…` by the file's absolute path";

/// A command line that is understood. Its texts are templates, as in the configuration: `${NAME}` and `${NAME:-default}` are the
/// client's variables, and any other `$` stands doubled.
#[derive(Debug, Clone)]
pub struct Parsed {
    /// Called after the package, the image or the script; fit for `[servers.NAME]`.
    pub name: String,
    pub program: Program,
    /// The server's variables, by name.
    pub env: Vec<(String, String)>,
    /// Variables that it gets of the client's environment, where they are there.
    pub env_vars: Vec<String>,
    /// `SOURCE:TARGET[:rw]`
    pub mounts: Vec<String>,
    /// `NAME:TARGET`
    pub volumes: Vec<String>,
    /// What the line says of the machine, for whoever finds out what that means.
    pub host_access: HostAccess,
    /// All other settings, by their keys.
    pub settings: Vec<(&'static str, Value)>,
    /// Variables whose values are known to be secrets, or known to be none.
    pub judged: BTreeMap<String, bool>,
    /// What of the line is left out, and why that changes nothing or something.
    pub notes: Vec<String>,
}

/// What runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Program {
    Package(Package),
    /// The image's ENTRYPOINT, or else `command` instead of it and its CMD; and `args` behind either.
    Image {
        image: String,
        command: Option<Vec<String>>,
        args: Option<Vec<String>>,
    },
    /// A file of this machine and its arguments, in the base image of `runtime`.
    Script {
        runtime: Runtime,
        args: Vec<String>,
    },
}

/// What executes a script.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Runtime {
    Node,
    Python,
    Java,
}

impl Runtime {
    fn program(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Python => "python3",
            Self::Java => "java",
        }
    }
}

/// Why a command line cannot be taken over: the cause, and what to do instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}; {next}")]
pub struct RunnerError {
    pub message: String,
    pub next: String,
}

impl RunnerError {
    fn new(message: impl Into<String>, next: impl Into<String>) -> Self {
        // A line that is not understood may hold a credential anywhere.
        let message = without_credentials(&message.into()).into_owned();
        Self { message, next: next.into() }
    }

    /// Whether the line's program is none that berth knows.
    pub fn is_unknown(&self) -> bool {
        self.message.ends_with(foreign::UNKNOWN)
    }
}

/// Understands a command line, program first.
pub fn parse(argv: &[String]) -> Result<Parsed, RunnerError> {
    let mut parsed = understand(argv)?;
    if let Program::Package(package) = &mut parsed.program {
        package.args.iter_mut().for_each(|arg| *arg = template(arg));
    }
    Ok(parsed)
}

/// The same; a package's arguments are as they were written.
fn understand(argv: &[String]) -> Result<Parsed, RunnerError> {
    let Some((program, rest)) = argv.split_first() else {
        return Err(RunnerError::new("there is no command", UNDERSTOOD));
    };
    if names::is_line(program) {
        return Err(foreign::line());
    }
    let second = rest.first().map_or("", String::as_str);
    let after = |n: usize| &rest[n.min(rest.len())..];
    match names::program(program).as_str() {
        "npx" | "pnpx" => npx::parse("npx", rest).and_then(script::of_package),
        "bunx" => npx::parse("bunx", rest).and_then(script::of_package),
        "npm" if ["exec", "x"].contains(&second) => npx::parse_npm(after(1)).and_then(script::of_package),
        "pnpm" | "yarn" if second == "dlx" => npx::parse("npx", after(1)).and_then(script::of_package),
        "bun" if second == "x" => npx::parse("bunx", after(1)).and_then(script::of_package),
        "deno" => deno::parse(rest),
        "uvx" => uvx::as_project(rest).map_or_else(|| uvx::parse(rest), |words| uv::parse(&words)),
        "uv" => uv::parse(rest),
        "pipx" if second == "run" => uvx::parse_pipx(after(1)),
        "docker" | "podman" | "nerdctl" if second == "run" => docker::parse(program, after(1)),
        "docker" | "podman" | "nerdctl"
            if second == "container" && rest.get(1).is_some_and(|word| word == "run") =>
        {
            docker::parse(program, after(2))
        }
        engine @ ("docker" | "podman" | "nerdctl") => Err(docker::other(engine, second)),
        "node" | "nodejs" => script::node(rest),
        name if names::is_python(name) => script::python(rest),
        "java" => script::java(rest),
        "bash" | "sh" | "zsh" | "dash" | "ash" => shell::parse(rest),
        // What Windows needs before a script such as npx.
        "cmd" if second.eq_ignore_ascii_case("/c") => understand(after(1)),
        "env" => env(rest),
        // It may be a line behind a path, with a key in it.
        _ if program.contains(char::is_whitespace) => Err(foreign::refused("", rest)),
        name => Err(foreign::refused(name, rest)),
    }
}

/// Whether berth knows what a program by this name is for, even where it refuses its lines.
pub fn is_known(program: &str) -> bool {
    let nothing = [names::program(program)];
    !understand(&nothing).is_err_and(|error| error.is_unknown())
}

/// The words of a `npx` or `uvx` key, which are those after the runner; the arguments among them are templates already.
pub fn parse_words(runner: Runner, words: &[String]) -> Result<Package, RunnerError> {
    let parsed = match runner {
        Runner::Npx => npx::parse("npx", words)?,
        Runner::Uvx => uvx::parse(words)?,
        Runner::Uv => uv::project(words)?,
    };
    if let Some((name, _)) = parsed.env.first() {
        return Err(RunnerError::new(
            format!("`{}` gives the server a variable", runner.as_str()),
            format!("write `{name}` into the server's `env`"),
        ));
    }
    match parsed.program {
        Program::Package(package) => Ok(package),
        _ => Err(RunnerError::new("there is no package", UNDERSTOOD)),
    }
}

/// `env NAME=VALUE… COMMAND…`
fn env(words: &[String]) -> Result<Parsed, RunnerError> {
    let is_variable = |word: &&String| word.split_once('=').is_some_and(|(name, _)| names::is_variable(name));
    let variables = words.iter().take_while(is_variable).count();
    if words.get(variables).is_some_and(|word| word.starts_with('-')) {
        let flag = &words[variables];
        let next = "leave it out: a server in berth has only its own variables";
        return Err(RunnerError::new(
            format!("berth does not take over `{}` of `env`", flags::bare(flag)),
            next,
        ));
    }
    let mut parsed = understand(&words[variables..])?;
    for word in &words[..variables] {
        if let Some((name, value)) = word.split_once('=') {
            parsed.set_env(name, template(value));
        }
    }
    Ok(parsed)
}

impl Parsed {
    fn new(name: String, program: Program) -> Self {
        Self {
            name,
            program,
            env: Vec::new(),
            env_vars: Vec::new(),
            mounts: Vec::new(),
            volumes: Vec::new(),
            host_access: HostAccess::default(),
            settings: Vec::new(),
            judged: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    /// Gives the server a variable, instead of any other value it may have; `value` is a template.
    pub fn set_env(&mut self, name: &str, value: String) {
        self.forget_env(name);
        self.env.push((name.to_owned(), value));
    }

    /// Gives the server the client's variable of that name, if there is one, instead of any other value it may have.
    pub fn pass_env(&mut self, name: &str) {
        self.forget_env(name);
        self.env_vars.push(name.to_owned());
    }

    /// Whether anything is said of a variable.
    pub fn has_env(&self, name: &str) -> bool {
        self.env.iter().any(|(known, _)| known == name) || self.env_vars.iter().any(|known| known == name)
    }

    fn forget_env(&mut self, name: &str) {
        self.env.retain(|(known, _)| known != name);
        self.env_vars.retain(|known| known != name);
    }

    /// Adds to one of the other settings, which is a list.
    pub fn add(&mut self, key: &'static str, value: impl Into<Value>) {
        let known = self.settings.iter().find(|(known, _)| *known == key);
        let mut list = known.and_then(|(_, list)| list.as_array()).cloned().unwrap_or_default();
        list.push(value);
        self.set(key, Value::Array(list));
    }

    /// Sets one of the other settings.
    pub fn set(&mut self, key: &'static str, value: impl Into<Value>) {
        self.settings.retain(|(known, _)| *known != key);
        self.settings.push((key, value.into()));
    }

    /// The keys of `[servers.NAME]`. `base` gives the image that runs scripts.
    pub fn table(&self, base: impl Fn(Runtime) -> String) -> Table {
        let mut table = Table::new();
        let list = |words: &[String]| Value::from(words.iter().map(String::as_str).collect::<Array>());
        let line = |words: &[String]| match shlex::try_join(words.iter().map(String::as_str)) {
            Ok(line) => Value::from(line),
            Err(_) => list(words),
        };
        match &self.program {
            Program::Package(package) => table[package.runner.as_str()] = line(&package.words()).into(),
            Program::Image { image, command, args } => {
                table["image"] = image.as_str().into();
                for (key, words) in [("command", command), ("args", args)] {
                    if let Some(words) = words {
                        table[key] = list(words).into();
                    }
                }
            }
            Program::Script { runtime, args } => {
                table["image"] = base(*runtime).into();
                table["command"] = list(&[runtime.program().to_owned()]).into();
                table["args"] = list(args).into();
            }
        }
        for (key, list_of) in
            [("mounts", &self.mounts), ("volumes", &self.volumes), ("env_vars", &self.env_vars)]
        {
            if !list_of.is_empty() {
                table[key] = list(list_of).into();
            }
        }
        for (key, value) in &self.settings {
            table[*key] = value.clone().into();
        }
        for (key, secret) in [("env", false), ("secrets", true)] {
            let is_secret =
                |name: &String| self.judged.get(name).copied().unwrap_or_else(|| looks_secret(name));
            let of_kind = self.env.iter().filter(|(name, _)| is_secret(name) == secret);
            let variables: InlineTable = of_kind.map(|(name, value)| (name, value.as_str())).collect();
            if !variables.is_empty() {
                table[key] = variables.into();
            }
        }
        table
    }
}

#[cfg(test)]
mod tests;
