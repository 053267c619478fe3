//! The wire as MCP's stdio transport has it: lines, and JSON-RPC 2.0 messages in them.
//!
//! ```text
//!  bytes -> codec (a line, or an error) -> envelope (kind, id, method: borrowed from the line)
//!                \-> salvage (the ids in a line that is too long or broken) -> error_object (our answer)
//! ```
//!
//! Owns the definitions of a line, of a message, of equal ids, and of berth's own answers. It names no other module of
//! the crate, does no I/O, and never changes a byte that it was given.
#[cfg(test)]
mod arbitrary;
pub mod codec;
pub mod envelope;
pub mod error_object;
mod inline_bytes;
pub mod raw;
pub mod request_id;
pub mod salvage;
mod scan;

pub use codec::{Frame, FrameCodec, FrameError};
pub use envelope::{Envelope, Kind, Look, LookError, client_info_name, look};
pub use error_object::{error_line, failure_response};
pub use request_id::{RawId, RequestId};
pub use salvage::Salvage;
