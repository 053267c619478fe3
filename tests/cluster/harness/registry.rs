//! The cluster's registry, and images in it that are like one of the engine's but for what they say of themselves.

use std::process::Stdio;

use super::machine::{bounded, script};

/// Of this machine's and each node's loopback.
pub(crate) struct Registry(String);

impl Registry {
    pub(crate) fn of_the_cluster() -> Self {
        Self(script(&["registry"]).trim_end().to_owned())
    }

    pub(crate) fn address(&self) -> &str {
        &self.0
    }

    /// Puts an image there; each of `changes` is a line of a Dockerfile. Its reference.
    pub(crate) fn put(&self, name: &str, base: &str, changes: &[&str]) -> String {
        let image = format!("{}/{name}", self.0);
        let _local = Local::new(&image, base, changes);
        docker(&["push", "--quiet", &image]);
        image
    }
}

/// An image of the engine's, for as long as this lives.
pub(crate) struct Local(String);

impl Local {
    pub(crate) fn new(image: &str, base: &str, changes: &[&str]) -> Self {
        let container = docker(&["create", base]);
        let changes = changes.iter().flat_map(|change| ["--change", change]);
        docker(&[&["commit"], changes.collect::<Vec<_>>().as_slice(), &[&container, image]].concat());
        docker(&["rm", &container]);
        Self(image.to_owned())
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let _ = bounded("docker").args(["rmi", &self.0]).stdout(Stdio::null()).status();
    }
}

/// What the docker CLI says.
fn docker(args: &[&str]) -> String {
    let output = bounded("docker").args(args).stdin(Stdio::null()).output().expect("the docker CLI runs");
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}
