//! The probe of a process's own limits: user, capabilities, control group, and the places that it may write to.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::path::Path;
use std::{env, io};

use super::json::{or_null, quoted};
use super::sys;

pub(super) fn limits() -> io::Result<String> {
    let status = fs::read_to_string("/proc/self/status")?;
    let number = |name| or_null(field(&status, name).and_then(|value| value.parse::<u64>().ok()));
    let uid = field(&status, "Uid").and_then(|ids| ids.split_whitespace().next()?.parse::<u32>().ok());
    let Limits { memory_bytes, pids, cpus } = Limits::read(Path::new("/sys/fs/cgroup"));
    let own_folder = env::current_exe()?.parent().map(Path::to_owned).unwrap_or_default();
    Ok(format!(
        "{{\"uid\":{},\"cap_eff\":{},\"cap_bnd\":{},\"no_new_privs\":{},\"seccomp\":{},\"memory_bytes\":{},\
         \"pids\":{},\"cpus\":{},\"root_writable\":{},\"keeper_writable\":{}}}",
        or_null(uid),
        or_null(field(&status, "CapEff").map(quoted)),
        or_null(field(&status, "CapBnd").map(quoted)),
        // Not every kernel writes it into the file.
        sys::has_no_new_privileges(),
        number("Seccomp"),
        or_null(memory_bytes),
        or_null(pids),
        or_null(cpus),
        is_writable(Path::new("/")),
        is_writable(&own_folder),
    ))
}

/// A value of `/proc/PID/status`.
pub(super) fn field<'a>(status: &'a str, name: &str) -> Option<&'a str> {
    status.lines().find_map(|line| Some(line.strip_prefix(name)?.strip_prefix(':')?.trim()))
}

/// The limits of the control group; `None` where there is none.
#[derive(Debug, PartialEq)]
pub(super) struct Limits {
    pub(super) memory_bytes: Option<u64>,
    pub(super) pids: Option<u64>,
    pub(super) cpus: Option<f64>,
}

impl Limits {
    /// Version 2 has one folder; version 1 has one a controller, whose names vary between systems.
    pub(super) fn read(cgroup: &Path) -> Self {
        let first = |names: &[&str]| {
            names.iter().find_map(|name| {
                fs::read_to_string(cgroup.join(name)).ok().map(|text| text.trim().to_owned())
            })
        };
        let number = |names: &[&str]| first(names)?.parse::<u64>().ok();
        // Version 1 says «no limit» by the largest number of whole pages.
        let memory_bytes = number(&["memory.max", "memory/memory.limit_in_bytes"]);
        let quota = first(&["cpu.max"]).or_else(|| {
            let quota = first(&["cpu/cpu.cfs_quota_us", "cpu,cpuacct/cpu.cfs_quota_us"])?;
            let period = first(&["cpu/cpu.cfs_period_us", "cpu,cpuacct/cpu.cfs_period_us"])?;
            Some(format!("{quota} {period}"))
        });
        Self {
            memory_bytes: memory_bytes.filter(|bytes| *bytes < 1 << 62),
            pids: number(&["pids.max", "pids/pids.max"]),
            cpus: quota.as_deref().and_then(cpus),
        }
    }
}

/// `max 100000` and `-1 100000` are no limit.
pub(super) fn cpus(quota: &str) -> Option<f64> {
    let (quota, period) = quota.split_once(' ')?;
    let (quota, period) = (quota.parse::<u32>().ok()?, period.parse::<u32>().ok()?);
    (period > 0).then(|| f64::from(quota) / f64::from(period))
}

fn is_writable(folder: &Path) -> bool {
    write_in(folder).is_ok()
}

/// Makes a file in `folder`, and removes it. Others may do the same at the same moment, and each of them is process 1.
pub(super) fn write_in(folder: &Path) -> io::Result<()> {
    let random = RandomState::new().build_hasher().finish();
    let path = folder.join(format!(".berth-probe-{random:016x}"));
    File::create_new(&path)?;
    fs::remove_file(&path)
}
