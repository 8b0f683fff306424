//! Format 1: what servers before this one have written, and the step to format 2.
//!
//! There, all rows were in a database, `store.redb`, with a table for each kind; large bases had
//! files as they have now, and keep them. It is only read any more: by the step, once, and by
//! `recover`.

use std::collections::HashMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use redb::{
    Database, ReadOnlyTable, ReadableDatabase, ReadableTable, ReadableTableMetadata,
    StorageBackend, TableDefinition,
};

use super::content::{self, About, Content, Links, PayloadRow, Said, State};
use super::disk::{Disk, DiskFile, How};
use super::error::StoreError;
use super::known::Scan;
use super::log::{self, Log};
use super::payloads;
use super::row::{From, Kind, NODE};
use super::{Meta, Options};
use crate::wire::identity::NodeId;

/// The database.
pub(super) const INDEX: &str = "store.redb";
/// One that was being made.
const UNFINISHED: &str = "store.redb.new";
/// Bytes of it that are kept in memory.
const CACHE: usize = 16 << 20;

/// Names of nodes.
type NodeKey = &'static [u8; NODE];

const SESSION: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("session");
const HEADS: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("heads");
const LINKS: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("links");
const BASES: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("bases");
const DELTAS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deltas");

/// A node, apart from its links, base and deltas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Head {
    /// The batch that wrote it.
    pub(super) sequence: u64,
    pub(super) about: About,
    /// Which base it has.
    pub(super) state: State,
    /// The file that has it, if that isn't in a row.
    pub(super) file: Option<u64>,
}

impl Head {
    pub(super) fn read(from: &mut From<'_>) -> Option<Self> {
        let sequence = from.u64()?;
        let place = from.u64()?;
        let state = content::read_state(from)?;
        // No file had the number 0.
        let file = Some(from.u64()?).filter(|number| *number != 0);
        let about = About {
            place,
            owner: from.text()?.into(),
            kind: Bytes::copy_from_slice(from.bytes()?),
        };
        Some(Self {
            sequence,
            about,
            state,
            file,
        })
    }
}

/// A database that is open.
#[derive(Debug)]
pub(super) struct Index {
    database: Database,
    path: PathBuf,
}

impl Index {
    /// Opens the file at `path` and checks all of it.
    pub(super) fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StoreError> {
        let io = |error| StoreError::io("open", path, error);
        if !disk.exists(path).map_err(io)? {
            return Err(StoreError::damaged(path, "the file is missing"));
        }
        let file = disk.open(path, How::Write).map_err(io)?;
        // An empty one would become a database.
        if file.len().map_err(io)? == 0 {
            return Err(StoreError::damaged(path, "it is cut short"));
        }
        // It is checked, and so should not panic; but whatever it does, damage is an answer.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            redb::Builder::new()
                .set_cache_size(CACHE)
                .set_check_integrity_on_open(true)
                .create_with_backend(Backend(file))
        }));
        let database = match opened {
            Ok(opened) => opened.map_err(|error| failure(path, error))?,
            Err(_) => return Err(StoreError::damaged(path, "it cannot be understood")),
        };
        let path = path.to_owned();
        Ok(Self { database, path })
    }

    /// The session and the sequence of its last batch.
    pub(super) fn session(&self) -> Result<(Meta, u64), StoreError> {
        let rows = self.table(SESSION)?;
        let row = rows.get(0).map_err(|error| self.failure(error))?;
        match row.as_ref().map(|row| content::read(row.value())) {
            Some(Some((None, Said::Session(meta, sequence)))) => Ok((meta, sequence)),
            _ => Err(self.damaged("the row of the session")),
        }
    }

    /// Gives all nodes.
    pub(super) fn each(
        &self,
        mut each: impl FnMut(NodeId, Old) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let failure = |error| self.failure(error);
        let mut tails = self.tails()?;
        let (links, bases) = (self.table(LINKS)?, self.table(BASES)?);
        for row in self.table(HEADS)?.iter().map_err(failure)? {
            let (_, row) = row.map_err(failure)?;
            let Some((Some(id), Said::Head(head))) = content::read(row.value()) else {
                return Err(self.damaged("the row of a node"));
            };
            let link = links.get(id.as_bytes()).map_err(failure)?;
            let links = match link.as_ref().map(|row| content::read(row.value())) {
                Some(Some((Some(of), Said::Links(links)))) if of == id => Some(links),
                _ => None,
            };
            let base = bases.get(id.as_bytes()).map_err(failure)?;
            let base = match base.as_ref().map(|row| content::read(row.value())) {
                Some(Some((Some(of), Said::Base(state, Content::Here(base)))))
                    if of == id && state == head.state =>
                {
                    Some(Bytes::copy_from_slice(base))
                }
                _ => None,
            };
            let (version, start) = head.state;
            let mut tail = Vec::new();
            for (number, (state, delta)) in (start..).zip(tails.remove(&id).unwrap_or_default()) {
                if state != (version, number) {
                    return Err(self.damaged("a delta"));
                }
                tail.push(delta);
            }
            let old = Old {
                head,
                links,
                base,
                tail,
            };
            each(id, old)?;
        }
        match tails.is_empty() {
            true => Ok(()),
            false => Err(self.damaged("the row of a node")),
        }
    }

    fn tails(&self) -> Result<HashMap<NodeId, Vec<(State, Bytes)>>, StoreError> {
        let mut tails = HashMap::<_, Vec<_>>::new();
        for row in self.table(DELTAS)?.iter().map_err(|e| self.failure(e))? {
            let (_, row) = row.map_err(|error| self.failure(error))?;
            let Some((Some(id), Said::Delta(state, Content::Here(delta)))) =
                content::read(row.value())
            else {
                return Err(self.damaged("a delta"));
            };
            let tail = tails.entry(id).or_default();
            tail.push((state, Bytes::copy_from_slice(delta)));
        }
        Ok(tails)
    }

    fn table<K: redb::Key + 'static>(
        &self,
        table: TableDefinition<'_, K, &'static [u8]>,
    ) -> Result<ReadOnlyTable<K, &'static [u8]>, StoreError> {
        let view = self.database.begin_read();
        let view = view.map_err(|error| self.failure(error))?;
        view.open_table(table).map_err(|error| self.failure(error))
    }

    fn failure(&self, error: impl Into<redb::Error>) -> StoreError {
        failure(&self.path, error)
    }

    fn damaged(&self, what: &str) -> StoreError {
        StoreError::damaged(&self.path, format!("{what} is broken"))
    }
}

/// What format 1 has of a node; what is `None` is broken.
#[derive(Debug)]
pub(super) struct Old {
    pub(super) head: Head,
    pub(super) links: Option<Links>,
    /// If it isn't in a file.
    pub(super) base: Option<Bytes>,
    pub(super) tail: Vec<Bytes>,
}

/// The step to format 2: the rows become a log. Files stay as they are, so it takes no more space
/// than small nodes have.
pub(super) fn to_log(disk: &Arc<dyn Disk>, session: &Path) -> Result<(), StoreError> {
    let index = Index::open(&**disk, &session.join(INDEX))?;
    Log::create(&**disk, session)?;
    let reading = log::read(&**disk, session, |_, _, _| None)?;
    let mut log = Log::open(
        Arc::clone(disk),
        session,
        reading,
        false,
        &Options::default(),
    )?;
    index.each(|id, old| {
        let damaged = |what: &str| index.damaged(&format!("{what} of node {id}"));
        let links = old.links.ok_or_else(|| damaged("what is needed"))?;
        log.append(&[&old.head.about.row(id)])?;
        let Links {
            sequence,
            dependencies,
            aside,
        } = links;
        let row = content::links(id, sequence, &dependencies, aside.as_deref());
        log.append(&[&row])?;
        let state = old.head.state;
        match (old.head.file, old.base) {
            (Some(file), _) => {
                // If it cannot be read, that is said when the node is.
                let bytes = payloads::len(&**disk, session, file).unwrap_or_default();
                log.append(&[&content::in_file(Kind::BaseFile, id, state, file, bytes)])?;
            }
            (None, Some(base)) => {
                log.append(&PayloadRow::new(Kind::Base, id, state, &base).parts())?;
            }
            (None, None) => return Err(damaged("the content")),
        }
        let (version, start) = state;
        for (number, delta) in (start..).zip(old.tail) {
            let row = PayloadRow::new(Kind::Delta, id, (version, number), &delta);
            log.append(&row.parts())?;
        }
        Ok(())
    })?;
    let (meta, sequence) = index.session()?;
    log.commit(&meta, sequence)?;
    // Nothing may be missing of a node: format 1 is only given up for a log that can be read.
    let mut scan = Scan::default();
    log::read(&**disk, session, |at, id, said| scan.note(at, id, said))?;
    scan.finish(&session.join(INDEX), |_, _, _| {})?;
    // The names of the log's directory and of the mark.
    disk.sync_dir(session)
        .map_err(|error| StoreError::io("sync", session, error))
}

/// Whether a store was begun in format 1, and has anything in it.
pub(super) fn is_used(disk: &dyn Disk, session: &Path) -> Result<bool, StoreError> {
    let path = session.join(INDEX);
    let there = disk.exists(&path);
    if !there.map_err(|error| StoreError::io("look for", &path, error))? {
        return Ok(false);
    }
    let index = Index::open(disk, &path)?;
    let heads = index.table(HEADS)?;
    heads
        .is_empty()
        .map(|empty| !empty)
        .map_err(|error| index.failure(error))
}

/// Removes what is of no use after the step.
pub(super) fn remove(disk: &dyn Disk, session: &Path) {
    for name in [INDEX, UNFINISHED] {
        let path = session.join(name);
        if disk.exists(&path).unwrap_or_default() {
            // If it stays, it does no harm.
            let _ = disk.remove(&path);
        }
    }
}

/// What the library says, in our words.
fn failure(path: &Path, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::damaged(path, error.to_string())
        }
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::damaged(path, "it is cut short")
        }
        redb::Error::Io(error) => StoreError::io("read", path, error),
        redb::Error::PreviousIo => {
            let error = io::Error::other("an operation before this one has failed");
            StoreError::io("read", path, error)
        }
        error => StoreError::damaged(path, error.to_string()),
    }
}

/// A file as the library wants to see it.
#[derive(Debug)]
struct Backend(Box<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}
