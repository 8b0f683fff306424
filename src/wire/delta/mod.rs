//! Deltas: what changed in a node, as `deepdiff` describes it (wire spec, payloads; G8–G19).
//!
//! A delta is a dict of sections (`values_changed`, `iterable_item_added`, …), each from paths
//! like `root['a'][3]` to what happens there. [`apply()`] does to a document exactly what deepdiff
//! 8.1.1 does, quirks included, or says that it cannot; [`fold()`] and [`check()`] do so with
//! payloads, for the session, which keeps a node as its last whole state and a tail of deltas.
//!
//! Clients of one session may have different versions of deepdiff, which do not apply every delta
//! alike, and some raise at what others skip: then the artist's session ends. [`is_plain`] tells
//! which deltas are safe whatever the document; the others are applied here, and the clients get
//! the [`difference()`] that came of it, in the few words that all versions share.

mod apply;
mod convert;
mod difference;
mod document;
mod fold;
mod ignore_order;
mod lists;
mod need;
mod path;
mod plain;
mod removal;
mod sets;
mod size;
#[cfg(test)]
mod tests;
mod twice;

pub use self::apply::{Applied, apply};
pub use self::difference::difference;
pub use self::fold::{Checked, FoldError, Folded, check, check_first, fold};
pub use self::need::{Need, cost_of_need, need};
pub use self::plain::{has_tuples, is_plain};

/// Why a delta cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeltaError {
    /// It is not made like one.
    #[error("a delta of another make: {0}")]
    Shape(&'static str),
    /// One of its paths leads elsewhere than to elements of dicts and lists, or cannot be
    /// understood the way deepdiff does.
    #[error("a delta with the path {0:?}")]
    Path(String),
    /// Clients would fail on it, not only skip it.
    #[error("a delta that clients fail on: {0}")]
    Raises(&'static str),
    /// What clients make of it cannot be told.
    #[error("a delta with an outcome that cannot be told: {0}")]
    Unclear(&'static str),
    /// It takes more time than a delta may.
    #[error("a delta that takes too long to apply")]
    Work,
    /// It makes more values than it may.
    #[error("a delta that makes much of little")]
    Grows,
}

/// What an element costs that is made anew, or comes to be in several places: memory more than time.
const ELEMENT: usize = 32;

/// What applying a delta may still take.
#[derive(Debug)]
struct Work {
    /// Time, in elements moved or compared.
    left: u64,
    /// Memory, in elements made anew.
    made: usize,
}

impl Work {
    /// About a second.
    const FULL: u64 = 1 << 28;

    /// Elements may be made anew as many as this, but for a few.
    fn with(made: usize) -> Self {
        Self {
            left: Self::FULL,
            made,
        }
    }

    /// What it has taken so far.
    fn spent(&self) -> u64 {
        Self::FULL.saturating_sub(self.left)
    }

    /// Makes elements that stay until the delta has been applied.
    fn make(&mut self, elements: usize) -> Result<(), DeltaError> {
        self.made = self.made.checked_sub(elements).ok_or(DeltaError::Grows)?;
        self.spend(elements.saturating_mul(ELEMENT))
    }

    fn spend(&mut self, elements: usize) -> Result<(), DeltaError> {
        let elements = u64::try_from(elements).unwrap_or(u64::MAX);
        self.left = self.left.checked_sub(elements).ok_or(DeltaError::Work)?;
        Ok(())
    }
}
