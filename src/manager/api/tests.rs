//! The API, by its two halves.

mod daemon;
mod history;
