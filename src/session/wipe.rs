//! Notices when one user deletes much of the scene at once, by mistake or not, and has a backup made
//! of it as it was.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::warn;

use super::buried::Tombstone;
use super::outlet::Outlet;
use super::snapshot::{Occasion, Snapshot};
use super::state::Session;
use crate::text::shown;
use crate::wire::identity::{Identity, NodeId};

/// What is deleted within so long is deleted at once.
const AT_ONCE: Duration = Duration::from_secs(10);

/// What each user deleted just now.
#[derive(Debug, Default)]
pub(super) struct Wipes {
    users: HashMap<Identity, VecDeque<Wiped>>,
    /// A backup was made then: what is deleted shortly after is in it.
    last: Option<Instant>,
}

/// A deleted node.
#[derive(Debug)]
struct Wiped {
    at: Instant,
    id: NodeId,
    tombstone: Arc<Tombstone>,
    dependents: Vec<NodeId>,
}

impl<O: Outlet> Session<O> {
    /// A user has deleted a node that these needed.
    pub(super) fn note_wiped(
        &mut self,
        who: &Identity,
        id: NodeId,
        tombstone: Arc<Tombstone>,
        dependents: Vec<NodeId>,
        now: Instant,
    ) {
        let percent = self.settings.mass_delete;
        let covered = self.wipes.last.is_some_and(|last| now < last + AT_ONCE);
        if percent == 0 || covered {
            return;
        }
        self.wipes.forget(now);
        let wiped = self.wipes.users.entry(who.clone()).or_default();
        wiped.push_back(Wiped {
            at: now,
            id,
            tombstone,
            dependents,
        });
        let count = wiped.len();
        let gone: usize = self.wipes.users.values().map(VecDeque::len).sum();
        let before = self.replicas.len().saturating_add(gone);
        if count.saturating_mul(100) <= before.saturating_mul(percent) {
            return;
        }
        let user = self.users.get(who).map(|user| &*user.name);
        warn!(name: "session.wiped", user = %shown(user.unwrap_or("")), nodes = count, of = before,
            "one user has deleted much of the session at once; it is saved as it was");
        let wiped = self.wipes.users.remove(who).unwrap_or_default();
        self.wipes.users.clear();
        self.wipes.last = Some(now);
        let mut snapshot = self.snapshot();
        put_back(&mut snapshot, wiped);
        self.wanted_backup = Some((Occasion::Deletion, snapshot));
    }

    /// Has the session saved with everything that was deleted just now: there is no room to wait whether
    /// that is much.
    pub(super) fn save_wiped(&mut self, now: Instant) {
        self.wipes.forget(now);
        let mut wiped: Vec<_> = self
            .wipes
            .users
            .drain()
            .flat_map(|(_, wiped)| wiped)
            .collect();
        if wiped.is_empty() {
            return;
        }
        wiped.sort_by_key(|wiped| wiped.at);
        warn!(name: "session.wiped_at_limit", nodes = wiped.len(),
            "deleted nodes take more memory than session.max_session leaves: the session is saved with them");
        self.wipes.last = Some(now);
        let mut snapshot = self.snapshot();
        put_back(&mut snapshot, wiped.into());
        self.wanted_backup = Some((Occasion::Deletion, snapshot));
    }
}

impl Wipes {
    /// Forgets what was deleted long ago.
    pub(super) fn forget(&mut self, now: Instant) {
        self.users.retain(|_, wiped| {
            while wiped.front().is_some_and(|first| now >= first.at + AT_ONCE) {
                wiped.pop_front();
            }
            !wiped.is_empty()
        });
    }
}

/// Has deleted nodes in a snapshot as if they had not been deleted.
fn put_back(snapshot: &mut Snapshot, wiped: VecDeque<Wiped>) {
    let mut needed: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    let mut known: HashSet<_> = snapshot.nodes.iter().map(|(id, _)| *id).collect();
    for wiped in &wiped {
        for dependent in &wiped.dependents {
            needed.entry(*dependent).or_default().push(wiped.id);
        }
    }
    // Of one that was deleted twice the last counts.
    for Wiped { id, tombstone, .. } in wiped.into_iter().rev() {
        if known.insert(id) {
            snapshot.nodes.push((id, tombstone.replica.stored(None)));
        }
    }
    for (id, stored) in &mut snapshot.nodes {
        for dependency in needed.remove(id).unwrap_or_default() {
            if !stored.dependencies.contains(&dependency) {
                stored.dependencies.push(dependency);
            }
        }
    }
    snapshot
        .nodes
        .sort_by_key(|(_, stored)| (stored.aside.is_some(), stored.place));
}
