//! Whether backups can be made where they are to go, tried before the first one is due.
//! [`task`](super::task) asks that when the server starts.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use super::name::UNFINISHED;
use super::write::random;

/// Tries whether a backup could be made in this folder. Leaves nothing behind: a folder that is missing
/// stays so, for the first backup makes it.
///
/// # Errors
/// Why there could be none.
pub(super) fn attempt(dir: &Path, session: &str) -> io::Result<()> {
    // What stays because the process is ended just now is tidied up at the next start.
    let name = format!("{session}.{:016x}{UNFINISHED}", random());
    if !is_missing(dir) {
        return write(&dir.join(name));
    }
    // If there is none it begins where the process is.
    let above = dir.ancestors().find(|above| !is_missing(above));
    let trial = above.unwrap_or_else(|| Path::new("")).join(name);
    fs::create_dir(&trial)?;
    let written = write(&trial.join("trial"));
    // Empty, and soon of no use to anybody.
    let _ = fs::remove_dir(&trial);
    written
}

/// Whether it has yet to be made. What cannot be looked at is not: writing there says why.
fn is_missing(dir: &Path) -> bool {
    let found = fs::symlink_metadata(dir);
    found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Writes a file and removes it.
fn write(path: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    // A full disk still takes names.
    let written = file.write_all(b"\n");
    drop(file);
    // A folder in which nothing can be removed would never be rid of old backups.
    let removed = fs::remove_file(path);
    written.and(removed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_nothing_behind() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        for there in [dir.to_owned(), dir.join("not"), dir.join("not/yet/there")] {
            attempt(&there, "main").unwrap();
            assert_eq!(fs::read_dir(dir).unwrap().count(), 0, "{there:?}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn says_what_is_wrong_with_a_folder() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("file");
        fs::write(&file, "mine").unwrap();
        for wrong in [file.clone(), file.join("main"), file.join("a/main")] {
            let error = attempt(&wrong, "main").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::NotADirectory, "{wrong:?}");
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
        let nowhere = directory.path().join("link");
        std::os::unix::fs::symlink("no/where", &nowhere).unwrap();
        for wrong in [nowhere.clone(), nowhere.join("main")] {
            assert!(attempt(&wrong, "main").is_err(), "{wrong:?}");
        }
    }

    /// Root may do everything on most disks, but not here.
    #[cfg(target_os = "linux")]
    #[test]
    fn says_that_nothing_can_be_made() {
        for dir in ["/proc/self", "/proc/backups/main"] {
            assert!(attempt(Path::new(dir), "main").is_err(), "{dir}");
        }
    }
}
