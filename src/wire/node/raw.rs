//! Nodes as lists of raw chunks: what clients of 0.4.0 and later save a session as, and the like for
//! earlier ones. Called by `session_file`.

use bytes::Bytes;

use super::{NodeLimits, NodeState};
use crate::wire::command::decode_set;
use crate::wire::payload::{self, Empty, FieldError};
use crate::wire::pickle::{Protocol, Value};

/// The number of a Node.
const NODE: u8 = 2;

/// A node as 0.4.0 and later chunk it: its type's number, uuid, owner, dependencies, payload.
pub(crate) fn to_chunks(node: &NodeState) -> [Bytes; 5] {
    [
        payload::pickled_int(NODE, Protocol::Four),
        Bytes::copy_from_slice(node.id.as_bytes()),
        Bytes::copy_from_slice(node.owner.as_bytes()),
        payload::pickled_dependencies(&node.dependencies, Protocol::Four, Empty::List),
        node.payload.clone(),
    ]
}

/// The same with the name of the type, for nodes of earlier clients: uuid, owner, type,
/// dependencies, payload.
pub(crate) fn to_typed_chunks(node: &NodeState) -> [Bytes; 5] {
    let [_number, id, owner, dependencies, payload] = to_chunks(node);
    [id, owner, node.kind.clone(), dependencies, payload]
}

/// Reads what [`to_chunks`] writes, and clients do.
pub(crate) fn from_chunks(
    chunks: [Bytes; 5],
    limits: &NodeLimits,
) -> Result<NodeState, FieldError> {
    named(decode_set(&Value::list(chunks.map(Value::Bytes)), limits)?)
}

/// Reads what [`to_typed_chunks`] writes.
pub(crate) fn from_typed_chunks(
    [id, owner, kind, dependencies, payload]: [Bytes; 5],
    limits: &NodeLimits,
) -> Result<NodeState, FieldError> {
    let entries = [
        ("uuid", id),
        ("owner", owner),
        ("type", kind),
        ("dependencies", dependencies),
        ("data", payload),
    ];
    named(decode_set(
        &payload::dict(entries.map(|(key, bytes)| (key, Value::Bytes(bytes)))),
        limits,
    )?)
}

fn named(node: NodeState) -> Result<NodeState, FieldError> {
    if node.owner.is_empty() {
        return Err(FieldError::Shape("the node's owner is empty"));
    }
    Ok(node)
}
