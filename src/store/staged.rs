//! Large bases whose files are written before the batch that speaks of them.
//!
//! An upload takes as long as its host's line does, and its host waits until all of it is safe. So
//! the session has the keeper write the large nodes while the rest is on its way, and its batch
//! then finds their files here. Nothing that is here is promised to anybody: the log does not speak
//! of such a file before a batch does, and without one it goes at the next sweep, after a crash or
//! an error as well.

use std::collections::HashMap;

use bytes::Bytes;

use super::content::State;
use super::payloads::Payloads;
use super::row::Kind;
use super::{Store, StoreError};
use crate::wire::identity::NodeId;

/// A base that a node will have, as it seems.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// The node.
    pub id: NodeId,
    /// The version it will have. If it gets another one, the base is written again.
    pub version: u64,
    /// The base.
    pub base: Bytes,
}

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
    /// Writes large bases ahead of the batch that will have them. What cannot be written now (the
    /// disk may be full) the batch will write, and be heard of if it fails.
    pub fn stage(&mut self, bases: impl IntoIterator<Item = Upcoming>) {
        // After an error nothing is written before the log has been read again.
        if self.log.is_some() {
            let bases = bases.into_iter();
            let large = bases.filter(|upcoming| upcoming.base.len() >= self.options.large);
            let _ = self.payloads.stage(large);
        }
    }

    /// Removes what was written ahead and no batch has had.
    pub fn unstage(&mut self) {
        self.payloads.unstage();
    }
}

impl Payloads {
    fn stage(&mut self, bases: impl Iterator<Item = Upcoming>) -> Result<(), StoreError> {
        let staged = self.stage_all(bases);
        self.abandon();
        // After an error, some have got their names and others have not.
        let mut all = std::mem::take(&mut self.staged);
        all.0.retain(|_, file| self.has(file.number));
        self.staged = all;
        staged
    }

    fn stage_all(&mut self, bases: impl Iterator<Item = Upcoming>) -> Result<(), StoreError> {
        for Upcoming { id, version, base } in bases {
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
