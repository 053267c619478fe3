//! The container of an installation: its make, its output, and the image that it becomes.

use std::fmt::Write;

use serde::Deserialize;
use serde_json::{Value, json};

use super::{BakeError, LABEL_BAKE, LABEL_INTEGRITY, LABEL_PACKAGE, LABEL_PACKAGE_VERSION, LABEL_PROGRAM};
use crate::config::Recipe;
use crate::dock::docker::{DockerError, Engine};
use crate::dock::labels::{self, LABEL_CREATED, LABEL_VERSION};
use crate::docker_cli::Proxies;
use crate::runner::is_version;

/// Nobody's own: neither the installation nor the server needs more, and the image's own files are not theirs.
const USER: &str = "65534:65534";
pub(super) const UID: u64 = 65534;

/// Everything that is installed, and while it is being installed what is needed for it.
const FOLDER: &str = "opt/berth";
const CA: &str = "/opt/berth/ca.pem";

/// Processes of an installation.
const PIDS: u32 = 512;

/// What the installation says last where it has succeeded.
const RESULT: &str = "berth-baked ";

/// An installation that ended so long ago (by the daemon's clock, in seconds) was meant for nobody who still comes.
const ABANDONED: i64 = 600;

/// The body of `POST /containers/create`.
pub(super) fn create_body(recipe: &Recipe, image: &str) -> Value {
    let (_, arguments) = recipe.script();
    let bake = &recipe.bake;
    json!({
        "Image": image,
        "Entrypoint": ["/bin/sh", format!("/{FOLDER}/tmp/install.sh")],
        "Cmd": arguments,
        "User": USER,
        // Not that of sessions: what has ended here is a result, and nobody's rubbish.
        "Labels": labels::of_container(&[(LABEL_BAKE, &recipe.image())]),
        "HostConfig": {
            "CapDrop": ["ALL"],
            "SecurityOpt": ["no-new-privileges=true"],
            "Memory": bake.memory,
            "MemorySwap": bake.memory,
            "NanoCpus": bake.nano_cpus,
            "PidsLimit": PIDS,
            "NetworkMode": "bridge",
            "LogConfig": { "Type": "json-file", "Config": { "max-size": "1m", "max-file": "1" } },
        },
    })
}

/// The body for the container that adds tools to a base image: as root, and with what a distribution's installer needs.
pub(super) fn tools_body(recipe: &Recipe, base: &str, image: &str, tools: &str) -> Value {
    let mut body = create_body(recipe, base);
    body["Cmd"] = json!([tools]);
    body["User"] = json!("0:0");
    body["Labels"] = json!(labels::of_container(&[(LABEL_BAKE, image)]));
    body["HostConfig"]["CapAdd"] = json!(["CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "SETGID", "SETUID"]);
    body
}

/// What is unpacked in that container. Nothing of the package's or the server's is told to root.
pub(super) fn tools_archive(recipe: &Recipe, proxies: &Proxies) -> Result<Vec<u8>, BakeError> {
    packed(recipe, include_str!("tools.sh"), recipe.way_out(proxies), &[])
}

/// What is unpacked at the root of the container before it starts. The temporary folder is gone from the image.
pub(super) fn archive(recipe: &Recipe, proxies: &Proxies) -> Result<Vec<u8>, BakeError> {
    let files: Vec<_> = recipe.files.iter().map(|(name, text)| (*name, text.as_slice())).collect();
    packed(recipe, recipe.script().0, recipe.env(proxies), &files)
}

fn packed(
    recipe: &Recipe,
    script: &str,
    mut env: String,
    files: &[(&str, &[u8])],
) -> Result<Vec<u8>, BakeError> {
    let mut ca = None;
    if let Some(path) = &recipe.bake.ca {
        let failed =
            |source| BakeError::Ca { package: recipe.package.main().to_owned(), path: path.clone(), source };
        ca = Some(std::fs::read(path).map_err(failed)?);
        for name in CA_VARIABLES {
            let _ = writeln!(env, "export {name}={CA}");
        }
    }
    let packed = pack(script, &env, files, ca.as_deref()).map_err(|error| BakeError::Docker {
        package: recipe.package.main().to_owned(),
        source: DockerError::broken("pack", "the installation", error),
    })?;
    Ok(packed)
}

/// Node's, OpenSSL's with Python and uv, and that of Python's `requests`.
const CA_VARIABLES: [&str; 3] = ["NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"];

fn pack(script: &str, env: &str, files: &[(&str, &[u8])], ca: Option<&[u8]>) -> std::io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut entry = |kind, path: &str, mode, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        header.set_uid(UID);
        header.set_gid(UID);
        header.set_mtime(0);
        tar.append_data(&mut header, path, content)
    };
    entry(tar::EntryType::Directory, &format!("{FOLDER}/"), 0o755, &[])?;
    entry(tar::EntryType::Directory, &format!("{FOLDER}/tmp/"), 0o700, &[])?;
    entry(tar::EntryType::Regular, &format!("{FOLDER}/tmp/install.sh"), 0o600, script.as_bytes())?;
    entry(tar::EntryType::Regular, &format!("{FOLDER}/tmp/env"), 0o600, env.as_bytes())?;
    if !files.is_empty() {
        entry(tar::EntryType::Directory, &format!("{FOLDER}/tmp/project/"), 0o700, &[])?;
    }
    for (name, text) in files {
        entry(tar::EntryType::Regular, &format!("{FOLDER}/tmp/project/{name}"), 0o600, text)?;
    }
    if let Some(ca) = ca {
        entry(tar::EntryType::Regular, &format!("{FOLDER}/ca.pem"), 0o644, ca)?;
    }
    tar.into_inner()
}

/// What an installation has made.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Installed {
    program: String,
    version: String,
    pub(super) integrity: String,
}

impl Installed {
    /// The last word of the log, if it is one of success.
    pub(super) fn find(log: &str) -> Option<Self> {
        let line = log.lines().rev().find_map(|line| line.trim().strip_prefix(RESULT))?;
        serde_json::from_str(line)
            .ok()
            .filter(|found: &Self| found.program.starts_with(&format!("/{FOLDER}/")))
    }

    /// What of it is none, if anything: the scripts of a package may have said it. Either may be unknown.
    pub(super) fn odd(&self) -> Option<&'static str> {
        let is_digest = self.integrity.len() <= 200
            && self.integrity.chars().all(|c| c.is_ascii_alphanumeric() || "+/=:_-".contains(c));
        if !self.version.is_empty() && !is_version(&self.version) {
            return Some("version");
        }
        (!is_digest).then_some("digest")
    }

    /// The image's configuration; the base image's own variables stay.
    pub(super) fn config(&self, recipe: &Recipe) -> Value {
        // The only folder that is always writable.
        let mut env = vec!["HOME=/tmp".to_owned()];
        if recipe.bake.ca.is_some() {
            env.extend(CA_VARIABLES.map(|name| format!("{name}={CA}")));
        }
        json!({
            "Entrypoint": [self.program],
            "Cmd": [],
            "Env": env,
            "User": USER,
            "Labels": {
                LABEL_PACKAGE: recipe.package.main(),
                LABEL_PACKAGE_VERSION: self.version,
                LABEL_INTEGRITY: self.integrity,
                LABEL_PROGRAM: self.program,
                LABEL_VERSION: env!("CARGO_PKG_VERSION"),
                LABEL_CREATED: jiff::Timestamp::now().to_string(),
            },
        })
    }
}

/// Why an installation failed, from what it said last, as one line.
pub(super) fn last_words(log: &str, exit_code: i64) -> String {
    // npm puts its name before each line, and says a good deal that holds for any failure.
    let bare = |line: &'_ str| -> String {
        let line = line.trim();
        let line =
            ["npm error", "npm ERR!"].iter().find_map(|prefix| line.strip_prefix(prefix)).unwrap_or(line);
        line.trim().trim_start_matches("404").split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let noise = |line: &String| {
        let sayings = [
            "complete log of this run",
            "Log files were not written",
            "/_logs/",
            "you can also install from a",
            "tarball, folder,",
        ];
        line.is_empty() || sayings.iter().any(|saying| line.contains(saying))
    };
    let mut lines: Vec<String> = log.lines().map(bare).filter(|line| !noise(line)).collect();
    lines.dedup();
    if lines.is_empty() {
        return format!("the installation ended with exit code {exit_code}, and said nothing");
    }
    let last = lines.len().saturating_sub(6);
    // What tells the cause may stand long before.
    let first = super::Cause::of(log).line(log).map(bare).filter(|line| !lines[last..].contains(line));
    let first = first.map(|line| line.chars().take(300).collect::<String>() + " | … | ").unwrap_or_default();
    let text = first + &lines[last..].join(" | ");
    text.chars().filter(|c| !c.is_control()).take(1200).collect()
}

/// Removes installations that ended, or never began, and that nobody has come for; gives their names.
pub async fn sweep(engine: &Engine) -> Result<Vec<String>, DockerError> {
    let mut rows = engine.list(LABEL_BAKE).await?;
    rows.retain(|row| row.stopped && row.labels.get(LABEL_BAKE).is_some_and(|image| !image.is_empty()));
    if rows.is_empty() {
        return Ok(Vec::new());
    }
    let now = engine.now().await?;
    let mut removed = Vec::new();
    for row in rows.into_iter().filter(|row| now - row.created > ABANDONED) {
        if engine.remove(&row.id).await? {
            removed.push(row.name);
        }
    }
    Ok(removed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Bake;
    use crate::failure::Explain;
    use crate::runner::{Runner, parse_words};

    fn recipe() -> Recipe {
        let package = parse_words(Runner::Npx, &["@a/b@1".to_owned()]).unwrap();
        let bake = Bake { npm_registry: Some("https://me:hunter2@r/".to_owned()), ..Bake::default() };
        Recipe::new(&package, &bake)
    }

    #[test]
    fn an_installation_has_no_privileges_and_its_container_no_credentials() {
        let body = create_body(&recipe(), "base");
        let host = &body["HostConfig"];
        assert_eq!(host["CapDrop"], json!(["ALL"]));
        assert_eq!(host["SecurityOpt"], json!(["no-new-privileges=true"]));
        assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(2_u64 << 30), &json!(2_u64 << 30)));
        assert_eq!((&host["NanoCpus"], &host["PidsLimit"]), (&json!(1_000_000_000), &json!(512)));
        assert!(host["Mounts"].is_null() && host["Binds"].is_null());
        assert_eq!(body["User"], "65534:65534");
        assert!(!body.to_string().contains("hunter2"), "it would be part of the image");
        assert_eq!(body["Cmd"], json!(["", "@a/b@1"]));
    }

    #[test]
    fn credentials_and_scripts_are_in_the_folder_that_goes() {
        let packed = archive(&recipe(), &Proxies::default()).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            std::io::Read::read_to_string(&mut entry, &mut text).unwrap();
            assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (UID, UID));
            assert!(!text.contains("hunter2") || path == "opt/berth/tmp/env", "{path}");
            found.push(path);
        }
        let expected = ["opt/berth/", "opt/berth/tmp/", "opt/berth/tmp/install.sh", "opt/berth/tmp/env"];
        assert_eq!(found, expected);
        for script in [include_str!("npx.sh"), include_str!("uvx.sh"), include_str!("uv.sh")] {
            assert!(script.contains(". \"$home/tmp/env\""), "{script}");
            assert!(
                script.contains("rmSync(`${home}/tmp`") || script.contains("rmtree(f'{home}/tmp'"),
                "{script}"
            );
        }
    }

    #[test]
    fn a_missing_bundle_is_named() {
        let mut recipe = recipe();
        recipe.bake.ca = Some("/nowhere/ca.pem".into());
        let error = archive(&recipe, &Proxies::default()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot bake `@a/b@1`: cannot read `/nowhere/ca.pem`, the `ca` of [bake]"
        );
        assert_eq!(error.next().as_deref(), Some("correct `ca` in [bake]"));
    }

    #[test]
    fn the_last_word_is_the_result() {
        let word = |program: &str| {
            format!("{RESULT}{}", json!({"program": program, "version": "1", "integrity": "x"}))
        };
        let log = format!("{}\nadded 1 package\n{}\n", word("/opt/berth/forged"), word("/opt/berth/bin/a"));
        let found = Installed::find(&log).unwrap();
        assert_eq!(found.program, "/opt/berth/bin/a");
        assert_eq!(Installed::find(&word("/bin/sh")), None);
        assert_eq!(Installed::find("added 1 package"), None);
        assert_eq!(found.odd(), None);
        let odd = |version: &str, integrity: &str| {
            let said = json!({"program": "/opt/berth/a", "version": version, "integrity": integrity});
            Installed::find(&format!("{RESULT}{said}")).unwrap().odd()
        };
        assert_eq!(odd("1.2.3-rc.1", "sha512-a+b/c="), None);
        assert_eq!(odd("", ""), None);
        assert_eq!(odd("1 --registry=x", "x"), Some("version"));
        assert_eq!(odd("1", "x\nnpx = 1"), Some("digest"));
        assert_eq!(odd("1", &"x".repeat(201)), Some("digest"));
        let mut recipe = recipe();
        assert_eq!(found.config(&recipe)["Env"], json!(["HOME=/tmp"]));
        recipe.bake.ca = Some("/x".into());
        assert_eq!(found.config(&recipe)["Env"].as_array().unwrap().len(), 4);
        assert!(!found.config(&recipe).to_string().contains("hunter2"));
    }

    #[test]
    fn a_failure_is_told_by_its_last_lines() {
        let log = "1\n2\n3\nnpm error code E404\nnpm error\nnpm error 404  '@a/b@1' is not in this registry.\n\
                   npm error 404\nnpm ERR! A complete log of this run can be found in: /x\n";
        assert_eq!(last_words(log, 1), "1 | 2 | 3 | code E404 | '@a/b@1' is not in this registry.");
        assert_eq!(last_words("\n", 3), "the installation ended with exit code 3, and said nothing");
        let failed = |log: &str| BakeError::failed("a", log, last_words(log, 1));
        let error = failed(log);
        assert_eq!(error.code(), crate::failure::Code::Configuration);
        assert_eq!(error.next().as_deref(), Some("correct the package's name, version or program"));
        let error = failed("ECONNREFUSED");
        assert_eq!(error.code(), crate::failure::Code::Unavailable);
        let verbose =
            format!("error: command 'gcc' failed: No such file\n{}", "hint: a\nhint: b\n".repeat(20));
        let said = last_words(&verbose, 1);
        assert!(said.starts_with("error: command 'gcc' failed: No such file | … | hint: "), "{said}");
    }

    #[test]
    fn a_project_brings_the_files_of_its_packages() {
        let mut recipe = recipe();
        recipe.files.insert("uv.lock", b"version = 1".to_vec());
        let packed = archive(&recipe, &Proxies::default()).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let paths: Vec<String> = tar
            .entries()
            .unwrap()
            .map(|entry| entry.unwrap().path().unwrap().display().to_string())
            .collect();
        assert!(paths.contains(&"opt/berth/tmp/project/uv.lock".to_owned()), "{paths:?}");
    }

    #[test]
    fn tools_are_added_by_root_and_without_a_credential() {
        let body = tools_body(&recipe(), "base", "image", "git");
        assert_eq!((&body["User"], &body["Cmd"]), (&json!("0:0"), &json!(["git"])));
        assert_eq!(body["HostConfig"]["CapDrop"], json!(["ALL"]));
        assert!(!body["HostConfig"]["CapAdd"].to_string().contains("SYS_"), "{body}");
        assert!(!body.to_string().contains("hunter2"));
    }

    #[test]
    fn roots_container_has_the_way_out_and_nothing_of_the_servers() {
        let bundle = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(bundle.path(), "bundle").unwrap();
        let mut recipe = recipe().with_env([("npm_config_x".to_owned(), "theirs".to_owned())].into());
        recipe.bake.ca = Some(bundle.path().to_owned());
        recipe.bake.proxy = Some("http://proxy:1".to_owned());
        recipe.bake.python_index = Some("https://me:hunter2@i/".to_owned());
        let packed = tools_archive(&recipe, &Proxies::default()).unwrap();
        let mut tar = tar::Archive::new(&packed[..]);
        let env =
            tar.entries().unwrap().map(Result::unwrap).find(|entry| entry.path().unwrap().ends_with("env"));
        let env = std::io::read_to_string(env.unwrap()).unwrap();
        assert!(env.contains("export HTTPS_PROXY='http://proxy:1'\n"), "{env}");
        assert!(env.contains("export SSL_CERT_FILE=/opt/berth/ca.pem\n"), "{env}");
        assert!(!env.contains("hunter2") && !env.contains("theirs"), "{env}");
    }
}
