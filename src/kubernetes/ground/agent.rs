//! berth itself for agents that run in the cluster: an image with nothing else in it, and what brings it into other pods.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use mcp_berth::config::Config;
use mcp_berth::failure::{Code, Failure};

use super::elf::is_static;
use super::image::{self, Image};

/// What a session in a cluster takes: a person's berth becomes the second one.
const PROGRAMS: [&str; 2] = ["berth", "berth-kubernetes"];
const BUILD: &str = "compile a static one: RUSTFLAGS='-C target-feature=+crt-static' cargo build --release \
                     --target x86_64-unknown-linux-gnu";

/// Writes the image of the programs that are running.
pub(super) fn write_image(config: &Config, output: Option<&Path>) -> anyhow::Result<()> {
    let read = |(name, path): (&'static str, PathBuf)| {
        let bytes = fs::read(&path).map_err(|error| missing(&path, &error))?;
        if !is_static(&bytes) {
            return Err(Failure {
                code: Code::Configuration,
                text: format!(
                    "`{}` is linked to libraries of this machine: it does not run in an image of its own",
                    path.display()
                ),
                next: Some(BUILD.to_owned()),
            });
        }
        Ok((name, bytes))
    };
    let programs = own()?.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let programs: Vec<(&str, &[u8])> = programs.iter().map(|(name, bytes)| (*name, &**bytes)).collect();
    let image = Image {
        setting: "agent_image",
        reference: config.kubernetes.agent_image(),
        title: "berth",
        description: "runs the sessions of agents in a cluster",
        programs: &programs,
    };
    image::write(&image, "berth kubernetes image --agent", output)
}

/// Copies the programs into a folder. Who runs one of them meanwhile keeps it.
pub(super) fn install(folder: &Path) -> anyhow::Result<()> {
    for (name, path) in own()? {
        let (new, place) = (folder.join(format!(".{name}")), folder.join(name));
        let copied = fs::copy(&path, &new)
            .and_then(|_| fs::set_permissions(&new, fs::Permissions::from_mode(0o555)))
            .and_then(|()| fs::rename(&new, &place));
        copied.map_err(|error| Failure {
            code: Code::Unavailable,
            text: format!("cannot copy `{}` to `{}`: {error}", path.display(), place.display()),
            next: Some("name a folder that may be written to, such as a mounted volume".to_owned()),
        })?;
    }
    Ok(())
}

/// They lie beside each other.
fn own() -> io::Result<[(&'static str, PathBuf); 2]> {
    let program = env::current_exe()?;
    Ok(PROGRAMS.map(|name| (name, program.with_file_name(name))))
}

fn missing(path: &Path, error: &io::Error) -> Failure {
    Failure {
        code: Code::Unavailable,
        text: format!("cannot read `{}`: {error}", path.display()),
        next: Some("install berth whole: `cargo install` gives all its programs".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use mcp_berth::config::Home;
    use mcp_berth::dock::keeper::KEEPER;

    use super::*;

    #[test]
    fn a_program_that_needs_a_loader_is_told_from_one_that_does_not() {
        assert!(is_static(KEEPER));
        let this = fs::read("/proc/self/exe").unwrap();
        assert_eq!(is_static(&this), cfg!(target_feature = "crt-static"));
        assert!(!is_static(b"#!/bin/sh") && !is_static(&KEEPER[..80]) && !is_static(b""));
    }

    #[test]
    fn programs_that_are_not_there_are_named_with_what_brings_them() {
        // Beside the tests' own program lies neither.
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let config = Config::parse("", Path::new("b.toml"), &home).unwrap();
        let error = write_image(&config, Some(Path::new("/nowhere/x"))).unwrap_err();
        let failure = error.downcast::<Failure>().unwrap();
        assert!(failure.text.contains("/berth`") && failure.next.is_some(), "{failure}");
        let folder = tempfile::tempdir().unwrap();
        assert!(install(folder.path()).unwrap_err().to_string().contains("cannot copy"));
    }
}
