//! What an entry means on the machine that it was written for, seen and carried over into a server's settings, or told.
//!
//! Nothing is given to a server that its line or what is known of its package does not name, and each mount is said.

mod bounds;
mod browsers;
mod files;
mod fit;
mod home;
mod inherited;
mod known;
mod memory;
mod placeholders;
mod programs;
mod project;
mod services;
mod stated;
mod tools;
mod words;

pub use services::of_a_bridge;
pub use stated::Stated;

use super::{Entry, Machine};
use crate::runner::{Parsed, Program};

pub use placeholders::refuse_placeholders;
pub use programs::understand;

/// Adds what the entry takes for granted of its machine. `Err` says why it can't be taken over, and what to do.
pub fn carry_over(
    parsed: &mut Parsed,
    entry: &Entry,
    stated: &Stated,
    machine: &Machine<'_>,
) -> Result<(), String> {
    services::services(parsed, stated, machine)?;
    // Its arguments, its variables and its folder are those of the image.
    if matches!(parsed.program, Program::Image { .. }) {
        return bounds::check(parsed, stated, machine);
    }
    let known = known::known(parsed);
    let has_places = files::carry_over(parsed, (entry, stated), machine, known)?;
    project::offer(parsed, entry, machine, known, has_places);
    memory::keep(parsed, machine, known);
    home::offer(parsed, machine, known);
    inherited::name(parsed, machine);
    tools::tell(parsed);
    bounds::check(parsed, stated, machine)
}
