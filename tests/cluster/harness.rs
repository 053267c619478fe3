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
use std::process::Command;
use std::sync::{LazyLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use k8s_openapi::api::core::v1::Pod;
use kube::config::Kubeconfig;
use serde_json::Value;
use tempfile::TempDir;

pub(crate) use api::{Cordon, is_ready};
pub(crate) use machine::{Cluster, Fault, end_container, processes_of};
pub(crate) use registry::{Local, Registry};
pub(crate) use session::{Berth, Session};
pub(crate) use volume::LocalVolume;
pub(crate) use waits::{PATIENCE, at_once, eventually, expect_gone};

/// Where the tests' images are that the cluster can pull; without it, they are in its nodes.
const REGISTRY: &str = "BERTH_TEST_REGISTRY";

static KUBECONFIG: LazyLock<PathBuf> = LazyLock::new(|| {
    let path = std::env::var_os("BERTH_TEST_KUBECONFIG").expect(
        "these tests need a cluster: run `bash fixtures/test.sh`, or name one in BERTH_TEST_KUBECONFIG",
    );
    PathBuf::from(path)
});

/// The nodes have the keeper of this very build.
static READY: LazyLock<()> = LazyLock::new(|| {
    if std::env::var_os(REGISTRY).is_none() {
        machine::give_keeper();
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
    _hold: Hold,
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
        daemon();
        let namespace = format!("t-{name}-{}", std::process::id());
        api::make_namespace(&namespace);
        let home = tempfile::tempdir().expect("a folder");
        let config = include_str!("berth.toml")
            .replace("KUBECONFIG", &KUBECONFIG.display().to_string())
            .replace("NAMESPACE", &namespace);
        let config = registered(&config);
        std::fs::write(home.path().join("berth.toml"), config).expect("the configuration");
        Self { namespace, home, _hold: hold }
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
        let registry = std::env::var(REGISTRY).map_or_else(|_| String::new(), |name| name + "/");
        self.with(&format!("\n[servers.{name}]\nimage = \"{registry}{image}\"\n{lines}\n"))
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

    /// Without a line of the configuration that all tests share.
    pub(crate) fn without(self, line: &str) -> Self {
        let file = self.home.path().join("berth.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        assert!(config.contains(line), "no {line} in {config}");
        std::fs::write(file, config.replace(line, "")).expect("the configuration");
        self
    }

    /// With a line in `[kubernetes]`.
    pub(crate) fn setting(self, line: &str) -> Self {
        let file = self.home.path().join("berth.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        std::fs::write(file, config.replace("[kubernetes]", &format!("[kubernetes]\n{line}")))
            .expect("the configuration");
        self
    }

    /// With baked images in a registry.
    pub(crate) fn registry(self, registry: &Registry) -> Self {
        self.setting(&format!("registry = \"{}\"", registry.address()))
    }

    /// With sessions in another namespace, which the test has not made.
    pub(crate) fn within(self, namespace: &str) -> Self {
        let file = self.home.path().join("berth.toml");
        let config = std::fs::read_to_string(&file).expect("the configuration");
        std::fs::write(file, config.replace(&self.namespace, namespace)).expect("the configuration");
        self
    }

    /// `berth run SERVER`
    pub(crate) fn run(&self, server: &str) -> Berth {
        Berth::run(server).env("BERTH_HOME", self.home.path().to_str().expect("UTF-8"))
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

impl Drop for Place {
    fn drop(&mut self) {
        api::remove_namespace(&self.namespace);
    }
}

/// The program without a state folder: it may be nobody's own.
pub(crate) fn berth() -> Command {
    program::berth(Path::new("/nonexistent"))
}

/// A configuration with the images where the cluster finds them.
pub(crate) fn registered(config: &str) -> String {
    let registry = std::env::var(REGISTRY).map_or_else(|_| String::new(), |name| name + "/");
    config.replace("REGISTRY/", &registry)
}

/// Makes sure that the cluster has what sessions need.
pub(crate) fn daemon() {
    LazyLock::force(&READY);
}

/// The file that names the cluster.
pub(crate) fn kubeconfig() -> Kubeconfig {
    Kubeconfig::read_from(&*KUBECONFIG).expect("a kubeconfig")
}

/// Names of a client's pods, in whatever namespace.
pub(crate) fn containers_of(client: &str) -> Vec<String> {
    let pods = api::pods_of(client);
    pods.into_iter().filter_map(|pod| pod.metadata.name).collect()
}
