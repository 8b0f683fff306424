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

static SPARE: Mutex<Spare> = Mutex::new(Spare::EMPTY);

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
    spare().take(len)
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

impl Spare {
    const EMPTY: Self = Self {
        pieces: VecDeque::new(),
        bytes: 0,
    };

    fn take(&mut self, len: usize) -> Option<Vec<u8>> {
        let wanted = len..=room(len);
        // What came back last is warm.
        let fits = |piece: &Vec<u8>| wanted.contains(&piece.capacity());
        let place = self.pieces.iter().rposition(fits)?;
        let mut piece = self.pieces.remove(place)?;
        self.bytes = self.bytes.saturating_sub(piece.capacity());
        piece.clear();
        Some(piece)
    }

    /// Keeps a piece. Gives back the oldest ones, of which there are too many then.
    fn keep(&mut self, piece: Vec<u8>) -> Vec<Vec<u8>> {
        let mut oldest = Vec::new();
        self.bytes = self.bytes.saturating_add(piece.capacity());
        self.pieces.push_back(piece);
        while self.bytes > BYTES || self.pieces.len() > PIECES {
            let Some(old) = self.pieces.pop_front() else {
                break;
            };
            self.bytes = self.bytes.saturating_sub(old.capacity());
            oldest.push(old);
        }
        oldest
    }
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
        // The small ones among all are no saving, but would take the places of large ones.
        if piece.capacity() > BYTES || piece.capacity() < *small::SIZES.start() {
            return;
        }
        if small::SIZES.contains(&piece.capacity()) {
            small::keep(piece);
            return;
        }
        // What is freed is freed without the lock.
        let oldest = spare().keep(piece);
        drop(oldest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A length that no other test uses.
    const LEN: usize = 3_333_333;

    #[test]
    fn memory_comes_back_when_the_last_clone_is_gone() {
        // What other tests are done with may take its place at once, but not each time.
        let comes_back = (0..100).any(|_| {
            let mut body = Vec::with_capacity(room(LEN));
            body.extend_from_slice(b"old");
            let (at, body) = (body.as_ptr(), share(body));
            let clone = body.slice(1..);
            drop(body);
            assert_eq!(take(LEN), None);
            assert_eq!(clone, "ld");
            drop(clone);
            take(LEN).is_some_and(|again| (again.as_ptr(), again.len()) == (at, 0))
        });
        assert!(comes_back);
    }

    #[test]
    fn what_is_kept_is_little_and_fits() {
        let mut spare = Spare::EMPTY;
        let piece = Vec::with_capacity(room(LEN));
        let at = piece.as_ptr();
        assert!(spare.keep(piece).is_empty());
        assert_eq!(spare.take(LEN / 2), None, "too large");
        let again = spare.take(LEN - 1000).unwrap();
        assert_eq!(again.as_ptr(), at);
        assert_eq!(spare.take(LEN), None);

        for len in [BYTES / 2, BYTES / 2, 1 << 20] {
            drop(spare.keep(Vec::with_capacity(len)));
            assert!(spare.bytes <= BYTES);
        }
        assert_eq!(spare.pieces.len(), 2);
        for _ in 0..2 * PIECES {
            drop(spare.keep(Vec::with_capacity(20_000)));
            let bytes: usize = spare.pieces.iter().map(Vec::capacity).sum();
            assert_eq!(spare.bytes, bytes);
        }
        assert_eq!(spare.pieces.len(), PIECES);
    }

    /// Short ones would take the places of large ones.
    #[test]
    fn short_memory_is_not_kept_nor_what_is_too_large() {
        for len in [*small::SIZES.start() - 1, BYTES + 1] {
            drop(share(Vec::with_capacity(len)));
        }
        let odd =
            |piece: &Vec<u8>| piece.capacity() < *small::SIZES.start() || piece.capacity() > BYTES;
        assert!(!spare().pieces.iter().any(odd));
    }

    #[test]
    fn rooms_are_little_larger() {
        for len in [0, 1, 100, 65_537, 1 << 20, (1 << 20) + 1, LEN, usize::MAX] {
            assert!(room(len) >= len && room(len) - len <= len / 16, "{len}");
        }
    }
}
