//! A cut may leave a forwarder that nobody speaks to any more, and that has the ports. The next one takes its place.

use std::fs;
use std::path::Path;
use std::process;
use std::thread;
use std::time::{Duration, Instant};

use crate::sys;

/// Who is killed has let go of its ports by then.
const GONE_WITHIN: Duration = Duration::from_secs(2);
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Ends those that have this very command line. A server could have it, too, and only ends itself then.
pub(super) fn end_others() {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let others = others();
        for pid in &others {
            sys::kill_at_once(*pid);
        }
        if others.is_empty() || Instant::now() >= until {
            return;
        }
        thread::sleep(LOOK_EVERY);
    }
}

fn others() -> Vec<u32> {
    let Some(own) = line(Path::new("/proc/self")) else { return Vec::new() };
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let is_like_us = |pid: &u32| {
        *pid != process::id() && line(&Path::new("/proc").join(pid.to_string())).as_ref() == Some(&own)
    };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(is_like_us).collect()
}

/// One that has ended, and that nobody has asked about, has none.
fn line(process: &Path) -> Option<Vec<u8>> {
    fs::read(process.join("cmdline")).ok().filter(|line| !line.is_empty())
}
