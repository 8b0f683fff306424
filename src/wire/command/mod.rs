//! Commands: what clients ask on the command link, and what the server answers there.
//!
//! The command port decodes with [`decode`](fn@decode), which needs no dialect because a stranger has none
//! yet; the session's answers are encoded by a [`Dialect`](super::dialect::Dialect).

mod decode;
mod encode;
mod kind;
mod set;

use std::fmt;

use thiserror::Error;

pub use self::decode::decode;
pub(super) use self::decode::{Parts, dict, parts, request, state as state_of};
pub use self::encode::encode;
pub(super) use self::encode::{REMOVED, right, set_data, state};
pub(super) use self::kind::{Kind, message};
pub(super) use self::set::{decode as decode_set, encode as encode_set};
use super::dialect::Framing;
use super::identity::NodeId;
use super::node::{NodeLimits, NodeState};
pub use super::payload::FieldError;
use super::pickle::Value;

/// A decoded command of a client.
#[derive(Clone, Debug, PartialEq)]
pub struct Command {
    /// How its type was named; an answer to a stranger is framed alike.
    pub framing: Framing,
    /// The owner text as sent. Free text that proves nothing.
    pub owner: String,
    /// What is asked.
    pub request: Request,
}

/// What a client asks.
#[derive(Clone, Debug, PartialEq)]
pub enum Request {
    /// Log in.
    Auth(Auth),
    /// Snapshot `REQUEST_INIT`: which nodes are there?
    CatalogRequest,
    /// Snapshot `GET`: one node of the catalog.
    Get(NodeId),
    /// Snapshot `DONE`: the joiner has them all (G3).
    JoinDone,
    /// ServerSnapshot `INIT`: offers to upload these nodes. Never with a uuid twice.
    UploadInit {
        /// The announced nodes, in the client's order.
        nodes: Vec<NodeId>,
    },
    /// ServerSnapshot `SET`: one node of the upload (G5).
    UploadSet(NodeState),
    /// ServerSnapshot `END`, or the bare text `SNAPSHOT_END` (G1–G4).
    UploadEnd,
    /// Remove a node.
    Delete(NodeId),
    /// Give nodes to an owner. One node up to G15, any number from G16 on.
    Right {
        /// The nodes, possibly none.
        nodes: Vec<NodeId>,
        /// The new owner: `COMMON` or a user.
        owner: String,
    },
    /// Remove a user.
    Kick {
        /// Its name.
        user: String,
    },
    /// Leave and be answered (0.0.3–0.0.15).
    Disconnect,
    /// Update of the sender's metadata; always a dict.
    Metadata(Value),
    /// Which version runs here, and is it private (G17)? Asked without login.
    Info,
}

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// Whether `AUTH_TYPE` is `ADMIN`: the user typed an admin password.
    pub admin: bool,
    /// The user's name, unchecked.
    pub name: String,
    /// The client's version text; `None` is G1.
    pub version: Option<String>,
    /// What it knows.
    pub credentials: Credentials,
}

/// The password fields of a login; `None` where the client sent none. `Debug` masks them.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// `PWD` (G1–G16).
    One(Option<String>),
    /// `S_PWD` and `A_PWD` (G17–G19).
    Two {
        /// The session's password.
        server: Option<String>,
        /// The admin password.
        admin: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::One(_) => "One(…)",
            Self::Two { .. } => "Two(…)",
        })
    }
}

/// What the server says on the command link. Everything is issued in the name of `server`
/// except where a field or variant says otherwise.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer<'a> {
    /// Answer to a login: `LOBBY`, `RUNNING` or a refusal.
    Auth(&'a str),
    /// The users dict.
    Users(&'a Value),
    /// Another user's metadata update (G9).
    Metadata {
        /// The user whose metadata it is; issued in this name.
        owner: &'a str,
        /// The dict as received.
        data: &'a Value,
    },
    /// Snapshot `INIT`. Never empty: clients die of an empty catalog.
    Catalog(&'a [NodeId]),
    /// Snapshot `SET` (G7): the node a joiner asked for.
    Set(&'a NodeState),
    /// Snapshot `SET` with `b'removed'`: it is gone (G18).
    Removed,
    /// ServerSnapshot `ACCEPTED`.
    UploadAccepted,
    /// ServerSnapshot `REJECTED`.
    UploadRejected,
    /// ServerSnapshot `DONE`.
    UploadDone,
    /// A node is gone. Issued in the name of `client`, like the request it relays.
    Delete(NodeId),
    /// Nodes have a new owner.
    Right {
        /// Who caused it: a user's name, or `server`.
        by: &'a str,
        /// The nodes.
        nodes: &'a [NodeId],
        /// The owner.
        owner: &'a str,
    },
    /// The session is over for this client.
    Disconnect {
        /// Shown to the user.
        reason: &'a str,
    },
    /// Answer to [`Request::Info`].
    Info {
        /// Whether a server password is needed.
        private: bool,
        /// The session's version.
        version: &'a str,
    },
}

/// Bounds of one command. How long its frames may be is for the transport to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommandLimits {
    /// Most nodes a list may name (upload, Right).
    pub nodes: usize,
    /// Most values in a payload, shared ones counted each time (metadata).
    pub items: usize,
    /// Longest text (owner, user name, password, version) in bytes.
    pub text: usize,
    /// Bounds of a node in a `SET`.
    pub node: NodeLimits,
}

impl Default for CommandLimits {
    fn default() -> Self {
        Self {
            nodes: 262_144,
            items: 524_288,
            text: 1024,
            node: NodeLimits::default(),
        }
    }
}

/// Why a message is not a command.
#[derive(Debug, Error)]
pub enum CommandError {
    /// Commands have three frames.
    #[error("a command of {0} frames instead of 3")]
    Frames(usize),
    /// The owner is not UTF-8 or longer than any name.
    #[error("the owner is not a short text")]
    Owner,
    /// No command has this name or number (made echoable).
    #[error("unknown command '{0}'")]
    Kind(String),
    /// It exists, but goes the other way only.
    #[error("command {0} goes the other way")]
    Direction(&'static str),
    /// The payload is not what the command demands.
    #[error("command {kind}: {error}")]
    Payload {
        /// The command.
        kind: &'static str,
        /// What is wrong.
        error: FieldError,
    },
}
