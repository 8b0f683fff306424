//! Puts a new store in the place of one that turns out to be damaged while the server runs.
//!
//! The session has everything in memory, and hands over all of it ([`Task::Whole`](super::Task)). It
//! is written to a store beside the damaged one (`begin`). What says that this is one is written
//! last: from then on it counts, and has all that was ever promised. Then the damaged one gets another
//! name, under which it stays, and the new one its place. Whoever is ended before that leaves it to the
//! next ([`finish`]).
//!
//! Nothing is written to the damaged one once the new one may count.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use tracing::warn;

use super::claim::{LOCK, lock, lock_if_there};
use super::disk::{Disk, DiskFile, How, rename_for_good};
use super::known::{Nodes, Scan};
use super::{Batch, Claim, Store, StoreError, format, payloads, segment};

impl Store {
    /// Writes all there is of the session to a new store, which takes the place of this one. This
    /// one stays beside it.
    ///
    /// # Errors
    /// If it could not be done. Then a commit may be tried again, and so may this.
    pub fn renew(&mut self, whole: &Batch) -> Result<(), StoreError> {
        if self.next.is_none() {
            if self.log.is_none() {
                // Where everything was is of no use any more, and takes memory beside where it will be.
                self.nodes = Nodes::default();
            }
            match self.built(whole) {
                Ok(next) => self.next = Some(Box::new(next)),
                Err(error) => {
                    // Space is what may be lacking.
                    clear(&*self.disk, &self.dir);
                    return Err(error);
                }
            }
        }
        if let Err(error) = self.go_over() {
            if self.next.is_some() {
                // Nothing is written any more to one that may not count.
                self.log = None;
            }
            return Err(error);
        }
        self.commit(whole)
    }

    fn built(&self, whole: &Batch) -> Result<Self, StoreError> {
        // Where its disk was mounted there would be another one.
        if !has(&*self.disk, &self.dir.join(LOCK))? {
            let dir = self.dir.clone();
            return Err(StoreError::Missing { dir });
        }
        let disk = Arc::clone(&self.disk);
        let mut new = Claim::begin(disk, &renewed(&self.dir), self.options.clone())?;
        new.reopen()?;
        new.commit(whole)?;
        Ok(new)
    }

    /// Goes on in the new store, if one is written.
    pub(super) fn go_over(&mut self) -> Result<bool, StoreError> {
        let Some(next) = &mut self.next else {
            return Ok(false);
        };
        let (disk, dir) = (&*self.disk, &self.dir);
        // Otherwise it has its place already, but perhaps not for good.
        if next.dir != *dir {
            let new = renewed(dir);
            if !has(disk, &new.join(LOCK))? {
                // Somebody made space.
                self.next = None;
                return Err(StoreError::Missing { dir: new });
            }
            format::write(disk, &new, format::FORMAT)?;
            if let Err(error) = set_aside(disk, dir) {
                // What still takes changes goes on if the new one is sure not to count.
                if self.log.is_some() && has(disk, dir)? && format::remove(disk, &new).is_ok() {
                    self.next = None;
                    clear(disk, dir);
                }
                return Err(error);
            }
            let renamed = disk.rename(&new, dir);
            renamed.map_err(|error| StoreError::io("rename", &new, error))?;
            next.has_moved(dir);
        }
        sync_above(disk, dir)?;
        if let Some(next) = self.next.take() {
            *self = *next;
        }
        Ok(true)
    }

    /// Reads once more what could not be read: a disk that fails may not do so the next time. Returns whether
    /// all of it can be read now; the store goes on with that then.
    pub(super) fn can_be_read_after_all(&mut self) -> bool {
        let read = self.scan(Scan::default()).and_then(|(reading, scan)| {
            let nodes = scan.finish(&self.dir, |_, _, _| {})?;
            Ok((reading, nodes))
        });
        let Ok((reading, nodes)) = read else {
            return false;
        };
        (self.log, self.spoilt) = (None, false);
        // If that fails, the next commit does it.
        let _ = self.go_on(reading, nodes);
        true
    }

    fn has_moved(&mut self, dir: &Path) {
        self.dir = dir.to_owned();
        self.payloads.has_moved(dir);
        if let Some(log) = &mut self.log {
            log.has_moved(dir);
        }
    }
}

/// Puts the new store in its place that somebody was ended over, and takes it. `None` if there is
/// none.
pub(super) fn finish(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
    if !counts(disk, dir)? {
        return Ok(None);
    }
    let _damaged = lock_if_there(disk, dir)?;
    // Somebody else may have been quicker.
    if !counts(disk, dir)? {
        return Ok(None);
    }
    let new = renewed(dir);
    let lock = lock(disk, &new, How::Write).map_err(|error| match error {
        StoreError::Locked { .. } => StoreError::Locked {
            dir: dir.to_owned(),
        },
        error => error,
    })?;
    // That it counts may not have reached the disk.
    let synced = disk.sync_dir(&new);
    synced.map_err(|error| StoreError::io("write", &new, error))?;
    set_aside(disk, dir)?;
    let renamed = disk.rename(&new, dir);
    renamed.map_err(|error| StoreError::io("rename", &new, error))?;
    sync_above(disk, dir)?;
    Ok(Some(lock))
}

/// Removes what is there of a new store that was never finished. If it stays, it does no harm.
pub(super) fn clear(disk: &dyn Disk, dir: &Path) {
    if !matches!(counts(disk, dir), Ok(false)) {
        return;
    }
    let new = renewed(dir);
    let log = new.join(segment::DIRECTORY);
    for dir in [new.join(payloads::DIRECTORY), log, new] {
        for (name, _) in disk.list(&dir).unwrap_or_default() {
            if name != LOCK {
                let _ = disk.remove(&dir.join(name));
            }
        }
    }
}

/// Sets the damaged store aside, if that is not done.
fn set_aside(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    if !has(disk, dir)? {
        // Who renamed it may not have come to that.
        return sync_above(disk, dir);
    }
    let damaged = free(disk, dir)?;
    let renamed = rename_for_good(disk, dir, &damaged);
    renamed.map_err(|error| StoreError::io("rename", dir, error))?;
    warn!(name: "store.set_aside", damaged = %damaged.display(),
        "what was kept of the session was damaged, and is here now");
    Ok(())
}

/// Has the names of stores reach the disk.
fn sync_above(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    let synced = dir.parent().map_or(Ok(()), |above| disk.sync_dir(above));
    synced.map_err(|error| StoreError::io("rename", dir, error))
}

/// A name for the damaged store that nothing has.
fn free(disk: &dyn Disk, dir: &Path) -> Result<PathBuf, StoreError> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut number = now.map_or(0, |since| since.as_secs());
    loop {
        let damaged = beside(dir, &format!("damaged-{number}"));
        if !has(disk, &damaged)? {
            return Ok(damaged);
        }
        number = number.saturating_add(1);
    }
}

/// Whether there is a new store for the place of one, and all of it.
fn counts(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
    let found = disk.exists(&renewed(dir).join(format::NAME));
    // Hardly anybody has one: what cannot be looked at is where the session is.
    found.map_err(|error| StoreError::io("read", dir, error))
}

fn has(disk: &dyn Disk, path: &Path) -> Result<bool, StoreError> {
    let found = disk.exists(path);
    found.map_err(|error| StoreError::io("read", path, error))
}

/// Where the new store is before it has its place.
fn renewed(dir: &Path) -> PathBuf {
    beside(dir, "renewed")
}

fn beside(dir: &Path, what: &str) -> PathBuf {
    // No session is called so.
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{what}"))
}
