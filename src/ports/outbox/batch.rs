//! What a writer takes out of the queue at once.

use bytes::Bytes;

use crate::session::outlet::Edit;
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
    /// Whose they are, each once.
    pub(super) nodes: Vec<(NodeId, Option<Edit>)>,
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
