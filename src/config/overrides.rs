//! One layer of a server's settings: `[defaults]`, a server's own table, or the flags. A layer holds only its changes.

use std::fmt;

use super::error::ConfigError;
use super::reader::Section;
use super::settings::Settings;
use super::settings::definition::{Change, Setting};

/// What a layer changes, in the order of the table.
#[derive(Clone, Default)]
pub struct Overrides(Vec<(&'static str, Change)>);

/// Values may be credentials: the keys alone are shown.
impl fmt::Debug for Overrides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.iter().map(|(key, _)| key)).finish()
    }
}

impl Overrides {
    pub(super) fn read(section: &mut Section<'_>, table: &[Setting]) -> Result<Self, ConfigError> {
        let mut changes = Vec::new();
        for setting in table {
            changes.extend(setting.read(section)?.map(|change| (setting.key, change)));
        }
        Ok(Self(changes))
    }

    /// Adds what `texts` say of a setting, as an option has them.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn set(&mut self, setting: &Setting, texts: &[&str]) -> Result<(), String> {
        self.0.push((setting.key, setting.parse(texts)?));
        Ok(())
    }

    /// Whether this layer says something of a key.
    pub fn says(&self, key: &str) -> bool {
        self.0.iter().any(|(said, _)| *said == key)
    }

    pub(super) fn apply(&self, settings: &mut Settings) {
        self.0.iter().for_each(|(_, change)| change(settings));
    }

    /// The settings, with what these change.
    #[must_use]
    pub fn over(&self, settings: &Settings) -> Settings {
        let mut settings = settings.clone();
        self.apply(&mut settings);
        settings
    }

    /// The settings with this layer alone.
    pub fn on_the_defaults(&self) -> Settings {
        self.over(&Settings::default())
    }
}
