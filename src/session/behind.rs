//! What a user lacks, and how it gets it.
//!
//! A change that cannot go to a user right now (it is still joining, or its queue is full) is not
//! queued but noted in [`User::behind`]; the node's *present* state is sent when it can be. So a
//! slow peer costs one mark per node, nothing is lost and nothing comes twice.

use tokio::time::Instant;

use super::needs::NeedsFirst;
use super::outlet::{Edit, Joins, Outlet, Taken};
use super::replicas::Replica;
use super::state::{Session, encode};
use super::users::{Behind, Missing, Stage, User};
use crate::wire::command::{self, Answer};
use crate::wire::dialect::Dialect;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::node;

impl<O: Outlet> Session<O> {
    /// A node changed while the user cannot be told. Returns whether it can be told now.
    pub(super) fn note_changed(user: &mut User<O>, id: NodeId, change: Behind) -> bool {
        let later = match &user.stage {
            Stage::Active => !user.behind.is_empty() || !user.outlet.has_room(),
            // Not asked for yet: it will be given the present state.
            Stage::Fetching(fetching) if fetching.remaining.contains(&id) => return false,
            Stage::Fetching(_) => true,
            // Gets a catalog later.
            Stage::Lobby | Stage::Offering | Stage::Uploading => return false,
        };
        if later {
            let behind = user.behind.entry(id);
            behind.right |= change.right;
            behind.data = match (behind.data, change.data) {
                (old, None) => old,
                // Deltas to be sent from a cursor on include the new one.
                (Some(cursor @ Missing::Deltas { .. }), Some(Missing::Deltas { .. })) => {
                    Some(cursor)
                }
                (Some(Missing::Whole), Some(_)) | (_, Some(Missing::Whole)) => Some(Missing::Whole),
                (None, new) => new,
            };
        }
        !later
    }

    /// Sends what a user lacks, as far as its queue has room. Nodes go after those they need.
    pub(super) fn send_backlog(&mut self, who: &Identity, now: Instant) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if !user.is_active() {
            return;
        }
        let mut later = Vec::new();
        let mut walk = NeedsFirst::default();
        while user.outlet.has_room() {
            if walk.is_done() {
                user.behind
                    .first()
                    .into_iter()
                    .for_each(|id| walk.start(id));
            }
            let next = walk.next(
                |id| self.replicas.get(id).map_or(&[], Replica::dependencies),
                |id| user.behind.get(id).is_some_and(|b| b.data.is_some()),
            );
            let Some(id) = next else {
                break;
            };
            let Some(behind) = user.behind.remove(id) else {
                break;
            };
            let Some(replica) = self.replicas.get(id) else {
                continue;
            };
            let taken = match behind.data {
                Some(missing) => send_missing(dialect, user, id, replica, missing, now),
                None if !behind.right => continue,
                None => true,
            };
            if !taken {
                later.push(id);
            }
            if behind.right {
                let right = encode_right(dialect, "server", &[id], replica.owner());
                user.outlet.edit(id, Edit::Right, right);
            }
        }
        for id in later {
            self.renew_later(who, id, now);
        }
    }

    /// What may have been overtaken by a frame on another link is sent once more.
    pub(super) fn settle(&mut self, who: &Identity, id: NodeId, data: bool, now: Instant) {
        let exists = self.replicas.contains(id);
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if !user.is_active() {
            return;
        }
        if exists {
            user.doomed.remove(&id);
            let behind = user.behind.entry(id);
            behind.right = true;
            if data {
                behind.data = Some(Missing::Whole);
            }
            self.send_backlog(who, now);
            if data {
                // The Delete of the old one has taken it from what these need.
                for dependent in self.replicas.dependents(id) {
                    self.renew(who, dependent, now);
                }
            }
        } else {
            self.send_delete(who, id, now);
        }
    }
}

/// Sends what is missing of a node: its whole state with the deltas since, or the deltas alone. Returns whether
/// all of it was taken; if not, it is to be sent again a round trip later.
#[must_use]
pub(super) fn send_missing<O: Outlet>(
    dialect: &Dialect,
    user: &User<O>,
    id: NodeId,
    replica: &Replica,
    missing: Missing,
    now: Instant,
) -> bool {
    let known = match missing {
        Missing::Deltas { version, from } if version == replica.version() => {
            replica.tail_from(from)
        }
        _ => None,
    };
    let mut parts = Vec::new();
    let mut joins = Joins::Follows;
    if known.is_none() {
        joins = Joins::Replaces;
        parts.push(node::encode_node(
            dialect,
            replica.with(&id, replica.base()),
        ));
    }
    for delta in known.unwrap_or_else(|| replica.tail()) {
        parts.push(node::encode_delta(dialect, replica.with(&id, delta)));
    }
    for part in parts {
        let after = replica.dependencies();
        if user.outlet.data(id, joins, after, part, now) == Taken::Refused {
            return false;
        }
        joins = Joins::Follows;
    }
    true
}

/// A Right in bytes.
pub(super) fn encode_right(dialect: &Dialect, by: &str, nodes: &[NodeId], owner: &str) -> Encoded {
    encode(
        dialect,
        &command::encode(dialect, &Answer::Right { by, nodes, owner }),
    )
}
