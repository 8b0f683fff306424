//! Large bases, each in a file of its own beside the index.
//!
//! A file is written once, under a temporary name, synced, renamed, and never changed. Only then
//! does the index speak of it, and only when the index has stopped speaking of it is it removed.
//! It holds one row, so it says itself what it is.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::disk::{Disk, How};
use super::error::StoreError;
use super::row::{self, BASE_START, END, Kind, START};
use crate::wire::identity::NodeId;

/// The directory of the files, in that of the session.
const DIRECTORY: &str = "nodes";
/// What a file ends with that is not finished.
const UNFINISHED: &str = ".new";

/// The files of one store.
#[derive(Debug)]
pub(super) struct Payloads {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    /// Those that are there, with their lengths.
    files: HashMap<u64, u64>,
    /// Written since the directory was last synced.
    unsettled: bool,
    last: u64,
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
        let mut files = HashMap::new();
        for (name, len) in listed {
            if let Some(number) = number(&name) {
                files.insert(number, len);
            } else if name.ends_with(UNFINISHED) {
                // Of a server that was ended while it wrote. If it stays, it does no harm.
                let _ = disk.remove(&dir.join(name));
            }
        }
        Ok(Self {
            disk,
            last: files.keys().copied().max().unwrap_or_default(),
            files,
            unsettled: false,
            dir,
        })
    }

    /// Writes one. It can be relied on after [`Self::settle`].
    pub(super) fn write(
        &mut self,
        id: NodeId,
        (version, tail_start): (u64, u64),
        payload: &Bytes,
    ) -> Result<u64, StoreError> {
        self.last = self.last.saturating_add(1);
        let number = self.last;
        let path = self.path(number);
        let unfinished = path.with_extension(UNFINISHED.trim_start_matches('.'));
        let written = self.write_to(&unfinished, id, (version, tail_start), payload);
        let written = written.and_then(|len| {
            self.disk.rename(&unfinished, &path)?;
            Ok(len)
        });
        match written {
            Ok(len) => {
                self.files.insert(number, len);
                self.unsettled = true;
                Ok(number)
            }
            Err(error) => {
                // Above all on a full disk.
                let _ = self.disk.remove(&unfinished);
                Err(StoreError::io("write", &path, error))
            }
        }
    }

    fn write_to(
        &self,
        path: &Path,
        id: NodeId,
        (version, tail_start): (u64, u64),
        payload: &Bytes,
    ) -> std::io::Result<u64> {
        let file = self.disk.open(path, How::Anew)?;
        let body = BASE_START.saturating_add(payload.len());
        let mut start = row::start(Kind::Base, Some(id), body);
        start.extend_from_slice(&row::base_start(version, tail_start));
        let mut sum = crc32fast::Hasher::new();
        sum.update(&start);
        sum.update(payload);
        let after = (start.len() as u64).saturating_add(payload.len() as u64);
        file.write_at(0, &start)?;
        file.write_at(start.len() as u64, payload)?;
        file.write_at(after, &sum.finalize().to_le_bytes())?;
        file.sync()?;
        Ok(after.saturating_add(END as u64))
    }

    /// Makes the names of those written durable.
    pub(super) fn settle(&mut self) -> Result<(), StoreError> {
        if self.unsettled {
            self.disk
                .sync_dir(&self.dir)
                .map_err(|error| StoreError::io("sync", &self.dir, error))?;
            self.unsettled = false;
        }
        Ok(())
    }

    /// Reads one that the index speaks of: the payload.
    pub(super) fn read(
        &self,
        number: u64,
        id: NodeId,
        state: (u64, u64),
    ) -> Result<Bytes, StoreError> {
        let path = self.path(number);
        let damaged = |what: &str| StoreError::damaged(&path, format!("node {id}: {what}"));
        if !self.files.contains_key(&number) {
            return Err(damaged("the file is missing"));
        }
        let (found, payload) = read_file(&*self.disk, &path, id)?;
        match found == state {
            true => Ok(payload),
            false => Err(damaged("it holds another state of the node")),
        }
    }

    /// Removes one. If that fails, the next [`Self::sweep`] does.
    pub(super) fn remove(&mut self, number: u64) {
        if self.disk.remove(&self.path(number)).is_ok() {
            self.files.remove(&number);
        }
    }

    /// Removes all that the index does not speak of.
    pub(super) fn sweep(&mut self, used: &HashSet<u64>) {
        let orphans = self.files.keys().filter(|number| !used.contains(number));
        for number in orphans.copied().collect::<Vec<_>>() {
            self.remove(number);
        }
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.files.values().sum()
    }

    fn path(&self, number: u64) -> PathBuf {
        self.dir.join(name(number))
    }

    /// Where one is in the directory of a session.
    pub(super) fn path_in(session: &Path, number: u64) -> PathBuf {
        session.join(DIRECTORY).join(name(number))
    }
}

/// Reads a base from its file: which state it is, and the payload.
pub(super) fn read_file(
    disk: &dyn Disk,
    path: &Path,
    id: NodeId,
) -> Result<((u64, u64), Bytes), StoreError> {
    let damaged = |what: &str| StoreError::damaged(path, format!("node {id}: {what}"));
    let io = |error| StoreError::io("read", path, error);
    let file = disk.open(path, How::Read).map_err(io)?;
    let len = file.len().map_err(io)?;
    let mut start = [0; START + BASE_START];
    let mut end = [0; END];
    let payload = len.checked_sub((START + BASE_START + END) as u64);
    let Some(payload) = payload.and_then(|len| usize::try_from(len).ok()) else {
        return Err(damaged("it is cut short"));
    };
    file.read_at(0, &mut start).map_err(io)?;
    // Before memory is taken: what the file says of itself must be true.
    if row::read_start(&start) != Some((Kind::Base, Some(id), len)) {
        return Err(damaged("it is not what was written"));
    }
    let mut payload = vec![0; payload];
    file.read_at(start.len() as u64, &mut payload).map_err(io)?;
    let after = len.saturating_sub(END as u64);
    file.read_at(after, &mut end).map_err(io)?;
    let mut sum = crc32fast::Hasher::new();
    sum.update(&start);
    sum.update(&payload);
    if sum.finalize().to_le_bytes() != end {
        return Err(damaged("its checksum is wrong"));
    }
    let state = start.last_chunk().and_then(row::read_base_start);
    let state = state.ok_or_else(|| damaged("it is not what was written"))?;
    Ok((state, payload.into()))
}

fn name(number: u64) -> String {
    format!("{number:016x}")
}

fn number(text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (text == name(number)).then_some(number)
}
