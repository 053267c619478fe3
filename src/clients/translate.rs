//! Turns a client's entry into a berth server. A secret's value stays in the `env` of the client's file; only its name
//! comes out here.

use toml_edit::Table;

use super::Entry;
use crate::runner::{self, Program, Runtime};
use crate::values::looks_secret;

/// A client's entry, as a server of the configuration.
#[derive(Debug)]
pub struct Translated {
    /// The keys of `[servers.NAME]`.
    pub table: Table,
    /// Values that stood in the arguments, and belong into the `env` of the client's entry.
    pub env: Vec<(String, String)>,
    /// What is left out.
    pub notes: Vec<String>,
}

/// `Err` says why it can't be, and what to do.
pub fn translate(entry: &Entry, base: impl Fn(Runtime) -> String) -> Result<Translated, String> {
    if entry.cwd.is_some() {
        return Err("it starts in a folder of this machine (`cwd`); write its [servers.NAME] by hand, with `mounts` and \
                    `workdir`"
            .to_owned());
    }
    let argv: Vec<String> = std::iter::once(&entry.command).chain(&entry.args).cloned().collect();
    let mut parsed = runner::parse(&argv).map_err(|error| error.to_string())?;
    if let Some((what, _)) = secret_arguments(&words(&parsed.program)).into_iter().next() {
        return Err(format!(
            "{what} looks like a credential, which berth's configuration must not hold; put it into the entry's `env`, \
             where the server can read it"
        ));
    }
    let mut moved = Vec::new();
    for (name, template) in &mut parsed.env {
        // What the client's entry says of it already is what the server gets.
        if !template.contains("${") && (looks_secret(name) || can_move(name)) {
            moved.push((name.clone(), template.replace("$$", "$")));
            *template = format!("${{{name}}}");
        }
    }
    moved.retain(|(name, _)| entry.env.iter().all(|(known, _)| known != name));
    for name in entry.env.iter().map(|(name, _)| name).chain(&entry.env_vars) {
        if parsed.env.iter().any(|(known, _)| known == name) {
            continue;
        }
        if is_of_machine(name) {
            parsed.notes.push(format!("`{name}` is left out: it describes this machine, not a container"));
        } else {
            parsed.set_env(name, format!("${{{name}}}"));
        }
    }
    Ok(Translated { table: parsed.table(base), env: moved, notes: parsed.notes })
}

/// Whether a variable of the server's can stand in the client's entry, where berth itself has it too.
fn can_move(name: &str) -> bool {
    const OF_BERTH: [&str; 5] = ["BERTH_", "DOCKER_", "LD_", "RUST_", "XDG_"];
    // Others cannot be named in a template.
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        && !is_of_machine(name)
        && !OF_BERTH.iter().any(|prefix| name.starts_with(prefix))
}

/// Whether a variable says where things are on this machine, or who is at it.
fn is_of_machine(name: &str) -> bool {
    ["HOME", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "USER"].contains(&name) || name.starts_with("NVM_")
}

/// What of a command line comes to stand in the configuration as it is.
fn words(program: &Program) -> Vec<String> {
    match program {
        Program::Package(package) => [&package.packages[..], &package.args].concat(),
        Program::Image { image, command, args } => std::iter::once(image)
            .chain(command.iter().flatten())
            .chain(args.iter().flatten())
            .cloned()
            .collect(),
        Program::Script { args, .. } => args.clone(),
    }
}

/// Names of flags and of parameters of addresses that mean a credential only there.
const SHORT_NAMES: [&str; 5] = ["k", "key", "pat", "pass", "pwd"];

/// How well-known kinds of credentials begin.
const TOKENS: [&str; 24] = [
    "sk-",
    "sk_live_",
    "sk_test_",
    "rk_live_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "xoxa-",
    "xapp-",
    "AKIA",
    "ASIA",
    "AIza",
    "npm_",
    "pypi-",
    "hf_",
    "ntn_",
    "lin_api_",
    "eyJ",
];

/// Shorter words are none of these (bytes).
const SHORTEST_TOKEN: usize = 16;

/// Arguments whose values are secrets by the look of them: what each is, and the value.
pub fn secret_arguments(args: &[String]) -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = Vec::new();
    for (n, arg) in args.iter().enumerate() {
        let logins = logins(arg).map(|value| ("the login in an address".to_owned(), value));
        let next = args.get(n + 1).and_then(|next| after_flag(arg, next));
        let bearer = arg.to_ascii_lowercase().find("bearer ").and_then(|at| arg.get(at + "bearer ".len()..));
        let bearer = bearer.map(|value| ("the text after `Bearer`".to_owned(), value.trim()));
        let tokens = tokens(arg).map(|value| ("a word among the arguments".to_owned(), value));
        let of_arg = logins.chain(assigned(arg)).chain(next).chain(bearer).chain(tokens);
        for (what, value) in of_arg {
            let is_value = !value.is_empty() && !value.starts_with('-') && !value.contains("${");
            if is_value && found.iter().all(|(_, known)| known != value) {
                found.push((what, value.to_owned()));
            }
        }
    }
    found
}

/// The value of `--token VALUE`; a key may be a file.
fn after_flag<'a>(flag: &str, next: &'a str) -> Option<(String, &'a str)> {
    let name = flag.strip_prefix("--").or_else(|| flag.strip_prefix('-'))?;
    let is_short = SHORT_NAMES.contains(&name) && !next.starts_with(['/', '.', '~']);
    (is_short || (looks_secret(name) && !name.contains(['=', ':'])))
        .then(|| (format!("the value of `{flag}`"), next))
}

/// The values of `NAME=VALUE`, `NAME: VALUE` and `?NAME=VALUE&…`, whatever is around them.
fn assigned(text: &str) -> impl Iterator<Item = (String, &str)> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || "_-.".contains(c);
    text.match_indices(['=', ':']).filter_map(move |(at, sign)| {
        let before = text[..at].trim_end_matches(['"', '\'', '\\', ' ']);
        let start = before
            .rfind(|c| !is_name(c))
            .map_or(0, |at| at + before[at..].chars().next().map_or(1, char::len_utf8));
        let (name, around) = (before[start..].trim_start_matches('-'), &before[..start]);
        let rest = &text[at + 1..];
        // A version (`==`), and the scheme of an address or a path.
        if rest.starts_with('=') || (sign == ":" && rest.starts_with('/')) {
            return None;
        }
        let value = rest.trim_start_matches(['"', '\'', '\\', ' ']);
        let value = value.split(['&', '"', '\'']).next()?.trim_end_matches(['\\', ' ']);
        let is_flag = before[start..].starts_with('-') || around.ends_with(['?', '&']);
        let is_short =
            is_flag && sign == "=" && SHORT_NAMES.contains(&name) && !value.starts_with(['/', '.', '~']);
        (is_short || looks_secret(name)).then(|| (format!("the value of `{name}`"), value))
    })
}

/// The password of each `scheme://user:password@host`, or the user where there is none.
fn logins(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("://").filter_map(|(at, sign)| {
        let (scheme, rest) = (&text[..at], &text[at + sign.len()..]);
        let (login, _) = rest.split(['/', '?', '#', ' ']).next()?.rsplit_once('@')?;
        match login.split_once(':') {
            Some((_, password)) if !password.is_empty() => Some(password),
            // Everybody is `git` there, and has a key.
            None if scheme.ends_with("ssh") => None,
            Some((user, _)) => Some(user),
            None => Some(login),
        }
    })
}

/// Words that begin as well-known credentials do.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c))).filter(|word| {
        word.len() >= SHORTEST_TOKEN
            && word.contains(|c: char| c.is_ascii_digit())
            && TOKENS.iter().any(|prefix| word.starts_with(prefix))
    })
}
