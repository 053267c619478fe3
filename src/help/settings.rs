//! The tables of keys in `berth help config`, made from the tables that the configuration's reader uses.

use std::fmt::Write;

use crate::config::{
    DefaultValue, Key, Setting, bake, dind, every_setting, kubernetes, limits, manager, profile, program,
};

/// The table that belongs in the place of a line of the manual; `None` for any other line.
pub(super) fn in_place_of(line: &str) -> Option<String> {
    match line {
        "<!-- keys of a server -->" => Some(of_a_server(&program::KEYS, every_setting())),
        "<!-- keys of [dind] -->" => Some(written(dind::KEYS.iter().map(row))),
        "<!-- keys of [bake] -->" => Some(written(bake::KEYS.iter().map(row))),
        "<!-- keys of [limits] -->" => Some(written(limits::KEYS.iter().map(row))),
        "<!-- keys of [kubernetes] -->" => Some(written(kubernetes::KEYS.iter().map(row))),
        "<!-- keys of [manager] -->" => Some(written(manager::KEYS.iter().map(row))),
        "<!-- keys of [profiles.NAME] -->" => Some(written(profile::KEYS.iter().map(row))),
        _ => None,
    }
}

type Row = (&'static str, DefaultValue, &'static str);

fn row(key: &Key) -> Row {
    (key.key, key.default, key.about)
}

fn of_a_server(keys: &[Key], settings: &[Setting]) -> String {
    let settings = settings.iter().map(|setting| (setting.key, setting.default, setting.about));
    written(keys.iter().map(row).chain(settings))
}

fn written(rows: impl Iterator<Item = Row>) -> String {
    let mut text = String::from("| key | default | meaning |\n|---|---|---|\n");
    for (key, default, about) in rows {
        let default = match default {
            DefaultValue::Value(value) => format!("`{value}`"),
            DefaultValue::Words(words) => words.to_owned(),
        };
        // Writing to a string does not fail.
        _ = writeln!(text, "| `{key}` | {default} | {about} |");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::help::Topic;
    use crate::values::Pids;

    #[test]
    fn a_new_entry_is_a_row() {
        let new =
            Setting::one::<Pids>("sailors", DefaultValue::Value("7"), "most sailors", |settings, sailors| {
                settings.pids = sailors.count();
            });
        let text = of_a_server(&[], &[new]);
        assert_eq!(text, "| key | default | meaning |\n|---|---|---|\n| `sailors` | `7` | most sailors |\n");
    }

    #[test]
    fn the_manual_has_every_key() {
        let text = Topic::find("config").unwrap().text();
        let settings = every_setting().iter().map(|setting| setting.key);
        let others = dind::KEYS.iter().chain(&bake::KEYS).chain(&limits::KEYS).chain(&program::KEYS);
        let others = others.chain(&profile::KEYS).chain(&kubernetes::KEYS).chain(&manager::KEYS);
        let others = others.map(|key| key.key);
        for key in settings.chain(others) {
            assert!(text.contains(&format!("\n| `{key}` | ")), "{key}");
        }
    }
}
