//! A backend starts a session's server and gives it to the session as an
//! [`Upstream`](crate::session::upstream::Upstream). It also keeps containers on standby, and tidies up.

pub mod ceiling;
pub mod docker;
