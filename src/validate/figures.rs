//! The reference report's figures beside ours.

use std::time::Duration;

use serde::Serialize;

use super::checks::Observations;
use crate::human::count;

/// One of the four figures that the reference report gives, and ours.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    pub name: &'static str,
    pub reference: &'static str,
    /// `None`: there is none, for what it measures did not happen.
    pub ours: Option<String>,
}

/// The four, with what they were measured over.
pub fn figures(seen: &Observations, took: Duration) -> [Figure; 4] {
    let deployed = seen.deployment.sessions.iter().filter(|session| session.ready.is_ok()).count();
    let (right, wanted) = (seen.access.right(), seen.access.wanted());
    [
        Figure {
            name: "deployment of four containers",
            reference: "4.5 s",
            ours: (deployed > 0).then(|| {
                let four = if deployed == 4 {
                    String::new()
                } else {
                    format!(" ({})", count(deployed, "container"))
                };
                format!("{:.2} s{four}", seen.deployment.took.as_secs_f64())
            }),
        },
        Figure {
            name: "mean operation",
            reference: "0.51 s",
            ours: seen.access.times().mean.map(|mean| format!("{:.4} s", mean.as_secs_f64())),
        },
        Figure {
            name: "whole examination",
            reference: "21 s",
            ours: Some(format!("{:.1} s", took.as_secs_f64())),
        },
        Figure {
            name: "successful operations",
            reference: "100 % (20 of 20)",
            ours: (wanted > 0).then(|| format!("{} % ({right} of {wanted})", right * 100 / wanted)),
        },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_success_is_never_rounded_up() {
        use crate::validate::checks::access::{Call, CallOutcome, ClientCalls};
        let mut seen = Observations::default();
        let call = |outcome| Call { took: Duration::from_millis(1), outcome };
        let mut calls = vec![call(CallOutcome::Right); 299];
        calls.push(call(CallOutcome::Wrong("no".to_owned())));
        seen.access.calls = 300;
        seen.access.clients = vec![ClientCalls { calls, ..ClientCalls::default() }];
        assert_eq!(figures(&seen, Duration::ZERO)[3].ours.as_deref(), Some("99 % (299 of 300)"));
    }
}
