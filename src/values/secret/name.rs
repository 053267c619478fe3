//! How sure a name is of its value. A name is read word by word: what it ends with says what its value is.

/// What a name says of its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Naming {
    /// A credential, whatever it looks like.
    Credential,
    /// A credential, unless it is a choice (`none`, `azcli`, `managed-identity`).
    Likely,
    /// A credential only where it looks random.
    Perhaps,
    Other,
}

/// Words that mean a credential, and are found within other words, too: `PGPASSWORD`, `clientsecret`. Longer ones first.
const STEMS: [&str; 17] = [
    "authorization",
    "authorisation",
    "authentication",
    "passphrase",
    "credential",
    "privatekey",
    "accesskey",
    "secretkey",
    "password",
    "mnemonic",
    "passcode",
    "passwd",
    "secret",
    "apikey",
    "cookie",
    "bearer",
    "token",
];

/// What follows a stem and makes another word of it: `tokenizer`, `secretary`, `passwordless`.
const DERIVED: [&str; 18] = [
    "ize", "izer", "izers", "ized", "izes", "izing", "ization", "ise", "iser", "ised", "isation", "less",
    "ary", "aries", "ed", "cutter", "ish", "ly",
];

/// The last word of a name that says something about a credential, or where it is: `TOKEN_LIMIT`, `AUTH_URL`.
#[rustfmt::skip]
const ABOUT: [&str; 126] = [
    "address", "age", "algorithm", "alg", "arn", "attempts", "audience", "bits", "body", "bucket", "budget", "bytes",
    "cache", "callback", "class", "cmd", "column", "command", "config", "configuration", "count", "day", "days", "delay",
    "description", "dir", "directory", "domain", "duration", "enabled", "disabled", "encoding", "endpoint", "endpoints",
    "env", "error", "errors", "expiration", "expires", "expiry", "in", "field", "file", "filename", "files", "flow",
    "folder", "format", "grant", "header", "headers", "helper", "hint", "host", "hour", "hours", "id", "ids", "index",
    "interval", "issuer", "kind", "label", "left", "len", "length", "level", "lifetime", "limit", "limits", "location",
    "manager", "max", "message", "method", "methods", "min", "minute", "minutes", "mode", "ms", "name", "names", "offset",
    "param", "parameter", "path", "paths", "policy", "port", "prefix", "prompt", "provider", "providers", "rate", "realm",
    "redirect", "region", "remaining", "required", "retries", "samesite", "scheme", "schema", "scope", "scopes",
    "seconds", "server", "servers", "size", "status", "store", "strategy", "suffix", "supported", "template", "timeout",
    "title", "ttl", "type", "types", "uri", "url", "used", "version", "window",
];

/// The same behind `auth`: who or what is let in, not by what.
#[rustfmt::skip]
const WHO: [&str; 22] = [
    "account", "app", "application", "backend", "client", "database", "db", "email", "enable", "group", "groups", "org",
    "project", "role", "roles", "service", "source", "state", "tenant", "user", "username", "users",
];

/// The end of a name that changes nothing: `DB_PASSWORD_PROD`.
#[rustfmt::skip]
const TRAILING: [&str; 22] = [
    "value", "string", "str", "raw", "text", "plain", "plaintext", "encoded", "encrypted", "prod", "production", "dev",
    "development", "test", "staging", "live", "default", "current", "old", "new", "primary", "secondary",
];

/// The beginning of a name that is a switch, as a rule: `USE_TOKEN`.
#[rustfmt::skip]
const SWITCH: [&str; 20] = [
    "use", "uses", "enable", "disable", "require", "requires", "no", "skip", "allow", "with", "without", "show", "hide",
    "is", "has", "can", "should", "redact", "mask", "ask",
];

/// Before `tokens`: a number of them.
#[rustfmt::skip]
const COUNTED: [&str; 22] = [
    "max", "min", "num", "n", "total", "input", "output", "prompt", "completion", "cached", "reasoning", "thinking",
    "budget", "context", "used", "remaining", "per", "new", "estimated", "count", "overlap", "chunk",
];

/// Right before `token`: a length, a mark in a text, a place in a list.
#[rustfmt::skip]
const MARKING: [&str; 17] = [
    "max", "min", "num", "per", "total", "first", "last", "progress", "continuation", "cancellation", "eos", "bos", "pad",
    "unk", "sep", "stop", "special",
];

/// Before `key`: it opens something.
#[rustfmt::skip]
const OPENING: [&str; 42] = [
    "api", "access", "account", "admin", "anon", "app", "application", "auth", "client", "consumer", "deploy", "dek",
    "developer", "encryption", "decryption", "gpg", "hmac", "host", "ingest", "integration", "jwt", "kek", "license",
    "licence", "management", "master", "pgp", "private", "role", "secret", "server", "service", "session", "shared",
    "signature", "signing", "ssh", "storage", "subscription", "tls", "webhook", "write",
];

/// Words that end in `pass` and open nothing.
#[rustfmt::skip]
const NO_PASS: [&str; 9] = [
    "bypass", "compass", "encompass", "overpass", "surpass", "trespass", "underpass", "multipass", "lowpass",
];

/// Before `pass`: a run.
const RUNS: [&str; 9] = ["by", "first", "second", "single", "multi", "two", "low", "high", "last"];

/// Parts of words that all names of credentials have at least one of.
const HINTS: [&str; 12] =
    ["tok", "secret", "pass", "pwd", "auth", "key", "cred", "cook", "bear", "jwt", "pat", "mnem"];

pub(super) fn naming(name: &str) -> Naming {
    let lower = name.to_ascii_lowercase();
    // Most names have nothing of it.
    if !HINTS.iter().any(|hint| lower.contains(hint)) && !lower.contains("phrase") {
        return Naming::Other;
    }
    let mut words: Vec<String> = Vec::new();
    for word in self::words(name) {
        split(&word, &mut words);
    }
    let is_trailing =
        |word: &String| TRAILING.contains(&word.as_str()) || word.bytes().all(|byte| byte.is_ascii_digit());
    while words.len() > 1 && words.last().is_some_and(is_trailing) {
        words.pop();
    }
    judge(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

fn judge(words: &[&str]) -> Naming {
    let Some((&last, before)) = words.split_last() else { return Naming::Other };
    let named = match words {
        // The half of a pair that is often hidden, too.
        [.., "access", "key", "id"] | [.., "accesskey", "id"] => return Naming::Credential,
        [.., "secret" | "token", "id"] => return Naming::Perhaps,
        _ if ABOUT.contains(&last) => return Naming::Other,
        [.., "tokens"] if before.iter().any(|word| COUNTED.contains(word)) => return Naming::Other,
        [.., "next" | "previous", "page", "token"] | [.., "public", "key" | "keys"] => return Naming::Other,
        [.., before, "token"] if MARKING.contains(before) => return Naming::Other,
        [.., "page" | "next" | "sync", "token"] => return Naming::Perhaps,
        [.., before, "pass"] if RUNS.contains(before) => return Naming::Other,
        [_, .., "pass" | "pwd" | "pat"] => Naming::Credential,
        [.., "tokens"] | ["pass" | "pwd"] => Naming::Likely,
        _ if words.iter().any(|word| is_credential(word)) || opens(words) => Naming::Credential,
        _ if words.iter().any(|word| is_likely(word)) => Naming::Likely,
        _ if words.iter().any(|word| is_auth(word)) => {
            if WHO.contains(&last) {
                Naming::Other
            } else {
                Naming::Likely
            }
        }
        [.., "key" | "keys" | "pat"] => Naming::Perhaps,
        _ => Naming::Other,
    };
    let is_switch = before.first().is_some_and(|first| SWITCH.contains(first));
    if is_switch && named == Naming::Credential { Naming::Likely } else { named }
}

fn is_credential(word: &str) -> bool {
    const WORDS: [&str; 12] = [
        "token",
        "secret",
        "secrets",
        "password",
        "passwords",
        "passwd",
        "passphrase",
        "passcode",
        "apikey",
        "accesskey",
        "privatekey",
        "secretkey",
    ];
    WORDS.contains(&word)
}

fn is_likely(word: &str) -> bool {
    ["credential", "credentials", "creds", "cookie", "cookies", "bearer", "jwt", "mnemonic"].contains(&word)
}

fn is_auth(word: &str) -> bool {
    ["auth", "oauth", "authn", "authorization", "authorisation", "authentication"].contains(&word)
}

/// Whether a key is one that opens something, or the phrase does.
fn opens(words: &[&str]) -> bool {
    words.windows(2).any(|pair| match pair {
        [before, "key" | "keys"] => OPENING.contains(before),
        ["seed" | "recovery", "phrase"] | ["pass", "phrase" | "word"] => true,
        _ => false,
    })
}

/// The words of a name, in lower case: `X-Api-Key`, `xApiKey` and `X_API_KEY` are the same three.
pub(crate) fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let mut words: Vec<String> = Vec::new();
    let mut word = String::new();
    for (n, &c) in chars.iter().enumerate() {
        let before = n.checked_sub(1).and_then(|n| chars.get(n));
        let after = chars.get(n + 1);
        let is_hump = before.is_some_and(|before| {
            c.is_ascii_uppercase()
                && (before.is_ascii_lowercase()
                    || (before.is_ascii_uppercase() && after.is_some_and(char::is_ascii_lowercase)))
        });
        let is_turn = before.is_some_and(|before| before.is_ascii_digit() != c.is_ascii_digit());
        if !c.is_ascii_alphanumeric() || is_hump || is_turn {
            words.extend((!word.is_empty()).then(|| std::mem::take(&mut word)));
        }
        if c.is_ascii_alphanumeric() {
            word.push(c.to_ascii_lowercase());
        }
    }
    words.extend((!word.is_empty()).then_some(word));
    words
}

/// Splits a word that is several without separators: `pgpassword`, `tokenlimit`, `dbpass`, `authmode`.
fn split(word: &str, words: &mut Vec<String>) {
    let found = STEMS.iter().find_map(|stem| Some((word.find(stem)?, stem.len())));
    if let Some((at, length)) = found {
        let (before, stem, after) = (&word[..at], &word[at..at + length], &word[at + length..]);
        if DERIVED.contains(&after) {
            return words.push(word.to_owned());
        }
        if !before.is_empty() {
            split(before, words);
        }
        let is_plural = after.starts_with('s') && (after == "s" || ABOUT.contains(&&after[1..]));
        words.push(if is_plural { format!("{stem}s") } else { stem.to_owned() });
        let after = if is_plural { &after[1..] } else { after };
        if !after.is_empty() {
            split(after, words);
        }
        return;
    }
    let ends = |end: &str| word.strip_suffix(end).filter(|before| !before.is_empty());
    let (before, last) = if let Some(before) = ends("pass").filter(|_| !NO_PASS.contains(&word)) {
        (before, "pass")
    } else if let Some(before) = ends("pwd").filter(|before| *before != "old") {
        (before, "pwd")
    } else if let Some(before) = ends("key").filter(|before| OPENING.contains(before)) {
        (before, "key")
    } else if let Some(before) = ends("auth").filter(|before| *before != "o") {
        (before, "auth")
    } else if let Some(after) = word.strip_prefix("auth").filter(|after| {
        ABOUT.contains(after) || WHO.contains(after) || ["code", "data", "info"].contains(after)
    }) {
        ("auth", after)
    } else {
        return words.push(word.to_owned());
    };
    words.extend([before.to_owned(), last.to_owned()]);
}
