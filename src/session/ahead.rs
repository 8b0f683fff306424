//! Large nodes of an upload that the disk may have before the upload is complete.
//!
//! Its host waits until all of it is safe (`upload`), and the disk has nothing to do while it
//! arrives. So what has arrived waits here until the store has time for it (`keeping`). The session
//! itself neither shows nor promises anything of it: the batch after the last node does.

use std::collections::VecDeque;

use crate::store::{LARGE, Task, Upcoming};

/// Bytes and nodes that are handed over at a time. The batch waits for as much at most; the disk
/// takes many small files together in less time than one by one.
const TOGETHER: usize = 32 << 20;
const NODES: usize = 64;

/// What has arrived and may be written.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    waiting: VecDeque<Upcoming>,
    /// Something was handed over.
    begun: bool,
    /// No batch will have what was handed over and not used.
    over: bool,
}

impl Ahead {
    /// A node has arrived.
    pub(super) fn add(&mut self, upcoming: Upcoming) {
        if upcoming.base.len() >= LARGE {
            self.waiting.push_back(upcoming);
        }
    }

    /// All have: the batch has those that were not handed over.
    pub(super) fn complete(&mut self) {
        self.waiting.clear();
    }

    /// The upload is over, or was broken off.
    pub(super) fn end(&mut self) {
        self.waiting.clear();
        self.over = self.begun;
    }

    /// Has the store remove what is of no use any more. This comes before [`Self::next`].
    pub(super) fn void(&mut self) -> Option<Task> {
        let is_over = std::mem::take(&mut self.over);
        self.begun &= !is_over;
        is_over.then_some(Task::Unstage)
    }

    /// What the store may write next.
    pub(super) fn next(&mut self) -> Option<Task> {
        let (mut together, mut bytes) = (Vec::new(), 0_usize);
        while bytes < TOGETHER
            && together.len() < NODES
            && let Some(upcoming) = self.waiting.pop_front()
        {
            bytes = bytes.saturating_add(upcoming.base.len());
            together.push(upcoming);
        }
        self.begun |= !together.is_empty();
        (!together.is_empty()).then_some(Task::Stage(together))
    }
}
