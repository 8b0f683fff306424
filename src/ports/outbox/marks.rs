//! When frames of a node last went to a peer, and what follows from that for the next ones.
//!
//! The queue sets the marks as it hands out and writes; `seen` and the queue itself ask them.

use tokio::time::Instant;

use super::state::State;
use crate::wire::identity::{NodeId, NodeMap};

/// A Delete that went to this peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deleted {
    pub(super) mark: Mark,
    /// A whole state of the node, made anew, was queued when the Delete must have arrived: it may be changed.
    pub(super) renewed: bool,
}

impl Deleted {
    pub(super) fn new(mark: Mark) -> Self {
        Self {
            mark,
            renewed: false,
        }
    }
}

/// When frames of a node last went to this peer, but for Deletes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks {
    pub(super) data: Option<Mark>,
    /// The same of whole states alone.
    pub(super) whole: Option<Mark>,
    pub(super) right: Option<Mark>,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Mark {
    Writing,
    /// Written as part of this batch.
    At(u64, Instant),
}

impl Mark {
    /// When that was written. `None` if it is just being done.
    pub(super) fn written(&self) -> Option<Instant> {
        match *self {
            Self::Writing => None,
            Self::At(_, at) => Some(at),
        }
    }

    /// Whether a Delete or Right so marked was written at or after `then`.
    pub(super) fn is_since(&self, then: Instant) -> bool {
        self.written().is_none_or(|at| at >= then)
    }
}

impl Marks {
    /// When the last of it was written. `None` if that is just being done.
    pub(super) fn written(&self) -> Option<Instant> {
        let marks = [self.data, self.whole, self.right].into_iter().flatten();
        let times = marks.map(|mark| mark.written());
        times.collect::<Option<Vec<_>>>()?.into_iter().max()
    }
}

/// Leaves no more than so many marks, about: the newest, and those of what is being written. Returns up to when
/// they are gone, if any is.
pub(super) fn keep_newest<T>(
    marks: &mut NodeMap<T>,
    most: usize,
    written: impl Fn(&T) -> Option<Instant>,
) -> Option<Instant> {
    let many = marks.len().saturating_sub(most);
    let mut times: Vec<_> = if many == 0 {
        Vec::new()
    } else {
        marks.values().filter_map(&written).collect()
    };
    let last = many.min(times.len()).checked_sub(1)?;
    let (_, oldest, _) = times.select_nth_unstable(last);
    let oldest = *oldest;
    marks.retain(|_, marks| written(marks).is_none_or(|at| at > oldest));
    Some(oldest)
}

impl State {
    /// Whether a Delete of the node is being written, or was at `then` or later.
    pub(super) fn deleted_since(&self, node: NodeId, then: Instant) -> bool {
        let deleted = self.deletes.get(&node);
        deleted.is_some_and(|deleted| deleted.mark.is_since(then))
    }

    /// Whether data of a node may be queued: a change has to find it at the peer, and a Delete may get there
    /// between the two, or after both. So changes of what was deleted there wait until it was sent whole at a
    /// time when the Delete had arrived, which is if it had left before `then`.
    pub(super) fn may_follow_delete(&mut self, node: NodeId, whole: bool, then: Instant) -> bool {
        let Some(deleted) = self.deletes.get_mut(&node) else {
            return true;
        };
        deleted.renewed |= whole && !deleted.mark.is_since(then);
        whole || deleted.renewed
    }

    /// Whether data so marked may have reached the peer at `then` or later, or not yet.
    pub(super) fn data_since(&self, mark: Option<Mark>, then: Instant, now: Instant) -> bool {
        match mark {
            None => false,
            Some(Mark::Writing) => true,
            Some(Mark::At(batch, at)) => self
                .receipts
                .read_at(batch, at, now)
                .is_none_or(|read| read >= then),
        }
    }

    /// Whether something of a node so marked may have reached the peer at `then` or later, or not yet.
    pub(super) fn is_recent(&self, marks: &Marks, then: Instant, now: Instant) -> bool {
        self.data_since(marks.data, then, now)
            || marks.right.is_some_and(|mark| mark.is_since(then))
    }
}
