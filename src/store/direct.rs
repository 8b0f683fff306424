//! Whole files, written past the system's memory of the disk.
//!
//! Called by [`disk`](super::disk) for large ones. Who waits for them waits until they are on the disk
//! anyway. On the way through the system's memory they would take as much of that as the session
//! does, and touching it for the first time can cost more than the writing.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::OFlag;

use crate::memory::pages::{self, Buffer};

/// Addresses, places and lengths of what is written are multiples of this: no disk wants more.
const BLOCK: usize = 4096;
/// Bytes that are written at once. They are copied so that they are in a place that suits.
const CHUNK: usize = 1 << 20;

/// Makes a file of these parts, one after the other. `None` if that fails, as where the file system
/// writes nothing past the memory: then anything may be in the file, and the usual way may work.
///
/// # Errors
/// If there is no room.
pub(super) fn write(path: &Path, parts: &[&[u8]]) -> io::Result<Option<File>> {
    let written = open(path).and_then(|mut file| {
        let len = copy(&mut file, parts)?;
        file.set_len(len)?;
        Ok(file)
    });
    match written {
        Ok(file) => Ok(Some(file)),
        Err(error) if is_full(&error) => Err(error),
        Err(_) => Ok(None),
    }
}

fn is_full(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.custom_flags(OFlag::O_DIRECT.bits()).open(path)
}

/// Writes the parts, and zeros up to the end of the last block. Gives how long they are.
fn copy(file: &mut impl Write, parts: &[&[u8]]) -> io::Result<u64> {
    // Of a size that begins at a page of memory.
    let mut buffer = Buffer::new(pages::LARGE.max(CHUNK));
    let (mut filled, mut len) = (0, 0_u64);
    for part in parts {
        let mut rest = *part;
        while !rest.is_empty() {
            let mut room = buffer.get_mut(filled..CHUNK).unwrap_or_default();
            let taken = room.write(rest)?;
            filled = filled.saturating_add(taken);
            if filled == CHUNK {
                file.write_all(buffer.get(..CHUNK).unwrap_or_default())?;
                filled = 0;
            }
            rest = rest.get(taken..).unwrap_or_default();
        }
        len = len.saturating_add(part.len() as u64);
    }
    if filled > 0 {
        let whole = filled.next_multiple_of(BLOCK);
        let last = buffer.get_mut(..whole).unwrap_or_default();
        last.get_mut(filled..).unwrap_or_default().fill(0);
        file.write_all(last)?;
    }
    Ok(len)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Parts of these lengths, no two bytes near each other alike.
    fn parts(lengths: &[usize]) -> Vec<Vec<u8>> {
        let part =
            |(n, length): (usize, &usize)| (n..n + length).map(|at| (at % 251) as u8).collect();
        lengths.iter().enumerate().map(part).collect()
    }

    #[test]
    fn where_there_is_no_such_way_it_says_so() {
        let written = write(Path::new("/dev/null"), &[b"x"]).unwrap();
        assert!(written.is_none());
        assert!(write(Path::new("/dev/null/x"), &[b"x"]).unwrap().is_none());
        assert!(is_full(&io::ErrorKind::StorageFull.into()));
    }

    /// Takes whole blocks from whole pages of memory, so many before it is full.
    struct Blocks(Vec<u8>, usize);

    impl Write for Blocks {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!((bytes.len() % BLOCK, bytes.as_ptr().addr() % BLOCK), (0, 0));
            let room = (self.1 * BLOCK).saturating_sub(self.0.len());
            let taken = bytes.get(..room).unwrap_or(bytes);
            self.0.extend_from_slice(taken);
            match taken.len() {
                0 => Err(io::ErrorKind::StorageFull.into()),
                taken => Ok(taken),
            }
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn whole_blocks_are_written() {
        for length in [1, BLOCK, CHUNK - 45, CHUNK - 44, 3 * CHUNK + 1] {
            let parts = parts(&[45, length]);
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let all = parts.concat();
            let mut disk = Blocks(Vec::new(), 1000);
            assert_eq!(copy(&mut disk, &parts).unwrap(), all.len() as u64);
            assert_eq!(disk.0.len(), all.len().next_multiple_of(BLOCK));
            let (written, rest) = disk.0.split_at(all.len());
            assert!(written == all && rest.iter().all(|byte| *byte == 0));
            let error = copy(&mut Blocks(Vec::new(), 0), &parts).unwrap_err();
            assert!(is_full(&error));
        }
    }

    #[test]
    fn a_file_holds_all_parts_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let around = [1, 2, 0].map(|before| CHUNK - before);
        for lengths in [
            &[0][..],
            &[1],
            &[BLOCK, 0, 1],
            &[45, CHUNK - 49, 4],
            &[45, CHUNK - 48, 4],
            &[45, 3 * CHUNK - 49, 4],
            &[BLOCK; 300],
            &around,
        ] {
            let parts = parts(lengths);
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            let file = write(&path, &parts).unwrap();
            // Where there is no such way, nothing is promised of the file.
            assert!(
                file.is_none() || fs::read(&path).unwrap() == parts.concat(),
                "{lengths:?}"
            );
        }
    }
}
