//! Which names look like those of credentials. Configuration and trace share this rule, so neither shows a value that
//! the other hides.

/// Parts of names of credentials, without separators and in lower case.
const WORDS: [&str; 11] = [
    "token",
    "secret",
    "password",
    "passwd",
    "passphrase",
    "apikey",
    "accesskey",
    "privatekey",
    "credential",
    "cookie",
    "bearer",
];

/// Names that contain a word of [`WORDS`] and are everyday parts of MCP messages.
const HARMLESS: [&str; 2] = ["progresstoken", "maxtokens"];

/// Whether `name` (of a variable, a JSON key, a header) looks like that of a credential: `GITHUB_TOKEN`,
/// `apiKey`, `X-Api-Key`, `Authorization`. Case and separators do not count.
pub fn looks_secret(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    let plain = plain.to_ascii_lowercase();
    if HARMLESS.contains(&plain.as_str()) {
        return false;
    }
    WORDS.iter().any(|word| plain.contains(word)) || plain.split("auth").skip(1).any(is_no_author)
}

/// Tells `auth`, `oauth2`, `authorization` from `author` and `authority` by what follows the `auth`.
fn is_no_author(rest: &str) -> bool {
    !rest.starts_with("or") || rest.starts_with("oriz") || rest.starts_with("oris")
}

#[cfg(test)]
mod tests {
    use super::looks_secret;

    #[test]
    fn names_of_credentials_are_known_in_any_spelling() {
        for name in [
            "GITHUB_TOKEN",
            "token",
            "accessToken",
            "CLIENT_SECRET",
            "PGPASSWORD",
            "db-passwd",
            "OPENAI_API_KEY",
            "apiKey",
            "x-api-key",
            "API KEY",
            "private_key",
            "privateKey",
            "GOOGLE_APPLICATION_CREDENTIALS",
            "Authorization",
            "authorisation",
            "oauth2",
            "NPM_CONFIG__AUTH",
            "auth",
            "author_auth",
            "Set-Cookie",
        ] {
            assert!(looks_secret(name), "{name}");
        }
    }

    #[test]
    fn ordinary_names_are_not_hidden() {
        for name in [
            "HOME",
            "PATH",
            "GIT_AUTHOR_NAME",
            "authority",
            "author",
            "progressToken",
            "maxTokens",
            "MAX_TOKENS",
            "key",
            "monkey",
            "name",
            "",
        ] {
            assert!(!looks_secret(name), "{name}");
        }
    }
}
