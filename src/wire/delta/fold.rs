//! Deltas and payloads: what the session needs. Runs on a thread where it may take its time.

use bytes::Bytes;

use super::apply::apply_to;
use super::plain::{brings_types, makes_anew};
use super::size::size;
use super::{DeltaError, Work, difference, has_tuples, is_plain};
use crate::wire::pickle::{Budget, PickleError, Protocol, ScanPolicy, Value, read, scan, write};

/// Why payload and deltas do not come together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FoldError {
    /// A payload that is not read here: it names types of others, or is beyond the limits.
    #[error("a payload that cannot be read: {0}")]
    Payload(PickleError),
    /// The delta cannot be read.
    #[error("a delta that cannot be read: {0}")]
    Dump(PickleError),
    /// The delta cannot be applied.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// What comes of it is beyond the limits.
    #[error("a delta that makes the node too large: {0}")]
    Outcome(PickleError),
    /// What comes of it has more values than a node may have.
    #[error("a delta that makes the node too large")]
    Values,
    /// What comes of it is no node any more.
    #[error("a delta that makes something else than a dict of the node")]
    NoDict,
    /// It would take more memory than there is for this.
    #[error(
        "a node and a change that take more than the {most} bytes of memory there are for looking \
         into them (a part of session.max_session)"
    )]
    Memory {
        /// Bytes.
        most: usize,
    },
    /// The deltas before it take longer than one job may.
    #[error("a delta after others that take too long to apply")]
    Tail,
    /// What comes of it is nested deeper than a node may be.
    #[error("a delta that nests the node too deep")]
    Levels,
    /// There is nothing that it could change.
    #[error("a delta to a node that is not there")]
    NoBase,
}

/// What became of a delta that is not plain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// A delta with the same outcome that all versions of deepdiff apply alike, if the one that
    /// was looked into is none.
    pub delta: Option<Bytes>,
    /// Whether its sender has come to the same, whatever its version.
    pub alike: bool,
    /// Whether there are tuples in the document now.
    pub tuples: bool,
}

/// What became of a whole state and deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folded {
    /// The whole state after them, as pickle of protocol 4.
    pub payload: Bytes,
    /// How many of them could not be applied, and were left out.
    pub left_out: usize,
    /// How many of them, the last ones, are still to be folded into it: all of them at once take too long.
    pub left: usize,
}

/// What the deltas of one job may take, but for the last of them: a few seconds. Each may take a second, and a
/// node may have thousands; those of people take much less than this all together.
const JOB: u64 = 4 * Work::FULL;
/// What it takes at most to copy a value of the document before a change.
const COPY: u64 = 8;

/// The whole state after some deltas, of which there is at least one if there are any, and all if that does
/// not take too long.
///
/// # Errors
/// If the whole state cannot be read, or what comes of it would be beyond the budget.
pub fn fold(base: &Bytes, deltas: &[Bytes], budget: &Budget) -> Result<Folded, FoldError> {
    let all = document(base, deltas, budget)?;
    is_within(&all.document, budget)?;
    Ok(Folded {
        payload: written(&all.document, budget)?,
        left_out: all.left_out,
        left: all.left,
    })
}

/// Looks what a delta does to a whole state with deltas.
///
/// # Errors
/// If the delta cannot be applied exactly as clients do; [`FoldError::Tail`] if some of the deltas have to be
/// [folded](fold()) before.
pub fn check(
    base: &Bytes,
    deltas: &[Bytes],
    delta: &Bytes,
    budget: &Budget,
) -> Result<Checked, FoldError> {
    let delta = read(delta, budget).map_err(FoldError::Dump)?;
    let before = document(base, deltas, budget)?;
    if before.left > 0 {
        return Err(FoldError::Tail);
    }
    checked(&before.document, &delta, budget)
}

/// The same of the first delta of a node, which is `blank` before. Clients skip what leads nowhere: of one
/// that changes another node they would make a ruin.
///
/// # Errors
/// Also if it does not make a node of nothing.
pub fn check_first(blank: &Bytes, delta: &Bytes, budget: &Budget) -> Result<Checked, FoldError> {
    let delta = read(delta, budget).map_err(FoldError::Dump)?;
    let before = read(blank, budget).map_err(FoldError::Payload)?;
    // (Into nothing at all no key can be put.)
    if !makes_anew(&delta, before.is_none()) {
        return Err(FoldError::NoBase);
    }
    checked(&before, &delta, budget)
}

fn checked(before: &Value, delta: &Value, budget: &Budget) -> Result<Checked, FoldError> {
    let applied = apply_to(before.clone(), delta, budget.items, &mut 0)?;
    if !may_become(before.is_none(), &applied.document) {
        return Err(FoldError::NoDict);
    }
    is_within(&applied.document, budget)?;
    let plain = if is_plain(delta) && !has_tuples(before) {
        None
    } else {
        let plain = difference(before, &applied.document);
        if plain.as_dict().is_some_and(brings_types) {
            return Err(DeltaError::Shape("a bytearray").into());
        }
        Some(written(&plain, budget)?)
    };
    Ok(Checked {
        delta: plain,
        alike: applied.alike,
        tuples: has_tuples(&applied.document),
    })
}

/// A whole state with deltas.
struct All {
    document: Value,
    left_out: usize,
    /// Deltas there was no time for.
    left: usize,
}

fn document(base: &Bytes, deltas: &[Bytes], budget: &Budget) -> Result<All, FoldError> {
    let document = read(base, budget).map_err(FoldError::Payload)?;
    // In place: each copy of a large dict would cost more than the change.
    if let Some(all) = in_place(document, deltas, budget)? {
        return Ok(all);
    }
    // One cannot be applied: once more, with what was before it at hand.
    let mut document = read(base, budget).map_err(FoldError::Payload)?;
    let mut size = values(&document, budget).unwrap_or(budget.items);
    let mut growth = Growth::default();
    let (mut spent, mut left_out, mut left) = (0, 0usize, deltas.len());
    for delta in deltas {
        if spent > JOB {
            break;
        }
        left = left.saturating_sub(1);
        let Ok(delta) = read(delta, budget) else {
            left_out = left_out.saturating_add(1);
            continue;
        };
        size = size.saturating_add(growth.add(&document, &delta, budget)?);
        spent = spent.saturating_add(COPY.saturating_mul(size as u64));
        match apply_to(document.clone(), &delta, budget.items, &mut spent) {
            Ok(applied) if may_become(document.is_none(), &applied.document) => {
                document = applied.document;
            }
            _ => left_out = left_out.saturating_add(1),
        }
    }
    Ok(All {
        document,
        left_out,
        left,
    })
}

/// The document after all of the deltas, or as many as there is time for, unless one cannot be applied.
fn in_place(
    mut document: Value,
    deltas: &[Bytes],
    budget: &Budget,
) -> Result<Option<All>, FoldError> {
    let mut growth = Growth::default();
    let (mut spent, mut left) = (0, deltas.len());
    for delta in deltas {
        if spent > JOB {
            break;
        }
        left = left.saturating_sub(1);
        let Ok(delta) = read(delta, budget) else {
            return Ok(None);
        };
        growth.add(&document, &delta, budget)?;
        let was_none = document.is_none();
        let Ok(applied) = apply_to(document, &delta, budget.items, &mut spent) else {
            return Ok(None);
        };
        if !may_become(was_none, &applied.document) {
            return Ok(None);
        }
        document = applied.document;
    }
    Ok(Some(All {
        document,
        left_out: 0,
        left,
    }))
}

/// What deltas may have added since the document was last measured: a long tail must not make more
/// of it on the way than a node may be.
#[derive(Default)]
struct Growth(usize);

impl Growth {
    /// Adds a delta. Returns the values in it.
    fn add(
        &mut self,
        document: &Value,
        delta: &Value,
        budget: &Budget,
    ) -> Result<usize, FoldError> {
        let added = values(delta, budget)?;
        self.0 = self.0.saturating_add(added);
        if self.0 > budget.items {
            is_within(document, budget)?;
            self.0 = added;
        }
        Ok(added)
    }
}

/// Whether this can be what a delta makes of a node: a dict, or still the `None` of one that was
/// registered but never dumped. Clients fail on anything else.
fn may_become(was_none: bool, document: &Value) -> bool {
    match document {
        Value::Dict(_) => true,
        Value::None => was_none,
        _ => false,
    }
}

/// Whether a value keeps within the budget once it is written, where nothing is shared any more.
fn is_within(value: &Value, budget: &Budget) -> Result<(), FoldError> {
    values(value, budget).map(drop)
}

/// The values it has then, if it does.
fn values(value: &Value, budget: &Budget) -> Result<usize, FoldError> {
    let mut left = budget.items;
    let mut pending = vec![(value, 0usize)];
    while let Some((value, level)) = pending.pop() {
        let text = match value {
            Value::Str(text) => text.as_bytes().len(),
            Value::Bytes(bytes) | Value::ByteArray(bytes) => bytes.len(),
            _ => 0,
        };
        let cost = (text / 64).saturating_add(1);
        left = left.checked_sub(cost).ok_or(FoldError::Values)?;
        if level > budget.depth {
            return Err(FoldError::Levels);
        }
        let inside = level.saturating_add(1);
        match value {
            Value::List(items)
            | Value::Tuple(items)
            | Value::Set(items)
            | Value::FrozenSet(items)
            | Value::Opcode(items) => pending.extend(items.iter().map(|item| (item, inside))),
            Value::Dict(dict) => {
                let values = dict.iter().flat_map(|(key, value)| [key, value]);
                pending.extend(values.map(|value| (value, inside)));
            }
            _ => {}
        }
    }
    Ok(budget.items.saturating_sub(left))
}

/// A value as a pickle, if that keeps within the budget.
fn written(value: &Value, budget: &Budget) -> Result<Bytes, FoldError> {
    let (len, max) = (size(value, budget.bytes), budget.bytes);
    if len > max {
        return Err(FoldError::Outcome(PickleError::TooLong { len, max }));
    }
    let payload = write(value, Protocol::Four);
    let policy = ScanPolicy {
        budget: *budget,
        ..ScanPolicy::NODE
    };
    scan(&payload, &policy).map_err(FoldError::Outcome)?;
    Ok(payload)
}
