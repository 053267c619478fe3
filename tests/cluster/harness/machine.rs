//! The cluster of `fixtures/cluster.sh`, whose parts can be ended and cut off, and whose files are on this machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;

use super::KUBECONFIG;

/// The keeper of this build, as the sessions' `berth` has it.
const KEEPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keeper"));
const KEEPER_IMAGE: &str = "berth-keeper:test";

/// A program that is ended, with all that it has started, when it takes longer than any of these should.
pub(super) fn bounded(program: &str) -> Command {
    let mut command = Command::new("timeout");
    command.args(["--kill-after=10", "120", program]);
    command
}

/// What the script says, whether it has succeeded, and its errors.
fn said_by_script(args: &[&str]) -> (String, bool, String) {
    let mut command = bounded("bash");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/cluster.sh")).args(args);
    let output = command.stdin(Stdio::null()).output().expect("bash runs");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (said(&output.stdout), output.status.success(), said(&output.stderr))
}

/// What the script says, or why it failed.
fn attempt(args: &[&str]) -> Result<String, String> {
    let (output, is_good, errors) = said_by_script(args);
    if is_good { Ok(output) } else { Err(format!("cluster.sh {args:?}: {output}{errors}")) }
}

/// What the script says. It is to succeed.
pub(super) fn script(args: &[&str]) -> String {
    attempt(args).unwrap_or_else(|error| panic!("{error}"))
}

/// Whether the script knows the cluster that the sessions use.
fn is_of_this_machine() -> bool {
    script(&["env"]).trim_end() == format!("export KUBECONFIG={}", KUBECONFIG.display())
}

/// An image with the one program, in all nodes of such a cluster; who has another one has put it there.
pub(super) fn give_keeper() {
    if !is_of_this_machine() {
        return;
    }
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(KEEPER.len() as u64);
    archive.append_data(&mut header, "keeper", KEEPER).expect("an archive");
    let archive = archive.into_inner().expect("an archive");
    let mut import = bounded("docker");
    import.args(["import", "-", KEEPER_IMAGE]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut import = import.spawn().expect("the docker CLI runs");
    import.stdin.take().expect("piped").write_all(&archive).expect("it reads");
    assert!(import.wait().expect("a child").success(), "docker import {KEEPER_IMAGE}");
    script(&["images", KEEPER_IMAGE]);
}

/// The cluster whose parts a test may break, and whose files it may read.
pub(crate) struct Cluster {
    status: String,
}

impl Cluster {
    /// It must be the one that the sessions use.
    pub(crate) fn of_this_machine() -> Self {
        assert!(
            is_of_this_machine(),
            "BERTH_TEST_KUBECONFIG={} is not the cluster of fixtures/cluster.sh (BERTH_CLUSTER_NAME)",
            KUBECONFIG.display()
        );
        // Another test may break a part meanwhile: its exit code is of no interest.
        Self { status: said_by_script(&["status"]).0 }
    }

    /// A place that `status` tells.
    pub(crate) fn path(&self, what: &str) -> PathBuf {
        let prefix = format!("{what}: ");
        let path = self.status.lines().find_map(|line| line.strip_prefix(&prefix));
        PathBuf::from(path.unwrap_or_else(|| panic!("no {what} in {}", self.status)))
    }
}

/// All processes of a pod, on whatever node: they are this machine's, too.
pub(crate) fn processes_of(pod: &str) -> Vec<u32> {
    let is_of = |process: &u32| {
        let name = std::fs::read_to_string(format!("/proc/{process}/root/etc/hostname"));
        name.is_ok_and(|name| name.trim() == pod)
    };
    let processes = std::fs::read_dir("/proc").expect("/proc").flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

/// Ends all processes of a pod's container in an instant, as the kernel does where memory is short.
pub(crate) fn end_container(pod: &str) {
    let is_keeper = |process: &&u32| {
        let line = std::fs::read(format!("/proc/{process}/cmdline"));
        line.is_ok_and(|line| memchr::memmem::find(&line, b"hold-pod").is_some())
    };
    let processes = processes_of(pod);
    let keeper = processes.iter().find(is_keeper).unwrap_or_else(|| panic!("no keeper in {processes:?}"));
    let ended = Command::new("kill").args(["-KILL", &keeper.to_string()]).status().expect("kill runs");
    assert!(ended.success());
}

/// A part that does not work, until this is dropped.
pub(crate) struct Fault {
    mend: Vec<String>,
}

impl Fault {
    /// Ends a part with SIGKILL: `apiserver`, or `kubelet 1`.
    pub(crate) fn kill(part: &str) -> Self {
        Self::begin("kill", "start", part)
    }

    /// Drops in silence what goes to and from a node, by its number, or this `machine`.
    pub(crate) fn cut(whom: &str) -> Self {
        Self::begin("cut", "mend", whom)
    }

    /// Cuts a node's power, by its number.
    pub(crate) fn power(node: &str) -> Self {
        let line = |word: &str| ["node", node, word].map(str::to_owned).to_vec();
        let fault = Self { mend: line("start") };
        script(&["node", node, "stop"]);
        fault
    }

    fn begin(word: &str, mend: &str, whom: &str) -> Self {
        let line = |word: &str| format!("{word} {whom}").split(' ').map(str::to_owned).collect::<Vec<_>>();
        let fault = Self { mend: line(mend) };
        let begin = line(word);
        script(&begin.iter().map(String::as_str).collect::<Vec<_>>());
        fault
    }
}

impl Drop for Fault {
    fn drop(&mut self) {
        let mended = attempt(&self.mend.iter().map(String::as_str).collect::<Vec<_>>());
        match mended {
            Ok(_) => {}
            // A second panic would end the tests of all others, too.
            Err(error) if thread::panicking() => drop(writeln!(io::stderr(), "{error}")),
            Err(error) => panic!("{error}"),
        }
    }
}
