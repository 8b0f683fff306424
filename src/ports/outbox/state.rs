//! The lists behind an outbox, and how items enter and leave them.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use smallvec::SmallVec;
use tokio::time::Instant;

use super::Batch;
use super::marks::{Deleted, Mark, Marks};
use super::receipts::Receipts;
use crate::session::needs::NeedsFirst;
use crate::session::outlet::Edit;
use crate::wire::identity::{NodeId, NodeMap, NodeSet};
use crate::wire::message::Encoded;

/// The longest list of parts that is kept.
const PARTS: usize = 1024;
/// A command longer than this carries nodes.
const BULK: usize = 1024 * 1024;

#[derive(Debug, Default)]
pub(super) struct State {
    /// How often everything was forgotten.
    pub(super) age: u64,
    pub(super) commands: VecDeque<Queued>,
    pub(super) users: Option<Encoded>,
    pub(super) metadata: HashMap<Arc<str>, Encoded>,
    pub(super) edits: NodeMap<PendingEdit>,
    pub(super) order: VecDeque<NodeId>,
    pub(super) groups: NodeMap<Group>,
    /// The list of a group that is gone, for the next one: bursts are of one node.
    parts: SmallVec<[Part; 1]>,
    pub(super) bytes: usize,
    /// Of these, queued commands that are not bulk.
    pub(super) command_bytes: usize,
    /// Batches of data on their way to the socket.
    pub(super) writing_data: usize,
    pub(super) starved: bool,
    pub(super) held: bool,
    pub(super) marks: NodeMap<Marks>,
    /// Deletes that went to this peer.
    pub(super) deletes: NodeMap<Deleted>,
    /// Marks up to here are forgotten.
    pub(super) forgotten: Option<Instant>,
    pub(super) receipts: Receipts,
}

#[derive(Debug)]
pub(super) enum Queued {
    Plain(Encoded),
    Users,
    Metadata(Arc<str>),
    Edit(NodeId),
}

#[derive(Debug, Default)]
pub(super) struct PendingEdit {
    pub(super) delete: Option<Encoded>,
    pub(super) right: Option<Encoded>,
    /// A marker for it stands in `commands`.
    pub(super) queued: bool,
    /// Data of the node that was queued before it goes first.
    pub(super) waits: bool,
}

/// What is queued of one node's data.
#[derive(Debug, Default)]
pub(super) struct Group {
    pub(super) parts: SmallVec<[Part; 1]>,
    pub(super) bytes: usize,
    /// Nodes it depends on.
    after: Box<[NodeId]>,
}

/// One state or delta.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) bytes: Encoded,
    /// Since when it waits, or what it took the place of.
    pub(super) since: Instant,
    pub(super) whole: bool,
}

impl Group {
    pub(super) fn has_whole(&self) -> bool {
        self.parts.iter().any(|part| part.whole)
    }

    /// Notes what the last part depends on, which may be `all` there is.
    pub(super) fn follow(&mut self, after: &[NodeId], all: bool) {
        if *self.after == *after {
            return;
        }
        if all || self.after.is_empty() {
            self.after = after.into();
            return;
        }
        let known: NodeSet = after.iter().copied().collect();
        let gone = self.after.iter().filter(|node| !known.contains(node));
        self.after = gone.chain(after).copied().collect();
    }
}

impl State {
    pub(super) fn grow(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    pub(super) fn shrink(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    /// Counts a queued command.
    pub(super) fn grow_commands(&mut self, bytes: usize) {
        self.grow(bytes);
        if bytes <= BULK {
            self.command_bytes = self.command_bytes.saturating_add(bytes);
        }
    }

    /// Drops all metadata that is queued.
    pub(super) fn drop_metadata(&mut self) {
        if self.metadata.is_empty() {
            return;
        }
        for (_, old) in std::mem::take(&mut self.metadata) {
            self.shrink_commands(Some(&old));
        }
        self.commands
            .retain(|item| !matches!(item, Queued::Metadata(_)));
    }

    /// Counts a command that is no longer queued and will not be written.
    pub(super) fn shrink_commands(&mut self, old: Option<&Encoded>) {
        let bytes = old.map_or(0, Encoded::len);
        self.shrink(bytes);
        self.started(bytes);
    }

    /// Counts a command that is on its way.
    fn started(&mut self, bytes: usize) {
        if bytes <= BULK {
            self.command_bytes = self.command_bytes.saturating_sub(bytes);
        }
    }

    /// What is queued of a node's data. If it is nothing yet, it has its place at the end.
    pub(super) fn group(&mut self, node: NodeId) -> &mut Group {
        if self.order.len() > self.groups.len().saturating_mul(2).saturating_add(64) {
            // Places of nodes that went before their turn or were dropped.
            let groups = &self.groups;
            self.order.retain(|node| groups.contains_key(node));
        }
        let (order, parts) = (&mut self.order, &mut self.parts);
        self.groups.entry(node).or_insert_with(|| {
            order.push_back(node);
            Group {
                parts: std::mem::take(parts),
                ..Group::default()
            }
        })
    }

    pub(super) fn drop_group(&mut self, node: NodeId) {
        if let Some(group) = self.groups.remove(&node) {
            self.shrink(group.bytes);
        }
    }

    pub(super) fn data_ahead(&self, node: NodeId) -> bool {
        self.groups.contains_key(&node)
            || matches!(
                self.marks.get(&node),
                Some(Marks {
                    data: Some(Mark::Writing),
                    ..
                })
            )
    }

    pub(super) fn release_edit(&mut self, node: NodeId) -> bool {
        if self.edits.is_empty() || self.data_ahead(node) {
            return false;
        }
        let Some(pending) = self.edits.get_mut(&node) else {
            return false;
        };
        let released = std::mem::take(&mut pending.waits);
        if !std::mem::replace(&mut pending.queued, true) {
            self.commands.push_back(Queued::Edit(node));
        }
        released
    }

    pub(super) fn take_command(&mut self, batch: &mut Batch) -> bool {
        let Some(item) = self.commands.pop_front() else {
            return false;
        };
        match item {
            Queued::Plain(bytes) => self.hand_out(bytes, batch),
            Queued::Users => {
                if let Some(bytes) = self.users.take() {
                    self.hand_out(bytes, batch);
                }
            }
            Queued::Metadata(name) => {
                if let Some(bytes) = self.metadata.remove(&name) {
                    self.hand_out(bytes, batch);
                }
            }
            Queued::Edit(node) => {
                if let Some(pending) = self.edits.get_mut(&node)
                    && pending.waits
                {
                    // It was replaced by one that came after further data.
                    pending.queued = false;
                    return true;
                }
                let pending = self.edits.remove(&node).unwrap_or_default();
                if pending.delete.is_some() {
                    self.deletes.insert(node, Deleted::new(Mark::Writing));
                    batch.nodes.push((node, Some(Edit::Delete)));
                }
                if pending.right.is_some() {
                    self.marks.entry(node).or_default().right = Some(Mark::Writing);
                    batch.nodes.push((node, Some(Edit::Right)));
                }
                for bytes in [pending.delete, pending.right].into_iter().flatten() {
                    self.hand_out(bytes, batch);
                }
            }
        }
        true
    }

    /// Puts a command into the batch.
    fn hand_out(&mut self, bytes: Encoded, batch: &mut Batch) {
        self.started(bytes.len());
        batch.bytes = batch.bytes.saturating_add(bytes.len());
        bytes.append_to(&mut batch.segments);
    }

    /// Takes the next group, after whatever it depends on that is queued as well; no more of them
    /// than fit into a batch of about `target` bytes.
    pub(super) fn take_data(&mut self, target: usize, batch: &mut Batch) -> bool {
        let Some(first) = self.order.pop_front() else {
            return false;
        };
        let queued = |node: &NodeId| self.groups.contains_key(node);
        let group = self.groups.get(&first);
        if !group.is_some_and(|group| group.after.iter().any(queued)) {
            if !self.take_group(first, target, batch) {
                self.order.push_front(first);
            }
            return true;
        }
        let mut walk = NeedsFirst::default();
        walk.start(first);
        while let Some(node) = walk.next(
            |node| self.groups.get(&node).map_or(&[], |group| &group.after),
            |node| self.groups.contains_key(&node),
        ) {
            if batch.is_full(target) || !self.take_group(node, target, batch) {
                self.order.push_front(first);
                return true;
            }
        }
        true
    }

    /// Takes as much of a group as fits. Returns whether that is all.
    fn take_group(&mut self, node: NodeId, target: usize, batch: &mut Batch) -> bool {
        let Some(group) = self.groups.get_mut(&node) else {
            return true;
        };
        let (mut taken, mut bytes, mut segments) = (0, 0usize, batch.segments.len());
        for part in &group.parts {
            if taken > 0 && batch.is_filled(bytes, target, segments) {
                break;
            }
            segments = segments.saturating_add(part.bytes.segments().len());
            bytes = bytes.saturating_add(part.bytes.len());
            taken += 1;
        }
        let mut whole = false;
        let all = taken == group.parts.len();
        for part in group.parts.drain(..taken) {
            whole |= part.whole;
            part.bytes.append_to(&mut batch.segments);
        }
        batch.bytes = batch.bytes.saturating_add(bytes);
        batch.nodes.push((node, None));
        if all {
            if let Some(gone) = self.groups.remove(&node)
                && gone.parts.spilled()
                && gone.parts.capacity() <= PARTS
            {
                self.parts = gone.parts;
            }
        } else {
            group.bytes = group.bytes.saturating_sub(bytes);
        }
        let marks = self.marks.entry(node).or_default();
        marks.data = Some(Mark::Writing);
        if whole {
            marks.whole = marks.data;
        }
        all
    }
}
