//! The log: rows, one after the other, in segments that are files of a bounded size.
//!
//! A commit appends rows (some may be there before it comes, `staged`), ends with one that says so,
//! is synced, and is then [marked](super::mark). Nothing that was committed is ever overwritten. What
//! rows later in the log say replaces what earlier ones said. Only the oldest segment is ever given
//! up, once the rows in it that still count have been copied to the end: so of everything that is
//! said in the log, what replaced it is there as well.
//!
//! The store owns it, and tells it which rows count (`known`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::content::{self, Commit, Mark};
use super::disk::{Disk, DiskFile, How};
use super::error::StoreError;
use super::mark;
use super::segment::{self, At, DIRECTORY, Rows};
use super::{Meta, Options};

mod read;

pub(super) use read::{Reading, read};

/// Bytes that are written at once.
const PIECE: usize = 1 << 20;
/// Segments that are ended before they are synced, and their bytes, about: as many as may be open,
/// and as much as does not keep others who write to this disk waiting.
const OPEN: usize = 64;
const UNSYNCED: u64 = 64 << 20;
/// A segment is ended when it has an eighth of what counts, but at the latest here: there is never
/// long work to copy one. (There is also a least size, so that there are few where there is little.)
const SEGMENT: u64 = 8 << 20;

#[derive(Debug, Default)]
struct Segment {
    len: u64,
    /// Bytes of the rows that count.
    live: u64,
}

/// A log that is written.
#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    session: PathBuf,
    /// Bytes that the smallest segment has.
    least: u64,
    /// Parts of rows of this length are written from where they are.
    apart: usize,
    mark: Mark,
    mark_file: Box<dyn DiskFile>,
    /// Those that count; the last is the one that is written.
    segments: BTreeMap<u64, Segment>,
    live: u64,
    total: u64,
    /// The last segment.
    number: u64,
    file: Box<dyn DiskFile>,
    /// What is yet to be written at its end.
    buffer: Vec<u8>,
    /// Those before it that are not durable yet, and their bytes.
    ended: Vec<Box<dyn DiskFile>>,
    unsynced: u64,
    /// A file was made since the directory was last synced.
    is_new: bool,
    /// Segments that go when it is certain that nothing needs them.
    given_up: Vec<u64>,
}

impl Log {
    /// Makes an empty one, in the place of what may have been begun. Its directory's name is yet
    /// to be made durable.
    pub(super) fn create(disk: &dyn Disk, session: &Path) -> Result<(), StoreError> {
        let dir = session.join(DIRECTORY);
        let io = |error| StoreError::io("make", &dir, error);
        disk.create_dir(&dir).map_err(io)?;
        for (number, _) in segment::list(disk, session)? {
            disk.remove(&segment::path(session, number)).map_err(io)?;
        }
        let rows = first_rows();
        let file = disk.open(&segment::path(session, 1), How::Anew);
        let file = file.map_err(io)?;
        file.write_at(0, &rows.concat()).map_err(io)?;
        file.sync().map_err(io)?;
        disk.sync_dir(&dir).map_err(io)?;
        let [start, commit] = rows.map(|row| row.len() as u64);
        let mark = |number, end| Mark {
            number,
            first: 1,
            segment: 1,
            end,
        };
        let end = start.saturating_add(commit);
        mark::create(disk, session, [mark(0, start), mark(1, end)])
    }

    /// Whether there is more than [`Self::create`] has made.
    pub(super) fn is_used(disk: &dyn Disk, session: &Path) -> Result<bool, StoreError> {
        let made = first_rows().concat().len() as u64;
        let mut found = segment::list(disk, session).unwrap_or_default().into_iter();
        Ok(found.any(|(number, len)| number > 1 || len > made))
    }

    /// Goes on with one that has been read. What was never finished is cut off; whatever
    /// says that a commit has happened is made durable.
    pub(super) fn open(
        disk: Arc<dyn Disk>,
        session: &Path,
        reading: Reading,
        in_doubt: bool,
        options: &Options,
    ) -> Result<Self, StoreError> {
        let Reading {
            mark,
            sound,
            segments,
            ..
        } = reading;
        let path = segment::path(session, mark.segment);
        let io = |error| StoreError::io("write", &path, error);
        let file = disk.open(&path, How::Write).map_err(io)?;
        // Also if it has this length already: that it was cut may not have reached the disk.
        file.set_len(mark.end).map_err(io)?;
        file.sync().map_err(io)?;
        // Who made it may have been ended before its names were durable.
        disk.sync_dir(session).map_err(io)?;
        let mark_file = mark::open(&*disk, session)?;
        match in_doubt || !sound {
            true => mark::write(&*mark_file, session, mark)?,
            false => mark_file
                .sync()
                .map_err(|error| StoreError::io("write", &mark::path(session), error))?,
        }
        for (number, _) in segment::list(&*disk, session)? {
            if !segments.contains_key(&number) {
                // If it stays, it does no harm.
                let _ = disk.remove(&segment::path(session, number));
            }
        }
        let total = segments.values().map(|segment| segment.len).sum();
        Ok(Self {
            disk,
            session: session.to_owned(),
            least: options.segment,
            apart: options.apart,
            mark,
            mark_file,
            segments,
            live: 0,
            total,
            number: mark.segment,
            file,
            buffer: Vec::new(),
            ended: Vec::new(),
            unsynced: 0,
            is_new: false,
            given_up: Vec::new(),
        })
    }

    /// Writes a row, in parts, at the end, or soon.
    pub(super) fn append(&mut self, row: &[&[u8]]) -> Result<At, StoreError> {
        if self.len() >= (self.live / 8).min(SEGMENT).max(self.least) {
            self.end_segment()?;
        }
        self.push(row)
    }

    fn push(&mut self, row: &[&[u8]]) -> Result<At, StoreError> {
        let offset = self.len();
        for part in row {
            self.push_part(part)?;
        }
        let (segment, len) = (self.number, self.len().saturating_sub(offset));
        Ok(At {
            segment,
            offset,
            len,
        })
    }

    fn push_part(&mut self, part: &[u8]) -> Result<(), StoreError> {
        if part.len() >= self.apart {
            self.flush()?;
            let written = self.file.write_at(self.len(), part);
            written.map_err(|error| self.write_error(error))?;
        } else {
            self.buffer.extend_from_slice(part);
        }
        let segment = self.segments.entry(self.number).or_default();
        segment.len = segment.len.saturating_add(part.len() as u64);
        self.total = self.total.saturating_add(part.len() as u64);
        if self.buffer.len() >= PIECE {
            self.flush()?;
        }
        Ok(())
    }

    /// Length of the last segment, with what is yet to be written.
    fn len(&self) -> u64 {
        let segment = self.segments.get(&self.number);
        segment.map_or(0, |segment| segment.len)
    }

    /// Hands all rows to the system.
    pub(super) fn flush(&mut self) -> Result<(), StoreError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let offset = self.len().saturating_sub(self.buffer.len() as u64);
        let written = self.file.write_at(offset, &self.buffer);
        written.map_err(|error| self.write_error(error))?;
        self.buffer.clear();
        Ok(())
    }

    fn write_error(&self, error: std::io::Error) -> StoreError {
        StoreError::io("write", &segment::path(&self.session, self.number), error)
    }

    /// Makes all segments durable that were written to.
    fn sync(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let last = std::iter::once(&*self.file);
        let files: Vec<_> = self.ended.iter().map(|file| &**file).chain(last).collect();
        let synced = self.disk.sync_all(&files);
        synced.map_err(|error| self.write_error(error))?;
        self.ended.clear();
        self.unsynced = 0;
        Ok(())
    }

    /// Goes on in a new segment. The one before need not be durable until the commit is: before the
    /// mark speaks of it, nothing in either counts.
    fn end_segment(&mut self) -> Result<(), StoreError> {
        self.flush()?;
        let before = self.len();
        self.number = self.number.saturating_add(1);
        let path = segment::path(&self.session, self.number);
        let file = self.disk.open(&path, How::Anew);
        let file = file.map_err(|error| self.write_error(error))?;
        self.file.begin_sync();
        self.ended.push(std::mem::replace(&mut self.file, file));
        self.unsynced = self.unsynced.saturating_add(before);
        self.is_new = true;
        self.push(&[&content::segment(self.number, before)])?;
        if self.ended.len() >= OPEN || self.unsynced >= UNSYNCED {
            self.sync()?;
        }
        Ok(())
    }

    /// Makes all that was appended happen.
    pub(super) fn commit(&mut self, meta: &Meta, sequence: u64) -> Result<(), StoreError> {
        self.give_up_dead();
        let first = self.first();
        let number = self.mark.number.saturating_add(1);
        let commit = Commit {
            number,
            first,
            sequence,
            meta: meta.clone(),
        };
        self.push(&[&commit.row()])?;
        self.sync()?;
        if self.is_new {
            let dir = self.session.join(DIRECTORY);
            let synced = self.disk.sync_dir(&dir);
            synced.map_err(|error| StoreError::io("sync", &dir, error))?;
            self.is_new = false;
        }
        let mark = Mark {
            number,
            first,
            segment: self.number,
            end: self.len(),
        };
        mark::write(&*self.mark_file, &self.session, mark)?;
        self.mark = mark;
        for number in self.given_up.drain(..) {
            // If it stays, it does no harm.
            let _ = self.disk.remove(&segment::path(&self.session, number));
        }
        Ok(())
    }

    /// The number of the last commit.
    pub(super) fn marked(&self) -> u64 {
        self.mark.number
    }

    /// The oldest segment.
    pub(super) fn first(&self) -> u64 {
        self.segments.keys().next().copied().unwrap_or(self.number)
    }

    /// Gives up what is oldest, as far as nothing in it counts.
    pub(super) fn give_up_dead(&mut self) {
        while let Some(oldest) = self.segments.first_entry() {
            let number = *oldest.key();
            if number == self.number || oldest.get().live > 0 {
                return;
            }
            let len = oldest.remove().len;
            self.total = self.total.saturating_sub(len);
            self.given_up.push(number);
        }
    }

    /// The oldest segment, if it takes too much space: what counts in it is to be copied.
    pub(super) fn too_old(&mut self) -> Option<u64> {
        self.give_up_dead();
        self.is_wasteful().then(|| self.first())
    }

    /// Bytes that it may have: when five eighths of it count, copying them costs at most 8/3 of what
    /// is written, and that only where all that changes is new.
    fn allowed(&self) -> u64 {
        let more = self.live.saturating_mul(3) / 5;
        self.live.saturating_add(more.max(self.least))
    }

    /// Whether there is space to give back.
    pub(super) fn is_wasteful(&self) -> bool {
        self.total > self.allowed() && self.first() != self.number
    }

    /// That this row counts.
    pub(super) fn counts(&mut self, row: At) {
        self.live = self.live.saturating_add(row.len);
        if let Some(segment) = self.segments.get_mut(&row.segment) {
            segment.live = segment.live.saturating_add(row.len);
        }
    }

    /// That this row does so no more.
    pub(super) fn counts_no_more(&mut self, row: At) {
        self.live = self.live.saturating_sub(row.len);
        if let Some(segment) = self.segments.get_mut(&row.segment) {
            segment.live = segment.live.saturating_sub(row.len);
        }
    }

    /// The rows of a segment.
    pub(super) fn rows(&self, number: u64) -> Result<Rows, StoreError> {
        let to = self.segments.get(&number).map(|segment| segment.len);
        Rows::open(&*self.disk, &self.session, number, 0, to)
    }

    /// The directory of the session has another name.
    pub(super) fn has_moved(&mut self, session: &Path) {
        session.clone_into(&mut self.session);
    }

    /// Bytes on disk.
    pub(super) fn bytes(&self) -> u64 {
        self.total
    }
}

fn first_rows() -> [Vec<u8>; 2] {
    let commit = Commit {
        number: 1,
        first: 1,
        sequence: 0,
        meta: Meta::default(),
    };
    [content::segment(1, 0), commit.row()]
}
