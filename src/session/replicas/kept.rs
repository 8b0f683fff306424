//! What the disk is told of the nodes, and how they come back from it.

use std::sync::Arc;

use bytes::Bytes;

use super::aside::Aside;
use super::{COMMON, Replica, Replicas};
use crate::store::Stored;
use crate::wire::identity::NodeId;

impl Replica {
    /// What the disk is told of it.
    pub fn stored(&self, aside: Option<Vec<NodeId>>) -> Stored {
        Stored {
            place: self.place,
            owner: Arc::clone(&self.owner),
            kind: self.kind.clone(),
            dependencies: self.dependencies.clone(),
            version: self.version,
            base: self.base.clone(),
            tail_start: self.tail_start,
            tail: self.tail.clone(),
            aside,
        }
    }
}

impl Replicas {
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
        if let Some(replica) = self.nodes.get(&id) {
            return Some(replica.stored(None));
        }
        let aside = self.aside.get(&id)?;
        Some(aside.replica.stored(Some(aside.dependents.clone())))
    }

    /// All nodes in the order of creation, and then those that are set aside.
    pub fn all_stored(&self) -> Vec<(NodeId, Stored)> {
        let ids = self.ids().chain(self.aside.keys().copied());
        ids.filter_map(|id| Some((id, self.stored(id)?))).collect()
    }

    /// Removes everything but what is set aside, as if it had never been.
    pub fn clear(&mut self) {
        let ids: Vec<_> = self.nodes.keys().copied().collect();
        let (counter, sequence) = (self.counter, self.sequence);
        let (changed, aside) = (self.changed.take(), std::mem::take(&mut self.aside));
        *self = Self {
            bytes: aside.values().map(|aside| aside.replica.bytes()).sum(),
            aside,
            counter,
            sequence,
            changed,
            ..Self::default()
        };
        for id in ids {
            self.touch(id);
        }
    }

    /// Puts a node of another session in place, after those that are there.
    pub fn bring(&mut self, id: NodeId, mut stored: Stored) {
        self.counter = self.counter.saturating_add(1);
        (stored.place, stored.version) = (self.counter, self.counter);
        self.restore(id, stored);
        self.touch(id);
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
            pushed: None,
        };
        self.counter = self.counter.max(stored.version).max(stored.place);
        if let Some(dependents) = stored.aside {
            let dependencies = stored.dependencies;
            let replica = Replica {
                dependencies,
                ..replica
            };
            self.bytes = self.bytes.saturating_add(replica.bytes());
            let aside = Aside {
                replica,
                dependents,
            };
            self.aside.insert(id, aside);
            return;
        }
        self.bytes = self.bytes.saturating_add(replica.bytes());
        self.places.insert(replica.place, id);
        self.nodes.insert(id, replica);
        self.depend(id, stored.dependencies);
    }
}
