//! Reads nodes: all at once when a session starts, or one after the other with little memory.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::content::{self, Said};
use super::disk::{Disk, DiskFile, How};
use super::known::{Known, Part, Piece, Scan};
use super::log::Log;
use super::row::Kind;
use super::segment::{self, At};
use super::{Meta, Store, StoreError, Stored, payloads};
use crate::wire::identity::NodeId;

/// Bytes of files that the disk is to have read before they are needed.
const AHEAD: u64 = 16 << 20;

impl Store {
    /// Gives all nodes, in any order; returns the session and the sequence of the last commit. The
    /// log is read for it, whether it was before or not.
    ///
    /// # Errors
    /// If something cannot be read or is damaged. What was given until then is to be dropped.
    pub fn load(
        &mut self,
        mut each: impl FnMut(NodeId, Stored),
    ) -> Result<(Meta, u64), StoreError> {
        let mut in_files = Vec::new();
        let (reading, scan) = self.scan(Scan::whole())?;
        let nodes = scan.finish(&self.dir, |id, known, stored| match files(known).next() {
            Some(_) => in_files.push((id, stored)),
            None => each(id, stored),
        })?;
        if self.log.is_none() {
            self.go_on(reading, nodes)?;
        }
        let known = in_files.iter().filter_map(|(id, _)| self.nodes.get(*id));
        let mut ahead = Ahead::new(known.flat_map(files).collect());
        for (id, mut stored) in in_files {
            if let Some(known) = self.nodes.get(id) {
                ahead.go_on(&*self.disk, &self.dir, known);
                read_files(&*self.disk, &self.dir, id, known, &mut stored)?;
                each(id, stored);
            }
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
    // Its rows mostly stand together.
    let mut last: Option<(u64, Box<dyn DiskFile>)> = None;
    let mut read = |at: At| -> Result<(PathBuf, Vec<u8>), StoreError> {
        let path = segment::path(session, at.segment);
        let file = match last.take().filter(|(number, _)| *number == at.segment) {
            Some((_, file)) => file,
            None => {
                let opened = disk.open(&path, How::Read);
                opened.map_err(|error| StoreError::io("read", &path, error))?
            }
        };
        let row = segment::read_row(&*file, &path, at)?;
        last = Some((at.segment, file));
        Ok((path, row))
    };
    let (path, row) = read(known.links_at)?;
    let links = match content::read(&row) {
        Some((Some(found), Said::Links(links))) if found == id => links,
        _ => return Err(segment::damaged(&path, known.links_at.offset)),
    };
    let mut payload = |piece: &Piece| {
        if piece.file.is_some() {
            return Ok(Bytes::new());
        }
        let (path, row) = read(piece.at)?;
        match content::read(&row) {
            Some((Some(found), said)) if found == id && known.says(piece.at, &said) => {
                Ok(said.payload())
            }
            _ => Err(segment::damaged(&path, piece.at.offset)),
        }
    };
    let base = payload(&known.base)?;
    let tail = known.tail.iter().map(payload).collect::<Result<_, _>>()?;
    let mut stored = known.stored(Part { links, base, tail });
    read_files(disk, session, id, known, &mut stored)?;
    Ok(stored)
}

/// Adds to a node what it has in files.
fn read_files(
    disk: &dyn Disk,
    session: &Path,
    id: NodeId,
    known: &Known,
    stored: &mut Stored,
) -> Result<(), StoreError> {
    let read = |kind, number, file| {
        let state = (known.version, number);
        payloads::read(disk, session, file, (kind, id, state))
    };
    if let Some(file) = known.base.file {
        stored.base = read(Kind::Base, known.tail_start, file)?;
    }
    let numbered = (known.tail_start..).zip(&known.tail);
    for ((number, piece), delta) in numbered.zip(&mut stored.tail) {
        if let Some(file) = piece.file {
            *delta = read(Kind::Delta, number, file)?;
        }
    }
    Ok(())
}

/// The files of a node, with the lengths of their payloads.
fn files(known: &Known) -> impl Iterator<Item = (u64, u64)> {
    let pieces = known.pieces();
    pieces.filter_map(|piece| Some((piece.file?, piece.bytes)))
}

/// Has the disk read what comes next while what it has read is looked at.
struct Ahead {
    /// Files that the disk has not been told of, with the lengths of their payloads.
    files: std::vec::IntoIter<(u64, u64)>,
    /// Bytes of those that it was told of and that have not been read.
    told: u64,
}

impl Ahead {
    /// Of these files, which are read in this order.
    fn new(files: Vec<(u64, u64)>) -> Self {
        let files = files.into_iter();
        Self { files, told: 0 }
    }

    /// Before the files of this node, which come next, are read.
    fn go_on(&mut self, disk: &dyn Disk, session: &Path, known: &Known) {
        let next: u64 = files(known).map(|(_, bytes)| bytes).sum();
        while self.told < next.saturating_add(AHEAD)
            && let Some((file, bytes)) = self.files.next()
        {
            disk.read_ahead(&payloads::path(session, file));
            self.told = self.told.saturating_add(bytes);
        }
        self.told = self.told.saturating_sub(next);
    }
}
