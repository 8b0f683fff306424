//! The admin password nobody configured: made up at the first start and kept in a file only the
//! server's user can read. [`server`](crate::server) reads it; the subcommand `admin-password`
//! shows and changes it.
//!
//! Where logs are collected they are public, so the password itself is shown on a terminal only.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use thiserror::Error;
use tracing::info;

use crate::config::{SAME_PASSWORDS, Secret, SessionConfig, check_admin_password, without_mark};

/// Name of the file in the data directory.
const FILE: &str = "admin-password";
/// Characters that are told apart in every font.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
/// 80 bits.
const LENGTH: usize = 16;

/// The password can be neither read nor kept.
#[derive(Debug, Error)]
pub enum AdminPasswordError {
    /// The file or its directory cannot be used.
    #[error(
        "cannot use {path} for the admin password: {source}; configure one, or another data_dir"
    )]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file is there and holds nothing.
    #[error("{0} is empty: write a password into it, or delete it to get a new one")]
    Empty(PathBuf),
    /// It cannot be typed by every client.
    #[error("this password can't be used: {0}")]
    Unfit(String),
    /// Who may join would be admin.
    #[error("{SAME_PASSWORDS}: session.server_password, and the admin password in {}", .0.display())]
    Same(PathBuf),
    /// The system has no random numbers.
    #[error("the system gives no random numbers for an admin password; configure one")]
    Random,
}

/// Where the password is kept in this data directory.
#[must_use]
pub fn file(directory: &Path) -> PathBuf {
    directory.join(FILE)
}

/// Reads the password kept in this directory, or makes one up and keeps it there.
///
/// # Errors
///
/// If the file can be neither read nor written.
pub fn load_or_create(directory: &Path) -> Result<Secret, AdminPasswordError> {
    let path = file(directory);
    let wrong = |source| AdminPasswordError::File {
        path: path.clone(),
        source,
    };
    if let Some(password) = load(directory)? {
        return Ok(password);
    }
    let password = make_up()?;
    write(directory, password.reveal(), |new| put_first(new, &path)).map_err(wrong)?;
    // Another server may have put its own there first.
    load(directory)?.ok_or_else(|| wrong(io::ErrorKind::NotFound.into()))
}

/// Reads the password kept in this directory, if there is one.
///
/// # Errors
///
/// If the file cannot be read, or holds none.
pub fn load(directory: &Path) -> Result<Option<Secret>, AdminPasswordError> {
    let path = file(directory);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(AdminPasswordError::File { path, source }),
    };
    match without_mark(&text).trim_end_matches(['\r', '\n']) {
        "" => Err(AdminPasswordError::Empty(path)),
        text => Ok(Some(Secret::new(text.to_owned()))),
    }
}

/// Checks what the configuration alone cannot tell: that not everybody who may join would be admin
/// by the password kept (or to be kept) in this directory.
///
/// # Errors
///
/// If it is the server password.
pub fn check_differs(
    directory: &Path,
    password: &Secret,
    session: &SessionConfig,
) -> Result<(), AdminPasswordError> {
    match session.server_password.as_ref() == Some(password) {
        true => Err(AdminPasswordError::Same(file(directory))),
        false => Ok(()),
    }
}

/// Gives a file its name, unless another one has it: that stays.
fn put_first(new: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(new, path) {
        Ok(()) => fs::remove_file(new),
        Err(_) if path.exists() => fs::remove_file(new),
        // A file system that has no links (FAT).
        Err(_) => fs::rename(new, path),
    }
}

/// Keeps this password in the directory, in place of the one that is there.
///
/// # Errors
///
/// If the password cannot be used, or the file not be written; the old one is there then.
pub fn keep(directory: &Path, password: &Secret) -> Result<(), AdminPasswordError> {
    check_admin_password(password.reveal()).map_err(AdminPasswordError::Unfit)?;
    let path = file(directory);
    write(directory, password.reveal(), |new| fs::rename(new, &path))
        .map_err(|source| AdminPasswordError::File { path, source })
}

/// Whole or not at all: a reader never finds half a password. `put` gives the file its name.
fn write(
    directory: &Path,
    password: &str,
    put: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    let mut number = [0u8; 8];
    rand::rngs::OsRng
        .try_fill_bytes(&mut number)
        .map_err(io::Error::other)?;
    // Two servers may start at the same time.
    let new = format!("{FILE}.{:016x}.new", u64::from_le_bytes(number));
    let new = directory.join(new);
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    let written = writeln!(file, "{password}").and_then(|()| file.sync_all());
    drop(file);
    let put = written.and_then(|()| put(&new));
    if put.is_err() {
        // If it stays, it is nobody's password.
        let _ = fs::remove_file(&new);
    }
    put
}

/// Says where the password is, and on a terminal what it is.
pub(crate) fn announce(directory: &Path, password: &Secret) {
    let path = file(directory);
    info!(name: "admin_password.file", file = %path.display(), "the admin password is in this \
        file; multi-user-server admin-password shows it");
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Nobody to tell if it cannot be written.
        let _ = writeln!(terminal, "admin password: {}", password.reveal());
    }
}

/// A new password.
///
/// # Errors
///
/// If the system has no random numbers.
pub fn make_up() -> Result<Secret, AdminPasswordError> {
    let mut bytes = [0u8; LENGTH];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|_| AdminPasswordError::Random)?;
    let letter = |byte: &u8| LETTERS.get(usize::from(byte % 32)).copied().map(char::from);
    Ok(Secret::new(
        bytes.iter().filter_map(letter).collect::<String>(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_made_up_once_and_kept_for_oneself() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path().join("data");
        let first = load_or_create(&data).unwrap();
        assert_eq!(first.reveal().len(), LENGTH);
        assert_eq!(load_or_create(&data).unwrap().reveal(), first.reveal());
        assert_ne!(make_up().unwrap().reveal(), first.reveal());
        only_mine(&data);
        fs::write(data.join(FILE), "\n").unwrap();
        assert!(matches!(
            load_or_create(&data),
            Err(AdminPasswordError::Empty(_))
        ));
    }

    #[test]
    fn is_replaced_whole() {
        let directory = tempfile::tempdir().unwrap();
        let data = directory.path();
        keep(data, &Secret::new("first".to_owned())).unwrap();
        keep(data, &Secret::new("open sesame".to_owned())).unwrap();
        assert_eq!(load_or_create(data).unwrap().reveal(), "open sesame");
        only_mine(data);
        for unfit in ["", "None", "two\nlines"] {
            assert!(
                keep(data, &Secret::new(unfit.to_owned())).is_err(),
                "{unfit:?}"
            );
        }
        assert_eq!(load_or_create(data).unwrap().reveal(), "open sesame");
        assert_eq!(fs::read_dir(data).unwrap().count(), 1);
    }

    /// Servers that start for the first time at the same moment have one password.
    #[test]
    fn is_the_same_for_all_who_make_it_up_at_once() {
        for _ in 0..50 {
            let directory = tempfile::tempdir().unwrap();
            let data = directory.path();
            let start = std::sync::Barrier::new(4);
            let passwords: Vec<_> = std::thread::scope(|scope| {
                let servers = [(); 4].map(|()| {
                    scope.spawn(|| {
                        start.wait();
                        load_or_create(data).unwrap().reveal().to_owned()
                    })
                });
                servers.map(|server| server.join().unwrap()).into()
            });
            assert!(
                passwords.iter().all(|password| *password == passwords[0]),
                "{passwords:?}"
            );
            assert_eq!(load_or_create(data).unwrap().reveal(), passwords[0]);
            only_mine(data);
            assert_eq!(fs::read_dir(data).unwrap().count(), 1);
        }
    }

    fn only_mine(data: &Path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(data.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        let _ = data;
    }
}
