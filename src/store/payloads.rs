//! Large bases and deltas, each in a file of its own beside the log.
//!
//! A file is written once, under a temporary name, synced, renamed, and never changed. Only then
//! does the log speak of it, and only when the log has stopped speaking of it is it removed.
//! It holds one row, so it says itself what it is. The files of a batch are written before the
//! first of them is synced, and synced together.
//!
//! The store owns them; `known` has them written, `staged` some of them ahead of their batch.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::content::{self, PayloadRow, STATE, State};
use super::disk::{Disk, DiskFile, How};
use super::error::StoreError;
use super::row::{self, END, From, Kind, START};
use super::segment::{name, number};
use super::staged::Staged;
use crate::memory::pages::Buffer;
use crate::wire::identity::NodeId;

/// The directory of the files, in that of the session.
pub(super) const DIRECTORY: &str = "nodes";
/// What a file ends with that is not finished.
const UNFINISHED: &str = ".new";
/// Files that are open before they are synced: a process may have only so many.
const OPEN: usize = 64;
/// Bytes that are written, about, before they are synced: more would crowd out what the system has
/// in its memory, and keep others who write to this disk waiting.
const UNSYNCED: u64 = 64 << 20;

/// The files of one store.
#[derive(Debug)]
pub(super) struct Payloads {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Those that are there, with their lengths.
    files: HashMap<u64, u64>,
    /// Written under their temporary names, and not synced yet.
    open: Vec<Open>,
    /// Those that no batch speaks of yet, and one will.
    pub(super) staged: Staged,
    /// Names of those that were never finished.
    unfinished: Vec<String>,
    /// Written since the directory was last synced.
    unsettled: bool,
    last: u64,
}

/// One that is written and not synced.
#[derive(Debug)]
struct Open {
    number: u64,
    len: u64,
    file: Box<dyn DiskFile>,
}

impl Payloads {
    /// Makes the directory of a new store.
    pub(super) fn create(disk: &dyn Disk, session: &Path) -> Result<(), StoreError> {
        let dir = session.join(DIRECTORY);
        disk.create_dir(&dir)
            .map_err(|error| StoreError::io("make", &dir, error))
    }

    /// Looks at what is there.
    pub(super) fn open(disk: Arc<dyn Disk>, session: &Path) -> Result<Self, StoreError> {
        let dir = session.join(DIRECTORY);
        let listed = disk
            .list(&dir)
            .map_err(|error| StoreError::io("list", &dir, error))?;
        let (mut files, mut unfinished) = (HashMap::new(), Vec::new());
        for (name, len) in listed {
            if let Some(number) = number(&name) {
                files.insert(number, len);
            } else if name.ends_with(UNFINISHED) {
                unfinished.push(name);
            }
        }
        Ok(Self {
            disk,
            last: files.keys().copied().max().unwrap_or_default(),
            files,
            open: Vec::new(),
            staged: Staged::default(),
            unfinished,
            unsettled: false,
            dir,
        })
    }

    /// Writes one. It can be relied on after [`Self::settle`].
    pub(super) fn write(
        &mut self,
        kind: Kind,
        id: NodeId,
        state: State,
        payload: &Bytes,
    ) -> Result<u64, StoreError> {
        let unsynced: u64 = self.open.iter().map(|open| open.len).sum();
        if self.open.len() >= OPEN || unsynced >= UNSYNCED {
            self.finish()?;
        }
        self.last = self.last.saturating_add(1);
        let number = self.last;
        let unfinished = self.unfinished(number);
        match self.write_to(&unfinished, (kind, id, state), payload) {
            Ok((file, len)) => {
                self.open.push(Open { number, len, file });
                Ok(number)
            }
            Err(error) => {
                // Above all on a full disk.
                let _ = self.disk.remove(&unfinished);
                Err(self.write_error(number, error))
            }
        }
    }

    fn write_to(
        &self,
        path: &Path,
        (kind, id, state): (Kind, NodeId, State),
        payload: &Bytes,
    ) -> std::io::Result<(Box<dyn DiskFile>, u64)> {
        let row = PayloadRow::new(kind, id, state, payload);
        let parts = row.parts();
        let len = parts.iter().map(|part| part.len() as u64).sum();
        Ok((self.disk.write_anew(path, &parts)?, len))
    }

    /// Syncs those that are open, and gives them their names.
    pub(super) fn finish(&mut self) -> Result<(), StoreError> {
        let files: Vec<_> = self.open.iter().map(|open| &*open.file).collect();
        let synced = self.disk.sync_all(&files);
        synced.map_err(|error| StoreError::io("write", &self.dir, error))?;
        while let Some(Open { number, len, file }) = self.open.pop() {
            // Not every system renames what is open.
            drop(file);
            let (unfinished, path) = (self.unfinished(number), self.path(number));
            if let Err(error) = self.disk.rename(&unfinished, &path) {
                // It may have either name.
                let _ = self.disk.remove(&unfinished);
                let _ = self.disk.remove(&path);
                return Err(self.write_error(number, error));
            }
            self.files.insert(number, len);
            self.unsettled = true;
        }
        Ok(())
    }

    /// Removes those that are open.
    pub(super) fn abandon(&mut self) {
        for Open { number, file, .. } in std::mem::take(&mut self.open) {
            drop(file);
            let _ = self.disk.remove(&self.unfinished(number));
        }
    }

    fn write_error(&self, number: u64, error: std::io::Error) -> StoreError {
        StoreError::io("write", &self.path(number), error)
    }

    /// Makes those written durable, with their names.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        self.finish()?;
        if self.unsettled {
            self.disk
                .sync_dir(&self.dir)
                .map_err(|error| StoreError::io("sync", &self.dir, error))?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Removes one. If that fails, the next [`Self::sweep`] does.
    pub(super) fn remove(&mut self, number: u64) {
        if self.disk.remove(&self.path(number)).is_ok() {
            self.files.remove(&number);
        }
    }

    /// Whether it is written, and has its name.
    pub(super) fn has(&self, number: u64) -> bool {
        self.files.contains_key(&number)
    }

    /// Removes all that the log does not speak of, what is staged included, and what a server that
    /// was ended while it wrote has left. If it stays, it does no harm.
    pub(super) fn sweep(&mut self, used: &HashSet<u64>) {
        self.staged = Staged::default();
        self.abandon();
        for name in std::mem::take(&mut self.unfinished) {
            let _ = self.disk.remove(&self.dir.join(name));
        }
        let orphans = self.files.keys().filter(|number| !used.contains(number));
        for number in orphans.copied().collect::<Vec<_>>() {
            self.remove(number);
        }
    }

    /// The directory of the session has another name.
    pub(super) fn has_moved(&mut self, session: &Path) {
        self.dir = session.join(DIRECTORY);
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name(number))
    }

    fn unfinished(&self, number: u64) -> PathBuf {
        let extension = UNFINISHED.trim_start_matches('.');
        self.path(number).with_extension(extension)
    }
}

/// Where the file of this number is.
pub(super) fn path(session: &Path, number: u64) -> PathBuf {
    session.join(DIRECTORY).join(name(number))
}

/// Reads a payload from the file of this number in the directory of a session.
pub(super) fn read(
    disk: &dyn Disk,
    session: &Path,
    number: u64,
    (kind, id, state): (Kind, NodeId, State),
) -> Result<Bytes, StoreError> {
    let path = path(session, number);
    let damaged = |what: &str| StoreError::damaged(&path, format!("node {id}: {what}"));
    let io = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged("the file is missing"),
        _ => StoreError::io("read", &path, error),
    };
    let file = disk.open(&path, How::Read).map_err(io)?;
    let len = file.len().map_err(io)?;
    let mut start = [0; START + STATE];
    let mut end = [0; END];
    let payload = len.checked_sub((START + STATE + END) as u64);
    let Some(payload) = payload.and_then(|len| usize::try_from(len).ok()) else {
        return Err(damaged("it is cut short"));
    };
    file.read_at(0, &mut start).map_err(io)?;
    // Before memory is taken: what the file says of itself must be true.
    if row::read_start(&start) != Some((kind, Some(id), len)) {
        return Err(damaged("it is not what was written"));
    }
    let (_, found) = start.split_at(START);
    if content::read_state(&mut From(found)) != Some(state) {
        return Err(damaged("it holds another state of the node"));
    }
    let mut payload = Buffer::in_large_pages(payload);
    file.read_at(start.len() as u64, &mut payload).map_err(io)?;
    let after = len.saturating_sub(END as u64);
    file.read_at(after, &mut end).map_err(io)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&start);
    sum.update(&payload);
    if sum.finalize().to_le_bytes() != end {
        return Err(damaged("its checksum is wrong"));
    }
    Ok(payload.freeze())
}

/// Length of the payload in such a file.
pub(super) fn len(disk: &dyn Disk, session: &Path, number: u64) -> std::io::Result<u64> {
    let path = path(session, number);
    let len = disk.open(&path, How::Read)?.len()?;
    Ok(len.saturating_sub((START + STATE + END) as u64))
}
