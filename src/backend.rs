//! What runs a session's server: «start it» and [`Upstream`](crate::session::upstream::Upstream), and nothing else, is what a
//! backend gives.

pub mod docker;
