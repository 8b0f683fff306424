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
    meta::{Flags, Kind, Meta},
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

impl<'a, I: Clone + Default> Stack<'a, I> {
    pub(super) fn new(budget: &'a Budget) -> Self {
        Self {
            budget,
            slots: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
            items: 0,
            shared: false,
            types: false,
            op: op::STOP,
            at: 0,
        }
    }

    /// Number of values on the stack.
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// The values from `start`.
    pub(super) fn from(&self, start: usize) -> &[Slot<I>] {
        self.slots.get(start..).unwrap_or_default()
    }

    /// Pushes a new value.
    #[inline]
    pub(super) fn push(&mut self, meta: Meta, item: I) -> Result<(), PickleError> {
        self.charge(1)?;
        self.place(meta, item)
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
        self.types |= matches!(slot.meta.kind, Kind::Type(_));
        Ok(slot)
    }

    /// Settles the values from `start` and accounts for them as the inside of a container.
    #[inline]
    pub(super) fn enclose(&mut self, start: usize, mut meta: Meta) -> Result<Meta, PickleError> {
        let (slots, memo) = (&mut self.slots, &mut self.memo);
        for slot in slots.get_mut(start..).unwrap_or_default() {
            settle(slot, memo);
            match slot.meta.kind {
                Kind::Function(_) => return Err(self.needless()),
                Kind::Type(_) => self.types = true,
                _ => {}
            }
            meta.enclose(&slot.meta);
        }
        self.check_depth(&meta)?;
        Ok(meta)
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
        if pairs.iter().all(|[key, _]| key.meta.flags.has(Flags::KEY)) {
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
            Some(meta) if meta.kind != kind => Err(self.operand()),
            Some(meta) if meta.flags.has(Flags::OPEN) => Ok(place),
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
        let entry = if !slot.meta.flags.has(Flags::OPEN) {
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
                self.charge(meta.weight)?;
                self.shared |= !meta.flags.has(Flags::HASHABLE);
                self.place(meta, item)
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
        self.charge(meta.weight)?;
        self.shared |= !meta.flags.has(Flags::HASHABLE);
        self.place(meta, item)
    }

    /// Checks that a value may stand for itself.
    pub(super) fn check_value(&self, meta: &Meta) -> Result<(), PickleError> {
        match meta.kind {
            Kind::Function(_) => Err(self.needless()),
            _ => Ok(()),
        }
    }

    #[inline]
    pub(super) fn check_depth(&self, meta: &Meta) -> Result<(), PickleError> {
        if usize::from(meta.depth) > self.max_depth() {
            return Err(self.too_deep());
        }
        Ok(())
    }

    #[inline]
    fn place(&mut self, meta: Meta, item: I) -> Result<(), PickleError> {
        if self.slots.len() >= self.budget.stack {
            return Err(PickleError::Budget {
                what: "values not put anywhere",
                max: self.budget.stack,
            });
        }
        let memo = None;
        self.slots.push(Slot { meta, memo, item });
        Ok(())
    }

    #[inline]
    fn charge(&mut self, weight: u32) -> Result<(), PickleError> {
        let weight = usize::try_from(weight).unwrap_or(usize::MAX);
        self.items = self.items.saturating_add(weight);
        // Weights stop at u32::MAX, which must always be too much.
        let max = self.budget.items.min((u32::MAX >> 1) as usize);
        if self.items > max {
            return Err(PickleError::Budget {
                what: "values",
                max,
            });
        }
        Ok(())
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
    if !slot.meta.flags.has(Flags::OPEN) {
        return;
    }
    slot.meta.flags = slot.meta.flags.without(Flags::OPEN);
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
