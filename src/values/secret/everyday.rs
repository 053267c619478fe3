//! Values that are no credentials by their look, and those that stand in every second line.

/// Words that are everybody's: as passwords of test databases, as switches, as names in protocols.
#[rustfmt::skip]
const WORDS: [&str; 74] = [
    "administrator", "anonymous", "arguments", "changeme", "completion", "content", "database", "debug", "default",
    "description", "developer", "development", "disabled", "docker", "enabled", "error", "example", "false", "github",
    "gitlab", "google", "guest", "hidden", "initialize", "interactive", "jsonrpc", "local", "localhost", "mariadb",
    "master", "memory", "message", "messages", "method", "mongodb", "object", "openai", "oauth2", "params", "password",
    "playwright", "postgres", "postgresql", "private", "production", "progress", "prompts", "public", "readonly",
    "readwrite", "request", "resources", "response", "result", "sample", "schema", "secret", "server", "service",
    "staging", "stdio", "string", "system", "testing", "tools", "username", "undefined", "verbose", "version", "warning",
    "127.0.0.1", "localhost:8080", "tools/call", "tools/list",
];

/// Whether a value is so usual that hiding it in other texts would blacken them, and hide nothing: `true`, `8085`, `root`.
/// At its own place it is hidden all the same.
pub fn is_everyday(value: &str) -> bool {
    let value = value.trim();
    let all = |test: fn(&u8) -> bool| value.bytes().all(|byte| test(&byte));
    value.len() < 4
        || (value.len() <= 5 && (all(u8::is_ascii_digit) || all(u8::is_ascii_alphabetic)))
        || (value.len() <= 15 && all(|byte| byte.is_ascii_digit() || *byte == b'.') && value.contains('.'))
        || WORDS.contains(&value.to_ascii_lowercase().as_str())
}

/// Whether a value says yes or no, or nothing.
pub(super) fn is_switch(value: &str) -> bool {
    const WORDS: [&str; 10] = ["", "true", "false", "yes", "no", "on", "off", "none", "null", "undefined"];
    WORDS.contains(&value.trim().to_ascii_lowercase().as_str())
}

/// Choices with a number in them.
const NUMBERED: [&str; 7] = ["oauth2", "hs256", "rs256", "es256", "ed25519", "v1", "v2"];

/// Whether a value is one of a few that somebody may choose from: words, or a small number.
pub(super) fn is_choice(value: &str) -> bool {
    let value = value.trim();
    if is_switch(value) || (value.len() <= 5 && value.bytes().all(|byte| byte.is_ascii_digit())) {
        return true;
    }
    if NUMBERED.contains(&value.to_ascii_lowercase().as_str()) {
        return true;
    }
    value.len() <= 40
        && value.split(['-', '_', ',']).all(|part| {
            !part.is_empty()
                && part.len() <= 24
                && part.bytes().all(|byte| byte.is_ascii_alphabetic())
                && super::name::words(part).iter().all(|word| word.len() > 2 || word.len() == part.len())
        })
}

/// Whether a value is the path of a file or a folder.
pub(super) fn is_path(value: &str) -> bool {
    let bytes = value.as_bytes();
    let is_windows = matches!(bytes, [drive, b':', b'\\' | b'/', ..] if drive.is_ascii_alphabetic());
    let begins = ["/", "~/", "./", "../"].iter().any(|begin| value.starts_with(begin)) || is_windows;
    let parts: Vec<&str> =
        value.split(['/', '\\']).filter(|part| !["", ".", "..", "~"].contains(part)).collect();
    let is_deep = parts.len() > 1 || parts.last().is_some_and(|part| part.contains('.'));
    let fits = |c: char| c.is_alphanumeric() || " ._-@+:".contains(c);
    begins && is_deep && parts.iter().all(|part| part.chars().all(fits) && !is_random(part))
}

/// Shorter words are never random (bytes).
const SHORTEST: usize = 16;
/// Of a random word a part without separators has at least as many letters and digits (bytes).
const SHORTEST_PART: usize = 8;
/// Of each of its characters (bits).
const LEAST: f64 = 3.0;

/// Whether a word looks as if a machine had drawn it: letters among digits, and few of them twice. Names with a version or a
/// date (`claude-3-5-sonnet-20241022`) are not.
pub(super) fn is_random(value: &str) -> bool {
    let value = value.trim();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=_~.-".contains(&byte);
    if value.len() < SHORTEST || !value.bytes().all(fits) {
        return false;
    }
    let is_mixed = |part: &str| {
        let digits = part.bytes().filter(u8::is_ascii_digit).count();
        part.len() >= SHORTEST_PART && digits > 0 && part.bytes().any(|byte| byte.is_ascii_alphabetic())
    };
    value.split(['-', '_', '.', '=']).any(is_mixed) && entropy(value.as_bytes()) >= LEAST
}

/// Shannon's, in bits a byte.
fn entropy(bytes: &[u8]) -> f64 {
    let mut counts = [0_u32; 256];
    for byte in bytes {
        counts[usize::from(*byte)] += 1;
    }
    let length = f64::from(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
    let parts = counts.iter().filter(|count| **count > 0).map(|count| {
        let share = f64::from(*count) / length;
        -share * share.log2()
    });
    parts.sum()
}
