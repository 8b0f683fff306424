//! Who is told what became of a node: changes go to everybody but their sender, the truth to whoever was
//! refused, or edited at the same time as another.
//!
//! `live`, `edits`, `folding` and `quarantine` decide; what a user is behind on is noted in `users`.

use tokio::time::Instant;

use super::behind::{encode_right, send_missing};
use super::outlet::{Edit, Joins, Outlet, Taken};
use super::state::{Session, Timer};
use super::users::{Behind, Missing, User};
use crate::counters::Count;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node;

impl<O: Outlet> Session<O> {
    /// Relays the node's present whole state to everybody but `who`.
    pub(super) fn relay_whole(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let (Some(dialect), Some(replica)) = (self.dialect(), self.replicas.get(id)) else {
            return;
        };
        let (mut bytes, mut relayed) = (None, 0);
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
                relayed += 1;
            }
        }
        self.counters.add_many(Count::UpdatesRelayed, relayed);
    }

    /// Relays the node's last delta to everybody but `who`.
    pub(super) fn relay_delta(&mut self, who: &Identity, id: NodeId, now: Instant) {
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
        let (most, mut relayed) = (self.settings.queued_changes, 0);
        let most = most.max(bytes.len()).max(replica.payload_bytes());
        let mut later = Vec::new();
        for user in self.users.others_mut(who) {
            if Self::note_changed(user, id, change) {
                let taken = user.outlet.data(
                    id,
                    Joins::Follows,
                    replica.dependencies(),
                    bytes.clone(),
                    now,
                );
                let taken = match taken {
                    Taken::Queued(bytes) if bytes > most => {
                        send_missing(dialect, user, id, replica, Missing::Whole, now)
                    }
                    Taken::Queued(_) => true,
                    Taken::Refused => false,
                };
                if !taken {
                    later.push(user.outlet.identity().clone());
                }
                relayed += 1;
            }
        }
        self.counters.add_many(Count::UpdatesRelayed, relayed);
        for who in later {
            self.renew_later(&who, id, now);
        }
    }

    /// A node is there again: what everybody but `who` may still send of the old one is no change of it, and what
    /// they say needs the old one will have lost that need at them.
    pub(super) fn note_anew(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let deltas = self.has_deltas();
        for user in self.users.others_mut(who) {
            user.restored.insert(id, now + user.outlet.window());
            if deltas {
                user.corrected.insert(id);
            }
        }
    }

    /// Puts the node's true state in the place of what a refused sender made of it.
    pub(super) fn correct(&mut self, who: &Identity, id: NodeId, now: Instant) {
        if let Some(user) = self.users.get_mut(who) {
            user.corrected.insert(id);
        }
        self.send_whole(who, id, now);
        self.correct_owner(who, &[id]);
    }

    /// Tells a refused sender what is true of a node, even if that is that there is none.
    pub(super) fn tell_truth(&mut self, who: &Identity, id: NodeId, now: Instant) {
        if self.replicas.contains(id) {
            self.correct(who, id, now);
        } else if self.has_deltas() && self.users.get(who).is_some_and(User::is_active) {
            // It would go on with changes of a node that nobody has. (Whole states can be taken any time.)
            self.send_delete(who, id, now);
        }
    }

    /// Sends everybody but `who` the whole state of a node with its deltas, in the place of what is on its way.
    pub(super) fn send_whole_to_others(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let others: Vec<_> = self
            .users
            .iter()
            .filter(|(other, _)| *other != who)
            .map(|(other, _)| other.clone())
            .collect();
        for other in others {
            self.send_whole(&other, id, now);
        }
    }

    /// Sends one user the whole state of a node again, as something it needs is gone or is there again. Much may be
    /// deleted one by one: what goes on within a round trip is done together.
    pub(super) fn renew(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if let Some(again) = user.renewed.get_mut(&id) {
            *again = true;
            return;
        }
        user.renewed.insert(id, false);
        let due = now + user.outlet.window();
        self.at(due, Timer::Renew(who.clone(), id));
        self.send_whole(who, id, now);
    }

    /// Sends one user the whole state of a node a round trip from now: a Delete may be under way that is to be
    /// there before.
    pub(super) fn renew_later(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if user.renewed.insert(id, true).is_none() {
            let due = now + user.outlet.window();
            self.at(due, Timer::Renew(who.clone(), id));
        }
    }

    pub(super) fn renew_again(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let user = self.users.get_mut(who);
        if user.and_then(|user| user.renewed.remove(&id)) == Some(true) {
            self.renew(who, id, now);
        }
    }

    /// Sends one user the whole state of a node.
    pub(super) fn send_whole(&mut self, who: &Identity, id: NodeId, now: Instant) {
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
        if Self::note_changed(user, id, change)
            && !send_missing(dialect, user, id, replica, Missing::Whole, now)
        {
            self.renew_later(who, id, now);
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
                self.send_whole(who, id, now);
            }
            None => {}
        }
    }
}
