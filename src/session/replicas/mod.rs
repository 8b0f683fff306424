//! The master copy: every node with its owner and dependencies, in the order of creation.
//!
//! Plain data, owned by the session. Payloads are shared bytes that are never looked into here:
//! `folding` makes one whole state of a base and its deltas, elsewhere.

mod aside;
mod kept;
mod replica;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::time::Instant;

use self::aside::Aside;
use self::replica::DEPENDENCY;
pub use self::replica::Replica;
pub(super) use self::replica::{DELTA, cost, cost_of_delta};
use crate::wire::identity::{Identity, NodeId, NodeMap, NodeSet};
use crate::wire::node::{Delta, NodeState};

/// The owner of what nobody owns.
pub const COMMON: &str = "COMMON";

/// Graves kept of nodes that were never there.
const UNKNOWN_GRAVES: usize = 10_000;
/// Graves kept at most. They are to last as long as anything may be on its way that was sent before the Delete,
/// and whoever sends without a pause can make that any time.
const GRAVES: usize = 100_000;

/// Where a deleted node went. Several users may delete it at the same time.
#[derive(Debug, Default)]
struct Grave {
    /// Who deleted it and when, the latest last.
    by: Vec<(Identity, Instant)>,
}

/// All nodes of the session.
#[derive(Debug, Default)]
pub struct Replicas {
    nodes: NodeMap<Replica>,
    aside: IndexMap<NodeId, Aside>,
    places: BTreeMap<u64, NodeId>,
    dependents: NodeMap<NodeSet>,
    graves: NodeMap<Grave>,
    /// Whose they are, the oldest first. Some may have been forgotten.
    burials: VecDeque<NodeId>,
    bytes: usize,
    counter: u64,
    /// How many changes there have been.
    sequence: u64,
    /// What has changed since it was last asked, if somebody asks.
    changed: Option<NodeSet>,
}

impl Replicas {
    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Memory they take, about.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// A node.
    pub fn get(&self, id: NodeId) -> Option<&Replica> {
        self.nodes.get(&id)
    }

    /// Whether a node exists.
    pub fn contains(&self, id: NodeId) -> bool {
        self.nodes.contains_key(&id)
    }

    /// All uuids in the order of creation.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.places.values().copied()
    }

    /// The version that the next whole state will have.
    pub fn next_version(&self) -> u64 {
        self.counter.wrapping_add(1)
    }

    fn touch(&mut self, id: NodeId) {
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(changed) = &mut self.changed {
            changed.insert(id);
        }
    }

    /// What a node will have grown by if this state is stored, and whether it is a new one.
    pub fn growth(&self, state: &NodeState) -> (usize, bool) {
        let present = self.nodes.get(&state.id);
        let bytes = cost(state).saturating_sub(present.map_or(0, Replica::bytes));
        (bytes, present.is_none())
    }

    /// Stores a whole state: creates the node, or replaces its payload and dependencies. Owner
    /// and type of a node that exists stay (wire spec: only a Right changes them).
    pub fn store(&mut self, state: NodeState) {
        let NodeState {
            id,
            owner,
            kind,
            dependencies,
            payload,
        } = state;
        self.counter = self.counter.wrapping_add(1);
        let version = self.counter;
        self.graves.remove(&id);
        // A new scene may bring it anew; nobody else can.
        if let Some(aside) = self.aside.shift_remove(&id) {
            self.bytes = self.bytes.saturating_sub(aside.replica.bytes());
        }
        if let Some(replica) = self.nodes.get_mut(&id) {
            self.bytes = self.bytes.saturating_sub(replica.bytes());
            replica.base = payload;
            replica.version = version;
            replica.tail.clear();
            replica.tail_bytes = 0;
            replica.tail_start = 0;
            replica.tuples = None;
            replica.unfoldable = false;
            self.bytes = self.bytes.saturating_add(replica.bytes());
            if replica.dependencies == dependencies {
                return self.touch(id);
            }
        } else {
            let replica = Replica {
                owner: owner.into(),
                kind,
                dependencies: Vec::new(),
                base: payload,
                version,
                tail: Vec::new(),
                tail_bytes: 0,
                tail_start: 0,
                tuples: None,
                unfoldable: false,
                place: version,
                former: None,
                pushed: None,
            };
            self.bytes = self.bytes.saturating_add(replica.bytes());
            self.places.insert(version, id);
            self.nodes.insert(id, replica);
        }
        self.depend(id, dependencies);
        self.touch(id);
    }

    /// Adds a delta to a node that exists.
    pub fn append(&mut self, delta: &Delta) {
        let Some(replica) = self.nodes.get_mut(&delta.id) else {
            return;
        };
        replica.tail_bytes = replica.tail_bytes.saturating_add(delta.delta.len());
        replica.tail.push(delta.delta.clone());
        let bytes = delta.delta.len().saturating_add(DELTA);
        self.bytes = self.bytes.saturating_add(bytes);
        self.depend(delta.id, delta.dependencies.clone());
        self.touch(delta.id);
    }

    /// Puts what came of the base and the deltas before `end` in the place of both, if the whole
    /// state is still of this version.
    pub fn fold(&mut self, id: NodeId, version: u64, end: usize, payload: Bytes) {
        let Some(replica) = self.nodes.get_mut(&id) else {
            return;
        };
        let count = end.checked_sub(replica.tail_start);
        let count = count.filter(|count| *count <= replica.tail.len());
        let Some(count) = count.filter(|_| replica.version == version) else {
            return;
        };
        self.bytes = self.bytes.saturating_sub(replica.bytes());
        replica.base = payload;
        replica.tail.drain(..count);
        replica.tail.shrink_to_fit();
        replica.tail_bytes = replica.tail.iter().map(Bytes::len).sum();
        replica.tail_start = end;
        self.bytes = self.bytes.saturating_add(replica.bytes());
        self.touch(id);
    }

    /// Whether there are deltas that could be in a node's base.
    pub fn wants_fold(&self, id: NodeId) -> bool {
        let replica = self.nodes.get(&id);
        replica.is_some_and(|replica| !replica.tail.is_empty() && !replica.unfoldable)
    }

    /// Remembers that a node cannot be folded.
    pub fn note_unfoldable(&mut self, id: NodeId) {
        if let Some(replica) = self.nodes.get_mut(&id) {
            replica.unfoldable = true;
        }
    }

    /// Remembers whether there are tuples in a node.
    pub fn note_tuples(&mut self, id: NodeId, tuples: bool) {
        if let Some(replica) = self.nodes.get_mut(&id) {
            replica.tuples = Some(tuples);
        }
    }

    fn depend(&mut self, id: NodeId, dependencies: Vec<NodeId>) {
        let Some(replica) = self.nodes.get_mut(&id) else {
            return;
        };
        if replica.dependencies == dependencies {
            return;
        }
        let present = replica.dependencies.len().saturating_mul(DEPENDENCY);
        let future = dependencies.len().saturating_mul(DEPENDENCY);
        self.bytes = self.bytes.saturating_sub(present).saturating_add(future);
        for old in std::mem::take(&mut replica.dependencies) {
            if let Some(dependents) = self.dependents.get_mut(&old) {
                dependents.remove(&id);
                if dependents.is_empty() {
                    self.dependents.remove(&old);
                }
            }
        }
        for new in &dependencies {
            self.dependents.entry(*new).or_default().insert(id);
        }
        replica.dependencies = dependencies;
    }

    /// Gives a node to an owner. Returns whether that changed anything.
    pub fn give(&mut self, id: NodeId, owner: &Arc<str>, now: Instant) -> bool {
        let Some(replica) = self.nodes.get_mut(&id) else {
            return false;
        };
        if replica.owner == *owner {
            return false;
        }
        let former = std::mem::replace(&mut replica.owner, Arc::clone(owner));
        replica.former = Some((former, now));
        self.touch(id);
        true
    }

    /// A state of a node came from somebody who does not wait for the echo of a Delete: its last state may have
    /// been faster than a Delete sent before.
    pub fn note_pushed(&mut self, id: NodeId, now: Instant) {
        if let Some(replica) = self.nodes.get_mut(&id) {
            replica.pushed = Some(now);
        }
    }

    /// The nodes that need this one.
    pub fn dependents(&self, id: NodeId) -> Vec<NodeId> {
        let dependents = self.dependents.get(&id);
        dependents.into_iter().flatten().copied().collect()
    }

    /// Removes a node, also from the dependencies of others. The grave is kept in any case.
    pub fn delete(&mut self, id: NodeId, by: &Identity, now: Instant) -> Option<Replica> {
        let known = self.nodes.contains_key(&id);
        if known || self.graves.len() < UNKNOWN_GRAVES {
            // Also of a node that is unknown: its creation may be on its way, on another link.
            let grave = self.graves.entry(id).or_default();
            grave.by.retain(|(who, _)| who != by);
            if grave.by.is_empty() {
                self.burials.push_back(id);
            }
            grave.by.push((by.clone(), now));
            self.bound_graves();
        }
        if !known {
            return None;
        }
        for dependent in self.dependents.remove(&id).unwrap_or_default() {
            if let Some(replica) = self.nodes.get_mut(&dependent) {
                let before = replica.dependencies.len();
                replica.dependencies.retain(|d| *d != id);
                let gone = before.saturating_sub(replica.dependencies.len());
                self.bytes = self.bytes.saturating_sub(gone.saturating_mul(DEPENDENCY));
                self.touch(dependent);
            }
        }
        let dependencies = self.nodes.get(&id)?.dependencies.clone();
        self.depend(id, Vec::new());
        let mut replica = self.nodes.remove(&id)?;
        self.places.remove(&replica.place);
        self.bytes = self.bytes.saturating_sub(replica.bytes());
        // Who keeps it wants it whole.
        replica.dependencies = dependencies;
        self.touch(id);
        Some(replica)
    }

    /// Forgets the oldest graves if there are too many.
    fn bound_graves(&mut self) {
        while self.graves.len() > GRAVES
            && let Some(oldest) = self.burials.pop_front()
        {
            self.graves.remove(&oldest);
        }
        if self.burials.len() > self.graves.len().saturating_mul(2).saturating_add(64) {
            let graves = &self.graves;
            self.burials.retain(|id| graves.contains_key(id));
        }
    }

    /// Whether a node was deleted not long ago and has not come back.
    pub fn is_grave(&self, id: NodeId) -> bool {
        self.graves.contains_key(&id)
    }

    /// When a user deleted a node, if that is not long ago.
    pub fn deleted_by(&self, id: NodeId, who: &Identity) -> Option<Instant> {
        let by = &self.graves.get(&id)?.by;
        by.iter().find(|(user, _)| user == who).map(|(_, at)| *at)
    }

    /// Forgets nodes deleted before `then`.
    pub fn forget_graves(&mut self, then: Instant) {
        self.graves.retain(|_, grave| {
            grave.by.retain(|(_, at)| *at >= then);
            !grave.by.is_empty()
        });
    }

    /// What a user owns.
    pub fn owned_by(&self, owner: &str) -> Vec<NodeId> {
        self.ids()
            .filter(|id| self.get(*id).is_some_and(|r| &*r.owner == owner))
            .collect()
    }
}
