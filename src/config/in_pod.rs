//! What a server cannot have in a pod, whatever the cluster: its start and its import say the same of it.

use super::server::Server;
use crate::values::Backend;

impl Server {
    /// The first of its keys that a pod cannot give, and why.
    pub fn lacking_in_pod(&self) -> Option<(&'static str, &'static str)> {
        let settings = &self.settings;
        let lacking = [
            (!settings.mounts.is_empty(), "mounts", "folders of this machine are not on the cluster's nodes"),
            (settings.prestart, "prestart", "a server starts with its session there"),
            // A node pulls the image, and whoever pushes to the registry meanwhile would be believed.
            (self.verify().is_some(), "verify", "its node asks for no signature"),
        ];
        lacking.into_iter().find(|(is_wanted, ..)| *is_wanted).map(|(_, key, why)| (key, why))
    }

    pub fn is_in_pod(&self) -> bool {
        self.settings.backend == Backend::Kubernetes
    }
}
