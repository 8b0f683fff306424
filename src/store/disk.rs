//! The file operations the store makes, and no others.
//!
//! Everything in this module's siblings goes through [`Disk`], so that tests can put a disk in its
//! place on which any single operation fails, and which forgets at a power cut what was not synced.

use std::fmt::Debug;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

#[cfg(target_os = "linux")]
use super::direct;

/// Of one wish to read ahead, Linux heeds no more than this.
#[cfg(target_os = "linux")]
const AT_ONCE: usize = 128 << 10;

/// Files that are synced at the same time. File systems with a journal write it once for all who
/// wait: 64 files of 256 KiB took 0.26 s on ext4 one after the other, 0.04 s by four, 0.03 s by eight.
const SYNCED: usize = 8;

/// Files from this length on are written past the system's memory. 20 of 20 MiB took 1.6 s on a virtual
/// machine whose host takes free memory back, and 0.6 s so; files of 3 MiB take the same either way, and
/// those of 256 KiB take longer so, as each waits for the disk before the next.
#[cfg(target_os = "linux")]
const DIRECT: usize = 4 << 20;

/// What systems say of a place that cannot be read any more.
const UNREADABLE: &[i32] = match cfg!(unix) {
    // EIO.
    true => &[5],
    // ERROR_CRC, ERROR_SECTOR_NOT_FOUND, ERROR_READ_FAULT, ERROR_IO_DEVICE.
    false => &[23, 27, 30, 1117],
};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// It exists, and is only read.
    Read,
    /// For reading and writing, as it is; made if it isn't there.
    Write,
    /// For writing, empty.
    Anew,
}

/// Where files are.
pub(crate) trait Disk: Debug + Send + Sync {
    /// Makes a directory that only its owner may enter, and those above it.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// Opens a file; one that is made can only be read by its owner.
    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn DiskFile>>;
    /// Makes a file of these parts, one after the other.
    fn write_anew(&self, path: &Path, parts: &[&[u8]]) -> io::Result<Box<dyn DiskFile>> {
        write_parts(self, path, parts)
    }
    /// Gives a file another name, in the place of what had it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Names of files made, renamed and removed are as durable as the files afterwards.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// What was written to all of these is durable afterwards.
    fn sync_all(&self, files: &[&dyn DiskFile]) -> io::Result<()> {
        files.iter().try_for_each(|file| file.sync())
    }
    /// The files in a directory, with their lengths.
    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>>;
    /// Whether there is a file of this name.
    fn exists(&self, path: &Path) -> io::Result<bool>;
    /// This file will be read soon, so that the disk need not wait until it is asked for it.
    fn read_ahead(&self, _path: &Path) {}
}

/// Whether the disk has lost what was there, as against nobody being allowed to read it, or it not being
/// there.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    code.is_some_and(|code| UNREADABLE.contains(&code))
}

/// Gives a file or directory another name beside the old one, for good.
pub(crate) fn rename_for_good(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    disk.rename(from, to)?;
    to.parent().map_or(Ok(()), |dir| disk.sync_dir(dir))
}

/// Has the names of the directories above one reach the disk, as far as they are ours to open: any may have been
/// made for it, now or by somebody who was ended.
pub(crate) fn sync_ancestors(disk: &dyn Disk, dir: &Path) {
    for above in dir.ancestors().skip(1) {
        let above = match above.as_os_str().is_empty() {
            true => Path::new("."),
            false => above,
        };
        let _ = disk.sync_dir(above);
    }
}

/// The usual way to do that, through the system's memory.
fn write_parts<D: Disk + ?Sized>(
    disk: &D,
    path: &Path,
    parts: &[&[u8]],
) -> io::Result<Box<dyn DiskFile>> {
    let file = disk.open(path, How::Anew)?;
    let mut offset = 0_u64;
    for part in parts {
        file.write_at(offset, part)?;
        offset = offset.saturating_add(part.len() as u64);
    }
    Ok(file)
}

/// An open file.
pub(crate) trait DiskFile: Debug + Send + Sync {
    /// Its length.
    fn len(&self) -> io::Result<u64>;
    /// Fills a buffer from a place in it.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()>;
    /// Writes all of these bytes.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts it, or adds zeros.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// What was written is durable afterwards.
    fn sync(&self) -> io::Result<()>;
    /// It is complete, and will be synced soon: the system may begin to write it to the disk.
    fn begin_sync(&self) {}
    /// Whether it is ours alone now, until it is closed.
    fn try_lock(&self) -> io::Result<bool>;
}

/// The system's files.
#[derive(Debug)]
pub(crate) struct SystemDisk;

/// A file, with its position.
#[derive(Debug)]
struct SystemFile(Mutex<File>);

impl Disk for SystemDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        {
            use std::os::unix::fs::DirBuilderExt;
            builder.mode(0o700);
        }
        builder.create(dir)
    }

    fn open(&self, path: &Path, how: How) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        if how != How::Read {
            options.write(true).create(true).truncate(how == How::Anew);
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            options.mode(0o600);
        }
        Ok(Box::new(SystemFile(Mutex::new(options.open(path)?))))
    }

    #[cfg(target_os = "linux")]
    fn write_anew(&self, path: &Path, parts: &[&[u8]]) -> io::Result<Box<dyn DiskFile>> {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        if len >= DIRECT
            && let Some(file) = direct::write(path, parts)?
        {
            return Ok(Box::new(SystemFile(Mutex::new(file))));
        }
        write_parts(self, path, parts)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        // Elsewhere directories cannot be opened, and renaming is durable by itself.
        match cfg!(unix) {
            true => File::open(dir)?.sync_all(),
            false => Ok(()),
        }
    }

    fn sync_all(&self, files: &[&dyn DiskFile]) -> io::Result<()> {
        let others = files.len().min(SYNCED).saturating_sub(1);
        let left = Mutex::new(files.iter());
        let next = || left.lock().unwrap_or_else(PoisonError::into_inner).next();
        // Who meets an error leaves the rest to others: what matters is that there was one.
        let sync = || std::iter::from_fn(next).try_for_each(|file| file.sync());
        thread::scope(|scope| {
            let spawn = |_| thread::Builder::new().spawn_scoped(scope, sync).ok();
            // Without any of them it takes longer, and that is all.
            let helpers: Vec<_> = (0..others).filter_map(spawn).collect();
            let ours = sync();
            let lost = |_| Err(io::Error::other("a thread that synced is gone"));
            let mut theirs = helpers.into_iter().map(|helper| helper.join());
            theirs.try_for_each(|synced| synced.unwrap_or_else(lost))?;
            ours
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.push((name, metadata.len()));
            }
        }
        Ok(files)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        path.try_exists()
    }

    #[cfg(target_os = "linux")]
    fn read_ahead(&self, path: &Path) {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        let Ok(file) = File::open(path) else {
            return;
        };
        let len = file.metadata().map_or(0, |metadata| metadata.len());
        for offset in (0..i64::try_from(len).unwrap_or(0)).step_by(AT_ONCE) {
            // If it can't, reading takes longer, and that is all.
            let (len, advice) = (AT_ONCE as i64, PosixFadviseAdvice::POSIX_FADV_WILLNEED);
            let _ = posix_fadvise(&file, offset, len, advice);
        }
    }
}

impl SystemFile {
    fn at(&self, offset: u64) -> io::Result<MutexGuard<'_, File>> {
        let mut file = self.file();
        file.seek(SeekFrom::Start(offset))?;
        Ok(file)
    }

    fn file(&self) -> MutexGuard<'_, File> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for SystemFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file().metadata()?.len())
    }

    fn read_at(&self, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.at(offset)?.read_exact(into)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.at(offset)?.write_all(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file().set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file().sync_data()
    }

    #[cfg(target_os = "linux")]
    fn begin_sync(&self) {
        use nix::fcntl::{PosixFadviseAdvice, posix_fadvise};
        // Linux writes what nobody needs in memory, without waiting for it. If it does not, syncing
        // takes longer, and that is all.
        let _ = posix_fadvise(&*self.file(), 0, 0, PosixFadviseAdvice::POSIX_FADV_DONTNEED);
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.file().try_lock() {
            Ok(()) => Ok(true),
            Err(TryLockError::WouldBlock) => Ok(false),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::store::tests::memory::MemoryDisk;

    /// A file of which only one thing is of interest.
    #[derive(Debug)]
    struct Synced<'c>(&'c AtomicUsize, bool);

    impl DiskFile for Synced<'_> {
        fn len(&self) -> io::Result<u64> {
            unreachable!()
        }
        fn read_at(&self, _: u64, _: &mut [u8]) -> io::Result<()> {
            unreachable!()
        }
        fn write_at(&self, _: u64, _: &[u8]) -> io::Result<()> {
            unreachable!()
        }
        fn set_len(&self, _: u64) -> io::Result<()> {
            unreachable!()
        }
        fn sync(&self) -> io::Result<()> {
            self.0.fetch_add(1, Ordering::Relaxed);
            match self.1 {
                true => Ok(()),
                false => Err(io::ErrorKind::StorageFull.into()),
            }
        }
        fn try_lock(&self) -> io::Result<bool> {
            unreachable!()
        }
    }

    #[test]
    fn a_new_name_is_there_after_a_power_cut() {
        let (old, new) = (Path::new("/data/old"), Path::new("/data/new"));
        for seed in 0..20 {
            let disk = MemoryDisk::new(seed);
            disk.open(old, How::Anew).unwrap();
            disk.sync_dir(Path::new("/data")).unwrap();
            rename_for_good(&disk, old, new).unwrap();
            disk.cut_power();
            assert!(disk.exists(new).unwrap() && !disk.exists(old).unwrap());
        }
    }

    #[test]
    fn all_are_synced_and_one_that_fails_is_heard_of() {
        for count in 0..40 {
            let synced = AtomicUsize::new(0);
            let sound: Vec<_> = (0..count).map(|_| Synced(&synced, true)).collect();
            let mut files: Vec<_> = sound.iter().map(|file| file as &dyn DiskFile).collect();
            SystemDisk.sync_all(&files).unwrap();
            assert_eq!(synced.load(Ordering::Relaxed), count);
            let broken = Synced(&synced, false);
            for at in 0..count {
                files[at] = &broken;
                let error = SystemDisk.sync_all(&files).unwrap_err();
                assert_eq!(error.kind(), io::ErrorKind::StorageFull);
                files[at] = &sound[at];
            }
        }
    }
}
