//! Checks pickles that are only passed on, without building their values. The connections' readers
//! call it for every node and delta.

use std::cell::Cell;

use super::{
    budget::Budget,
    builder::{Atom, Builder, Call},
    cursor,
    error::PickleError,
    fast::{self, Plain},
    machine,
    meta::{Kind, Meta},
    stack::Scratch,
    text::{NotText, is_text},
};

/// What a pickle that is passed on may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScanPolicy<'a> {
    /// How much of everything.
    pub budget: Budget,
    /// Modules and names that may be used in any way besides those every client uses: whatever
    /// they do, the clients that receive the pickle will run it.
    pub extra_globals: &'a [(&'a str, &'a str)],
}

impl ScanPolicy<'_> {
    /// For nodes and deltas.
    pub const NODE: Self = Self {
        budget: Budget::NODE,
        extra_globals: &[],
    };
}

/// What a scan found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scanned {
    /// The kind of the value.
    pub top: Top,
    /// Number of values when written out; of long strings every 64 bytes count as one more.
    pub items: usize,
    /// Levels of containers.
    pub depth: usize,
    /// Whether it holds a deepdiff `Opcode`, which only deltas do and deepdiff before 7 refuses.
    pub opcode: bool,
    /// What it holds that only a delta may: a plain unpickler fails on the type of `None` as a
    /// persistent id and, where deepdiff is too old, on its `Opcode`; and other types, which it
    /// would load, are no data.
    pub of_deltas: Option<&'static str>,
    /// Whether it names a type that only the deepdiff of its time has. What [`write()`] makes of
    /// what [`read()`](super::read()) gives does not.
    ///
    /// [`write()`]: super::write()
    pub dated: bool,
    /// Whether a list, dict or set is in it twice as one and the same: in Python a change in the
    /// one place is one in the other. Rewritten like the above they are apart.
    pub shared: bool,
}

/// Kinds of value that matter to who passes it on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Top {
    /// A dict.
    Dict,
    /// `None`.
    None,
    /// `bytes`; a node that was pickled twice (wire spec, generation G7).
    Bytes,
    /// Anything else.
    Other,
}

/// Checks a pickle. Accepts what [`read()`](super::read()) accepts, and what the policy adds.
///
/// # Errors
/// As [`read()`](super::read()).
pub fn scan(input: &[u8], policy: &ScanPolicy<'_>) -> Result<Scanned, PickleError> {
    if let Some(Plain { meta, shared }) = fast::look(input, &policy.budget) {
        return Ok(Scanned::plain(meta, shared));
    }
    let scanner = Scanner { input };
    let outcome = machine::run(input, &policy.budget, policy.extra_globals, scanner)?;
    Ok(Scanned {
        opcode: outcome.opcode,
        of_deltas: outcome.of_deltas(),
        dated: outcome.dated,
        ..Scanned::plain(outcome.meta, outcome.shared)
    })
}

impl Scanned {
    /// Of a pickle with nothing unusual in it.
    fn plain(meta: Meta, shared: bool) -> Self {
        Self {
            top: match meta.kind() {
                Kind::Dict => Top::Dict,
                Kind::None => Top::None,
                Kind::Bytes => Top::Bytes,
                _ => Top::Other,
            },
            items: usize::try_from(meta.weight()).unwrap_or(usize::MAX),
            depth: meta.depth().into(),
            opcode: false,
            of_deltas: None,
            dated: false,
            shared,
        }
    }
}

thread_local! {
    /// What the last scan used. Memory new to the process costs more than what is done in it.
    static SCRATCH: Cell<Scratch<usize>> = Cell::default();
}

pub(super) struct Scanner<'a> {
    pub(super) input: &'a [u8],
}

impl Builder for Scanner<'_> {
    /// Where a string's opcode is, as strings may become names; 0 otherwise.
    type Item = usize;

    fn scratch(&self) -> Scratch<usize> {
        SCRATCH.try_with(Cell::take).unwrap_or_default()
    }

    fn keep(&self, scratch: Scratch<usize>) {
        // Only while the thread ends there is none; then it is dropped.
        let _ = SCRATCH.try_with(|kept| kept.set(scratch));
    }

    #[inline]
    fn atom(&mut self, _atom: Atom<'_>) -> usize {
        0
    }

    #[inline]
    fn text(&mut self, at: usize, bytes: &[u8]) -> Result<usize, NotText> {
        if is_text(bytes) { Ok(at) } else { Err(NotText) }
    }

    fn text_of<'a>(&'a self, item: &'a usize) -> Option<&'a [u8]> {
        cursor::string_at(self.input, *item)
    }

    #[inline]
    fn empty(&mut self, _kind: Kind) -> usize {
        0
    }

    #[inline]
    fn push_all(&mut self, _target: &mut usize, _items: impl Iterator<Item = usize>) {}

    #[inline]
    fn insert_pairs(&mut self, _target: &mut usize, _items: impl Iterator<Item = usize>) {}

    #[inline]
    fn tuple(&mut self, _items: impl Iterator<Item = usize>) -> usize {
        0
    }

    #[inline]
    fn frozen_set(&mut self, _items: impl Iterator<Item = usize>) -> usize {
        0
    }

    #[inline]
    fn call(&mut self, _call: Call, _args: usize) -> usize {
        0
    }
}
