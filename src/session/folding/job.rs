//! The work itself, which needs nothing of the session.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::Bytes;

use crate::wire::delta::{self, Checked, FoldError};
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
    /// The tail was folded, but for so many deltas.
    Folded(Result<(Bytes, usize), FoldError>),
    /// A fault of ours ended it.
    Fault,
}

impl Job {
    /// Does the work; takes as long as the node is large.
    pub fn run(self) -> Done {
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
            Some(delta) => Outcome::Checked(delta::check(&base, &tail, delta, &budget)),
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
