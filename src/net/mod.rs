//! Sockets: who may connect, and the ports they connect to.
//!
//! [`listen`] binds the ports and accepts connections (each a [`line`](mod@line)), [`admission`]
//! says which of them may stay and what they may take while nobody is logged in on them.

pub mod admission;
pub mod handshake;
mod holder;
pub mod line;
pub mod listen;
mod rates;
mod source;

pub use rates::Rate;
pub use source::Source;
