//! What the person who runs the server asks of the session: who and what is there, and to remove
//! somebody. (`quarantine` sets nodes aside.)

use std::cmp::Reverse;

use serde::Serialize;
use tokio::time::Instant;
use tracing::info;

use super::outlet::Outlet;
use super::replicas::{COMMON, Replica};
use super::state::{Phase, Session, Timer};
use super::users::{LATENCY_UNKNOWN, Stage};
use crate::counters::Count;
use crate::text::shown;
use crate::wire::identity::{Identity, NodeId, NodeSet};

/// A user as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct UserInfo {
    /// What it is called.
    pub name: String,
    /// Whether it may kick and take what others own.
    pub admin: bool,
    /// Round trip of its heartbeat in milliseconds, once one was measured.
    pub latency_ms: Option<u64>,
    /// Whether it has the scene and works on it.
    pub active: bool,
}

/// A node as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Listed {
    /// Its uuid.
    pub id: NodeId,
    /// COMMON or a user's name.
    pub owner: String,
    /// The type's name, in the generations that say it.
    pub kind: String,
    /// Bytes of its state with the changes since.
    pub bytes: usize,
    /// How many nodes it needs.
    pub dependencies: usize,
    /// Whether it is set aside.
    pub aside: bool,
}

impl Listed {
    fn new(id: NodeId, replica: &Replica, aside: bool) -> Self {
        Self {
            id,
            owner: replica.owner().to_string(),
            kind: String::from_utf8_lossy(replica.kind()).into_owned(),
            bytes: replica.payload_bytes(),
            dependencies: replica.dependencies().len(),
            aside,
        }
    }
}

impl<O: Outlet> Session<O> {
    /// All nodes, those that are set aside first, then the largest.
    pub fn nodes(&self) -> Vec<Listed> {
        let present = self.replicas.ids().filter_map(|id| {
            let replica = self.replicas.get(id)?;
            Some(Listed::new(id, replica, false))
        });
        let aside = self.replicas.aside();
        let aside = aside.map(|(id, replica)| Listed::new(id, replica, true));
        let mut all: Vec<_> = present.chain(aside).collect();
        all.sort_by_key(|node| (!node.aside, Reverse(node.bytes)));
        all
    }

    /// Everybody who is logged in, by name.
    pub fn user_infos(&self) -> Vec<UserInfo> {
        let mut all: Vec<_> = self
            .users
            .iter()
            .map(|(_, user)| UserInfo {
                name: user.name.to_string(),
                admin: user.admin,
                latency_ms: (user.latency != LATENCY_UNKNOWN)
                    .then(|| u64::try_from(user.latency).ok())
                    .flatten(),
                active: matches!(user.stage, Stage::Active),
            })
            .collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Nodes that are set aside.
    pub fn aside_count(&self) -> usize {
        self.replicas.aside().count()
    }

    /// Gives nodes to somebody who is present, or to nobody (COMMON). Returns how many that changed.
    ///
    /// # Errors
    /// Why it is not possible, in words.
    pub fn assign(&mut self, nodes: &[NodeId], owner: &str, now: Instant) -> Result<usize, String> {
        if owner != COMMON && self.users.named(owner).is_none() {
            return Err(format!(
                "{} is not in the session: nodes belong to somebody who is, or to {COMMON}",
                shown(owner)
            ));
        }
        let owner = owner.into();
        let mut given: Vec<_> = nodes.to_vec();
        given.retain(|id| self.replicas.give(*id, &owner, now));
        info!(name: "operator.rights", owner = %shown(&owner), nodes = given.len(),
            "the operator gave nodes to somebody");
        self.relay_right(&Identity::anonymous(), "server", &given);
        self.note_operated(&given);
        Ok(given.len())
    }

    /// Removes the user of this name. `false` if there is none.
    pub fn remove(&mut self, name: &str, now: Instant) -> bool {
        let Some(target) = self.users.named(name).cloned() else {
            return false;
        };
        info!(name: "operator.kick", user = %shown(name), "kicked by the operator");
        self.counters.add(Count::Kicks);
        self.dismiss(&target, "kicked by admin", now);
        true
    }

    /// Whoever uploads has to be told what the operator has changed, once it is done.
    pub(super) fn note_operated(&mut self, nodes: &[NodeId]) {
        if let Phase::Uploading(upload) = &mut self.phase {
            upload.operated.extend(nodes);
        }
    }

    /// The uploader is told what the operator has changed. Nodes come on a link of their own (up to G17), and must
    /// not be there before the answer.
    pub(super) fn tell_operated(&mut self, who: &Identity, operated: &NodeSet, now: Instant) {
        let Some(user) = self.users.get(who).filter(|_| !operated.is_empty()) else {
            return;
        };
        let due = now + user.outlet.window();
        let nodes: Vec<_> = self
            .replicas
            .ids()
            .filter(|id| operated.contains(id))
            .collect();
        for id in nodes {
            self.at(due, Timer::Settle(who.clone(), id, true));
        }
    }
}
