//! Files between a running server and whoever orders: by way of the data directory, which both see.
//!
//! The server is another process: with a user of its own, and as a service or in a container also with
//! a /tmp of its own and no /home. What a path of the caller's is to it is another file, or none. So
//! it reads and writes files of the data directory that are there for a moment, and the caller copies
//! them with its own rights.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use rand::TryRngCore;

const END: &str = ".db";

fn beginning(session: &str) -> String {
    format!(".exchange.{session}.")
}

/// Where a file of this name is. `None` if it is not one of those that are exchanged.
pub(super) fn place(data_dir: &Path, session: &str, name: &str) -> Option<PathBuf> {
    let number = name.strip_prefix(&beginning(session))?.strip_suffix(END)?;
    let is_number = number.len() == 16 && number.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_number.then(|| data_dir.join(name))
}

/// Removes what was left by callers who were ended. For the server that has the session, when nobody
/// can have asked it anything yet.
pub(super) fn tidy(data_dir: &Path, session: &str) {
    for entry in std::fs::read_dir(data_dir).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let Some(name) = name.to_str() else { continue };
        // One that is being written has a number of its own behind.
        let unfinished = name
            .strip_suffix(".new")
            .and_then(|name| name.rsplit_once('.'));
        let name = unfinished.map_or(name, |(name, _)| name);
        if place(data_dir, session, name).is_some() {
            // If it stays, it only takes room.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// A file on its way. Dropping it removes it.
#[derive(Debug)]
pub(super) struct Exchanged {
    pub(super) name: String,
    path: PathBuf,
}

impl Exchanged {
    /// A place for a file.
    pub(super) fn new(data_dir: &Path, session: &str) -> io::Result<Self> {
        let mut number = [0; 8];
        rand::rngs::OsRng
            .try_fill_bytes(&mut number)
            .map_err(io::Error::other)?;
        let number = u64::from_le_bytes(number);
        let name = format!("{}{number:016x}{END}", beginning(session));
        let path = data_dir.join(&name);
        Ok(Self { name, path })
    }

    /// Puts a copy of the caller's file there, which the server may read.
    pub(super) fn put(&self, file: &Path) -> io::Result<()> {
        let mut from = File::open(file)?;
        if !from.metadata()?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        let mut to = new_file(&self.path)?;
        #[cfg(unix)]
        if let Some(dir) = self.path.parent() {
            super::owner::give_file(&to, dir)?;
        }
        io::copy(&mut from, &mut to).map(drop)
    }

    /// Copies what the server has put there to a file of the caller's, which must not exist.
    pub(super) fn take(&self, file: &Path) -> io::Result<()> {
        let mut from = File::open(&self.path)?;
        let mut to = new_file(file)?;
        let copied = io::copy(&mut from, &mut to).and_then(|_| to.sync_all());
        if copied.is_err() {
            // Half a session is none.
            let _ = std::fs::remove_file(file);
        }
        copied
    }
}

impl Drop for Exchanged {
    fn drop(&mut self) {
        // The next start of the server would, too.
        let _ = std::fs::remove_file(&self.path);
    }
}

fn new_file(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_exchanged_has_a_place_and_is_tidied() {
        let data = tempfile::tempdir().unwrap();
        let dir = data.path();
        let kept = [
            "admin-password",
            ".exchange.b.0123456789abcdef.db",
            ".exchange.a.b.0123456789abcdef.db",
            ".exchange.a.0123456789abcdef",
            ".exchange.a.0123456789abcde/.db",
        ];
        for name in kept {
            assert_eq!(place(dir, "a", name), None, "{name}");
        }
        let new = Exchanged::new(dir, "a").unwrap();
        assert_eq!(place(dir, "a", &new.name), Some(new.path.clone()));

        for name in [
            kept[0],
            kept[1],
            &new.name,
            &format!("{}.0123456789abcdef.new", new.name),
        ] {
            std::fs::write(dir.join(name), "").unwrap();
        }
        tidy(dir, "a");
        let mut left: Vec<_> = std::fs::read_dir(dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left, [kept[1], kept[0]]);
    }
}
