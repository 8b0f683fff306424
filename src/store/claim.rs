//! Takes a store for one server, and makes one where there is none.
//!
//! That is done in a moment, so that a server has its place, or says why not, before it reads what
//! may be gigabytes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, DiskFile, How, SystemDisk, sync_ancestors};
use super::known::Nodes;
use super::log::Log;
use super::payloads::Payloads;
use super::staged::Rows;
use super::{Meta, Options, Store, StoreError, Stored, format, legacy, renewal};
use crate::wire::identity::NodeId;

/// Who holds it uses the store.
pub(super) const LOCK: &str = "lock";

/// A store that is ours, and has not been read.
#[derive(Debug)]
pub struct Claim {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: Options,
    lock: Box<dyn DiskFile>,
}

impl Claim {
    /// Takes the store in a directory, or a place for one, in a moment however large it is.
    ///
    /// # Errors
    /// If a server has it, if it cannot be read or written, and if a newer server wrote it.
    pub fn new(dir: &Path, options: Options) -> Result<Self, StoreError> {
        Self::on(Arc::new(SystemDisk), dir, options, true)
    }

    pub(super) fn on(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
        make: bool,
    ) -> Result<Self, StoreError> {
        let renewed = renewal::finish(&*disk, dir)?;
        if make {
            disk.create_dir(dir)
                .map_err(|error| StoreError::io("make", dir, error))?;
        } else if !is_there(&*disk, dir)? {
            let dir = dir.to_owned();
            return Err(StoreError::Missing { dir });
        }
        let lock = match renewed {
            Some(lock) => lock,
            None => lock(&*disk, dir, How::Write)?,
        };
        format::check_readable(&*disk, dir)?;
        Ok(Self {
            disk,
            dir: dir.to_owned(),
            options,
            lock,
        })
    }

    /// Opens it and gives all nodes, in any order, in one go.
    ///
    /// # Errors
    /// If it cannot be read or written, or is damaged. What was given until then is to be dropped.
    pub fn load(self, each: impl FnMut(NodeId, Stored)) -> Result<(Store, Meta, u64), StoreError> {
        let mut store = self.store()?;
        let (meta, sequence) = store.load(each)?;
        Ok((store, meta, sequence))
    }

    /// The store, its log not read yet. One of an older format is brought up to date.
    pub(super) fn store(self) -> Result<Store, StoreError> {
        if !format::check(&self.disk, &self.dir)? {
            create(&*self.disk, &self.dir)?;
        }
        self.opened()
    }

    /// Makes a store in the place of what may have been begun of one. What says that it is one
    /// [comes later](format::write).
    pub(super) fn begin(
        disk: Arc<dyn Disk>,
        dir: &Path,
        options: Options,
    ) -> Result<Store, StoreError> {
        disk.create_dir(dir)
            .map_err(|error| StoreError::io("make", dir, error))?;
        let claim = Self {
            lock: lock(&*disk, dir, How::Write)?,
            dir: dir.to_owned(),
            disk,
            options,
        };
        begin(&*claim.disk, dir)?;
        claim.opened()
    }

    fn opened(self) -> Result<Store, StoreError> {
        let payloads = Payloads::open(Arc::clone(&self.disk), &self.dir)?;
        Ok(Store {
            disk: self.disk,
            dir: self.dir,
            options: self.options,
            log: None,
            payloads,
            nodes: Nodes::default(),
            rows: Rows::default(),
            meta: Meta::default(),
            sequence: 0,
            acknowledged: None,
            spoilt: false,
            rests: 0,
            next: None,
            _lock: self.lock,
        })
    }
}

/// Takes the store for this process.
pub(super) fn lock(disk: &dyn Disk, dir: &Path, how: How) -> Result<Box<dyn DiskFile>, StoreError> {
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

/// Keeps servers away; an absent lock is not made, since nothing is to be changed there.
pub(super) fn lock_if_there(
    disk: &dyn Disk,
    dir: &Path,
) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
    match disk.exists(&dir.join(LOCK)) {
        Ok(true) => lock(disk, dir, How::Read).map(Some),
        _ => Ok(None),
    }
}

/// Whether there is a store, or what is left of one.
fn is_there(disk: &dyn Disk, dir: &Path) -> Result<bool, StoreError> {
    let has_format = format::check_readable(disk, dir)?.is_some();
    Ok(has_format || Log::is_used(disk, dir)? || legacy::is_used(disk, dir)?)
}

/// Makes an empty store. What says that there is one comes last.
fn create(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    // One that was begun has no nodes; another has lost what said that it is one.
    if Log::is_used(disk, dir)? || legacy::is_used(disk, dir)? {
        return Err(StoreError::damaged(dir, "the file `format` is missing"));
    }
    begin(disk, dir)?;
    format::write(disk, dir, format::FORMAT)
}

/// Makes what an empty store has, but for what says that it is one.
fn begin(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    Payloads::create(disk, dir)?;
    Log::create(disk, dir)?;
    let sync = |dir: &Path| {
        let synced = disk.sync_dir(dir);
        synced.map_err(|error| StoreError::io("make", dir, error))
    };
    sync(dir)?;
    let above = match dir.parent() {
        Some(above) if above.as_os_str().is_empty() => Path::new("."),
        Some(above) => above,
        None => return Ok(()),
    };
    sync(above)?;
    sync_ancestors(disk, above);
    Ok(())
}
