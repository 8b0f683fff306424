//! What the server counts, and the one way refusals get into the log.
//!
//! Strangers can cause refusals at any rate, so each kind is logged at most once in `log.repeat`, with the
//! number of those left out; the counters hold them all. SIGUSR2 writes them to the log.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

/// How often one kind of event is logged.
const REPEAT: Duration = Duration::from_secs(1);

macro_rules! counts {
    ($($(#[$doc:meta])* $variant:ident = $name:literal,)*) => {
        /// Something that is counted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Count {
            $($(#[$doc])* $variant,)*
        }

        impl Count {
            /// All of them, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// Its stable name.
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

counts! {
    /// Connections accepted by the system.
    Connections = "connections",
    /// Connections closed at once because of a cap or rate.
    RefusedConnection = "refused_connections",
    /// Connections that spoke another protocol (scanners).
    ForeignProtocol = "foreign_protocols",
    /// Connections ended for breaking the transport's rules or a limit.
    BrokenTransport = "broken_transports",
    /// Connections ended by the handshake or login deadline.
    LateConnections = "late_connections",
    /// Links that moved too little for too long.
    StalledLinks = "stalled_links",
    /// Links replaced by a newer one of the same identity and role.
    ReplacedLinks = "replaced_links",
    /// Links of one identity that came from different addresses.
    OtherAddress = "other_address",
    /// Messages that could not be read.
    MalformedMessages = "malformed_messages",
    /// Messages by somebody who is not logged in.
    RefusedStranger = "refused_strangers",
    /// Successful logins.
    Logins = "logins",
    /// Refused logins.
    RefusedLogin = "refused_logins",
    /// Users who left, in any way.
    Leaves = "leaves",
    /// Links that came back within the grace.
    Resumed = "resumed",
    /// Users removed by an admin.
    Kicks = "kicks",
    /// Kicks refused.
    RefusedKick = "refused_kicks",
    /// Nodes received.
    UpdatesReceived = "updates_received",
    /// Nodes sent on, one for each receiver.
    UpdatesRelayed = "updates_relayed",
    /// Updates by somebody who had not yet heard of the node's end.
    UpdatesOfDeleted = "updates_of_deleted",
    /// Whole states sent back to a sender because of a concurrent edit.
    Converged = "converged",
    /// Nodes brought together with their deltas.
    NodesFolded = "nodes_folded",
    /// Deltas put into words that all clients understand alike.
    DeltasReworded = "deltas_reworded",
    /// Nodes whose payload is not fit for others.
    RefusedPayload = "refused_payloads",
    /// Updates refused.
    RefusedUpdate = "refused_updates",
    /// Deletes refused.
    RefusedDelete = "refused_deletes",
    /// Rights refused.
    RefusedRight = "refused_rights",
    /// Nodes an admin took from their owner.
    RightsByAdmin = "rights_by_admin",
    /// Upload offers or nodes refused.
    RefusedUpload = "refused_uploads",
    /// Commands out of turn.
    RefusedCommand = "refused_commands",
    /// Metadata beyond its limit.
    RefusedMetadata = "refused_metadata",
    /// Growth refused because of the session's limits.
    RefusedFull = "refused_full",
    /// Nodes set aside by the operator.
    Quarantined = "quarantined",
    /// Batches of changes that could not be written.
    DiskFailures = "disk_failures",
    /// Faults contained.
    Panics = "panics",
}

/// All counters of one server.
#[derive(Debug)]
pub struct Counters {
    values: Vec<AtomicU64>,
    logged: Vec<Mutex<Logged>>,
    repeat: Duration,
}

#[derive(Debug, Default)]
struct Logged {
    last: Option<Instant>,
    left_out: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self::new(REPEAT)
    }
}

impl Counters {
    /// All at zero; lines of one kind are logged no more than once in `repeat`.
    pub fn new(repeat: Duration) -> Self {
        Self {
            values: Count::ALL.iter().map(|_| AtomicU64::new(0)).collect(),
            logged: Count::ALL.iter().map(|_| Mutex::default()).collect(),
            repeat,
        }
    }

    /// Counts one.
    pub fn add(&self, count: Count) {
        self.add_many(count, 1);
    }

    /// Counts several at once.
    pub fn add_many(&self, count: Count, many: u64) {
        if let Some(value) = self.values.get(count as usize) {
            value.fetch_add(many, Ordering::Relaxed);
        }
    }

    /// How many there were.
    pub fn value(&self, count: Count) -> u64 {
        self.values
            .get(count as usize)
            .map_or(0, |value| value.load(Ordering::Relaxed))
    }

    /// Counts and logs something that was refused or dropped. `what` must hold no secrets, and
    /// client text only `text::shown`.
    pub fn refuse(&self, count: Count, who: impl fmt::Display, what: impl fmt::Display) {
        self.add(count);
        if let Some(left_out) = self.may_log(count) {
            warn!(name: "refused", kind = count.name(), peer = %who, left_out, "refused: {what}");
        }
    }

    /// Counts and logs something worth knowing.
    pub fn note(&self, count: Count, who: impl fmt::Display, what: impl fmt::Display) {
        self.add(count);
        if let Some(left_out) = self.may_log(count) {
            info!(name: "noted", kind = count.name(), peer = %who, left_out, "{what}");
        }
    }

    /// How many lines of this kind were left out since the last one, if one may be written now.
    fn may_log(&self, count: Count) -> Option<u64> {
        let mut logged = self
            .logged
            .get(count as usize)?
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if logged.last.is_some_and(|last| now < last + self.repeat) {
            logged.left_out = logged.left_out.saturating_add(1);
            return None;
        }
        logged.last = Some(now);
        Some(std::mem::take(&mut logged.left_out))
    }

    /// All counters as one JSON object.
    pub fn to_json(&self) -> serde_json::Value {
        Count::ALL
            .iter()
            .map(|count| (count.name().to_owned(), self.value(*count).into()))
            .collect::<serde_json::Map<_, _>>()
            .into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn counts_all_but_logs_once_a_second() {
        let counters = Counters::default();
        assert_eq!(counters.may_log(Count::Kicks), Some(0));
        assert_eq!(counters.may_log(Count::Kicks), None);
        assert_eq!(counters.may_log(Count::Kicks), None);
        assert_eq!(counters.may_log(Count::Logins), Some(0));
        tokio::time::advance(REPEAT).await;
        assert_eq!(counters.may_log(Count::Kicks), Some(2));
        counters.refuse(Count::Kicks, "me", "nothing");
        assert_eq!(counters.value(Count::Kicks), 1);
        assert_eq!(counters.to_json()["kicks"], 1);
    }

    #[test]
    fn names_are_unique() {
        let names: std::collections::HashSet<_> = Count::ALL.iter().map(|c| c.name()).collect();
        assert_eq!(names.len(), Count::ALL.len());
    }
}
