//! Looks for rows in what is no log, or no database, any more.
//!
//! Payloads are what artists say, and a checksum is no secret: what one holds may look like rows. So
//! nothing inside a sound row is taken for another, nor inside a damaged one if the next stands
//! where it ends. Where its length is what was damaged, there is no telling; what is found then is
//! only taken if it is fit for others.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use memchr::memmem;

use super::{Fit, PIECE, Target, stored};
use crate::store::content::{self, About, Content, Links, Said, State};
use crate::store::disk::{Disk, DiskFile, How};
use crate::store::row::{self, Kind, MAGIC, START};
use crate::store::segment::{self, At};
use crate::store::{StoreError, Stored, payloads};
use crate::wire::fit::Part;
use crate::wire::identity::NodeId;
use crate::wire::node::NodeLimits;

/// No row is longer.
const LONGEST: u64 = 64 << 20;
/// Bytes that may be tried in vain in a file: these, and so many for each that was searched. What is
/// made to look like the starts of long rows, one behind the other, would take hours.
const VAIN: u64 = 16 << 20;
const VAIN_EACH: u64 = 16;
/// No number in a session gets so far, and from here there is room to count on.
const LAST: u64 = 1 << 48;

/// What was found of a node.
#[derive(Default)]
struct Found {
    /// Of format 1 there may be several, in no order; they have numbers.
    about: Option<(u64, About)>,
    links: Links,
    bases: BTreeMap<State, Place>,
    deltas: HashMap<State, Place>,
}

/// Where a payload was found.
#[derive(Clone, Copy)]
enum Place {
    /// In a row of one of the files that are searched.
    Row(usize, At),
    /// In a file of its own.
    File(u64),
}

/// What comes of a node that was found.
enum Outcome {
    Fit(Stored),
    Unfit,
    Lost,
}

/// Reads whatever looks like a row. Those of a log stand one behind the other.
pub(super) fn search(
    disk: &dyn Disk,
    dir: &Path,
    (files, is_log): (&[PathBuf], bool),
    target: &mut Target<'_>,
    fit: Fit<'_>,
) -> Result<(), StoreError> {
    let mut nodes = HashMap::new();
    for (number, path) in files.iter().enumerate() {
        if let Ok(file) = disk.open(path, How::Read) {
            let mut searched = Searched::new(&*file);
            searched.each_row(is_log, |at, row| note(&mut nodes, target, number, at, row));
        }
    }
    for (id, found) in nodes {
        let fit = |part, payload| fit(&target.meta, part, payload);
        match newest(disk, dir, files, id, &found, fit) {
            Outcome::Fit(stored) => target.put(id, stored)?,
            Outcome::Unfit => target.report.refused.push(id),
            Outcome::Lost => target.report.lost.push(id),
        }
    }
    Ok(())
}

/// A file that is searched.
struct Searched<'f> {
    file: &'f dyn DiskFile,
    len: u64,
    /// What was read of it last, and from where.
    window: Vec<u8>,
    from: u64,
    /// Bytes of what looked like rows and was none.
    vain: u64,
}

impl<'f> Searched<'f> {
    fn new(file: &'f dyn DiskFile) -> Self {
        Self {
            file,
            len: file.len().unwrap_or_default(),
            window: Vec::new(),
            from: 0,
            vain: 0,
        }
    }

    /// Gives the sound rows, with their places.
    fn each_row(&mut self, is_log: bool, mut each: impl FnMut(u64, &[u8])) {
        let mut offset = 0;
        while let Some(place) = self.next_start(offset) {
            let len = self.row_len(place);
            let end = len.map(|len| place.saturating_add(len));
            offset = match self.row_at(place) {
                Some(row) => {
                    each(place, &row);
                    place.saturating_add(row.len() as u64)
                }
                None => end
                    .filter(|end| is_log && self.goes_on(*end))
                    .unwrap_or_else(|| place.saturating_add(1)),
            };
        }
    }

    /// Whether a row may end here: a sound one follows, or none.
    fn goes_on(&mut self, place: u64) -> bool {
        place == self.len || self.row_at(place).is_some()
    }

    /// Where the next row may begin.
    fn next_start(&mut self, mut offset: u64) -> Option<u64> {
        while offset < self.len {
            let seen = self.seen(offset, MAGIC.len());
            if let Some(at) = memmem::find(seen, MAGIC) {
                return Some(offset.saturating_add(at as u64));
            }
            let overlap = MAGIC.len().saturating_sub(1);
            let passed = seen.len().saturating_sub(overlap).max(1);
            offset = offset.saturating_add(passed as u64);
        }
        None
    }

    /// What is in memory from a place on: so much at least, unless the file ends before.
    fn seen(&mut self, place: u64, least: usize) -> &[u8] {
        let left = self.len.saturating_sub(place).min(PIECE as u64);
        let left = usize::try_from(left).unwrap_or(PIECE);
        let at = |from: u64| usize::try_from(place.checked_sub(from)?).ok();
        let start = at(self.from).filter(|start| {
            let there = self.window.len().saturating_sub(*start);
            there >= least.min(left)
        });
        let start = start.unwrap_or_else(|| {
            self.from = place;
            self.window.resize(left, 0);
            read_around(self.file, place, &mut self.window);
            0
        });
        self.window.get(start..).unwrap_or_default()
    }

    /// What a row that begins here says of its length, if that may be.
    fn row_len(&mut self, place: u64) -> Option<u64> {
        let start = self.seen(place, START).get(..START)?;
        let (_, _, len) = row::read_start(start)?;
        let end = place.checked_add(len).filter(|end| *end <= self.len);
        end.map(|_| len).filter(|len| *len <= LONGEST)
    }

    /// The sound row that begins here.
    fn row_at(&mut self, place: u64) -> Option<Vec<u8>> {
        let len = self.row_len(place)?;
        let may_be_vain = place.saturating_mul(VAIN_EACH).saturating_add(VAIN);
        if self.vain > may_be_vain {
            return None;
        }
        let mut row = vec![0; usize::try_from(len).ok()?];
        let read = self.file.read_at(place, &mut row);
        if read.is_ok() && content::read(&row).is_some() {
            return Some(row);
        }
        self.vain = self.vain.saturating_add(len);
        None
    }
}

/// Reads what can be read; what a bad sector held is zero.
pub(super) fn read_around(file: &dyn DiskFile, offset: u64, into: &mut [u8]) {
    const BLOCK: usize = 4096;
    if file.read_at(offset, into).is_ok() {
        return;
    }
    let (mut place, mut left) = (offset, into);
    while !left.is_empty() {
        let within = usize::try_from(place % BLOCK as u64).unwrap_or_default();
        let len = BLOCK.saturating_sub(within).min(left.len());
        let (block, after) = left.split_at_mut(len);
        if file.read_at(place, block).is_err() {
            block.fill(0);
        }
        place = place.saturating_add(len as u64);
        left = after;
    }
}

fn note(
    nodes: &mut HashMap<NodeId, Found>,
    target: &mut Target<'_>,
    file: usize,
    offset: u64,
    row: &[u8],
) {
    // What is not sound is as if it weren't there.
    let Some((id, said)) = content::read(row).filter(|(_, said)| may_be(said)) else {
        return;
    };
    let place = |content: &Content<'_>| match content {
        Content::File { number, .. } => Place::File(*number),
        Content::Here(_) => {
            let (segment, len) = (0, row.len() as u64);
            let at = At {
                segment,
                offset,
                len,
            };
            Place::Row(file, at)
        }
    };
    let Some(id) = id else {
        let session = match said {
            Said::Commit(commit) => Some((commit.meta, commit.sequence)),
            Said::Session(meta, sequence) => Some((meta, sequence)),
            _ => None,
        };
        if let Some((meta, sequence)) = session.filter(|(_, last)| *last >= target.sequence) {
            (target.meta, target.sequence) = (meta, sequence);
        }
        return;
    };
    if said == Said::Gone {
        nodes.remove(&id);
        return;
    }
    let found = nodes.entry(id).or_default();
    match said {
        Said::About(about) => found.about = Some((0, about)),
        Said::Head(head) => {
            if let Some(number) = head.file {
                found.bases.insert(head.state, Place::File(number));
            }
            let known = found.about.as_ref().map(|(sequence, _)| *sequence);
            if known.is_none_or(|known| head.sequence >= known) {
                found.about = Some((head.sequence, head.about));
            }
        }
        Said::Links(links) if links.sequence >= found.links.sequence => found.links = links,
        Said::Base(state, content) => drop(found.bases.insert(state, place(&content))),
        Said::Delta(state, content) => drop(found.deltas.insert(state, place(&content))),
        _ => {}
    }
}

/// Whether a session may have come so far.
fn may_be(said: &Said<'_>) -> bool {
    let numbers = match said {
        Said::Commit(commit) => [commit.sequence, 0, 0, 0],
        Said::Session(_, sequence) => [*sequence, 0, 0, 0],
        Said::About(about) => [about.place, 0, 0, 0],
        Said::Links(links) => [links.sequence, 0, 0, 0],
        Said::Base((version, number), _) | Said::Delta((version, number), _) => {
            [*version, *number, 0, 0]
        }
        Said::Head(head) => {
            let (version, start) = head.state;
            [head.sequence, head.about.place, version, start]
        }
        Said::Segment { .. } | Said::Mark(_) | Said::Gone => [0; 4],
    };
    numbers.into_iter().all(|number| number < LAST)
}

/// The newest state of a node of which everything was found, and which is fit for others.
fn newest(
    disk: &dyn Disk,
    dir: &Path,
    files: &[PathBuf],
    id: NodeId,
    found: &Found,
    fit: impl Fn(Part, Bytes) -> Option<Bytes>,
) -> Outcome {
    let Some((_, about)) = &found.about else {
        return Outcome::Lost;
    };
    if about.owner.len().max(about.kind.len()) > NodeLimits::default().name {
        return Outcome::Unfit;
    }
    let read = |kind, state, place| match place {
        Place::File(number) => payloads::read(disk, dir, number, (kind, id, state)).ok(),
        Place::Row(file, at) => {
            let path = files.get(file)?;
            let file = disk.open(path, How::Read).ok()?;
            let row = segment::read_row(&*file, path, at).ok()?;
            let (_, said) = content::read(&row)?;
            Some(said.payload())
        }
    };
    let mut outcome = Outcome::Lost;
    for (state, place) in found.bases.iter().rev() {
        let Some(base) = read(Kind::Base, *state, *place) else {
            continue;
        };
        let Some(base) = fit(Part::Set, base) else {
            outcome = Outcome::Unfit;
            continue;
        };
        let (version, start) = *state;
        let tail = (start..).map_while(|number| {
            let state = (version, number);
            let delta = read(Kind::Delta, state, *found.deltas.get(&state)?)?;
            fit(Part::Delta, delta)
        });
        let (tail, links) = (tail.collect(), found.links.clone());
        return Outcome::Fit(stored(about.clone(), links, *state, base, tail));
    }
    outcome
}
