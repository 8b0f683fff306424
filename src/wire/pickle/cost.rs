//! What a pickle takes in memory once it is read, told without reading it. Asked for by who has to
//! keep within a limit before anything is built: [`delta`](crate::wire::delta) and
//! [`fit`](crate::wire::fit).
//!
//! It is the third builder on the stack machine, beside reader and scanner: it is told of the same
//! values in the same order as the reader, and adds up what that would allocate for each. Tests hold
//! it against what was allocated.

use bytes::Bytes;

use super::{
    budget::Budget,
    builder::{Atom, Builder, Call},
    cursor,
    error::PickleError,
    machine,
    meta::Kind,
    read::MIN_SLICE,
    text::{NotText, is_text},
    value::Value,
};

/// What the allocator takes for each piece, and rounds it up by.
const PIECE: usize = 32;
/// A value in a list or set: room for as many again is made when it grows.
const ELEMENT: usize = 2 * size_of::<Value>();
/// The list itself, which others may share.
const LIST: usize = 2 * PIECE + 40;
/// An entry of a dict, with its hash and its place in the table, of which there may be twice as many.
const ENTRY: usize = 2 * (2 * size_of::<Value>() + 8) + 24;
/// A dict itself, with the smallest table.
const DICT: usize = 3 * PIECE + 104 + 56;
/// A text, integer or `bytes` beside its bytes; and what is noted of it when it is written again.
const TEXT: usize = 2 * PIECE + 40;
/// What the reader can be asked for later: its entry, of which there may be room for twice as many.
const MEMO: usize = 2 * (size_of::<Value>() + 16);
/// What waits on its stack.
const SLOT: usize = size_of::<Value>() + 24;

/// What a pickle takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Bytes of memory while it is read and when it has been; no less.
    pub memory: usize,
    /// Places for values in it, one in another.
    pub places: usize,
    /// Values when written out, as in [`Scanned`](super::Scanned).
    pub items: usize,
    /// Bytes of the texts in it.
    pub texts: usize,
    /// Bytes of a pickle of the same in which nothing refers to what was before; `u32::MAX` stands
    /// for more, too.
    pub written: usize,
}

/// Tells what [`read()`](super::read()) takes.
///
/// # Errors
/// As [`read()`](super::read()).
pub fn cost(input: &Bytes, budget: &Budget) -> Result<Cost, PickleError> {
    let mut cost = Cost::default();
    let counter = Counter {
        input,
        cost: &mut cost,
    };
    let outcome = machine::run(input, budget, &[], counter)?;
    let memo = outcome.remembered.saturating_mul(MEMO);
    let stack = outcome.stacked.saturating_mul(SLOT);
    Ok(Cost {
        memory: cost.memory.saturating_add(memo).saturating_add(stack),
        places: cost.places.saturating_add(1),
        items: usize::try_from(outcome.meta.weight()).unwrap_or(usize::MAX),
        written: outcome.item.written as usize,
        ..cost
    })
}

/// A budget of which nobody can read what does not fit into so much memory.
pub fn budget_within(budget: &Budget, most: usize) -> Budget {
    Budget {
        memo: budget.memo.min(most / MEMO),
        stack: budget.stack.min(most / SLOT),
        ..*budget
    }
}

/// The most [`cost()`] itself takes for so many bytes of input: its stack and its memo.
pub fn cost_of_cost(bytes: usize, budget: &Budget) -> usize {
    // There may be room for twice as many.
    const EACH: usize = 2 * (size_of::<Counted>() + 16);
    // Each entry takes an opcode.
    let entries = bytes.min(budget.memo.saturating_add(budget.stack));
    entries.saturating_mul(EACH)
}

struct Counter<'a> {
    input: &'a [u8],
    cost: &'a mut Cost,
}

/// What is known of a value.
#[derive(Clone, Copy, Default)]
pub(super) struct Counted {
    /// Where a string's opcode is, as strings may become names; 0 otherwise.
    at: u32,
    /// Bytes it takes when it is written, and 0xffff_ffff for more.
    written: u32,
}

impl Counted {
    fn of(bytes: usize) -> Self {
        Self::default().with(bytes)
    }

    /// With so many bytes more.
    #[inline]
    fn with(self, bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        Self {
            at: self.at,
            written: self.written.saturating_add(bytes),
        }
    }
}

impl Counter<'_> {
    fn take(&mut self, bytes: usize) {
        self.cost.memory = self.cost.memory.saturating_add(bytes);
    }

    /// What a container takes for these, each of them so much.
    #[inline]
    fn fill(
        &mut self,
        target: Counted,
        items: impl Iterator<Item = Counted>,
        each: usize,
    ) -> Counted {
        let mut count = 0usize;
        let filled = items.fold(target, |sum, item| {
            count = count.saturating_add(1);
            sum.with(item.written as usize)
        });
        self.cost.places = self.cost.places.saturating_add(count);
        self.take(count.saturating_mul(each));
        // A batch has its own opcodes.
        filled.with(2)
    }

    /// `bytes`, of which the long ones share the memory of the pickle.
    fn bytes(&mut self, bytes: &[u8]) -> usize {
        let copied = if bytes.len() < MIN_SLICE {
            bytes.len()
        } else {
            0
        };
        self.take(copied.saturating_add(TEXT));
        bytes.len().saturating_add(10)
    }
}

impl Builder for Counter<'_> {
    type Item = Counted;

    fn atom(&mut self, atom: Atom<'_>) -> Counted {
        let written = match atom {
            Atom::None | Atom::Bool(_) => 1,
            Atom::Int(_) | Atom::Float(_) => 11,
            Atom::Digits(digits) => {
                self.take(digits.len().saturating_add(TEXT));
                digits.len().saturating_add(11)
            }
            Atom::Bytes(bytes) | Atom::ByteArray(bytes) => self.bytes(bytes),
            Atom::Type(_) => 64,
        };
        Counted::of(written)
    }

    fn text(&mut self, at: usize, bytes: &[u8]) -> Result<Counted, NotText> {
        if !is_text(bytes) {
            return Err(NotText);
        }
        self.take(bytes.len().saturating_add(TEXT));
        self.cost.texts = self.cost.texts.saturating_add(bytes.len());
        let counted = Counted::of(bytes.len().saturating_add(10));
        // Names are in the first bytes, if anywhere: no node has 4 GiB before one.
        let at = u32::try_from(at).unwrap_or_default();
        Ok(Counted { at, ..counted })
    }

    fn text_of<'a>(&'a self, item: &'a Counted) -> Option<&'a [u8]> {
        cursor::string_at(self.input, usize::try_from(item.at).ok()?)
    }

    fn empty(&mut self, kind: Kind) -> Counted {
        self.take(if kind == Kind::Dict { DICT } else { LIST });
        // A set is written by the name of its type, and in a call.
        Counted::of(if kind == Kind::Set { 32 } else { 4 })
    }

    #[inline]
    fn push_all(&mut self, target: &mut Counted, items: impl Iterator<Item = Counted>) {
        *target = self.fill(*target, items, ELEMENT);
    }

    fn insert_pairs(&mut self, target: &mut Counted, items: impl Iterator<Item = Counted>) {
        // Keys and values.
        *target = self.fill(*target, items, ENTRY / 2);
    }

    fn tuple(&mut self, items: impl Iterator<Item = Counted>) -> Counted {
        self.take(LIST);
        self.fill(Counted::of(2), items, size_of::<Value>())
    }

    fn frozen_set(&mut self, items: impl Iterator<Item = Counted>) -> Counted {
        self.take(LIST);
        self.fill(Counted::of(32), items, size_of::<Value>())
    }

    fn call(&mut self, call: Call, args: Counted) -> Counted {
        if matches!(call, Call::Bytes | Call::ByteArray) {
            let bytes = args.written as usize;
            self.take(bytes.saturating_mul(2).saturating_add(TEXT));
        }
        args.with(64)
    }
}

#[cfg(test)]
mod tests;
