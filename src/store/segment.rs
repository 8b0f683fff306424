//! Reads the rows of a segment of the log, one after the other, through a window.

use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, How};
use super::error::StoreError;
use super::row::{self, START};

/// The directory of the segments, in that of the session.
pub(super) const DIRECTORY: &str = "log";
/// Bytes that are read at once.
const WINDOW: usize = 1 << 20;

/// Where a row stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct At {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) len: u64,
}

/// Where a segment is.
pub(super) fn path(session: &Path, number: u64) -> PathBuf {
    session.join(DIRECTORY).join(name(number))
}

/// The segments that are there, with their lengths, in their order.
pub(super) fn list(disk: &dyn Disk, session: &Path) -> Result<Vec<(u64, u64)>, StoreError> {
    let dir = session.join(DIRECTORY);
    let listed = disk.list(&dir);
    let listed = listed.map_err(|error| StoreError::io("list", &dir, error))?;
    let mut found: Vec<_> = listed
        .into_iter()
        .filter_map(|(name, len)| Some((number(&name)?, len)))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The name of a numbered file.
pub(super) fn name(number: u64) -> String {
    format!("{number:016x}")
}

/// The number in such a name.
pub(super) fn number(text: &str) -> Option<u64> {
    let number = u64::from_str_radix(text, 16).ok()?;
    (text == name(number)).then_some(number)
}

/// The rows of a segment, in their order.
pub(super) struct Rows {
    file: Box<dyn DiskFile>,
    path: PathBuf,
    segment: u64,
    /// Where the next row begins.
    offset: u64,
    /// Where the last one ends.
    end: u64,
    window: Vec<u8>,
    /// Where in the file the window begins, and how much of it is filled.
    from: u64,
    filled: usize,
}

impl Rows {
    /// The rows from a place in a segment to another, or to its end.
    pub(super) fn open(
        disk: &dyn Disk,
        session: &Path,
        segment: u64,
        from: u64,
        to: Option<u64>,
    ) -> Result<Self, StoreError> {
        let path = path(session, segment);
        let io = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => StoreError::damaged(&path, "the file is missing"),
            _ => StoreError::io("read", &path, error),
        };
        let file = disk.open(&path, How::Read).map_err(io)?;
        let len = file.len().map_err(io)?;
        let end = to.unwrap_or(len);
        if end > len {
            return Err(StoreError::damaged(&path, "it is cut short"));
        }
        Ok(Self {
            file,
            path,
            segment,
            offset: from,
            end,
            window: Vec::new(),
            from,
            filled: 0,
        })
    }

    /// Where the last row ends.
    pub(super) fn end(&self) -> u64 {
        self.end
    }

    /// Where the file is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The next row, which may yet be unsound in itself; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<(At, &[u8])>, StoreError> {
        if self.offset == self.end {
            return Ok(None);
        }
        let start = self.look(START as u64)?;
        let Some((_, _, len)) = row::read_start(start) else {
            return Err(self.damaged());
        };
        let at = At {
            segment: self.segment,
            offset: self.offset,
            len,
        };
        self.look(len)?;
        self.offset = self.offset.saturating_add(len);
        Ok(self.seen(at.offset, len).map(|row| (at, row)))
    }

    /// That there is no sound row at the present place.
    fn damaged(&self) -> StoreError {
        damaged(&self.path, self.offset)
    }

    /// The next so many bytes.
    fn look(&mut self, len: u64) -> Result<&[u8], StoreError> {
        let left = self.end.saturating_sub(self.offset);
        // Memory is taken only for what is there.
        if len > left {
            return Err(self.damaged());
        }
        let end = self.offset.saturating_add(len);
        if end > self.from.saturating_add(self.filled as u64) {
            let fill = left.min(len.max(WINDOW as u64));
            let fill = usize::try_from(fill).map_err(|_| self.damaged())?;
            if self.window.len() < fill {
                self.window.resize(fill, 0);
            }
            (self.from, self.filled) = (self.offset, 0);
            if let Some(into) = self.window.get_mut(..fill) {
                let read = self.file.read_at(self.offset, into);
                read.map_err(|error| StoreError::io("read", &self.path, error))?;
            }
            self.filled = fill;
        }
        Ok(self.seen(self.offset, len).unwrap_or_default())
    }

    fn seen(&self, offset: u64, len: u64) -> Option<&[u8]> {
        let start = usize::try_from(offset.checked_sub(self.from)?).ok()?;
        let end = start.checked_add(usize::try_from(len).ok()?)?;
        self.window.get(..self.filled)?.get(start..end)
    }
}

/// That there is no sound row at a place.
pub(super) fn damaged(path: &Path, offset: u64) -> StoreError {
    let what = format!("what is at byte {offset} is not what was written");
    StoreError::damaged(path, what)
}

/// Reads one row.
pub(super) fn read_row(file: &dyn DiskFile, path: &Path, at: At) -> Result<Vec<u8>, StoreError> {
    let io = |error| StoreError::io("read", path, error);
    let end = at.offset.checked_add(at.len);
    let there = file.len().map_err(io)?;
    // Memory is taken only for what is there.
    if end.is_none_or(|end| end > there) {
        return Err(StoreError::damaged(path, "it is cut short"));
    }
    let mut row = vec![0; usize::try_from(at.len).unwrap_or_default()];
    file.read_at(at.offset, &mut row).map_err(io)?;
    Ok(row)
}
