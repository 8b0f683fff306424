//! What comes while an upload runs and is no part of it: it waits until the upload is done.

use std::sync::Arc;

use tokio::time::Instant;

use super::Upload;
use crate::counters::Count;
use crate::session::guard::guarded;
use crate::session::live::Push;
use crate::session::outlet::Outlet;
use crate::session::state::{Phase, Session};
use crate::wire::identity::{Identity, NodeId};

/// What has to wait for the end of an upload.
#[derive(Debug)]
pub(super) enum Early {
    Update(Push),
    Delete {
        who: Identity,
        node: NodeId,
    },
    Right {
        who: Identity,
        nodes: Vec<NodeId>,
        owner: String,
    },
}

impl<O: Outlet> Session<O> {
    /// Puts a Delete off until the upload is done. Returns whether one runs.
    pub(in crate::session) fn delay_delete(&mut self, who: &Identity, node: NodeId) -> bool {
        let early = || Early::Delete {
            who: who.clone(),
            node,
        };
        self.delay(who, 0, early, Count::RefusedDelete, "a Delete")
    }

    /// Puts a Right off until the upload is done. Returns whether one runs.
    pub(in crate::session) fn delay_right(
        &mut self,
        who: &Identity,
        nodes: &[NodeId],
        owner: &str,
    ) -> bool {
        let bytes = size_of_val(nodes).saturating_add(owner.len());
        let early = || Early::Right {
            who: who.clone(),
            nodes: nodes.to_vec(),
            owner: owner.to_owned(),
        };
        self.delay(who, bytes, early, Count::RefusedRight, "a Right")
    }

    fn delay(
        &mut self,
        who: &Identity,
        bytes: usize,
        early: impl FnOnce() -> Early,
        refused: Count,
        what: &str,
    ) -> bool {
        let limit = self.settings.max_session;
        let Phase::Uploading(upload) = &mut self.phase else {
            return false;
        };
        if upload.uploader != *who {
            // What others sent would count against the upload, and none of them has joined yet.
            let what = format_args!("{what} before its join was done");
            self.counters.refuse(refused, who, what);
        } else if upload.hold(limit, bytes) {
            upload.early.push(early());
        } else {
            let what = format_args!("{what} during an upload");
            self.counters.refuse(Count::RefusedFull, who, what);
        }
        true
    }

    /// Does what had to wait, in its order. A fault in one of these costs that one.
    pub(super) fn apply_early(&mut self, early: Vec<Early>, now: Instant) {
        let counters = Arc::clone(&self.counters);
        for early in early {
            guarded(&counters, || match early {
                Early::Update(push) => self.update(push, now),
                Early::Delete { who, node } => self.delete(&who, node, now),
                Early::Right { who, nodes, owner } => self.right(&who, &nodes, &owner, now),
            });
        }
    }
}

impl Upload {
    /// Makes place for something that has to wait, if the session's limit allows.
    pub(super) fn hold(&mut self, limit: usize, bytes: usize) -> bool {
        const OVERHEAD: usize = 128;
        let total = self
            .early_bytes
            .saturating_add(bytes)
            .saturating_add(OVERHEAD);
        let fits = self.bytes.saturating_add(total) <= limit;
        if fits {
            self.early_bytes = total;
        }
        fits
    }
}
