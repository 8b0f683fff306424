//! The index: tables of rows in one file, changed by transactions that happen or don't.
//!
//! The library inside is redb. It is told to commit in two phases: a state that was once
//! acknowledged is then never given up for an older one, so a damaged one is noticed as such; and
//! what could not be synced is written anew, even if the system takes it for synced.
//! Once an operation has failed it refuses all others, and what is on disk is known only after
//! the file has been opened again: who calls does so.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadableDatabase, StorageBackend, Table, TableDefinition};

use super::disk::{Disk, DiskFile, How};
use super::error::StoreError;
use super::row::NODE;

/// The key of a node.
pub(super) type NodeKey = &'static [u8; NODE];

const SESSION: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("session");
const HEADS: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("heads");
const LINKS: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("links");
const BASES: TableDefinition<'_, NodeKey, &[u8]> = TableDefinition::new("bases");
const DELTAS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("deltas");

/// The tables, to change them.
pub(super) struct Tables<'t> {
    /// One row.
    pub(super) session: Table<'t, u64, &'static [u8]>,
    pub(super) heads: Table<'t, NodeKey, &'static [u8]>,
    pub(super) links: Table<'t, NodeKey, &'static [u8]>,
    pub(super) bases: Table<'t, NodeKey, &'static [u8]>,
    /// In the order in which they came, so that new ones stand together.
    pub(super) deltas: Table<'t, u64, &'static [u8]>,
}

/// The tables as they are after the last commit.
pub(super) struct View {
    pub(super) session: ReadOnlyTable<u64, &'static [u8]>,
    pub(super) heads: ReadOnlyTable<NodeKey, &'static [u8]>,
    pub(super) links: ReadOnlyTable<NodeKey, &'static [u8]>,
    pub(super) bases: ReadOnlyTable<NodeKey, &'static [u8]>,
    pub(super) deltas: ReadOnlyTable<u64, &'static [u8]>,
}

/// An open index.
#[derive(Debug)]
pub(super) struct Index {
    database: Database,
    file: Arc<dyn DiskFile>,
    path: PathBuf,
}

impl Index {
    /// Opens the file at `path` and checks all of it; an empty one becomes an index.
    pub(super) fn open(disk: &dyn Disk, path: &Path, cache: usize) -> Result<Self, StoreError> {
        let file = disk
            .open(path, How::Write)
            .map_err(|error| StoreError::io("open", path, error))?;
        let file: Arc<dyn DiskFile> = file.into();
        let backend = Backend(Arc::clone(&file));
        // It is checked, and so should not panic; but whatever it does, damage is an answer.
        let opened = catch_unwind(AssertUnwindSafe(|| {
            redb::Builder::new()
                .set_cache_size(cache)
                .set_check_integrity_on_open(true)
                .create_with_backend(backend)
        }));
        let database = match opened {
            Ok(opened) => opened.map_err(|error| failure("open", path, error))?,
            Err(_) => return Err(StoreError::damaged(path, "it cannot be understood")),
        };
        Ok(Self {
            database,
            file,
            path: path.to_owned(),
        })
    }

    /// Changes the tables: all of it happens, durably, or an error is returned.
    pub(super) fn change(
        &self,
        change: impl FnOnce(&mut Tables<'_>) -> Result<(), redb::Error>,
    ) -> Result<(), StoreError> {
        let changed = (|| {
            let mut transaction = self.database.begin_write()?;
            transaction.set_two_phase_commit(true);
            let mut tables = Tables {
                session: transaction.open_table(SESSION)?,
                heads: transaction.open_table(HEADS)?,
                links: transaction.open_table(LINKS)?,
                bases: transaction.open_table(BASES)?,
                deltas: transaction.open_table(DELTAS)?,
            };
            change(&mut tables)?;
            drop(tables);
            Ok(transaction.commit()?)
        })();
        changed.map_err(|error: redb::Error| failure("write", &self.path, error))
    }

    /// The tables, to read them.
    pub(super) fn view(&self) -> Result<View, StoreError> {
        let view = (|| {
            let transaction = self.database.begin_read()?;
            Ok(View {
                session: transaction.open_table(SESSION)?,
                heads: transaction.open_table(HEADS)?,
                links: transaction.open_table(LINKS)?,
                bases: transaction.open_table(BASES)?,
                deltas: transaction.open_table(DELTAS)?,
            })
        })();
        view.map_err(|error: redb::Error| failure("read", &self.path, error))
    }

    /// What went wrong while reading rows.
    pub(super) fn read_error(&self, error: impl Into<redb::Error>) -> StoreError {
        failure("read", &self.path, error)
    }

    /// That a row is not what was written.
    pub(super) fn damaged(&self, what: impl Into<String>) -> StoreError {
        StoreError::damaged(&self.path, what)
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.file.len().unwrap_or_default()
    }
}

/// What the library says, in our words.
fn failure(doing: &'static str, path: &Path, error: impl Into<redb::Error>) -> StoreError {
    match error.into() {
        redb::Error::Io(error) if error.kind() == io::ErrorKind::InvalidData => {
            StoreError::damaged(path, error.to_string())
        }
        redb::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            StoreError::damaged(path, "it is cut short")
        }
        redb::Error::Io(error) => StoreError::io(doing, path, error),
        redb::Error::PreviousIo => {
            let error = io::Error::other("an operation before this one has failed");
            StoreError::io(doing, path, error)
        }
        error => StoreError::damaged(path, error.to_string()),
    }
}

/// A file as the library wants to see it.
#[derive(Debug)]
struct Backend(Arc<dyn DiskFile>);

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
