//! The other end of the socket: what `ctl` and `session` use to have a running server do something.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use thiserror::Error;

use super::{Order, socket_path};

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
    /// It may not be asked.
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
