//! How a server is: `stats`, in words and as JSON.

use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::answer::{count, size};
use crate::backup::unix_seconds;
use crate::session::snapshot::Durability;
use crate::text::shown;

/// How a server is.
#[derive(Clone, Debug, Serialize)]
pub struct Stats {
    /// Its version.
    pub server: &'static str,
    /// Seconds since its start.
    pub uptime: u64,
    /// The session's name.
    pub session: String,
    /// The version of the clients that are there, or were last.
    pub clients: Option<String>,
    /// Users who are logged in.
    pub users: usize,
    /// Nodes in the scene.
    pub nodes: usize,
    /// Nodes that are set aside.
    pub aside: usize,
    /// Memory of all nodes.
    pub bytes: usize,
    /// Memory they may take.
    pub max_bytes: usize,
    /// Changes since the session began.
    pub sequence: u64,
    /// How changes get to the disk.
    pub durability: DurabilityStats,
    /// The last backup.
    pub backup: BackupStats,
    /// What was counted since the start.
    pub counters: serde_json::Value,
}

/// How changes get to the disk.
#[derive(Clone, Debug, Serialize)]
pub struct DurabilityStats {
    /// `ok`, `degraded` or `off`.
    pub state: &'static str,
    /// Since when it is degraded: seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<u64>,
    /// Why it is degraded.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// Whether something that was kept can no longer be read: so the session would not be loaded at
    /// the next start.
    pub damaged: bool,
}

impl DurabilityStats {
    pub(super) fn of(durability: &Durability, damaged: bool) -> Self {
        let plain = |state| Self {
            state,
            since: None,
            why: None,
            damaged,
        };
        match durability {
            Durability::Off => plain("off"),
            Durability::Ok => plain("ok"),
            Durability::Degraded { since, why } => Self {
                state: "degraded",
                since: Some(unix_seconds(*since)),
                why: Some(why.clone()),
                damaged,
            },
        }
    }
}

/// The last backup.
#[derive(Clone, Debug, Serialize)]
pub struct BackupStats {
    /// Its file.
    pub last: Option<PathBuf>,
    /// When it was made: seconds since 1970.
    pub at: Option<u64>,
    /// Why the attempt after it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uptime = humantime::format_duration(Duration::from_secs(self.uptime));
        writeln!(f, "multi-user-server {}, up {uptime}", self.server)?;
        let clients = self.clients.as_deref().unwrap_or("none yet");
        writeln!(
            f,
            "session {}: {}, {}, {} of {}, clients' version {}",
            self.session,
            count(self.users, "user"),
            count(self.nodes, "node"),
            size(self.bytes as u64),
            size(self.max_bytes as u64),
            shown(clients)
        )?;
        if self.aside > 0 {
            writeln!(f, "{} set aside", count(self.aside, "node"))?;
        }
        match (&self.durability.why, self.durability.since) {
            (Some(why), Some(since)) => {
                let since = SystemTime::UNIX_EPOCH + Duration::from_secs(since);
                let since = humantime::format_rfc3339_seconds(since);
                writeln!(f, "disk: DEGRADED since {since}: {why}")?;
            }
            _ => writeln!(f, "disk: {}", self.durability.state)?,
        }
        if self.durability.damaged {
            writeln!(
                f,
                "what is kept is DAMAGED, and could not be written anew yet: the session goes on, but cannot be loaded \
                 at the next start. If this stays so, the log says why; make a backup now, stop the server and say \
                 session restore"
            )?;
        }
        match (&self.backup.last, self.backup.at) {
            (Some(last), Some(at)) => {
                let at = SystemTime::UNIX_EPOCH + Duration::from_secs(at);
                let at = humantime::format_rfc3339_seconds(at);
                writeln!(f, "last backup: {at}, {}", last.display())?;
            }
            _ => writeln!(f, "last backup: none since the start")?,
        }
        if let Some(failed) = &self.backup.failed {
            writeln!(f, "the last backup FAILED: {failed}")?;
        }
        let counters = self.counters.as_object();
        for (name, value) in counters.into_iter().flatten() {
            if value.as_u64() != Some(0) {
                writeln!(f, "  {name}: {value}")?;
            }
        }
        Ok(())
    }
}
