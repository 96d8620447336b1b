//! HTTP/1.1 as it stands on the wire: heads, and bodies by their framing.
//!
//! It reads from a buffer that its owner fills, and never asks for more than one message: what stands
//! behind it is left where it is. A message that could be read in two ways is refused, never guessed at.

pub mod body;
pub mod head;

pub use body::{Body, Malformed};
pub use head::{Head, Request, Response};

/// How the end of a body is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes; none at all where no body belongs to a message.
    Length(u64),
    /// In pieces, each with its length.
    Chunked,
    /// All until the connection is closed.
    Close,
}
