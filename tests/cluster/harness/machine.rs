//! The cluster of `fixtures/cluster.sh`, whose parts can be ended and cut off, and whose files are on this machine.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::KUBECONFIG;

/// The keeper of this build, as the sessions' `berth` has it.
const KEEPER: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/keeper"));
pub(super) const KEEPER_IMAGE: &str = "berth-keeper:test";
const BERTH_IMAGE: &str = "berth:test";
/// The numbers of the cluster's nodes.
const NODES: [u32; 2] = [1, 2];

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

/// Has a failed test's output say what is known of its namespace, which is about to go.
#[expect(clippy::print_stderr, reason = "what goes there by this macro stands with the test's own failure")]
pub(super) fn tell(namespace: &str) {
    // Nothing here may panic a second time.
    if !attempt(&["env"]).is_ok_and(|env| names_our_cluster(&env)) {
        return;
    }
    let (said, _, errors) = said_by_script(&["tell", namespace]);
    eprintln!("{said}{errors}");
}

/// Whether the script knows the cluster that the sessions use.
fn is_of_this_machine() -> bool {
    names_our_cluster(&script(&["env"]))
}

fn names_our_cluster(env: &str) -> bool {
    env.trim_end() == format!("export KUBECONFIG={}", KUBECONFIG.display())
}

/// An image with the one program, in all nodes of such a cluster; who has another one has put it there.
pub(super) fn give_keeper() {
    if is_of_this_machine() {
        give(KEEPER_IMAGE, KEEPER);
    }
}

/// The same of any program and name.
pub(super) fn give(image: &str, program: &[u8]) {
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o755);
    header.set_size(program.len() as u64);
    archive.append_data(&mut header, "keeper", program).expect("an archive");
    import(&archive.into_inner().expect("an archive"), image);
}

/// An image with the programs of this build. They are not static, as nothing would be left of the ordinary build for that: the
/// libraries that they name are in it, too. That `berth kubernetes image --agent` takes static ones alone has tests of its own.
pub(super) fn give_berth() {
    if !is_of_this_machine() {
        return;
    }
    let berth = Path::new(env!("CARGO_BIN_EXE_berth"));
    let folder = tempfile::tempdir().expect("a folder");
    let programs = [berth.to_owned(), berth.with_file_name("berth-kubernetes")];
    let programs = programs.map(|program| stripped(program, folder.path()));
    let mut archive = tar::Builder::new(Vec::new());
    // The engine takes no file with holes.
    archive.sparse(false);
    let mut libraries = BTreeSet::new();
    for program in &programs {
        archive.append_path_with_name(program, program.file_name().expect("a name")).expect("an archive");
        let said = bounded("ldd").arg(program).output().expect("ldd runs").stdout;
        let said = String::from_utf8_lossy(&said).into_owned();
        libraries.extend(said.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned));
    }
    for library in &libraries {
        let file = std::fs::canonicalize(library).expect("a library");
        archive.append_path_with_name(file, library.trim_start_matches('/')).expect("an archive");
    }
    import(&archive.into_inner().expect("an archive"), BERTH_IMAGE);
}

/// Without what only a debugger needs, which is most of it; as it is where nobody can take that away.
fn stripped(program: PathBuf, folder: &Path) -> PathBuf {
    let to = folder.join(program.file_name().expect("a name"));
    let done = bounded("strip").arg("-o").args([&to, &program]).status();
    if done.is_ok_and(|status| status.success()) { to } else { program }
}

/// Has all nodes know this archive by a name.
fn import(archive: &[u8], image: &str) {
    let mut import = bounded("docker");
    import.args(["import", "-", image]).stdin(Stdio::piped()).stdout(Stdio::null());
    let mut import = import.spawn().expect("the docker CLI runs");
    import.stdin.take().expect("piped").write_all(archive).expect("it reads");
    assert!(import.wait().expect("a child").success(), "docker import {image}");
    script(&["images", image]);
}

/// Has the nodes find an image of this machine's engine.
pub(super) fn give_image(name: &str) {
    if is_of_this_machine() {
        script(&["images", name]);
    }
}

/// Has all nodes reach addresses of this machine, as if they were far away.
pub(crate) fn lead_here(network: &str) {
    let status = said_by_script(&["status"]).0;
    for line in status.lines() {
        let Some((node, address)) =
            line.split_once(": ready (").and_then(|(node, rest)| Some((node, rest.split_once(',')?.0)))
        else {
            continue;
        };
        let (start, _) = address.rsplit_once('.').expect("an address");
        let name = std::env::var("BERTH_CLUSTER_NAME").unwrap_or_else(|_| "berth".to_owned());
        let space = format!("k8s-{name}-{node}");
        let mut route = bounded("ip");
        route.args(["-n", &space, "route", "replace", network, "via", &format!("{start}.254")]);
        assert!(route.status().expect("ip runs").success(), "a route in {space}");
    }
}

/// That of the cluster, which stands beside its configuration; or a person's own.
pub(super) fn kubectl(kubeconfig: &Path) -> Command {
    let own = kubeconfig.with_file_name("kube");
    let mut command = Command::new(if own.exists() { own.as_os_str() } else { "kubectl".as_ref() });
    if own.exists() {
        command.arg("kubectl");
    }
    command.arg("--kubeconfig").arg(kubeconfig).stdin(Stdio::null());
    command
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

/// The API server was ended since [`catch_up`].
static WAS_AWAY: AtomicBool = AtomicBool::new(false);

/// Has all parts that watch the API server begin anew, if it was away: each time that it is, they wait longer before they look
/// again, up to a minute, and no other test's pod starts meanwhile.
pub(super) fn catch_up() {
    if !WAS_AWAY.swap(false, Ordering::Relaxed) {
        return;
    }
    let plane = ["scheduler", "controllers"].map(str::to_owned);
    let nodes = ["kubelet", "proxy", "policies"].into_iter();
    let nodes = nodes.flat_map(|part| NODES.map(|node| format!("{part} {node}")));
    drop(plane.into_iter().chain(nodes).map(|part| Fault::kill(&part)).collect::<Vec<_>>());
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
        if whom == "apiserver" {
            WAS_AWAY.store(true, Ordering::Relaxed);
        }
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
