//! From observations to checks: pure functions. Nothing here does I/O, so a test can make each check fail.

pub mod access;
pub mod cleanup;
pub mod cluster;
pub mod deployment;
pub mod isolation;
pub mod orchestrator;
pub mod tls;
mod unexamined;

use serde::Serialize;

use crate::exam::check::{Check, Outcome};
use crate::exam::limits;

use crate::exam::limits::Resources;
use access::Access;
use cleanup::Cleanup;
use cluster::Cluster;
use deployment::Deployment;
use isolation::Isolation;
use orchestrator::Orchestrator;
use tls::Tls;

/// All that was seen, as plain data.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    pub orchestrator: Orchestrator,
    /// Instead of the orchestrator, and of its TLS, where sessions run in a cluster.
    pub cluster: Option<Cluster>,
    pub deployment: Deployment,
    /// Sessions beside the examined ones that did not start, and why.
    pub missing_spares: Vec<(String, String)>,
    pub access: Access,
    pub isolation: Isolation,
    pub resources: Resources,
    pub tls: Tls,
    pub cleanup: Cleanup,
}

/// Where the examined sessions have their servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Where {
    Daemon,
    Cluster,
}

impl Where {
    pub fn name(self) -> &'static str {
        match self {
            Self::Daemon => "Docker",
            Self::Cluster => "Kubernetes",
        }
    }
}

impl Observations {
    pub fn place(&self) -> Where {
        if self.cluster.is_some() { Where::Cluster } else { Where::Daemon }
    }

    /// Of whoever runs the sessions.
    pub fn address(&self) -> &str {
        self.cluster.as_ref().map_or(&self.orchestrator.address, |cluster| &cluster.address)
    }

    /// The version of whoever runs the sessions, or why there was no answer.
    pub fn version(&self) -> Result<&str, &str> {
        let version = match &self.cluster {
            Some(cluster) => &cluster.version,
            None => &self.orchestrator.engine,
        };
        version.as_ref().map(|(version, _)| version.as_str()).map_err(String::as_str)
    }
}

/// A part of the examination.
#[derive(Debug, Clone, Serialize)]
pub struct Section {
    pub name: &'static str,
    pub checks: Vec<Check>,
}

impl Section {
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.outcome != Outcome::Failed)
    }
}

/// All sections, in the order in which they are told; only the first where nobody answered who runs sessions.
pub fn judge(seen: &Observations) -> Vec<Section> {
    let place = seen.place();
    let (first, tls) = match &seen.cluster {
        None => (
            Section { name: "orchestrator", checks: orchestrator::judge(&seen.orchestrator) },
            Some(Section { name: "TLS", checks: tls::judge(&seen.tls) }),
        ),
        Some(cluster) => (Section { name: "cluster", checks: cluster::judge(cluster) }, None),
    };
    let mut sections = vec![
        first,
        Section { name: "deployment", checks: deployment::judge(&seen.deployment, place) },
        Section { name: "concurrent access", checks: access::judge(&seen.access) },
        Section { name: "isolation", checks: isolation::judge(&seen.isolation, place) },
        Section { name: "resources", checks: limits::judge(&seen.resources) },
    ];
    sections.extend(tls);
    sections.push(Section { name: "clean-up", checks: cleanup::judge(&seen.cleanup, place) });
    if seen.version().is_err() {
        sections.truncate(1);
    }
    unexamined::explain(&mut sections, seen);
    for next in
        sections.iter_mut().flat_map(|section| &mut section.checks).filter_map(|check| check.next.as_mut())
    {
        *next = next.replace("SERVER", &seen.deployment.server);
    }
    sections
}

#[cfg(test)]
pub(in crate::validate) mod sample;
#[cfg(test)]
mod tests;
