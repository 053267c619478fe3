//! What of this machine a client's entry can mean: its folders, its variables, its programs.

use std::fmt;
use std::path::Path;

use super::Surroundings;
use crate::values::Lookup;

/// The machine that the clients run on, for somebody in a folder.
pub struct Machine<'a> {
    pub around: &'a Surroundings,
    /// The environment's variables.
    pub lookup: Lookup<'a>,
}

impl Machine<'_> {
    /// The person's home folder.
    pub fn home(&self) -> Option<&Path> {
        self.around.home.as_deref()
    }
}

impl fmt::Debug for Machine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A variable's value may be a secret.
        f.debug_struct("Machine").field("around", self.around).finish_non_exhaustive()
    }
}
