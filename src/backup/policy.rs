//! When backups are made, where they go, and which are removed again.

use std::path::{Path, PathBuf};

use tracing::{info, warn};

use super::{Keep, Limits, directory, list};
use crate::config::{Config, Interval, WhenEmpty};

/// When backups are made, and where.
#[derive(Clone, Debug)]
pub struct Policy {
    /// The folder of this session's backups.
    pub dir: PathBuf,
    /// The session's name.
    pub session: String,
    /// Which are kept.
    pub keep: Keep,
    /// How often one is made.
    pub interval: Interval,
    /// Whether one is made when the last user has left.
    pub on_leave: bool,
    /// Whether one is made when the server ends.
    pub on_stop: bool,
    /// Whether any is made that nobody asks for, these or others.
    pub unasked: bool,
    /// What becomes of a session without users.
    pub when_empty: WhenEmpty,
    /// What is read of a file at most.
    pub limits: Limits,
}

impl Policy {
    /// What a configuration says.
    pub fn new(config: &Config, limits: Limits) -> Self {
        let backup = &config.backup;
        let when_empty = config.session.when_empty;
        Self {
            dir: directory(config, &config.session.name),
            session: config.session.name.clone(),
            keep: Keep::of(backup),
            interval: backup.interval,
            on_leave: backup.on_leave,
            on_stop: backup.on_stop,
            unasked: backup.interval != Interval::Off
                || backup.on_leave
                || backup.on_stop
                || backup.mass_delete > 0
                || when_empty != WhenEmpty::Keep,
            when_empty,
            limits,
        }
    }

    /// Removes those of which there are too many, now that this one is made.
    pub(super) fn remove_surplus(&self, made: &Path) {
        let Ok(all) = list(&self.dir, &self.session) else {
            return;
        };
        for found in self.keep.surplus(&all) {
            if found.path == made {
                // The clock was set back.
                continue;
            }
            match std::fs::remove_file(&found.path) {
                Ok(()) => info!(name: "backup.removed", file = %found.name, "old backup removed"),
                Err(error) => {
                    warn!(name: "backup.not_removed", file = %found.name, %error, "an old backup stays");
                }
            }
        }
    }
}
