//! Data messages: nodes and their changes, as every generation frames them.
//!
//! The data ports feed what a connection received into its [`Reassembler`]; the session sends
//! state down with [`encode_node`] and relays changes with [`encode_delta`].

pub(crate) mod raw;
mod receive;
mod send;

use bytes::Bytes;
use smol_str::SmolStr;
use thiserror::Error;

pub use self::receive::{Reassembler, header_sender};
pub(super) use self::send::{delta_from, node_from};
pub use self::send::{delta_messages, encode_delta, encode_node, node_messages, whole_as_delta};
use super::identity::NodeId;
use super::payload::FieldError;

/// A node as it is stored and as it travels whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeState {
    /// Its uuid.
    pub id: NodeId,
    /// `COMMON` or the name of a user.
    pub owner: SmolStr,
    /// Type name, empty from G11 on.
    pub kind: Bytes,
    /// The nodes it needs, in the sender's order.
    pub dependencies: Vec<NodeId>,
    /// The payload in the encoding of its family, opaque here.
    pub payload: Bytes,
}

impl NodeState {
    /// The same without owning it.
    pub fn as_ref(&self) -> NodeRef<'_> {
        NodeRef {
            id: &self.id,
            owner: &self.owner,
            kind: &self.kind,
            dependencies: &self.dependencies,
            payload: &self.payload,
        }
    }
}

/// A [`NodeState`] whose parts are kept elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct NodeRef<'a> {
    /// Its uuid.
    pub id: &'a NodeId,
    /// `COMMON` or the name of a user.
    pub owner: &'a str,
    /// Type name, empty from G11 on.
    pub kind: &'a Bytes,
    /// The nodes it needs.
    pub dependencies: &'a [NodeId],
    /// The payload.
    pub payload: &'a Bytes,
}

/// A change of a node that carries a delta rather than the whole payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delta {
    /// The node.
    pub id: NodeId,
    /// The owner the message names; a Commit (G15–G19) names none.
    pub owner: Option<SmolStr>,
    /// Type name, empty from G11 on.
    pub kind: Bytes,
    /// The node's dependencies after the change.
    pub dependencies: Vec<NodeId>,
    /// The delta's dump, opaque here.
    pub delta: Bytes,
}

/// What one data message (with its chunks) says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Update {
    /// The node's whole state (G1–G7; Node in G15–G19).
    Node(NodeState),
    /// A delta (G8–G14; Commit in G15–G19).
    Delta(Delta),
}

/// Bounds of one data message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeLimits {
    /// Longest payload in bytes, all chunks together.
    pub payload: usize,
    /// Most dependencies of one node.
    pub dependencies: usize,
    /// Longest owner or type name in bytes.
    pub name: usize,
    /// Most chunk messages of one node (G1–G9; honest clients need one per 2.5 GB).
    pub chunks: u32,
}

impl Default for NodeLimits {
    fn default() -> Self {
        Self {
            payload: 480 << 20,
            dependencies: 65_536,
            name: 1024,
            chunks: 4,
        }
    }
}

/// Why a message is not (part of) a node or delta.
#[derive(Debug, Error)]
pub enum NodeError {
    /// The message has another number of frames than this generation's.
    #[error("a {what} of {found} frames instead of {expected}")]
    Frames {
        /// Which message was due.
        what: &'static str,
        /// Its frames.
        found: usize,
        /// What they should be.
        expected: usize,
    },
    /// The uuid is not one.
    #[error("the node's uuid is not 36 printable characters")]
    Id,
    /// The owner is empty, too long or not UTF-8.
    #[error("the node's owner is not a name")]
    Owner,
    /// The type name is longer than allowed.
    #[error("the node's type is longer than {0} bytes")]
    Kind(usize),
    /// The type name is not UTF-8, which clients decode it as.
    #[error("the node's type is not UTF-8")]
    KindText,
    /// The dependencies are not `None` or a short enough list of uuids.
    #[error("the node's dependencies: {0}")]
    Dependencies(FieldError),
    /// The chunk count is no number, none, or more than allowed.
    #[error("a node in {0:?} chunks")]
    Chunks(Option<i64>),
    /// The payload is longer than allowed, be it by its first chunks alone.
    #[error("the node is longer than {0} bytes")]
    TooLong(usize),
    /// No client sends an empty payload.
    #[error("the node is empty")]
    Empty,
    /// An object on the data link that is neither Node nor Commit.
    #[error("object {0:?} does not belong on the data link")]
    Object(Option<i64>),
}
