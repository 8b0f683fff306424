//! The admin password nobody configured: made up at the first start and kept in a file only the
//! server's user can read.
//!
//! Where logs are collected they are public, so the password itself is shown on a terminal only.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};

use rand::TryRngCore;
use thiserror::Error;
use tracing::info;

use crate::config::Secret;

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
    /// The system has no random numbers.
    #[error("the system gives no random numbers for an admin password; configure one")]
    Random,
}

/// Reads the password kept in this directory, or makes one up and keeps it there.
///
/// # Errors
///
/// If the file can be neither read nor written.
pub(crate) fn load_or_create(directory: &Path) -> Result<Secret, AdminPasswordError> {
    let path = directory.join(FILE);
    let fail = |source| AdminPasswordError::File {
        path: path.clone(),
        source,
    };
    let password = match fs::read_to_string(&path) {
        Ok(text) => {
            let text = text.trim_end_matches(['\r', '\n']);
            if text.is_empty() {
                return Err(AdminPasswordError::Empty(path));
            }
            text.to_owned()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let password = make_up().ok_or(AdminPasswordError::Random)?;
            fs::create_dir_all(directory).map_err(fail)?;
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            let mut file = options.open(&path).map_err(fail)?;
            writeln!(file, "{password}")
                .and_then(|()| file.sync_all())
                .map_err(fail)?;
            password
        }
        Err(error) => return Err(fail(error)),
    };
    info!(name: "admin_password.file", file = %path.display(), "the admin password is in this file");
    let mut terminal = io::stderr();
    if terminal.is_terminal() {
        // Nobody to tell if it cannot be written.
        let _ = writeln!(terminal, "admin password: {password}");
    }
    Ok(Secret::new(password))
}

fn make_up() -> Option<String> {
    let mut bytes = [0u8; LENGTH];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).ok()?;
    bytes
        .iter()
        .map(|byte| {
            LETTERS
                .get(usize::from(byte % 32))
                .map(|letter| char::from(*letter))
        })
        .collect()
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
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = fs::metadata(data.join(FILE)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
        fs::write(data.join(FILE), "\n").unwrap();
        assert!(matches!(
            load_or_create(&data),
            Err(AdminPasswordError::Empty(_))
        ));
    }
}
