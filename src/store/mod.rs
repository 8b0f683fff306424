//! The durable store of one session: what is there again after the server has ended, however it
//! ended.
//!
//! The session's actor never waits for a disk. It hands [`Batch`]es to a thread (`keeper`) that does
//! nothing but [`Store::commit`] them; at start that thread [loads](Claim::load) everything. In the
//! directory of a session are
//!
//! - `format`, a number that every version understands (`format`),
//! - `log/`, rows in the order in which they were written (`log`, `segment`, `row`, `content`),
//! - `mark`, how far the log goes (`mark`),
//! - `nodes/`, a file for each large base or delta (`payloads`),
//! - `lock`, held by the server that uses it (`claim`).
//!
//! `known` remembers what of each node is on disk and where, so that only what is new is written
//! (`target`).
//! The nodes of an upload are written ahead of their batch (`staged`).
//! `recover` copies what can be read of a damaged store; while the server runs, a new one takes its place
//! (`renewal`). Damage is always an error, never a smaller
//! scene. `legacy` reads what earlier versions wrote.

mod claim;
mod content;
#[cfg(target_os = "linux")]
mod direct;
pub(crate) mod disk;
mod error;
mod format;
mod keeper;
mod known;
mod legacy;
mod log;
mod mark;
mod payloads;
mod reading;
mod recover;
mod renewal;
mod row;
mod segment;
mod staged;
mod target;
#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use tracing::warn;

pub use self::claim::Claim;
use self::content::Said;
pub(crate) use self::disk::SystemDisk;
use self::disk::{Disk, DiskFile};
pub use self::error::StoreError;
#[cfg(test)]
pub(crate) use self::keeper::Hand;
pub use self::keeper::{Health, Keeper, Kept, Task, Written, start};
use self::known::{Nodes, Scan};
use self::log::{Log, Reading};
use self::payloads::Payloads;
pub use self::recover::{Report, recover};
use self::staged::Rows;
pub use self::staged::Upcoming;
use self::target::Target;
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

/// Payloads of this size and larger have a file of their own, and are never copied to give space back.
/// Of shorter ones the file would cost more than what is in it.
pub const LARGE: usize = 2 * 1024 * 1024;
/// Bytes that a commit copies at most, about, to give space back.
const COPIED: u64 = 8 << 20;
/// Commits that copy nothing after one for which the disk had no space.
const RESTED: u32 = 100;

/// The state of changed nodes after a prefix of the session's events: one atomic, durable step.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The session's number for the last event in it. To the store it is a number that never falls from
    /// one batch to the next.
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
    /// Bases and deltas of this size and larger have a file of their own.
    pub large: usize,
    /// Size of the smallest parts of the log.
    pub segment: u64,
    /// Shorter ones of the others are gathered to be written together; a copy of longer ones would
    /// cost more than writing them from where they are.
    pub apart: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            large: LARGE,
            segment: 128 * 1024,
            apart: 64 * 1024,
        }
    }
}

/// What is in a store, in short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The session.
    pub meta: Meta,
    /// The last batch.
    pub sequence: u64,
    /// How many nodes there are.
    pub nodes: usize,
    /// Bytes of their bases and deltas.
    pub live_bytes: u64,
    /// Bytes they take on disk.
    pub disk_bytes: u64,
}

/// An open store.
#[derive(Debug)]
pub struct Store {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    /// `None` after an error, until it is opened again.
    log: Option<Log>,
    payloads: Payloads,
    nodes: Nodes,
    /// Those of them that are written ahead of their batch.
    rows: Rows,
    meta: Meta,
    sequence: u64,
    /// The last commit that was acknowledged.
    acknowledged: Option<u64>,
    /// Something that counts cannot be read: then no space is given back.
    spoilt: bool,
    /// So many commits copy nothing: there was no space for it.
    rests: u32,
    /// The one that takes its place, all of it written.
    next: Option<Box<Self>>,
    _lock: Box<dyn DiskFile>,
}

impl Store {
    /// Opens the store in a directory, or makes one there. It is for one server at a time.
    ///
    /// # Errors
    /// If another server has it open, if it cannot be read or written, if a newer server wrote it,
    /// and if it is damaged. It is left as it was then.
    pub fn open(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(SystemDisk), dir, options, true)
    }

    /// Opens the store in a directory. One of an older format is brought up to date.
    ///
    /// # Errors
    /// As for [`Self::open`], and if there is none.
    pub fn open_existing(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::open_on(Arc::new(SystemDisk), dir, options, false)
    }

    fn open_on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        make: bool,
    ) -> Result<Self, StoreError> {
        let mut store = Claim::on(disk, dir, options, make)?.store()?;
        store.reopen()?;
        Ok(store)
    }

    /// Reads the log, to learn what is on disk; only then makes it fit to go on with.
    fn reopen(&mut self) -> Result<(), StoreError> {
        if self.go_over()? {
            return Ok(());
        }
        let read = self.scan(Scan::default());
        let read = read.and_then(|(reading, scan)| {
            let nodes = scan.finish(&self.dir, |_, _, _| {})?;
            Ok((reading, nodes))
        });
        self.spoilt |= matches!(read, Err(StoreError::Damaged { .. }));
        let (reading, nodes) = read?;
        self.go_on(reading, nodes)
    }

    /// Reads the log, and changes nothing.
    fn scan(&self, mut scan: Scan) -> Result<(Reading, Scan), StoreError> {
        let note = |at, id, said: Said<'_>| scan.note(at, id, said);
        let reading = log::read(&*self.disk, &self.dir, note)?;
        Ok((reading, scan))
    }

    fn go_on(&mut self, reading: Reading, nodes: Nodes) -> Result<(), StoreError> {
        let commit = reading.commit.clone();
        // What another process has written may never have reached the disk, though it is to be read.
        let in_doubt = self.acknowledged.is_none_or(|last| last != commit.number);
        let disk = Arc::clone(&self.disk);
        let mut log = Log::open(disk, &self.dir, reading, in_doubt, &self.options)?;
        nodes.count_in(&mut log);
        self.payloads.sweep(&nodes.files());
        legacy::remove(&*self.disk, &self.dir);
        renewal::clear(&*self.disk, &self.dir);
        self.acknowledged = Some(commit.number);
        (self.meta, self.sequence) = (commit.meta, commit.sequence);
        (self.nodes, self.log, self.spoilt) = (nodes, Some(log), false);
        self.rows = Rows::default();
        Ok(())
    }

    /// Writes a batch. Once it returns, the batch is there whatever happens.
    ///
    /// # Errors
    /// If it could not be written. Until the server ends, the store is as before the batch; after
    /// that it is as before or after it. The next batch must contain at least the same nodes.
    pub fn commit(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let copies = self.rests == 0;
        let mut committed = self.try_commit(batch, copies);
        if copies && matches!(committed, Err(StoreError::Full { .. })) {
            // There may be space for the batch alone, and it may be what makes more.
            self.rests = RESTED;
            committed = self.try_commit(batch, false);
        }
        committed
    }

    fn try_commit(&mut self, batch: &Batch, copies: bool) -> Result<(), StoreError> {
        if self.log.is_none() || !self.goes_on(batch) {
            self.log = None;
            self.reopen()?;
        }
        match self.write(batch, copies) {
            Ok(orphans) => {
                self.rests = self.rests.saturating_sub(1);
                self.rows = Rows::default();
                for number in orphans {
                    self.payloads.remove(number);
                }
                Ok(())
            }
            Err(error) => {
                // Whether it happened is known when the log is read again.
                self.log = None;
                // Space is what may be lacking: what was written in vain goes.
                let _ = self.reopen();
                Err(error)
            }
        }
    }

    /// Returns the files that nothing refers to any more.
    fn write(&mut self, batch: &Batch, copies: bool) -> Result<Vec<u64>, StoreError> {
        let Some(log) = &mut self.log else {
            return Err(StoreError::damaged(&self.dir, "there is no log"));
        };
        let large = self.options.large;
        let mut target = Target::new(log, &mut self.payloads, batch.sequence, large);
        for (id, stored) in &batch.nodes {
            self.nodes.put(*id, stored.as_ref(), &mut target)?;
        }
        let orphans = target.orphans;
        self.payloads.settle()?;
        if copies
            && !self.spoilt
            && let Some(error) = copy_old(log, &mut self.nodes)?
        {
            self.spoilt = true;
            warn!(name: "store.spoilt", %error, "something in the store cannot be read; the session goes on");
        }
        log.commit(&batch.meta, batch.sequence)?;
        self.acknowledged = Some(log.marked());
        (self.meta, self.sequence) = (batch.meta.clone(), batch.sequence);
        Ok(orphans)
    }

    /// Whether what is in it is damaged, although it can still be written to.
    pub(super) fn is_spoilt(&self) -> bool {
        self.spoilt && self.log.is_some()
    }

    /// Whether [`Self::tidy`] has something to do.
    pub fn is_wasteful(&self) -> bool {
        // Giving it back is a batch, which has nothing of what is written ahead.
        let may_be = !self.spoilt && self.rests == 0 && self.rows.is_empty();
        may_be && self.log.as_ref().is_some_and(Log::is_wasteful)
    }

    /// Gives some space back, in a short time: for when nothing else is to be done.
    ///
    /// # Errors
    /// If it could not be done; nothing is lost by that.
    pub fn tidy(&mut self) -> Result<(), StoreError> {
        let batch = Batch {
            sequence: self.sequence,
            meta: self.meta.clone(),
            nodes: Vec::new(),
        };
        let tidied = self.try_commit(&batch, true);
        if matches!(tidied, Err(StoreError::Full { .. })) {
            self.rests = RESTED;
        }
        tidied
    }

    /// What is in it, in short; reads nothing.
    pub fn summary(&self) -> Summary {
        Summary {
            meta: self.meta.clone(),
            sequence: self.sequence,
            nodes: self.nodes.len(),
            live_bytes: self.nodes.bytes(),
            disk_bytes: self.disk_bytes(),
        }
    }

    /// A number that no node has as its place or version, nor any larger one.
    pub fn next_number(&self) -> u64 {
        let nodes = self.nodes.iter();
        let numbers = nodes.map(|(_, known)| known.version.max(known.about.place));
        numbers.max().map_or(0, |last| last.saturating_add(1))
    }

    /// Bytes it takes on disk.
    pub fn disk_bytes(&self) -> u64 {
        let log = self.log.as_ref().map_or(0, Log::bytes);
        log.saturating_add(self.payloads.bytes())
    }

    /// How many nodes are in it.
    pub fn node_count(&self) -> usize {
        self.nodes.len()
    }
}

/// Copies what counts in the oldest segments to the end of the log while they take too much
/// space. What cannot be read stays where it is, and is returned: it is no reason not to write.
fn copy_old(log: &mut Log, nodes: &mut Nodes) -> Result<Option<StoreError>, StoreError> {
    let mut copied = 0_u64;
    while copied < COPIED
        && let Some(oldest) = log.too_old()
    {
        let mut rows = match log.rows(oldest) {
            Ok(rows) => rows,
            Err(error) => return Ok(Some(error)),
        };
        let path = rows.path().to_owned();
        loop {
            let (at, row) = match rows.next() {
                Ok(Some(next)) => next,
                Ok(None) => break,
                Err(error) => return Ok(Some(error)),
            };
            let Some((id, said)) = content::read(row) else {
                return Ok(Some(segment::damaged(&path, at.offset)));
            };
            if let Some(id) = id.filter(|id| nodes.has(at, *id, &said)) {
                let to = log.append(&[row])?;
                nodes.moved(id, &said, to);
                log.counts(to);
                log.counts_no_more(at);
                copied = copied.saturating_add(at.len);
            }
        }
        if log.too_old() == Some(oldest) {
            return Ok(Some(StoreError::damaged(
                &path,
                "something in it is missing",
            )));
        }
    }
    Ok(None)
}
