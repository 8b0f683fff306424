//! Whether a payload is fit for other artists. The ports ask for what users push, `session_file` for
//! what comes out of a file.
//!
//! Clients unpickle nodes with everything Python has, so a node that names a function to call
//! would run it on every other artist's machine; and Python's marshal, of the oldest generations,
//! makes code objects and crashes on what it would not have written. What is no dict of plain data,
//! or names anything outside a short list, is not fit.

use bytes::Bytes;

use super::delta::is_plain;
use super::dialect::Family;
use super::marshal::{self, MarshalError};
use super::pickle::{
    Budget, PickleError, Protocol, ScanPolicy, Scanned, Top, budget_within, cost, exceeds, read,
    scan, write,
};

/// How much larger a payload may become by writing out what it refers to repeatedly.
const GROWTH: usize = 16;
/// Up to this size it may become in any case.
const SMALL: usize = 512 * 1024;
/// What a value takes while all of them are gone through, and while they are taken apart.
const STEP: usize = 72;

/// Why a payload is not passed on.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is no pickle that others could take.
    #[error(transparent)]
    Pickle(#[from] PickleError),
    /// It is no marshal that others could take.
    #[error(transparent)]
    Marshal(#[from] MarshalError),
    /// It is one, of another value.
    #[error("something else than a dict")]
    NoDict,
    /// It would take much more room where nothing is shared.
    #[error("much more than it takes to say it, by naming the same thing again and again")]
    Grows,
    /// It would have to be read to be written anew, which takes more memory than there is for that.
    #[error(
        "so much that names the same thing again and again that there is not the memory to write it \
         anew (a part of session.max_session)"
    )]
    Memory,
    /// There was a fault in the scan.
    #[error("the scan failed")]
    Fault,
}

/// What a payload is part of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// A node of an upload by commands, or of a file.
    Set,
    /// A whole node on a data link.
    Node,
    /// A change of a node.
    Delta,
}

/// What is known of a payload that is fit.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Looked {
    /// What takes its place, if not everybody would understand it alike: artists have several
    /// ages of deepdiff in one session, and the newer ones refuse a type of the oldest; and a
    /// change of something that is in two places at once would be one of both to Python.
    pub rewritten: Option<Bytes>,
    /// Whether it is a delta that needs no look at the node.
    pub plain: bool,
    /// Number of values when written out; in a pickle every 64 bytes of long strings count as one more.
    pub values: usize,
}

/// What it takes to look into a payload that [`look_briefly()`] has left.
#[derive(Debug, PartialEq, Eq)]
pub enum Weighed {
    /// So many bytes of memory.
    Takes(usize),
    /// More than there may be: it goes on as a change that needs a look at the node, which tells the rest.
    Looked(Looked),
}

/// Checks a payload of a family, some of whose generations change nodes by `deltas`.
///
/// # Errors
/// If it is not fit for others.
pub fn look_into(
    payload: &Bytes,
    part: Part,
    family: Family,
    deltas: bool,
    policy: &ScanPolicy<'_>,
) -> Result<Looked, Unfit> {
    let looked = look_briefly(payload, part, family, deltas, policy, usize::MAX)?;
    // Nothing has more values. A fault in that is no permission.
    looked.ok_or(Unfit::Fault)
}

/// The same if no more than so many values are to be read or written, which takes a hundred times as
/// long as scanning them; else `None`.
///
/// # Errors
/// The same.
pub fn look_briefly(
    payload: &Bytes,
    part: Part,
    family: Family,
    deltas: bool,
    policy: &ScanPolicy<'_>,
    values: usize,
) -> Result<Option<Looked>, Unfit> {
    let budget = policy.budget;
    if family == Family::Marshal {
        let values = marshal::scan(payload, &budget)?;
        return Ok(Some(Looked {
            values,
            ..Looked::default()
        }));
    }
    let (scanned, rewrite) = scanned(payload, part, deltas, policy)?;
    let mut looked = Looked {
        values: scanned.items,
        ..Looked::default()
    };
    if rewrite || part == Part::Delta {
        if scanned.items > values {
            return Ok(None);
        }
        // What names something the operator permits is not read, and stays as it is.
        if let Ok(value) = read(payload, &budget) {
            looked.plain = part == Part::Delta && is_plain(&value);
            if rewrite && exceeds(&value, most_of(payload, &budget)) {
                return Err(Unfit::Grows);
            }
            looked.rewritten = rewrite.then(|| write(&value, Protocol::Four));
        }
    }
    Ok(Some(looked))
}

/// What it takes to look into a pickle that [`look_briefly()`] has left, if that may be `most` bytes of
/// memory.
///
/// # Errors
/// If it is not fit for others, or takes more and must be written anew.
pub fn weigh(
    payload: &Bytes,
    part: Part,
    deltas: bool,
    policy: &ScanPolicy<'_>,
    most: usize,
) -> Result<Weighed, Unfit> {
    let (scanned, rewrite) = scanned(payload, part, deltas, policy)?;
    let takes = match cost(payload, &budget_within(&policy.budget, most)) {
        Ok(cost) => {
            let steps = cost.places.saturating_mul(STEP);
            let takes = cost.memory.saturating_add(steps);
            takes.saturating_add(cost.written.min(most_of(payload, &policy.budget)))
        }
        Err(PickleError::Budget { .. }) => usize::MAX,
        // It is not read.
        Err(_) => 0,
    };
    if takes <= most {
        Ok(Weighed::Takes(takes))
    } else if rewrite {
        Err(Unfit::Memory)
    } else {
        Ok(Weighed::Looked(Looked {
            values: scanned.items,
            ..Looked::default()
        }))
    }
}

/// Scans a payload. Whether it has to be written anew as well.
fn scanned(
    payload: &Bytes,
    part: Part,
    deltas: bool,
    policy: &ScanPolicy<'_>,
) -> Result<(Scanned, bool), Unfit> {
    let scanned = scan(payload, policy)?;
    if !may_be(scanned.top, part, deltas) {
        return Err(Unfit::NoDict);
    }
    if part != Part::Delta
        && let Some(what) = scanned.of_deltas
    {
        return Err(PickleError::OfDeltas(what).into());
    }
    let rewrite = scanned.dated || (scanned.shared && deltas);
    Ok((scanned, rewrite))
}

/// The bytes a payload may have when it has been written anew.
fn most_of(payload: &Bytes, budget: &Budget) -> usize {
    let most = payload.len().saturating_mul(GROWTH).max(SMALL);
    most.min(budget.bytes)
}

/// Whether a payload may be that: a dict. `None` is a node that was registered but never dumped,
/// which since G8 some uploads contain. (Bytes, a node pickled twice, are what the server of
/// 0.1.34 sent to its clients. No client sends them, and what they hold would be unpickled, too.)
fn may_be(top: Top, part: Part, deltas: bool) -> bool {
    match top {
        Top::Dict => true,
        Top::None => part == Part::Set && deltas,
        Top::Bytes | Top::Other => false,
    }
}
