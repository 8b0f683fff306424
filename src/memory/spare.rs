//! Memory of large bodies, kept for the next ones.
//!
//! An allocator that gives large pieces back to the system at once (musl's does) gets them page by
//! page again, which takes as long as receiving what comes into them. Where one state of a node
//! takes the place of another all day, the memory of the older ones serves for the newer ones.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use super::small;

/// Bytes kept at most, and pieces: looking through them must cost nothing.
const BYTES: usize = 16 * 1024 * 1024;
const PIECES: usize = 64;

/// What nobody uses, in the order in which it came back.
#[derive(Debug, Default)]
struct Spare {
    pieces: VecDeque<Vec<u8>>,
    bytes: usize,
}

static SPARE: Mutex<Spare> = Mutex::new(Spare {
    pieces: VecDeque::new(),
    bytes: 0,
});

fn spare() -> MutexGuard<'static, Spare> {
    SPARE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The capacity for a body of this length: up to a sixteenth more, so that what comes back fits
/// bodies of about the same length.
pub(crate) fn room(len: usize) -> usize {
    let step = len
        .checked_next_power_of_two()
        .map_or(1, |power| power / 32);
    len.checked_next_multiple_of(step.max(1)).unwrap_or(len)
}

/// Empty memory for a body of this length, if there is some to spare.
pub(crate) fn take(len: usize) -> Option<Vec<u8>> {
    if small::SIZES.contains(&len) {
        return small::take(len);
    }
    let wanted = len..=room(len);
    let mut spare = spare();
    // What came back last is warm.
    let fits = |piece: &Vec<u8>| wanted.contains(&piece.capacity());
    let place = spare.pieces.iter().rposition(fits)?;
    let mut piece = spare.pieces.remove(place)?;
    spare.bytes = spare.bytes.saturating_sub(piece.capacity());
    piece.clear();
    Some(piece)
}

/// Empty memory for a body of this length.
pub(crate) fn empty(len: usize) -> Vec<u8> {
    take(len).unwrap_or_else(|| Vec::with_capacity(room(len)))
}

/// A copy in memory of its own, which comes back here when nobody needs it any more.
pub(crate) fn copy(body: &[u8]) -> Bytes {
    if body.len() < *small::SIZES.start() {
        return Bytes::copy_from_slice(body);
    }
    let mut copy = empty(body.len());
    copy.extend_from_slice(body);
    share(copy)
}

/// A body whose memory comes back here when nobody needs it any more.
pub(crate) fn share(body: Vec<u8>) -> Bytes {
    Bytes::from_owner(Lent(body))
}

/// Gives everything to the system that nobody uses.
pub(crate) fn clear() {
    small::clear();
    let unused = std::mem::take(&mut *spare());
    drop(unused);
}

#[derive(Debug)]
struct Lent(Vec<u8>);

impl AsRef<[u8]> for Lent {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        let piece = std::mem::take(&mut self.0);
        // What is freed is freed without the lock.
        let mut oldest = Vec::new();
        // The small ones among all are no saving, but would take the places of large ones.
        if piece.capacity() > BYTES || piece.capacity() < *small::SIZES.start() {
            return;
        }
        if small::SIZES.contains(&piece.capacity()) {
            drop(small::keep(piece));
            return;
        }
        let mut spare = spare();
        spare.bytes = spare.bytes.saturating_add(piece.capacity());
        spare.pieces.push_back(piece);
        while spare.bytes > BYTES || spare.pieces.len() > PIECES {
            let Some(old) = spare.pieces.pop_front() else {
                break;
            };
            spare.bytes = spare.bytes.saturating_sub(old.capacity());
            oldest.push(old);
        }
        drop(spare);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length that no other test uses.
    const LEN: usize = 3_333_333;

    #[test]
    fn memory_comes_back_when_the_last_clone_is_gone() {
        let mut body = Vec::with_capacity(room(LEN));
        body.extend_from_slice(b"old");
        let (at, body) = (body.as_ptr(), share(body));
        let clone = body.slice(1..);
        drop(body);
        assert_eq!(take(LEN), None);
        assert_eq!(clone, "ld");
        drop(clone);
        assert_eq!(take(LEN / 2), None, "too large");
        let again = take(LEN - 1000).unwrap();
        assert_eq!((again.as_ptr(), again.len()), (at, 0));
        assert_eq!(take(LEN), None);
        drop(again);

        // Little is kept.
        for len in [BYTES + 1, BYTES / 2, BYTES / 2, 1 << 20] {
            drop(share(Vec::with_capacity(len)));
        }
        for _ in 0..2 * PIECES {
            drop(share(Vec::with_capacity(100)));
        }
        let spare = spare();
        assert!(spare.bytes <= BYTES && spare.pieces.len() <= PIECES);
    }

    /// They would take the places of large ones.
    #[test]
    fn short_memory_is_not_kept() {
        drop(share(Vec::with_capacity(*small::SIZES.start() - 1)));
        let short = |piece: &Vec<u8>| piece.capacity() < *small::SIZES.start();
        assert!(!spare().pieces.iter().any(short));
    }

    #[test]
    fn rooms_are_little_larger() {
        for len in [0, 1, 100, 65_537, 1 << 20, (1 << 20) + 1, LEN, usize::MAX] {
            assert!(room(len) >= len && room(len) - len <= len / 16, "{len}");
        }
    }
}
