//! The master copy: every node with its owner and dependencies, in the order of creation.
//!
//! Plain data, owned by the session. Payloads are shared bytes that are never looked into here:
//! `folding` makes one whole state of a base and its deltas, elsewhere.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use bytes::Bytes;
use indexmap::IndexMap;
use tokio::time::Instant;

use crate::store::Stored;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::{Delta, NodeState};

/// The owner of what nobody owns.
pub const COMMON: &str = "COMMON";

/// What a node costs beside its payload, roughly: indices, allocation, uuid.
const OVERHEAD: usize = 256;
/// What one dependency costs, with its entry in the index.
const DEPENDENCY: usize = 200;
/// Graves kept of nodes that were never there.
const UNKNOWN_GRAVES: usize = 10_000;

/// What a node's state will cost, about.
pub(super) fn cost(state: &NodeState) -> usize {
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
    owner: Arc<str>,
    kind: Bytes,
    dependencies: Vec<NodeId>,
    base: Bytes,
    /// Changes with every whole state; counts over all nodes, so it also tells a node from one
    /// of the same uuid created anew.
    version: u64,
    tail: Vec<Bytes>,
    tail_bytes: usize,
    /// Number of the first delta in `tail`, counted from the whole state of this version as it
    /// came. Those before it are in `base`.
    tail_start: usize,
    /// Whether there are tuples in it; `None` until it was looked into.
    tuples: Option<bool>,
    /// Its deltas cannot be folded into it.
    unfoldable: bool,
    place: u64,
    /// Who owned it before the present owner, and until when.
    former: Option<(Arc<str>, Instant)>,
}

impl Replica {
    /// [`COMMON`] or a user's name.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }

    /// Who owned it before, and until when.
    pub fn former(&self) -> Option<(&str, Instant)> {
        self.former
            .as_ref()
            .map(|(owner, until)| (&**owner, *until))
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

    /// The base, in the shape that travels.
    pub fn base_state(&self, id: NodeId) -> NodeState {
        NodeState {
            id,
            owner: self.owner.to_string(),
            kind: self.kind.clone(),
            dependencies: self.dependencies.clone(),
            payload: self.base.clone(),
        }
    }

    fn bytes(&self) -> usize {
        self.base
            .len()
            .saturating_add(self.tail_bytes)
            .saturating_add(self.dependencies.len().saturating_mul(DEPENDENCY))
            .saturating_add(OVERHEAD)
    }
}

/// Where a deleted node went. Several users may delete it at the same time.
#[derive(Debug, Default)]
struct Grave {
    /// Who deleted it and when, the latest last.
    by: Vec<(Identity, Instant)>,
}

/// A node that is kept and given to nobody.
#[derive(Debug)]
struct Aside {
    replica: Replica,
    /// The nodes that needed it.
    dependents: Vec<NodeId>,
}

/// All nodes of the session.
#[derive(Debug, Default)]
pub struct Replicas {
    nodes: HashMap<NodeId, Replica>,
    aside: IndexMap<NodeId, Aside>,
    places: BTreeMap<u64, NodeId>,
    dependents: HashMap<NodeId, HashSet<NodeId>>,
    graves: HashMap<NodeId, Grave>,
    bytes: usize,
    counter: u64,
    /// How many changes there have been.
    sequence: u64,
    /// What has changed since it was last asked, if somebody asks.
    changed: Option<HashSet<NodeId>>,
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

    /// Remembers from now on which nodes change, and counts on from here.
    pub fn watch(&mut self, sequence: u64) {
        self.sequence = sequence;
        self.changed.get_or_insert_default();
    }

    /// How many changes there have been.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    /// Whether anything has changed since [`Self::take_changes`].
    pub fn has_changes(&self) -> bool {
        self.changed.as_ref().is_some_and(|ids| !ids.is_empty())
    }

    /// What has changed since the last call, as it is now; `None` is gone.
    pub fn take_changes(&mut self) -> Vec<(NodeId, Option<Stored>)> {
        let ids = self.changed.as_mut().map(std::mem::take);
        let ids = ids.unwrap_or_default();
        ids.into_iter().map(|id| (id, self.stored(id))).collect()
    }

    /// These are to be told again.
    pub fn untake_changes(&mut self, ids: impl IntoIterator<Item = NodeId>) {
        if let Some(changed) = &mut self.changed {
            changed.extend(ids);
        }
    }

    fn stored(&self, id: NodeId) -> Option<Stored> {
        let (replica, aside) = match self.nodes.get(&id) {
            Some(replica) => (replica, None),
            None => {
                let aside = self.aside.get(&id)?;
                (&aside.replica, Some(aside.dependents.clone()))
            }
        };
        Some(Stored {
            place: replica.place,
            owner: Arc::clone(&replica.owner),
            kind: replica.kind.clone(),
            dependencies: replica.dependencies.clone(),
            version: replica.version,
            base: replica.base.clone(),
            tail_start: replica.tail_start,
            tail: replica.tail.clone(),
            aside,
        })
    }

    /// Puts a node in place that was kept. Nobody is there, so nobody owns it.
    pub fn restore(&mut self, id: NodeId, stored: Stored) {
        let replica = Replica {
            owner: COMMON.into(),
            kind: stored.kind,
            dependencies: Vec::new(),
            tail_bytes: stored.tail.iter().map(Bytes::len).sum(),
            base: stored.base,
            version: stored.version,
            tail: stored.tail,
            tail_start: stored.tail_start,
            tuples: None,
            unfoldable: false,
            place: stored.place,
            former: None,
        };
        self.counter = self.counter.max(stored.version).max(stored.place);
        self.bytes = self.bytes.saturating_add(replica.bytes());
        if let Some(dependents) = stored.aside {
            let dependencies = stored.dependencies;
            let replica = Replica {
                dependencies,
                ..replica
            };
            let aside = Aside {
                replica,
                dependents,
            };
            self.aside.insert(id, aside);
            return;
        }
        self.places.insert(replica.place, id);
        self.nodes.insert(id, replica);
        self.depend(id, stored.dependencies);
    }

    fn touch(&mut self, id: NodeId) {
        self.sequence = self.sequence.wrapping_add(1);
        if let Some(changed) = &mut self.changed {
            changed.insert(id);
        }
    }

    /// What a node will have grown by if this state is stored.
    pub fn growth(&self, state: &NodeState) -> usize {
        let present = self.nodes.get(&state.id).map_or(0, Replica::bytes);
        cost(state).saturating_sub(present)
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
        let payload = compact(payload);
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
        } else {
            let replica = Replica {
                owner: owner.into(),
                kind: compact(kind),
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
        replica.tail.push(compact(delta.delta.clone()));
        self.bytes = self.bytes.saturating_add(delta.delta.len());
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
        replica.base = compact(payload);
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
            grave.by.push((by.clone(), now));
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
        self.depend(id, Vec::new());
        let replica = self.nodes.remove(&id)?;
        self.places.remove(&replica.place);
        self.bytes = self.bytes.saturating_sub(replica.bytes());
        self.touch(id);
        Some(replica)
    }

    /// Keeps a deleted node, with the nodes that needed it.
    pub fn set_aside(&mut self, id: NodeId, replica: Replica, dependents: Vec<NodeId>) {
        self.bytes = self.bytes.saturating_add(replica.bytes());
        let aside = Aside {
            replica,
            dependents,
        };
        if let Some(older) = self.aside.insert(id, aside) {
            self.bytes = self.bytes.saturating_sub(older.replica.bytes());
        }
        self.touch(id);
    }

    /// Whether a node is kept aside.
    pub fn is_aside(&self, id: NodeId) -> bool {
        self.aside.contains_key(&id)
    }

    /// The nodes that are kept aside.
    pub fn aside(&self) -> impl Iterator<Item = (NodeId, &Replica)> {
        self.aside.iter().map(|(id, aside)| (*id, &aside.replica))
    }

    /// Puts a node back that was kept aside, as a new one; gives those of the nodes that needed it
    /// which are there, and need it again. `None` if it is not aside, or there is another.
    pub fn put_back(&mut self, id: NodeId) -> Option<Vec<NodeId>> {
        if self.nodes.contains_key(&id) {
            return None;
        }
        let Aside {
            replica,
            dependents,
        } = self.aside.shift_remove(&id)?;
        self.bytes = self.bytes.saturating_sub(replica.bytes());
        let mut dependencies = replica.dependencies.clone();
        dependencies.retain(|d| self.nodes.contains_key(d));
        let (tail, tail_bytes) = (replica.tail.clone(), replica.tail_bytes);
        self.store(NodeState {
            dependencies,
            ..replica.base_state(id)
        });
        if let Some(stored) = self.nodes.get_mut(&id) {
            stored.tail = tail;
            stored.tail_bytes = tail_bytes;
            stored.tuples = replica.tuples;
            self.bytes = self.bytes.saturating_add(tail_bytes);
        }
        let present = dependents
            .into_iter()
            .filter(|d| self.nodes.contains_key(d));
        let present: Vec<_> = present.collect();
        for dependent in &present {
            let mut dependencies = self.get(*dependent)?.dependencies.clone();
            if !dependencies.contains(&id) {
                dependencies.push(id);
                self.depend(*dependent, dependencies);
                self.touch(*dependent);
            }
        }
        Some(present)
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

/// Bytes that do not keep a much larger read buffer alive.
pub(super) fn compact(bytes: Bytes) -> Bytes {
    const SMALL: usize = 64 * 1024;
    if bytes.len() <= SMALL {
        Bytes::copy_from_slice(&bytes)
    } else {
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u8) -> NodeId {
        NodeId::new(format!("{n:02}345678-0000-4000-8000-000000000000").as_bytes()).unwrap()
    }

    fn state(n: u8, owner: &str, dependencies: &[NodeId], payload: &'static [u8]) -> NodeState {
        NodeState {
            id: id(n),
            owner: owner.to_owned(),
            kind: Bytes::from_static(b"BlObject"),
            dependencies: dependencies.to_vec(),
            payload: Bytes::from_static(payload),
        }
    }

    fn me() -> Identity {
        Identity::new(b"0123456789abcdef").unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn an_update_changes_neither_owner_nor_place() {
        let mut replicas = Replicas::default();
        replicas.store(state(1, COMMON, &[], b"one"));
        replicas.store(state(2, "bob", &[id(1)], b"two"));
        replicas.store(state(1, "eve", &[], b"uno"));
        assert_eq!(replicas.ids().collect::<Vec<_>>(), [id(1), id(2)]);
        let replica = replicas.get(id(1)).unwrap();
        assert_eq!(&**replica.owner(), COMMON);
        assert_eq!(&replica.base_state(id(1)).payload[..], b"uno");
        assert_eq!(replicas.owned_by("bob"), [id(2)]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_delete_leaves_no_dependency_and_no_bytes() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.store(state(1, COMMON, &[], b"one"));
        replicas.store(state(2, COMMON, &[id(1), id(3)], b"two"));
        replicas.append(&Delta {
            id: id(2),
            owner: None,
            kind: Bytes::new(),
            dependencies: vec![id(1), id(3)],
            delta: Bytes::from_static(b"delta"),
        });
        assert!(replicas.delete(id(1), &me(), now).is_some());
        assert_eq!(replicas.get(id(2)).unwrap().dependencies(), [id(3)]);
        assert!(replicas.delete(id(2), &me(), now).is_some());
        assert!(replicas.delete(id(2), &me(), now).is_none());
        assert_eq!(
            (replicas.bytes(), replicas.len(), replicas.dependents.len()),
            (0, 0, 0)
        );
        assert!(replicas.is_grave(id(1)));
        replicas.store(state(1, COMMON, &[], b"anew"));
        assert!(!replicas.is_grave(id(1)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_set_aside_counts_and_comes_back_whole() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.store(state(1, "bob", &[], b"one"));
        replicas.store(state(2, COMMON, &[id(1)], b"two"));
        replicas.append(&Delta {
            id: id(1),
            owner: None,
            kind: Bytes::new(),
            dependencies: Vec::new(),
            delta: Bytes::from_static(b"delta"),
        });
        let before = replicas.bytes();
        let dependents = replicas.dependents(id(1));
        let replica = replicas.delete(id(1), &me(), now).unwrap();
        replicas.set_aside(id(1), replica, dependents);
        assert_eq!(replicas.bytes(), before - DEPENDENCY);
        assert!(!replicas.contains(id(1)));
        assert_eq!(replicas.put_back(id(1)), Some(vec![id(2)]));
        assert_eq!(replicas.bytes(), before);
        assert_eq!(replicas.get(id(2)).unwrap().dependencies(), [id(1)]);
        assert_eq!(replicas.get(id(1)).unwrap().tail(), ["delta"]);
        assert_eq!(replicas.put_back(id(1)), None);
    }

    #[tokio::test(start_paused = true)]
    async fn what_changed_is_told_once_and_can_be_put_back() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.watch(0);
        replicas.store(state(1, "bob", &[], b"one"));
        replicas.store(state(2, "bob", &[id(1)], b"two"));
        assert_eq!(replicas.take_changes().len(), 2);
        assert!(!replicas.has_changes());
        replicas.append(&Delta {
            id: id(2),
            owner: None,
            kind: Bytes::new(),
            dependencies: vec![id(1)],
            delta: Bytes::from_static(b"delta"),
        });
        let changes = replicas.take_changes();
        assert_eq!(changes.len(), 1);
        replicas.store(state(3, "bob", &[], b"three"));
        replicas.delete(id(1), &me(), now);
        let ids = |changes: Vec<(NodeId, Option<Stored>)>| {
            let mut ids: Vec<_> = changes
                .iter()
                .map(|(id, kept)| (*id, kept.is_some()))
                .collect();
            ids.sort();
            ids
        };
        let later = replicas.take_changes();
        // What needed the deleted one has changed, too.
        assert_eq!(ids(later), [(id(1), false), (id(2), true), (id(3), true)]);

        replicas.untake_changes([id(2), id(3)]);
        let mut restored = Replicas::default();
        for (id, stored) in replicas.take_changes() {
            restored.restore(id, stored.unwrap());
        }
        assert_eq!(restored.bytes(), replicas.bytes());
        assert_eq!(restored.ids().collect::<Vec<_>>(), [id(2), id(3)]);
        let replica = restored.get(id(2)).unwrap();
        assert_eq!((&**replica.owner(), replica.tail().len()), (COMMON, 1));
        restored.store(state(4, "bob", &[], b"four"));
        assert_eq!(restored.ids().last(), Some(id(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn the_former_owner_is_remembered() {
        let now = Instant::now();
        let mut replicas = Replicas::default();
        replicas.store(state(1, "bob", &[], b"one"));
        assert!(replicas.give(id(1), &COMMON.into(), now));
        assert!(!replicas.give(id(1), &COMMON.into(), now));
        assert_eq!(replicas.get(id(1)).unwrap().former(), Some(("bob", now)));
    }
}
