//! A key of the file that is not a server's setting, as the manual shows it.

use super::setting::Otherwise;

/// One key of `[dind]`, of `[bake]`, or of a server alone. Its table's reader takes it.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    pub key: &'static str,
    pub otherwise: Otherwise,
    pub about: &'static str,
}

impl Key {
    pub(super) const fn new(key: &'static str, otherwise: Otherwise, about: &'static str) -> Self {
        Self { key, otherwise, about }
    }
}

/// The defaults as lines of the file.
#[cfg(test)]
pub(super) fn defaults(keys: &[Key]) -> String {
    let lines = keys.iter().filter_map(|key| match key.otherwise {
        Otherwise::Value(value) => Some(format!("{} = {value}\n", key.key)),
        Otherwise::Words(_) => None,
    });
    lines.collect()
}
