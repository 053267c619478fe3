//! What a server's mounts need of `share`, and the line that gives it to them.

use std::path::{Path, PathBuf};

use crate::config::mount::in_client;
use crate::config::{Config, Server};
use crate::values::Lookup;

/// A mount whose source no shared folder holds yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unshared {
    /// As it is now, with the variables put in.
    pub source: String,
    /// What has to be shared for it.
    pub folder: PathBuf,
    /// Why that folder cannot be shared, where it cannot.
    pub obstacle: Option<String>,
}

impl Config {
    /// Those of `server`. A source whose variables are not set is none of them.
    pub fn unshared(&self, server: &Server, lookup: Lookup) -> Vec<Unshared> {
        let shares = match self.dind.find_engine(lookup) {
            Ok(engine) => self.dind.share.clone().without_socket(&engine.address),
            Err(_) => self.dind.share.clone(),
        };
        let present = shares.present();
        let home = lookup("HOME").map(PathBuf::from).filter(|home| home.is_absolute());
        let holds_home = |folder: &Path| home.as_ref().is_some_and(|home| home.starts_with(folder));
        let sources = server.settings.mounts.iter().filter_map(|mount| mount.expand(lookup).ok());
        let unshared = sources.filter_map(|source| {
            let path = PathBuf::from(in_client(&source)?);
            let path = std::fs::canonicalize(&path).unwrap_or(path);
            let is_shared = present.iter().any(|share| path.starts_with(share)) || shares.names(&path);
            (!is_shared).then(|| {
                let folder = shares.narrowest(&path, home.as_deref());
                let obstacle = shares.obstacle_of(&folder);
                let whole = || "it holds your whole home folder".to_owned();
                let obstacle = obstacle.or_else(|| holds_home(&folder).then(whole));
                Unshared { source, folder, obstacle }
            })
        });
        unshared.collect()
    }

    /// All that `share` would name, with these folders: the outermost alone where one holds another.
    pub fn shares_with(&self, folders: &[PathBuf]) -> Vec<String> {
        self.dind.share.written_with(folders)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Home;

    #[test]
    fn what_is_missing_is_shared_as_narrowly_as_can_be() {
        let folder = tempfile::tempdir().unwrap();
        let root = std::fs::canonicalize(folder.path()).unwrap();
        for name in ["shared/in", "a/b", "c", "me/.ssh"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        std::fs::write(root.join("c/file"), "").unwrap();
        for name in ["me/file.txt", "me/.ssh/known"] {
            std::fs::write(root.join(name), "").unwrap();
        }
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| "/b".to_owned())).unwrap();
        let at = |name: &str| root.join(name).display().to_string();
        let mounts: Vec<String> =
            ["shared/in", "a", "a/b", "c/file", "new", "no/x.json", "me", "me/file.txt", "me/.ssh/known"]
                .map(|name| format!("\"{}:/w/{name}\"", at(name)))
                .to_vec();
        let text = format!(
            "[dind]\nshare = [{:?}]\n[servers.a]\nimage = \"i\"\nmounts = [{}, \"${{NONE}}:/n\", \"/etc/x:/e\"]\n",
            at("shared"),
            mounts.join(", ")
        );
        let config = Config::parse(&text, Path::new("/c/berth.toml"), &home).unwrap();
        let me = at("me");
        let found =
            config.unshared(config.server("a").unwrap(), &|name| (name == "HOME").then(|| me.clone()));
        let (fit, unfit): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|unshared| unshared.obstacle.is_none());
        let folders: Vec<PathBuf> = fit.into_iter().map(|unshared| unshared.folder).collect();
        assert_eq!(
            folders,
            ["a", "a/b", "c", "new", "no", "me/file.txt", "me/.ssh/known"].map(|name| root.join(name))
        );
        let unfit: Vec<String> = unfit.into_iter().map(|unshared| unshared.source).collect();
        assert_eq!(unfit, [at("me"), "/etc/x".to_owned()]);
        let expected = ["shared", "a", "c", "new", "no", "me/file.txt", "me/.ssh/known"].map(at);
        assert_eq!(config.shares_with(&folders), expected);
    }
}
