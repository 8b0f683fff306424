//! The stack and the memo of the pickle machine, with all their accounting.
//!
//! A container may grow only while it is on the stack and nothing refers to it: it is *settled*
//! when it goes into another one or is taken from the memo. Honest pickles never change one after
//! that, unless it contains itself. So values can be owned and shared like any of ours, although
//! Python's memo refers to objects that change.

use std::num::NonZeroU32;

use super::{
    budget::Budget,
    error::PickleError,
    meta::{Flags, Kind, Meta, Tally},
    op,
};

/// Stack, marks and memo.
pub(super) struct Stack<'a, I> {
    budget: &'a Budget,
    slots: Vec<Slot<I>>,
    /// Heights of the stack below which opcodes must not reach.
    marks: Vec<usize>,
    memo: Vec<Memo<I>>,
    /// Values so far, written out.
    items: usize,
    /// Whether something that can be changed was put in two places.
    pub(super) shared: bool,
    /// Whether a type went into a container, or is the result.
    pub(super) types: bool,
    /// The opcode that is carried out, for errors.
    pub(super) op: u8,
    /// Where it is in the input.
    pub(super) at: usize,
}

/// A value on the stack.
#[derive(Clone)]
pub(super) struct Slot<I> {
    pub(super) meta: Meta,
    /// The memo entry that waits for this container to be settled, counted from one.
    memo: Option<NonZeroU32>,
    pub(super) item: I,
}

/// A value to refer to.
enum Memo<I> {
    Done(Meta, I),
    /// The container in this slot, which is not settled.
    Growing(usize),
}

/// The memory of a stack that is done with, for the next.
pub(super) struct Scratch<I> {
    slots: Vec<Slot<I>>,
    marks: Vec<usize>,
    memo: Vec<Memo<I>>,
}

/// Entries of scratch memory that are worth keeping: more than most payloads take, and less than a
/// megabyte.
const KEPT: usize = 1 << 14;

impl<I> Default for Scratch<I> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
        }
    }
}

impl<I> Scratch<I> {
    /// Entries it has room for.
    pub(super) fn entries(&self) -> usize {
        let stack = self.slots.capacity().max(self.marks.capacity());
        stack.max(self.memo.capacity())
    }
}

impl<'a, I: Clone + Default> Stack<'a, I> {
    pub(super) fn new(budget: &'a Budget, scratch: Scratch<I>) -> Self {
        let Scratch { slots, marks, memo } = scratch;
        Self {
            budget,
            slots,
            marks,
            memo,
            items: 0,
            shared: false,
            types: false,
            op: op::STOP,
            at: 0,
        }
    }

    /// Its memory, emptied, unless that is too much to keep.
    pub(super) fn into_scratch(self) -> Scratch<I> {
        let (slots, marks, memo) = (self.slots, self.marks, self.memo);
        let mut scratch = Scratch { slots, marks, memo };
        if scratch.entries() > KEPT {
            return Scratch::default();
        }
        scratch.slots.clear();
        scratch.marks.clear();
        scratch.memo.clear();
        scratch
    }

    /// Number of values on the stack.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Number of memo entries.
    pub(super) fn remembered(&self) -> usize {
        self.memo.len()
    }

    /// Number of values there is room for on the stack without more memory.
    pub(super) fn room(&self) -> usize {
        self.slots.capacity()
    }

    /// The values from `start`.
    pub(super) fn from(&self, start: usize) -> &[Slot<I>] {
        self.slots.get(start..).unwrap_or_default()
    }

    /// Pushes a new value.
    #[inline]
    pub(super) fn push(&mut self, meta: Meta, item: I) -> Result<(), PickleError> {
        self.place(1, meta, item)
    }

    /// Whether there may be so many values more.
    #[inline]
    pub(super) fn affords(&self, count: usize) -> bool {
        self.items.saturating_add(count) <= self.max_items()
    }

    /// Takes the topmost value off the stack.
    pub(super) fn pop(&mut self) -> Result<Slot<I>, PickleError> {
        self.below(1)?;
        let mut slot = self.slots.pop().ok_or_else(|| self.underflow())?;
        settle(&mut slot, &mut self.memo);
        Ok(slot)
    }

    /// The place of the lowest of the topmost `count` values.
    #[inline]
    pub(super) fn below(&self, count: usize) -> Result<usize, PickleError> {
        let place = self.slots.len().checked_sub(count);
        place
            .filter(|place| *place >= self.floor())
            .ok_or_else(|| self.underflow())
    }

    #[inline]
    pub(super) fn mark(&mut self) -> Result<(), PickleError> {
        // Each is for the inside of one more container.
        if self.marks.len() >= self.max_depth() {
            return Err(self.too_deep());
        }
        self.marks.push(self.slots.len());
        Ok(())
    }

    /// The height of the stack when the last mark was set.
    #[inline]
    pub(super) fn pop_mark(&mut self) -> Result<usize, PickleError> {
        self.marks.pop().ok_or_else(|| self.underflow())
    }

    /// Takes the value out that is the result; it must be the only one.
    pub(super) fn finish(&mut self) -> Result<Slot<I>, PickleError> {
        let slot = self.slots.pop();
        let slot = slot.filter(|_| self.slots.is_empty() && self.marks.is_empty());
        let slot = slot.ok_or(PickleError::Leftover)?;
        self.check_value(&slot.meta)?;
        self.types |= slot.meta.is_type();
        Ok(slot)
    }

    /// Settles the values from `start` and accounts for them as the inside of a container.
    #[inline]
    pub(super) fn enclose(&mut self, start: usize, mut meta: Meta) -> Result<Meta, PickleError> {
        let mut tally = Tally::new();
        let inside = self.slots.get_mut(start..).unwrap_or_default();
        for slot in inside.iter() {
            tally.add(slot.meta);
        }
        if tally.open() {
            for slot in inside {
                settle(slot, &mut self.memo);
            }
        }
        if tally.functions() {
            return Err(self.needless());
        }
        self.types |= tally.types();
        meta.enclose_all(&tally);
        self.check_depth(&meta)?;
        Ok(meta)
    }

    /// Settles the values from `start`, which is where the last mark was set, and gives the place of
    /// the container of this kind below and what is known of it with them inside, if all is well.
    #[inline]
    pub(super) fn sound(&mut self, start: usize, kind: Kind) -> Option<(usize, Meta)> {
        let below = self.marks.iter().rev().nth(1).copied().unwrap_or_default();
        let place = start.checked_sub(1).filter(|place| *place >= below)?;
        let (under, inside) = self.slots.split_at_mut_checked(start)?;
        let mut meta = under.get(place)?.meta;
        if !meta.is(kind) || !meta.has(Flags::OPEN) {
            return None;
        }
        let mut tally = Tally::new();
        if kind == Kind::Dict {
            let (pairs, rest) = inside.as_chunks();
            if !rest.is_empty() {
                return None;
            }
            let mut keys = Flags::KEY;
            for [key, value] in pairs {
                keys = keys.and(key.meta.flags());
                tally.add(key.meta);
                tally.add(value.meta);
            }
            if !keys.has(Flags::KEY) {
                return None;
            }
        } else {
            for slot in inside.iter() {
                tally.add(slot.meta);
            }
        }
        if tally.open() {
            for slot in inside {
                settle(slot, &mut self.memo);
            }
        }
        meta.enclose_all(&tally);
        if tally.functions() || usize::from(meta.depth()) > self.max_depth() {
            return None;
        }
        self.types |= tally.types();
        Some((place, meta))
    }

    /// The height of the stack when the last mark was set.
    #[inline]
    pub(super) fn last_mark(&self) -> Option<usize> {
        self.marks.last().copied()
    }

    /// Takes the values from `start` off the stack.
    #[inline]
    pub(super) fn drain(&mut self, start: usize) -> impl Iterator<Item = I> {
        let start = start.min(self.slots.len());
        self.slots.drain(start..).map(|slot| slot.item)
    }

    /// Whether all values that are dict keys, when those from `start` are keys and values in turn,
    /// can be keys.
    pub(super) fn check_keys(&self, start: usize) -> Result<(), PickleError> {
        let (pairs, rest) = self.from(start).as_chunks();
        if !rest.is_empty() {
            return Err(self.operand());
        }
        if pairs.iter().all(|[key, _]| key.meta.has(Flags::KEY)) {
            Ok(())
        } else {
            Err(PickleError::Unhashable { at: self.at })
        }
    }

    /// The place of the container below `start`: it must be of this kind and not settled.
    #[inline]
    pub(super) fn growing(&self, start: usize, kind: Kind) -> Result<usize, PickleError> {
        let place = start.checked_sub(1).filter(|place| *place >= self.floor());
        let place = place.ok_or_else(|| self.underflow())?;
        match self.slots.get(place).map(|slot| &slot.meta) {
            Some(meta) if !meta.is(kind) => Err(self.operand()),
            Some(meta) if meta.has(Flags::OPEN) => Ok(place),
            Some(_) => Err(PickleError::SelfReference { at: self.at }),
            None => Err(self.underflow()),
        }
    }

    /// The slot at a place that another function gave.
    #[inline]
    pub(super) fn slot(&mut self, place: usize) -> Result<&mut Slot<I>, PickleError> {
        // Never happens; the better error cannot be made beside the borrow.
        self.slots.get_mut(place).ok_or(PickleError::Leftover)
    }

    /// Lets the memo refer to the topmost value. Entries are made in order and never again:
    /// Python does it so, and who did otherwise could mean another value than we understand.
    #[inline]
    pub(super) fn put(&mut self, index: usize) -> Result<(), PickleError> {
        if index != self.memo.len() {
            return Err(self.out_of_order(index));
        }
        // Beyond u32 no pickle can refer to it.
        if index >= self.budget.memo || number(index).is_none() {
            return Err(PickleError::Budget {
                what: "memo entries",
                max: self.budget.memo,
            });
        }
        let place = self.below(1)?;
        let slot = self.slot(place)?;
        let entry = if !slot.meta.has(Flags::OPEN) {
            Memo::Done(slot.meta, slot.item.clone())
        } else if slot.memo.is_none() {
            slot.memo = number(index);
            Memo::Growing(place)
        } else {
            return Err(self.out_of_order(index));
        };
        self.memo.push(entry);
        Ok(())
    }

    /// Puts a value on the next memo entry.
    #[inline]
    pub(super) fn memoize(&mut self) -> Result<(), PickleError> {
        self.put(self.memo.len())
    }

    /// Pushes what a memo entry refers to.
    #[inline]
    pub(super) fn get(&mut self, index: usize) -> Result<(), PickleError> {
        match self.memo.get(index) {
            Some(Memo::Done(meta, item)) => {
                let (meta, item) = (*meta, item.clone());
                self.shared |= !meta.has(Flags::HASHABLE);
                self.place(meta.weight(), meta, item)
            }
            Some(Memo::Growing(place)) => self.again(*place),
            None => Err(self.out_of_order(index)),
        }
    }

    /// Pushes what is on the stack already.
    pub(super) fn again(&mut self, place: usize) -> Result<(), PickleError> {
        let Some(slot) = self.slots.get_mut(place) else {
            return Err(self.underflow());
        };
        settle(slot, &mut self.memo);
        let (meta, item) = (slot.meta, slot.item.clone());
        self.shared |= !meta.has(Flags::HASHABLE);
        self.place(meta.weight(), meta, item)
    }

    /// Checks that a value may stand for itself.
    pub(super) fn check_value(&self, meta: &Meta) -> Result<(), PickleError> {
        match meta.kind() {
            Kind::Function(_) => Err(self.needless()),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn check_depth(&self, meta: &Meta) -> Result<(), PickleError> {
        if usize::from(meta.depth()) > self.max_depth() {
            return Err(self.too_deep());
        }
        Ok(())
    }

    /// Pushes a value that counts as so many. If it must not, nothing is changed, as it may be
    /// tried again.
    #[inline]
    fn place(&mut self, weight: u32, meta: Meta, item: I) -> Result<(), PickleError> {
        let weight = usize::try_from(weight).unwrap_or(usize::MAX);
        let items = self.items.saturating_add(weight);
        if items > self.max_items() {
            return Err(PickleError::Budget {
                what: "values",
                max: self.max_items(),
            });
        }
        if self.slots.len() >= self.budget.stack {
            return Err(PickleError::Budget {
                what: "values not put anywhere",
                max: self.budget.stack,
            });
        }
        self.items = items;
        let memo = None;
        self.slots.push(Slot { meta, memo, item });
        Ok(())
    }

    #[inline]
    fn max_items(&self) -> usize {
        self.budget.max_items()
    }

    #[inline]
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or_default()
    }

    fn max_depth(&self) -> usize {
        self.budget.depth.min(usize::from(u16::MAX >> 1))
    }

    #[cold]
    fn too_deep(&self) -> PickleError {
        PickleError::Budget {
            what: "levels of nesting",
            max: self.max_depth(),
        }
    }

    #[cold]
    pub(super) fn underflow(&self) -> PickleError {
        PickleError::Underflow {
            name: op::name(self.op),
            at: self.at,
        }
    }

    /// The operands are of the wrong kind.
    #[cold]
    pub(super) fn operand(&self) -> PickleError {
        PickleError::Operand {
            name: op::name(self.op),
            at: self.at,
        }
    }

    /// The opcode is not allowed.
    #[cold]
    pub(super) fn refused(&self) -> PickleError {
        PickleError::Opcode {
            name: op::name(self.op),
            byte: self.op,
            at: self.at,
        }
    }

    /// Something permitted is used in a way that is not.
    #[cold]
    pub(super) fn misuse(&self, what: &'static str) -> PickleError {
        PickleError::Call { what, at: self.at }
    }

    #[cold]
    fn out_of_order(&self, index: usize) -> PickleError {
        PickleError::Memo { index, at: self.at }
    }

    #[cold]
    fn needless(&self) -> PickleError {
        self.misuse("a function as a value")
    }
}

/// Ends a container's growth and hands it to the memo if that waits for it.
#[inline]
fn settle<I: Clone>(slot: &mut Slot<I>, memo: &mut [Memo<I>]) {
    if !slot.meta.has(Flags::OPEN) {
        return;
    }
    slot.meta = slot.meta.settled();
    let index = slot
        .memo
        .map(|number| number.get().saturating_sub(1) as usize);
    if let Some(entry) = index.and_then(|index| memo.get_mut(index)) {
        *entry = Memo::Done(slot.meta, slot.item.clone());
    }
}

/// The number of a memo entry, counted from one.
#[inline]
fn number(index: usize) -> Option<NonZeroU32> {
    let number = u32::try_from(index).ok()?.checked_add(1)?;
    NonZeroU32::new(number)
}
