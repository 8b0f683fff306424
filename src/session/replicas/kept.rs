//! What the disk is told of the nodes, and how they come back from it.

use std::sync::Arc;

use bytes::Bytes;

use super::aside::Aside;
use super::{COMMON, Replica, Replicas};
use crate::store::Stored;
use crate::wire::identity::NodeId;

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
}
