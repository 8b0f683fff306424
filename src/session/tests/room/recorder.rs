//! A peer that records what it is told.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::time::Instant;

use super::words::{answer, answer_line, id, update_line, updates};
use crate::session::outlet::{Edit, Joins, Outlet, Slot, Taken};
use crate::wire::client::OwnedAnswer;
use crate::wire::dialect::Dialect;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::node::Update;
use crate::wire::pickle::Value;
use crate::wire::role::Role;

/// A peer that records what it is told.
#[derive(Clone, Debug)]
pub(in crate::session::tests) struct Recorder {
    identity: Identity,
    address: Option<IpAddr>,
    framed: bool,
    state: Arc<Mutex<Recorded>>,
    clock: Arc<Mutex<Instant>>,
}

/// What a test sets and reads of a peer.
#[derive(Debug)]
pub(in crate::session::tests) struct Recorded {
    pub(in crate::session::tests) dialect: Option<&'static Dialect>,
    pub(in crate::session::tests) lines: Vec<String>,
    pub(in crate::session::tests) users: Option<Value>,
    /// Nodes of which something is under way.
    pub(in crate::session::tests) unseen: HashSet<NodeId>,
    /// Nodes of which a Right may not have reached the peer.
    pub(in crate::session::tests) unseen_rights: HashSet<NodeId>,
    /// Nodes of which it takes no changes.
    pub(in crate::session::tests) deleted: HashSet<NodeId>,
    pub(in crate::session::tests) full: bool,
    pub(in crate::session::tests) overfull: bool,
    pub(in crate::session::tests) held: bool,
    /// Links that are there, and that were there since the login.
    pub(in crate::session::tests) linked: [bool; 4],
    pub(in crate::session::tests) was_linked: [bool; 4],
    pub(in crate::session::tests) heard: Option<Instant>,
    pub(in crate::session::tests) worked: Option<Instant>,
    pub(in crate::session::tests) round_trip: Option<Duration>,
    pub(in crate::session::tests) metadata: HashSet<String>,
    /// What the session has a fault at, once, when it tells the peer this.
    pub(in crate::session::tests) fails_at: Option<&'static str>,
    sent: HashMap<NodeId, Instant>,
    forgotten: Option<Instant>,
}

impl Recorder {
    /// One that has all links open, and has not logged in.
    pub(super) fn new(number: u32, clock: Arc<Mutex<Instant>>) -> Self {
        let mut identity = [0; 16];
        identity[12..].copy_from_slice(&number.to_be_bytes());
        let last = u8::try_from(number).unwrap();
        Self {
            identity: Identity::new(&identity).unwrap(),
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))),
            framed: false,
            clock,
            state: Arc::new(Mutex::new(Recorded {
                dialect: None,
                lines: Vec::new(),
                users: None,
                unseen: HashSet::new(),
                unseen_rights: HashSet::new(),
                deleted: HashSet::new(),
                full: false,
                overfull: false,
                held: false,
                linked: [true; 4],
                was_linked: [true; 4],
                heard: None,
                worked: None,
                round_trip: None,
                metadata: HashSet::new(),
                fails_at: None,
                sent: HashMap::new(),
                forgotten: None,
            })),
        }
    }

    /// The same, over the newest clients' transport.
    pub(in crate::session::tests) fn over_the_framed_transport(mut self) -> Self {
        self.framed = true;
        self
    }

    /// The same, from another address.
    pub(in crate::session::tests) fn at(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }

    pub(in crate::session::tests) fn state(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock().unwrap()
    }

    fn now(&self) -> Instant {
        *self.clock.lock().unwrap()
    }

    fn tell(&self, line: String) {
        let fault = self.state().fails_at.take_if(|fault| *fault == line);
        assert_eq!(fault, None, "a fault in the session");
        self.state().lines.push(line);
    }
}

impl Outlet for Recorder {
    fn identity(&self) -> &Identity {
        &self.identity
    }
    fn address(&self) -> Option<IpAddr> {
        self.address
    }
    fn is_framed(&self) -> bool {
        self.framed
    }
    fn log_in(&self, dialect: &'static Dialect) {
        self.state().dialect = Some(dialect);
    }
    fn log_out(&self) {
        self.state().dialect = None;
    }
    fn start_over(&self) {
        let mut state = self.state();
        if state.held {
            state.lines.clear();
            state.held = false;
        }
    }
    fn command(&self, slot: Slot, bytes: Encoded) {
        let answer = answer(&bytes, self.framed);
        match (&slot, &answer) {
            (Slot::Users, OwnedAnswer::Users(users)) => self.state().users = Some(users.clone()),
            (Slot::Metadata(name), OwnedAnswer::Metadata { owner, .. }) => {
                assert_eq!(**name, **owner);
                let known = self
                    .state()
                    .users
                    .as_ref()
                    .is_some_and(|users| users.as_dict().unwrap().get(owner).is_some());
                assert!(known, "clients end on metadata of somebody unknown");
            }
            (Slot::Plain, OwnedAnswer::Users(_) | OwnedAnswer::Metadata { .. }) => {
                panic!("a newer one may take its place")
            }
            (Slot::Plain, _) => {}
            _ => panic!("{slot:?} holds {answer:?}"),
        }
        assert_ne!(
            answer,
            OwnedAnswer::Catalog(vec![]),
            "clients end on an empty catalog"
        );
        self.tell(answer_line(&answer));
    }
    fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded) {
        let answer = answer(&bytes, self.framed);
        match (edit, &answer) {
            (Edit::Delete, OwnedAnswer::Delete(of)) => assert_eq!(*of, node),
            (Edit::Right, OwnedAnswer::Right { nodes, .. }) => assert_eq!(*nodes, [node]),
            _ => panic!("{edit:?} is {answer:?}"),
        }
        let now = self.now();
        self.state().sent.insert(node, now);
        self.tell(answer_line(&answer));
    }
    fn data(&self, id: NodeId, joins: Joins, _: &[NodeId], bytes: Encoded, _: Instant) -> Taken {
        let dialect = self
            .state()
            .dialect
            .expect("data for somebody not logged in");
        if joins == Joins::Follows && self.state().deleted.contains(&id) {
            return Taken::Refused;
        }
        for update in updates(dialect, &bytes, self.framed) {
            let of = match &update {
                Update::Node(node) => node.id,
                Update::Delta(delta) => delta.id,
            };
            assert_eq!(of, id);
            let whole = match &update {
                Update::Node(_) => true,
                // G8-G14 have no other whole states.
                Update::Delta(delta) => replaces_root(&delta.delta),
            };
            assert_eq!(whole, joins != Joins::Follows, "{update:?}");
            self.tell(update_line(&update));
        }
        let now = self.now();
        self.state().sent.insert(id, now);
        Taken::Queued(bytes.len())
    }
    fn has_room(&self) -> bool {
        !self.state().full
    }
    fn is_overfull(&self) -> bool {
        self.state().overfull
    }
    fn holds_metadata(&self, user: &str) -> bool {
        self.state().metadata.contains(user)
    }
    fn forget_metadata(&self, user: &str) {
        let mut state = self.state();
        state.metadata.remove(user);
        if state.held {
            let queued = format!("metadata {user} ");
            state.lines.retain(|line| !line.starts_with(&queued));
        }
    }
    fn take_back(&self) -> Vec<NodeId> {
        let mut state = self.state();
        if !state.held {
            return Vec::new();
        }
        let of = |line: &str| {
            let line = line
                .strip_prefix("node ")
                .or_else(|| line.strip_prefix("delta "))?;
            Some(id(line.split(' ').next()?.parse().unwrap()))
        };
        let taken = state.lines.iter().filter_map(|line| of(line)).collect();
        state.lines.retain(|line| of(line).is_none());
        taken
    }
    fn hold(&self, held: bool) {
        self.state().held = held;
    }
    fn unseen(&self, node: NodeId, at: Instant) -> bool {
        let state = self.state();
        state.unseen.contains(&node) || state.sent.get(&node).is_some_and(|sent| *sent > at)
    }
    fn arrived(&self, node: NodeId) -> bool {
        !self.unseen(node, self.now())
    }
    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool {
        self.unseen(node, at)
    }
    fn unseen_right(&self, node: NodeId, _: Instant) -> bool {
        self.state().unseen_rights.contains(&node)
    }
    fn sent_since(&self, then: Instant) -> Vec<NodeId> {
        let state = self.state();
        let mut nodes: Vec<_> = state
            .sent
            .iter()
            .filter(|(_, at)| **at >= then)
            .map(|(node, _)| *node)
            .collect();
        nodes.sort();
        nodes
    }
    fn remembers(&self, then: Instant) -> bool {
        self.state().forgotten.is_none_or(|until| until <= then)
    }
    fn prune(&self, then: Instant) {
        let mut state = self.state();
        state.forgotten = state.forgotten.max(Some(then));
        state.sent.retain(|_, at| *at >= then);
    }
    fn is_linked(&self, role: Role) -> bool {
        self.state().linked[role.index()]
    }
    fn was_linked(&self, role: Role) -> bool {
        self.state().was_linked[role.index()]
    }
    fn last_heard(&self) -> Instant {
        let heard = self.state().heard;
        heard.unwrap_or_else(|| self.now())
    }
    fn last_bulk(&self) -> Instant {
        let worked = self.state().worked;
        worked.unwrap_or_else(|| self.now())
    }
    fn busy_since(&self) -> Instant {
        self.now()
    }
    fn has_no_data(&self) -> bool {
        !self.state().full
    }
    fn round_trip(&self) -> Option<Duration> {
        self.state().round_trip
    }
    fn window(&self) -> Duration {
        Duration::from_millis(300)
    }
}

/// Whether a delta takes the place of all that was there, as one of ours does.
fn replaces_root(delta: &[u8]) -> bool {
    let change = b"root}\x8c\x09new_value";
    delta.windows(change.len()).any(|part| part == change)
}
