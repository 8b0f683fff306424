//! Deltas and payloads: what the session needs. Runs on a thread where it may take its time.

use bytes::Bytes;

use super::{DeltaError, apply, difference, has_tuples, is_plain};
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

/// The whole state after some deltas, as pickle of protocol 4. Those that cannot be applied are
/// left out and counted.
///
/// # Errors
/// If the whole state cannot be read, or what comes of it would be beyond the budget.
pub fn fold(base: &Bytes, deltas: &[Bytes], budget: &Budget) -> Result<(Bytes, usize), FoldError> {
    let (document, refused) = document(base, deltas, budget)?;
    let payload = write(&document, Protocol::Four);
    fits(&payload, budget)?;
    Ok((payload, refused))
}

/// Looks what a delta does to a whole state with deltas.
///
/// # Errors
/// If the delta cannot be applied exactly as clients do.
pub fn check(
    base: &Bytes,
    deltas: &[Bytes],
    delta: &Bytes,
    budget: &Budget,
) -> Result<Checked, FoldError> {
    let delta = read(delta, budget).map_err(FoldError::Dump)?;
    let (before, _) = document(base, deltas, budget)?;
    let applied = apply(&before, &delta)?;
    let plain = if is_plain(&delta) && !has_tuples(&before) {
        None
    } else {
        let plain = write(&difference(&before, &applied.document), Protocol::Four);
        fits(&plain, budget)?;
        Some(plain)
    };
    Ok(Checked {
        delta: plain,
        alike: applied.alike,
        tuples: has_tuples(&applied.document),
    })
}

fn document(base: &Bytes, deltas: &[Bytes], budget: &Budget) -> Result<(Value, usize), FoldError> {
    let mut document = read(base, budget).map_err(FoldError::Payload)?;
    let mut refused = 0usize;
    for delta in deltas {
        let applied = read(delta, budget).map(|delta| apply(&document, &delta));
        match applied {
            Ok(Ok(applied)) => document = applied.document,
            _ => refused = refused.saturating_add(1),
        }
    }
    Ok((document, refused))
}

fn fits(payload: &Bytes, budget: &Budget) -> Result<(), FoldError> {
    let policy = ScanPolicy {
        budget: *budget,
        ..ScanPolicy::NODE
    };
    scan(payload, &policy).map(drop).map_err(FoldError::Outcome)
}
