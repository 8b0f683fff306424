//! Late joiners: the catalog, one node at a time, and then whatever changed meanwhile (`behind`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::buried::Tombstone;
use super::outlet::{Joins, Outlet, Slot};
use super::state::{Phase, Session, Timer, encode, past};
use super::users::{Fetching, Missing, Stage, User};
use crate::counters::Count;
use crate::text::shown;
use crate::wire::command::{self, Answer};
use crate::wire::dialect::{Dialect, MissingNode, Transfer};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::{self, NodeState};

/// How often it is looked after whether the last node of a join has arrived.
const LAST_ARRIVES: Duration = Duration::from_millis(20);
/// Offered to joiners of an empty session who would end on an empty catalog; its GET is answered
/// with the removed marker.
const PLACEHOLDER: &[u8; 36] = b"00000000-0000-4000-8000-000000000000";

impl<O: Outlet> Session<O> {
    /// Snapshot REQUEST_INIT, or the end of an upload: gives a user in the lobby the catalog as
    /// soon as there is one that is not empty (an empty one ends clients of every generation).
    pub(super) fn want_catalog(&mut self, who: &Identity, now: Instant) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if !matches!(user.stage, Stage::Lobby) {
            if !matches!(user.stage, Stage::Offering) {
                self.counters
                    .refuse(Count::RefusedCommand, who, "a catalog request out of turn");
            }
            return;
        }
        user.wants_catalog = true;
        if !matches!(self.phase, Phase::Active) {
            return;
        }
        let mut catalog: Vec<NodeId> = self.replicas.ids().collect();
        if catalog.is_empty() {
            if dialect.missing_node != MissingNode::RemovedMarker {
                return;
            }
            catalog.extend(NodeId::new(PLACEHOLDER));
        }
        user.wants_catalog = false;
        user.behind.clear();
        user.stage = Stage::Fetching(Fetching {
            remaining: catalog.iter().copied().collect(),
            last_get: Some(now),
            ..Fetching::default()
        });
        self.answer(who, &Answer::Catalog(&catalog));
    }

    /// Catalogs that had to wait for the first node.
    pub(super) fn give_deferred_catalogs(&mut self, now: Instant) {
        let waiting: Vec<_> = self
            .users
            .iter()
            .filter(|(_, user)| user.wants_catalog && matches!(user.stage, Stage::Lobby))
            .map(|(id, _)| id.clone())
            .collect();
        for who in waiting {
            self.want_catalog(&who, now);
        }
    }

    /// Snapshot GET.
    pub(super) fn get(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let Stage::Fetching(fetching) = &mut user.stage else {
            self.counters
                .refuse(Count::RefusedCommand, who, "a GET out of turn");
            return;
        };
        if !fetching.remaining.contains(&id) {
            self.counters
                .refuse(Count::RefusedCommand, who, "a GET of a node not offered");
            return;
        }
        fetching.last_get = Some(now);
        fetching.asked = true;
        user.answered = None;
        // In the order in which it asked.
        fetching.waiting.push(id);
        self.serve_waiting(who, now);
    }

    /// Answers the GETs that can be answered: as long as there is room, and no node in the way
    /// has to be folded first.
    fn serve_waiting(&mut self, who: &Identity, now: Instant) {
        while let Some(user) = self.users.get_mut(who) {
            let Stage::Fetching(fetching) = &mut user.stage else {
                return;
            };
            let Some(id) = fetching.waiting.first() else {
                return;
            };
            if !user.outlet.has_room() {
                return;
            }
            if fetching.folded != Some(id) && self.replicas.wants_fold(id) {
                return self.fold_soon(id);
            }
            fetching.waiting.pop();
            self.serve(who, id, now);
        }
    }

    /// A node has been folded, as far as it can be: those who wait for it get it.
    pub(super) fn serve_folded(&mut self, id: NodeId, now: Instant) {
        let mut waiting = Vec::new();
        for (who, user) in self.users.iter_mut() {
            if let Stage::Fetching(fetching) = &mut user.stage
                && fetching.waiting.first() == Some(id)
            {
                // Even if somebody goes on editing it: what follows is sent after it.
                fetching.folded = Some(id);
                waiting.push(who.clone());
            }
        }
        for who in waiting {
            self.catch_up(&who, now);
        }
    }

    /// Answers a GET.
    fn serve(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let Stage::Fetching(fetching) = &mut user.stage else {
            return;
        };
        if !fetching.remaining.remove(&id) {
            return;
        }
        let last = fetching.remaining.is_empty();
        if let Some(replica) = self.replicas.get(id) {
            fetching.tombstones.remove(&id);
            fetching.deleted.swap_remove(&id);
            fetching.given.insert(id);
            send_requested(dialect, &user.outlet, &replica.base_state(id));
            if !replica.tail().is_empty() {
                let missing = Missing::Deltas {
                    version: replica.version(),
                    from: replica.tail_start(),
                };
                user.behind.entry(id).data = Some(missing);
            }
        } else if dialect.missing_node == MissingNode::RemovedMarker {
            fetching.tombstones.remove(&id);
            fetching.deleted.swap_remove(&id);
            let removed = command::encode(dialect, &Answer::Removed);
            user.outlet.command(Slot::Plain, encode(dialect, &removed));
        } else if let Some(tombstone) = fetching.tombstones.remove(&id) {
            fetching.deleted.insert(id);
            send_requested(dialect, &user.outlet, &tombstone.replica.base_state(id));
        }
        if last && !dialect.join_done {
            // These clients die of any other node before the last one is there.
            self.at(now, Timer::LastNode(who.clone(), id));
        }
    }

    /// Ends the join of a client that does not say when it is done, once the last node has arrived.
    pub(super) fn last_node(&mut self, who: &Identity, last: NodeId, now: Instant) {
        let Some(user) = self.users.get(who) else {
            return;
        };
        let fetched =
            matches!(&user.stage, Stage::Fetching(fetching) if fetching.remaining.is_empty());
        // What is known to have been sent may have gone to a line that is dead.
        let broken = user.resuming || user.data_cut.is_some();
        if fetched && !broken && user.outlet.arrived(last) {
            self.finish_join(who, now);
        } else if fetched {
            self.at(now + LAST_ARRIVES, Timer::LastNode(who.clone(), last));
        }
    }

    /// Snapshot DONE.
    pub(super) fn join_done(&mut self, who: &Identity, now: Instant) {
        match self.users.get(who).map(|user| &user.stage) {
            Some(Stage::Fetching(fetching)) if fetching.remaining.is_empty() => {
                self.finish_join(who, now);
            }
            // A push that was faster than this told already.
            Some(Stage::Active) => {}
            _ => self
                .counters
                .refuse(Count::RefusedCommand, who, "a DONE out of turn"),
        }
    }

    /// Whether a user has everything. A client pushes only when it has, so a push that is faster
    /// than its DONE stands for it.
    pub(super) fn is_done(&mut self, who: &Identity, now: Instant) -> bool {
        match self.users.get(who).map(|user| &user.stage) {
            Some(Stage::Active) => true,
            Some(Stage::Fetching(fetching)) if fetching.remaining.is_empty() => {
                self.finish_join(who, now);
                true
            }
            _ => false,
        }
    }

    fn finish_join(&mut self, who: &Identity, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let Stage::Fetching(fetching) = std::mem::replace(&mut user.stage, Stage::Active) else {
            return;
        };
        info!(name: "user.up_to_date", user = %shown(&user.name), "user has all nodes");
        self.show_active(who);
        for id in fetching.deleted {
            if !self.replicas.contains(id) {
                self.send_delete(who, id, now);
            }
        }
        self.send_backlog(who, now);
    }

    /// Sends what a user lacks, as far as its queue has room. Nodes go after those they need.
    pub(super) fn catch_up(&mut self, who: &Identity, now: Instant) {
        self.serve_waiting(who, now);
        self.send_backlog(who, now);
    }

    /// A node is gone: what that means for those who are still fetching, and may have been promised what it
    /// was. Returns whether the user is to be told now.
    pub(super) fn note_deleted(
        user: &mut User<O>,
        id: NodeId,
        promised: Option<&Arc<Tombstone>>,
    ) -> bool {
        user.behind.remove(id);
        user.corrected.remove(&id);
        match &mut user.stage {
            Stage::Active => true,
            Stage::Fetching(fetching) => {
                if fetching.remaining.contains(&id) {
                    if let Some(tombstone) = promised {
                        fetching.tombstones.insert(id, Arc::clone(tombstone));
                    }
                } else if fetching.given.contains(&id) {
                    fetching.deleted.insert(id);
                }
                false
            }
            Stage::Lobby | Stage::Offering | Stage::Uploading => false,
        }
    }

    /// A node that a joiner has not asked for is gone. With the removed marker for an answer it
    /// will not be told of the Delete, so nodes it has that needed this one are sent anew.
    pub(super) fn note_needless(user: &mut User<O>, deleted: NodeId, dependents: &[NodeId]) {
        let Stage::Fetching(fetching) = &user.stage else {
            return;
        };
        if !fetching.remaining.contains(&deleted) {
            return;
        }
        for id in dependents {
            if !fetching.remaining.contains(id) {
                user.behind.entry(*id).data = Some(Missing::Whole);
            }
        }
    }

    /// Joins in which nothing moves keep what was deleted meanwhile alive: they are ended.
    pub(super) fn find_stalled(&mut self, now: Instant) {
        self.find_stalled_upload(now);
        let limit = past(now, self.settings.stall);
        let stalled: Vec<_> = self
            .users
            .iter()
            .filter(|(_, user)| match &user.stage {
                Stage::Fetching(fetching) => {
                    !fetching.tombstones.is_empty()
                        && fetching.waiting.is_empty()
                        && fetching.last_get.is_some_and(|at| at < limit)
                        && user.outlet.has_no_data()
                        && user.outlet.has_room()
                }
                _ => false,
            })
            .map(|(id, _)| id.clone())
            .collect();
        for who in stalled {
            self.dismiss(&who, "joining the session made no progress", now);
        }
    }
}

/// Answers a GET over the link on which this generation expects nodes.
fn send_requested<O: Outlet>(dialect: &Dialect, outlet: &O, state: &NodeState) {
    match dialect.join {
        Transfer::DataLink => {
            let bytes = node::encode_node(dialect, state.as_ref());
            outlet.data(state.id, Joins::Replaces, &[], bytes, Instant::now());
        }
        Transfer::Set => {
            let bytes = encode(dialect, &command::encode(dialect, &Answer::Set(state)));
            outlet.command(Slot::Plain, bytes);
        }
    }
}
