//! What the person who runs the server asks of the session: who is there, and to remove somebody.

use tokio::time::Instant;
use tracing::info;

use super::outlet::Outlet;
use super::state::Session;
use super::users::{LATENCY_UNKNOWN, Stage};
use crate::counters::Count;
use crate::text::shown;

/// A user as the operator sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// What it is called.
    pub name: String,
    /// Whether it may kick and take what others own.
    pub admin: bool,
    /// Round trip of its heartbeat in milliseconds, once one was measured.
    pub latency_ms: Option<u64>,
    /// Whether it has the scene and works on it.
    pub active: bool,
}

impl<O: Outlet> Session<O> {
    /// Everybody who is logged in, by name.
    pub fn present(&self) -> Vec<Present> {
        let mut all: Vec<_> = self
            .users
            .iter()
            .map(|(_, user)| Present {
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
}
