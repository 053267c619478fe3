//! A backend starts a session's server and gives it to the session as an
//! [`Upstream`](crate::session::upstream::Upstream). It does nothing else.

pub mod docker;
