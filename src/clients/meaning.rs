//! What an entry means on the machine that it was written for, seen and carried over into a server's settings, or told.

use super::{Entry, Machine};
use crate::runner::Parsed;

/// Adds what the entry takes for granted of its machine. `Err` says why it can't be taken over, and what to do.
#[expect(clippy::unnecessary_wraps, clippy::needless_pass_by_ref_mut, reason = "its parts come one by one")]
pub fn carry_over(parsed: &mut Parsed, entry: &Entry, machine: &Machine<'_>) -> Result<(), String> {
    let (_, _, _) = (parsed, entry, machine.home());
    Ok(())
}
