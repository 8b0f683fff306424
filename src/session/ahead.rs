//! Nodes of an upload that the disk may have before the upload is complete.
//!
//! Its host waits until all of it is safe (`upload`), and the disk has nothing to do while it
//! arrives. So what has arrived waits here until the store has time for it (`keeping`). The session
//! itself neither shows nor promises anything of it: the batch after the last node does.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use crate::store::{Task, Upcoming};

/// Bytes that are handed over at a time at least, unless the first of them has waited so long: where
/// all of an upload comes at once, writing it beside takes as long as writing it afterwards.
const LEAST: usize = 16 << 20;
const PATIENCE: Duration = Duration::from_millis(250);
/// Bytes that are handed over at a time at most, about: the batch waits for as much.
const MOST: usize = 32 << 20;

/// What has arrived and may be written.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    waiting: VecDeque<Upcoming>,
    /// Their bytes.
    bytes: usize,
    /// Since when the first of them has waited.
    since: Option<Instant>,
    /// Something was handed over.
    begun: bool,
    /// No batch will have what was handed over and not used.
    over: bool,
}

impl Ahead {
    /// A node has arrived.
    pub(super) fn add(&mut self, upcoming: Upcoming, now: Instant) {
        self.since.get_or_insert(now);
        self.bytes = self.bytes.saturating_add(size(&upcoming));
        self.waiting.push_back(upcoming);
    }

    /// All have: the batch has those that were not handed over.
    pub(super) fn complete(&mut self) {
        // (Its memory goes as well: an upload of many nodes is rare.)
        self.waiting = VecDeque::new();
        (self.bytes, self.since) = (0, None);
    }

    /// The upload is over, or was broken off.
    pub(super) fn end(&mut self) {
        self.complete();
        self.over = self.begun;
    }

    /// Has the store remove what is of no use any more. This comes before [`Self::next`].
    pub(super) fn void(&mut self) -> Option<Task> {
        let is_over = std::mem::take(&mut self.over);
        self.begun &= !is_over;
        is_over.then_some(Task::Unstage)
    }

    /// When little has waited for so long that the store may write it.
    pub(super) fn due(&self) -> Option<Instant> {
        self.since.map(|since| since + PATIENCE)
    }

    /// What the store may write next.
    pub(super) fn next(&mut self, now: Instant) -> Option<Task> {
        let is_late = now >= self.due()?;
        if self.bytes < LEAST && !is_late {
            return None;
        }
        let (mut together, mut bytes) = (Vec::new(), 0_usize);
        while bytes < MOST
            && let Some(upcoming) = self.waiting.pop_front()
        {
            bytes = bytes.saturating_add(size(&upcoming));
            together.push(upcoming);
        }
        self.bytes = self.bytes.saturating_sub(bytes);
        self.since = (!self.waiting.is_empty()).then_some(now);
        self.begun = true;
        Some(Task::Stage(together))
    }
}

fn size((_, stored): &Upcoming) -> usize {
    stored.bytes()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::store::Stored;
    use crate::wire::identity::NodeId;

    /// How many nodes are handed over.
    fn handed(ahead: &mut Ahead, now: Instant) -> usize {
        match ahead.next(now) {
            Some(Task::Stage(nodes)) => nodes.len(),
            None => 0,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn much_goes_at_once_and_little_when_it_has_waited() {
        let id = NodeId::new(&[b'1'; 36]).unwrap();
        let base = Bytes::from(vec![0; LEAST / 4]);
        let stored = Stored {
            place: 1,
            owner: "COMMON".into(),
            kind: Bytes::new(),
            dependencies: Vec::new(),
            version: 1,
            base,
            tail_start: 0,
            tail: Vec::new(),
            aside: None,
        };
        let start = Instant::now();
        let mut ahead = Ahead::default();
        let add = |ahead: &mut Ahead, now| ahead.add((id, stored.clone()), now);
        assert_eq!(handed(&mut ahead, start + 2 * PATIENCE), 0);
        for enough in [0, 0, 0, 4] {
            add(&mut ahead, start);
            assert_eq!(handed(&mut ahead, start), enough);
        }
        let later = start + PATIENCE;
        add(&mut ahead, later);
        assert_eq!(handed(&mut ahead, later), 0);
        add(&mut ahead, later + PATIENCE);
        assert_eq!(handed(&mut ahead, later + PATIENCE), 2);
        // What is left of much has waited no longer than until then.
        for _ in 0..9 {
            add(&mut ahead, start);
        }
        assert_eq!(handed(&mut ahead, later), MOST * 4 / LEAST);
        assert_eq!(handed(&mut ahead, later), 0);
        ahead.complete();
        assert_eq!(handed(&mut ahead, later + PATIENCE), 0);
    }
}
