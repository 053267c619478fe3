//! Examinations of minutes, with figures for people (`fixtures/cluster-exam.sh`). The suite does not run them.

mod cuts;
mod dead_node;
mod ends;
#[path = "../../fixtures/bench/src/interval.rs"]
mod interval;
mod many;
mod race;

use std::io::Write;
use std::time::Duration;

/// A line for a person.
fn tell(said: &str) {
    let _ = writeln!(std::io::stdout(), "exam: {said}");
}

/// The value below which this part of them are, in milliseconds.
fn percentile(values: &mut [Duration], part: f64) -> f64 {
    values.sort_unstable();
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a few thousand values"
    )]
    let at = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len()) - 1;
    values[at].as_secs_f64() * 1000.0
}
