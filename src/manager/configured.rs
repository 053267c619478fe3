//! `berth.toml` as it is now, for all parts of a manager. The file is read again when it has changed.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use mcp_berth::config::{Config, Home};
use mcp_berth::dind::place;

/// A file that was written later than this may be written again in the same tick of its clock.
const SETTLED: Duration = Duration::from_secs(1);

/// What the file says.
#[derive(Debug, Clone)]
pub(crate) struct Read {
    /// Or its mistake.
    pub(crate) all: Result<Arc<Config>, String>,
    /// As far as the daemon needs it: a mistake in a server must not keep a person from ending sessions.
    pub(crate) of_daemon: Result<Arc<Config>, String>,
}

/// The files that the configuration is made of.
#[derive(Debug)]
pub(crate) struct Configured {
    home: Home,
    /// The file that `--config` named.
    file: Option<PathBuf>,
    last: Mutex<Option<([Stamp; 2], Read)>>,
}

/// What tells a file from the same one before a change. `None`: there is none.
type Stamp = Option<(u64, u64, SystemTime)>;

impl Configured {
    pub(crate) fn new(home: Home, file: Option<PathBuf>) -> Self {
        Self { home, file, last: Mutex::default() }
    }

    /// The file's place, whether it is there or not.
    pub(crate) fn path(&self) -> &Path {
        self.file.as_deref().unwrap_or(&self.home.config_file)
    }

    /// May wait for the disk.
    pub(crate) fn now(&self) -> Read {
        let stamps = [stamp(self.path()), stamp(&place::note(&self.home))];
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, read)) = &*last
            && *of == stamps
        {
            return read.clone();
        }
        let read = self.read();
        let is_settled = |stamp: &Stamp| {
            stamp.is_none_or(|(.., written)| written.elapsed().is_ok_and(|elapsed| elapsed > SETTLED))
        };
        *last = stamps.iter().all(is_settled).then(|| (stamps, read.clone()));
        read
    }

    fn read(&self) -> Read {
        let recalled = |mut config: Config| {
            place::recall(&mut config, &self.home);
            Arc::new(config)
        };
        match Config::load(&self.home, self.file.as_deref()).map(recalled) {
            Ok(config) => Read { all: Ok(Arc::clone(&config)), of_daemon: Ok(config) },
            Err(error) => {
                let error = error.to_string();
                let of_daemon = Config::load_dind(&self.home, self.file.as_deref()).map(recalled);
                Read { all: Err(error.clone()), of_daemon: of_daemon.map_err(|_| error) }
            }
        }
    }
}

fn stamp(path: &Path) -> Stamp {
    let metadata = path.metadata().ok()?;
    Some((metadata.ino(), metadata.len(), metadata.modified().ok()?))
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn write(path: &Path, text: &str, age: Duration) {
        std::fs::write(path, text).unwrap();
        File::options().write(true).open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
    }

    #[test]
    fn the_file_is_read_again_when_it_has_changed() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_str().unwrap().to_owned();
        let home = Home::from_env(&|name| (name == "BERTH_HOME").then(|| place.clone())).unwrap();
        let path = home.config_file.clone();
        let configured = Configured::new(home, None);
        let limit = || configured.now().all.map(|config| config.limits.standby);
        assert_eq!(limit(), Ok(None), "there is no file");
        write(&path, "[limits]\nstandby = 3\n", Duration::from_mins(2));
        assert_eq!(limit(), Ok(Some(3)));
        let (one, other) = (configured.now().all.unwrap(), configured.now().all.unwrap());
        assert!(Arc::ptr_eq(&one, &other), "nothing has changed");
        write(&path, "[limits]\nstandby = 4\n", Duration::from_mins(1));
        assert_eq!(limit(), Ok(Some(4)));
        // Twice within one tick.
        write(&path, "[limits]\nstandby = 5\n", Duration::ZERO);
        let written = path.metadata().unwrap().modified().unwrap();
        assert_eq!(limit(), Ok(Some(5)));
        std::fs::write(&path, "[limits]\nstandby = 6\n").unwrap();
        File::options().write(true).open(&path).unwrap().set_modified(written).unwrap();
        assert_eq!(limit(), Ok(Some(6)));
        write(&path, "[dind]\nport = 1234\n[nonsense]\n", Duration::from_mins(1));
        let read = configured.now();
        assert!(read.all.unwrap_err().contains("nonsense"));
        assert!(read.of_daemon.is_ok(), "the daemon's part is right");
    }
}
