//! The limits of the examined sessions, and of a session that may break.

use super::{Bench, Live};
use crate::config::Settings;
use crate::exam::limits::Resources;
use crate::exam::limits::prove::{overstepped, prove};

/// What the session for it is started with.
pub(super) fn flags(settings: &Settings) -> Vec<String> {
    let (memory, pids) = overstepped(settings);
    vec!["--memory".to_owned(), memory.to_string(), "--pids".to_owned(), pids.to_string()]
}

/// `examined` is one of the examined sessions, `spare` the one that may break.
pub(super) async fn overstep(bench: &Bench<'_>, examined: Option<&Live>, spare: Option<&Live>) -> Resources {
    let inside = |live: Option<&Live>| live.map(|live| bench.inside(&live.container));
    prove(&bench.plan.server.settings, inside(examined).as_ref(), inside(spare).as_ref()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_that_is_too_high_to_be_overstepped_is_lowered() {
        let mut high = Settings::default();
        (high.memory, high.pids) = (64 << 30, 30_000);
        assert_eq!(flags(&high), ["--memory", "1073741824", "--pids", "1024"]);
        assert_eq!(flags(&Settings::default()), ["--memory", "536870912", "--pids", "256"]);
    }
}
