//! Copies what can be read of a damaged store into a new one; the damaged one stays as it is.
//!
//! If the log is sound, only nodes are missing whose content is damaged. If it is not, it is
//! searched for rows, which say themselves what they are (`search`). Among them may be such as did not
//! count any more, so deleted nodes may be back; and what a search finds in the middle of something
//! damaged may be what an artist has put there, so nothing of it goes on that is not fit for others
//! (`fit`). The same goes for the database of format 1.

mod fit;
mod search;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

use self::search::{read_around, search};
use super::claim::lock_if_there;
use super::content::{About, Links, State};
use super::disk::{Disk, How, SystemDisk};
use super::error::StoreError;
use super::known::Scan;
use super::legacy::{self, Index};
use super::row::Kind;
use super::segment;
use super::{Batch, Meta, Options, Store, Stored, format, log, payloads, reading};
use crate::wire::fit::Part;
use crate::wire::identity::NodeId;
use crate::wire::pickle::ScanPolicy;

/// The copy of a damaged database, since it changes when it is opened.
const COPY: &str = "damaged.redb";
/// Bytes that are copied or searched at once.
const PIECE: usize = 1 << 20;
/// A batch is written when its nodes have this many bytes.
const TOGETHER: usize = 64 << 20;

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Nodes that are in the new store.
    pub nodes: usize,
    /// Nodes that could not be read.
    pub lost: Vec<NodeId>,
    /// Nodes of which only such states were found as are not fit for others.
    pub refused: Vec<NodeId>,
    /// The log was beyond reading: nodes are as they were when last found, deleted ones may be
    /// back, and lost ones may be unknown.
    pub searched: bool,
}

/// What of a payload that a search has found may go on, in a session that was so.
type Fit<'f> = &'f dyn Fn(&Meta, Part, Bytes) -> Option<Bytes>;

/// Copies what can be read of the store in `dir` to a new one in `into`, which must not exist or
/// be empty. What a search has found must be within the policy, as when it first came.
///
/// # Errors
/// If a server is using the store, if a newer one wrote it, or if the new one cannot be written.
pub fn recover(dir: &Path, into: &Path, policy: &ScanPolicy<'_>) -> Result<Report, StoreError> {
    let disk = Arc::new(SystemDisk) as Arc<dyn Disk>;
    recover_within(&disk, dir, into, policy)
}

pub(super) fn recover_within(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    into: &Path,
    policy: &ScanPolicy<'_>,
) -> Result<Report, StoreError> {
    recover_on(disk, dir, into, &|meta, part, payload| {
        fit::fit(meta, part, payload, policy)
    })
}

pub(super) fn recover_on(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    into: &Path,
    fit: Fit<'_>,
) -> Result<Report, StoreError> {
    let _lock = lock_if_there(&**disk, dir)?;
    let format = match format::check_readable(&**disk, dir) {
        Ok(found) => found,
        Err(StoreError::Damaged { .. }) => None,
        Err(error) => return Err(error),
    };
    let segments = segment::list(&**disk, dir).unwrap_or_default();
    let is_log = format.map_or(!segments.is_empty(), |format| format > 1);
    let files = disk.list(into).unwrap_or_default();
    if !files.is_empty() {
        let dir = into.to_owned();
        return Err(StoreError::Occupied { dir });
    }
    let mut new = Store::open_on(Arc::clone(disk), into, Options::default(), true)?;
    let mut target = Target::new(&mut new);
    let read = match is_log {
        true => read_log(&**disk, dir, &mut target),
        false => {
            let copy = into.join(COPY);
            let read = copy_file(&**disk, &dir.join(legacy::INDEX), &copy).and_then(|()| {
                let read = || read_index(&**disk, dir, &copy, &mut target);
                let broken = |_| Err(StoreError::damaged(&copy, "it cannot be understood"));
                catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(broken)
            });
            let _ = disk.remove(&copy);
            read
        }
    };
    match read {
        Err(StoreError::Damaged { .. }) => {
            target.report = Report {
                searched: true,
                ..Report::default()
            };
            let segments = segments.iter().map(|(number, _)| *number);
            let files = match is_log {
                true => segments.map(|number| segment::path(dir, number)).collect(),
                false => vec![dir.join(legacy::INDEX)],
            };
            search(&**disk, dir, (&files, is_log), &mut target, fit)?;
        }
        read => read?,
    }
    target.flush()?;
    Ok(target.report)
}

fn copy_file(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), StoreError> {
    let to_file = disk.open(to, How::Anew);
    let to_file = to_file.map_err(|error| StoreError::io("write", to, error))?;
    let Ok(from_file) = disk.open(from, How::Read) else {
        // There is none: an empty one has no rows, either.
        return Ok(());
    };
    let len = from_file.len();
    let len = len.map_err(|error| StoreError::io("read", from, error))?;
    let mut offset = 0;
    while offset < len {
        let piece = len.saturating_sub(offset).min(PIECE as u64);
        let mut bytes = vec![0; usize::try_from(piece).unwrap_or(PIECE)];
        read_around(&*from_file, offset, &mut bytes);
        let written = to_file.write_at(offset, &bytes);
        written.map_err(|error| StoreError::io("write", to, error))?;
        offset = offset.saturating_add(piece);
    }
    Ok(())
}

/// The new store, filled in batches.
struct Target<'s> {
    store: &'s mut Store,
    meta: Meta,
    sequence: u64,
    nodes: Vec<(NodeId, Option<Stored>)>,
    bytes: usize,
    report: Report,
}

impl<'s> Target<'s> {
    fn new(store: &'s mut Store) -> Self {
        Self {
            store,
            meta: Meta::default(),
            sequence: 0,
            nodes: Vec::new(),
            bytes: 0,
            report: Report::default(),
        }
    }

    fn put(&mut self, id: NodeId, stored: Stored) -> Result<(), StoreError> {
        let tail = stored.tail.iter().map(Bytes::len).sum::<usize>();
        self.bytes = self.bytes.saturating_add(stored.base.len());
        self.bytes = self.bytes.saturating_add(tail);
        self.nodes.push((id, Some(stored)));
        self.report.nodes = self.report.nodes.saturating_add(1);
        match self.bytes > TOGETHER {
            true => self.flush(),
            false => Ok(()),
        }
    }

    fn flush(&mut self) -> Result<(), StoreError> {
        self.bytes = 0;
        self.store.commit(&Batch {
            sequence: self.sequence,
            meta: self.meta.clone(),
            nodes: std::mem::take(&mut self.nodes),
        })
    }
}

/// Reads all that a sound log speaks of.
fn read_log(disk: &dyn Disk, dir: &Path, target: &mut Target<'_>) -> Result<(), StoreError> {
    let mut scan = Scan::default();
    let reading = log::read(disk, dir, |at, id, said| scan.note(at, id, said))?;
    let nodes = scan.finish(dir, |_, _, _| {})?;
    (target.meta, target.sequence) = (reading.commit.meta, reading.commit.sequence);
    for (id, known) in nodes.iter() {
        match reading::read_node(disk, dir, id, known) {
            Ok(stored) => target.put(id, stored)?,
            Err(_) => target.report.lost.push(id),
        }
    }
    Ok(())
}

/// Reads all that a sound database speaks of.
fn read_index(
    disk: &dyn Disk,
    dir: &Path,
    copy: &Path,
    target: &mut Target<'_>,
) -> Result<(), StoreError> {
    let index = Index::open(disk, copy)?;
    (target.meta, target.sequence) = index.session()?;
    index.each(|id, old| {
        let base = match old.head.file {
            Some(file) => payloads::read(disk, dir, file, (Kind::Base, id, old.head.state)).ok(),
            None => old.base,
        };
        match base.zip(old.links) {
            Some((base, links)) => {
                let stored = stored(old.head.about, links, old.head.state, base, old.tail);
                target.put(id, stored)
            }
            None => {
                target.report.lost.push(id);
                Ok(())
            }
        }
    })
}

fn stored(about: About, links: Links, state: State, base: Bytes, tail: Vec<Bytes>) -> Stored {
    let (version, tail_start) = state;
    Stored {
        place: about.place,
        owner: about.owner,
        kind: about.kind,
        dependencies: links.dependencies,
        version,
        base,
        tail_start: usize::try_from(tail_start).unwrap_or_default(),
        tail,
        aside: links.aside,
    }
}
