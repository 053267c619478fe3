//! Where berth's files are. Only paths: nothing here reads or makes a file.

use std::path::{Path, PathBuf};

use super::ConfigError;
use crate::values::Lookup;

/// The places of berth's files.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Home {
    /// The default configuration file.
    pub config_file: PathBuf,
    /// The certificates of the daemon that `berth up` makes, and of its clients.
    pub certs: PathBuf,
    /// Histories, locks and notes: nothing here is needed to be safe.
    pub state: PathBuf,
    /// The person's own folder, for `~/`.
    user: Option<PathBuf>,
}

impl Home {
    /// `BERTH_HOME` moves everything; else the folders of the XDG base directory specification, with its
    /// defaults under `HOME`.
    pub fn from_env(lookup: Lookup) -> Result<Self, ConfigError> {
        let set = |name: &str| lookup(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let user = set("HOME").filter(|path| path.is_absolute());
        if let Some(home) = set("BERTH_HOME") {
            // Each client starts berth in another folder: a relative one would be another home for each.
            if !home.is_absolute() {
                let message = format!("BERTH_HOME must be an absolute path, not `{}`", home.display());
                return Err(ConfigError::new(message));
            }
            let config_file = home.join("berth.toml");
            return Ok(Self { config_file, certs: home.join("certs"), state: home.join("state"), user });
        }
        // The specification wants relative paths in these variables ignored.
        let xdg = |name: &str, default: &str| {
            set(name)
                .filter(|path| path.is_absolute())
                .or_else(|| user.as_ref().map(|user| user.join(default)))
                .map(|base| base.join("berth"))
                .ok_or_else(|| {
                    ConfigError::new(format!("none of BERTH_HOME, HOME and {name} is an absolute path"))
                        .with_hint("set HOME for the process that starts berth")
                })
        };
        let config = xdg("XDG_CONFIG_HOME", ".config")?;
        let data = xdg("XDG_DATA_HOME", ".local/share")?;
        Ok(Self {
            config_file: config.join("berth.toml"),
            certs: data.join("certs"),
            state: data.join("state"),
            user,
        })
    }

    /// The person's own folder.
    pub(super) fn user(&self) -> Option<&Path> {
        self.user.as_deref()
    }

    /// A path as a configuration file writes it: `~/` is the person's folder, a relative one starts at the
    /// file's own folder.
    pub(super) fn resolve(&self, path: &Path, file: &Path) -> PathBuf {
        if let (Ok(rest), Some(user)) = (path.strip_prefix("~"), &self.user) {
            return user.join(rest);
        }
        let folder = file.parent().unwrap_or(Path::new(""));
        let resolved = folder.join(path);
        // Fails for an empty path or a lost working folder alone; whoever opens the path will say so.
        std::path::absolute(&resolved).unwrap_or(resolved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(env: &[(&str, &str)]) -> Result<Home, ConfigError> {
        Home::from_env(&|name| env.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned()))
    }

    fn paths(env: &[(&str, &str)]) -> [String; 3] {
        let home = home(env).unwrap();
        [home.config_file, home.certs, home.state].map(|path| path.to_str().unwrap().to_owned())
    }

    #[test]
    fn berth_home_moves_everything() {
        let env = [("BERTH_HOME", "/b"), ("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "/d")];
        assert_eq!(paths(&env), ["/b/berth.toml", "/b/certs", "/b/state"]);
        assert_eq!(paths(&env[..1]), ["/b/berth.toml", "/b/certs", "/b/state"]);
    }

    #[test]
    fn xdg_folders_come_before_those_under_home() {
        let env = [("HOME", "/h"), ("XDG_CONFIG_HOME", "/c"), ("XDG_DATA_HOME", "/d")];
        assert_eq!(paths(&env), ["/c/berth/berth.toml", "/d/berth/certs", "/d/berth/state"]);
        assert_eq!(paths(&env[1..]), ["/c/berth/berth.toml", "/d/berth/certs", "/d/berth/state"]);
    }

    #[test]
    fn without_xdg_they_are_under_home() {
        let expected =
            ["/h/.config/berth/berth.toml", "/h/.local/share/berth/certs", "/h/.local/share/berth/state"];
        assert_eq!(paths(&[("HOME", "/h")]), expected);
        // Empty is unset, and a relative XDG folder is ignored.
        let env = [("HOME", "/h"), ("BERTH_HOME", ""), ("XDG_CONFIG_HOME", ""), ("XDG_DATA_HOME", "rel")];
        assert_eq!(paths(&env), expected);
    }

    #[test]
    fn no_home_at_all_is_an_error() {
        assert_eq!(
            home(&[]).unwrap_err().to_string(),
            "none of BERTH_HOME, HOME and XDG_CONFIG_HOME is an absolute path; \
             set HOME for the process that starts berth"
        );
        assert_eq!(
            home(&[("BERTH_HOME", "x/y"), ("HOME", "/h")]).unwrap_err().to_string(),
            "BERTH_HOME must be an absolute path, not `x/y`"
        );
    }

    #[test]
    fn paths_in_the_file_start_at_the_file_or_at_the_persons_folder() {
        let home = home(&[("HOME", "/h")]).unwrap();
        let resolve = |path: &str| home.resolve(Path::new(path), Path::new("/etc/berth/b.toml"));
        assert_eq!(resolve("/certs"), Path::new("/certs"));
        assert_eq!(resolve("certs"), Path::new("/etc/berth/certs"));
        assert_eq!(resolve("~/certs"), Path::new("/h/certs"));
        assert!(home.resolve(Path::new("certs"), Path::new("b.toml")).is_absolute());
    }
}
