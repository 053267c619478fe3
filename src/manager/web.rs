//! What the API and the monitor have in common: connections with bounds, who is let in, and how errors are told.

pub(crate) mod guard;
pub(crate) mod input;
pub(crate) mod problem;
pub(crate) mod serve;
