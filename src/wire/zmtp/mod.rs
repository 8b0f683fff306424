//! ZeroMQ's protocol ZMTP 3 with the NULL mechanism, as a listening peer speaks it.
//!
//! The transport of generations G1 to G18. `net` reads a socket into [`Decoder::space`], takes
//! [`Item`]s from [`Decoder::next`] until there are none, and writes what [`greeting`](fn@greeting), [`ready`],
//! [`ping`], [`pong`] and [`encode`](fn@encode) return. Nothing here does I/O.
//!
//! libzmq sends the first bytes of its greeting and waits for ours before it sends the rest, so
//! ours has to leave as soon as a peer is known to speak this protocol. Each side then sends its
//! READY without waiting for the other's.

mod command;
mod decode;
mod encode;
mod greeting;

use bytes::Bytes;
use thiserror::Error;

pub use command::{Ready, SocketType, ping, pong, ready};
pub use decode::Decoder;
pub use encode::{encode, encode_all};
pub use greeting::{Greeting, greeting};

use super::detect::Foreign;
use super::limits::LimitError;

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// The greeting; comes first and once.
    Greeting(Greeting),
    /// The peer's socket; comes second and once. Frames follow.
    Ready(Ready),
    /// A heartbeat, to be answered with a [`pong`] of the same context.
    Ping {
        /// After how many tenths of a second without a sign of life the peer gives up on us; 0
        /// for never.
        ttl: u16,
        /// At most 16 bytes.
        context: Bytes,
    },
    /// The answer to a heartbeat of ours.
    Pong {
        /// What our heartbeat said.
        context: Bytes,
    },
    /// The peer refuses us, with this reason (escaped).
    Error(String),
    /// A command of this name (escaped) that means nothing to us and is to be ignored.
    OtherCommand(String),
    /// A frame of a message.
    Frame {
        /// Whether further frames of the same message follow. Heartbeats may come between.
        more: bool,
        /// The frame's content.
        body: Bytes,
    },
}

/// What is wrong with the bytes of a peer. The connection is of no use afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ZmtpError {
    /// The first bytes belong to another protocol.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// A ZeroMQ peer from before ZMTP 3, with this revision number (1 is ZMTP 2.0).
    #[error("the peer speaks ZMTP revision {0}; ZeroMQ 4 or newer is needed")]
    Version(u8),
    /// The peer wants a security mechanism (its name escaped).
    #[error("the peer wants the security mechanism {0:?}, but only NULL is offered")]
    Mechanism(String),
    /// A frame begins with flags that do not exist.
    #[error("a frame begins with the reserved flags 0x{0:02x}")]
    Flags(u8),
    /// A command frame claims that further frames follow.
    #[error("a command frame has the MORE flag")]
    CommandWithMore,
    /// A message frame came before the READY command.
    #[error("a message frame came before the READY command")]
    FrameBeforeReady,
    /// A length with the highest bit set, which the protocol forbids.
    #[error("a frame announces the impossible length 0x{0:016x}")]
    Length(u64),
    /// A command longer than any that is meant for us.
    #[error("a command of {len} bytes is longer than the {limit} bytes allowed")]
    CommandLength {
        /// Bytes announced.
        len: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// A command that comes at the wrong time (its name escaped).
    #[error("the command {0:?} is not allowed at this point")]
    Order(String),
    /// A command that ends too early or is otherwise wrong.
    #[error("the command {name} is malformed: {what}")]
    Command {
        /// The command.
        name: &'static str,
        /// What is wrong with it.
        what: &'static str,
    },
    /// More than the peer may send.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// Peer-supplied bytes in a form that is fit for a log: escaped, and cut after 64 bytes.
fn printable(bytes: &[u8]) -> String {
    const SHOWN: usize = 64;
    let cut = if bytes.len() > SHOWN { "…" } else { "" };
    let shown = bytes.get(..SHOWN).unwrap_or(bytes);
    format!("{}{cut}", shown.escape_ascii())
}
