//! The mark: how far the log goes.
//!
//! It is written once all of a commit is durable, and says so: what the log has beyond it was never
//! finished, and what it lacks before it is damage. Without it the two could not be told apart.
//!
//! There are two places for it, used in turn. If one is unsound or unreadable, it was being written, or
//! has been damaged since. Either way the commit it was for is durable, and is found in the log after that
//! of the other; if it isn't there, that is damage as well.

use std::path::{Path, PathBuf};

use super::content::{self, Mark, Said};
use super::disk::{Disk, DiskFile, How, is_unreadable};
use super::error::StoreError;

/// The file.
const NAME: &str = "mark";
/// Between the two places: more than a disk writes at once.
const APART: u64 = 4096;

/// The two places, as they are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// The newest that is sound.
    pub(super) newest: Mark,
    /// Whether both are.
    pub(super) sound: bool,
}

/// Where the file is.
pub(super) fn path(session: &Path) -> PathBuf {
    session.join(NAME)
}

/// Reads it.
pub(super) fn read(disk: &dyn Disk, session: &Path) -> Result<Marks, StoreError> {
    let path = path(session);
    let io = |error| StoreError::io("read", &path, error);
    if !disk.exists(&path).map_err(io)? {
        return Err(StoreError::damaged(&path, "the file is missing"));
    }
    let file = disk.open(&path, How::Read).map_err(io)?;
    let len = file.len().map_err(io)?;
    let mut found = [None; 2];
    let mut lost = None;
    for (slot, found) in (0_u64..).zip(&mut found) {
        let mut row = vec![0; row_len()];
        let offset = slot.saturating_mul(APART);
        if offset.saturating_add(row.len() as u64) > len {
            continue;
        }
        match file.read_at(offset, &mut row) {
            Ok(()) => {}
            Err(error) if is_unreadable(&error) => {
                lost = Some(error);
                continue;
            }
            Err(error) => return Err(io(error)),
        }
        if let Some((_, Said::Mark(mark))) = content::read(&row) {
            *found = Some(mark).filter(|mark| place(mark) == offset);
        }
    }
    let sound = match found {
        [Some(one), Some(other)] => one.number.abs_diff(other.number) == 1,
        _ => false,
    };
    let newest = found.into_iter().flatten().max_by_key(|mark| mark.number);
    let newest = newest.ok_or_else(|| match lost {
        Some(error) => io(error),
        None => StoreError::damaged(&path, "it is not what was written"),
    })?;
    Ok(Marks { newest, sound })
}

/// Opens it to write.
pub(super) fn open(disk: &dyn Disk, session: &Path) -> Result<Box<dyn DiskFile>, StoreError> {
    let path = path(session);
    let opened = disk.open(&path, How::Write);
    opened.map_err(|error| StoreError::io("open", &path, error))
}

/// Makes one, with both places filled, durable but for its name.
pub(super) fn create(disk: &dyn Disk, session: &Path, marks: [Mark; 2]) -> Result<(), StoreError> {
    let path = path(session);
    let file = disk.open(&path, How::Anew);
    let file = file.map_err(|error| StoreError::io("make", &path, error))?;
    for mark in marks {
        write(&*file, session, mark)?;
    }
    Ok(())
}

/// Writes it, durably.
pub(super) fn write(file: &dyn DiskFile, session: &Path, mark: Mark) -> Result<(), StoreError> {
    let path = path(session);
    let written = file.write_at(place(&mark), &mark.row());
    let synced = written.and_then(|()| file.sync());
    synced.map_err(|error| StoreError::io("write", &path, error))
}

fn place(mark: &Mark) -> u64 {
    (mark.number % 2).saturating_mul(APART)
}

fn row_len() -> usize {
    use super::row::{END, START};
    START + 4 * 8 + END
}
