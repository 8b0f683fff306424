//! Reads nodes: all at once when a session starts, or one after the other with little memory.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use bytes::Bytes;

use super::content::{self, Content, Links, Said};
use super::disk::{Disk, DiskFile, How};
use super::known::{Known, Piece};
use super::log::Log;
use super::row::Kind;
use super::segment;
use super::{Meta, Store, StoreError, Stored, payloads};
use crate::wire::identity::NodeId;

/// What the log itself has of a node.
#[derive(Debug, Default)]
struct Part {
    links: Links,
    base: Bytes,
    /// By number.
    tail: BTreeMap<u64, Bytes>,
}

impl Part {
    /// Takes what a row says.
    fn take(&mut self, said: Said<'_>) {
        match said {
            Said::Links(links) => self.links = links,
            Said::Base(_, Content::Here(base)) => self.base = Bytes::copy_from_slice(base),
            Said::Delta((_, number), Content::Here(delta)) => {
                self.tail.insert(number, Bytes::copy_from_slice(delta));
            }
            _ => {}
        }
    }
}

impl Store {
    /// Gives all nodes, in any order; returns the session and the sequence of the last commit.
    ///
    /// # Errors
    /// If something cannot be read or is damaged. What was given until then is to be dropped.
    pub fn load(
        &mut self,
        mut each: impl FnMut(NodeId, Stored),
    ) -> Result<(Meta, u64), StoreError> {
        if self.log.is_none() {
            self.reopen()?;
        }
        let log = self.log()?;
        let mut parts = HashMap::<_, Part>::with_capacity(self.nodes.len());
        for number in log.numbers() {
            let mut rows = log.rows(number)?;
            let path = rows.path().to_owned();
            while let Some((at, row)) = rows.next()? {
                let Some((id, said)) = content::read(row) else {
                    return Err(segment::damaged(&path, at.offset));
                };
                if let Some(id) = id.filter(|id| self.nodes.has(at, *id, &said)) {
                    parts.entry(id).or_default().take(said);
                }
            }
        }
        for (id, known) in self.nodes.iter() {
            let part = parts.remove(&id).unwrap_or_default();
            each(id, assemble(&*self.disk, &self.dir, id, known, part)?);
        }
        Ok((self.meta.clone(), self.sequence))
    }

    /// The nodes, in the order of their places.
    pub fn ids(&self) -> Vec<NodeId> {
        let mut ids: Vec<_> = self
            .nodes
            .iter()
            .map(|(id, known)| (known.about.place, id))
            .collect();
        ids.sort_unstable_by_key(|(place, _)| *place);
        ids.into_iter().map(|(_, id)| id).collect()
    }

    /// Reads one node.
    ///
    /// # Errors
    /// If it isn't there, cannot be read or is damaged.
    pub fn read(&self, id: NodeId) -> Result<Stored, StoreError> {
        let dir = self.dir.clone();
        let known = self.nodes.get(id).ok_or(StoreError::NoNode { id, dir })?;
        self.log()?;
        read_node(&*self.disk, &self.dir, id, known)
    }

    fn log(&self) -> Result<&Log, StoreError> {
        let none = || StoreError::damaged(&self.dir, "it could not be opened again");
        self.log.as_ref().ok_or_else(none)
    }
}

/// Reads one node of a log.
pub(super) fn read_node(
    disk: &dyn Disk,
    session: &Path,
    id: NodeId,
    known: &Known,
) -> Result<Stored, StoreError> {
    let mut part = Part::default();
    // Its rows mostly stand together.
    let mut last: Option<(u64, Box<dyn DiskFile>)> = None;
    let pieces = known.pieces().filter(|piece| piece.file.is_none());
    let rows = pieces.map(|piece| piece.at);
    for at in std::iter::once(known.links_at).chain(rows) {
        let path = segment::path(session, at.segment);
        let file = match last.take().filter(|(number, _)| *number == at.segment) {
            Some((_, file)) => file,
            None => {
                let opened = disk.open(&path, How::Read);
                opened.map_err(|error| StoreError::io("read", &path, error))?
            }
        };
        let row = segment::read_row(&*file, &path, at)?;
        match content::read(&row) {
            Some((Some(found), said)) if found == id && known.says(at, &said) => part.take(said),
            _ => return Err(segment::damaged(&path, at.offset)),
        }
        last = Some((at.segment, file));
    }
    assemble(disk, session, id, known, part)
}

/// Puts a node together from what the log has and from its files.
fn assemble(
    disk: &dyn Disk,
    session: &Path,
    id: NodeId,
    known: &Known,
    part: Part,
) -> Result<Stored, StoreError> {
    let read = |kind, number, piece: &Piece, here: Option<Bytes>| match piece.file {
        None => {
            let missing = || StoreError::damaged(session, format!("node {id} is not whole"));
            here.ok_or_else(missing)
        }
        Some(file) => payloads::read(disk, session, file, (kind, id, (known.version, number))),
    };
    let Part {
        links,
        base,
        mut tail,
    } = part;
    let mut deltas = Vec::with_capacity(known.tail.len());
    for (number, piece) in (known.tail_start..).zip(&known.tail) {
        deltas.push(read(Kind::Delta, number, piece, tail.remove(&number))?);
    }
    let tail_start = usize::try_from(known.tail_start);
    let tail_start =
        tail_start.map_err(|_| StoreError::damaged(session, "a number is too large"))?;
    Ok(Stored {
        place: known.about.place,
        owner: known.about.owner.clone(),
        kind: known.about.kind.clone(),
        dependencies: links.dependencies,
        version: known.version,
        base: read(Kind::Base, known.tail_start, &known.base, Some(base))?,
        tail_start,
        tail: deltas,
        aside: links.aside,
    })
}
