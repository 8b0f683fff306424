//! Copies what can be read of a damaged store into a new one; the damaged one stays as it is.
//!
//! If the index is sound, only nodes are missing whose content is damaged. If it is not, its file
//! is searched for rows, which say themselves what they are. Among them are such that were not in
//! use any more, so deleted nodes may be back.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use memchr::memmem;

use super::disk::{Disk, DiskFile, How, SystemDisk};
use super::error::StoreError;
use super::index::Index;
use super::known::{self, Nodes};
use super::payloads::{Payloads, read_file};
use super::row::{self, Head, Home, Kind, Links};
use super::{Batch, INDEX, LOCK, Meta, Options, Store, Stored, format, lock};
use crate::wire::identity::NodeId;

/// The copy of the damaged index, on which is worked.
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
    /// The index was beyond reading: nodes are as they were when last found, deleted ones may be
    /// back, and lost ones may be unknown.
    pub searched: bool,
}

/// Copies what can be read of the store in `dir` to a new one in `into`, which must not exist or
/// be empty.
///
/// # Errors
/// If a server is using the store, if a newer one wrote it, or if the new one cannot be written.
pub fn recover(dir: &Path, into: &Path) -> Result<Report, StoreError> {
    recover_on(&(Arc::new(SystemDisk) as Arc<dyn Disk>), dir, into)
}

pub(super) fn recover_on(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    into: &Path,
) -> Result<Report, StoreError> {
    let _lock = lock_if_there(&**disk, dir)?;
    format::check_readable(&**disk, dir)?;
    let files = disk.list(into).unwrap_or_default();
    if !files.is_empty() {
        let dir = into.to_owned();
        return Err(StoreError::Occupied { dir });
    }
    let mut new = Store::open_on(Arc::clone(disk), into, Options::default())?;
    let copy = into.join(COPY);
    let report = copy_file(&**disk, &dir.join(INDEX), &copy).and_then(|()| {
        let mut target = Target::new(&mut new);
        let read = catch_unwind(AssertUnwindSafe(|| {
            read_sound(disk, dir, &copy, &mut target)
        }));
        match read {
            Ok(Ok(())) => {}
            Ok(Err(error)) if !matches!(error, StoreError::Damaged { .. }) => return Err(error),
            // Opening may have changed it.
            _ => {
                target.report.searched = true;
                copy_file(&**disk, &dir.join(INDEX), &copy)?;
                search(disk, dir, &copy, &mut target)?;
            }
        }
        target.flush()?;
        Ok(target.report)
    });
    let _ = disk.remove(&copy);
    report
}

/// Keeps servers away; an absent lock is not made, since nothing is to be changed there.
fn lock_if_there(disk: &dyn Disk, dir: &Path) -> Result<Option<Box<dyn DiskFile>>, StoreError> {
    match disk.exists(&dir.join(LOCK)) {
        Ok(true) => lock(disk, dir, How::Read).map(Some),
        _ => Ok(None),
    }
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
        // What a bad sector held stays zero.
        let _ = from_file.read_at(offset, &mut bytes);
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

/// Reads all that a sound index speaks of.
fn read_sound(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    copy: &Path,
    target: &mut Target<'_>,
) -> Result<(), StoreError> {
    let index = Index::open(&**disk, copy, Options::default().cache)?;
    let view = index.view()?;
    let session = known::read_session(&index, &view)?;
    let nodes = Nodes::scan(&index)?;
    let mut tails = known::read_tails(&index, &view)?;
    (target.meta, target.sequence) = session;
    for (id, known) in nodes.iter() {
        let head = &known.head;
        let tail = tails.remove(&id).unwrap_or_default();
        let state = (head.version, head.tail_start);
        let base = match head.home {
            Home::Row => known::read_base(&index, &view, id, state).ok(),
            Home::File(number) => read_state(&**disk, dir, number, id, state),
        };
        let links = known::read_links(&index, &view, id).ok();
        match base.zip(links) {
            Some((base, links)) => target.put(id, stored(head, links, base, tail))?,
            None => target.report.lost.push(id),
        }
    }
    Ok(())
}

fn read_state(
    disk: &dyn Disk,
    dir: &Path,
    number: u64,
    id: NodeId,
    state: (u64, u64),
) -> Option<Bytes> {
    let (found, payload) = read_file(disk, &Payloads::path_in(dir, number), id).ok()?;
    (found == state).then_some(payload)
}

fn stored(head: &Head, links: Links, base: Bytes, tail: Vec<Bytes>) -> Stored {
    Stored {
        place: head.place,
        owner: Arc::clone(&head.owner),
        kind: head.kind.clone(),
        dependencies: links.dependencies,
        version: head.version,
        base,
        tail_start: usize::try_from(head.tail_start).unwrap_or_default(),
        tail,
        aside: links.aside,
    }
}

/// Where rows about one node stand in the file.
#[derive(Default)]
struct Found {
    heads: BTreeMap<u64, Head>,
    links: Links,
    /// By version and start of the tail: place and length.
    bases: HashMap<(u64, u64), (u64, u64)>,
    /// By version and number.
    deltas: HashMap<(u64, u64), (u64, u64)>,
}

/// Reads whatever looks like a row.
fn search(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    copy: &Path,
    target: &mut Target<'_>,
) -> Result<(), StoreError> {
    let file = disk.open(copy, How::Read);
    let file = file.map_err(|error| StoreError::io("read", copy, error))?;
    let mut nodes = HashMap::<NodeId, Found>::new();
    each_row(&*file, |place, row| {
        note(&mut nodes, target, place, row);
    });
    for (id, found) in nodes {
        match newest(&**disk, dir, &*file, id, &found) {
            Some(stored) => target.put(id, stored)?,
            None => target.report.lost.push(id),
        }
    }
    Ok(())
}

/// Gives all sound rows in a file, with their places.
fn each_row(file: &dyn DiskFile, mut each: impl FnMut(u64, &[u8])) {
    let len = file.len().unwrap_or_default();
    let finder = memmem::Finder::new(row::MAGIC);
    let overlap = row::MAGIC.len().saturating_sub(1) as u64;
    let mut offset = 0_u64;
    while offset < len {
        let piece = len.saturating_sub(offset).min(PIECE as u64);
        let Some(bytes) = read(file, offset, piece, len) else {
            return;
        };
        for at in finder.find_iter(&bytes) {
            let place = offset.saturating_add(at as u64);
            if let Some(row) = row_at(file, place, len) {
                each(place, &row);
            }
        }
        if piece <= overlap {
            return;
        }
        offset = offset.saturating_add(piece.saturating_sub(overlap));
    }
}

fn row_at(file: &dyn DiskFile, place: u64, end: u64) -> Option<Vec<u8>> {
    let start = read(file, place, row::START as u64, end)?;
    let (_, _, len) = row::read_start(&start)?;
    read(file, place, len, end)
}

fn read(file: &dyn DiskFile, place: u64, len: u64, end: u64) -> Option<Vec<u8>> {
    // Memory is taken only for what is there.
    place.checked_add(len).filter(|after| *after <= end)?;
    let mut bytes = vec![0; usize::try_from(len).ok()?];
    file.read_at(place, &mut bytes).ok()?;
    Some(bytes)
}

fn note(nodes: &mut HashMap<NodeId, Found>, target: &mut Target<'_>, place: u64, bytes: &[u8]) {
    let at = (place, bytes.len() as u64);
    let noted = match row::read_start(bytes) {
        Some((Kind::Session, ..)) => row::read_session(bytes).map(|(meta, sequence)| {
            if sequence >= target.sequence {
                (target.meta, target.sequence) = (meta, sequence);
            }
        }),
        Some((Kind::Head, Some(id), _)) => Head::read(bytes, id).map(|head| {
            let heads = &mut nodes.entry(id).or_default().heads;
            heads.insert(head.sequence, head);
        }),
        Some((Kind::Links, Some(id), _)) => row::read_links(bytes, id).map(|links| {
            let found = nodes.entry(id).or_default();
            if links.sequence >= found.links.sequence {
                found.links = links;
            }
        }),
        Some((Kind::Base, Some(id), _)) => row::read_base(bytes, id).map(|(version, start, _)| {
            let bases = &mut nodes.entry(id).or_default().bases;
            bases.insert((version, start), at);
        }),
        Some((Kind::Delta, Some(id), _)) => {
            row::read_delta(bytes).map(|(_, version, number, _)| {
                let deltas = &mut nodes.entry(id).or_default().deltas;
                deltas.insert((version, number), at);
            })
        }
        _ => None,
    };
    // What is not sound is as if it weren't there.
    let _: Option<()> = noted;
}

/// The newest state of a node of which everything was found.
fn newest(
    disk: &dyn Disk,
    dir: &Path,
    file: &dyn DiskFile,
    id: NodeId,
    found: &Found,
) -> Option<Stored> {
    let end = file.len().ok()?;
    found.heads.values().rev().find_map(|head| {
        let state = (head.version, head.tail_start);
        let base = match head.home {
            Home::File(number) => read_state(disk, dir, number, id, state)?,
            Home::Row => {
                let (place, len) = found.bases.get(&state)?;
                let row = read(file, *place, *len, end)?;
                let (_, _, payload) = row::read_base(&row, id)?;
                Bytes::copy_from_slice(payload)
            }
        };
        let numbers = head.tail_start..;
        let tail = numbers.map_while(|number| {
            let (place, len) = found.deltas.get(&(head.version, number))?;
            let row = read(file, *place, *len, end)?;
            let (.., delta) = row::read_delta(&row)?;
            Some(Bytes::copy_from_slice(delta))
        });
        let tail = tail.collect();
        Some(stored(head, found.links.clone(), base, tail))
    })
}
