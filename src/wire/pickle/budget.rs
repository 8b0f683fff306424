//! How much of our memory and time a pickle may take. The codecs choose one by who is speaking.

/// How much a pickle may ask for. Everything is checked while it is read, before memory is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes of the pickle.
    pub bytes: usize,
    /// Levels of containers in each other; no more than 32 767 count. (Users nest below 100.)
    pub depth: usize,
    /// Values when written out: what a pickle refers to repeatedly counts each time, and then
    /// every 64 bytes of a string count as one more.
    pub items: usize,
    /// Values a pickle may refer to later. Python remembers every string and container.
    pub memo: usize,
    /// Values waiting to be put into a container. Python puts 1000 at a time into lists, dicts and
    /// sets, but all at once into tuples and frozensets.
    pub stack: usize,
}

impl Budget {
    /// For whom nobody knows yet: room for a login with some metadata.
    pub const STRANGER: Self = Self {
        bytes: 16 << 10,
        depth: 32,
        items: 1 << 10,
        memo: 1 << 10,
        stack: 1 << 10,
    };

    /// For commands of users: room for a list of all nodes of a large session.
    pub const COMMAND: Self = Self {
        bytes: 1 << 31,
        depth: 100,
        items: 1 << 18,
        memo: 1 << 18,
        stack: 1 << 16,
    };

    /// For nodes and deltas. In memory an item takes up to two hundred bytes ([`cost`](super::cost())).
    pub const NODE: Self = Self {
        bytes: 1 << 31,
        depth: 256,
        items: 1 << 23,
        memo: 1 << 22,
        stack: 1 << 20,
    };

    /// For nodes and deltas of so many bytes, levels and values.
    #[must_use]
    pub fn node(bytes: usize, depth: usize, items: usize) -> Self {
        Self {
            bytes,
            depth,
            items,
            memo: (items / 2).max(1 << 10),
            stack: (items / 8).max(1 << 10),
        }
    }

    /// The values that are allowed. Weights stop at `u32::MAX`, which must always be too much.
    #[inline]
    pub(super) fn max_items(&self) -> usize {
        self.items.min((u32::MAX >> 1) as usize)
    }

    /// The same with another limit of bytes.
    #[must_use]
    pub const fn with_bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }
}
