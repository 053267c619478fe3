//! How long a session has done nothing, by its history: each of its requests leaves a line there.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{FOLDER, TEXT};

/// Since the last line of a session's history. `None`: there is none here, or requests leave no lines in it.
pub fn idle(state: &Path, session: &str) -> Option<Duration> {
    // Somebody else's word is a part of the path.
    let is_id = !session.is_empty() && session.bytes().all(|byte| byte.is_ascii_alphanumeric());
    let path = is_id.then(|| state.join(FOLDER).join(format!("{session}.jsonl")))?;
    let file = crate::regular::open(&path).ok()??;
    let written = file.metadata().and_then(|metadata| metadata.modified()).ok()?;
    let mut first = Vec::new();
    BufReader::new(file.take(8 * TEXT as u64)).read_until(b'\n', &mut first).ok()?;
    let start: Value = serde_json::from_slice(&first).ok()?;
    let has_calls = start["calls"] == true;
    has_calls.then(|| SystemTime::now().duration_since(written).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_history_with_requests_tells() {
        let state = tempfile::tempdir().unwrap();
        std::fs::create_dir(state.path().join(FOLDER)).unwrap();
        let write = |session: &str, calls: bool, ago: u64| {
            let path = state.path().join(FOLDER).join(format!("{session}.jsonl"));
            std::fs::write(&path, format!("{{\"kind\":\"start\",\"calls\":{calls}}}\n{{\"kind\":\"up\"}}\n"))
                .unwrap();
            let file = std::fs::File::options().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(ago)).unwrap();
        };
        write("abc", true, 90);
        write("def", false, 90);
        let found = idle(state.path(), "abc").unwrap();
        assert!((90..100).contains(&found.as_secs()), "{found:?}");
        for session in ["def", "ghi", "", "../sessions/abc"] {
            assert_eq!(idle(state.path(), session), None, "{session}");
        }
    }
}
