//! Live changes: who may make them, who is told, and how concurrent ones come together.
//!
//! The sender of an update is not echoed. If it may not have seen another's update of the same
//! node when it sent its own, the two artists would end apart; then the resulting whole state
//! goes to the sender, too, once it has paused for a round trip (`relay`).

use std::time::Duration;

use bytes::Bytes;
use smol_str::SmolStr;
use tokio::time::Instant;

use super::authority;
use super::outlet::Outlet;
use super::replicas::{COMMON, DELTA, cost, cost_of_delta};
use super::state::{Phase, Session};
use super::users::User;
use crate::counters::Count;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::{Delta, NodeState, Update};

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
    /// What its node is before it, which is not there: it is the first delta.
    pub(super) blank: Option<Bytes>,
}

impl Push {
    /// The node.
    pub(super) fn id(&self) -> NodeId {
        match &self.update {
            Update::Node(node) => node.id,
            Update::Delta(delta) => delta.id,
        }
    }

    /// What it needs.
    fn needs(&self) -> &[NodeId] {
        match &self.update {
            Update::Node(node) => &node.dependencies,
            Update::Delta(delta) => &delta.dependencies,
        }
    }

    /// What it costs to keep.
    pub(super) fn cost(&self) -> usize {
        match &self.update {
            Update::Node(node) => cost(node),
            Update::Delta(delta) => cost_of_delta(delta),
        }
    }
}

impl<O: Outlet> Session<O> {
    /// A node was pushed.
    pub(super) fn update(&mut self, push: Push, now: Instant) {
        let Some(user) = self.users.get_mut(&push.who) else {
            let what = "a node without login";
            self.counters
                .refuse(Count::RefusedStranger, &push.who, what);
            return;
        };
        if user.is_active() {
            // Nobody pushes who still waits for that.
            user.answered = None;
        }
        self.counters.add(Count::UpdatesReceived);
        match self.phase {
            Phase::Active => {}
            Phase::Uploading(_) => return self.during_upload(push, now),
            Phase::Waiting => {
                let what = "a node before the first upload";
                return self.counters.refuse(Count::RefusedUpdate, &push.who, what);
            }
        }
        if !self.is_done(&push.who, now) {
            let what = "a node before its join was done";
            return self.counters.refuse(Count::RefusedUpdate, &push.who, what);
        }
        if self.is_looked_into(push.id()) {
            self.wait_for_fold(push, now);
        } else {
            self.apply(push, now);
        }
    }

    /// Applies an update whose turn it is.
    pub(super) fn apply(&mut self, mut push: Push, now: Instant) {
        self.forget_gone_needs(&mut push);
        let id = push.id();
        if self.replicas.contains(id) {
            self.change(push, now);
        } else {
            self.create(push, now);
        }
        if self.dialect().is_some_and(|dialect| !dialect.echo_edits) {
            self.replicas.note_pushed(id, now);
        }
    }

    /// The sender had not heard yet that something it needs is gone; the others must not get the reference back.
    pub(super) fn forget_gone_needs(&self, push: &mut Push) {
        let dependencies = match &mut push.update {
            Update::Node(node) => &mut node.dependencies,
            Update::Delta(delta) => &mut delta.dependencies,
        };
        dependencies.retain(|d| self.replicas.contains(*d) || !self.replicas.is_grave(*d));
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
        // Whoever waits for an outcome goes on waiting with every edit, or it would come in the midst of them.
        let converges = is_unseen(user, id, began)
            || user.converging.contains_key(&id)
            || has_lost_a_need(user, push.needs(), began);
        if !authority::may_change(replica, &user.name, began, self.settings.in_flight) {
            self.counters.refuse(
                Count::RefusedUpdate,
                who,
                "an update of somebody else's node",
            );
            return self.correct(who, id, now);
        }
        let delta = matches!(push.update, Update::Delta(_));
        if delta && user.corrected.contains(&id) {
            let lacks = user.behind.get(id).is_some_and(|b| b.data.is_some());
            if lacks || user.outlet.unseen_whole(id, began) {
                // It builds on a state that was taken back.
                self.counters
                    .refuse(Count::RefusedUpdate, who, "a delta to a refused state");
                return self.correct(who, id, now);
            }
            user.corrected.remove(&id);
        }
        let converges = converges.then(|| who.clone());
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
        if !self.has_room_for(who, &node, 0, now) {
            return self.correct(who, id, now);
        }
        // Only a Right changes the owner.
        node.owner = SmolStr::default();
        self.replicas.store(node);
        self.note_author();
        self.relay_whole(who, id, now);
    }

    /// Adds a delta to a node that exists, at once or as soon as it has been looked into.
    fn append(&mut self, push: Push, now: Instant) {
        let Some(replica) = self.replicas.get(push.id()) else {
            return;
        };
        // One that cannot be folded was too much to look into.
        let known = replica.has_tuples();
        let tuples = known.unwrap_or_else(|| !replica.is_unfoldable());
        if !push.plain || tuples {
            return self.check_first(push, now);
        }
        if let Update::Delta(delta) = push.update {
            self.append_checked(&push.who, &delta, known, now);
        }
    }

    /// Adds a delta that all clients apply alike, and relays it. With `tuples` it is known whether there are
    /// any in the node then.
    pub(super) fn append_checked(
        &mut self,
        who: &Identity,
        delta: &Delta,
        tuples: Option<bool>,
        now: Instant,
    ) {
        if self.refuse_endless(who, delta.id, now) {
            return;
        }
        let growth = delta.delta.len().saturating_add(DELTA);
        self.make_room(growth, now);
        let grown = self.replicas.bytes().saturating_add(growth);
        if grown > self.settings.max_session {
            self.counters.refuse(Count::RefusedFull, who, "a delta");
            return self.correct(who, delta.id, now);
        }
        if let Some(tuples) = tuples {
            self.replicas.note_tuples(delta.id, tuples);
        }
        self.replicas.append(delta);
        self.note_author();
        self.relay_delta(who, delta.id, now);
        self.note_grown(delta.id, now);
    }

    /// Whether there is room for a node, and so many bytes more.
    pub(super) fn has_room_for(
        &mut self,
        who: &Identity,
        node: &NodeState,
        more: usize,
        now: Instant,
    ) -> bool {
        let (growth, new) = self.replicas.growth(node);
        let growth = growth.saturating_add(more);
        self.make_room(growth, now);
        let total = self.replicas.bytes().saturating_add(growth);
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
}

/// Whether something of a node that is meant for a user may not have reached it when it sent what
/// arrives now. While a link of its is gone that is whatever is known to have been sent: it may have
/// gone to a line that was dead already.
pub(super) fn is_unseen<O: Outlet>(user: &User<O>, id: NodeId, began: Instant) -> bool {
    let began = if user.is_away() { user.since } else { began };
    user.behind
        .get(id)
        .is_some_and(|behind| behind.data.is_some())
        || user.outlet.unseen(id, began)
}

/// Whether one of these is gone at a user, or was, since it sent what names them, although it is there: then the
/// user does without them in what it sent.
pub(super) fn has_lost_a_need<O: Outlet>(user: &User<O>, needs: &[NodeId], began: Instant) -> bool {
    let began = if user.is_away() { user.since } else { began };
    let restored = |need: &NodeId| {
        user.restored
            .get(need)
            .is_some_and(|at| began < *at + OVERTAKEN)
    };
    !user.restored.is_empty() && needs.iter().any(restored)
}
