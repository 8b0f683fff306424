//! Who looks after a server's data as root (`sudo`) makes files there that the server, another user's
//! program, can neither read nor replace. They are given to that user when the work is done.
//!
//! The owner of the directory can put whatever it likes there meanwhile, so nothing is followed out
//! of it: folders are opened one in the other, and links are left alone.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{Mode, SFlag, fstatat};
use nix::unistd::{Gid, Uid, fchownat, geteuid};
use thiserror::Error;

use crate::backup;
use crate::config::Config;

/// Folders in one another; a store has three.
const DEEPEST: usize = 8;
/// What the subcommands make in a data directory.
const MADE: [&str; 3] = ["admin-password", "sessions", "backups"];

/// The server may not be able to use what was made.
#[derive(Debug, Error)]
#[error(
    "what was made in {} cannot be given to its owner, so the server may not be able to use it: {why}",
    path.display()
)]
pub struct OwnerError {
    path: PathBuf,
    why: io::Error,
}

/// To whom files belong.
#[derive(Clone, Copy, Debug)]
struct Owner(Uid, Gid);

impl Owner {
    /// Whose directory it is, if that is another user than root and root asks.
    fn of(dir: &Path) -> io::Result<Option<Self>> {
        if !geteuid().is_root() {
            return Ok(None);
        }
        match std::fs::metadata(dir) {
            Ok(metadata) if metadata.uid() == 0 => Ok(None),
            Ok(metadata) => Ok(Some(Self(
                Uid::from_raw(metadata.uid()),
                Gid::from_raw(metadata.gid()),
            ))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Gives what root made for this session to those whose directories it is in. Does nothing for
/// others.
///
/// # Errors
/// If that is not possible.
pub fn settle(config: &Config, session: &str) -> Result<(), OwnerError> {
    give(&config.data_dir, &MADE)?;
    let backups = backup::directory(config, session);
    if let (Some(all), Some(name)) = (backups.parent(), backups.file_name())
        && !all.starts_with(&config.data_dir)
    {
        give(all, &[&name.to_string_lossy()])?;
    }
    Ok(())
}

/// Gives one new file to the owner of the directory it is in.
pub(super) fn give_file(file: &File, dir: &Path) -> io::Result<()> {
    match Owner::of(dir)? {
        Some(Owner(user, group)) => {
            std::os::unix::fs::fchown(file, Some(user.as_raw()), Some(group.as_raw()))
        }
        None => Ok(()),
    }
}

/// Gives these entries of a directory, and all that is in them, to its owner.
fn give(dir: &Path, names: &[&str]) -> Result<(), OwnerError> {
    let given = || {
        let Some(owner) = Owner::of(dir)? else {
            return Ok(());
        };
        let opened = Dir::open(dir, folder() & !OFlag::O_NOFOLLOW, Mode::empty())?;
        for name in names {
            give_entry(&opened, &CString::new(*name)?, owner, DEEPEST)?;
        }
        io::Result::Ok(())
    };
    given().map_err(|why| OwnerError {
        path: dir.to_owned(),
        why,
    })
}

fn folder() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC
}

fn give_entry(above: &Dir, name: &CString, owner: Owner, depth: usize) -> nix::Result<()> {
    let stat = match fstatat(above, name.as_c_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
        // A server that runs removes what it no longer needs.
        Err(Errno::ENOENT) => return Ok(()),
        stat => stat?,
    };
    let kind = SFlag::from_bits_truncate(stat.st_mode) & SFlag::S_IFMT;
    let is_folder = kind == SFlag::S_IFDIR;
    // One of several names might be of a file that is elsewhere.
    let is_only_here = kind == SFlag::S_IFREG && stat.st_nlink == 1;
    if stat.st_uid == 0 && (is_folder || is_only_here) {
        let Owner(user, group) = owner;
        let flags = AtFlags::AT_SYMLINK_NOFOLLOW;
        fchownat(above, name.as_c_str(), Some(user), Some(group), flags)?;
    }
    if !is_folder || depth == 0 {
        return Ok(());
    }
    let mut dir = Dir::openat(above, name.as_c_str(), folder(), Mode::empty())?;
    let entries: nix::Result<Vec<_>> = dir
        .iter()
        .map(|entry| entry.map(|entry| entry.file_name().to_owned()))
        .collect();
    for entry in entries? {
        if !matches!(entry.to_bytes(), b"." | b"..") {
            give_entry(&dir, &entry, owner, depth.saturating_sub(1))?;
        }
    }
    Ok(())
}
