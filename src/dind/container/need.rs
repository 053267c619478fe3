//! What a container needs next, by the state that its engine tells. Judges only.

use crate::dind::owner::Owner;
use crate::dind::spec::LABEL_SPEC;
use crate::dock::docker::Container;

/// What a container needs next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Need {
    Creation,
    /// It is not berth's.
    NotOurs,
    /// It is another home's, which is named.
    OtherHome(String),
    /// The engine is removing it.
    Wait,
    /// It is beyond repair, or stopped and outdated.
    Replacement(&'static str),
    /// It runs, with other settings than it should.
    Update,
    Start,
    Restart,
    Thaw,
    /// It runs: whether it answers is another question.
    Look,
}

pub(super) fn need(container: Option<&Container>, hash: &str, owner: &Owner) -> Need {
    let Some(container) = container else { return Need::Creation };
    if !crate::dind::is_ours(container) {
        return Need::NotOurs;
    }
    if let Some(home) = owner.other(&container.labels) {
        return Need::OtherHome(home);
    }
    let current = container.labels.get(LABEL_SPEC).is_some_and(|found| found == hash);
    match container.status.as_str() {
        "removing" => Need::Wait,
        "dead" => Need::Replacement("it was dead"),
        "paused" => Need::Thaw,
        "running" if current => Need::Look,
        "running" => Need::Update,
        _ if !current => Need::Replacement("its settings have changed"),
        "restarting" => Need::Restart,
        _ => Need::Start,
    }
}
