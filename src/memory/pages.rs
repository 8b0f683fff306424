//! Memory for large payloads: straight from the system, in pages as large as it has.
//!
//! A payload of megabytes is a fresh mapping with any allocator, and touching it for the first time
//! costs more than reading what goes there, 4 KiB at a time. With large pages it costs a fifth. Used
//! by whatever reads large payloads: `store`, and `wire::intake`.

use std::fmt;
use std::ops::{Deref, DerefMut};

use bytes::Bytes;
use memmap2::MmapMut;

/// The size of a large page on most machines. What is smaller is left to the allocator.
pub(crate) const LARGE: usize = 2 << 20;

/// A buffer of fixed length, zero at first, that can become shared [`Bytes`] without a copy.
pub(crate) enum Buffer {
    Mapped(MmapMut),
    Heap(Vec<u8>),
}

impl Buffer {
    /// One of this length. Memory is taken as it is written to, if it is large.
    pub(crate) fn new(len: usize) -> Self {
        match mapped(len) {
            Some(map) => Self::Mapped(map),
            None => Self::Heap(vec![0; len]),
        }
    }

    /// What was written, to be shared.
    pub(crate) fn freeze(self) -> Bytes {
        match self {
            Self::Mapped(map) => Bytes::from_owner(map),
            Self::Heap(bytes) => bytes.into(),
        }
    }
}

/// `None` if it is small, or the system gives none that way: then the allocator is asked.
fn mapped(len: usize) -> Option<MmapMut> {
    if len < LARGE {
        return None;
    }
    let map = MmapMut::map_anon(len).ok()?;
    #[cfg(target_os = "linux")]
    // A wish: without it, it only takes longer.
    let _ = map.advise(memmap2::Advice::HugePage);
    Some(map)
}

impl Deref for Buffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Heap(bytes) => bytes,
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({})", self.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_shared_unchanged_whatever_its_length() {
        for len in [0, 1, LARGE - 1, LARGE, LARGE + 4097] {
            let mut buffer = Buffer::new(len);
            assert!(buffer.iter().all(|byte| *byte == 0));
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
