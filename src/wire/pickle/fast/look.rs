//! The way through a pickle of plain data, opcode by opcode.
//!
//! [`look`](super::look()) makes the state for it and keeps its memory. `None` everywhere means that
//! the machine has to look.

use super::{
    Plain,
    input::{block4, numbers},
};
use crate::wire::pickle::{
    meta::{Flags, Kind, Meta},
    op,
    text::{is_short_ascii, is_text},
};

/// Who refers to values while there are more than so many is left to the machine: what a pickle of no
/// more than [`LONGEST`](super::LONGEST) bytes has in the end then fits into 32 bits.
const MOST: u64 = 1 << 30;

const NONE: u64 = Meta::scalar(Kind::None).facts();
const BOOL: u64 = Meta::scalar(Kind::Bool).facts();
const NUMBER: u64 = Meta::scalar(Kind::Number).facts();
const STR: u64 = Meta::scalar(Kind::Str).facts();
const BYTES: u64 = Meta::scalar(Kind::Bytes).facts();
const TUPLE: u64 = Meta::tuple().facts();
/// The flags that a tuple has if all in it have them.
const SCALAR: u64 = NONE & !(Meta::DEPTH | Meta::KIND);
const LIST: Meta = Meta::growing(Kind::List);
const DICT: Meta = Meta::growing(Kind::Dict);
/// One, as a weight is noted beside the facts.
const ONE: u64 = 1 << 32;

/// What is around a mark.
#[derive(Clone, Copy, Default)]
pub(super) struct Mark {
    floor: usize,
    deepest: u64,
}

/// The stack machine's state, as far as it is needed.
pub(super) struct Look<'a> {
    /// The values not put anywhere yet: their facts, and instead of its weight that of all before
    /// it. So the weight of what goes into a container need not be added up.
    pub(super) stack: &'a mut [u64],
    /// Values on the stack.
    pub(super) top: usize,
    pub(super) marks: &'a mut [Mark],
    /// Marks that are set.
    pub(super) depth: usize,
    /// The height of the stack when the last of them was set.
    pub(super) floor: usize,
    /// Levels of the deepest value since.
    pub(super) deepest: u64,
    /// The weight of all values, where it is in the facts.
    pub(super) weight: u64,
    /// As much of it as long strings and bytes have for their length when they are new.
    pub(super) long: u64,
    /// Lists and dicts in it are open: what refers to them is left to the machine.
    pub(super) memo: &'a mut Vec<Meta>,
    pub(super) max_memo: usize,
    pub(super) max_items: u64,
    pub(super) shared: bool,
}

impl Look<'_> {
    /// Goes through what follows the protocol.
    #[inline(always)]
    pub(super) fn run(mut self, program: &[u8]) -> Option<Plain> {
        let mut rest = program;
        loop {
            let (op, after) = rest.split_first()?;
            rest = match *op {
                op::SHORT_BINUNICODE => {
                    let (length, after) = after.split_first()?;
                    let length = usize::from(*length);
                    let (text, next) = after.split_at_checked(length)?;
                    if !is_short_ascii(after, length) && !is_text(text) {
                        return None;
                    }
                    self.blob(STR, length, next)?
                }
                op::BINGET => {
                    let (index, after) = after.split_first()?;
                    self.get((*index).into())?;
                    after
                }
                op::BINFLOAT | op::BININT1 | op::BININT2 | op::BININT => {
                    let (count, after) = numbers(rest);
                    self.push_numbers(count)?;
                    after
                }
                op::EMPTY_DICT => {
                    let after = self.container(DICT, after)?;
                    self.marked(after)?
                }
                op::EMPTY_LIST => {
                    let after = self.container(LIST, after)?;
                    self.row(after)?
                }
                op::SETITEMS => {
                    let (start, deepest) = self.pop_mark()?;
                    self.fill_dict(start, deepest)?;
                    after
                }
                op::APPENDS => {
                    let (start, deepest) = self.pop_mark()?;
                    self.fill(start, LIST, deepest)?;
                    after
                }
                op::NONE => {
                    self.push(NONE)?;
                    after
                }
                op::NEWTRUE | op::NEWFALSE => {
                    self.push(BOOL)?;
                    after
                }
                op::TUPLE1 => self.tuple(self.below(1)?, after)?,
                op::TUPLE2 => self.tuple(self.below(2)?, after)?,
                op::TUPLE3 => self.tuple(self.below(3)?, after)?,
                op::TUPLE => {
                    let (start, _) = self.pop_mark()?;
                    self.tuple(start, after)?
                }
                op::MARK => self.marked(rest)?,
                op::SETITEM => {
                    let start = self.below(2)?;
                    self.fill_dict(start, self.deepest_from(start)?)?;
                    after
                }
                op::APPEND => {
                    let start = self.below(1)?;
                    self.fill(start, LIST, self.deepest_from(start)?)?;
                    after
                }
                op::STOP if after.is_empty() => break,
                _ => {
                    // By value: otherwise it would be in memory all the time.
                    let after;
                    (self, after) = self.rare(rest)?;
                    after
                }
            };
        }
        if self.top != 1 || self.depth > 0 || !self.affords() {
            return None;
        }
        Some(Plain {
            meta: Meta::of(self.weight, *self.stack.first()?),
            shared: self.shared,
        })
    }

    /// Opcodes that are not worth a place in the loop.
    #[inline(never)]
    fn rare(mut self, rest: &[u8]) -> Option<(Self, &[u8])> {
        let after = match rest {
            [op::FRAME, length @ ..] => {
                let (length, after) = length.split_first_chunk()?;
                // Frames help those who read from files. Only an honest length is wanted.
                if u64::from_le_bytes(*length) > after.len() as u64 {
                    return None;
                }
                after
            }
            [op::BINUNICODE, length @ ..] => {
                let (text, after) = block4(length)?;
                if !is_text(text) {
                    return None;
                }
                self.blob(STR, text.len(), after)?
            }
            [op::SHORT_BINBYTES, length, after @ ..] => {
                let length = usize::from(*length);
                let (_, after) = after.split_at_checked(length)?;
                self.blob(BYTES, length, after)?
            }
            [op::BINBYTES, length @ ..] => {
                let (bytes, after) = block4(length)?;
                self.blob(BYTES, bytes.len(), after)?
            }
            [op::LONG1, length, after @ ..] => {
                let length = usize::from(*length);
                let (_, after) = after.split_at_checked(length)?;
                self.blob(NUMBER, length, after)?
            }
            [op::EMPTY_TUPLE, after @ ..] => self.tuple(self.top, after)?,
            [op::LONG_BINGET, index @ ..] => {
                let (index, after) = index.split_first_chunk()?;
                self.get(usize::try_from(u32::from_le_bytes(*index)).ok()?)?;
                after
            }
            [op::MEMOIZE | op::BINPUT | op::LONG_BINPUT, ..] => {
                // A list or dict may have an entry already: it gets that when it is made.
                let slot = *self.stack.get(self.below(1)?)?;
                let meta = Meta::of(self.weight.wrapping_sub(before(slot)), slot);
                if meta.has(Flags::OPEN) {
                    return None;
                }
                self.memoized(meta, rest)?
            }
            _ => return None,
        };
        Some((self, after))
    }

    #[inline(always)]
    fn push(&mut self, facts: u64) -> Option<()> {
        *self.stack.get_mut(self.top)? = self.weight | facts;
        self.top = self.top.wrapping_add(1);
        self.weight = self.weight.wrapping_add(ONE);
        Some(())
    }

    #[inline(always)]
    fn push_numbers(&mut self, count: usize) -> Option<()> {
        // A number that breaks off is none.
        if count == 0 {
            return None;
        }
        let top = self.top.checked_add(count)?;
        for slot in self.stack.get_mut(self.top..top)? {
            *slot = self.weight | NUMBER;
            self.weight = self.weight.wrapping_add(ONE);
        }
        self.top = top;
        Some(())
    }

    /// Pushes something that may be long, and is often memoized.
    #[inline(always)]
    fn blob<'p>(&mut self, facts: u64, length: usize, after: &'p [u8]) -> Option<&'p [u8]> {
        let more = (length >> 6) as u64;
        let before = self.weight;
        self.push(facts)?;
        self.weight = self.weight.wrapping_add(more << 32);
        self.long = self.long.wrapping_add(more);
        self.maybe_memoized(before, facts, after)
    }

    /// Pushes an empty list or dict.
    #[inline(always)]
    fn container<'p>(&mut self, meta: Meta, after: &'p [u8]) -> Option<&'p [u8]> {
        self.push(meta.facts())?;
        self.deepest = self.deepest.max(1);
        match after {
            [op::MEMOIZE | op::BINPUT | op::LONG_BINPUT, ..] => self.memoized(meta, after),
            _ => Some(after),
        }
    }

    /// Sets a mark if that is what follows.
    #[inline(always)]
    fn marked<'p>(&mut self, rest: &'p [u8]) -> Option<&'p [u8]> {
        let [op::MARK, after @ ..] = rest else {
            return Some(rest);
        };
        *self.marks.get_mut(self.depth)? = Mark {
            floor: self.floor,
            deepest: self.deepest,
        };
        self.depth = self.depth.wrapping_add(1);
        self.floor = self.top;
        self.deepest = 0;
        Some(after)
    }

    /// Fills a new list if it is one of numbers alone, as vectors and colours are.
    #[inline(always)]
    fn row<'p>(&mut self, rest: &'p [u8]) -> Option<&'p [u8]> {
        if let [op::MARK, after @ ..] = rest {
            let (count, after) = numbers(after);
            if let [op::APPENDS, after @ ..] = after {
                // They would have been on the stack for a while, and within a mark.
                let room = self.stack.len().checked_sub(self.top)?;
                if count > room || self.depth >= self.marks.len() {
                    return None;
                }
                self.weight = self.weight.wrapping_add((count as u64) << 32);
                return Some(after);
            }
        }
        self.marked(rest)
    }

    /// Whether there are no more values than may be.
    #[inline(always)]
    fn affords(&self) -> bool {
        (self.weight >> 32).wrapping_sub(self.long) <= self.max_items
    }

    /// The height at which the last mark was set, and the levels of the deepest value since.
    #[inline(always)]
    fn pop_mark(&mut self) -> Option<(usize, u64)> {
        self.depth = self.depth.checked_sub(1)?;
        let inside = (self.floor, self.deepest);
        let around = self.marks.get(self.depth)?;
        (self.floor, self.deepest) = (around.floor, around.deepest);
        Some(inside)
    }

    /// The place of the lowest of the topmost `count` values.
    #[inline(always)]
    fn below(&self, count: usize) -> Option<usize> {
        let place = self.top.checked_sub(count)?;
        (place >= self.floor).then_some(place)
    }

    /// The levels of the deepest value from `start`, of few.
    #[inline(always)]
    fn deepest_from(&self, start: usize) -> Option<u64> {
        let few = self.stack.get(start..self.top)?;
        Some(
            few.iter()
                .fold(0, |deepest, slot| depth(*slot).max(deepest)),
        )
    }

    /// Puts keys and values on the stack from `start` into the dict below.
    #[inline(always)]
    fn fill_dict(&mut self, start: usize, deepest: u64) -> Option<()> {
        let (pairs, rest) = self.stack.get(start..self.top)?.as_chunks();
        let all = pairs.iter().fold(SCALAR, |all, [key, _]| all & key);
        if !rest.is_empty() || !Meta::of(0, all).has(Flags::KEY) {
            return None;
        }
        self.fill(start, DICT, deepest)
    }

    /// Puts what is on the stack from `start`, of so many levels at most, into the list or dict
    /// below. None on the stack is settled, which happens when it leaves it.
    #[inline(always)]
    fn fill(&mut self, start: usize, kind: Meta, deepest: u64) -> Option<()> {
        let place = start.checked_sub(1)?;
        if place < self.floor || !self.affords() {
            return None;
        }
        let slot = self.stack.get_mut(place)?;
        if (*slot ^ kind.facts()) & Meta::KIND != 0 {
            return None;
        }
        let levels = depth(*slot).max(deepest.wrapping_add(1));
        if levels > self.marks.len() as u64 {
            return None;
        }
        *slot = *slot & !Meta::DEPTH | levels << 16;
        self.top = start;
        self.deepest = self.deepest.max(levels);
        Some(())
    }

    /// Replaces what is on the stack from `start` by a tuple of it.
    #[inline(always)]
    fn tuple<'p>(&mut self, start: usize, after: &'p [u8]) -> Option<&'p [u8]> {
        let inside = self.stack.get(start..self.top)?;
        let before = inside.first().map_or(self.weight, |first| before(*first));
        let all = inside.iter().fold(SCALAR, |all, slot| all & slot);
        let levels = self.deepest_from(start)?.wrapping_add(1);
        if levels > self.marks.len() as u64 {
            return None;
        }
        let tuple = TUPLE & !(Meta::DEPTH | SCALAR) | all | levels << 16;
        self.weight = self.weight.wrapping_add(ONE);
        *self.stack.get_mut(start)? = before | tuple;
        self.top = start.wrapping_add(1);
        self.deepest = self.deepest.max(levels);
        self.maybe_memoized(before, tuple, after)
    }

    /// Lets the memo refer to the topmost value, as an opcode says. Entries are made in order.
    #[inline(always)]
    fn memoized<'p>(&mut self, meta: Meta, rest: &'p [u8]) -> Option<&'p [u8]> {
        let (index, after) = match rest {
            [op::MEMOIZE, after @ ..] => (self.memo.len(), after),
            [op::BINPUT, index, after @ ..] => ((*index).into(), after),
            [op::LONG_BINPUT, index @ ..] => {
                let (index, after) = index.split_first_chunk()?;
                (usize::try_from(u32::from_le_bytes(*index)).ok()?, after)
            }
            _ => return None,
        };
        if index != self.memo.len() {
            return None;
        }
        self.memoize(meta)?;
        Some(after)
    }

    /// Lets the memo refer to a new value, before which there was so much weight, if that is what
    /// follows.
    #[inline(always)]
    fn maybe_memoized<'p>(&mut self, before: u64, facts: u64, rest: &'p [u8]) -> Option<&'p [u8]> {
        let [op::MEMOIZE, after @ ..] = rest else {
            return Some(rest);
        };
        self.memoize(Meta::of(self.weight.wrapping_sub(before), facts))?;
        Some(after)
    }

    #[inline(always)]
    fn memoize(&mut self, meta: Meta) -> Option<()> {
        if self.memo.len() >= self.max_memo {
            return None;
        }
        self.memo.push(meta);
        Some(())
    }

    /// Pushes what a memo entry refers to.
    #[inline(always)]
    fn get(&mut self, index: usize) -> Option<()> {
        let meta = *self.memo.get(index)?;
        if meta.has(Flags::OPEN) || self.weight >> 32 > MOST {
            return None;
        }
        let facts = meta.facts();
        *self.stack.get_mut(self.top)? = self.weight | facts;
        self.top = self.top.wrapping_add(1);
        let weight = u64::from(meta.weight()) << 32;
        self.weight = self.weight.wrapping_add(weight);
        self.deepest = self.deepest.max(depth(facts));
        self.shared |= !meta.has(Flags::HASHABLE);
        Some(())
    }
}

/// The weight of all before a slot.
#[inline(always)]
fn before(slot: u64) -> u64 {
    slot >> 32 << 32
}

#[inline(always)]
fn depth(slot: u64) -> u64 {
    (slot & Meta::DEPTH) >> 16
}
