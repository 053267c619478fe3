//! `network`: a word, or a table with the names that a server may reach.

use super::error::{ConfigError, Place};
use super::reader::Section;
use super::settings::Settings;
use super::settings::definition::{Change, DefaultValue, Setting, Takes};
use crate::values::{AllowedName, Network, Value};

const ABOUT: &str = "`egress` (out to the world, nothing in), `lan` (the local network, too), `none`, or the names that it may reach: \
     `{ allow = [\"api.example.org\"] }`; see [network](network.md)";

const OPTION: &str =
    "`egress` (out to the world, nothing in), `lan` (the local network, too), `none`, or `allow=NAME,…`";

pub(super) fn setting(group: &'static str) -> Setting {
    Setting::custom("network", DefaultValue::Value("\"egress\""), ABOUT, read, parse)
        .option("network", Takes::One("NETWORK"), group)
        .help(OPTION)
}

fn change(network: Network) -> Change {
    std::sync::Arc::new(move |settings: &mut Settings| settings.network = network.clone())
}

fn read(section: &mut Section<'_>, key: &'static str) -> Result<Option<Change>, ConfigError> {
    Ok(take(section, key)?.map(|(network, _)| change(network)))
}

/// The network that a table names, and where.
pub(super) fn take(
    section: &mut Section<'_>,
    key: &'static str,
) -> Result<Option<(Network, Place)>, ConfigError> {
    let Some(item) = section.take_item(key) else { return Ok(None) };
    let place = item.place();
    if !item.is_table() {
        return Ok(Some((item.read()?, place)));
    }
    let wrong = |message: String| {
        ConfigError::new(message)
            .at(Some(place.clone()))
            .with_hint("write network = { allow = [\"api.example.org\"] }")
    };
    let mut table = item.section(format!("`{key}`"))?;
    let entries = table.take_list::<AllowedName>("allow")?;
    table.finish()?;
    let entries = entries.ok_or_else(|| wrong(format!("`{key}` has no `allow`")))?;
    let network = Network::allow(entries).map_err(&wrong)?;
    Ok(Some((network, place)))
}

fn parse(texts: &[&str]) -> Result<Change, String> {
    let [text] = texts else { return Err("expected one value".to_owned()) };
    let network = Network::from_text(text);
    network.map(change).ok_or_else(|| {
        "expected \"egress\", \"lan\", \"none\" or \"allow=NAME,…\", such as allow=api.example.org".to_owned()
    })
}
