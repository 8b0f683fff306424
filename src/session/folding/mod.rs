//! Nodes and their deltas brought together, off the session's task.
//!
//! A node is kept as a base and a tail of deltas. Two kinds of [`Job`] need both decoded: a delta
//! that clients with different deepdiff may not apply alike is looked into *before* it counts
//! (wire spec, payloads, "relayed as they came"), and a tail that has grown too long, or that a
//! joiner would have to be sent, is folded into the base. The actor fetches jobs with
//! [`Session::next_job`], runs them where they hold nobody up, as soon as there is room in memory for
//! what they build, and brings back what is [`Done`]. What comes meanwhile for a node that is looked
//! into waits its turn; everything else goes on.

mod job;
mod queue;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::warn;

pub use self::job::{Done, Job};
pub(super) use self::job::{Outcome, work};
pub(super) use self::queue::Folds;
use self::queue::{Running, Turn};
use super::live::{Push, is_unseen};
use super::outlet::Outlet;
use super::replicas::Replica;
use super::state::{Session, past};
use super::users::User;
use crate::counters::Count;
use crate::wire::delta::{Checked, FoldError, Folded};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::node::Update;
use crate::wire::pickle::PickleError;

/// A node that nobody has edited for so long is folded: it rests as one state.
const IDLE: Duration = Duration::from_secs(10);

/// So many times as long as others may a tail become that cannot be folded.
const UNFOLDABLE: usize = 64;

impl<O: Outlet> Session<O> {
    /// The next work to be done on a node, if there is any.
    pub fn next_job(&mut self, now: Instant) -> Option<Job> {
        let job = if self.folds.fold_next {
            self.next_fold(now).or_else(|| self.next_check(now))
        } else {
            self.next_check(now).or_else(|| self.next_fold(now))
        };
        if let Some(job) = &job {
            self.folds.fold_next = job.delta.is_some();
        }
        job
    }

    fn next_check(&mut self, now: Instant) -> Option<Job> {
        while let Some(id) = self.folds.next_check() {
            if let Some(Running::Check(push)) = self.folds.running.get(&id)
                && let Update::Delta(delta) = &push.update
            {
                let delta = Some(delta.delta.clone());
                match (self.replicas.get(id), &push.blank) {
                    (Some(replica), _) => return Some(self.job(id, replica, delta)),
                    (None, Some(blank)) => return Some(self.first_job(id, blank, delta)),
                    (None, None) => {}
                }
            }
            // Deleted meanwhile.
            self.folds.end(id);
            self.go_on(id, now);
            self.serve_folded(id, now);
        }
        None
    }

    fn next_fold(&mut self, now: Instant) -> Option<Job> {
        while let Some(id) = self.folds.next_fold() {
            self.folds.forget_grown(id);
            if let Some(replica) = self.replicas.get(id)
                && self.replicas.wants_fold(id)
            {
                let job = self.job(id, replica, None);
                self.folds.running.insert(id, Running::Fold);
                return Some(job);
            }
            // Deleted or replaced meanwhile, with somebody waiting for it perhaps.
            self.serve_folded(id, now);
        }
        None
    }

    fn job(&self, id: NodeId, replica: &Replica, delta: Option<Bytes>) -> Job {
        Job {
            age: self.folds.age,
            id,
            version: replica.version(),
            base: replica.base().clone(),
            tail: replica.tail().to_vec(),
            end: replica.tail_end(),
            delta,
            budget: self.settings.content,
        }
    }

    fn first_job(&self, id: NodeId, blank: &Bytes, delta: Option<Bytes>) -> Job {
        Job {
            age: self.folds.age,
            id,
            version: job::NEW,
            base: blank.clone(),
            tail: Vec::new(),
            end: 0,
            delta,
            budget: self.settings.content,
        }
    }

    /// Whether updates of a node have to wait: it, or one before them, is looked into.
    pub(super) fn is_looked_into(&self, id: NodeId) -> bool {
        matches!(self.folds.running.get(&id), Some(Running::Check(_)))
            || self.folds.waiting.contains_key(&id)
    }

    /// Has an update wait for a node that is looked into.
    pub(super) fn wait_for_fold(&mut self, push: Push, now: Instant) {
        if self.folds.is_full(&push, self.settings.waiting_bytes) {
            self.refuse_waiting(&push, now);
        } else {
            self.folds.wait(push, false);
        }
    }

    fn refuse_waiting(&mut self, push: &Push, now: Instant) {
        let what = "an update with too many waiting before it";
        self.counters.refuse(Count::RefusedFull, &push.who, what);
        self.tell_truth_in_turn(&push.who, push.id(), now);
    }

    /// Tells a refused sender what is true of a node, after what came before of it: that may be what makes it.
    pub(super) fn tell_truth_in_turn(&mut self, who: &Identity, id: NodeId, now: Instant) {
        if self.is_looked_into(id) {
            self.folds.wait_refused(id, who);
        } else {
            self.tell_truth(who, id, now);
        }
    }

    /// Looks into a delta before it is applied.
    pub(super) fn check_first(&mut self, push: Push, now: Instant) {
        if self.folds.is_full(&push, self.settings.waiting_bytes) {
            self.refuse_waiting(&push, now);
        } else if self.folds.running.contains_key(&push.id()) {
            // It is being folded.
            self.folds.wait(push, true);
        } else {
            self.folds.check(push);
        }
    }

    /// Has a node folded.
    pub(super) fn fold_soon(&mut self, id: NodeId) {
        if self.folds.is_wanted.insert(id) {
            self.folds.wanted.push_back(id);
        }
    }

    /// A node's tail has grown: it is folded when it is too long.
    pub(super) fn note_grown(&mut self, id: NodeId, now: Instant) {
        let Some(replica) = self.replicas.get(id) else {
            return;
        };
        if replica.is_unfoldable() {
            return;
        }
        if self.is_long(replica, 1) {
            self.fold_soon(id);
        } else {
            self.folds.note_grown(id, now);
        }
    }

    /// Whether a node's tail is so many times as long as it should be.
    fn is_long(&self, replica: &Replica, times: usize) -> bool {
        let most = self.settings.tail_bytes.max(replica.base().len() / 2);
        replica.tail_bytes() > most.saturating_mul(times)
            || replica.tail().len() > self.settings.tail_deltas.saturating_mul(times)
    }

    /// Refuses a delta to a node whose tail is very long, and stays: all of it goes to whoever joins,
    /// and to the disk. Returns whether it did.
    pub(super) fn refuse_endless(&mut self, who: &Identity, id: NodeId, now: Instant) -> bool {
        let replica = self.replicas.get(id);
        let endless = replica.is_some_and(|r| r.is_unfoldable() && self.is_long(r, UNFOLDABLE));
        if endless {
            let what = "a delta to a node with too many that cannot be folded into it";
            self.counters.refuse(Count::RefusedFull, who, what);
            self.correct(who, id, now);
        }
        endless
    }

    /// Has the nodes folded that nobody edits any more.
    pub(super) fn fold_idle(&mut self, now: Instant) {
        let then = past(now, IDLE);
        while let Some((at, id)) = self.folds.grown.first().copied() {
            if at >= then {
                break;
            }
            self.folds.forget_grown(id);
            if self.replicas.wants_fold(id) {
                self.fold_soon(id);
            }
        }
    }

    /// A job is done.
    pub fn folded(&mut self, done: Done, now: Instant) {
        let Done {
            age,
            id,
            version,
            end,
            outcome,
        } = done;
        if age != self.folds.age {
            // Another session has taken the place of that one.
            return;
        }
        let running = self.folds.end(id);
        let present = self.replicas.get(id).map_or(job::NEW, Replica::version) == version;
        match (running, outcome) {
            (Some(Running::Check(push)), _) if !present => {
                // Deleted meanwhile.
                self.counters.add(Count::UpdatesOfDeleted);
                drop(push);
            }
            (Some(Running::Check(push)), Outcome::Checked(result)) => {
                self.checked(*push, result, now);
            }
            (Some(Running::Check(push)), Outcome::Folded(Ok(folded))) => {
                self.take_in(id, version, end, folded, now);
                // With less before it, and after what others have waiting.
                self.folds.check(*push);
            }
            (Some(Running::Check(push)), Outcome::Folded(Err(error))) => {
                self.keep_all_changes(id, &error);
                self.checked(*push, Err(error), now);
            }
            (Some(Running::Check(push)), _) => {
                self.counters.add(Count::Panics);
                self.refuse_delta(&push.who, id, "a fault of this server", now);
            }
            (_, Outcome::Folded(Ok(folded))) => self.take_in(id, version, end, folded, now),
            (_, Outcome::Folded(Err(error))) if present => {
                self.keep_all_changes(id, &error);
            }
            (_, Outcome::Fault) => {
                self.counters.add(Count::Panics);
                // Not one that was made anew meanwhile.
                if present {
                    self.replicas.note_unfoldable(id);
                }
            }
            _ => {}
        }
        self.go_on(id, now);
        self.serve_folded(id, now);
    }

    /// A tail up to a delta is folded, or as much of it as there was time for: the rest in its turn, so that no
    /// node holds up the others.
    fn take_in(&mut self, id: NodeId, version: u64, end: usize, folded: Folded, now: Instant) {
        let Folded {
            payload,
            left_out,
            left,
        } = folded;
        self.replicas
            .fold(id, version, end.saturating_sub(left), payload);
        self.counters.add(Count::NodesFolded);
        if left > 0 {
            self.fold_soon(id);
        }
        if left_out > 0 {
            warn!(name: "node.deltas_left_out", node = %id, deltas = left_out,
                "changes could not be applied to a node; everybody gets it anew");
            self.resend(id, now);
        }
    }

    /// What waited for a node is applied, until it has to wait again.
    fn go_on(&mut self, id: NodeId, now: Instant) {
        while !matches!(self.folds.running.get(&id), Some(Running::Check(_))) {
            let running = self.folds.running.contains_key(&id);
            let Some(turn) = self.folds.next_waiting(id) else {
                break;
            };
            let before = self.folds.waiting.get(&id).map_or(0, VecDeque::len);
            match turn {
                Turn::Push(push) => self.apply(*push, now),
                Turn::Refused(who) => self.tell_truth(&who, id, now),
            }
            if running && self.folds.waiting.get(&id).map_or(0, VecDeque::len) > before {
                // It needs to be looked into, which has to wait for the folding.
                break;
            }
        }
    }

    /// Whether no change is being looked into, or waits for that.
    pub fn is_idle(&self) -> bool {
        let mut running = self.folds.running.values();
        self.folds.waiting.is_empty() && !running.any(|work| matches!(work, Running::Check(_)))
    }

    /// Whether nothing is under way or waits.
    #[cfg(test)]
    pub(super) fn folds_nothing(&self) -> bool {
        self.folds.is_empty()
    }

    fn checked(&mut self, mut push: Push, result: Result<Checked, FoldError>, now: Instant) {
        self.forget_gone_needs(&mut push);
        let id = push.id();
        let Update::Delta(delta) = &mut push.update else {
            return;
        };
        let checked = match result {
            Ok(checked) => checked,
            // It names what the operator permits, who answers for it.
            Err(
                FoldError::Payload(PickleError::Global(_))
                | FoldError::Dump(PickleError::Global(_)),
            ) => {
                self.add(&push, None, now);
                return self.replicas.note_unfoldable(id);
            }
            // Nearly surely all apply it alike; and who sends nothing but changes could never make one.
            Err(error @ FoldError::Memory { .. }) if push.plain => {
                self.add(&push, None, now);
                return self.keep_all_changes(id, &error);
            }
            Err(error) => return self.refuse_delta(&push.who, id, error, now),
        };
        if let Some(plain) = checked.delta {
            self.counters.add(Count::DeltasReworded);
            delta.delta = plain;
        }
        self.add(&push, Some(checked.tuples), now);
        // What went to the sender meanwhile does not have it.
        let lacks =
            |user: &User<O>| is_unseen(user, id, push.began) || user.converging.contains_key(&id);
        if !checked.alike || self.users.get(&push.who).is_some_and(lacks) {
            self.converge_later(&push.who, id, now);
        }
    }

    fn keep_all_changes(&mut self, id: NodeId, error: &FoldError) {
        warn!(name: "node.unfoldable", node = %id, %error, "a node is kept with all its changes");
        self.replicas.note_unfoldable(id);
    }

    fn refuse_delta(
        &mut self,
        who: &Identity,
        id: NodeId,
        why: impl std::fmt::Display,
        now: Instant,
    ) {
        let what = format_args!("node {id}: {why}");
        self.counters.refuse(Count::RefusedUpdate, who, what);
        self.tell_truth(who, id, now);
    }

    /// Sends everybody the whole state of a node.
    fn resend(&mut self, id: NodeId, now: Instant) {
        let everybody: Vec<_> = self.users.iter().map(|(who, _)| who.clone()).collect();
        for who in everybody {
            self.send_whole(&who, id, now);
        }
    }
}
