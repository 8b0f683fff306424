//! The session as a whole: taken as it is for a backup, and replaced by another one.
//!
//! A [`Snapshot`] shares its bytes with the session. What the session changes meanwhile is kept
//! twice until the snapshot is gone.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use tokio::time::Instant;
use tracing::info;

use super::outlet::Outlet;
use super::state::{Phase, Session};
use crate::store::{Meta, Stored};
use crate::text::shown;
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

/// Why the session wants to be saved as it is, or was a moment ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Occasion {
    /// Clients of another version go on with it.
    Version,
    /// A user deleted much of it at once.
    Deletion,
}

impl Occasion {
    /// Its word in the log, and in a backup's name.
    pub fn word(self) -> &'static str {
        match self {
            Self::Version => "version",
            Self::Deletion => "deletion",
        }
    }
}

/// What the session wants saved, and why.
pub type Wanted = (Occasion, Snapshot);

/// All of a session at a moment.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// How many changes it had seen.
    pub sequence: u64,
    /// How its nodes are written, and by what.
    pub meta: Meta,
    /// Its nodes in the order of creation, and then those that are set aside.
    pub nodes: Vec<(NodeId, Stored)>,
}

impl Snapshot {
    /// Whether somebody who joined it would find nothing.
    pub fn is_empty(&self) -> bool {
        self.nodes.iter().all(|(_, node)| node.aside.is_some())
    }

    /// Bytes of its nodes.
    pub fn bytes(&self) -> usize {
        self.nodes.iter().map(|(_, node)| node.bytes()).sum()
    }

    /// A number that tells this state from others: two that have the same are the same.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.sequence, &self.meta.version, self.nodes.len()).hash(&mut hasher);
        for (id, node) in &self.nodes {
            (id, &node.owner, node.place, node.version, node.tail.len()).hash(&mut hasher);
            for payload in std::iter::once(&node.base).chain(node.tail.last()) {
                // Reading all of it would take long; versions tell most.
                let end = payload.len().saturating_sub(ENDING);
                (payload.len(), payload.get(end..)).hash(&mut hasher);
            }
        }
        hasher.finish()
    }
}

/// So many bytes of a payload's end are looked at to tell it from others.
const ENDING: usize = 64;

/// How the nodes are written, as long as there are any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Author {
    pub(super) family: Family,
    /// Of the client that wrote last, if it said.
    pub(super) version: Option<String>,
}

impl Author {
    pub(super) fn of(meta: &Meta) -> Option<Self> {
        meta.family.map(|family| Self {
            family,
            version: meta.version.clone(),
        })
    }
}

/// How what changes gets to the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing is kept.
    Off,
    /// Everything is safe as soon as the configuration asks for.
    Ok,
    /// Changes cannot be written.
    Degraded {
        /// Since then.
        since: SystemTime,
        /// What the system says.
        why: String,
    },
}

/// Why another session does not take the place of this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplaceError {
    /// There is no room for it.
    #[error(
        "it has {bytes} bytes in {nodes} nodes, and session.max_session and session.max_nodes \
         allow {max_bytes} in {max_nodes}: raise them"
    )]
    TooLarge {
        /// What it takes.
        bytes: usize,
        /// How many nodes it has.
        nodes: usize,
        /// What it may take.
        max_bytes: usize,
        /// How many it may have.
        max_nodes: usize,
    },
    /// Somebody has changed the session meanwhile.
    #[error("the session has changed meanwhile")]
    Changed,
}

impl<O: Outlet> Session<O> {
    /// The session as it is.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            sequence: self.replicas.sequence(),
            meta: self.meta(),
            nodes: self.replicas.all_stored(),
        }
    }

    /// How many changes there have been.
    pub fn sequence(&self) -> u64 {
        self.replicas.sequence()
    }

    /// Bytes of all nodes, with what it costs to keep them.
    pub fn bytes(&self) -> usize {
        self.replicas.bytes()
    }

    /// How what changes gets to the disk.
    pub fn durability(&self) -> &Durability {
        &self.durability
    }

    /// The version of those present, or of those who were here last.
    pub fn version(&self) -> Option<&str> {
        match (&self.present, &self.author) {
            (Some(present), _) => present.version.as_deref(),
            (None, author) => author.as_ref()?.version.as_deref(),
        }
    }

    pub(super) fn meta(&self) -> Meta {
        let author = self.author.as_ref();
        Meta {
            family: author.map(|author| author.family),
            version: author.and_then(|author| author.version.clone()),
            active: matches!(self.phase, Phase::Active),
        }
    }

    /// Those present have written something.
    pub(super) fn note_author(&mut self) {
        let Some(present) = &self.present else {
            return;
        };
        let known = self.author.as_ref().is_some_and(|author| {
            author.version == present.version && author.family == present.dialect.family
        });
        if !known {
            self.author = Some(Author {
                family: present.dialect.family,
                version: present.version.clone(),
            });
        }
    }

    /// Clients of another version go on with what is here: who wants to go back finds it as it
    /// was.
    pub(super) fn back_up_before_other_version(&mut self, version: Option<&str>) {
        if let Some(author) = &self.author
            && author.version.as_deref() != version
            && !self.replicas.is_empty()
        {
            self.want_backup(Occasion::Version);
        }
    }

    /// Has the session saved as it is now.
    pub(super) fn want_backup(&mut self, occasion: Occasion) {
        // What was deleted is nowhere else.
        if !matches!(self.wanted_backup, Some((Occasion::Deletion, _))) {
            let snapshot = self.snapshot();
            self.wanted_backup = Some((occasion, snapshot));
        }
    }

    /// A backup to be made of what the session was a moment ago.
    pub fn take_wanted_backup(&mut self) -> Option<Wanted> {
        self.wanted_backup.take()
    }

    /// Sends everybody away, and lets nobody in until [`Self::open`]. An upload is given up.
    pub fn close(&mut self, why: &'static str, now: Instant) {
        self.closed = Some(why);
        self.dismiss_all(why, now);
    }

    /// Whether nobody is let in.
    pub fn is_closed(&self) -> bool {
        self.closed.is_some()
    }

    /// Lets users in again.
    pub fn open(&mut self) {
        self.closed = None;
    }

    /// Whether there is room for a session of so many nodes and bytes.
    ///
    /// # Errors
    /// If there is none.
    pub fn check_room(&self, nodes: usize, bytes: usize) -> Result<(), ReplaceError> {
        let (max_bytes, max_nodes) = (self.settings.max_session, self.settings.max_nodes);
        if bytes > max_bytes || nodes > max_nodes {
            return Err(ReplaceError::TooLarge {
                bytes,
                nodes,
                max_bytes,
                max_nodes,
            });
        }
        Ok(())
    }

    /// Puts another session in the place of this one, which an empty one does too, and sends
    /// everybody away to come again. What is set aside stays so. If a sequence is given, only if
    /// nothing has changed since. Gives how many nodes there are then.
    ///
    /// # Errors
    /// If there is no room for it, or something has changed. Everything is as it was then.
    pub fn replace(
        &mut self,
        other: Snapshot,
        since: Option<u64>,
        reason: &str,
        now: Instant,
    ) -> Result<usize, ReplaceError> {
        if since.is_some_and(|since| since != self.sequence()) {
            return Err(ReplaceError::Changed);
        }
        let bytes = other.bytes();
        self.check_room(other.nodes.len(), bytes)?;
        self.dismiss_all(reason, now);
        self.ahead.end();
        self.replicas.clear();
        self.folds.forget();
        self.wipes = super::wipe::Wipes::default();
        for (id, stored) in other.nodes {
            if !self.replicas.is_aside(id) {
                self.replicas.bring(id, stored);
            }
        }
        self.author = Author::of(&other.meta).filter(|_| !self.replicas.is_empty());
        self.phase = match self.replicas.is_empty() {
            true => Phase::Waiting,
            false => Phase::Active,
        };
        let nodes = self.replicas.len();
        info!(name: "session.replaced", nodes, bytes, reason = %shown(reason),
            "another session has taken the place of this one");
        Ok(nodes)
    }
}
