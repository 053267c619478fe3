//! A volume of the cluster of `fixtures/cluster.sh`: a folder of its first node, which has no provisioner.

use super::api;
use super::machine::Cluster;

/// There for as long as this lives; its content goes with the cluster.
pub(crate) struct LocalVolume {
    name: String,
}

impl LocalVolume {
    /// `name` is the test's own.
    pub(crate) fn new(name: &str) -> Self {
        let name = format!("t-{name}-{}", std::process::id());
        // The node sees the cluster's folder as `/run/cluster`.
        let etcd = Cluster::of_this_machine().path("etcd");
        let folder = etcd.parent().expect("the cluster's folder").join("n1/volumes").join(&name);
        std::fs::create_dir_all(folder).expect("the volume's folder");
        api::make_volume(&name, "n1", &format!("/run/cluster/n1/volumes/{name}"));
        Self { name }
    }

    /// The class by which a claim has it.
    pub(crate) fn class(&self) -> &str {
        &self.name
    }
}

impl Drop for LocalVolume {
    fn drop(&mut self) {
        api::remove_volume(&self.name);
    }
}
