//! What rows say: how each kind of body is written, and read again.
//!
//! [`read`] is what everybody reads rows with: the log when it is opened, `recover` when it
//! searches, and the step from format 1, whose rows are in `legacy`.

use std::sync::Arc;

use bytes::Bytes;

use super::Meta;
use super::legacy::Head;
use super::row::{self, END, From, Kind, open, seal};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

/// What stands before the payload in the body of a base or delta.
pub(super) const STATE: usize = 8 + 8;

/// Of a base: its version and the start of the tail. Of a delta: the version and its number.
pub(super) type State = (u64, u64);

/// What a row says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said<'a> {
    /// Here begins the segment of this number.
    Segment {
        number: u64,
        /// Length of the one before.
        before: u64,
    },
    /// What was written since the last of these has happened.
    Commit(Commit),
    /// How far the log goes.
    Mark(Mark),
    About(About),
    Links(Links),
    Base(State, Content<'a>),
    Delta(State, Content<'a>),
    /// All before it about this node is void.
    Gone,
    /// The session, in format 1.
    Session(Meta, u64),
    /// A node, in format 1.
    Head(Head),
}

impl Said<'_> {
    /// A copy of the payload that the row itself has; else nothing.
    pub(super) fn payload(&self) -> Bytes {
        match self {
            Self::Base(_, Content::Here(payload)) | Self::Delta(_, Content::Here(payload)) => {
                Bytes::copy_from_slice(payload)
            }
            _ => Bytes::new(),
        }
    }
}

/// Where the payload of a base or delta is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content<'a> {
    Here(&'a [u8]),
    /// In a file of its own.
    File {
        number: u64,
        /// Length of the payload.
        bytes: u64,
    },
}

/// The end of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Commit {
    /// Counts commits.
    pub(super) number: u64,
    /// The oldest segment that is still needed.
    pub(super) first: u64,
    pub(super) sequence: u64,
    pub(super) meta: Meta,
}

/// How far the log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last commit.
    pub(super) number: u64,
    /// The oldest segment that is still needed.
    pub(super) first: u64,
    /// The segment in which the last commit ends.
    pub(super) segment: u64,
    /// Where in that.
    pub(super) end: u64,
}

/// A node, apart from its links, base and deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct About {
    pub(super) place: u64,
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

/// The node a row is about and what it says, if it is sound.
pub(super) fn read(row: &[u8]) -> Option<(Option<NodeId>, Said<'_>)> {
    let (kind, id, body) = open(row)?;
    let mut from = From(body);
    let said = read_body(kind, &mut from)?;
    let of_nobody = matches!(
        said,
        Said::Segment { .. } | Said::Commit(_) | Said::Mark(_) | Said::Session(..)
    );
    (from.is_done() && id.is_none() == of_nobody).then_some((id, said))
}

fn read_body<'a>(kind: Kind, from: &mut From<'a>) -> Option<Said<'a>> {
    let said = match kind {
        Kind::Segment => Said::Segment {
            number: from.u64()?,
            before: from.u64()?,
        },
        Kind::Commit => Said::Commit(Commit {
            number: from.u64()?,
            first: from.u64()?,
            sequence: from.u64()?,
            meta: read_meta(from)?,
        }),
        Kind::Mark => Said::Mark(Mark {
            number: from.u64()?,
            first: from.u64()?,
            segment: from.u64()?,
            end: from.u64()?,
        }),
        Kind::About => Said::About(About {
            place: from.u64()?,
            owner: from.text()?.into(),
            kind: Bytes::copy_from_slice(from.bytes()?),
        }),
        Kind::Links => {
            let sequence = from.u64()?;
            let dependencies = from.names()?;
            let is_aside = from.flag()?;
            let aside = from.names()?;
            Said::Links(Links {
                sequence,
                dependencies,
                aside: is_aside.then_some(aside),
            })
        }
        Kind::Base => Said::Base(read_state(from)?, here(from)),
        Kind::Delta => Said::Delta(read_state(from)?, here(from)),
        Kind::BaseFile => Said::Base(read_state(from)?, read_file(from)?),
        Kind::DeltaFile => Said::Delta(read_state(from)?, read_file(from)?),
        Kind::Gone => Said::Gone,
        Kind::Session => {
            let sequence = from.u64()?;
            Said::Session(read_meta(from)?, sequence)
        }
        Kind::Head => Said::Head(Head::read(from)?),
    };
    Some(said)
}

/// The row at the start of a segment.
pub(super) fn segment(number: u64, before: u64) -> Vec<u8> {
    seal(Kind::Segment, None, &[&numbers([number, before])])
}

impl Commit {
    pub(super) fn row(&self) -> Vec<u8> {
        let family = match self.meta.family {
            None => 0,
            Some(Family::Marshal) => 1,
            Some(Family::TypedPickle) => 2,
            Some(Family::UntypedPickle) => 3,
        };
        let version = self.meta.version.as_deref();
        let flags = [
            u8::from(self.meta.active),
            family,
            u8::from(version.is_some()),
        ];
        let mut body = numbers([self.number, self.first, self.sequence]);
        body.extend(flags);
        text(&mut body, version.unwrap_or_default().as_bytes());
        seal(Kind::Commit, None, &[&body])
    }
}

fn read_meta(from: &mut From<'_>) -> Option<Meta> {
    let active = from.flag()?;
    let family = match from.u8()? {
        0 => None,
        1 => Some(Family::Marshal),
        2 => Some(Family::TypedPickle),
        3 => Some(Family::UntypedPickle),
        _ => return None,
    };
    let has_version = from.flag()?;
    let version = from.text()?;
    Some(Meta {
        family,
        version: has_version.then(|| version.to_owned()),
        active,
    })
}

impl Mark {
    pub(super) fn row(&self) -> Vec<u8> {
        let body = numbers([self.number, self.first, self.segment, self.end]);
        seal(Kind::Mark, None, &[&body])
    }
}

impl About {
    pub(super) fn row(&self, id: NodeId) -> Vec<u8> {
        let mut body = numbers([self.place]);
        text(&mut body, self.owner.as_bytes());
        text(&mut body, &self.kind);
        seal(Kind::About, Some(id), &[&body])
    }
}

/// The row of what a node needs.
pub(super) fn links(
    id: NodeId,
    sequence: u64,
    dependencies: &[NodeId],
    aside: Option<&[NodeId]>,
) -> Vec<u8> {
    let mut body = numbers([sequence]);
    names(&mut body, dependencies);
    body.push(u8::from(aside.is_some()));
    names(&mut body, aside.unwrap_or_default());
    seal(Kind::Links, Some(id), &[&body])
}

/// The row of a node that is deleted.
pub(super) fn gone(id: NodeId) -> Vec<u8> {
    seal(Kind::Gone, Some(id), &[])
}

pub(super) fn read_state(from: &mut From<'_>) -> Option<State> {
    Some((from.u64()?, from.u64()?))
}

/// The row of a [base](Kind::Base) or [delta](Kind::Delta), in parts: its payload, which may be
/// large, stays where it is.
pub(super) struct PayloadRow<'p> {
    start: Vec<u8>,
    payload: &'p [u8],
    sum: [u8; END],
}

impl<'p> PayloadRow<'p> {
    pub(super) fn new(kind: Kind, id: NodeId, (version, number): State, payload: &'p [u8]) -> Self {
        let body = STATE.saturating_add(payload.len());
        let mut start = row::start(kind, Some(id), body).to_vec();
        start.extend(numbers([version, number]));
        let mut sum = crc32fast::Hasher::new();
        sum.update(&start);
        sum.update(payload);
        Self {
            start,
            payload,
            sum: sum.finalize().to_le_bytes(),
        }
    }

    pub(super) fn parts(&self) -> [&[u8]; 3] {
        [&self.start, self.payload, &self.sum]
    }
}

fn here<'a>(from: &mut From<'a>) -> Content<'a> {
    Content::Here(std::mem::take(&mut from.0))
}

/// The row that says in which file a base or delta is, and how long its payload is.
pub(super) fn in_file(kind: Kind, id: NodeId, of: State, file: u64, bytes: u64) -> Vec<u8> {
    let (version, number) = of;
    seal(kind, Some(id), &[&numbers([version, number, file, bytes])])
}

fn read_file<'a>(from: &mut From<'a>) -> Option<Content<'a>> {
    let (number, bytes) = (from.u64()?, from.u64()?);
    Some(Content::File { number, bytes })
}

fn numbers<const N: usize>(numbers: [u64; N]) -> Vec<u8> {
    numbers.into_iter().flat_map(u64::to_le_bytes).collect()
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
