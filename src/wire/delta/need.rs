//! What it takes to bring a node and its deltas together, told before any of it is built.
//!
//! Small values take many times the bytes of their pickle: a node of 8 MB may be a gigabyte in memory.
//! The session asks for this first, and begins when there is room.

use bytes::Bytes;

use super::fold::FoldError;
use crate::wire::pickle::{Budget, Cost, PickleError, budget_within, cost, cost_of_cost};

/// A place for a value that is made anew while a delta is applied, in a list or among keys, and then
/// what it takes to go through all of them.
const PLACE: usize = 96 + 32;
/// What the text of a path takes, for each of its bytes, while it is read.
const PATH: usize = 64;
/// Values that may come to it beyond those there were…
const VALUES: usize = 4096;
/// …and bytes.
const BYTES: usize = 128 << 10;
/// What a delta that cannot be read takes, for each of its bytes, until that is found out.
const UNREAD: usize = 512;

/// What [`fold()`](super::fold()) or [`check()`](super::check()) takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// Bytes of memory, at most…
    pub memory: usize,
    /// …if it gets this budget: what comes of it cannot be much more than what went in.
    pub budget: Budget,
}

/// The memory it takes to tell a [`Need`] where no pickle has more bytes than this: little more than half
/// of `most`.
pub fn cost_of_need(bytes: usize, budget: &Budget, most: usize) -> usize {
    cost_of_cost(bytes, &within(budget, most))
}

/// What it takes to fold `deltas` into `base`, or to look into the `delta` that comes after them.
///
/// # Errors
/// If one of them cannot be read, or if it takes more than `most` bytes of memory.
pub fn need(
    base: &Bytes,
    deltas: &[Bytes],
    delta: Option<&Bytes>,
    budget: &Budget,
    most: usize,
) -> Result<Need, FoldError> {
    let within = within(budget, most);
    let too_much = FoldError::Memory { most };
    let failed = |error: PickleError, as_what: fn(PickleError) -> FoldError| match error {
        PickleError::Budget { .. } if within != *budget => too_much.clone(),
        error => as_what(error),
    };
    let mut sum = Sum::default();
    if let Some(delta) = delta {
        let cost = cost(delta, &within).map_err(|error| failed(error, FoldError::Dump))?;
        sum.add(cost, delta, true);
    }
    let cost_of_base = cost(base, &within).map_err(|error| failed(error, FoldError::Payload))?;
    sum.add(cost_of_base, base, false);
    for delta in deltas {
        match cost(delta, &within) {
            Ok(cost) => sum.add(cost, delta, true),
            // It is left out.
            Err(_) => sum.memory = add(sum.memory, delta.len().saturating_mul(UNREAD)),
        }
        if sum.memory > most {
            break;
        }
    }
    if sum.memory > most {
        return Err(too_much);
    }
    Ok(Need {
        memory: sum.memory,
        budget: Budget {
            items: budget.items.min(add(sum.items, VALUES)),
            bytes: budget.bytes.min(add(sum.bytes, BYTES)),
            ..*budget
        },
    })
}

/// What is read counts twice.
fn within(budget: &Budget, most: usize) -> Budget {
    budget_within(budget, most / 2)
}

struct Sum {
    memory: usize,
    items: usize,
    bytes: usize,
}

impl Default for Sum {
    fn default() -> Self {
        Self {
            memory: VALUES.saturating_mul(PLACE).saturating_add(2 * BYTES),
            items: 0,
            bytes: 0,
        }
    }
}

impl Sum {
    fn add(&mut self, cost: Cost, pickle: &Bytes, is_delta: bool) {
        let written = cost.written.max(pickle.len());
        let paths = if is_delta { cost.texts } else { 0 };
        for memory in [
            // What is changed is copied first; what is in it is shared.
            cost.memory.saturating_mul(2),
            cost.places.saturating_mul(PLACE),
            paths.saturating_mul(PATH),
            // It is written in the end. (What is large grows where it is.)
            written,
        ] {
            self.memory = add(self.memory, memory);
        }
        self.items = add(self.items, cost.items);
        self.bytes = add(self.bytes, written);
    }
}

fn add(one: usize, two: usize) -> usize {
    one.saturating_add(two)
}

#[cfg(test)]
mod tests;
