//! Which format a store has: a number in a file of its own, in plain text, so that any version can
//! tell whatever the formats after it look like.
//!
//! A store of an older format is brought up to date when it is opened, one step after the other.

use std::io;
use std::path::Path;
use std::sync::Arc;

use super::disk::{Disk, How};
use super::error::StoreError;
use super::legacy;

/// The format this version writes.
pub(super) const FORMAT: u32 = 2;
/// The file that says so.
pub(super) const NAME: &str = "format";
const UNFINISHED: &str = "format.new";
/// Longer than any that we write.
const LONGEST: u64 = 1024;
const BY: &str = "written by multi-user-server ";

/// Turns a store of one format into one of the next.
type Step = fn(&Arc<dyn Disk>, &Path) -> Result<(), StoreError>;

/// The steps, the first from format 1 to 2. An interrupted step is done again from its start, so
/// it must bear to find its own work half done.
const STEPS: &[Step] = &[legacy::to_log];

/// Brings a store up to date. `false` if there is none yet.
pub(super) fn check(disk: &Arc<dyn Disk>, dir: &Path) -> Result<bool, StoreError> {
    let Some(format) = check_readable(&**disk, dir)? else {
        return Ok(false);
    };
    let Some(done) = format.checked_sub(1) else {
        return Err(StoreError::damaged(&dir.join(NAME), "there is no format 0"));
    };
    for (format, step) in (2..).zip(STEPS.iter().skip(done as usize)) {
        step(disk, dir)?;
        write(&**disk, dir, format)?;
    }
    Ok(true)
}

/// The format of a store, if it isn't newer than those known here.
pub(super) fn check_readable(disk: &dyn Disk, dir: &Path) -> Result<Option<u32>, StoreError> {
    match read(disk, dir)? {
        Some((format, by)) if format > FORMAT => Err(StoreError::Newer {
            path: dir.join(NAME),
            by,
            format,
            known: FORMAT,
        }),
        found => Ok(found.map(|(format, _)| format)),
    }
}

/// Says that the store has this format.
pub(super) fn write(disk: &dyn Disk, dir: &Path, format: u32) -> Result<(), StoreError> {
    let (path, unfinished) = (dir.join(NAME), dir.join(UNFINISHED));
    let text = format!("{format}\n{BY}{}\n", env!("CARGO_PKG_VERSION"));
    let written = (|| {
        let file = disk.open(&unfinished, How::Anew)?;
        file.write_at(0, text.as_bytes())?;
        file.sync()?;
        disk.rename(&unfinished, &path)?;
        disk.sync_dir(dir)
    })();
    written.map_err(|error| StoreError::io("write", &path, error))
}

/// Has what is there not be a store any more, for good.
pub(super) fn remove(disk: &dyn Disk, dir: &Path) -> io::Result<()> {
    disk.remove(&dir.join(NAME))?;
    disk.sync_dir(dir)
}

fn read(disk: &dyn Disk, dir: &Path) -> Result<Option<(u32, String)>, StoreError> {
    let path = dir.join(NAME);
    let text = (|| {
        if !disk.exists(&path)? {
            return Ok(None);
        }
        let file = disk.open(&path, How::Read)?;
        let mut text = vec![0; usize::try_from(file.len()?.min(LONGEST)).unwrap_or_default()];
        file.read_at(0, &mut text)?;
        Ok(Some(text))
    })();
    let text = text.map_err(|error| StoreError::io("read", &path, error))?;
    let Some(text) = text else {
        return Ok(None);
    };
    let parsed = std::str::from_utf8(&text).ok().and_then(|text| {
        let mut lines = text.lines();
        let format = lines.next()?.parse().ok()?;
        let by = lines.next().and_then(|line| line.strip_prefix(BY));
        Some((format, by.unwrap_or("of an unknown version").to_owned()))
    });
    let damaged = || StoreError::damaged(&path, "it does not begin with the number of a format");
    parsed.ok_or_else(damaged).map(Some)
}
