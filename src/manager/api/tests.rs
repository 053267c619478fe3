//! What clients of the API are told.

mod daemon;
mod history;
mod standby;
