//! How a row is written: what it is, how long, whose, its body, and a checksum over all of that.
//! What bodies say is in `content`.
//!
//! Rows say all of this themselves, though who reads them mostly knows it: so a row in the wrong
//! place is noticed, and `recover` finds rows between what is damaged. Numbers are little-endian.
//! Reading never panics, and takes no more memory than the row has bytes.

use crate::wire::identity::NodeId;

/// What all rows begin with. The last byte is the kind.
pub(super) const MAGIC: &[u8; 7] = b"mus-row";
/// Magic, kind, length of the body, node.
pub(super) const START: usize = 7 + 1 + 8 + NODE;
/// The checksum.
pub(super) const END: usize = 4;
/// Length of a node's name.
pub(super) const NODE: usize = 36;
/// In the place of a node's name, where a row is about none. No name has spaces.
const NOBODY: &[u8; NODE] = &[b' '; NODE];

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The start of a segment.
    Segment,
    /// What was before it since the last one has happened.
    Commit,
    /// How far the log goes.
    Mark,
    /// A node, apart from what is in the other rows.
    About,
    /// What a node needs.
    Links,
    /// A node's whole state.
    Base,
    /// A node's whole state is in a file.
    BaseFile,
    /// A change of it.
    Delta,
    /// A change of it is in a file.
    DeltaFile,
    /// All before this about the node is void.
    Gone,
    /// The session, in format 1.
    Session,
    /// A node, in format 1.
    Head,
}

impl Kind {
    const ALL: [(Self, u8); 12] = [
        (Self::Segment, b'G'),
        (Self::Commit, b'C'),
        (Self::Mark, b'M'),
        (Self::About, b'A'),
        (Self::Links, b'L'),
        (Self::Base, b'B'),
        (Self::BaseFile, b'b'),
        (Self::Delta, b'D'),
        (Self::DeltaFile, b'd'),
        (Self::Gone, b'X'),
        (Self::Session, b'S'),
        (Self::Head, b'H'),
    ];

    fn byte(self) -> u8 {
        let mut all = Self::ALL.into_iter();
        let found = all.find(|(kind, _)| *kind == self);
        found.map_or(0, |(_, byte)| byte)
    }

    fn of(byte: u8) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|(_, known)| *known == byte).map(|(kind, _)| kind)
    }
}

/// The start of a row with a body of this length.
pub(super) fn start(kind: Kind, id: Option<NodeId>, body: usize) -> [u8; START] {
    let name = id.as_ref().map_or(NOBODY, NodeId::as_bytes);
    let len = (body as u64).to_le_bytes();
    let bytes = MAGIC.iter().copied().chain([kind.byte()]);
    let bytes = bytes.chain(len).chain(name.iter().copied());
    let mut row = [0; START];
    for (to, from) in row.iter_mut().zip(bytes) {
        *to = from;
    }
    row
}

/// A whole row.
pub(super) fn seal(kind: Kind, id: Option<NodeId>, body: &[&[u8]]) -> Vec<u8> {
    let len = body.iter().map(|part| part.len()).sum::<usize>();
    let mut row = Vec::with_capacity(len.saturating_add(START + END));
    row.extend_from_slice(&start(kind, id, len));
    for part in body {
        row.extend_from_slice(part);
    }
    let sum = crc32fast::hash(&row);
    row.extend_from_slice(&sum.to_le_bytes());
    row
}

/// What the start of a row says: its kind, its node, the length of the whole row.
pub(super) fn read_start(bytes: &[u8]) -> Option<(Kind, Option<NodeId>, u64)> {
    let mut from = From(bytes);
    from.take(MAGIC.len()).filter(|magic| magic == MAGIC)?;
    let kind = Kind::of(from.u8()?)?;
    let body = from.u64()?;
    let id = match from.take(NODE)? {
        name if name == NOBODY => None,
        name => Some(NodeId::new(name)?),
    };
    let whole = body.checked_add((START + END) as u64)?;
    Some((kind, id, whole))
}

/// The kind, the node and the body of a row, if it is sound.
pub(super) fn open(row: &[u8]) -> Option<(Kind, Option<NodeId>, &[u8])> {
    let (kind, id, len) = read_start(row)?;
    let (sealed, sum) = row.split_last_chunk::<END>()?;
    let sound = len == row.len() as u64 && crc32fast::hash(sealed).to_le_bytes() == *sum;
    let body = sealed.get(START..).filter(|_| sound)?;
    Some((kind, id, body))
}

/// What is left to read of a body.
pub(super) struct From<'a>(pub(super) &'a [u8]);

impl<'a> From<'a> {
    pub(super) fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(len)?;
        self.0 = left;
        Some(taken)
    }

    pub(super) fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub(super) fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u64()?.try_into().ok()?;
        self.take(len)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub(super) fn names(&mut self) -> Option<Vec<NodeId>> {
        let count: usize = self.u64()?.try_into().ok()?;
        let all = self.take(count.checked_mul(NODE)?)?;
        all.chunks_exact(NODE).map(NodeId::new).collect()
    }

    pub(super) fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
