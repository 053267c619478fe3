//! The arguments of `berth run`.

use std::path::PathBuf;

use clap::builder::ValueParser;
use clap::error::ErrorKind;
use clap::{Arg, ArgAction, ArgMatches, Args, Command, Error, FromArgMatches};

use crate::config::{DefaultValue, Opt, Overrides, Setting, Takes, every_setting};
use crate::values::Image;

#[derive(Debug, Args)]
pub struct RunArgs {
    /// A server of the configuration, or several in one session; or name an image with `--image`, or write a line such as
    /// `npx PACKAGE` behind `--`.
    #[arg(value_name = "SERVER", required_unless_present_any = ["image", "command", "profile"])]
    #[arg(conflicts_with_all = ["image", "profile"])]
    pub servers: Vec<String>,

    /// An image instead of a configured server.
    #[arg(long)]
    pub image: Option<Image>,

    /// The servers of a profile of the configuration, in one session.
    #[arg(long, value_name = "NAME", conflicts_with_all = ["image", "command"])]
    pub profile: Option<String>,

    /// What the client calls this entry: so many characters of its tools' full names are left to the servers.
    #[arg(long, value_name = "NAME")]
    pub entry: Option<String>,

    /// What the client is called, if not what it says itself.
    #[arg(long, value_name = "NAME")]
    pub client: Option<String>,

    /// Trace each message and each step of the start: to standard error, or as JSON lines to FILE.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    pub trace: Option<PathBuf>,

    /// Have the trace contain the messages' bodies, credentials redacted.
    #[arg(long, requires = "trace")]
    pub trace_bodies: bool,

    /// Print what would be created, and create nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// The command and its arguments, instead of the image's own; or, without SERVER, what starts the server today: `npx …`,
    /// `uvx …`, `docker run …`, `node FILE…`.
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<String>,

    #[command(flatten)]
    pub settings: SettingsArgs,
}

impl RunArgs {
    /// The configured server that is alone in its session.
    pub fn server(&self) -> Option<&str> {
        match self.servers.as_slice() {
            [server] => Some(server),
            _ => None,
        }
    }

    /// Whether several servers may share the session: then every tool's name has its server's before it.
    pub fn is_shared(&self) -> bool {
        self.profile.is_some() || self.servers.len() > 1
    }

    /// What clap cannot say: that one server may have a command and be shown, and several may not.
    ///
    /// # Errors
    /// As clap's own.
    pub fn check(&self) -> Result<(), Error> {
        if self.is_shared() && !self.command.is_empty() {
            let why = "several servers cannot have one COMMAND; name one server, or remove what stands behind `--`\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, why));
        }
        if self.is_shared() && self.dry_run {
            let why = "`--dry-run` shows the container of one server; name one, as in `berth run --dry-run SERVER`\n";
            return Err(Error::raw(ErrorKind::ArgumentConflict, why));
        }
        Ok(())
    }
}

/// The options that go before the configuration's values, made of the table of settings.
#[derive(Debug, Clone, Default)]
pub struct SettingsArgs(pub Overrides);

impl Args for SettingsArgs {
    fn augment_args(command: Command) -> Command {
        command.args(options(every_setting()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for SettingsArgs {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, Error> {
        given(every_setting(), matches).map(Self)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}

fn options(table: &'static [Setting]) -> impl Iterator<Item = Arg> {
    table.iter().filter_map(|setting| Some(option(setting, setting.option?)))
}

fn option(setting: &'static Setting, option: Opt) -> Arg {
    let arg = Arg::new(setting.key).long(option.long).help_heading(option.group).help(words(setting, option));
    let arg = match option.short {
        Some(short) => arg.short(short),
        None => arg,
    };
    let check = move |text: &str| setting.check(text).map(|()| text.to_owned());
    match option.takes {
        Takes::Nothing => arg.action(ArgAction::SetTrue),
        Takes::One(name) => arg.value_name(name).value_parser(ValueParser::new(check)),
        Takes::Many(name) => {
            arg.value_name(name).value_parser(ValueParser::new(check)).action(ArgAction::Append)
        }
    }
}

/// A sentence's beginning, and what holds where neither the option nor the configuration says anything.
fn words(setting: &Setting, option: Opt) -> String {
    let about = option.about.unwrap_or(setting.about);
    let mut chars = about.chars();
    let about: String = chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect();
    match setting.default {
        DefaultValue::Value(value) if option.takes != Takes::Nothing => {
            format!("{about} [default: {}]", value.trim_matches('"'))
        }
        DefaultValue::Words(words) if words != "none" && option.about.is_none() => {
            format!("{about} [default: {words}]")
        }
        _ => about,
    }
}

fn given(table: &'static [Setting], matches: &ArgMatches) -> Result<Overrides, Error> {
    let mut overrides = Overrides::default();
    for setting in table {
        let texts: Vec<&str> = match setting.option.map(|option| option.takes) {
            None => continue,
            Some(Takes::Nothing) if matches.get_flag(setting.key) => vec!["true"],
            Some(Takes::Nothing) => Vec::new(),
            Some(Takes::One(_) | Takes::Many(_)) => {
                matches.get_many::<String>(setting.key).into_iter().flatten().map(String::as_str).collect()
            }
        };
        if !texts.is_empty() {
            overrides.set(setting, &texts).map_err(|why| Error::raw(ErrorKind::ValueValidation, why))?;
        }
    }
    Ok(overrides)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::values::Pids;

    #[test]
    fn a_new_entry_is_an_option_with_its_words() {
        let setting =
            Setting::one::<Pids>("sailors", DefaultValue::Value("7"), "most sailors", |settings, sailors| {
                settings.pids = sailors.count();
            });
        let table: &'static [Setting] =
            Box::leak(Box::new([setting.option("sailors", Takes::One("N"), "Crew")]));
        let command = || Command::new("run").args(options(table));
        let help = command().render_help().to_string();
        assert!(help.contains("Crew:") && help.contains("--sailors <N>"), "{help}");
        assert!(help.contains("Most sailors [default: 7]"), "{help}");
        let matches = command().get_matches_from(["run", "--sailors", "9"]);
        assert_eq!(given(table, &matches).unwrap().on_the_defaults().pids, 9);
        let error = command().try_get_matches_from(["run", "--sailors", "none"]).unwrap_err().to_string();
        assert!(error.contains("for '--sailors <N>': expected "), "{error}");
    }
}
