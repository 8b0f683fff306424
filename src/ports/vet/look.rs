//! What may be looked into on a thread that has other work, and within which limits.

use bytes::Bytes;

use crate::ports::context::PortLimits;
use crate::wire::dialect::{Dialect, Live};
use crate::wire::fit::{self, Looked, Part, Unfit, Weighed};
use crate::wire::pickle::{Budget, ScanPolicy, budget_within, cost_of_cost};

/// A payload larger than this is looked into on a thread where it holds up nothing…
pub(super) const LONG: usize = 2 * 1024 * 1024;
/// …and so is one of more values. To scan so many takes half a millisecond as a rule, 4 ms at most;
/// handing large payloads to another processor takes longer. Nothing of so many bytes takes more
/// (although it may name the same thing again and again).
pub(super) const FEW: usize = 1 << 18;
/// …or of more values than this if they are to be read, not only scanned.
pub(super) const READ: usize = 4096;

/// What takes no time.
fn few(budget: Budget) -> Budget {
    Budget {
        items: budget.items.min(FEW),
        ..budget
    }
}

/// What comes of looking into a payload; `None` if that takes long.
pub(super) fn look_briefly(
    payload: &Bytes,
    part: Part,
    dialect: &Dialect,
    limits: &PortLimits,
) -> Option<Result<Looked, Unfit>> {
    let look = |budget| {
        with_policy(limits, budget, |policy| {
            let deltas = dialect.live != Live::Whole;
            fit::look_briefly(payload, part, dialect.family, deltas, policy, READ)
        })
    };
    if payload.len() <= FEW {
        look(limits.content).transpose()
    } else if payload.len() <= LONG {
        // If it is not fit, the reason is only known within all that is allowed.
        look(few(limits.content)).ok().flatten().map(Ok)
    } else {
        None
    }
}

/// What comes of looking into a payload however long it is; `None` if it has to be read and that is much.
pub(super) fn look_without_reading(
    payload: &Bytes,
    part: Part,
    dialect: &Dialect,
    limits: &PortLimits,
) -> Result<Option<Looked>, Unfit> {
    with_policy(limits, limits.content, |policy| {
        let deltas = dialect.live != Live::Whole;
        fit::look_briefly(payload, part, dialect.family, deltas, policy, READ)
    })
}

/// What it takes to read such a one, if there may be so much memory.
pub(super) fn weigh(
    payload: &Bytes,
    part: Part,
    dialect: &Dialect,
    limits: &PortLimits,
    most: usize,
) -> Result<Weighed, Unfit> {
    with_policy(limits, limits.content, |policy| {
        fit::weigh(payload, part, dialect.live != Live::Whole, policy, most)
    })
}

/// The memory it takes to find that out.
pub(super) fn cost_of_weighing(payload: &Bytes, limits: &PortLimits, most: usize) -> usize {
    cost_of_cost(payload.len(), &budget_within(&limits.content, most))
}

/// Checks a payload of a client of this dialect, whatever that takes.
pub(super) fn look_into(
    payload: &Bytes,
    part: Part,
    dialect: &Dialect,
    limits: &PortLimits,
) -> Result<Looked, Unfit> {
    with_policy(limits, limits.content, |policy| {
        let deltas = dialect.live != Live::Whole;
        fit::look_into(payload, part, dialect.family, deltas, policy)
    })
}

fn with_policy<T>(limits: &PortLimits, budget: Budget, look: impl Fn(&ScanPolicy<'_>) -> T) -> T {
    let extra = limits.extra_globals.iter();
    let extra: Vec<_> = extra
        .map(|global| (global.module(), global.name()))
        .collect();
    look(&ScanPolicy {
        budget,
        extra_globals: &extra,
    })
}
