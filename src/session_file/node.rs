//! From what a file says of a node to a node that is fit for others.

use bytes::Bytes;

use super::error::NodeError;
use super::read::Limits;
use crate::wire::dialect::Family;
use crate::wire::fit::{Part, look_into};
use crate::wire::identity::NodeId;
use crate::wire::node::{NodeState, raw};
use crate::wire::pickle::{Budget, Value, read};

/// A pickle longer than this is no `None`.
const NONE: usize = 16;

/// A node of a list of chunks, which is [`Format::Ours`](super::Format::Ours) if the file said whether
/// it is marshal.
pub(super) fn from_chunks(
    chunks: [Bytes; 5],
    marshal: Option<bool>,
    limits: &Limits<'_>,
) -> Result<NodeState, (Option<NodeId>, NodeError)> {
    let [first, second, ..] = &chunks;
    let id = NodeId::new(if marshal.is_some() { first } else { second });
    let (node, family) = match marshal {
        None => (
            raw::from_chunks(chunks, &limits.node),
            Family::UntypedPickle,
        ),
        Some(marshal) => {
            let family = if marshal {
                Family::Marshal
            } else {
                Family::TypedPickle
            };
            (raw::from_typed_chunks(chunks, &limits.node), family)
        }
    };
    let node = node.map_err(|error| (id, error.into()))?;
    let deltas = family == Family::UntypedPickle;
    fit(node, family, deltas, limits).map_err(|error| (id, error))
}

/// The node, with a payload that everybody understands alike.
pub(super) fn fit(
    mut node: NodeState,
    family: Family,
    deltas: bool,
    limits: &Limits<'_>,
) -> Result<NodeState, NodeError> {
    let looked = look_into(&node.payload, Part::Set, family, deltas, &limits.policy)?;
    if let Some(rewritten) = looked.rewritten {
        node.payload = rewritten;
    }
    Ok(node)
}

/// Whether this is a node that was registered but never filled.
pub(super) fn is_without_data(node: &NodeState) -> bool {
    node.payload.len() <= NONE && matches!(read(&node.payload, &Budget::STRANGER), Ok(Value::None))
}
