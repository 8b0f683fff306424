//! What waits to be written to one peer: the queue behind its command and its data link.
//!
//! The session pushes and never waits; the writer tasks of the two links take batches out. A
//! stuck peer costs a bounded amount of memory because newer states replace older ones here, and
//! because the session looks at `Outbox::has_room` before it pushes bulk.
//!
//! Commands and nodes travel on different connections, so the order between them is made here
//! (wire spec, "What a client must never see"): a Delete or Right leaves only after the data of
//! that node which was queued before it; a Delete drops data that has not been started; data of a
//! node that is created anew takes the place of a Delete that has not left. Where one link's
//! frame follows the other's by less than the peer's round trip the order on arrival is open, and
//! [`Outbox::written`] asks for the later one to be repeated. (But for deltas: they are refused until the
//! node was sent anew after a Delete that must have arrived.)

mod batch;
mod marks;
mod receipts;
mod seen;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

pub use self::batch::{Batch, Written};
use self::state::{Part, Queued, State};
use crate::session::gate::Gate;
use crate::session::outlet::{Edit, Joins, Slot, Taken};
use crate::wire::identity::NodeId;
use crate::wire::message::Encoded;

/// The two queues of a peer, each drained by the writer of one link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lane {
    /// The command link.
    Command,
    /// The subscriber (four ports) or data link.
    Data,
}

/// The queue itself, shared by the session (which pushes) and two writers (which take).
#[derive(Debug)]
pub struct Outbox {
    state: Mutex<State>,
    command: Notify,
    data: Notify,
    budget: usize,
    lag: Duration,
    gate: Gate,
}

impl Outbox {
    /// An empty queue that calls itself full at `budget` bytes, lets newer states of a node take
    /// the place of those that have waited for `lag`, and gives nothing out while the gate is
    /// closed.
    pub fn new(budget: usize, lag: Duration, gate: Gate) -> Self {
        Self {
            gate,
            lag,
            state: Mutex::default(),
            command: Notify::new(),
            data: Notify::new(),
            budget: budget.max(1),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether bulk may be pushed. `false` is remembered: [`Outbox::written`] reports `drained`
    /// once half of the budget is free again.
    pub(crate) fn has_room(&self) -> bool {
        let mut state = self.state();
        let room = state.bytes < self.budget;
        state.starved |= !room;
        room
    }

    /// Bytes queued or being written.
    pub(crate) fn queued(&self) -> usize {
        self.state().bytes
    }

    /// Whether the commands alone outgrow the budget: the peer takes nothing any more. Nodes do
    /// not count, however large: they are bounded by [`Outbox::has_room`], and whether they move
    /// is for the write deadline to say.
    pub(crate) fn is_overfull(&self) -> bool {
        self.state().command_bytes >= self.budget
    }

    /// Whether no data is queued or being written.
    pub(crate) fn has_no_data(&self) -> bool {
        let state = self.state();
        state.groups.is_empty() && state.writing_data == 0
    }

    /// Queues a command.
    pub(crate) fn command(&self, slot: Slot, bytes: Encoded) {
        let mut state = self.state();
        state.grow_commands(bytes.len());
        let replaced = match slot {
            Slot::Plain => {
                state.commands.push_back(Queued::Plain(bytes));
                None
            }
            Slot::Users => {
                // All of that is in it as well; and clients take it for all there is, so that what is newer has
                // to come after it.
                state.drop_metadata();
                let old = state.users.replace(bytes);
                if old.is_none() {
                    state.commands.push_back(Queued::Users);
                }
                old
            }
            Slot::Metadata(name) => {
                let old = state.metadata.insert(Arc::clone(&name), bytes);
                if old.is_none() {
                    state.commands.push_back(Queued::Metadata(name));
                }
                old
            }
        };
        state.shrink_commands(replaced.as_ref());
        drop(state);
        self.command.notify_one();
    }

    /// Whether metadata of this user is queued: then the whole of it must be pushed, because it
    /// takes the queued one's place.
    pub(crate) fn holds_metadata(&self, name: &str) -> bool {
        self.state().metadata.contains_key(name)
    }

    /// Drops queued metadata of a user who left: clients end on metadata of somebody unknown.
    pub(crate) fn forget_metadata(&self, name: &str) {
        let mut state = self.state();
        if let Some(old) = state.metadata.remove(name) {
            state.shrink_commands(Some(&old));
            state
                .commands
                .retain(|item| !matches!(item, Queued::Metadata(n) if &**n == name));
        }
    }

    /// Queues a Delete or Right of a node, behind the node's data.
    pub(crate) fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded) {
        let mut state = self.state();
        state.grow_commands(bytes.len());
        if edit == Edit::Delete {
            state.drop_group(node);
        }
        let waits = state.data_ahead(node);
        let pending = state.edits.entry(node).or_default();
        let freed = match edit {
            Edit::Delete => [pending.right.take(), pending.delete.replace(bytes)],
            Edit::Right => [pending.right.replace(bytes), None],
        };
        pending.waits = waits;
        if !waits && !std::mem::replace(&mut pending.queued, true) {
            state.commands.push_back(Queued::Edit(node));
        }
        for old in &freed {
            state.shrink_commands(old.as_ref());
        }
        drop(state);
        self.command.notify_one();
    }

    /// Queues data of a node: the messages of one state or delta. What takes the place of something
    /// keeps that place, so that a node that changes all the time still gets its turn. `after` lists
    /// the nodes it depends on: those that are queued when its turn comes go first. `now` is when the
    /// session made it.
    ///
    /// A peer is behind on a node if something of it has waited for the lag, or if half of the
    /// budget is used: see [`Taken`]. `window` is the peer's round trip with slack.
    pub fn data(
        &self,
        node: NodeId,
        joins: Joins,
        after: &[NodeId],
        bytes: Encoded,
        now: Instant,
        window: impl FnOnce() -> Duration,
    ) -> Taken {
        let mut state = self.state();
        if !state.deletes.is_empty() {
            let then = now.checked_sub(window()).unwrap_or(now);
            if !state.may_follow_delete(node, joins != Joins::Follows, then) {
                return Taken::Refused;
            }
        }
        if !state.edits.is_empty()
            && let Some(pending) = state.edits.get_mut(&node)
            && let Some(delete) = pending.delete.take()
        {
            // Not sent yet, and now it must not be: the peer still has the node, and this state
            // takes its place.
            state.shrink_commands(Some(&delete));
        }
        let len = bytes.len();
        let has_room = state.bytes < self.budget / 2;
        // For what follows the writer is on its way: it waits only where nothing is queued.
        let first = state.order.is_empty();
        let group = state.group(node);
        let oldest = group.parts.first().map(|part| part.since);
        let behind = oldest
            .is_some_and(|since| !has_room || now.saturating_duration_since(since) >= self.lag);
        let replaces = match joins {
            Joins::Replaces => true,
            Joins::Renews => behind,
            Joins::Follows => false,
        };
        let mut replaced = 0;
        let mut since = now;
        if replaces {
            group.parts.clear();
            replaced = std::mem::take(&mut group.bytes);
            // It waits in the place of what has waited, and so does what comes next.
            since = oldest.unwrap_or(now);
        }
        group.parts.push(Part {
            bytes,
            since,
            whole: joins != Joins::Follows,
        });
        group.bytes = group.bytes.saturating_add(len);
        group.follow(after, replaces);
        let queued = if behind { group.bytes } else { 0 };
        state.shrink(replaced);
        state.grow(len);
        drop(state);
        if first {
            self.data.notify_one();
        }
        Taken::Queued(queued)
    }

    /// The number to ask the peer for after a batch of data, if it is time to: the writer sends
    /// it in a heartbeat of the transport.
    pub(crate) fn ask_receipt(&self, batch: &Batch, now: Instant) -> Option<u64> {
        let mut state = self.state();
        let asks = batch.age == state.age && state.receipts.ask(batch.number, now);
        asks.then_some(batch.number)
    }

    /// The peer answered. Returns the next number to ask for, if there is one.
    pub(crate) fn receipt(&self, batch: u64, now: Instant) -> Option<u64> {
        self.state().receipts.answered(batch, now)
    }

    /// The data link is a new one.
    pub(crate) fn start_receipts_over(&self) {
        self.state().receipts.start_over(Instant::now());
    }

    /// Stops or resumes giving out batches, while it is open whether a new link goes on with this
    /// login or starts another.
    pub(crate) fn hold(&self, held: bool) {
        self.state().held = held;
        if !held {
            self.command.notify_one();
            self.data.notify_one();
        }
    }

    /// Whether it gives nothing out for that reason.
    pub(crate) fn is_held(&self) -> bool {
        self.state().held
    }

    /// Forgets everything, what is being written as well.
    pub(crate) fn clear(&self) {
        let mut state = self.state();
        let age = state.age.wrapping_add(1);
        *state = State::default();
        state.age = age;
    }

    /// Drops all queued data (not commands). Returns whose it was, in the order of the queue.
    pub(crate) fn take_back(&self) -> Vec<NodeId> {
        let mut state = self.state();
        let order = std::mem::take(&mut state.order);
        let mut taken = Vec::with_capacity(state.groups.len());
        for node in order {
            if state.groups.contains_key(&node) {
                state.drop_group(node);
                state.release_edit(node);
                taken.push(node);
            }
        }
        drop(state);
        self.command.notify_one();
        taken
    }

    /// Fills `batch` with the next of about `target` bytes for a link, waiting until there is
    /// something.
    pub async fn next(&self, lane: Lane, target: usize, batch: &mut Batch) {
        loop {
            if self.gate.is_closed() {
                self.gate.opened().await;
            }
            if !self.take(lane, target, batch) {
                continue;
            }
            if !batch.segments.is_empty() {
                return;
            }
            match lane {
                Lane::Command => self.command.notified().await,
                Lane::Data => self.data.notified().await,
            }
        }
    }

    /// Returns `false` if the gate has just been closed: what is there is to be taken when it opens,
    /// of which nobody tells again.
    fn take(&self, lane: Lane, target: usize, batch: &mut Batch) -> bool {
        batch.clear();
        let mut state = self.state();
        // (What was queued behind a gate that is closed was queued after it was.)
        if self.gate.is_closed() {
            return false;
        }
        if state.held {
            return true;
        }
        batch.age = state.age;
        while !batch.is_full(target) {
            let more = match lane {
                Lane::Command => state.take_command(batch),
                Lane::Data => state.take_data(target, batch),
            };
            if !more {
                break;
            }
        }
        if lane == Lane::Data && !batch.segments.is_empty() {
            batch.number = state.receipts.give();
            state.writing_data = state.writing_data.saturating_add(1);
        }
        true
    }
}
