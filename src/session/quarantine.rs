//! Nodes that are set aside: kept, and given to nobody. The operator does so with a node that is
//! sound as far as the server can tell, and yet ends everybody who loads it.
//!
//! To those present it is as if somebody deleted it; what needed it is told so, and remembered.
//! Nobody can make it anew. Released, it is back as if that had happened, and needed by the same
//! nodes as before.

use tokio::time::Instant;
use tracing::info;

use super::outlet::Outlet;
use super::state::{Phase, Session};
use super::users::Stage;
use crate::counters::Count;
use crate::wire::dialect::MissingNode;
use crate::wire::identity::{Identity, NodeId};

/// Why a node is not released.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReleaseError {
    /// It was not set aside.
    #[error("is not set aside")]
    NotAside,
}

impl<O: Outlet> Session<O> {
    /// Sets a node aside. `false` if there is none.
    pub fn quarantine(&mut self, id: NodeId, now: Instant) -> bool {
        if !matches!(self.phase, Phase::Active) || !self.replicas.contains(id) {
            return false;
        }
        self.send_away_who_must_get(id, now);
        let nobody = Identity::anonymous();
        let dependents = self.replicas.dependents(id);
        let Some(tombstone) = self.remove_node(id, &nobody, None, now) else {
            return false;
        };
        info!(name: "node.quarantined", node = %id, bytes = tombstone.replica.payload_bytes(),
            "node set aside by the operator");
        self.counters.add(Count::Quarantined);
        self.replicas
            .set_aside(id, tombstone.replica.clone(), dependents);
        true
    }

    /// Puts a node back that was set aside.
    ///
    /// # Errors
    /// If it was not.
    pub fn release(&mut self, id: NodeId, now: Instant) -> Result<(), ReleaseError> {
        let was_empty = self.replicas.is_empty();
        let dependents = self.replicas.put_back(id).ok_or(ReleaseError::NotAside)?;
        let was_waiting = matches!(self.phase, Phase::Waiting);
        if was_waiting {
            // It is all there is, and can be joined.
            self.phase = Phase::Active;
        }
        info!(name: "node.released", node = %id, "node put back by the operator");
        self.note_anew(&Identity::anonymous(), id, now);
        let everybody: Vec<_> = self.users.iter().map(|(who, _)| who.clone()).collect();
        for node in std::iter::once(id).chain(dependents) {
            self.note_operated(&[node]);
            for who in &everybody {
                self.send_whole(who, node, now);
            }
        }
        // Who has seen it deleted may know another owner.
        self.relay_right(&Identity::anonymous(), "server", &[id]);
        if was_waiting {
            self.let_lobby_in(now);
        } else if was_empty {
            self.give_deferred_catalogs(now);
        }
        Ok(())
    }

    /// Joiners of the older generations cannot be told that a node of their catalog is gone: they
    /// would have to be given it.
    fn send_away_who_must_get(&mut self, id: NodeId, now: Instant) {
        if self
            .dialect()
            .is_none_or(|dialect| dialect.missing_node == MissingNode::RemovedMarker)
        {
            return;
        }
        let waiting = |stage: &Stage| match stage {
            Stage::Fetching(fetching) => fetching.remaining.contains(&id),
            _ => false,
        };
        let joiners: Vec<_> = self
            .users
            .iter()
            .filter(|(_, user)| waiting(&user.stage))
            .map(|(who, _)| who.clone())
            .collect();
        for who in joiners {
            let reason = "the scene was changed by the operator, please join again";
            self.dismiss(&who, reason, now);
        }
    }
}
