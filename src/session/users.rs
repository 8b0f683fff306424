//! Who is logged in, and how far each of them is with the session's nodes.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use indexmap::{IndexMap, IndexSet};
use tokio::time::Instant;

use super::buried::Tombstone;
use super::event::End;
use super::metadata::Metadata;
use crate::wire::identity::{Identity, NodeId, NodeMap, NodeSet};
use crate::wire::pickle::{Dict, Value};

/// Latency shown until one was measured (wire spec, user record).
pub(super) const LATENCY_UNKNOWN: i64 = 999;
/// `status` of a user who has been let in (G3 on).
pub(super) const STATUS_LOBBY: i64 = 10;
/// `status` of a user who has all nodes (wire spec, states).
pub(super) const STATUS_ACTIVE: i64 = 2;

/// A logged-in user.
#[derive(Debug)]
pub(super) struct User<O> {
    /// What it is called; unique.
    pub(super) name: Arc<str>,
    /// Whether it may kick and take what others own.
    pub(super) admin: bool,
    /// State number shown to the others.
    pub(super) status: i64,
    /// Round trip shown to the others, in milliseconds.
    pub(super) latency: i64,
    /// What it says of itself: cursor, selection, frame.
    pub(super) metadata: Metadata,
    /// Its queues and line.
    pub(super) outlet: O,
    /// Since when.
    pub(super) since: Instant,
    /// How far it is.
    pub(super) stage: Stage,
    /// Its login is accepted but not answered: its data link is not there yet (G19).
    pub(super) withheld: bool,
    /// It asked for (or awaits) a catalog that could not be given yet.
    pub(super) wants_catalog: bool,
    /// Nodes whose present state it has yet to get, in order.
    pub(super) behind: Backlog,
    /// Nodes whose last state sent to it took the place of one it made, or of one that was deleted: deltas that
    /// build on the latter are not to be applied while this may be unseen.
    pub(super) corrected: NodeSet,
    /// Deleted nodes of which it cannot be told before the last Commit has arrived, and when that is looked
    /// after.
    pub(super) doomed: NodeMap<Instant>,
    /// Nodes that are there although they are gone at it, or were a moment ago, and when it got them back: it
    /// deleted them and may not, or they were made anew.
    pub(super) restored: NodeMap<Instant>,
    /// Nodes it edited at the same time as others, and when it gets the outcome if it pauses.
    pub(super) converging: NodeMap<Instant>,
    /// Nodes sent anew since something they need was deleted: whether that is due again.
    pub(super) renewed: NodeMap<bool>,
    /// Rights that arrived before the node they are about, and when.
    pub(super) early_rights: NodeMap<(Arc<str>, Instant)>,
    /// When and how its command link ended.
    pub(super) cut: Option<(Instant, End)>,
    /// When its data link ended.
    pub(super) data_cut: Option<Instant>,
    /// A link came up again, and it is open whether this goes on with the login.
    pub(super) resuming: bool,
    /// Until when that may be so, unless it says something before.
    pub(super) resumes: Option<Instant>,
    /// From when on what went to it may be lost, if a link came up again.
    pub(super) lost_since: Option<Instant>,
    /// When an answer to its login or of its transfer went to it that it waits for, unless it has gone on since.
    pub(super) answered: Option<Instant>,
    /// It may not have got that.
    pub(super) lacks_answer: bool,
    /// It has an answer to an upload offer to come.
    pub(super) offered: bool,
    /// Its offer has crossed a catalog.
    pub(super) crossed: bool,
}

/// How far a user is with the session's nodes.
#[derive(Debug, Default)]
#[allow(clippy::large_enum_variant, reason = "there is one for each user")]
pub(super) enum Stage {
    /// It has nothing yet.
    #[default]
    Lobby,
    /// It offered an upload and waits for the answer.
    Offering,
    /// It uploads.
    Uploading,
    /// It fetches the catalog.
    Fetching(Fetching),
    /// It has everything.
    Active,
}

/// A join under way.
#[derive(Debug, Default)]
pub(super) struct Fetching {
    /// Catalog nodes it has not asked for yet.
    pub(super) remaining: NodeSet,
    /// Nodes it was given.
    pub(super) given: NodeSet,
    /// Last content of catalog nodes that were deleted before it asked.
    pub(super) tombstones: NodeMap<Arc<Tombstone>>,
    /// Nodes to be deleted there, once it is done.
    pub(super) deleted: IndexSet<NodeId>,
    /// It has asked for something.
    pub(super) asked: bool,
    /// When it last asked.
    pub(super) last_get: Option<Instant>,
    /// Asked for and not answered yet: its queue is full, or the first is being folded.
    pub(super) waiting: Waiting,
    /// The first of those, if it has been folded since it was asked for.
    pub(super) folded: Option<NodeId>,
}

/// Nodes somebody waits for, in order, each once.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    order: VecDeque<NodeId>,
    nodes: NodeSet,
}

impl Waiting {
    /// Adds one at the end, if it is not among them.
    pub(super) fn push(&mut self, node: NodeId) {
        if self.nodes.insert(node) {
            self.order.push_back(node);
        }
    }

    /// The one whose turn it is.
    pub(super) fn first(&self) -> Option<NodeId> {
        self.order.front().copied()
    }

    /// Takes the first off.
    pub(super) fn pop(&mut self) {
        if let Some(first) = self.order.pop_front() {
            self.nodes.remove(&first);
        }
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }
}

/// What a user lacks of a node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Behind {
    /// Data is missing: all of it, or what follows this cursor.
    pub(super) data: Option<Missing>,
    /// The owner it knows may be an old one.
    pub(super) right: bool,
}

/// How much of a node's data is missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// All.
    Whole,
    /// The deltas from number `from` on, if the whole state is still this version.
    Deltas {
        /// Version of the whole state it has.
        version: u64,
        /// Number of the first delta it has not.
        from: usize,
    },
}

/// Nodes a user lacks something of, in the order in which it fell behind.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    order: VecDeque<NodeId>,
    entries: NodeMap<Behind>,
}

impl Backlog {
    /// Whether nothing is lacking.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What is lacking of a node.
    pub(super) fn get(&self, node: NodeId) -> Option<&Behind> {
        self.entries.get(&node)
    }

    /// What is lacking of a node, to be changed.
    pub(super) fn entry(&mut self, node: NodeId) -> &mut Behind {
        if self.order.len() > self.entries.len().saturating_mul(2).saturating_add(64) {
            // Places of nodes that were taken off before their turn.
            let entries = &self.entries;
            self.order.retain(|node| entries.contains_key(node));
        }
        self.entries.entry(node).or_insert_with(|| {
            self.order.push_back(node);
            Behind::default()
        })
    }

    /// Takes a node off.
    pub(super) fn remove(&mut self, node: NodeId) -> Option<Behind> {
        let removed = self.entries.remove(&node);
        if self.entries.is_empty() {
            self.order.clear();
        }
        removed
    }

    /// The node that has waited longest.
    pub(super) fn first(&mut self) -> Option<NodeId> {
        while let Some(node) = self.order.front() {
            if self.entries.contains_key(node) {
                return Some(*node);
            }
            self.order.pop_front();
        }
        None
    }

    /// Forgets everything.
    pub(super) fn clear(&mut self) {
        self.order.clear();
        self.entries.clear();
    }
}

impl<O> User<O> {
    /// A user who has just logged in.
    pub(super) fn new(name: Arc<str>, admin: bool, status: i64, outlet: O, now: Instant) -> Self {
        Self {
            name,
            admin,
            status,
            latency: LATENCY_UNKNOWN,
            metadata: Metadata::default(),
            outlet,
            since: now,
            stage: Stage::Lobby,
            withheld: false,
            wants_catalog: false,
            behind: Backlog::default(),
            offered: false,
            crossed: false,
            data_cut: None,
            corrected: NodeSet::default(),
            doomed: NodeMap::default(),
            restored: NodeMap::default(),
            converging: NodeMap::default(),
            renewed: NodeMap::default(),
            early_rights: NodeMap::default(),
            cut: None,
            resuming: false,
            resumes: None,
            lost_since: None,
            answered: Some(now),
            lacks_answer: false,
        }
    }

    /// Whether it has been given all nodes, so that live changes go to it.
    pub(super) fn is_active(&self) -> bool {
        matches!(self.stage, Stage::Active)
    }

    /// Whether a link of its is gone: what went to it may have gone to a line that was dead already.
    pub(super) fn is_away(&self) -> bool {
        self.resuming || self.cut.is_some() || self.data_cut.is_some()
    }

    fn record(&self) -> Value {
        let mut record = Dict::new();
        record.insert("id", Value::str(&*self.name));
        record.insert("admin", Value::Bool(self.admin));
        record.insert("latency", Value::Int(self.latency));
        record.insert("status", Value::Int(self.status));
        record.insert("metadata", self.metadata.to_value());
        Value::Dict(record)
    }
}

/// All users, in the order of login.
#[derive(Debug)]
pub(super) struct Users<O> {
    by_identity: IndexMap<Identity, User<O>, foldhash::fast::RandomState>,
    names: HashMap<Arc<str>, Identity>,
}

impl<O> Default for Users<O> {
    fn default() -> Self {
        Self {
            by_identity: IndexMap::default(),
            names: HashMap::new(),
        }
    }
}

impl<O> Users<O> {
    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.by_identity.len()
    }

    /// Whether nobody is there.
    pub(super) fn is_empty(&self) -> bool {
        self.by_identity.is_empty()
    }

    /// The user behind an identity.
    pub(super) fn get(&self, who: &Identity) -> Option<&User<O>> {
        self.by_identity.get(who)
    }

    /// The user behind an identity, to be changed.
    pub(super) fn get_mut(&mut self, who: &Identity) -> Option<&mut User<O>> {
        self.by_identity.get_mut(who)
    }

    /// The identity behind a name.
    pub(super) fn named(&self, name: &str) -> Option<&Identity> {
        self.names.get(name)
    }

    /// All, with their identities.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Identity, &User<O>)> {
        self.by_identity.iter()
    }

    /// All, to be changed.
    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (&Identity, &mut User<O>)> {
        self.by_identity.iter_mut()
    }

    /// All but one, to be changed.
    pub(super) fn others_mut<'a>(
        &'a mut self,
        who: &'a Identity,
    ) -> impl Iterator<Item = &'a mut User<O>> + 'a {
        self.by_identity
            .iter_mut()
            .filter(move |(id, _)| *id != who)
            .map(|(_, user)| user)
    }

    /// Adds a user. Its name must be free.
    pub(super) fn insert(&mut self, who: Identity, user: User<O>) {
        self.names.insert(Arc::clone(&user.name), who.clone());
        self.by_identity.insert(who, user);
    }

    /// Removes a user.
    pub(super) fn remove(&mut self, who: &Identity) -> Option<User<O>> {
        let user = self.by_identity.shift_remove(who)?;
        self.names.remove(&user.name);
        Some(user)
    }

    /// The users dict as clients know it: name → record (wire spec, UpdateClientsState).
    pub(super) fn to_value(&self) -> Value {
        let mut dict = Dict::new();
        for user in self.by_identity.values() {
            dict.insert(Value::str(&*user.name), user.record());
        }
        Value::Dict(dict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u32) -> NodeId {
        NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
    }

    /// As for a joiner who takes for ever, while others make and delete nodes.
    #[test]
    fn what_is_no_longer_lacking_takes_no_place() {
        let mut backlog = Backlog::default();
        backlog.entry(id(1));
        for n in 3..1000 {
            backlog.entry(id(n));
            backlog.remove(id(n));
        }
        backlog.entry(id(2));
        assert!(backlog.order.len() < 100, "{}", backlog.order.len());
        for n in [1, 2] {
            assert_eq!(backlog.first(), Some(id(n)));
            backlog.remove(id(n));
        }
        assert_eq!(backlog.first(), None);
    }
}
