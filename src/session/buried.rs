//! Deleted nodes that are still of use: joiners were promised them (`join`), and if it turns out that somebody
//! is deleting much at once they are saved (`wipe`). What they take counts towards the session's limit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::time::Instant;

use super::outlet::Outlet;
use super::replicas::Replica;
use super::state::Session;
use super::users::Stage;
use crate::wire::identity::Identity;

/// What all deleted nodes take that anybody holds.
#[derive(Debug, Default)]
pub(super) struct Buried(Arc<AtomicUsize>);

/// A deleted node, for as long as anybody holds it.
#[derive(Debug)]
pub(super) struct Tombstone {
    /// What it was.
    pub(super) replica: Replica,
    bytes: usize,
    all: Arc<AtomicUsize>,
}

impl Buried {
    /// Keeps a node for those who will hold it.
    pub(super) fn bury(&self, replica: Replica) -> Arc<Tombstone> {
        let bytes = replica.bytes();
        self.0.fetch_add(bytes, Ordering::Relaxed);
        Arc::new(Tombstone {
            replica,
            bytes,
            all: Arc::clone(&self.0),
        })
    }

    /// What they take, about as much as they took in the session.
    pub(super) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Tombstone {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl<O: Outlet> Session<O> {
    /// Makes room for so many bytes more, as far as deleted nodes are in the way: what could be part of a
    /// wipe is saved at once, and then joiners have to begin again, those first who hold most.
    pub(super) fn make_room(&mut self, growth: usize, now: Instant) {
        let needed = self.replicas.bytes().saturating_add(growth);
        let limit = self.settings.max_session;
        if needed.saturating_add(self.buried.bytes()) <= limit {
            return;
        }
        self.save_wiped(now);
        while needed.saturating_add(self.buried.bytes()) > limit
            && let Some(who) = self.holds_most()
        {
            let reason = "too much was deleted while you joined, please join again";
            self.dismiss(&who, reason, now);
        }
    }

    fn holds_most(&self) -> Option<Identity> {
        let held = self.users.iter().filter_map(|(who, user)| {
            let Stage::Fetching(fetching) = &user.stage else {
                return None;
            };
            let tombstones = fetching.tombstones.values();
            let bytes = tombstones.fold(0, |sum: usize, t| sum.saturating_add(t.bytes));
            (bytes > 0).then_some((bytes, who))
        });
        held.max_by_key(|(bytes, _)| *bytes)
            .map(|(_, who)| who.clone())
    }
}
