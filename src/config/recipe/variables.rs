//! Which of a server's variables are for its installation.

use std::collections::BTreeMap;

use crate::config::env::{EnvEntry, Given};
use crate::values::{is_secret, looks_secret};

/// What npm, pip and uv take their settings from, and the packages that download a browser or a binary.
const PREFIXES: [&str; 12] = [
    "NPM_CONFIG_",
    "PIP_",
    "UV_",
    "PUPPETEER_",
    "PLAYWRIGHT_",
    "CYPRESS_",
    "ELECTRON_",
    "SHARP_",
    "ONNXRUNTIME_NODE_",
    "SENTRYCLI_",
    "CHROMEDRIVER_",
    "HNSWLIB_",
];

/// Where the installation has its own places, and what `[bake]` says for all servers.
const NOT: [&str; 26] = [
    "NPM_CONFIG_PREFIX",
    "NPM_CONFIG_CACHE",
    "NPM_CONFIG_USERCONFIG",
    "NPM_CONFIG_GLOBALCONFIG",
    "NPM_CONFIG_GLOBAL",
    "NPM_CONFIG_LOCATION",
    "NPM_CONFIG_CAFILE",
    "NPM_CONFIG_WORKSPACE",
    "NPM_CONFIG_WORKSPACES",
    "NPM_CONFIG_SCRIPT_SHELL",
    "PIP_CACHE_DIR",
    "PIP_CERT",
    "PIP_CONFIG_FILE",
    "PIP_PREFIX",
    "PIP_TARGET",
    "UV_CACHE_DIR",
    "UV_CONFIG_FILE",
    "UV_ENV_FILE",
    "UV_INSTALL_DIR",
    "UV_PROJECT",
    "UV_PROJECT_ENVIRONMENT",
    "UV_PYTHON",
    "UV_PYTHON_INSTALL_DIR",
    "UV_TOOL_BIN_DIR",
    "UV_TOOL_DIR",
    "UV_WORKING_DIR",
];

/// Those whose values are known to berth's configuration. A secret never goes into an image, and what comes from a client's
/// environment would make each client's image another.
pub(in crate::config) fn of_server<'a>(
    env: impl IntoIterator<Item = &'a EnvEntry>,
) -> BTreeMap<String, String> {
    let literal = |entry: &'a EnvEntry| {
        let Given::Template(template) = &entry.given else { return None };
        let value = template.expand(&|_| None).ok()?;
        let fits = !entry.secret
            && is_for_installation(&entry.name)
            && !is_secret(&entry.name, &value)
            && !value.contains('\n');
        fits.then(|| (entry.name.clone(), value))
    };
    env.into_iter().filter_map(literal).collect()
}

/// Whether a variable of this name is for the installation of a package.
pub fn is_for_installation(name: &str) -> bool {
    let upper = name.to_ascii_uppercase();
    let known = PREFIXES.iter().any(|prefix| upper.starts_with(prefix)) || upper.ends_with("_SKIP_DOWNLOAD");
    let fits = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    known && fits && !NOT.contains(&upper.as_str()) && !looks_secret(name) && !upper.contains("AUTH")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_installation_is_told_is_no_secret_and_no_place() {
        let of = |entries: &[&str]| {
            let entries: Vec<EnvEntry> = entries.iter().map(|entry| entry.parse().unwrap()).collect();
            of_server(&entries).into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        assert_eq!(
            of(&[
                "PUPPETEER_SKIP_DOWNLOAD=true",
                "UV_PYTHON_PREFERENCE=only-managed",
                "npm_config_legacy_peer_deps=1",
                "SENTRYCLI_SKIP_DOWNLOAD=1",
                "X_SKIP_DOWNLOAD=${X:-1}",
                "API_URL=https://x",
            ]),
            [
                "PUPPETEER_SKIP_DOWNLOAD=true",
                "SENTRYCLI_SKIP_DOWNLOAD=1",
                "UV_PYTHON_PREFERENCE=only-managed",
                "X_SKIP_DOWNLOAD=1",
                "npm_config_legacy_peer_deps=1",
            ]
        );
        let none = [
            "UV_CACHE_DIR=/home/me/.cache",
            "npm_config_prefix=/usr",
            "UV_PUBLISH_TOKEN=hunter2",
            "NPM_CONFIG__AUTH=hunter2",
            "UV_INDEX=https://me:hunter2@x/",
            "UV_INDEX=https://x/ https://me:hunter2@y/",
            "PIP_EXTRA_INDEX_URL=https://x/ https://ghp_0123456789abcdefABCD@y/",
            "NPM_CONFIG_HEADER=Bearer hunter2hunter2",
            "PUPPETEER_SKIP_DOWNLOAD=${PUPPETEER_SKIP_DOWNLOAD}",
            "PIP_X=a\nb",
        ];
        assert_eq!(of(&none), Vec::<String>::new());
    }
}
