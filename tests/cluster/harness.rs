//! A real cluster, and what a test has in it: a namespace, and a state folder whose sessions run there.

mod api;
#[path = "../common/daemon.rs"]
#[allow(dead_code, reason = "the tests of a daemon use what these do not")]
mod docker;
mod machine;
#[path = "../common/program.rs"]
mod program;
mod registry;
#[path = "../common/session.rs"]
#[allow(dead_code, reason = "the tests of a daemon use what these do not")]
mod session;
#[path = "../common/sockets.rs"]
#[allow(dead_code, reason = "the tests of a daemon use what these do not")]
pub(crate) mod sockets;
mod volume;
#[path = "../common/waits.rs"]
#[allow(dead_code, reason = "the tests of a daemon use what these do not")]
mod waits;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::config::Kubeconfig;
use serde_json::{Value, json};
use tempfile::TempDir;

pub(crate) use api::{Agent, Cordon, create, is_ready, remove};
pub(crate) use machine::{Cluster, Fault, end_container, lead_here, processes_of};
pub(crate) use registry::{Local, Registry};
pub(crate) use session::{Berth, Session};
pub(crate) use volume::LocalVolume;
pub(crate) use waits::{PATIENCE, at_once, eventually, expect_gone};

/// A client is told the cause within three seconds of when the cluster knows it; the rest is what a busy machine takes for
/// the session itself.
pub(crate) const SOON: Duration = Duration::from_secs(10);
/// The same where a node has to try the pod before, or the client's patience has to end.
pub(crate) const LATER: Duration = Duration::from_secs(20);

/// Where the tests' images are that the cluster can pull; without it, they are in its nodes.
const REGISTRY: &str = "BERTH_TEST_REGISTRY";

static KUBECONFIG: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::var_os("BERTH_TEST_KUBECONFIG").expect(
        "these tests need a cluster: run `bash fixtures/test.sh`, or name one in BERTH_TEST_KUBECONFIG",
    );
    PathBuf::from(path)
});

/// The nodes have the image of this very build's keeper.
static HAS_IMAGE: LazyLock<()> = LazyLock::new(|| {
    if std::env::var_os(REGISTRY).is_none() {
        machine::give_keeper();
    }
});

/// The nodes have berth itself.
static AGENT_READY: LazyLock<()> = LazyLock::new(|| {
    if std::env::var_os(REGISTRY).is_none() {
        machine::give_berth();
    }
});

/// Who breaks a part of the cluster has it for itself.
static CALM: RwLock<()> = RwLock::new(());

/// Held for as long as a test lasts.
#[expect(dead_code, reason = "it is only held")]
enum Hold {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

/// A test's namespace, which goes with it, and the configuration of its sessions.
pub(crate) struct Place {
    namespace: String,
    home: TempDir,
    hold: Hold,
}

impl Place {
    /// `name` is the test's own.
    pub(crate) fn new(name: &str) -> Self {
        Self::held(name, Hold::Shared(CALM.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// For a test that breaks what others rely on.
    pub(crate) fn alone(name: &str) -> Self {
        Self::held(name, Hold::Alone(CALM.write().unwrap_or_else(PoisonError::into_inner)))
    }

    fn held(name: &str, hold: Hold) -> Self {
        let namespace = format!("t-{name}-{}", std::process::id());
        api::make_namespace(&namespace);
        api::give_keeper(&namespace);
        let home = tempfile::tempdir().expect("a folder");
        let config = include_str!("berth.toml")
            .replace("KUBECONFIG", &KUBECONFIG.display().to_string())
            .replace("NAMESPACE", &namespace);
        let config = registered(&config);
        std::fs::write(home.path().join("berth.toml"), config).expect("the configuration");
        Self { namespace, home, hold }
    }

    /// Adds to the configuration.
    pub(crate) fn with(self, more: &str) -> Self {
        let file = self.home.path().join("berth.toml");
        let mut file = std::fs::OpenOptions::new().append(true).open(file).expect("the configuration");
        file.write_all(more.as_bytes()).expect("the configuration");
        self
    }

    /// With another server of an image of the tests.
    pub(crate) fn with_server(self, name: &str, image: &str, lines: &str) -> Self {
        let image = in_registry(image);
        self.with(&format!("\n[servers.{name}]\nimage = \"{image}\"\n{lines}\n"))
    }

    /// With sessions that find the cluster by another file, or by the environment.
    pub(crate) fn known_by(self, kubeconfig: Option<&Path>) -> Self {
        let file = self.home.path().join("berth.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        let line = format!("kubeconfig = \"{}\"\n", KUBECONFIG.display());
        let other =
            kubeconfig.map_or_else(String::new, |other| format!("kubeconfig = \"{}\"\n", other.display()));
        assert!(config.contains(&line), "{config}");
        std::fs::write(file, config.replace(&line, &other)).expect("the configuration");
        self
    }

    /// Without what `berth kubernetes up` gives pods.
    pub(crate) fn without_keeper(self) -> Self {
        api::take_keeper(&self.namespace);
        self
    }

    /// With pods whose keeper comes by an image.
    pub(crate) fn by_image(self) -> Self {
        LazyLock::force(&HAS_IMAGE);
        self.with_keeper_image(machine::KEEPER_IMAGE)
    }

    /// With another program for the keeper, in an image of this name.
    pub(crate) fn with_keeper(self, image: &str, program: &[u8]) -> Self {
        machine::give(image, program);
        self.with_keeper_image(image)
    }

    fn with_keeper_image(self, image: &str) -> Self {
        self.setting(&format!("keeper_image = \"{}\"", in_registry(image)))
    }

    /// Without a line of the configuration that all tests share.
    pub(crate) fn without(self, line: &str) -> Self {
        self.changed(line, "")
    }

    /// With a line in `[kubernetes]`.
    pub(crate) fn setting(self, line: &str) -> Self {
        self.changed("[kubernetes]", &format!("[kubernetes]\n{line}"))
    }

    /// With a template of pods; its `IMAGE` has Python.
    pub(crate) fn template(self, text: &str) -> Self {
        let file = self.home.path().join("template.yaml");
        std::fs::write(&file, text.replace("IMAGE", &in_registry("berth-time"))).expect("a template");
        self.setting(&format!("pod_template = \"{}\"", file.display()))
    }

    /// With baked images in a registry.
    pub(crate) fn registry(self, registry: &Registry) -> Self {
        self.setting(&format!("registry = \"{}\"", registry.address()))
    }

    /// With sessions in another namespace, which the test has not made.
    pub(crate) fn within(self, namespace: &str) -> Self {
        let own = self.namespace.clone();
        self.changed(&own, namespace)
    }

    /// With a kubeconfig of somebody who may do nothing yet.
    pub(crate) fn of_user(self, name: &str) -> Self {
        let kubeconfig = std::fs::read_to_string(&*KUBECONFIG).expect("the kubeconfig");
        let mut kubeconfig: serde_json::Value = api::parsed(&kubeconfig);
        for user in kubeconfig["users"].as_array_mut().into_iter().flatten() {
            user["user"]["as"] = name.into();
        }
        let file = self.home.path().join("kubeconfig");
        std::fs::write(&file, kubeconfig.to_string()).expect("a kubeconfig");
        self.changed(&KUBECONFIG.display().to_string(), &file.display().to_string())
    }

    fn changed(self, from: &str, to: &str) -> Self {
        let file = self.home.path().join("berth.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        assert!(config.contains(from), "{from}");
        std::fs::write(file, config.replace(from, to)).expect("the configuration");
        self
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Waits until the cluster refuses a pod in these words.
    pub(crate) fn expect_refused(&self, said: &str) {
        eventually("a refusal", PATIENCE, || api::refusal(&self.namespace)?.contains(said).then_some(()));
    }

    /// `berth`, for an own way to run it.
    pub(crate) fn berth(&self) -> Command {
        program::berth(self.home.path())
    }

    /// `berth run SERVER`
    pub(crate) fn run(&self, server: &str) -> Berth {
        Berth::run(server).env("BERTH_HOME", self.home.path().to_str().expect("UTF-8"))
    }

    /// What the first request of a session is answered within this time, and that the session leaves nothing.
    pub(crate) fn expect_error(&self, server: &str, within: Duration, said: &[&str]) {
        let began = Instant::now();
        let client = format!("cause-{}", self.namespace);
        let mut session = self.run(server).client(&client).start();
        let params = json!({ "protocolVersion": "2025-06-18", "capabilities": {} });
        let answer = session.request("initialize", params);
        let error = answer["error"].to_string();
        for said in said {
            assert!(error.contains(said), "no {said:?} in {answer}; stderr: {}", session.stderr());
        }
        let took = began.elapsed();
        assert!(took < within, "{server} is told after {took:?}");
        session.close();
        session.wait();
        expect_gone(&client);
    }

    /// With the tests' daemon beside the cluster.
    pub(crate) fn beside_daemon(self) -> Self {
        docker::daemon();
        let config = std::fs::read_to_string(docker::home().join("berth.toml")).expect("its configuration");
        let table = config.lines().skip_while(|line| *line != "[dind]").take_while(|line| !line.is_empty());
        let table: Vec<&str> = table.collect();
        self.with(&format!("\n{}\n", table.join("\n")))
    }

    /// `berth run` with several servers, of which some may run in that daemon: its certificates are in its own state folder.
    pub(crate) fn several(&self, servers: &[&str]) -> Berth {
        let home = docker::home().to_str().expect("UTF-8");
        Berth::several(servers).env("BERTH_HOME", home).args(["--config", &self.config()])
    }

    /// What `berth ps` shows then.
    pub(crate) fn sessions_of_both(&self) -> Vec<Value> {
        let mut command = program::berth(docker::home());
        let (code, out, err) = program::says(command.args(["ps", "--json", "--config", &self.config()]));
        assert_eq!(code, Some(0), "{err}");
        serde_json::from_str(&out).expect("JSON")
    }

    fn config(&self) -> String {
        self.home.path().join("berth.toml").to_str().expect("UTF-8").to_owned()
    }

    /// What another `berth` command says: exit code, standard output, standard error.
    pub(crate) fn says(&self, args: &[&str]) -> (Option<i32>, String, String) {
        program::says(program::berth(self.home.path()).args(args))
    }

    /// The image with berth itself, which the nodes have from now on.
    pub(crate) fn agent_image() -> String {
        LazyLock::force(&AGENT_READY);
        in_registry("berth:test")
    }

    /// The nodes have this image from now on.
    pub(crate) fn give_image(name: &str) -> String {
        machine::give_image(name);
        in_registry(name)
    }

    /// The fixture's image.
    pub(crate) fn fixture_image() -> String {
        in_registry("berth-fixture")
    }

    /// `kubectl` in the test's namespace.
    pub(crate) fn kubectl(&self, args: &[&str]) -> Command {
        let mut command = machine::kubectl(&KUBECONFIG);
        command.args(["-n", &self.namespace]).args(args);
        command
    }

    /// Gives `kubectl apply` this text, beside these options.
    pub(crate) fn apply(&self, manifest: &str, how: &[&str]) {
        let mut apply = self.kubectl(&[&["apply", "-f", "-"], how].concat());
        let mut apply = apply.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("kubectl runs");
        apply.stdin.take().expect("piped").write_all(manifest.as_bytes()).expect("it reads");
        assert!(apply.wait().expect("a child").success(), "kubectl apply: {manifest}");
    }

    /// Who has the rights of the namespace's service account `berth-agent`, and no others.
    pub(crate) fn agent(&self) -> Agent {
        Agent::of(&self.namespace)
    }

    /// All pods of the namespace, those that have ended too.
    pub(crate) fn pods(&self) -> Vec<Pod> {
        api::pods(&self.namespace)
    }

    /// Without those that [`Self::stuff`] has made.
    pub(crate) fn sessions_pods(&self) -> Vec<Pod> {
        api::sessions_pods(&self.namespace)
    }

    /// Fills the namespace with so many pods that no node gets.
    pub(crate) fn stuff(&self, count: usize) {
        api::stuff(&self.namespace, count);
    }

    /// As a drain does.
    pub(crate) fn evict(&self, pod: &str) {
        api::evict(&self.namespace, pod);
    }

    /// Where a pod runs.
    pub(crate) fn node_of(&self, pod: &str) -> String {
        let pod = self.pod(pod).unwrap_or_else(|| panic!("no pod {pod}"));
        pod.spec.and_then(|spec| spec.node_name).expect("a node")
    }

    /// Deletes a pod, as anybody may who runs a cluster.
    pub(crate) fn delete_pod(&self, name: &str) {
        api::delete_pod(&self.namespace, name);
    }

    /// The names of its claims.
    pub(crate) fn claims(&self) -> Vec<String> {
        api::claims(&self.namespace)
    }

    pub(crate) fn pod(&self, name: &str) -> Option<Pod> {
        self.pods().into_iter().find(|pod| pod.metadata.name.as_deref() == Some(name))
    }
}

/// An image's name as the cluster knows it.
fn in_registry(name: &str) -> String {
    std::env::var(REGISTRY).map_or_else(|_| name.to_owned(), |registry| format!("{registry}/{name}"))
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            machine::tell(&self.namespace);
        }
        api::remove_namespace(&self.namespace);
        // After a panic there may be no cluster to mend.
        if matches!(self.hold, Hold::Alone(_)) && !std::thread::panicking() {
            machine::catch_up();
        }
    }
}

/// The program without a state folder: it may be nobody's own.
pub(crate) fn berth() -> Command {
    program::berth(Path::new("/nonexistent"))
}

/// A configuration with the images where the cluster finds them.
pub(crate) fn registered(config: &str) -> String {
    config.replace("REGISTRY/", &in_registry(""))
}

/// Each place makes what its sessions need.
pub(crate) fn daemon() {}

/// The file that names the cluster.
pub(crate) fn kubeconfig() -> Kubeconfig {
    Kubeconfig::read_from(&*KUBECONFIG).expect("a kubeconfig")
}

/// Names of a client's pods, in whatever namespace.
pub(crate) fn containers_of(client: &str) -> Vec<String> {
    let pods = api::pods_of(client);
    pods.into_iter().filter_map(|pod| pod.metadata.name).collect()
}
