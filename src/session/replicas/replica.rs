//! One node as the session has it: a whole state, and the deltas since.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use crate::wire::identity::NodeId;
use crate::wire::node::{Delta, NodeRef, NodeState};

/// What a node costs beside its payload, roughly: indices, allocation, uuid.
const OVERHEAD: usize = 256;
/// What one dependency costs, with its entry in the index.
pub(super) const DEPENDENCY: usize = 200;

/// What a delta costs beside its bytes: allocation, its place in the tail, its row on the disk.
pub(in crate::session) const DELTA: usize = 128;

/// What a delta costs while it waits, about.
pub(in crate::session) fn cost_of_delta(delta: &Delta) -> usize {
    let dependencies = delta.dependencies.len().saturating_mul(DEPENDENCY);
    let bytes = delta.delta.len().saturating_add(DELTA);
    bytes.saturating_add(dependencies)
}

/// What a node's state will cost, about.
pub(in crate::session) fn cost(state: &NodeState) -> usize {
    let dependencies = state.dependencies.len().saturating_mul(DEPENDENCY);
    state
        .payload
        .len()
        .saturating_add(dependencies)
        .saturating_add(OVERHEAD)
}

/// One node.
#[derive(Clone, Debug)]
pub struct Replica {
    pub(super) owner: Arc<str>,
    pub(super) kind: Bytes,
    pub(super) dependencies: Vec<NodeId>,
    pub(super) base: Bytes,
    /// Changes with every whole state; counts over all nodes, so it also tells a node from one
    /// of the same uuid created anew.
    pub(super) version: u64,
    pub(super) tail: Vec<Bytes>,
    pub(super) tail_bytes: usize,
    /// Number of the first delta in `tail`, counted from the whole state of this version as it
    /// came. Those before it are in `base`.
    pub(super) tail_start: usize,
    /// Whether there are tuples in it; `None` until it was looked into.
    pub(super) tuples: Option<bool>,
    /// Its deltas cannot be folded into it.
    pub(super) unfoldable: bool,
    pub(super) place: u64,
    /// Who owned it before the present owner, and until when.
    pub(super) former: Option<(Arc<str>, Instant)>,
    /// When a state of it came last, where that matters (see [`Replicas::note_pushed`](super::Replicas::note_pushed)).
    pub(super) pushed: Option<Instant>,
}

impl Replica {
    /// [`COMMON`](super::COMMON) or a user's name.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// Who owned it before, and until when.
    pub fn former(&self) -> Option<(&str, Instant)> {
        self.former
            .as_ref()
            .map(|(owner, until)| (&**owner, *until))
    }

    /// When a state of it came last, if that was noted.
    pub fn pushed(&self) -> Option<Instant> {
        self.pushed
    }

    /// The nodes it needs.
    pub fn dependencies(&self) -> &[NodeId] {
        &self.dependencies
    }

    /// Number of the whole state its deltas build on.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The base: the last whole state, or what came of it and some deltas.
    pub fn base(&self) -> &Bytes {
        &self.base
    }

    /// Deltas since the base, oldest first.
    pub fn tail(&self) -> &[Bytes] {
        &self.tail
    }

    /// Number of the first delta of the tail.
    pub fn tail_start(&self) -> usize {
        self.tail_start
    }

    /// Number of the delta that comes next.
    pub fn tail_end(&self) -> usize {
        self.tail_start.saturating_add(self.tail.len())
    }

    /// The deltas from a number on, unless some of them are in the base already.
    pub fn tail_from(&self, number: usize) -> Option<&[Bytes]> {
        self.tail.get(number.checked_sub(self.tail_start)?..)
    }

    /// Bytes of the deltas.
    pub fn tail_bytes(&self) -> usize {
        self.tail_bytes
    }

    /// Whether there are tuples in it, if that is known.
    pub fn has_tuples(&self) -> Option<bool> {
        self.tuples
    }

    /// Whether it has been tried in vain to fold its deltas into it.
    pub fn is_unfoldable(&self) -> bool {
        self.unfoldable
    }

    /// Bytes of the whole state with its deltas.
    pub fn payload_bytes(&self) -> usize {
        self.base.len().saturating_add(self.tail_bytes)
    }

    /// The type name, empty for untyped nodes.
    pub fn kind(&self) -> &Bytes {
        &self.kind
    }

    /// What is said of it beside a payload of its own, which may be its base or one of its deltas.
    pub fn with<'a>(&'a self, id: &'a NodeId, payload: &'a Bytes) -> NodeRef<'a> {
        NodeRef {
            id,
            owner: &self.owner,
            kind: &self.kind,
            dependencies: &self.dependencies,
            payload,
        }
    }

    /// The base, in the shape that travels.
    pub fn base_state(&self, id: NodeId) -> NodeState {
        NodeState {
            id,
            owner: self.owner.as_ref().into(),
            kind: self.kind.clone(),
            dependencies: self.dependencies.clone(),
            payload: self.base.clone(),
        }
    }

    pub(in crate::session) fn bytes(&self) -> usize {
        self.base
            .len()
            .saturating_add(self.tail_bytes)
            .saturating_add(self.tail.len().saturating_mul(DELTA))
            .saturating_add(self.dependencies.len().saturating_mul(DEPENDENCY))
            .saturating_add(OVERHEAD)
    }
}
