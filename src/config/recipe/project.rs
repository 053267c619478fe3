//! The files of a project's folder that say what its packages are.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// They decide what `uv sync` installs.
const NAMES: [&str; 4] = ["pyproject.toml", "uv.lock", "uv.toml", ".python-version"];

/// None is longer (bytes).
const LONGEST: u64 = 16 << 20;

/// Those that are there and can be read; what is missing is told when it is baked.
pub(super) fn files(folder: &str) -> BTreeMap<&'static str, Vec<u8>> {
    let read = |name: &'static str| {
        let file = File::open(Path::new(folder).join(name)).ok()?;
        // Not a pipe, which nobody may ever write into.
        let is_file = file.metadata().is_ok_and(|about| about.is_file() && about.len() <= LONGEST);
        let mut text = Vec::new();
        (is_file && file.take(LONGEST).read_to_end(&mut text).is_ok()).then_some((name, text))
    };
    NAMES.into_iter().filter_map(read).collect()
}
