//! What the person who runs the server can have it do: see who and what is there, remove users,
//! save, go back, end.
//!
//! An [`Order`] is the same wherever it comes from: the console on the terminal, or `ctl` through a
//! socket in the data directory. The `Desk` carries it out; an [`Answer`] is both words and JSON.

pub mod answer;
#[cfg(unix)]
pub mod client;
pub(crate) mod desk;
#[cfg_attr(not(unix), allow(dead_code, reason = "there is no ctl"))]
mod exchange;
pub(crate) mod order;
#[cfg(unix)]
pub mod owner;
pub mod sessions;
#[cfg(unix)]
pub(crate) mod socket;
pub mod stats;

use std::path::{Path, PathBuf};

pub use self::answer::Answer;
pub(crate) use self::desk::Desk;
pub use self::order::Order;

/// Where the socket of the server is that has this session of a data directory: several servers may
/// share one.
pub fn socket_path(data_dir: &Path, session: &str) -> PathBuf {
    data_dir.join(format!("ctl-{session}.sock"))
}

/// The session whose server's socket is called so.
#[cfg(unix)]
fn session_of(name: &std::ffi::OsStr) -> Option<String> {
    let name = name.to_str()?.strip_prefix("ctl-")?.strip_suffix(".sock")?;
    crate::config::is_session_name(name).then(|| name.to_owned())
}
