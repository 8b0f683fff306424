//! From what the store holds to what a file holds.

use crate::store::Stored;
use crate::wire::delta::{FoldError, fold};
use crate::wire::identity::NodeId;
use crate::wire::node::NodeState;
use crate::wire::pickle::Budget;

/// A node with all its deltas applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The node.
    pub node: NodeState,
    /// Deltas that could not be applied, and which clients pass over as well.
    pub refused: usize,
}

/// The node to write. `None` if it was set aside: such nodes are none of the session's, and the
/// add-on's files have no place for them.
///
/// The files of the add-on list nodes in the order in which they were made: give [`write`](super::write())
/// those of a store ordered by [`Stored::place`].
///
/// # Errors
/// If its deltas and its base do not come together.
pub fn whole(id: NodeId, stored: &Stored, budget: &Budget) -> Result<Option<Folded>, FoldError> {
    if stored.aside.is_some() {
        return Ok(None);
    }
    let (mut payload, mut refused) = (stored.base.clone(), 0usize);
    let mut tail = stored.tail.as_slice();
    // At once, unless that takes too long for one step.
    while !tail.is_empty() {
        let folded = fold(&payload, tail, budget)?;
        payload = folded.payload;
        refused = refused.saturating_add(folded.left_out);
        let done = tail.len().saturating_sub(folded.left).max(1);
        tail = tail.get(done..).unwrap_or_default();
    }
    Ok(Some(Folded {
        node: NodeState {
            id,
            owner: stored.owner.as_ref().into(),
            kind: stored.kind.clone(),
            dependencies: stored.dependencies.clone(),
            payload,
        },
        refused,
    }))
}
