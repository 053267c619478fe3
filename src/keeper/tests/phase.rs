//! Which phase follows which.

use std::time::{Duration, Instant};

use crate::phase::{Event, Phase};

#[test]
fn every_phase_knows_what_follows() {
    let (now, grace) = (Instant::now(), Duration::from_secs(8));
    let half = now + grace / 2;
    let follows = |phase: Phase, event| phase.next(event, now, grace);
    assert_eq!(follows(Phase::Unclaimed(now), Event::Claimed), Phase::Claimed);
    assert_eq!(follows(Phase::Unclaimed(now), Event::TimeUp), Phase::Stopping(half));
    let (soon, later) = (now + Duration::from_secs(4), now + Duration::from_mins(30));
    assert_eq!(follows(Phase::Unclaimed(later), Event::Announced), Phase::Awaited(soon));
    assert_eq!(follows(Phase::Unclaimed(now), Event::Announced), Phase::Awaited(soon), "it is wanted");
    assert_eq!(follows(Phase::Awaited(now), Event::Announced), Phase::Awaited(soon), "by a second one, too");
    assert_eq!(follows(Phase::Awaited(now), Event::Claimed), Phase::Claimed);
    assert_eq!(follows(Phase::Awaited(now), Event::TimeUp), Phase::Stopping(half), "its claimant has died");
    assert_eq!(follows(Phase::Unclaimed(later), Event::Surplus), Phase::Over, "nobody can claim it then");
    let wanted =
        [Phase::Awaited(now), Phase::Claimed, Phase::Leaving(now), Phase::Telling(now), Phase::Draining(now)];
    for wanted in wanted {
        assert_eq!(follows(wanted, Event::Surplus), wanted, "it is nobody's surplus");
    }
    assert_eq!(follows(Phase::Claimed, Event::Announced), Phase::Claimed, "who lost the race does no harm");
    assert_eq!(follows(Phase::Draining(now), Event::TimeUp), Phase::Stopping(half));
    assert_eq!(follows(Phase::Stopping(now), Event::TimeUp), Phase::Over);
    for phase in [Phase::Unclaimed(now), Phase::Awaited(now), Phase::Claimed] {
        assert_eq!(follows(phase, Event::OwnerGone), Phase::Draining(half));
    }
    let alive = [Phase::Unclaimed(now), Phase::Awaited(now), Phase::Claimed, Phase::Telling(now)];
    for phase in alive.into_iter().chain([Phase::Draining(now)]) {
        assert_eq!(follows(phase, Event::StopAsked), Phase::Stopping(half));
    }
    // The time that a server has for its end begins with its client's, whatever its owner does then.
    let leaving = follows(Phase::Claimed, Event::OwnerLeaves);
    assert_eq!((leaving, leaving.is_ending()), (Phase::Leaving(half), false), "the owner looks how it ends");
    assert_eq!(leaving.deadline(), Some(half + Duration::from_millis(500)), "the owner asks first");
    let later = now + grace / 4;
    assert_eq!(leaving.next(Event::OwnerGone, later, grace), Phase::Draining(half));
    for event in [Event::StopAsked, Event::TimeUp] {
        assert_eq!(leaving.next(event, later, grace), Phase::Stopping(later + grace / 2));
    }
    assert_eq!(leaving.next(Event::OwnerLeaves, later, grace), leaving);
    // The owner hears of it before the server's end.
    assert_eq!(follows(Phase::Claimed, Event::StopTold), Phase::Telling(now + Duration::from_millis(500)));
    for phase in [Phase::Unclaimed(now), Phase::Awaited(now), Phase::Draining(now)] {
        assert_eq!(follows(phase, Event::StopTold), Phase::Stopping(half), "there is no owner");
    }
    for event in [Event::OwnerGone, Event::TimeUp] {
        assert_eq!(follows(Phase::Telling(now), event), Phase::Stopping(half));
    }
    for phase in [Phase::Unclaimed(now), Phase::Claimed, Phase::Draining(now), Phase::Stopping(now)] {
        assert_eq!(follows(phase, Event::ServerEnded), Phase::Over);
    }
    // An end that has begun is neither put off nor taken back.
    for event in [
        Event::Nothing,
        Event::Announced,
        Event::Claimed,
        Event::OwnerLeaves,
        Event::StopAsked,
        Event::OwnerGone,
    ] {
        assert_eq!(follows(Phase::Stopping(now), event), Phase::Stopping(now));
    }
    for event in [Event::Nothing, Event::Announced, Event::Claimed, Event::OwnerLeaves, Event::OwnerGone] {
        assert_eq!(follows(Phase::Draining(now), event), Phase::Draining(now));
    }
}
