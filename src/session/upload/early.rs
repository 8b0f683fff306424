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
        let limit = self.settings.max_session;
        let Phase::Uploading(upload) = &mut self.phase else {
            return false;
        };
        if upload.hold(limit, 0) {
            upload.early.push(Early::Delete {
                who: who.clone(),
                node,
            });
        } else {
            let what = "a Delete during an upload";
            self.counters.refuse(Count::RefusedFull, who, what);
        }
        true
    }

    /// Puts a Right off until the upload is done. Returns whether one runs.
    pub(in crate::session) fn delay_right(
        &mut self,
        who: &Identity,
        nodes: &[NodeId],
        owner: &str,
    ) -> bool {
        let limit = self.settings.max_session;
        let Phase::Uploading(upload) = &mut self.phase else {
            return false;
        };
        if upload.hold(limit, nodes.len().saturating_mul(36)) {
            upload.early.push(Early::Right {
                who: who.clone(),
                nodes: nodes.to_vec(),
                owner: owner.to_owned(),
            });
        } else {
            let what = "a Right during an upload";
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
