//! Nodes that are kept and given to nobody (`quarantine`).

use super::{Replica, Replicas};
use crate::wire::identity::NodeId;
use crate::wire::node::NodeState;

/// A node that is kept and given to nobody.
#[derive(Debug)]
pub(super) struct Aside {
    pub(super) replica: Replica,
    /// The nodes that needed it.
    pub(super) dependents: Vec<NodeId>,
}

impl Replicas {
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
            self.bytes = self.bytes.saturating_sub(stored.bytes());
            stored.tail = tail;
            stored.tail_bytes = tail_bytes;
            stored.tuples = replica.tuples;
            self.bytes = self.bytes.saturating_add(stored.bytes());
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
}
