//! Nodes that are written before the batch that makes them count.
//!
//! An upload takes as long as its host's line does, and its host waits until all of it is safe. So
//! the session has the keeper write its nodes while the rest is on its way. Nothing of that is
//! promised to anybody before the batch is:
//!
//! - Large bases get their files, which the batch then finds here. The log does not speak of them
//!   before it does, and without one they go at the next sweep, after a crash or an error as well.
//! - Other nodes get their rows, behind the mark. The next batch goes on behind them if it has all of
//!   these nodes; otherwise, and after a crash or an error, they are cut off as what was begun of any
//!   batch is.

use std::collections::HashMap;

use bytes::Bytes;

use super::content::State;
use super::payloads::Payloads;
use super::row::Kind;
use super::target::Target;
use super::{Batch, Store, StoreError, Stored};
use crate::wire::identity::NodeId;

/// A new node, and what it will be, as it seems. If it comes otherwise, it is written again.
pub type Upcoming = (NodeId, Stored);

/// Nodes of which the log has rows that no batch has had, with their versions and bases.
pub(super) type Rows = HashMap<NodeId, (u64, Bytes)>;

/// What was written ahead and no batch has spoken of.
#[derive(Debug, Default)]
pub(super) struct Staged(HashMap<(NodeId, State), File>);

#[derive(Debug)]
struct File {
    number: u64,
    /// As long as it is here, no other bytes can have its place in memory.
    payload: Bytes,
}

impl Store {
    /// Writes new nodes ahead of the batch that will have them. What cannot be written now (the
    /// disk may be full) the batch will write, and be heard of if it fails.
    pub fn stage(&mut self, nodes: impl IntoIterator<Item = Upcoming>) {
        // After an error nothing is written before the log has been read again.
        if self.log.is_none() {
            return;
        }
        let is_large = |(_, stored): &Upcoming| stored.base.len() >= self.options.large;
        let (large, small): (Vec<_>, Vec<_>) = nodes.into_iter().partition(is_large);
        let _ = self.payloads.stage(large);
        if self.stage_rows(small).is_err() {
            self.roll_back();
        }
    }

    fn stage_rows(&mut self, nodes: Vec<Upcoming>) -> Result<(), StoreError> {
        let Some(log) = &mut self.log else {
            return Ok(());
        };
        let large = self.options.large;
        let mut target = Target::new(log, &mut self.payloads, self.sequence, large);
        for (id, stored) in nodes {
            // What is there can only be changed by a batch.
            if self.nodes.get(id).is_none() {
                self.nodes.put(id, Some(&stored), &mut target)?;
                self.rows.insert(id, (stored.version, stored.base));
            }
        }
        log.flush()
    }

    /// Whether all that the log has ahead of its batch is in this one.
    pub(super) fn goes_on(&self, batch: &Batch) -> bool {
        if self.rows.is_empty() {
            return true;
        }
        let is_ahead = |(id, stored): &&(NodeId, Option<Stored>)| {
            let Some((version, base)) = self.rows.get(id) else {
                return false;
            };
            let stored = stored.as_ref();
            // (The batch changes what else is different.)
            stored.is_some_and(|stored| stored.version == *version && is_same(base, &stored.base))
        };
        batch.nodes.iter().filter(is_ahead).count() == self.rows.len()
    }

    /// Removes what was written ahead and no batch has had.
    pub fn unstage(&mut self) {
        if !self.rows.is_empty() {
            self.roll_back();
        }
        self.payloads.unstage();
    }

    /// Cuts off what the log has behind the mark.
    fn roll_back(&mut self) {
        self.log = None;
        // If that fails, the next batch does it.
        let _ = self.reopen();
    }
}

impl Payloads {
    fn stage(&mut self, bases: Vec<Upcoming>) -> Result<(), StoreError> {
        let staged = self.stage_all(bases);
        self.abandon();
        // After an error, some have got their names and others have not.
        let mut all = std::mem::take(&mut self.staged);
        all.0.retain(|_, file| self.has(file.number));
        self.staged = all;
        staged
    }

    fn stage_all(&mut self, bases: Vec<Upcoming>) -> Result<(), StoreError> {
        for (id, Stored { version, base, .. }) in bases {
            let state = (version, 0);
            let number = self.write(Kind::Base, id, state, &base)?;
            let payload = base;
            let file = File { number, payload };
            if let Some(older) = self.staged.0.insert((id, state), file) {
                self.remove(older.number);
            }
        }
        self.finish()
    }

    /// The file that has this already, if it was staged. The log is going to speak of it.
    pub(super) fn take_staged(
        &mut self,
        kind: Kind,
        id: NodeId,
        state: State,
        payload: &Bytes,
    ) -> Option<u64> {
        let key = (id, state);
        let same = |file: &File| is_same(&file.payload, payload);
        let has_it = kind == Kind::Base && self.staged.0.get(&key).is_some_and(same);
        let file = has_it.then(|| self.staged.0.remove(&key))?;
        file.map(|file| file.number)
    }

    fn unstage(&mut self) {
        for (_, file) in std::mem::take(&mut self.staged).0 {
            self.remove(file.number);
        }
    }
}

fn is_same(one: &Bytes, other: &Bytes) -> bool {
    // Mostly it is the same place, and need not be read.
    let is_one = one.as_ptr() == other.as_ptr() && one.len() == other.len();
    is_one || one == other
}
