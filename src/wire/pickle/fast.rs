//! The fast way through pickles of plain data, which nearly all nodes are: numbers, strings,
//! `bytes`, lists, dicts and tuples. The scanner tries it first.
//!
//! It keeps no values and makes no errors: for everything that is wrong or out of the ordinary it
//! gives up, and the [`machine`](super::machine) goes through the pickle from the beginning. What
//! it accepts the machine would accept, with the same facts.

use std::cell::Cell;

use super::{
    budget::Budget,
    meta::{Flags, Kind, Meta},
    op,
    text::is_text,
};

/// Values not put anywhere yet that there is always room for. Python puts a thousand at a time into
/// lists and dicts.
const STACK: usize = 1 << 13;
/// Levels of containers.
const DEPTH: usize = 1 << 8;
/// Entries of the stack and the memo that are worth keeping for the next pickle.
const KEPT: usize = 1 << 15;
/// Longer pickles are left to the machine, and those that refer to values while they have more than
/// so many: what they have in the end fits into 32 bits.
const LONGEST: usize = 1 << 30;
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

/// What is known of a pickle of plain data.
pub(super) struct Plain {
    pub(super) meta: Meta,
    /// Whether something that can be changed is in two places.
    pub(super) shared: bool,
}

/// Memory to work in. New to the process it costs more than what is done in it.
#[derive(Default)]
struct Desk {
    stack: Vec<u64>,
    marks: Vec<Mark>,
    memo: Vec<Meta>,
}

/// What is around a mark.
#[derive(Clone, Copy, Default)]
struct Mark {
    floor: usize,
    deepest: u64,
}

thread_local! {
    static DESK: Cell<Desk> = Cell::default();
}

/// Looks at a pickle; `None` if that takes more than this.
pub(super) fn look(input: &[u8], budget: &Budget) -> Option<Plain> {
    let [op::PROTO, 2..=5, program @ ..] = input else {
        return None;
    };
    if input.len() > budget.bytes.min(LONGEST) {
        return None;
    }
    // Only while the thread ends there is none.
    let mut desk = DESK.try_with(Cell::take).unwrap_or_default();
    let room = STACK.max(input.len() >> 6).min(budget.stack);
    if desk.stack.len() < room {
        desk.stack.resize(room, NONE);
    }
    // The inside of each level begins with one.
    let depth = DEPTH.min(budget.depth);
    desk.marks.resize(DEPTH, Mark::default());
    desk.memo.clear();
    let look = Look {
        stack: desk.stack.get_mut(..room)?,
        top: 0,
        marks: desk.marks.get_mut(..depth)?,
        depth: 0,
        floor: 0,
        deepest: 0,
        weight: 0,
        long: 0,
        memo: &mut desk.memo,
        max_memo: budget.memo,
        max_items: budget.max_items() as u64,
        shared: false,
    };
    let found = look.run(program);
    if desk.stack.len() > KEPT {
        desk.stack = Vec::new();
    }
    if desk.memo.capacity() > KEPT {
        desk.memo = Vec::new();
    }
    let _ = DESK.try_with(|kept| kept.set(desk));
    found
}

struct Look<'a> {
    /// The values not put anywhere yet: their facts, and instead of its weight that of all before
    /// it. So the weight of what goes into a container need not be added up.
    stack: &'a mut [u64],
    /// Values on the stack.
    top: usize,
    marks: &'a mut [Mark],
    /// Marks that are set.
    depth: usize,
    /// The height of the stack when the last of them was set.
    floor: usize,
    /// Levels of the deepest value since.
    deepest: u64,
    /// The weight of all values, where it is in the facts.
    weight: u64,
    /// As much of it as long strings and bytes have for their length when they are new.
    long: u64,
    /// Lists and dicts in it are open: what refers to them is left to the machine.
    memo: &'a mut Vec<Meta>,
    max_memo: usize,
    max_items: u64,
    shared: bool,
}

impl Look<'_> {
    #[inline(always)]
    fn run(mut self, program: &[u8]) -> Option<Plain> {
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
        if let [op::MEMOIZE, after @ ..] = after {
            self.memoize(Meta::of(self.weight.wrapping_sub(before), facts))?;
            return Some(after);
        }
        Some(after)
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
        if let [op::MEMOIZE, after @ ..] = after {
            self.memoize(Meta::of(self.weight.wrapping_sub(before), tuple))?;
            return Some(after);
        }
        Some(after)
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

/// Whether the first `length` bytes, few of many, are ASCII. `false` proves nothing.
#[inline(always)]
fn is_short_ascii(bytes: &[u8], length: usize) -> bool {
    let Some(chunk) = bytes.first_chunk() else {
        return false;
    };
    let high = u128::from_le_bytes(*chunk) & 0x8080_8080_8080_8080_8080_8080_8080_8080;
    // What is beyond 16 bytes counts as not ASCII.
    high.trailing_zeros() as usize >= length.saturating_mul(8) && length <= 16
}

/// How many numbers this begins with, and what follows them.
#[inline(always)]
fn numbers(rest: &[u8]) -> (usize, &[u8]) {
    let mut after = rest;
    let mut count = 0_usize;
    loop {
        after = match after {
            [op::BINFLOAT, _, _, _, _, _, _, _, _, after @ ..]
            | [op::BININT, _, _, _, _, after @ ..]
            | [op::BININT2, _, _, after @ ..]
            | [op::BININT1, _, after @ ..] => after,
            _ => return (count, after),
        };
        count = count.wrapping_add(1);
    }
}

/// So many bytes as the four bytes before them say, and what follows.
fn block4(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = rest.split_first_chunk()?;
    after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::{prelude::*, sample::Index};

    use super::*;
    use crate::wire::pickle::{
        machine,
        programs::{budget, plain, program, roomy},
        scan::Scanner,
    };

    /// Checks that what is seen is what the machine finds out.
    fn compare(input: &[u8], budget: &Budget) -> Result<(), TestCaseError> {
        let Some(found) = look(input, budget) else {
            return Ok(());
        };
        let outcome = machine::run_by_steps(input, budget, Scanner { input });
        let Ok(outcome) = outcome else {
            return Err(TestCaseError::fail(format!("{:?}", outcome.err())));
        };
        let facts = |meta: Meta| (meta.is(Kind::Dict), meta.weight(), meta.depth());
        prop_assert_eq!(facts(found.meta), facts(outcome.meta));
        prop_assert_eq!(found.shared, outcome.shared);
        prop_assert_eq!(outcome.of_deltas(), None);
        prop_assert!(!outcome.dated && !outcome.opcode);
        Ok(())
    }

    /// What protocol 4 makes of `{'v': [0.5, (1.0,), [3], {'a': 'v'}], 'b': b'x'}`, and protocol 3.
    const PYTHON: [&[u8]; 2] = [
        b"\x80\x04\x95/\0\0\0\0\0\0\0}\x94(\x8c\x01v\x94]\x94(G?\xe0\0\0\0\0\0\0\
          G?\xf0\0\0\0\0\0\0\x85\x94]\x94K\x03a}\x94\x8c\x01a\x94h\x01se\x8c\x01b\x94C\x01x\x94u.",
        b"\x80\x03}q\0(X\x01\0\0\0vq\x01]q\x02(G?\xe0\0\0\0\0\0\0\
          G?\xf0\0\0\0\0\0\0\x85q\x03]q\x04K\x03a}q\x05X\x01\0\0\0aq\x06h\x01seX\x01\0\0\0bq\x07C\x01xq\x08u.",
    ];

    #[test]
    fn what_python_writes_is_seen() {
        for pickle in PYTHON {
            let found = look(pickle, &Budget::STRANGER).unwrap();
            assert!(found.meta.is(Kind::Dict));
            assert_eq!((found.meta.weight(), found.meta.depth()), (13, 3));
            assert!(!found.shared);
            compare(pickle, &Budget::STRANGER).unwrap();
        }
    }

    #[test]
    fn what_refers_to_a_list_is_left_to_the_machine() {
        assert!(look(b"\x80\x04](]\x94h\0e.", &Budget::NODE).is_none());
        let tuple = look(b"\x80\x04](]\x85\x94h\0e.", &Budget::NODE).unwrap();
        assert!(tuple.shared);
    }

    #[test]
    fn every_repetition_counts() {
        // Each level twice what is below: 2 ** 40 values.
        let levels = (0..40_u8).flat_map(|level| {
            [
                op::BINGET,
                level,
                op::BINGET,
                level,
                op::TUPLE2,
                op::MEMOIZE,
            ]
        });
        let bomb: Vec<u8> = [b"\x80\x04)\x94".to_vec(), levels.collect(), b".".to_vec()].concat();
        assert!(look(&bomb, &Budget::NODE).is_none());
        let few: Vec<u8> = [&bomb[..4 + 6 * 4], b"."].concat();
        compare(&few, &Budget::NODE).unwrap();
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(4096))]

        #[test]
        fn it_sees_what_the_steps_would((pickle, unaided) in plain(), small in budget(), change: Option<(Index, u8)>) {
            let mut input = pickle;
            if let Some((index, byte)) = change {
                *index.get_mut(&mut input) = byte;
            } else if unaided {
                let accepted = machine::run_by_steps(&input, &roomy(), Scanner { input: &input }).is_ok();
                prop_assert_eq!(look(&input, &roomy()).is_some(), accepted);
            }
            compare(&input, &roomy())?;
            compare(&input, &small)?;
        }

        #[test]
        fn nor_does_it_take_what_the_steps_refuse(pickle in program(), small in budget()) {
            let input = Bytes::from(pickle);
            compare(&input, &roomy())?;
            compare(&input, &small)?;
        }
    }
}
