//! Reads the log from its start to its mark, and changes nothing.
//!
//! Who opens a store does that first, and goes on with what comes of it ([`Log::open`](super::Log::open));
//! others only look.

use std::collections::BTreeMap;
use std::path::Path;

use super::Segment;
use crate::store::content::{self, Commit, Mark, Said};
use crate::store::disk::Disk;
use crate::store::error::StoreError;
use crate::store::mark;
use crate::store::segment::{self, At, Rows};
use crate::wire::identity::NodeId;

/// What the log says, read from its start to its mark.
#[derive(Debug)]
pub(in crate::store) struct Reading {
    pub(in crate::store) commit: Commit,
    pub(super) mark: Mark,
    /// Whether the other place of the mark says something as well.
    pub(super) sound: bool,
    pub(super) segments: BTreeMap<u64, Segment>,
}

/// Reads the whole log, and changes nothing. `each` is given all rows about nodes, and says
/// whether one makes sense.
pub(in crate::store) fn read(
    disk: &dyn Disk,
    session: &Path,
    mut each: impl FnMut(At, NodeId, Said<'_>) -> Option<()>,
) -> Result<Reading, StoreError> {
    let marks = mark::read(disk, session)?;
    let mark = match marks.sound {
        true => marks.newest,
        false => next_mark(disk, session, marks.newest)?,
    };
    let mut segments = BTreeMap::new();
    let mut last = None;
    let mut before = None;
    for number in mark.first..=mark.segment {
        let to = (number == mark.segment).then_some(mark.end);
        if number < mark.segment {
            disk.read_ahead(&segment::path(session, number.saturating_add(1)));
        }
        let mut rows = Rows::open(disk, session, number, 0, to)?;
        let path = rows.path().to_owned();
        let mut is_first = true;
        while let Some((at, row)) = rows.next()? {
            let taken = match content::read(row) {
                Some((
                    None,
                    Said::Segment {
                        number: said,
                        before: len,
                    },
                )) => {
                    let fits = before.is_none_or(|before| before == len);
                    (is_first && said == number && fits).then_some(())
                }
                Some((None, Said::Commit(commit))) if !is_first => {
                    last = Some(commit);
                    Some(())
                }
                Some((Some(id), said)) if !is_first => each(at, id, said),
                _ => None,
            };
            taken.ok_or_else(|| segment::damaged(&path, at.offset))?;
            is_first = false;
        }
        let len = rows.end();
        before = Some(len);
        segments.insert(number, Segment { len, live: 0 });
    }
    let path = segment::path(session, mark.segment);
    let commit = last.filter(|commit| (commit.number, commit.first) == (mark.number, mark.first));
    let commit = commit.ok_or_else(|| StoreError::damaged(&path, "its last commit is missing"))?;
    let sound = marks.sound;
    Ok(Reading {
        commit,
        mark,
        sound,
        segments,
    })
}

/// The mark of the commit after one, where that is not to be read.
fn next_mark(disk: &dyn Disk, session: &Path, mark: Mark) -> Result<Mark, StoreError> {
    let (mut segment, mut from) = (mark.segment, mark.end);
    loop {
        // It is missing only after the last, where the commit should have been.
        let mut rows = Rows::open(disk, session, segment, from, None)?;
        let damaged = || StoreError::damaged(&mark::path(session), "it is not what was written");
        while let Some((at, row)) = rows.next()? {
            let (_, said) = content::read(row).ok_or_else(damaged)?;
            if let Said::Commit(commit) = said {
                let next = Mark {
                    number: commit.number,
                    first: commit.first,
                    segment,
                    end: at.offset.saturating_add(at.len),
                };
                let is_next = mark.number.checked_add(1) == Some(next.number);
                return is_next.then_some(next).ok_or_else(damaged);
            }
        }
        (segment, from) = (segment.saturating_add(1), 0);
    }
}
