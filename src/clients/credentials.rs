//! Which words of a command line are credentials, by the look of them.

use crate::values::looks_secret;

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
