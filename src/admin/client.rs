//! The other end of the socket: what `ctl` and `session` use to have a running server do something.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::exchange::Exchanged;
use super::{Order, session_of, socket_path};
use crate::backup;

/// What a server answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Answered {
    /// In words.
    pub text: String,
    /// As JSON.
    pub data: Value,
}

/// Why there is no good answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// No server listens there.
    #[error(
        "no server runs with the session {session} in the data directory {}: is --data-dir the \
         server's own?",
        data_dir.display()
    )]
    NoServer {
        /// Where it was looked for.
        data_dir: PathBuf,
        /// The session.
        session: String,
    },
    /// The socket is its user's alone.
    #[error(
        "can't reach the server through {}: {source}; say that as the user who runs it, or with sudo",
        path.display()
    )]
    Forbidden {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It cannot be asked.
    #[error("can't reach the server through {}: {source}", path.display())]
    Io {
        /// The socket.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It ended before it answered.
    #[error("the server gave no answer; its log may say why")]
    NoAnswer,
    /// A file cannot be given to it, or fetched from it.
    #[error("{}: {source}", path.display())]
    File {
        /// The file, as whoever orders knows it.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// It wrote where only it finds what it has written.
    #[error(
        "the server has written {}, but where only the server sees it (it may have a /tmp of its own): \
         name a place in {}",
        path.display(),
        data_dir.display()
    )]
    Elsewhere {
        /// The file.
        path: PathBuf,
        /// What both see.
        data_dir: PathBuf,
    },
    /// It did not do it.
    #[error("{0}")]
    Refused(String),
}

#[derive(Deserialize)]
struct Line {
    ok: bool,
    #[serde(default)]
    text: String,
    #[serde(default)]
    data: Value,
    #[serde(default)]
    error: String,
}

/// Whether a server runs with this session.
pub fn is_running(data_dir: &Path, session: &str) -> bool {
    UnixStream::connect(socket_path(data_dir, session)).is_ok()
}

/// The sessions of a data directory that servers run, also those that keep nothing on the disk.
pub fn running(data_dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(data_dir).into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| session_of(&entry.file_name()));
    names.filter(|name| is_running(data_dir, name)).collect()
}

/// Has the server that has this session of a data directory carry out an order, and waits until it
/// has.
///
/// # Errors
/// If there is no such server, or it did not do it.
pub fn order(data_dir: &Path, session: &str, order: &Order) -> Result<Answered, ClientError> {
    let path = socket_path(data_dir, session);
    let lost = |source| ClientError::Io {
        path: path.clone(),
        source,
    };
    let mut stream = UnixStream::connect(&path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => ClientError::NoServer {
            data_dir: data_dir.to_owned(),
            session: session.to_owned(),
        },
        io::ErrorKind::PermissionDenied => ClientError::Forbidden {
            path: path.clone(),
            source,
        },
        _ => lost(source),
    })?;
    let text = serde_json::to_string(order).map_err(|error| lost(error.into()))?;
    writeln!(stream, "{text}").map_err(lost)?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).map_err(lost)?;
    let line: Line = serde_json::from_str(&line).map_err(|_| ClientError::NoAnswer)?;
    match line.ok {
        true => Ok(Answered {
            text: line.text,
            data: line.data,
        }),
        false => Err(ClientError::Refused(line.error)),
    }
}

/// Has the server write its session to a file of the caller's, which must not exist.
///
/// # Errors
/// As [`order`]; if the file cannot be written; there is none then.
pub fn export(data_dir: &Path, session: &str, file: &Path) -> Result<Answered, ClientError> {
    let failed = |source| ClientError::File {
        path: file.to_owned(),
        source,
    };
    backup::check_new(file).map_err(failed)?;
    let ask = |through: Option<String>| {
        let path = file.to_owned();
        order(data_dir, session, &Order::Export { path, through })
    };
    if file.starts_with(data_dir) {
        return ask(None);
    }
    let exchanged = Exchanged::new(data_dir, session).map_err(failed)?;
    match ask(Some(exchanged.name.clone())) {
        Ok(answered) => {
            exchanged.take(file).map_err(failed)?;
            Ok(answered)
        }
        Err(ClientError::Refused(why)) => {
            // The data directory may be full where there is room for the file.
            let answered = ask(None).map_err(|_| ClientError::Refused(why))?;
            match file.exists() {
                true => Ok(answered),
                false => Err(ClientError::Elsewhere {
                    path: file.to_owned(),
                    data_dir: data_dir.to_owned(),
                }),
            }
        }
        Err(error) => Err(error),
    }
}

/// Has the server go back to a backup, or go on with a session file of the caller's.
///
/// # Errors
/// As [`order`]; if the file cannot be read.
pub fn restore(data_dir: &Path, session: &str, which: &str) -> Result<Answered, ClientError> {
    let ask = |through: Option<String>| {
        let backup = Some(which.to_owned());
        order(data_dir, session, &Order::Restore { backup, through })
    };
    let file = Path::new(which);
    if !file.is_absolute() || file.starts_with(data_dir) {
        return ask(None);
    }
    let failed = |source| ClientError::File {
        path: file.to_owned(),
        source,
    };
    let exchanged = Exchanged::new(data_dir, session).map_err(failed)?;
    match exchanged.put(file) {
        Ok(()) => ask(Some(exchanged.name.clone())),
        // It may be the server's file, which the caller does not see.
        Err(source) => ask(None).map_err(|error| match error {
            ClientError::Refused(_) => failed(source),
            error => error,
        }),
    }
}
