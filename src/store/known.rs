//! What of each node is on disk and where, kept in memory: a batch says how nodes are, and only
//! what is new of them is written.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::Path;

use bytes::Bytes;

use super::content::{About, Content, Links, Said, State};
use super::log::Log;
use super::row::Kind;
use super::segment::At;
use super::target::Target;
use super::{StoreError, Stored};
use crate::wire::identity::NodeId;

/// A node as it is on disk.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) about: About,
    about_at: At,
    /// Hash of its links, which may be many.
    links: u64,
    pub(super) links_at: At,
    pub(super) version: u64,
    pub(super) tail_start: u64,
    pub(super) base: Piece,
    pub(super) tail: Vec<Piece>,
}

/// A base or a delta.
#[derive(Clone, Copy, Debug)]
pub(super) struct Piece {
    /// Its row.
    pub(super) at: At,
    /// The file that has the payload, if that isn't in the row.
    pub(super) file: Option<u64>,
    /// Length of the payload.
    pub(super) bytes: u64,
}

/// All nodes on disk.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: HashMap<NodeId, Known>,
    hasher: RandomState,
}

/// What of a node is kept in the log alone.
#[derive(Debug, Default)]
pub(super) struct Part {
    pub(super) links: Links,
    /// Empty if it is in a file.
    pub(super) base: Bytes,
    /// The deltas in their order; empty are those that are in files.
    pub(super) tail: Vec<Bytes>,
}

/// What the log has said so far of a node. Payloads are empty unless they are kept.
#[derive(Debug, Default)]
struct Noted {
    about: Option<(About, At)>,
    links: Option<(u64, Links, At)>,
    base: Option<(State, Piece, Bytes)>,
    deltas: BTreeMap<State, (Piece, Bytes)>,
}

/// Learns from rows, as they come in the log.
#[derive(Debug, Default)]
pub(super) struct Scan {
    nodes: HashMap<NodeId, Noted>,
    hasher: RandomState,
    /// Whether what nodes are is kept as well, and not only where it is.
    keep: bool,
}

impl Scan {
    /// Learns what nodes are as well, apart from what is in files.
    pub(super) fn whole() -> Self {
        Self {
            keep: true,
            ..Self::default()
        }
    }

    /// Takes a row about a node; `None` if there is no such row in this format.
    pub(super) fn note(&mut self, at: At, id: NodeId, said: Said<'_>) -> Option<()> {
        if said == Said::Gone {
            self.nodes.remove(&id);
            return Some(());
        }
        let noted = self.nodes.entry(id).or_default();
        let payload = match self.keep {
            true => said.payload(),
            false => Bytes::new(),
        };
        match said {
            Said::About(about) => noted.about = Some((about, at)),
            Said::Links(mut links) => {
                let hash = hash(&self.hasher, &links.dependencies, links.aside.as_deref());
                if !self.keep {
                    links = Links::default();
                }
                noted.links = Some((hash, links, at));
            }
            Said::Base(state, content) => {
                let (version, start) = state;
                let counts = |(of, number): &State| *of == version && *number >= start;
                noted.deltas.retain(|delta, _| counts(delta));
                noted.base = Some((state, Piece::new(at, content), payload));
            }
            Said::Delta(state, content) => {
                let piece = Piece::new(at, content);
                noted.deltas.insert(state, (piece, payload));
            }
            _ => return None,
        }
        Some(())
    }

    /// The nodes, if nothing of any of them is missing. `each` is given what they are, without what
    /// is in files, if that was kept.
    pub(super) fn finish(
        self,
        path: &Path,
        mut each: impl FnMut(NodeId, &Known, Stored),
    ) -> Result<Nodes, StoreError> {
        let mut nodes = HashMap::with_capacity(self.nodes.len());
        for (id, noted) in self.nodes {
            let damaged =
                || StoreError::damaged(path, format!("something of node {id} is missing"));
            let (known, part) = noted.known().ok_or_else(damaged)?;
            if self.keep {
                each(id, &known, known.stored(part));
            }
            nodes.insert(id, known);
        }
        let hasher = self.hasher;
        Ok(Nodes { nodes, hasher })
    }
}

impl Noted {
    fn known(self) -> Option<(Known, Part)> {
        let (about, about_at) = self.about?;
        let (hash, links, links_at) = self.links?;
        let ((version, tail_start), base, payload) = self.base?;
        let mut next = tail_start;
        let mut tail = Vec::with_capacity(self.deltas.len());
        let mut deltas = Vec::with_capacity(self.deltas.len());
        for ((of, number), (piece, delta)) in self.deltas {
            if (of, number) != (version, next) {
                return None;
            }
            next = next.checked_add(1)?;
            tail.push(piece);
            deltas.push(delta);
        }
        let known = Known {
            about,
            about_at,
            links: hash,
            links_at,
            version,
            tail_start,
            base,
            tail,
        };
        let part = Part {
            links,
            base: payload,
            tail: deltas,
        };
        Some((known, part))
    }
}

impl Piece {
    fn new(at: At, content: Content<'_>) -> Self {
        let (file, bytes) = match content {
            Content::Here(payload) => (None, payload.len() as u64),
            Content::File { number, bytes } => (Some(number), bytes),
        };
        Self { at, file, bytes }
    }
}

impl Known {
    /// Bytes of its payloads.
    fn bytes(&self) -> u64 {
        let tail: u64 = self.tail.iter().map(|delta| delta.bytes).sum();
        self.base.bytes.saturating_add(tail)
    }

    /// The node, with these of its parts.
    pub(super) fn stored(&self, part: Part) -> Stored {
        Stored {
            place: self.about.place,
            owner: self.about.owner.clone(),
            kind: self.about.kind.clone(),
            dependencies: part.links.dependencies,
            version: self.version,
            base: part.base,
            // As many as were in memory once.
            tail_start: usize::try_from(self.tail_start).unwrap_or(usize::MAX),
            tail: part.tail,
            aside: part.links.aside,
        }
    }

    /// Its base and its deltas.
    pub(super) fn pieces(&self) -> impl Iterator<Item = &Piece> {
        std::iter::once(&self.base).chain(&self.tail)
    }

    fn rows(&self) -> impl Iterator<Item = At> {
        let pieces = self.pieces().map(|piece| piece.at);
        [self.about_at, self.links_at].into_iter().chain(pieces)
    }

    /// Where in the tail the delta with this state is.
    fn nth(&self, (version, number): State) -> Option<usize> {
        let nth = number.checked_sub(self.tail_start)?;
        usize::try_from(nth)
            .ok()
            .filter(|_| version == self.version)
    }

    /// Whether the row that stands there is the one that counts for what it says.
    pub(super) fn says(&self, at: At, said: &Said<'_>) -> bool {
        let place = match said {
            Said::About(_) => Some(self.about_at),
            Said::Links(_) => Some(self.links_at),
            Said::Base(..) => Some(self.base.at),
            Said::Delta(state, _) => {
                let delta = self.nth(*state).and_then(|nth| self.tail.get(nth));
                delta.map(|delta| delta.at)
            }
            _ => None,
        };
        place == Some(at)
    }

    /// That the row which says this stands here now.
    fn moved(&mut self, said: &Said<'_>, to: At) {
        match said {
            Said::About(_) => self.about_at = to,
            Said::Links(_) => self.links_at = to,
            Said::Base(..) => self.base.at = to,
            Said::Delta(state, _) => {
                let delta = self.nth(*state).and_then(|nth| self.tail.get_mut(nth));
                if let Some(delta) = delta {
                    delta.at = to;
                }
            }
            _ => {}
        }
    }
}

impl Nodes {
    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Known)> {
        self.nodes.iter().map(|(id, known)| (*id, known))
    }

    /// One of them.
    pub(super) fn get(&self, id: NodeId) -> Option<&Known> {
        self.nodes.get(&id)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Bytes of all payloads.
    pub(super) fn bytes(&self) -> u64 {
        self.nodes.values().map(Known::bytes).sum()
    }

    /// The files in which payloads are.
    pub(super) fn files(&self) -> HashSet<u64> {
        let pieces = self.nodes.values().flat_map(Known::pieces);
        pieces.filter_map(|piece| piece.file).collect()
    }

    /// Tells which rows count.
    pub(super) fn count_in(&self, log: &mut Log) {
        for at in self.nodes.values().flat_map(Known::rows) {
            log.counts(at);
        }
    }

    /// Whether this row counts: nothing later has replaced it.
    pub(super) fn has(&self, at: At, id: NodeId, said: &Said<'_>) -> bool {
        let known = self.nodes.get(&id);
        known.is_some_and(|known| known.says(at, said))
    }

    /// That the row about a node which says this stands here now.
    pub(super) fn moved(&mut self, id: NodeId, said: &Said<'_>, to: At) {
        if let Some(known) = self.nodes.get_mut(&id) {
            known.moved(said, to);
        }
    }

    /// Writes what is new of a node, `None` if it is deleted. After an error nothing here is right.
    pub(super) fn put(
        &mut self,
        id: NodeId,
        stored: Option<&Stored>,
        target: &mut Target<'_>,
    ) -> Result<(), StoreError> {
        let known = self.nodes.remove(&id);
        let Some(stored) = stored else {
            if let Some(known) = known {
                target.void(id, known.rows(), known.pieces())?;
            }
            return Ok(());
        };
        let tail_start = stored.tail_start as u64;
        let links = hash(&self.hasher, &stored.dependencies, stored.aside.as_deref());
        // Of the same state, deltas that were folded into the base go, those after them stay.
        let folded = known.as_ref().and_then(|known| {
            let folded = tail_start.checked_sub(known.tail_start)?;
            let folded = usize::try_from(folded).ok()?;
            let staying = known.tail.len().checked_sub(folded)?;
            let same = known.version == stored.version && staying <= stored.tail.len();
            same.then_some(folded)
        });
        let known = match known {
            // Deltas of the same version which are on disk are none of it any more.
            Some(known) if folded.is_none() && known.version == stored.version => {
                target.void(id, known.rows(), known.pieces())?;
                None
            }
            known => known,
        };
        let known = match known {
            Some(mut known) => {
                let gone: Vec<_> = known
                    .tail
                    .drain(..folded.unwrap_or(known.tail.len()))
                    .collect();
                target.gone(gone.iter().map(|delta| delta.at), &gone);
                if folded.is_none() || known.tail_start != tail_start {
                    target.gone([known.base.at], [&known.base]);
                    known.base = target.base(id, stored)?;
                }
                let about = stored.about();
                if known.about != about {
                    target.gone([known.about_at], []);
                    known.about_at = target.row(&[&about.row(id)])?;
                    known.about = about;
                }
                if known.links != links {
                    target.gone([known.links_at], []);
                    known.links_at = target.links(id, stored)?;
                }
                known
            }
            None => {
                let about = stored.about();
                Known {
                    about_at: target.row(&[&about.row(id)])?,
                    about,
                    links,
                    links_at: target.links(id, stored)?,
                    version: stored.version,
                    tail_start,
                    base: target.base(id, stored)?,
                    tail: Vec::new(),
                }
            }
        };
        let mut known = Known {
            links,
            version: stored.version,
            tail_start,
            ..known
        };
        let staying = known.tail.len();
        let numbers = tail_start.saturating_add(staying as u64)..;
        for (number, delta) in numbers.zip(stored.tail.iter().skip(staying)) {
            let state = (stored.version, number);
            let piece = target.payload(Kind::Delta, id, state, delta)?;
            known.tail.push(piece);
        }
        self.nodes.insert(id, known);
        Ok(())
    }
}

impl Stored {
    fn about(&self) -> About {
        About {
            place: self.place,
            owner: self.owner.clone(),
            kind: self.kind.clone(),
        }
    }
}

fn hash(hasher: &RandomState, dependencies: &[NodeId], aside: Option<&[NodeId]>) -> u64 {
    hasher.hash_one((dependencies, aside))
}
