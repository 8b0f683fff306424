//! New nodes: who may make one, whose it is, and what was said about it before it came.
//!
//! `live` asks for one when a push is about a node that is not there.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::authority;
use super::live::{OVERTAKEN, Push, has_lost_a_need, is_unseen};
use super::outlet::Outlet;
use super::replicas::{COMMON, DELTA, Replica};
use super::state::Session;
use super::users::User;
use crate::counters::Count;
use crate::wire::dialect::{Dialect, Live};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::{Delta, NodeState, Update};
use crate::wire::pickle::{self, Dict, Protocol, Value};

/// For so long a Right waits for the first byte of the node it is about: nodes may be held up on their own link.
const EARLY: Duration = Duration::from_secs(60);

impl<O: Outlet> Session<O> {
    pub(super) fn create(&mut self, push: Push, now: Instant) {
        let (who, began) = (&push.who.clone(), push.began);
        let Some(dialect) = self.dialect() else {
            return;
        };
        if self.users.get(who).is_none() || !self.may_create(&push, now) {
            return;
        }
        match push.update {
            Update::Node(node) => {
                if self.has_room_for(who, &node, 0, now) {
                    self.create_node(who, node, None, began, now);
                } else {
                    self.tell_truth(who, node.id, now);
                }
            }
            Update::Delta(delta) if dialect.live != Live::Delta => {
                self.counters.add(Count::UpdatesOfDeleted);
                self.tell_truth(who, delta.id, now);
            }
            Update::Delta(delta) => {
                let (update, blank) = (Update::Delta(delta), Some(blank(dialect)));
                let push = Push {
                    update,
                    blank,
                    ..push
                };
                self.check_first(push, now);
            }
        }
    }

    /// Whether a node that is not there may be made. Whoever may not is told that it is gone.
    fn may_create(&mut self, push: &Push, now: Instant) -> bool {
        let (who, id, began) = (&push.who, push.id(), push.began);
        if self.replicas.is_aside(id) {
            let what = "a node that is set aside";
            self.counters.refuse(Count::RefusedUpdate, who, what);
            self.send_delete(who, id, now);
            return false;
        }
        let outlived = self
            .replicas
            .deleted_by(id, who)
            .is_some_and(|at| began < at + OVERTAKEN);
        let gone = |user: &User<O>| user.doomed.contains_key(&id) || is_unseen(user, id, began);
        if outlived || self.users.get(who).is_some_and(gone) {
            self.counters.add(Count::UpdatesOfDeleted);
            // If it was made anew after all, it must not stay with its sender alone.
            self.send_delete(who, id, now);
            return false;
        }
        true
    }

    fn create_node(
        &mut self,
        who: &Identity,
        mut node: NodeState,
        first: Option<(&Delta, Option<bool>)>,
        began: Instant,
        now: Instant,
    ) {
        let id = node.id;
        let claimed = std::mem::take(&mut node.owner);
        self.settle_owner(who, &mut node, &claimed);
        let anew = self.replicas.is_grave(id);
        // Bulk may have been on its way for longer than can be told from a node made anew.
        let overdue = self.replicas.deleted_by(id, who).is_some();
        let was_empty = self.replicas.is_empty();
        self.replicas.store(node);
        if anew {
            self.note_anew(who, id, now);
        }
        match first {
            None => {
                self.note_author();
                self.relay_whole(who, id, now);
            }
            Some((delta, tuples)) => {
                self.append_checked(who, delta, tuples, now);
                if anew {
                    // To those who have yet to lose the old one it would be a change of that.
                    self.send_whole_to_others(who, id, now);
                }
            }
        }
        if anew {
            self.relay_right(who, "server", &[id]);
        }
        let needs = self.replicas.get(id).map_or(&[][..], Replica::dependencies);
        let user = self.users.get(who);
        if overdue || user.is_some_and(|user| has_lost_a_need(user, needs, began)) {
            self.send_whole(who, id, now);
        }
        self.after_creation(who, id, &claimed, began, now);
        if was_empty {
            self.give_deferred_catalogs(now);
        }
    }

    /// Adds a delta that was looked into: to a node, or it is the first one and makes a node (G8–G14).
    pub(super) fn add(&mut self, push: &Push, tuples: Option<bool>, now: Instant) {
        let (Update::Delta(delta), who) = (&push.update, &push.who) else {
            return;
        };
        let Some(blank) = push.blank.clone() else {
            return self.append_checked(who, delta, tuples, now);
        };
        if self.replicas.contains(delta.id) {
            return self.append_checked(who, delta, tuples, now);
        }
        if !self.may_create(push, now) {
            return;
        }
        let node = NodeState {
            id: delta.id,
            owner: delta.owner.clone().unwrap_or_else(|| COMMON.into()),
            kind: delta.kind.clone(),
            dependencies: delta.dependencies.clone(),
            payload: blank,
        };
        if self.has_room_for(who, &node, delta.delta.len().saturating_add(DELTA), now) {
            self.create_node(who, node, Some((delta, tuples)), push.began, now);
        } else {
            self.tell_truth(who, delta.id, now);
        }
    }

    /// A new node belongs to nobody or to its sender.
    fn settle_owner(&self, who: &Identity, node: &mut NodeState, claimed: &str) {
        let name = self.users.get(who).map_or(COMMON, |user| &*user.name);
        node.owner = authority::owner_of_new(claimed, name).into();
    }

    /// Tells the sender if the owner is not who it said, and applies a Right that was faster.
    fn after_creation(
        &mut self,
        who: &Identity,
        id: NodeId,
        claimed: &str,
        began: Instant,
        now: Instant,
    ) {
        let Some(replica) = self.replicas.get(id) else {
            return;
        };
        if **replica.owner() != *claimed {
            self.counters.refuse(
                Count::RefusedRight,
                who,
                "a new node owned by somebody else",
            );
            self.correct_owner(who, &[id]);
        } else if (self.users.get(who)).is_some_and(|user| user.outlet.unseen_right(id, began)) {
            // It is about the node that was there before, and would have the last word at the sender.
            self.correct_owner(who, &[id]);
        }
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        // An older one was about a node that was deleted before it came.
        if let Some((owner, at)) = user.early_rights.remove(&id)
            && began < at + EARLY
        {
            self.right(who, &[id], &owner, now);
            // Or it was older after all, and its sender, who gets no echo, goes by what it made.
            let given = self.replicas.get(id).map(Replica::owner);
            let echoes = self.dialect().is_none_or(|dialect| dialect.echo_edits);
            if !echoes && given.is_some_and(|given| **given == *owner) {
                self.correct_owner(who, &[id]);
            }
        }
    }
}

/// What clients take a node's content to be before its first delta (wire spec, G8 and G11).
fn blank(dialect: &Dialect) -> Bytes {
    let blank = if dialect.typed_nodes() {
        Value::Dict(Dict::new())
    } else {
        Value::None
    };
    pickle::write(&blank, Protocol::Four)
}
