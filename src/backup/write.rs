//! Writes one session file: under a temporary name, synced, renamed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rand::TryRngCore;
use tracing::warn;

use super::name::{self, UNFINISHED};
use super::{BackupError, Made, Reason, list};
use crate::session::Snapshot;
use crate::session_file::{self, About, Format, Reader, WriteError, whole};
use crate::store::disk::{Disk, DiskFile, How, sync_ancestors};
use crate::store::{Meta, Stored, SystemDisk};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;
use crate::wire::node::NodeState;
use crate::wire::pickle::Budget;

/// What is to be written, of which each node is given when it is its turn.
#[derive(Debug)]
pub struct Contents<'a, N> {
    /// How the nodes are written, and by what.
    pub meta: &'a Meta,
    /// A number that tells this state of the session from others, if there is one.
    pub state: Option<u64>,
    /// The nodes, in the order of creation.
    pub nodes: N,
}

/// A node, or why it cannot be given.
pub type Given = Result<(NodeId, Stored), BackupError>;

/// All of a snapshot; it costs no copy of payloads.
pub fn contents(snapshot: &Snapshot) -> Contents<'_, impl Iterator<Item = Given>> {
    Contents {
        meta: &snapshot.meta,
        state: Some(snapshot.fingerprint()),
        nodes: snapshot.nodes.iter().cloned().map(Ok),
    }
}

/// Where the backups of a session go.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The folder; it is made if there is none.
    pub dir: &'a Path,
    /// The session's name.
    pub session: &'a str,
    /// What nodes are like at most.
    pub content: Budget,
}

impl Place<'_> {
    /// Makes a backup, now. Whatever goes wrong, no file has a backup's name that is none.
    ///
    /// # Errors
    /// Why there is none.
    pub fn write(
        &self,
        reason: Reason,
        contents: Contents<'_, impl Iterator<Item = Given>>,
    ) -> Result<Made, BackupError> {
        self.write_on(&SystemDisk, reason, SystemTime::now(), contents)
    }

    pub(super) fn write_on(
        &self,
        disk: &dyn Disk,
        reason: Reason,
        time: SystemTime,
        contents: Contents<'_, impl Iterator<Item = Given>>,
    ) -> Result<Made, BackupError> {
        disk.create_dir(self.dir)
            .map_err(|error| BackupError::io("make", self.dir, error))?;
        // The first backup may be all that is left of a session that is emptied next.
        sync_ancestors(disk, self.dir);
        let ending = match format(contents.meta).is_the_add_ons() {
            true => name::ADD_ON,
            false => name::OWN,
        };
        let mut again = 0;
        let path = loop {
            let name = name::name(self.session, reason, time, again, ending);
            let path = self.dir.join(name);
            let taken = disk.exists(&path);
            if !taken.map_err(|error| BackupError::io("look for", &path, error))? {
                break path;
            }
            again = again.saturating_add(1);
        };
        let file = File {
            disk,
            path: &path,
            session: self.session,
            content: self.content,
        };
        file.write(contents)
    }
}

/// Whether a session can be written to this file: it must not exist, its directory must.
///
/// # Errors
/// In words that say which of them it is.
pub(crate) fn check_new(path: &Path) -> io::Result<()> {
    if path.exists() {
        let kind = io::ErrorKind::AlreadyExists;
        return Err(io::Error::new(
            kind,
            "the file exists already, choose another name",
        ));
    }
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    match dir {
        // What cannot be looked at may be there.
        Some(dir) if matches!(dir.try_exists(), Ok(false)) => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!("there is no directory {}", dir.display()),
        )),
        _ => Ok(()),
    }
}

/// Writes a session to a file that does not exist yet.
///
/// # Errors
/// If it exists, cannot be written, or a node cannot be given.
pub fn write_file(
    path: &Path,
    session: &str,
    content: Budget,
    contents: Contents<'_, impl Iterator<Item = Given>>,
) -> Result<Made, BackupError> {
    check_new(path).map_err(|error| BackupError::io("write", path, error))?;
    let file = File {
        disk: &SystemDisk,
        path,
        session,
        content,
    };
    file.write(contents)
}

/// How a session is best written: as the add-on does that wrote it last.
fn format(meta: &Meta) -> Format {
    let family = meta.family.unwrap_or(Family::UntypedPickle);
    Format::of(family, meta.version.as_deref())
}

/// A file to be written.
struct File<'a> {
    disk: &'a dyn Disk,
    path: &'a Path,
    session: &'a str,
    content: Budget,
}

impl File<'_> {
    fn write(
        &self,
        contents: Contents<'_, impl Iterator<Item = Given>>,
    ) -> Result<Made, BackupError> {
        let mut unfinished = self.path.as_os_str().to_owned();
        // Nobody else's, and none that somebody has put there.
        unfinished.push(format!(".{:016x}{UNFINISHED}", random()));
        let unfinished = PathBuf::from(unfinished);
        let made = self.write_to(&unfinished, contents);
        if made.is_err() {
            // If it stays, the next start removes it.
            let _ = self.disk.remove(&unfinished);
        }
        made
    }

    fn write_to(
        &self,
        unfinished: &Path,
        contents: Contents<'_, impl Iterator<Item = Given>>,
    ) -> Result<Made, BackupError> {
        let Contents { meta, state, nodes } = contents;
        let disk = self.disk;
        // The other name is nothing to whoever asked for the file.
        let io = |what, error| BackupError::io(what, self.path, error);
        let file = disk
            .open(unfinished, How::Anew)
            .map_err(|error| io("make", error))?;
        let mut sink = Sink {
            file: &*file,
            offset: 0,
            failed: None,
            pending: Vec::with_capacity(PIECE),
        };
        let about = About {
            state,
            ..About::now(meta.version.as_deref(), self.session)
        };
        let (mut aside, mut without_changes) = (0usize, Vec::new());
        let nodes = nodes.filter_map(|node| match node {
            Ok((_, stored)) if stored.aside.is_some() => {
                aside = aside.saturating_add(1);
                None
            }
            Ok((id, stored)) => {
                let (state, is_whole) = node_state(id, stored, &self.content);
                if !is_whole {
                    without_changes.push(id);
                }
                Some(Ok(state))
            }
            Err(error) => Some(Err(error)),
        });
        let written = session_file::write(&mut sink, format(meta), &about, nodes);
        let flushed = sink.flush();
        // What failed first says most.
        if let Some(error) = sink.failed.take() {
            return Err(io("write", error));
        }
        let written = written.map_err(|error| match error {
            WriteError::Giver(error) => error,
            error => BackupError::Session(error.to_string()),
        })?;
        flushed.map_err(|error| io("write", error))?;
        let bytes = sink.offset;
        file.sync().map_err(|error| io("sync", error))?;
        drop(file);
        disk.rename(unfinished, self.path)
            .map_err(|error| BackupError::io("rename", unfinished, error))?;
        if let Some(dir) = self.path.parent().filter(|dir| !dir.as_os_str().is_empty()) {
            disk.sync_dir(dir)
                .map_err(|error| BackupError::io("sync", dir, error))?;
        }
        Ok(Made {
            path: self.path.to_owned(),
            nodes: written.nodes,
            aside,
            without_changes,
            bytes,
            state,
        })
    }
}

/// A node with its changes, or without, if they cannot be put into it. Says which.
fn node_state(id: NodeId, stored: Stored, content: &Budget) -> (NodeState, bool) {
    match whole(id, &stored, content) {
        Ok(Some(folded)) => {
            if folded.refused > 0 {
                warn!(name: "backup.deltas_left_out", node = %id, deltas = folded.refused,
                    "a node is saved without changes that do not fit it");
            }
            return (folded.node, true);
        }
        Ok(None) => {}
        Err(error) => warn!(name: "backup.unfoldable", node = %id, %error,
            "a node is saved without its last changes, which cannot be put into it"),
    }
    let state = NodeState {
        id,
        owner: stored.owner.into(),
        kind: stored.kind,
        dependencies: stored.dependencies,
        payload: stored.base,
    };
    (state, false)
}

/// So much is written at once.
const PIECE: usize = 256 * 1024;

/// Writes one after the other to a file that takes bytes at a place.
struct Sink<'a> {
    file: &'a dyn DiskFile,
    offset: u64,
    pending: Vec<u8>,
    failed: Option<io::Error>,
}

impl Sink<'_> {
    fn put(&mut self) -> io::Result<()> {
        if let Err(error) = self.file.write_at(self.offset, &self.pending) {
            let kind = error.kind();
            self.failed.get_or_insert(error);
            return Err(kind.into());
        }
        self.offset = self.offset.saturating_add(self.pending.len() as u64);
        self.pending.clear();
        Ok(())
    }
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= PIECE {
            self.put()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put()
    }
}

/// A number that nobody guesses, or at least nobody else has now.
pub(super) fn random() -> u64 {
    let mut bytes = [0; 8];
    match rand::rngs::OsRng.try_fill_bytes(&mut bytes) {
        Ok(()) => u64::from_le_bytes(bytes),
        Err(_) => u64::from(std::process::id()),
    }
}

/// Removes what a server left that was ended while it made a backup. Gives the newest backup with what
/// tells its state from others, as far as it says so.
pub(super) fn tidy(dir: &Path, session: &str) -> Option<(u64, PathBuf)> {
    for entry in std::fs::read_dir(dir).ok()?.flatten() {
        let name = entry.file_name();
        if let Some(name) = name.to_str()
            && name.starts_with(session)
            && name.ends_with(UNFINISHED)
        {
            // What stays does no harm.
            let _ = std::fs::remove_file(entry.path());
        }
    }
    let newest = list(dir, session).ok()?.into_iter().next()?;
    let file = std::fs::File::open(&newest.path).ok()?;
    let state = Reader::open(file).ok()?.about()?.state?;
    Some((state, newest.path))
}
