//! A store that no server has, as a session that can be saved and replaced.

use std::collections::HashSet;

use crate::backup::{BackupError, Contents, Given};
use crate::session::Snapshot;
use crate::store::{Batch, Meta, Store, StoreError, Summary};
use crate::wire::identity::NodeId;

/// A store of which everything can be read.
pub(super) struct Sound {
    pub(super) store: Store,
    /// What the operator has set aside. As with a running server it stays so, whatever takes the
    /// session's place.
    aside: HashSet<NodeId>,
}

impl Sound {
    /// Reads all of it.
    pub(super) fn check(mut store: Store) -> Result<Self, StoreError> {
        let mut aside = HashSet::new();
        store.load(|id, stored| {
            if stored.aside.is_some() {
                aside.insert(id);
            }
        })?;
        Ok(Self { store, aside })
    }

    /// How many nodes somebody would find who joins.
    pub(super) fn present(&self) -> usize {
        self.store.node_count().saturating_sub(self.aside.len())
    }

    /// Puts another session in the place of the present one, in one step. Gives how many nodes it
    /// has.
    pub(super) fn put(&mut self, other: Snapshot) -> Result<usize, StoreError> {
        let mut nodes = other.nodes;
        nodes.retain(|(id, _)| !self.aside.contains(id));
        let stays: HashSet<_> = nodes.iter().map(|(id, _)| id).chain(&self.aside).collect();
        let gone = self.store.ids().into_iter();
        let gone: Vec<_> = gone
            .filter(|id| !stays.contains(id))
            .map(|id| (id, None))
            .collect();
        let count = nodes.len();
        let meta = match count {
            0 => Meta::default(),
            _ => other.meta,
        };
        let versions = self.store.next_number();
        let sequence = self.store.summary().sequence.saturating_add(1);
        let nodes = nodes.into_iter().zip(versions..);
        let nodes = nodes.map(|((id, mut stored), version)| {
            (stored.place, stored.version) = (version, version);
            (id, Some(stored))
        });
        let batch = Batch {
            sequence,
            meta,
            nodes: gone.into_iter().chain(nodes).collect(),
        };
        self.store.commit(&batch)?;
        Ok(count)
    }
}

/// All that is in a store, read a node at a time.
pub(super) fn whole<'a>(
    store: &'a Store,
    summary: &'a Summary,
) -> Contents<'a, impl Iterator<Item = Given> + 'a> {
    let nodes = store.ids().into_iter().map(|id| {
        let stored = store.read(id);
        stored
            .map(|stored| (id, stored))
            .map_err(|error| BackupError::Session(error.to_string()))
    });
    Contents {
        meta: &summary.meta,
        state: None,
        nodes,
    }
}
