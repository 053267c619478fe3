//! A setting: a key of the file, perhaps an option of `berth run`, and the change that its value makes.

use std::fmt;
use std::sync::Arc;

use crate::config::error::ConfigError;
use crate::config::reader::Section;
use crate::config::settings::Settings;
use crate::values::Value;

/// What a value of a setting does.
pub(in crate::config) type Change = Arc<dyn Fn(&mut Settings) + Send + Sync>;

type Read = Box<dyn Fn(&mut Section<'_>, &'static str) -> Result<Option<Change>, ConfigError> + Send + Sync>;
type Parse = Box<dyn Fn(&[&str]) -> Result<Change, String> + Send + Sync>;

/// What holds where no layer says anything.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DefaultValue {
    /// A value, as it would stand in the file.
    Value(&'static str),
    /// No value, in words.
    Words(&'static str),
}

impl fmt::Display for DefaultValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Value(text) | Self::Words(text)) = self;
        f.write_str(text)
    }
}

/// How often an option may stand on the command line, and whether it has a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// None: it is there or not.
    Nothing,
    /// One value, called so in the help.
    One(&'static str),
    /// The same, as often as wanted.
    Many(&'static str),
}

/// An option of `berth run`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt {
    pub long: &'static str,
    pub short: Option<char>,
    pub takes: Takes,
    /// The heading that it stands under.
    pub group: &'static str,
    /// What the help says, where that is not what the manual says of the key.
    pub about: Option<&'static str>,
}

/// One of the settings of a server.
pub struct Setting {
    pub key: &'static str,
    pub default: DefaultValue,
    /// In a line of the manual: begins in lower case, without a full stop.
    pub about: &'static str,
    pub option: Option<Opt>,
    read: Read,
    parse: Parse,
}

impl fmt::Debug for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setting").field("key", &self.key).finish_non_exhaustive()
    }
}

impl Setting {
    /// With a value of the kind `T`.
    pub(crate) fn one<T: Value + Clone + Send + Sync + 'static>(
        key: &'static str,
        default: DefaultValue,
        about: &'static str,
        set: fn(&mut Settings, T),
    ) -> Self {
        let change = move |value: T| -> Change { Arc::new(move |settings| set(settings, value.clone())) };
        Self::custom(
            key,
            default,
            about,
            move |section, key| Ok(section.take::<T>(key)?.map(change)),
            move |texts| {
                let [text] = texts else { return Err("expected one value".to_owned()) };
                // An option without a value says `true`.
                let bool = || text.parse().ok().and_then(T::from_bool);
                let value = T::from_text(text).or_else(|| T::from_number(text)).or_else(bool);
                value.map(change).ok_or_else(|| format!("expected {}", T::EXPECTED))
            },
        )
    }

    /// With a list of values of the kind `T`.
    pub(in crate::config) fn list<T: Value + Clone + Send + Sync + 'static>(
        key: &'static str,
        default: DefaultValue,
        about: &'static str,
        set: fn(&mut Settings, Vec<T>),
    ) -> Self {
        let change =
            move |values: Vec<T>| -> Change { Arc::new(move |settings| set(settings, values.clone())) };
        Self::custom(
            key,
            default,
            about,
            move |section, key| Ok(section.take_list::<T>(key)?.map(change)),
            move |texts| values(texts).map(change),
        )
    }

    /// With a value that is read in a way of its own.
    pub(in crate::config) fn custom(
        key: &'static str,
        default: DefaultValue,
        about: &'static str,
        read: impl Fn(&mut Section<'_>, &'static str) -> Result<Option<Change>, ConfigError>
        + Send
        + Sync
        + 'static,
        parse: impl Fn(&[&str]) -> Result<Change, String> + Send + Sync + 'static,
    ) -> Self {
        Self { key, default, about, option: None, read: Box::new(read), parse: Box::new(parse) }
    }

    /// Makes it an option of `berth run`, under `group`.
    #[must_use]
    pub(crate) fn option(mut self, long: &'static str, takes: Takes, group: &'static str) -> Self {
        self.option = Some(Opt { long, short: None, takes, group, about: None });
        self
    }

    #[must_use]
    pub(in crate::config) fn short(mut self, short: char) -> Self {
        self.option = self.option.map(|option| Opt { short: Some(short), ..option });
        self
    }

    /// What the option's help says instead of the key's words.
    #[must_use]
    pub(in crate::config) fn help(mut self, about: &'static str) -> Self {
        self.option = self.option.map(|option| Opt { about: Some(about), ..option });
        self
    }

    /// What the file says of it.
    pub(in crate::config) fn read(&self, section: &mut Section<'_>) -> Result<Option<Change>, ConfigError> {
        (self.read)(section, self.key)
    }

    /// What the command line's values mean.
    ///
    /// # Errors
    /// What was expected instead.
    pub(in crate::config) fn parse(&self, texts: &[&str]) -> Result<Change, String> {
        (self.parse)(texts)
    }

    /// Whether a text is a value of the option's.
    ///
    /// # Errors
    /// What is expected instead.
    pub fn check(&self, text: &str) -> Result<(), String> {
        self.parse(&[text]).map(drop)
    }
}

/// What an option's values are, each a text.
///
/// # Errors
/// What is expected instead.
pub(in crate::config) fn values<T: Value>(texts: &[&str]) -> Result<Vec<T>, String> {
    let values: Option<Vec<T>> = texts.iter().map(|text| T::from_text(text)).collect();
    values.ok_or_else(|| format!("expected {}", T::EXPECTED))
}
