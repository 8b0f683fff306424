//! How a row is written: what it is, how long, whose, its body, and a checksum over all of that.
//!
//! Rows say all of this themselves, though the index knows it too: so a row in the wrong place is
//! noticed, and `recover` finds rows in a file that is no index any more. Numbers are little-endian.
//! Reading never panics, and takes no more memory than the row has bytes.

use std::sync::Arc;

use bytes::Bytes;

use super::{Meta, Stored};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

/// What all rows begin with. The last byte is the kind.
pub(super) const MAGIC: &[u8; 7] = b"mus-row";
/// Magic, kind, length of the body, node.
pub(super) const START: usize = 7 + 1 + 8 + NODE;
/// The checksum.
pub(super) const END: usize = 4;
/// Length of a node's name.
pub(super) const NODE: usize = 36;
/// What stands before the payload in the body of a base.
pub(super) const BASE_START: usize = 8 + 8;
/// In the place of a node's name, where a row is about none. No name has spaces.
const NOBODY: &[u8; NODE] = &[b' '; NODE];

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The session.
    Session,
    /// A node, apart from what is in the other rows.
    Head,
    /// What a node needs.
    Links,
    /// A node's whole state.
    Base,
    /// A change of it.
    Delta,
}

impl Kind {
    fn byte(self) -> u8 {
        match self {
            Self::Session => b'S',
            Self::Head => b'H',
            Self::Links => b'L',
            Self::Base => b'B',
            Self::Delta => b'D',
        }
    }

    fn of(byte: u8) -> Option<Self> {
        let all = [
            Self::Session,
            Self::Head,
            Self::Links,
            Self::Base,
            Self::Delta,
        ];
        all.into_iter().find(|kind| kind.byte() == byte)
    }
}

/// Where a node's base is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    /// In a row of the index.
    Row,
    /// In the file of this number.
    File(u64),
}

impl Home {
    /// The number of the file.
    pub(super) fn file(self) -> Option<u64> {
        match self {
            Self::Row => None,
            Self::File(number) => Some(number),
        }
    }
}

/// A node, apart from its links, base and deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The batch that wrote it.
    pub(super) sequence: u64,
    pub(super) place: u64,
    pub(super) version: u64,
    pub(super) tail_start: u64,
    pub(super) home: Home,
    pub(super) owner: Arc<str>,
    pub(super) kind: Bytes,
}

/// What a node needs, and what needed it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Links {
    /// The batch that wrote it.
    pub(super) sequence: u64,
    pub(super) dependencies: Vec<NodeId>,
    pub(super) aside: Option<Vec<NodeId>>,
}

/// The start of a row with a body of this length.
pub(super) fn start(kind: Kind, id: Option<NodeId>, body: usize) -> Vec<u8> {
    let mut row = Vec::with_capacity(START.saturating_add(BASE_START));
    row.extend_from_slice(MAGIC);
    row.push(kind.byte());
    row.extend_from_slice(&(body as u64).to_le_bytes());
    row.extend_from_slice(match &id {
        Some(id) => id.as_bytes(),
        None => NOBODY,
    });
    row
}

fn seal(kind: Kind, id: Option<NodeId>, body: &[&[u8]]) -> Vec<u8> {
    let len = body.iter().map(|part| part.len()).sum::<usize>();
    let mut row = start(kind, id, len);
    row.reserve_exact(len.saturating_add(END));
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

/// The body of a row of this kind about this node, if the row is sound.
pub(super) fn open(row: &[u8], kind: Kind, id: Option<NodeId>) -> Option<&[u8]> {
    if read_start(row)? != (kind, id, row.len() as u64) {
        return None;
    }
    let (sealed, sum) = row.split_last_chunk::<END>()?;
    if crc32fast::hash(sealed).to_le_bytes() != *sum {
        return None;
    }
    sealed.get(START..)
}

/// The row of the session.
pub(super) fn session(meta: &Meta, sequence: u64) -> Vec<u8> {
    let family = match meta.family {
        None => 0,
        Some(Family::Marshal) => 1,
        Some(Family::TypedPickle) => 2,
        Some(Family::UntypedPickle) => 3,
    };
    let mut body = sequence.to_le_bytes().to_vec();
    body.extend([
        u8::from(meta.active),
        family,
        u8::from(meta.version.is_some()),
    ]);
    text(
        &mut body,
        meta.version.as_deref().unwrap_or_default().as_bytes(),
    );
    seal(Kind::Session, None, &[&body])
}

pub(super) fn read_session(row: &[u8]) -> Option<(Meta, u64)> {
    let mut from = From(open(row, Kind::Session, None)?);
    let sequence = from.u64()?;
    let active = from.flag()?;
    let family = match from.u8()? {
        0 => None,
        1 => Some(Family::Marshal),
        2 => Some(Family::TypedPickle),
        3 => Some(Family::UntypedPickle),
        _ => return None,
    };
    let has_version = from.flag()?;
    let version = std::str::from_utf8(from.text()?).ok()?;
    let version = has_version.then(|| version.to_owned());
    let meta = Meta {
        family,
        version,
        active,
    };
    from.is_done().then_some((meta, sequence))
}

impl Head {
    /// Whether another says the same, whenever it was written.
    pub(super) fn says_the_same(&self, other: &Self) -> bool {
        let sequence = self.sequence;
        *self
            == Self {
                sequence,
                ..other.clone()
            }
    }

    pub(super) fn row(&self, id: NodeId) -> Vec<u8> {
        let mut body = Vec::with_capacity(64);
        for number in [self.sequence, self.place, self.version, self.tail_start] {
            body.extend(number.to_le_bytes());
        }
        // No file has the number 0.
        body.extend(self.home.file().unwrap_or_default().to_le_bytes());
        text(&mut body, self.owner.as_bytes());
        text(&mut body, &self.kind);
        seal(Kind::Head, Some(id), &[&body])
    }

    pub(super) fn read(row: &[u8], id: NodeId) -> Option<Self> {
        let mut from = From(open(row, Kind::Head, Some(id))?);
        let head = Self {
            sequence: from.u64()?,
            place: from.u64()?,
            version: from.u64()?,
            tail_start: from.u64()?,
            home: match from.u64()? {
                0 => Home::Row,
                number => Home::File(number),
            },
            owner: std::str::from_utf8(from.text()?).ok()?.into(),
            kind: Bytes::copy_from_slice(from.text()?),
        };
        from.is_done().then_some(head)
    }
}

/// The row of what a node needs.
pub(super) fn links(id: NodeId, stored: &Stored, sequence: u64) -> Vec<u8> {
    let mut body = sequence.to_le_bytes().to_vec();
    names(&mut body, &stored.dependencies);
    body.push(u8::from(stored.aside.is_some()));
    names(&mut body, stored.aside.as_deref().unwrap_or_default());
    seal(Kind::Links, Some(id), &[&body])
}

pub(super) fn read_links(row: &[u8], id: NodeId) -> Option<Links> {
    let mut from = From(open(row, Kind::Links, Some(id))?);
    let sequence = from.u64()?;
    let dependencies = from.names()?;
    let is_aside = from.flag()?;
    let aside = from.names()?;
    let links = Links {
        sequence,
        dependencies,
        aside: is_aside.then_some(aside),
    };
    from.is_done().then_some(links)
}

/// The start of the body of a base: which state it is.
pub(super) fn base_start(version: u64, tail_start: u64) -> [u8; BASE_START] {
    let mut start = [0; BASE_START];
    let (first, second) = start.split_at_mut(8);
    first.copy_from_slice(&version.to_le_bytes());
    second.copy_from_slice(&tail_start.to_le_bytes());
    start
}

/// Which state a base is: the version and the start of the tail.
pub(super) fn read_base_start(start: &[u8; BASE_START]) -> Option<(u64, u64)> {
    let mut from = From(start);
    Some((from.u64()?, from.u64()?))
}

/// The row of a base.
pub(super) fn base(id: NodeId, version: u64, tail_start: u64, payload: &[u8]) -> Vec<u8> {
    let start = base_start(version, tail_start);
    seal(Kind::Base, Some(id), &[&start, payload])
}

/// The version, the start of the tail and the payload.
pub(super) fn read_base(row: &[u8], id: NodeId) -> Option<(u64, u64, &[u8])> {
    let mut from = From(open(row, Kind::Base, Some(id))?);
    Some((from.u64()?, from.u64()?, from.0))
}

/// The row of a delta.
pub(super) fn delta(id: NodeId, version: u64, number: u64, delta: &[u8]) -> Vec<u8> {
    let start = base_start(version, number);
    seal(Kind::Delta, Some(id), &[&start, delta])
}

/// The node, the version, the number and the delta.
pub(super) fn read_delta(row: &[u8]) -> Option<(NodeId, u64, u64, &[u8])> {
    let (_, id, _) = read_start(row)?;
    let mut from = From(open(row, Kind::Delta, id)?);
    Some((id?, from.u64()?, from.u64()?, from.0))
}

fn text(body: &mut Vec<u8>, text: &[u8]) {
    body.extend((text.len() as u64).to_le_bytes());
    body.extend_from_slice(text);
}

fn names(body: &mut Vec<u8>, nodes: &[NodeId]) {
    body.extend((nodes.len() as u64).to_le_bytes());
    for node in nodes {
        body.extend_from_slice(node.as_bytes());
    }
}

/// What is left to read.
struct From<'a>(&'a [u8]);

impl<'a> From<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, left) = self.0.split_at_checked(len)?;
        self.0 = left;
        Some(taken)
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn flag(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    fn u64(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn text(&mut self) -> Option<&'a [u8]> {
        let len = self.u64()?.try_into().ok()?;
        self.take(len)
    }

    fn names(&mut self) -> Option<Vec<NodeId>> {
        let count: usize = self.u64()?.try_into().ok()?;
        let all = self.take(count.checked_mul(NODE)?)?;
        all.chunks_exact(NODE).map(NodeId::new).collect()
    }

    fn is_done(&self) -> bool {
        self.0.is_empty()
    }
}
