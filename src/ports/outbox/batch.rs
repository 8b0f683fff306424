//! What a writer takes out of the queue at once, and what comes of it when that was written.

use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::marks::{Deleted, Mark};
use super::{Lane, Outbox};
use crate::session::outlet::{Edit, Repeat};
use crate::wire::identity::NodeId;

/// Pieces in one batch, about.
const SEGMENTS: usize = 256;

/// Bytes to be written in one go. Hand it back by [`Outbox::written`](super::Outbox::written) or `lost`.
#[derive(Debug, Default)]
pub struct Batch {
    /// What to write, in order.
    pub segments: Vec<Bytes>,
    /// Which of the peer's logins it was taken for.
    pub(super) age: u64,
    /// Counts batches of data.
    pub(super) number: u64,
    pub(super) bytes: usize,
    /// Whose they are; `None` for data. A Delete and a Right of one node are two.
    pub(super) nodes: Vec<(NodeId, Option<Edit>)>,
}

/// What became of a batch besides its bytes.
#[derive(Debug, Default)]
pub struct Written {
    /// Frames that may have crossed another link's frame.
    pub repeats: Vec<Repeat>,
    /// The queue ran low after the session was told that it is full.
    pub drained: bool,
}

impl Batch {
    /// Bytes in it.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it is large enough.
    pub(super) fn is_full(&self, target: usize) -> bool {
        self.is_filled(0, target, self.segments.len())
    }

    /// The same with so many bytes more, and of so many pieces.
    pub(super) fn is_filled(&self, more: usize, target: usize, segments: usize) -> bool {
        self.bytes.saturating_add(more) >= target || segments >= SEGMENTS
    }

    pub(super) fn clear(&mut self) {
        self.segments.clear();
        self.nodes.clear();
        self.bytes = 0;
        self.number = 0;
    }
}

impl Outbox {
    /// A batch has gone to the socket. `window` is the peer's round trip with slack.
    pub fn written(&self, lane: Lane, batch: &Batch, now: Instant, window: Duration) -> Written {
        let mut state = self.state();
        if batch.age != state.age {
            // It was for a login that is over.
            return Written::default();
        }
        state.shrink(batch.bytes);
        let mut repeats = Vec::new();
        let mut released = false;
        let then = now.checked_sub(window).unwrap_or(now);
        for (node, edit) in &batch.nodes {
            let node = *node;
            match edit {
                Some(edit) => {
                    let mark = Mark::At(0, now);
                    match edit {
                        Edit::Delete => {
                            state.deletes.insert(node, Deleted::new(mark));
                        }
                        Edit::Right => state.marks.entry(node).or_default().right = Some(mark),
                    }
                    let data = state.marks.get(&node).and_then(|marks| marks.data);
                    if state.data_since(data, then, now) {
                        repeats.push(Repeat { node, data: false });
                    }
                }
                None => {
                    let marks = state.marks.entry(node).or_default();
                    marks.data = Some(Mark::At(batch.number, now));
                    if matches!(marks.whole, Some(Mark::Writing)) {
                        marks.whole = marks.data;
                    }
                    if state.deleted_since(node, then) {
                        repeats.push(Repeat { node, data: true });
                    }
                    released |= state.release_edit(node);
                }
            }
        }
        if lane == Lane::Data {
            state.writing_data = state.writing_data.saturating_sub(1);
        }
        let drained = state.starved && state.bytes < self.budget / 2;
        if drained {
            state.starved = false;
        }
        drop(state);
        if lane == Lane::Data && released {
            self.command.notify_one();
        }
        Written { repeats, drained }
    }

    /// The link broke before the batch was written (or it is not known how much was). Returns
    /// whether the queue ran low.
    pub(crate) fn lost(&self, lane: Lane, batch: &Batch, now: Instant) -> bool {
        self.written(lane, batch, now, Duration::ZERO).drained
    }
}
