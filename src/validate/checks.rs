//! From observations to checks: pure functions. Nothing here does I/O, so a test can make each check fail.

pub mod access;
pub mod cleanup;
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
use deployment::Deployment;
use isolation::Isolation;
use orchestrator::Orchestrator;
use tls::Tls;

/// All that was seen, as plain data.
#[derive(Debug, Clone, Default)]
pub struct Observations {
    pub orchestrator: Orchestrator,
    pub deployment: Deployment,
    /// Sessions beside the examined ones that did not start, and why.
    pub missing_spares: Vec<(String, String)>,
    pub access: Access,
    pub isolation: Isolation,
    pub resources: Resources,
    pub tls: Tls,
    pub cleanup: Cleanup,
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

/// All sections, in the order in which they are told; only the first where there was no daemon to examine.
pub fn judge(seen: &Observations) -> Vec<Section> {
    let mut sections = vec![
        Section { name: "orchestrator", checks: orchestrator::judge(&seen.orchestrator) },
        Section { name: "deployment", checks: deployment::judge(&seen.deployment) },
        Section { name: "concurrent access", checks: access::judge(&seen.access) },
        Section { name: "isolation", checks: isolation::judge(&seen.isolation) },
        Section { name: "resources", checks: limits::judge(&seen.resources) },
        Section { name: "TLS", checks: tls::judge(&seen.tls) },
        Section { name: "clean-up", checks: cleanup::judge(&seen.cleanup) },
    ];
    if seen.orchestrator.engine.is_err() {
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
