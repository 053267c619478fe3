//! The flags that `uv run` and `uvx` have in common: how packages are found and installed.

use super::flags::Flag;

pub(super) const LOCAL: &str = "a container has none of this machine's folders";
/// What to do instead of a file or a folder of this machine.
pub(super) const BY_NAME: &str = "name packages with `--with`, and variables in `env`";
pub(super) const ONCE: &str =
    "what is baked once is used from then on; `berth bake --update` looks for newer versions";

/// What such a flag means; `None` where it is one command's own.
pub(super) fn flag<M>(name: &str) -> Option<Flag<M>> {
    const INDEX: &str = "where packages come from holds for all servers";
    Some(match name {
        "-q"
        | "--quiet"
        | "-v"
        | "--verbose"
        | "--no-progress"
        | "--isolated"
        | "--native-tls"
        | "--system-certs"
        | "--no-config"
        | "--no-python-downloads"
        | "--managed-python"
        | "--no-env-file" => Flag::Idle,
        "--color" | "--cache-dir" | "--python-preference" | "--link-mode" => Flag::IdleValue,
        "--refresh" | "-n" | "--no-cache" | "-U" | "--upgrade" | "--reinstall" => Flag::Noted(ONCE),
        "--refresh-package" | "-P" | "--upgrade-package" => Flag::NotedValue(ONCE),
        "--prerelease" => Flag::NotedValue(
            "what is baked has no pre-releases unless they are named, as in `PACKAGE==1.0rc1`",
        ),
        "--resolution" | "--fork-strategy" | "--exclude-newer" => {
            Flag::NotedValue("the newest versions that fit are baked; name others, as in `PACKAGE==1.0`")
        }
        "--torch-backend" => Flag::NotedValue("all packages come from the index of [bake]"),
        "--with-editable" | "--with-requirements" | "--config-file" | "--env-file" => {
            Flag::Refused(LOCAL, BY_NAME)
        }
        "-i"
        | "--index"
        | "--index-url"
        | "--default-index"
        | "--extra-index-url"
        | "-f"
        | "--find-links"
        | "--index-strategy"
        | "--keyring-provider"
        | "--allow-insecure-host" => Flag::Refused(INDEX, "set `python_index` or `ca` in [bake]"),
        _ => return None,
    })
}
