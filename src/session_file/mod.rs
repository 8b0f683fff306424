//! The session file (`.db`) of the add-on: how a session leaves the server for Blender, for another
//! server or for a backup, and how it comes in. Called by backups and export ([`write()`]), import
//! and restore ([`Reader`]); knows neither sockets nor the running session.
//!
//! The file is gzip of one pickle, a dict whose `nodes` is a list. Which shape the nodes have
//! depends on who is to load it ([`Format`]). The clients load it with everything Python has, so
//! what is written is plain data of protocol 4; what is read goes through our own readers, which
//! call nothing, within [`Limits`], and every node is looked into like one that an artist pushes.
//!
//! Neither side holds more than a node at a time, except that the reader holds the whole of a file
//! of [`Format::Decoded`], where nodes may refer to parts of each other.

#![warn(clippy::arithmetic_side_effects)]

mod about;
mod decoded;
mod error;
mod format;
mod input;
mod machine;
mod node;
mod pack;
mod read;
mod stack;
mod stored;
#[cfg(test)]
mod tests;
mod write;

pub use about::About;
pub use error::{FileError, NodeError, ReadError, WriteError};
pub use format::Format;
pub use read::{Limits, Reader, Summary};
pub use stored::{Folded, whole};
pub use write::{Written, write};
