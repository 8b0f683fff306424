//! Live changes: who may make them, who is told, and how concurrent ones come together.
//!
//! The sender of an update is not echoed. If it may not have seen another's update of the same
//! node when it sent its own, the two artists would end apart; then the resulting whole state
//! goes to the sender, too, once it has paused for a round trip.

use std::time::Duration;

use tokio::time::Instant;

use super::authority;
use super::join::{encode_right, send_missing};
use super::outlet::{Edit, Joins, Outlet};
use super::replicas::{COMMON, cost};
use super::state::{Phase, Session, Timer};
use super::users::{Behind, Missing, User};
use crate::counters::Count;
use crate::wire::dialect::{Dialect, Live};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::{self, Delta, NodeState, Update};
use crate::wire::pickle::{self, Dict, Protocol, Value};

/// How long after its own Delete a user's pushes of that node, or of what needs it, count as sent
/// before it: commands and nodes travel on different links.
pub(super) const OVERTAKEN: Duration = Duration::from_secs(1);

/// A node or delta somebody pushed.
#[derive(Debug)]
pub(super) struct Push {
    pub(super) who: Identity,
    pub(super) update: Update,
    /// When its first byte arrived, or earlier (see [`Event::Update`](super::Event::Update)).
    pub(super) began: Instant,
    /// Whether it may be passed on without knowing the node.
    pub(super) plain: bool,
}

impl Push {
    /// The node.
    pub(super) fn id(&self) -> NodeId {
        match &self.update {
            Update::Node(node) => node.id,
            Update::Delta(delta) => delta.id,
        }
    }

    /// What it costs to keep.
    pub(super) fn cost(&self) -> usize {
        match &self.update {
            Update::Node(node) => cost(node),
            Update::Delta(delta) => delta.delta.len(),
        }
    }
}

impl<O: Outlet> Session<O> {
    /// A node was pushed.
    pub(super) fn update(&mut self, push: Push, now: Instant) {
        if self.users.get(&push.who).is_none() {
            let what = "a node without login";
            self.counters
                .refuse(Count::RefusedStranger, &push.who, what);
            return;
        }
        self.counters.add(Count::UpdatesReceived);
        let Some(push) = self.during_upload(push, now) else {
            return;
        };
        if !matches!(self.phase, Phase::Active) {
            let what = "a node before the first upload";
            return self.counters.refuse(Count::RefusedUpdate, &push.who, what);
        }
        if !self.is_done(&push.who, now) {
            let what = "a node before its join was done";
            return self.counters.refuse(Count::RefusedUpdate, &push.who, what);
        }
        if let Some(push) = self.wait_for_fold(push) {
            self.apply(push, now);
        }
    }

    /// Applies an update whose turn it is.
    pub(super) fn apply(&mut self, mut push: Push, now: Instant) {
        let dependencies = match &mut push.update {
            Update::Node(node) => &mut node.dependencies,
            Update::Delta(delta) => &mut delta.dependencies,
        };
        // The sender had not heard yet that one of them is gone; the others must not get the
        // reference back.
        dependencies.retain(|d| self.replicas.contains(*d) || !self.replicas.is_grave(*d));
        if self.replicas.contains(push.id()) {
            self.change(push, now);
        } else {
            self.create(push, now);
        }
    }

    fn create(&mut self, push: Push, now: Instant) {
        let id = push.id();
        let (who, began) = (&push.who.clone(), push.began);
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if self.replicas.is_aside(id) {
            let what = "a node that is set aside";
            self.counters.refuse(Count::RefusedUpdate, who, what);
            return self.send_delete(who, id, now);
        }
        let outlived = self
            .replicas
            .deleted_by(id, who)
            .is_some_and(|at| began < at + OVERTAKEN);
        if outlived || user.doomed.contains(&id) || is_unseen(user, id, began) {
            self.counters.add(Count::UpdatesOfDeleted);
            // If it was made anew after all, it must not stay with its sender alone.
            return self.send_delete(who, id, now);
        }
        let mut node = match push.update {
            Update::Node(node) => node,
            Update::Delta(_) if dialect.live != Live::Delta => {
                self.counters.add(Count::UpdatesOfDeleted);
                return;
            }
            Update::Delta(delta) => {
                let update = Update::Delta(delta);
                return self.create_from_delta(Push { update, ..push }, dialect, now);
            }
        };
        if !self.has_room_for(who, &node) {
            return;
        }
        let claimed = std::mem::take(&mut node.owner);
        self.settle_owner(who, &mut node, &claimed);
        let anew = self.replicas.is_grave(id);
        // Bulk may have been on its way for longer than can be told from a node made anew.
        let overdue = self.replicas.deleted_by(id, who).is_some();
        let was_empty = self.replicas.is_empty();
        self.replicas.store(node);
        self.note_author();
        self.relay_whole(who, id, now);
        if anew {
            self.relay_right(who, "server", &[id]);
        }
        if overdue || self.has_lost_a_need(who, id, began) {
            self.send_whole(who, id);
        }
        self.after_creation(who, id, &claimed, now);
        if was_empty {
            self.give_deferred_catalogs(now);
        }
    }

    /// A node that has only deltas yet: they build on nothing (G8–G14).
    fn create_from_delta(&mut self, push: Push, dialect: &Dialect, now: Instant) {
        let Update::Delta(delta) = &push.update else {
            return;
        };
        let (who, id, began) = (&push.who.clone(), delta.id, push.began);
        let mut state = NodeState {
            id,
            owner: delta.owner.clone().unwrap_or_else(|| COMMON.to_owned()),
            kind: delta.kind.clone(),
            dependencies: delta.dependencies.clone(),
            payload: pickle::write(&blank(dialect), Protocol::Four),
        };
        if !self.has_room_for(who, &state) {
            return;
        }
        let claimed = std::mem::take(&mut state.owner);
        self.settle_owner(who, &mut state, &claimed);
        let was_empty = self.replicas.is_empty();
        self.replicas.store(state);
        self.replicas.note_tuples(id, false);
        self.note_author();
        self.append(push, now);
        if self.has_lost_a_need(who, id, began) {
            self.send_whole(who, id);
        }
        self.after_creation(who, id, &claimed, now);
        if was_empty {
            self.give_deferred_catalogs(now);
        }
    }

    /// Whether a new node was pushed before its sender deleted something the node needs, and got it
    /// back: at the sender the node does without it since then.
    fn has_lost_a_need(&self, who: &Identity, id: NodeId, began: Instant) -> bool {
        let (Some(user), Some(replica)) = (self.users.get(who), self.replicas.get(id)) else {
            return false;
        };
        let restored = |d: &NodeId| {
            user.restored
                .get(d)
                .is_some_and(|at| began < *at + OVERTAKEN)
        };
        !user.restored.is_empty() && replica.dependencies().iter().any(restored)
    }

    /// A new node belongs to nobody or to its sender.
    fn settle_owner(&self, who: &Identity, node: &mut NodeState, claimed: &str) {
        let name = self.users.get(who).map_or(COMMON, |user| &*user.name);
        authority::owner_of_new(claimed, name).clone_into(&mut node.owner);
    }

    /// Tells the sender if the owner is not who it said, and applies a Right that was faster.
    fn after_creation(&mut self, who: &Identity, id: NodeId, claimed: &str, now: Instant) {
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
        }
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if let Some(owner) = user.early_rights.remove(&id) {
            self.right(who, &[id], &owner, now);
        }
    }

    fn change(&mut self, push: Push, now: Instant) {
        let (who, id, began) = (&push.who, push.id(), push.began);
        let Some(replica) = self.replicas.get(id) else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            // It waited for its turn, and whoever sent it has left. What they owned is nobody's now.
            if **replica.owner() == *COMMON {
                self.change_permitted(push, now);
            }
            return;
        };
        let unseen = is_unseen(user, id, began);
        if !authority::may_change(replica, &user.name, began, self.settings.in_flight) {
            self.counters.refuse(
                Count::RefusedUpdate,
                who,
                "an update of somebody else's node",
            );
            return self.correct(who, id);
        }
        let delta = matches!(push.update, Update::Delta(_));
        if delta && user.corrected.contains(&id) {
            let lacks = user.behind.get(id).is_some_and(|b| b.data.is_some());
            if lacks || user.outlet.unseen_whole(id, began) {
                // It builds on a state that was taken back.
                self.counters
                    .refuse(Count::RefusedUpdate, who, "a delta to a refused state");
                return self.correct(who, id);
            }
            user.corrected.remove(&id);
        }
        let converges = unseen.then(|| who.clone());
        self.change_permitted(push, now);
        if let Some(who) = converges {
            self.converge_later(&who, id, now);
        }
    }

    fn change_permitted(&mut self, push: Push, now: Instant) {
        let (who, id) = (&push.who, push.id());
        let Update::Node(mut node) = push.update else {
            return self.append(push, now);
        };
        if !self.has_room_for(who, &node) {
            return self.correct(who, id);
        }
        // Only a Right changes the owner.
        node.owner.clear();
        self.replicas.store(node);
        self.note_author();
        self.relay_whole(who, id, now);
    }

    /// Adds a delta to a node that exists, at once or as soon as it has been looked into.
    fn append(&mut self, push: Push, now: Instant) {
        let Some(replica) = self.replicas.get(push.id()) else {
            return;
        };
        if !push.plain || replica.has_tuples() != Some(false) {
            return self.check_first(push);
        }
        if let Update::Delta(delta) = push.update {
            self.append_checked(&push.who, &delta, now);
        }
    }

    /// Adds a delta that all clients apply alike, and relays it.
    pub(super) fn append_checked(&mut self, who: &Identity, delta: &Delta, now: Instant) {
        let grown = self.replicas.bytes().saturating_add(delta.delta.len());
        if grown > self.settings.max_session {
            self.counters.refuse(Count::RefusedFull, who, "a delta");
            return self.correct(who, delta.id);
        }
        self.replicas.append(delta);
        self.note_author();
        self.relay_delta(who, delta.id, now);
        self.note_grown(delta.id, now);
    }

    /// Sends the outcome to somebody who edited at the same time as another, as soon as that
    /// artist pauses: earlier it would throw the node back under their hands, and cross their
    /// next edit.
    pub(super) fn converge_later(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let due = now + user.outlet.window();
        if user.behind.get(id).is_some_and(|b| b.data.is_some()) {
            // What it lacks now includes its own change, which must not come back as a delta.
            user.behind.entry(id).data = Some(Missing::Whole);
        }
        if user.converging.insert(id, due).is_none() {
            self.at(due, Timer::Converge(who.clone(), id));
        }
    }

    pub(super) fn converge(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        match user.converging.get(&id) {
            Some(due) if *due > now => {
                let due = *due;
                self.at(due, Timer::Converge(who.clone(), id));
            }
            Some(_) => {
                user.converging.remove(&id);
                self.counters.add(Count::Converged);
                self.send_whole(who, id);
            }
            None => {}
        }
    }

    fn has_room_for(&self, who: &Identity, node: &NodeState) -> bool {
        let total = self
            .replicas
            .bytes()
            .saturating_add(self.replicas.growth(node));
        let new = !self.replicas.contains(node.id);
        let fits = total <= self.settings.max_session
            && (!new || self.replicas.len() < self.settings.max_nodes);
        if !fits {
            self.counters.refuse(
                Count::RefusedFull,
                who,
                "a node, because the session is full",
            );
        }
        fits
    }

    /// Relays the node's present whole state to everybody but `who`.
    fn relay_whole(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let (Some(dialect), Some(replica)) = (self.dialect(), self.replicas.get(id)) else {
            return;
        };
        let mut bytes = None;
        let change = Behind {
            data: Some(Missing::Whole),
            right: false,
        };
        for user in self.users.others_mut(who) {
            if Self::note_changed(user, id, change) {
                let bytes = bytes.get_or_insert_with(|| {
                    node::encode_node(dialect, replica.with(&id, replica.base()))
                });
                user.outlet.data(
                    id,
                    Joins::Renews,
                    replica.dependencies(),
                    bytes.clone(),
                    now,
                );
                self.counters.add(Count::UpdatesRelayed);
            }
        }
    }

    /// Relays the node's last delta to everybody but `who`.
    fn relay_delta(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let (Some(dialect), Some(replica)) = (self.dialect(), self.replicas.get(id)) else {
            return;
        };
        let Some(delta) = replica.tail().last() else {
            return;
        };
        let bytes = node::encode_delta(dialect, replica.with(&id, delta));
        let from = replica.tail_end().saturating_sub(1);
        let missing = Missing::Deltas {
            version: replica.version(),
            from,
        };
        let change = Behind {
            data: Some(missing),
            right: false,
        };
        let most = self.settings.queued_changes;
        for user in self.users.others_mut(who) {
            if Self::note_changed(user, id, change) {
                let queued = user.outlet.data(
                    id,
                    Joins::Follows,
                    replica.dependencies(),
                    bytes.clone(),
                    now,
                );
                let costs = replica.payload_bytes();
                if queued > most.max(bytes.len()).max(costs) {
                    send_missing(dialect, user, id, replica, Missing::Whole);
                }
                self.counters.add(Count::UpdatesRelayed);
            }
        }
    }

    /// Puts the node's true state in the place of what a refused sender made of it.
    pub(super) fn correct(&mut self, who: &Identity, id: NodeId) {
        if let Some(user) = self.users.get_mut(who) {
            user.corrected.insert(id);
        }
        self.send_whole(who, id);
        self.correct_owner(who, &[id]);
    }

    /// Sends one user the whole state of a node.
    pub(super) fn send_whole(&mut self, who: &Identity, id: NodeId) {
        let (Some(dialect), Some(replica)) = (self.dialect(), self.replicas.get(id)) else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let change = Behind {
            data: Some(Missing::Whole),
            right: false,
        };
        if Self::note_changed(user, id, change) {
            send_missing(dialect, user, id, replica, Missing::Whole);
        }
    }

    /// Tells one user who owns these nodes.
    pub(super) fn correct_owner(&mut self, who: &Identity, nodes: &[NodeId]) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        for id in nodes {
            let Some(replica) = self.replicas.get(*id) else {
                continue;
            };
            let bytes = encode_right(dialect, "server", &[*id], replica.owner());
            user.outlet.edit(*id, Edit::Right, bytes);
        }
    }

    /// Takes over the round trips measured since the last tick.
    pub(super) fn refresh_latencies(&mut self) {
        for (_, user) in self.users.iter_mut() {
            let Some(round_trip) = user.outlet.round_trip() else {
                continue;
            };
            let latency = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX);
            // Jitter is no news: everybody would get the whole dict every second.
            let moved = (latency - user.latency).abs();
            if moved > 5.max(user.latency / 4) {
                user.latency = latency;
                self.users_changed = true;
            }
        }
    }
}

/// What clients take a node's content to be before its first delta (wire spec, G8 and G11).
fn blank(dialect: &Dialect) -> Value {
    if dialect.typed_nodes() {
        Value::Dict(Dict::new())
    } else {
        Value::None
    }
}

/// Whether something of a node that is meant for a user may not have reached it when it sent what
/// arrives now.
pub(super) fn is_unseen<O: Outlet>(user: &User<O>, id: NodeId, began: Instant) -> bool {
    user.behind
        .get(id)
        .is_some_and(|behind| behind.data.is_some())
        || user.outlet.unseen(id, began)
}
