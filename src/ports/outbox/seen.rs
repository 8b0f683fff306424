//! What a peer may not have seen yet, and what a link that broke may have lost: from what is queued, and from
//! when it was written. Asked by the session.

use std::time::Duration;

use tokio::time::Instant;

use super::Outbox;
use super::marks::{Deleted, Marks, keep_newest};
use super::state::Group;
use crate::wire::identity::{NodeId, NodeSet};

/// Nodes of which it is remembered, for each peer, when something of them was written. That is to last as long
/// as anything may be on its way that the peer sent before it came; a peer that sends without a pause can make
/// that any time.
const MARKS: usize = 200_000;

impl Outbox {
    /// Whether the peer may not have seen something of this node that was meant for it: it is
    /// queued, being written, or was written less than `window` before `at`.
    pub(crate) fn unseen(&self, node: NodeId, at: Instant, window: Duration) -> bool {
        let state = self.state();
        if state.groups.contains_key(&node) {
            return true;
        }
        if state.edits.get(&node).is_some_and(|e| e.delete.is_some()) {
            return true;
        }
        let then = at.checked_sub(window).unwrap_or(at);
        let marks = state.marks.get(&node);
        marks.is_some_and(|marks| state.data_since(marks.data, then, Instant::now()))
            || state.deleted_since(node, then)
    }

    /// Whether the peer may not have seen the last whole state of this node that was meant for it.
    pub(crate) fn unseen_whole(&self, node: NodeId, at: Instant, window: Duration) -> bool {
        let state = self.state();
        if state.groups.get(&node).is_some_and(Group::has_whole) {
            return true;
        }
        let then = at.checked_sub(window).unwrap_or(at);
        let marks = state.marks.get(&node);
        marks.is_some_and(|marks| state.data_since(marks.whole, then, Instant::now()))
    }

    /// Whether the peer may not have seen a Right of this node that was meant for it.
    pub(crate) fn unseen_right(&self, node: NodeId, at: Instant, window: Duration) -> bool {
        let state = self.state();
        let then = at.checked_sub(window).unwrap_or(at);
        let queued = state.edits.get(&node).is_some_and(|e| e.right.is_some());
        queued
            || state.marks.get(&node).is_some_and(|marks| {
                let right = marks.right;
                right.is_some_and(|mark| mark.is_since(then))
            })
    }

    /// Nodes of which anything was written at or after `then`, for a link that was cut.
    pub(crate) fn sent_since(&self, then: Instant) -> Vec<NodeId> {
        let state = self.state();
        let now = Instant::now();
        let marks = state.marks.iter();
        let marked = marks.filter(|(_, marks)| state.is_recent(marks, then, now));
        let deletes = state.deletes.iter();
        let deleted = deletes.filter(|(_, deleted)| deleted.mark.is_since(then));
        let nodes: NodeSet = marked
            .map(|(node, _)| *node)
            .chain(deleted.map(|(node, _)| *node))
            .collect();
        nodes.into_iter().collect()
    }

    /// Whether it is known of everything that was written after `then` that it was.
    pub(crate) fn remembers(&self, then: Instant) -> bool {
        self.state().forgotten.is_none_or(|until| until <= then)
    }

    /// Forgets what had reached the peer before `then`, and the oldest of it if it is too much.
    pub(crate) fn prune(&self, then: Instant) {
        let mut state = self.state();
        let now = Instant::now();
        let mut marks = std::mem::take(&mut state.marks);
        marks.retain(|_, marks| state.is_recent(marks, then, now));
        let gone = keep_newest(&mut marks, MARKS, Marks::written);
        state.marks = marks;
        state
            .deletes
            .retain(|_, deleted| deleted.mark.is_since(then));
        let written = |deleted: &Deleted| deleted.mark.written();
        let deletes = keep_newest(&mut state.deletes, MARKS, written);
        state.forgotten = state.forgotten.max(gone).max(deletes).max(Some(then));
    }
}
