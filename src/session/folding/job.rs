//! The work itself, which needs nothing of the session: what it takes in memory is found out first,
//! and it begins when there is room for that.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;
use tokio::task::JoinError;

use crate::memory::room::Room;
use crate::wire::delta::{self, Checked, FoldError, Folded};
use crate::wire::identity::NodeId;
use crate::wire::pickle::Budget;

/// The version of a node that is not there yet.
pub(in crate::session) const NEW: u64 = 0;

/// Work on one node.
#[derive(Debug)]
pub struct Job {
    /// The session it belongs to, of those that have taken each other's place.
    pub(in crate::session) age: u64,
    pub(in crate::session) id: NodeId,
    pub(in crate::session) version: u64,
    pub(in crate::session) base: Bytes,
    pub(in crate::session) tail: Vec<Bytes>,
    /// Number of the delta after the tail.
    pub(in crate::session) end: usize,
    /// A delta to be looked into; without one the tail is folded into the base.
    pub(in crate::session) delta: Option<Bytes>,
    pub(in crate::session) budget: Budget,
}

/// A job's outcome.
#[derive(Debug)]
pub struct Done {
    pub(in crate::session) age: u64,
    pub(in crate::session) id: NodeId,
    pub(in crate::session) version: u64,
    pub(in crate::session) end: usize,
    pub(in crate::session) outcome: Outcome,
}

/// What came of a job.
#[derive(Debug)]
pub(in crate::session) enum Outcome {
    /// A delta was looked into.
    Checked(Result<Checked, FoldError>),
    /// The tail was folded, as far as there was time. So it may be instead of the above, for a delta to be
    /// looked into after that.
    Folded(Result<Folded, FoldError>),
    /// A fault of ours ended it.
    Fault,
}

/// Does a job when there is room for it, on a thread where it holds up nobody.
///
/// # Errors
/// If the thread is lost.
pub(in crate::session) async fn work(job: Job, room: Room) -> Result<Done, JoinError> {
    let weighing = job.cost_of_weighing(room.most());
    room.work(weighing, |most| job.weigh(most), Job::run).await
}

impl Job {
    /// What it takes to find out what it takes.
    fn cost_of_weighing(&self, most: usize) -> usize {
        let all = self.tail.iter().chain(&self.delta).chain([&self.base]);
        let longest = all.map(Bytes::len).max().unwrap_or_default();
        delta::cost_of_need(longest, &self.budget, most)
    }

    /// Finds out what it takes, or that it cannot be done.
    fn weigh(mut self, most: usize) -> Result<(Self, usize), Done> {
        let need = AssertUnwindSafe(|| {
            let delta = self.delta.as_ref();
            delta::need(&self.base, &self.tail, delta, &self.budget, most)
        });
        match catch_unwind(need) {
            Ok(Ok(need)) => {
                self.budget = need.budget;
                Ok((self, need.memory))
            }
            Ok(Err(error)) => {
                let outcome = match self.delta {
                    Some(_) => Outcome::Checked(Err(error)),
                    None => Outcome::Folded(Err(error)),
                };
                Err(self.done(outcome))
            }
            Err(_) => Err(self.done(Outcome::Fault)),
        }
    }

    fn done(self, outcome: Outcome) -> Done {
        Done {
            age: self.age,
            id: self.id,
            version: self.version,
            end: self.end,
            outcome,
        }
    }

    /// Does the work; takes as long as the node is large.
    fn run(self) -> Done {
        let Self {
            age,
            id,
            version,
            base,
            tail,
            end,
            delta,
            budget,
        } = self;
        let work = AssertUnwindSafe(|| match &delta {
            Some(delta) if version == NEW => {
                Outcome::Checked(delta::check_first(&base, delta, &budget))
            }
            Some(delta) => match delta::check(&base, &tail, delta, &budget) {
                Err(FoldError::Tail) => Outcome::Folded(delta::fold(&base, &tail, &budget)),
                result => Outcome::Checked(result),
            },
            None => Outcome::Folded(delta::fold(&base, &tail, &budget)),
        });
        Done {
            age,
            id,
            version,
            end,
            outcome: catch_unwind(work).unwrap_or(Outcome::Fault),
        }
    }
}
