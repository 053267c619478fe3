//! What clients of the API are told.

mod daemon;
mod history;
mod limits;
mod standby;
