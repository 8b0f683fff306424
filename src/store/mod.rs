//! The durable store of one session: what is there again after the server has ended, however it
//! ended.
//!
//! The session's actor never waits for a disk. It hands [`Batch`]es to a thread (`keeper`) that does
//! nothing but [`Store::commit`] them; at start that thread [`Store::load`]s everything. In the
//! directory of a session are
//!
//! - `format`, a number that every version understands (`format`),
//! - `store.redb`, the index: rows, changed by transactions (`index`, `row`),
//! - `nodes/`, a file for each large base (`payloads`),
//! - `lock`, held by the server that uses it.
//!
//! `known` remembers what of each node is on disk, so that only what is new is written. `recover`
//! copies what can be read of a damaged store. Damage is always an error, never a smaller scene.

pub(crate) mod disk;
mod error;
mod format;
mod index;
mod keeper;
mod known;
mod payloads;
mod recover;
mod row;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

pub(crate) use self::disk::SystemDisk;
use self::disk::{Disk, DiskFile, How};
pub use self::error::StoreError;
use self::index::{Index, View};
pub use self::keeper::{Keeper, Kept, Written, start};
use self::known::{Change, Nodes};
use self::payloads::Payloads;
pub use self::recover::{Report, recover};
use self::row::{Head, Home};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

/// The index.
const INDEX: &str = "store.redb";
/// An index that is being made.
const UNFINISHED: &str = "store.redb.new";
/// Who holds it uses the store.
const LOCK: &str = "lock";
/// The only key in the table of the session.
const THE_SESSION: u64 = 0;

/// The state of changed nodes after a prefix of the session's events: one atomic, durable step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Number of the last event in it, or whatever else only grows.
    pub sequence: u64,
    /// The session as it is then.
    pub meta: Meta,
    /// The nodes that changed, each once. `None`: deleted.
    pub nodes: Vec<(NodeId, Option<Stored>)>,
}

/// What the session is, apart from nodes.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Meta {
    /// How its nodes are written.
    pub family: Option<Family>,
    /// Version of the client that wrote last.
    pub version: Option<String>,
    /// Whether it can be joined.
    pub active: bool,
}

/// A node's full state, cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Where it stands in the order of creation.
    pub place: u64,
    /// `COMMON` or a user's name.
    pub owner: Arc<str>,
    /// The type name, empty for untyped nodes.
    pub kind: Bytes,
    /// The nodes it needs.
    pub dependencies: Vec<NodeId>,
    /// Changes with every new whole state; counts over all nodes.
    pub version: u64,
    /// The last whole state, or what came of it and the deltas before `tail_start`.
    pub base: Bytes,
    /// Number of the first delta in `tail`.
    pub tail_start: usize,
    /// Deltas since the base.
    pub tail: Vec<Bytes>,
    /// Set aside by the operator: the nodes that needed it.
    pub aside: Option<Vec<NodeId>>,
}

impl Stored {
    /// Bytes of its payloads.
    pub fn bytes(&self) -> usize {
        let tail: usize = self.tail.iter().map(Bytes::len).sum();
        self.base.len().saturating_add(tail)
    }
}

/// How a store works.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bytes of the index that are kept in memory.
    pub cache: usize,
    /// Bases of this size and larger have a file of their own.
    pub large: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            cache: 16 * 1024 * 1024,
            large: 128 * 1024,
        }
    }
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    /// `None` after an error, until it is opened again.
    index: Option<Index>,
    payloads: Payloads,
    nodes: Nodes,
    _lock: Box<dyn DiskFile>,
}

impl Store {
    /// Opens the store in a directory, or makes one there. It is for one server at a time.
    ///
    /// # Errors
    /// If another server has it open, if it cannot be read or written, if a newer server wrote it,
    /// and if it is damaged. It is left as it was then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(SystemDisk), dir, options)
    }

    fn open_on(disk: Arc<dyn Disk>, dir: &Path, options: Options) -> Result<Self, StoreError> {
        disk.create_dir(dir)
            .map_err(|error| StoreError::io("make", dir, error))?;
        let lock = lock(&*disk, dir, How::Write)?;
        if !format::check(&*disk, dir)? {
            create(&*disk, dir, &options)?;
        }
        let path = dir.join(INDEX);
        let there = disk.exists(&path);
        if !there.map_err(|error| StoreError::io("look for", &path, error))? {
            return Err(StoreError::damaged(&path, "the file is missing"));
        }
        let payloads = Payloads::open(Arc::clone(&disk), dir)?;
        let mut store = Self {
            disk,
            dir: dir.to_owned(),
            options,
            index: None,
            payloads,
            nodes: Nodes::default(),
            _lock: lock,
        };
        store.reopen()?;
        Ok(store)
    }

    /// Opens the index, and learns from it what is on disk.
    fn reopen(&mut self) -> Result<&Index, StoreError> {
        let path = self.dir.join(INDEX);
        let index = Index::open(&*self.disk, &path, self.options.cache)?;
        self.nodes = Nodes::scan(&index)?;
        self.payloads.sweep(&self.nodes.files());
        Ok(self.index.insert(index))
    }

    /// Gives all nodes, in any order; returns the session and the sequence of the last commit.
    ///
    /// # Errors
    /// If something cannot be read or is damaged. What was given until then is to be dropped.
    pub fn load(
        &mut self,
        mut each: impl FnMut(NodeId, Stored),
    ) -> Result<(Meta, u64), StoreError> {
        if self.index.is_none() {
            self.reopen()?;
        }
        let Some(index) = &self.index else {
            return Err(StoreError::damaged(&self.dir, "there is no index"));
        };
        let view = index.view()?;
        let mut tails = known::read_tails(index, &view)?;
        for (id, known) in self.nodes.iter() {
            let tail = tails.remove(&id).unwrap_or_default();
            each(id, self.read_node(index, &view, id, &known.head, tail)?);
        }
        known::read_session(index, &view)
    }

    fn read_node(
        &self,
        index: &Index,
        view: &View,
        id: NodeId,
        head: &Head,
        tail: Vec<Bytes>,
    ) -> Result<Stored, StoreError> {
        let state = (head.version, head.tail_start);
        let base = match head.home {
            Home::Row => known::read_base(index, view, id, state)?,
            Home::File(number) => self.payloads.read(number, id, state)?,
        };
        let links = known::read_links(index, view, id)?;
        let tail_start = usize::try_from(head.tail_start);
        let tail_start = tail_start.map_err(|_| index.damaged("a number is too large"))?;
        Ok(Stored {
            place: head.place,
            owner: Arc::clone(&head.owner),
            kind: head.kind.clone(),
            dependencies: links.dependencies,
            version: head.version,
            base,
            tail_start,
            tail,
            aside: links.aside,
        })
    }

    /// Writes a batch. Once it returns, the batch is there whatever happens.
    ///
    /// # Errors
    /// If it could not be written. Until the server ends, the store is as before the batch; after
    /// that it is as before or after it. The next batch must contain at least the same nodes.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        if self.index.is_none() {
            self.reopen()?;
        }
        let mut changes = Vec::with_capacity(batch.nodes.len());
        for (id, stored) in &batch.nodes {
            changes.push(self.nodes.change(*id, stored.as_ref(), batch.sequence));
        }
        if let Err(error) = self.write_payloads(&mut changes) {
            // The index knows nothing of them.
            self.remove_new(&changes);
            return Err(error);
        }
        let Some(index) = &self.index else {
            return Err(StoreError::damaged(&self.dir, "there is no index"));
        };
        let changed = index.change(|tables| {
            let session = row::session(&batch.meta, batch.sequence);
            tables.session.insert(THE_SESSION, &*session)?;
            for change in &changes {
                change.write(tables)?;
            }
            Ok(())
        });
        if let Err(error) = changed {
            // Whether it happened is known when the index is opened again.
            self.index = None;
            // Space is what may be lacking.
            let _ = self.reopen();
            return Err(error);
        }
        for change in changes {
            if let Some(orphan) = self.nodes.apply(change) {
                self.payloads.remove(orphan);
            }
        }
        Ok(())
    }

    fn write_payloads(&mut self, changes: &mut [Change<'_>]) -> Result<(), StoreError> {
        for change in changes {
            if let Some((state, base)) = change.large_base(self.options.large) {
                let number = self.payloads.write(change.id(), state, base)?;
                change.put_in(number);
            }
        }
        self.payloads.settle()
    }

    fn remove_new(&mut self, changes: &[Change<'_>]) {
        for number in changes.iter().filter_map(Change::new_file) {
            self.payloads.remove(number);
        }
    }

    /// Bytes it takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        let index = self.index.as_ref().map_or(0, Index::bytes);
        index.saturating_add(self.payloads.bytes())
    }

    /// How many nodes are in it.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

/// Takes the store for this process.
fn lock(disk: &dyn Disk, dir: &Path, how: How) -> Result<Box<dyn DiskFile>, StoreError> {
    let path = dir.join(LOCK);
    let locked = disk.open(&path, how).and_then(|file| {
        let locked = file.try_lock()?;
        Ok((locked, file))
    });
    match locked {
        Ok((true, file)) => Ok(file),
        Ok((false, _)) => Err(StoreError::Locked {
            dir: dir.to_owned(),
        }),
        Err(error) => Err(StoreError::io("lock", &path, error)),
    }
}

/// Makes an empty store. What says that there is one comes last.
fn create(disk: &dyn Disk, dir: &Path, options: &Options) -> Result<(), StoreError> {
    let (path, unfinished) = (dir.join(INDEX), dir.join(UNFINISHED));
    let io = |error| StoreError::io("make", &path, error);
    // One that was begun has no nodes; another has lost what said that it is one.
    if disk.exists(&path).map_err(io)? {
        let index = Index::open(disk, &path, options.cache)?;
        if Nodes::scan(&index)?.len() > 0 {
            return Err(StoreError::damaged(dir, "the file `format` is missing"));
        }
    }
    Payloads::create(disk, dir)?;
    // One that was begun in vain may be there.
    drop(disk.open(&unfinished, How::Anew).map_err(io)?);
    let index = Index::open(disk, &unfinished, options.cache)?;
    index.change(|tables| {
        let session = row::session(&Meta::default(), 0);
        tables.session.insert(THE_SESSION, &*session)?;
        Ok(())
    })?;
    drop(index);
    disk.rename(&unfinished, &path).map_err(io)?;
    disk.sync_dir(dir).map_err(io)?;
    if let Some(above) = dir.parent().filter(|above| !above.as_os_str().is_empty()) {
        disk.sync_dir(above).map_err(io)?;
    }
    format::write(disk, dir, format::FORMAT)
}
