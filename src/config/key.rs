//! A key of the file that is not a server's setting, as the manual shows it.

use super::settings::definition::DefaultValue;

/// One key of `[dind]`, of `[bake]`, of `[limits]`, of `[manager]`, or of a server alone. Its table's reader takes it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub key: &'static str,
    pub default: DefaultValue,
    pub about: &'static str,
}

impl Key {
    pub(super) const fn new(key: &'static str, default: DefaultValue, about: &'static str) -> Self {
        Self { key, default, about }
    }
}

/// The defaults as lines of the file.
#[cfg(test)]
pub(super) fn defaults(keys: &[Key]) -> String {
    let lines = keys.iter().filter_map(|key| match key.default {
        DefaultValue::Value(value) => Some(format!("{} = {value}\n", key.key)),
        DefaultValue::Words(_) => None,
    });
    lines.collect()
}
