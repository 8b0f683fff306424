//! Memory for large payloads, straight from the system.
//!
//! A payload of megabytes is a fresh mapping with any allocator, and touching it for the first time
//! costs more than reading what goes there, 4 KiB at a time. It costs nothing where a mapping that
//! nobody uses any more serves again. Used by whatever reads large payloads: `store`, and
//! `wire::intake`.
//!
//! Large pages make the first touch cheaper by far where the machine has its memory to itself, and
//! dearer by far on a virtual one whose host takes free memory back, for that goes by large pages,
//! too. So `store` asks for them, which fills all of them at once when it loads; for what comes from
//! the network, hardly faster than pages of 4 KiB can be had, nobody does.

use std::fmt;
use std::ops::{Deref, DerefMut, RangeInclusive};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use memmap2::MmapMut;

use super::spare;

/// The size of a large page on most machines. What is smaller is left to the allocator.
pub(crate) const LARGE: usize = 2 << 20;

/// Bytes of mappings kept for the next payloads at most.
const SPARE: usize = 48 << 20;

/// Mappings nobody uses, in the order in which they came back.
struct Unused(Vec<MmapMut>);

static UNUSED: Mutex<Unused> = Mutex::new(Unused(Vec::new()));

fn unused() -> MutexGuard<'static, Unused> {
    UNUSED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Gives all mappings to the system that nobody uses.
pub(crate) fn clear() {
    let maps = std::mem::take(&mut unused().0);
    drop(maps);
}

impl Unused {
    fn take(&mut self, fits: &RangeInclusive<usize>) -> Option<MmapMut> {
        // What came back last is warm.
        let place = self.0.iter().rposition(|map| fits.contains(&map.len()))?;
        Some(self.0.remove(place))
    }

    /// Keeps a mapping. Gives back the oldest ones, of which there are too many then.
    fn keep(&mut self, map: MmapMut) -> Vec<MmapMut> {
        let mut oldest = Vec::new();
        self.0.push(map);
        while self.bytes() > SPARE {
            oldest.push(self.0.remove(0));
        }
        oldest
    }

    fn bytes(&self) -> usize {
        self.0.iter().map(|map| map.len()).sum()
    }
}

/// A buffer of fixed length that can become shared [`Bytes`] without a copy. What has not been
/// written to may hold anything this process held before: write all of it.
pub(crate) struct Buffer {
    memory: Memory,
    len: usize,
}

enum Memory {
    Mapped(Mapping),
    Heap(Vec<u8>),
}

/// A mapping that is kept when it is dropped.
struct Mapping(Option<MmapMut>);

impl Buffer {
    /// One of this length. Memory is taken as it is written to, if it is large.
    pub(crate) fn new(len: usize) -> Self {
        Self::mapped_by(len, |_| {})
    }

    /// The same in pages as large as the system has.
    pub(crate) fn in_large_pages(len: usize) -> Self {
        Self::mapped_by(len, |map| {
            #[cfg(target_os = "linux")]
            // A wish: without it, it only takes longer.
            let _ = map.advise(memmap2::Advice::HugePage);
            #[cfg(not(target_os = "linux"))]
            let _ = map;
        })
    }

    fn mapped_by(len: usize, prepare: impl FnOnce(&MmapMut)) -> Self {
        let memory = match mapped(len, prepare) {
            Some(map) => Memory::Mapped(Mapping(Some(map))),
            None => Memory::Heap(vec![0; len]),
        };
        Self { memory, len }
    }

    /// What was written, to be shared.
    pub(crate) fn freeze(self) -> Bytes {
        match self.memory {
            Memory::Mapped(_) => Bytes::from_owner(self),
            Memory::Heap(bytes) => bytes.into(),
        }
    }
}

/// `None` if it is small, or the system gives none that way: then the allocator is asked. A new one
/// is prepared.
fn mapped(len: usize, prepare: impl FnOnce(&MmapMut)) -> Option<MmapMut> {
    if len < LARGE {
        return None;
    }
    // A little more, so that it fits payloads of about the same length.
    let room = spare::room(len);
    let spare = unused().take(&(len..=room));
    if spare.is_some() {
        return spare;
    }
    let map = MmapMut::map_anon(room).ok()?;
    prepare(&map);
    Some(map)
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let Some(map) = self.0.take().filter(|map| map.len() <= SPARE) else {
            return;
        };
        // What is freed is freed without the lock.
        let oldest = unused().keep(map);
        drop(oldest);
    }
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let all = match &self.memory {
            Memory::Mapped(Mapping(map)) => map.as_deref().unwrap_or_default(),
            Memory::Heap(bytes) => bytes,
        };
        all.get(..self.len).unwrap_or_default()
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        let all = match &mut self.memory {
            Memory::Mapped(Mapping(map)) => map.as_deref_mut().unwrap_or_default(),
            Memory::Heap(bytes) => bytes,
        };
        all.get_mut(..self.len).unwrap_or_default()
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_shared_unchanged_whatever_its_length() {
        for len in [0, 1, LARGE - 1, LARGE, LARGE + 4097] {
            for mut buffer in [Buffer::new(len), Buffer::in_large_pages(len)] {
                assert_eq!(buffer.len(), len);
                for (at, byte) in buffer.iter_mut().enumerate() {
                    *byte = at as u8;
                }
                let bytes = buffer.freeze();
                assert_eq!(bytes.len(), len);
                let mut all = bytes.iter().enumerate();
                assert!(all.all(|(at, byte)| *byte == at as u8));
            }
        }
    }

    /// A length that no other test uses.
    const LEN: usize = 5 * LARGE + 333;

    #[test]
    fn a_mapping_serves_again_when_the_last_clone_is_gone() {
        // What other tests are done with may take its place at once, but not each time.
        let serves_again = (0..100).any(|_| {
            let mut buffer = Buffer::new(LEN);
            buffer.fill(1);
            let at = buffer.as_ptr();
            let bytes = buffer.freeze();
            let clone = bytes.slice(1..);
            drop(bytes);
            assert_ne!(Buffer::new(LEN).as_ptr(), at, "in use");
            drop(clone);
            let another = Buffer::new(LEN + 1000);
            (another.as_ptr(), another.len()) == (at, LEN + 1000)
        });
        assert!(serves_again);
    }

    #[test]
    fn what_is_kept_is_little_and_fits() {
        let map = |len| MmapMut::map_anon(len).unwrap();
        let mut unused = Unused(Vec::new());
        assert!(unused.keep(map(LARGE)).is_empty());
        assert!(unused.take(&(LARGE / 2..=LARGE - 1)).is_none(), "too large");
        assert!(unused.take(&(LARGE + 1..=2 * LARGE)).is_none(), "too small");
        assert!(unused.take(&(LARGE..=LARGE)).is_some());
        assert!(unused.take(&(LARGE..=LARGE)).is_none(), "taken already");
        for (len, freed) in [(2, 0), (2, 0), (4, 1), (1, 2)] {
            assert_eq!(unused.keep(map(SPARE / len)).len(), freed);
            assert!(unused.bytes() <= SPARE);
        }
        drop(Buffer::new(SPARE + 1).freeze());
        assert!(super::unused().0.iter().all(|map| map.len() <= SPARE));
    }
}
