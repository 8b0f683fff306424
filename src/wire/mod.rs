//! Bytes to messages and back. Pure functions: no sockets, no clocks, no session.
//!
//! Two transports, [`zmtp`] (ZeroMQ's protocol) and [`framed`] (length-prefixed chunks), carry
//! [`message::Message`]s; [`detect`] tells them apart by the first bytes and [`limits`] says how
//! much a peer may send. Above them one codec, [`command`] and [`node`], is driven by a row of
//! the [`dialect`] table: the published client versions differ only in the traits listed there.
//! Payloads inside are Python pickles, read by the bounded, non-executing reader in [`pickle`];
//! nodes of the oldest clients are in [`marshal`]. What of it others may get is said in [`fit`].

#![warn(clippy::arithmetic_side_effects)]

pub mod client;
pub mod command;
pub mod delta;
pub mod detect;
pub mod dialect;
pub mod fit;
pub mod framed;
mod gather;
pub mod heartbeat;
pub mod identity;
pub(crate) mod intake;
pub mod limits;
pub mod marshal;
pub mod message;
pub mod node;
mod payload;
pub mod pickle;
pub mod role;
pub mod transport;
pub mod zmtp;
