//! Deletes and Rights: changes of nodes that travel on the command link.
//!
//! Up to G8 the sender has applied them already and gets nothing but corrections; from G9 on it
//! waits for the echo. Partial permission is normal: honest clients send lists of a node with all
//! its dependencies.

use std::sync::Arc;

use tokio::time::Instant;

use super::authority;
use super::behind::encode_right;
use super::buried::Tombstone;
use super::live::{OVERTAKEN, is_unseen};
use super::outlet::{Edit, Outlet, Slot};
use super::replicas::{COMMON, Replica};
use super::state::{Phase, Session, Timer};
use super::users::Behind;
use crate::counters::Count;
use crate::text::shown;
use crate::wire::command::Answer;
use crate::wire::dialect::{MissingNode, RightShape};
use crate::wire::identity::{Identity, NodeId};

impl<O: Outlet> Session<O> {
    /// A user deletes a node.
    pub(super) fn delete(&mut self, who: &Identity, id: NodeId, now: Instant) {
        if self.delay_delete(who, id) {
            return;
        }
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        user.early_rights.remove(&id);
        if let Some(replica) = self.replicas.get(id)
            && !authority::may_change(replica, &user.name, now, self.settings.in_flight)
        {
            self.counters
                .refuse(Count::RefusedDelete, who, "deleting somebody else's node");
            if !dialect.echo_edits {
                // It is gone there already, and from what other nodes need.
                user.restored.insert(id, now);
                self.send_whole(who, id, now);
                self.correct_owner(who, &[id]);
                for dependent in self.replicas.dependents(id) {
                    self.renew(who, dependent, now);
                }
            }
            return;
        }
        // Data on its way there would bring the node back to life at the one who deleted it.
        // And what it made anew since may have been faster than the Delete, on its own link: it is gone for all.
        let pushed = self.replicas.get(id).and_then(Replica::pushed);
        let crossed = user.doomed.contains_key(&id)
            || is_unseen(user, id, now)
            || pushed.is_some_and(|at| now < at + OVERTAKEN);
        let spared = (!dialect.echo_edits && !crossed).then_some(who);
        let dependents = self.replicas.dependents(id);
        if let Some(tombstone) = self.remove_node(id, who, spared, now) {
            self.note_wiped(who, id, tombstone, dependents, now);
            self.make_room(0, now);
        } else {
            // The sender waits for the echo, and somebody may make the node before that gets there.
            if dialect.echo_edits {
                self.send_delete(who, id, now);
            }
        }
    }

    /// Removes a node and tells everybody but `spared`. `None` if there is none, and nobody is
    /// told.
    pub(super) fn remove_node(
        &mut self,
        id: NodeId,
        by: &Identity,
        spared: Option<&Identity>,
        now: Instant,
    ) -> Option<Arc<Tombstone>> {
        let dependents = self.replicas.dependents(id);
        let marks = self
            .dialect()
            .is_some_and(|dialect| dialect.missing_node == MissingNode::RemovedMarker);
        for (_, user) in self.users.iter_mut() {
            if marks {
                Self::note_needless(user, id, &dependents);
            }
        }
        let tombstone = self.buried.bury(self.replicas.delete(id, by, now)?);
        let mut told = Vec::new();
        for (other, user) in self.users.iter_mut() {
            let tell = spared != Some(other);
            let promised = (!marks).then_some(&tombstone);
            if Self::note_deleted(user, id, promised) && tell {
                told.push(other.clone());
            }
        }
        for other in told {
            self.send_delete(&other, id, now);
        }
        self.renew_dependents(&dependents, now);
        let is_barren = self.replicas.is_empty() && self.replicas.aside().next().is_none();
        if is_barren && matches!(self.phase, Phase::Active) {
            self.author = None;
        }
        Some(tombstone)
    }

    /// States of these nodes that are on their way still name a node that is gone, and a Delete on
    /// the other link may get there first: newer ones take their place.
    fn renew_dependents(&mut self, dependents: &[NodeId], now: Instant) {
        let on_its_way: Vec<_> = self
            .users
            .iter()
            .flat_map(|(who, user)| {
                let unseen = dependents.iter().filter(|id| is_unseen(user, **id, now));
                unseen.map(|id| (who.clone(), *id))
            })
            .collect();
        for (who, id) in on_its_way {
            self.renew(&who, id, now);
        }
    }

    /// Tells one user that a node is gone. A delta for a node they do not have ends clients (from
    /// G15 on) or makes a ruin of one (G8–G14): where one may be on its way, the Delete goes a
    /// round trip later.
    pub(super) fn send_delete(&mut self, who: &Identity, id: NodeId, now: Instant) {
        let deltas = self.has_deltas();
        let Some(bytes) = self.encode(&Answer::Delete(id)) else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if deltas && user.outlet.unseen(id, now) {
            // Once, however often it is asked for: the deleter may do so any number of times.
            if user.doomed.get(&id).is_none_or(|due| *due <= now) {
                let due = now + user.outlet.window();
                user.doomed.insert(id, due);
                self.at(due, Timer::Settle(who.clone(), id, false));
            }
            return;
        }
        user.doomed.remove(&id);
        user.outlet.edit(id, Edit::Delete, bytes);
    }

    /// A user gives nodes to somebody.
    pub(super) fn right(&mut self, who: &Identity, nodes: &[NodeId], owner: &str, now: Instant) {
        if self.delay_right(who, nodes, owner) {
            return;
        }
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let (name, admin) = (Arc::clone(&user.name), user.admin);
        let outlet = user.outlet.clone();
        let receiver = self.users.named(owner).and_then(|id| self.users.get(id));
        let owner: Option<Arc<str>> = match receiver {
            Some(user) => Some(Arc::clone(&user.name)),
            None => (owner == COMMON).then(|| COMMON.into()),
        };
        if nodes.is_empty() {
            // Honest clients of the list form send that, and wait for it.
            if let (RightShape::List, true, Some(owner)) =
                (dialect.right, dialect.echo_edits, owner)
            {
                // To the others it is nothing, and nothing newer would take its place in their queues.
                let bytes = encode_right(dialect, &name, &[], &owner);
                outlet.command(Slot::Plain, bytes);
            }
            return;
        }
        let (mut permitted, mut given) = (Vec::new(), Vec::new());
        let (mut refused, mut crossed) = (Vec::new(), Vec::new());
        for id in nodes {
            match (self.replicas.get(*id), &owner) {
                // To nobody, too: the sender may have to be told that it is refused.
                (None, owner) => self.keep_early_right(who, *id, owner.as_ref(), now),
                (Some(replica), Some(owner)) if authority::may_give(replica, &name, admin) => {
                    if admin && **replica.owner() != *COMMON && *replica.owner() != name {
                        self.counters.note(
                            Count::RightsByAdmin,
                            who,
                            format_args!(
                                "{id} goes from {} to {}",
                                shown(replica.owner()),
                                shown(owner)
                            ),
                        );
                    }
                    // A Right on its way to the sender would have the last word there: another's, or
                    // one of ours that says once more what was so until now.
                    let recent = replica
                        .former()
                        .is_some_and(|(_, until)| now < until + self.settings.in_flight);
                    if recent || outlet.unseen_right(*id, now) {
                        crossed.push(*id);
                    }
                    permitted.push(*id);
                    // The others are told of changes only: nothing new could cross a Right of
                    // theirs and undo it.
                    if self.replicas.give(*id, owner, now) {
                        given.push(*id);
                    }
                }
                _ => refused.push(*id),
            }
        }
        self.relay_right(who, &name, &given);
        if dialect.echo_edits {
            self.echo_right(who, &name, &permitted);
        } else {
            self.correct_owner(who, &crossed);
        }
        if !refused.is_empty() {
            self.counters
                .refuse(Count::RefusedRight, who, "taking somebody else's node");
            self.correct_owner(who, &refused);
        }
    }

    fn keep_early_right(
        &mut self,
        who: &Identity,
        id: NodeId,
        owner: Option<&Arc<str>>,
        now: Instant,
    ) {
        let most = self.settings.max_early_rights;
        // Nobody is called so. (And what somebody not there is called may be long.)
        let owner = owner.map_or_else(|| "".into(), Arc::clone);
        if let Some(user) = self.users.get_mut(who)
            && user.early_rights.len() < most
        {
            user.early_rights.insert(id, (owner, now));
        }
    }

    /// Tells everybody but `who` the present owner of these nodes, all of which have the same.
    pub(super) fn relay_right(&mut self, who: &Identity, by: &str, nodes: &[NodeId]) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        for id in nodes {
            let Some(replica) = self.replicas.get(*id) else {
                continue;
            };
            let bytes = encode_right(dialect, by, &[*id], replica.owner());
            let change = Behind {
                data: None,
                right: true,
            };
            for user in self.users.others_mut(who) {
                if Self::note_changed(user, *id, change) {
                    user.outlet.edit(*id, Edit::Right, bytes.clone());
                }
            }
        }
    }

    fn echo_right(&mut self, who: &Identity, by: &str, nodes: &[NodeId]) {
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
            let change = Behind {
                data: None,
                right: true,
            };
            if Self::note_changed(user, *id, change) {
                let bytes = encode_right(dialect, by, &[*id], replica.owner());
                user.outlet.edit(*id, Edit::Right, bytes);
            }
        }
    }
}
