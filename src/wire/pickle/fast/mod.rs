//! The fast way through pickles of plain data, which nearly all nodes are: numbers, strings,
//! `bytes`, lists, dicts and tuples. The scanner tries it first.
//!
//! It keeps no values and makes no errors: for everything that is wrong or out of the ordinary it
//! gives up, and the [`machine`](super::machine) goes through the pickle from the beginning. What
//! it accepts the machine would accept, with the same facts.

mod input;
mod look;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use self::look::{Look, Mark};
use super::{budget::Budget, meta::Meta, op};

/// Values not put anywhere yet that there is always room for. Python puts a thousand at a time into
/// lists and dicts.
const STACK: usize = 1 << 13;
/// Levels of containers.
const DEPTH: usize = 1 << 8;
/// Entries of the stack and the memo that are worth keeping for the next pickle.
const KEPT: usize = 1 << 15;
/// Longer pickles are left to the machine.
const LONGEST: usize = 1 << 30;

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
        // Not resized: the system gives large memory as zeros, and most of this stays untouched.
        desk.stack = vec![0; room];
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
