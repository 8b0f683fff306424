//! The names of things on the wire: who a link belongs to and which node is meant.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::{Hash, Hasher};

use bytes::Bytes;

/// The routing identity that joins the links of one client (16 raw uuid4 bytes in honest clients,
/// 1 to 255 bytes of any value by protocol). It is a bearer secret: its `Debug` and `Display`
/// show only the first bytes, so that it can be logged.
#[derive(Clone, Eq, PartialOrd, Ord)]
pub struct Identity(Bytes);

impl PartialEq for Identity {
    fn eq(&self, other: &Self) -> bool {
        // Most that are compared are clones.
        let clones = self.0.as_ptr() == other.0.as_ptr() && self.0.len() == other.0.len();
        clones || self.0 == other.0
    }
}

impl Hash for Identity {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl Identity {
    /// Longest identity either transport allows, in bytes.
    pub const MAX: usize = 255;

    /// An identity of 1 to 255 bytes; `None` for any other length.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (!bytes.is_empty() && bytes.len() <= Self::MAX).then(|| Self(Bytes::copy_from_slice(bytes)))
    }

    /// An identity nobody has sent, for want of a better one.
    pub fn anonymous() -> Self {
        Self(Bytes::from_static(b"anonymous"))
    }

    /// The raw bytes. Never to be relayed or logged.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0.iter().take(4) {
            write!(f, "{byte:02x}")?;
        }
        f.write_str("…")
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({self})")
    }
}

/// A node's uuid: 36 printable ASCII characters, kept exactly as the clients write it.
#[derive(Clone, Copy, Eq, PartialOrd, Ord)]
pub struct NodeId([u8; 36]);

/// Something for each of many nodes. Every message has its node looked up dozens of times, so the hash
/// is a fast one; with a seed, since users choose uuids.
pub type NodeMap<T> = HashMap<NodeId, T, foldhash::fast::RandomState>;
/// Many nodes.
pub type NodeSet = HashSet<NodeId, foldhash::fast::RandomState>;

impl PartialEq for NodeId {
    /// In words, without a branch: as an array it would be a call, byte by byte in some libraries.
    #[inline]
    fn eq(&self, other: &Self) -> bool {
        let (ours, _) = self.0.as_chunks::<4>();
        let (theirs, _) = other.0.as_chunks::<4>();
        let words = ours.iter().zip(theirs);
        words.fold(0, |different, (a, b)| {
            different | (u32::from_ne_bytes(*a) ^ u32::from_ne_bytes(*b))
        }) == 0
    }
}

impl Hash for NodeId {
    #[inline]
    fn hash<H: Hasher>(&self, state: &mut H) {
        let (words, rest) = self.0.as_chunks::<16>();
        for word in words {
            state.write_u128(u128::from_ne_bytes(*word));
        }
        for byte in rest.as_chunks::<4>().0 {
            state.write_u32(u32::from_ne_bytes(*byte));
        }
    }
}

impl NodeId {
    /// Reads a uuid of 36 printable ASCII characters; `None` for anything else.
    pub fn new(text: &[u8]) -> Option<Self> {
        let id: [u8; 36] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_graphic).then_some(Self(id))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only ASCII gets in; the fallback exists because nothing here may panic.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text's bytes.
    pub fn as_bytes(&self) -> &[u8; 36] {
        &self.0
    }
}

impl serde::Serialize for NodeId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
