//! Memory of small bodies, kept for the next ones.
//!
//! Messages come in bursts. An allocator that gives memory back to the system as soon as a page of it
//! is free (musl's does) gets and clears each page again with every burst, which took a third of
//! the CPU for small messages. Here `spare` looks first.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::spare::room;

/// Shorter pieces are left to the allocator, longer ones to `spare`.
pub(super) const SIZES: std::ops::RangeInclusive<usize> = 129..=16 * 1024;

/// Bytes kept at most.
const BYTES: usize = 2 * 1024 * 1024;

/// The least power of two a size is rounded within.
const LEAST: usize = 256;

/// Sizes between one power of two and the next, as [`room`] rounds.
const STEPS: usize = 16;

/// 256 to 16 KiB.
const CLASSES: usize = 7 * STEPS;

/// What nobody uses, by size.
struct Small {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
    /// The class that gives way next if there is too much.
    turn: usize,
}

static SMALL: Mutex<Small> = Mutex::new(Small::EMPTY);

fn small() -> MutexGuard<'static, Small> {
    SMALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Empty memory for a body of this length, if there is some to spare.
pub(super) fn take(len: usize) -> Option<Vec<u8>> {
    small().take(len)
}

/// Keeps a piece that nobody uses any more, or something else of its size, if there is room.
pub(super) fn keep(piece: Vec<u8>) {
    // What is freed is freed without the lock.
    let freed = small().keep(piece);
    drop(freed);
}

/// Gives everything to the system that nobody uses.
pub(super) fn clear() {
    let all = std::mem::replace(&mut *small(), Small::EMPTY);
    drop(all);
}

impl Small {
    const EMPTY: Self = Self {
        classes: [const { Vec::new() }; CLASSES],
        bytes: 0,
        turn: 0,
    };

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let class = class(len)?;
        let mut piece = self.classes.get_mut(class)?.pop()?;
        self.bytes = self.bytes.saturating_sub(piece.capacity());
        piece.clear();
        Some(piece)
    }

    /// Gives back what is not kept: the piece, and one of another size that gives way to those of
    /// this one.
    fn keep(&mut self, piece: Vec<u8>) -> Option<(Vec<u8>, Option<Vec<u8>>)> {
        let size = piece.capacity();
        let Some(class) = class(size).filter(|_| room(size) == size) else {
            return Some((piece, None));
        };
        if self.bytes.saturating_add(size) > BYTES {
            // Rather something of a size that is not in use now.
            self.turn = (self.turn + 1) % CLASSES;
            let turn = self.turn;
            let other = self.classes.get_mut(turn).filter(|_| turn != class);
            let other = other.and_then(Vec::pop);
            let freed = other.as_ref().map_or(0, Vec::capacity);
            self.bytes = self.bytes.saturating_sub(freed);
            return Some((piece, other));
        }
        self.bytes = self.bytes.saturating_add(size);
        if let Some(pieces) = self.classes.get_mut(class) {
            pieces.push(piece);
        }
        None
    }
}

/// Where a size belongs. `None` if it is none of those.
fn class(size: usize) -> Option<usize> {
    if !SIZES.contains(&size) {
        return None;
    }
    let power = size.checked_next_power_of_two()?;
    let step = power.checked_div(2 * STEPS)?;
    let row = power.checked_div(LEAST)?.checked_ilog2()? as usize;
    let column = room(size).checked_div(step)?.checked_sub(STEPS + 1)?;
    Some(row * STEPS + column)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_size_has_a_class_of_its_own() {
        let mut last = None;
        for size in SIZES {
            let class = class(size).unwrap();
            assert!(class < CLASSES, "{size}");
            let next = (class, room(size));
            match last {
                Some((before, room)) if before == class => assert_eq!(room, next.1, "{size}"),
                Some((before, _)) => assert_eq!(before + 1, class, "{size}"),
                None => assert_eq!(class, 0),
            }
            last = Some(next);
        }
        assert_eq!(last.unwrap().0, CLASSES - 1);
        assert_eq!(class(*SIZES.start() - 1), None);
        assert_eq!(class(*SIZES.end() + 1), None);
    }

    #[test]
    fn what_is_kept_is_bounded_and_fits() {
        let mut small = Small::EMPTY;
        assert_eq!(small.take(1000), None);
        let piece = Vec::with_capacity(room(1000));
        let at = piece.as_ptr();
        assert_eq!(small.keep(piece), None);
        assert_eq!(small.take(900), None);
        let again = small.take(1000).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        // What grew by itself fits no class.
        assert!(small.keep(Vec::with_capacity(room(1000) + 1)).is_some());

        for _ in 0..BYTES / 1024 {
            assert_eq!(small.keep(Vec::with_capacity(1024)), None);
        }
        assert!(small.keep(Vec::with_capacity(1024)).is_some());
        // Another size takes over.
        let mut kept = 0;
        for _ in 0..100 * CLASSES {
            kept += usize::from(small.keep(Vec::with_capacity(4096)).is_none());
            let pieces = small.classes.iter().flatten();
            assert_eq!(pieces.map(Vec::capacity).sum::<usize>(), small.bytes);
            assert!(small.bytes <= BYTES);
        }
        assert!(kept > 10, "{kept}");
    }
}
