//! The file of the log. A thread of [`log`](super) has lines written here; `signals` has the file opened
//! anew.
//!
//! A disk may be full for a while. What it does not take is counted, for nobody would see that it is
//! missing; the lines themselves are on the screen.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
#[cfg(unix)]
use std::mem;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A file that lines are added to.
#[derive(Debug)]
pub(super) struct LogFile {
    path: PathBuf,
    lines: Mutex<Lines<File>>,
}

/// What somebody has to be told after a line.
#[derive(Debug)]
pub(super) enum Turn {
    /// It is the first one that is missing.
    Fails(io::Error),
    /// It is there, but not those before it: so many.
    Works(u64),
}

impl LogFile {
    /// Opens the file, or makes it.
    ///
    /// # Errors
    ///
    /// If that is not possible, in words.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        Ok(Self {
            path: path.to_owned(),
            lines: Mutex::new(Lines::new(open(path)?)),
        })
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line.
    pub(super) fn write(&self, line: &[u8]) -> Option<Turn> {
        self.lines().write(line)
    }

    /// Goes on in a new one, as the old one may have been moved away.
    ///
    /// # Errors
    ///
    /// If there can be none; the old one stays in use then.
    #[cfg(unix)]
    pub(super) fn reopen(&self) -> io::Result<()> {
        let new = open(&self.path)?;
        let is_empty = new.metadata().is_ok_and(|metadata| metadata.len() == 0);
        let mut lines = self.lines();
        let old = mem::replace(&mut lines.file, new);
        // Half a line is in the old one then.
        lines.torn &= !is_empty;
        drop(lines);
        // On a disk that hangs this takes its time, too.
        drop(old);
        Ok(())
    }

    fn lines(&self) -> MutexGuard<'_, Lines<File>> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn open(path: &Path) -> io::Result<File> {
    let file = OpenOptions::new().append(true).create(true).open(path);
    file.map_err(|error| {
        let text = format!("cannot open the log file {}: {error}", path.display());
        io::Error::new(error.kind(), text)
    })
}

/// Lines, one after the other, and how many of them are missing.
#[derive(Debug)]
struct Lines<W> {
    file: W,
    /// Lines that could not be written since that was last told.
    missing: u64,
    /// Only a part of the last one was written.
    torn: bool,
}

impl<W: Write> Lines<W> {
    fn new(file: W) -> Self {
        Self {
            file,
            missing: 0,
            torn: false,
        }
    }

    fn write(&mut self, line: &[u8]) -> Option<Turn> {
        let before = self.missing;
        match self.add(line) {
            Ok(()) => {
                self.missing = 0;
                (before > 0).then_some(Turn::Works(before))
            }
            Err(error) => {
                self.missing = before.saturating_add(1);
                (before == 0).then_some(Turn::Fails(error))
            }
        }
    }

    fn add(&mut self, line: &[u8]) -> io::Result<()> {
        let apart;
        let mut rest = line;
        if self.torn {
            // Who reads the file loses the torn one, but not this one with it.
            apart = [b"\n", line].concat();
            rest = &apart;
        }
        while !rest.is_empty() {
            match self.file.write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    rest = rest.get(written..).unwrap_or_default();
                    self.torn = !rest.is_empty();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has room for so many bytes.
    struct Disk {
        room: usize,
        holds: Vec<u8>,
    }

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.room);
            if taken == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.room -= taken;
            self.holds.extend_from_slice(&bytes[..taken]);
            Ok(taken)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_told_once() {
        let mut lines = Lines::new(Disk {
            room: 9,
            holds: Vec::new(),
        });
        assert!(lines.write(b"first\n").is_none());
        let Some(Turn::Fails(error)) = lines.write(b"second\n") else {
            panic!("a line that is missing was said to be there");
        };
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        assert!(lines.write(b"third\n").is_none());
        assert!(lines.write(b"fourth\n").is_none());
        lines.file.room = 100;
        assert!(matches!(lines.write(b"fifth\n"), Some(Turn::Works(3))));
        assert!(lines.write(b"sixth\n").is_none());
        // What was torn stands alone.
        assert_eq!(lines.file.holds, b"first\nsec\nfifth\nsixth\n");
        // And so it goes the next time.
        lines.file.room = 0;
        assert!(matches!(lines.write(b"seventh\n"), Some(Turn::Fails(_))));
        lines.file.room = 100;
        assert!(matches!(lines.write(b"eighth\n"), Some(Turn::Works(1))));
        assert!(lines.file.holds.ends_with(b"sixth\neighth\n"));
    }

    /// Half a line is left behind with the file that was moved away, or ended in the same one.
    #[cfg(unix)]
    #[test]
    fn a_new_file_begins_with_a_line() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let file = LogFile::open(&path).unwrap();
        let tear = || {
            file.lines().file.write_all(b"hal").unwrap();
            file.lines().torn = true;
        };
        tear();
        std::fs::rename(&path, directory.path().join("log.1")).unwrap();
        file.reopen().unwrap();
        assert!(file.write(b"first\n").is_none());
        tear();
        file.reopen().unwrap();
        assert!(file.write(b"second\n").is_none());
        assert_eq!(std::fs::read(&path).unwrap(), b"first\nhal\nsecond\n");
    }
}
