//! Where the values of variables come from.

/// The environment, handed in so that a reader of variables can be tested without one.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;
