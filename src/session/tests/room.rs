//! A session in which every peer records what it is told, in lines that are easy to compare.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::config::{Config, Secret};
use crate::counters::Counters;
use crate::session::event::{End, Event};
use crate::session::folding::{Done, Job, Outcome};
use crate::session::outlet::{Edit, Joins, Outlet, Slot};
use crate::session::{Session, Settings};
use crate::wire::client::{OwnedAnswer, decode_answer};
use crate::wire::command::{Auth, Command, CommandLimits, Credentials, Request};
use crate::wire::delta::{Checked, DeltaError};
use crate::wire::dialect::{self, Dialect, Passwords, Transfer};
use crate::wire::framed;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::limits::{Assembler, Limits};
use crate::wire::message::{Encoded, Message};
use crate::wire::node::{Delta, NodeLimits, NodeState, Reassembler, Update};
use crate::wire::pickle::Value;
use crate::wire::role::Role;
use crate::wire::zmtp;

/// One version of every generation whose clients are to be served first, and the oldest rows.
pub(super) const VERSIONS: [&str; 7] = [
    "0.0.3", "0.0.20", "0.0.21", "0.1.3", "0.1.26", "0.1.31", "0.9.11",
];
pub(super) const ADMIN_PASSWORD: &str = "sesame";

/// The uuid of node `n`. Node 0 is the placeholder of an empty catalog.
pub(super) fn id(n: u32) -> NodeId {
    NodeId::new(format!("00000000-0000-4000-8000-{n:012}").as_bytes()).unwrap()
}

/// The number of a node.
pub(super) fn number(id: NodeId) -> u32 {
    id.as_str()[24..].parse().unwrap()
}

pub(super) fn node(n: u32, owner: &str, dependencies: &[u32], payload: &str) -> NodeState {
    NodeState {
        id: id(n),
        owner: owner.to_owned(),
        kind: Bytes::from_static(b"BlObject"),
        dependencies: dependencies.iter().map(|n| id(*n)).collect(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// A delta, as G15 on sends it.
pub(super) fn delta(n: u32, dependencies: &[u32], text: &str) -> Update {
    Update::Delta(Delta {
        id: id(n),
        owner: None,
        kind: Bytes::new(),
        dependencies: dependencies.iter().map(|n| id(*n)).collect(),
        delta: Bytes::copy_from_slice(text.as_bytes()),
    })
}

/// The row of a version.
pub(super) fn row(version: &str) -> &'static Dialect {
    dialect::for_version(version_text(version).as_deref()).unwrap()
}

/// What a version says of itself when it logs in: nothing up to 0.0.10.
pub(super) fn version_text(version: &str) -> Option<String> {
    (version != "0.0.3").then(|| version.to_owned())
}

/// A login without passwords.
pub(super) fn auth(name: &str, version: &str) -> Auth {
    Auth {
        admin: false,
        name: name.to_owned(),
        version: version_text(version),
        credentials: match row(version).passwords {
            Passwords::One => Credentials::One(None),
            Passwords::Two => Credentials::Two {
                server: Some(String::new()),
                admin: None,
            },
        },
    }
}

/// A login with the admin password.
pub(super) fn admin_auth(name: &str, version: &str) -> Auth {
    let mut auth = auth(name, version);
    auth.admin = true;
    auth.credentials = match auth.credentials {
        Credentials::One(_) => Credentials::One(Some(ADMIN_PASSWORD.to_owned())),
        Credentials::Two { server, .. } => Credentials::Two {
            server,
            admin: Some(ADMIN_PASSWORD.to_owned()),
        },
    };
    auth
}

/// The messages in the bytes of either transport.
pub(super) fn messages(bytes: &Encoded, is_framed: bool) -> Vec<Message> {
    let limits = Limits {
        frame: usize::MAX,
        message: usize::MAX,
        frames: 64,
    };
    let mut assembler = Assembler::new();
    let mut messages = Vec::new();
    let mut push = |more, body| messages.extend(assembler.push(more, body, &limits).unwrap());
    if is_framed {
        let mut decoder = framed::Decoder::new();
        decoder.feed(b"\0\0\0\x01xC");
        bytes.segments().iter().for_each(|s| decoder.feed(s));
        while let Some(item) = decoder.next(&limits).unwrap() {
            if let framed::Item::Frame { more, body } = item {
                push(more, body);
            }
        }
    } else {
        let mut decoder = zmtp::Decoder::new();
        decoder.feed(&zmtp::greeting());
        decoder.feed(&zmtp::ready(zmtp::SocketType::Router, None));
        bytes.segments().iter().for_each(|s| decoder.feed(s));
        while let Some(item) = decoder.next(&limits).unwrap() {
            if let zmtp::Item::Frame { more, body } = item {
                push(more, body);
            }
        }
        assert_eq!(decoder.buffered(), 0, "whole messages only");
    }
    messages
}

/// The command in these bytes.
pub(super) fn answer(bytes: &Encoded, is_framed: bool) -> OwnedAnswer {
    let messages = messages(bytes, is_framed);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].frames().len(), 3);
    decode_answer(&messages[0], &CommandLimits::default()).unwrap()
}

/// The nodes and deltas in these bytes.
pub(super) fn updates(dialect: &Dialect, bytes: &Encoded, is_framed: bool) -> Vec<Update> {
    let mut reassembler = Reassembler::new();
    let updates: Vec<_> = messages(bytes, is_framed)
        .into_iter()
        .filter_map(|message| {
            reassembler
                .push(dialect, message, &NodeLimits::default())
                .unwrap()
        })
        .collect();
    assert!(reassembler.expects_header());
    updates
}

fn numbers(ids: &[NodeId]) -> String {
    let texts: Vec<_> = ids.iter().map(|id| number(*id).to_string()).collect();
    texts.join(",")
}

fn node_line(node: &NodeState) -> String {
    format!(
        "node {} {} [{}] {}",
        number(node.id),
        node.owner,
        numbers(&node.dependencies),
        String::from_utf8_lossy(&node.payload)
    )
}

fn update_line(update: &Update) -> String {
    match update {
        Update::Node(node) => node_line(node),
        Update::Delta(delta) => format!(
            "delta {} [{}] {}",
            number(delta.id),
            numbers(&delta.dependencies),
            String::from_utf8_lossy(&delta.delta)
        ),
    }
}

/// `name/status` of each user, admins with a `!`.
fn users_line(users: &Value) -> String {
    let mut line = "users".to_owned();
    for (name, record) in users.as_dict().unwrap().iter() {
        let record = record.as_dict().unwrap();
        let keys: Vec<_> = record
            .iter()
            .map(|(key, _)| key.as_str().unwrap())
            .collect();
        assert_eq!(keys, ["id", "admin", "latency", "status", "metadata"]);
        assert_eq!(record.get("id").unwrap().as_str(), name.as_str());
        let admin = record.get("admin").unwrap().as_bool().unwrap();
        let status = record.get("status").unwrap().as_i64().unwrap();
        line += &format!(
            " {}{}/{status}",
            name.as_str().unwrap(),
            if admin { "!" } else { "" }
        );
    }
    line
}

fn answer_line(answer: &OwnedAnswer) -> String {
    match answer {
        OwnedAnswer::Auth(text) => format!("auth {text}"),
        OwnedAnswer::Users(users) => users_line(users),
        OwnedAnswer::Metadata { owner, data } => format!("metadata {owner} {data:?}"),
        OwnedAnswer::Catalog(nodes) => format!("catalog {}", numbers(nodes)),
        OwnedAnswer::Set(node) => node_line(node),
        OwnedAnswer::Removed => "removed".to_owned(),
        OwnedAnswer::UploadAccepted => "accepted".to_owned(),
        OwnedAnswer::UploadRejected => "rejected".to_owned(),
        OwnedAnswer::UploadDone => "done".to_owned(),
        OwnedAnswer::Delete(node) => format!("delete {}", number(*node)),
        OwnedAnswer::Right { nodes, owner, .. } => format!("right {} {owner}", numbers(nodes)),
        OwnedAnswer::Disconnect { reason } => format!("bye {reason}"),
        OwnedAnswer::Info { private, version } => format!("info {private} {version}"),
    }
}

/// A peer that records what it is told.
#[derive(Clone, Debug)]
pub(super) struct Recorder {
    identity: Identity,
    address: Option<IpAddr>,
    framed: bool,
    state: Arc<Mutex<Recorded>>,
    clock: Arc<Mutex<Instant>>,
}

/// What a test sets and reads of a peer.
#[derive(Debug)]
pub(super) struct Recorded {
    pub(super) dialect: Option<&'static Dialect>,
    pub(super) lines: Vec<String>,
    pub(super) users: Option<Value>,
    /// Nodes of which something is under way.
    pub(super) unseen: HashSet<NodeId>,
    pub(super) full: bool,
    pub(super) overfull: bool,
    pub(super) held: bool,
    /// Links that are there, and that were there since the login.
    pub(super) linked: [bool; 4],
    pub(super) was_linked: [bool; 4],
    pub(super) heard: Option<Instant>,
    pub(super) worked: Option<Instant>,
    pub(super) round_trip: Option<Duration>,
    pub(super) metadata: HashSet<String>,
    sent: HashMap<NodeId, Instant>,
}

impl Recorder {
    pub(super) fn state(&self) -> MutexGuard<'_, Recorded> {
        self.state.lock().unwrap()
    }

    fn now(&self) -> Instant {
        *self.clock.lock().unwrap()
    }

    fn tell(&self, line: String) {
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
    fn data(&self, id: NodeId, joins: Joins, _: &[NodeId], bytes: Encoded, _: Instant) -> usize {
        let dialect = self
            .state()
            .dialect
            .expect("data for somebody not logged in");
        for update in updates(dialect, &bytes, self.framed) {
            let of = match &update {
                Update::Node(node) => node.id,
                Update::Delta(delta) => delta.id,
            };
            assert_eq!(of, id);
            let whole = matches!(update, Update::Node(_));
            assert_eq!(whole, joins != Joins::Follows);
            self.tell(update_line(&update));
        }
        let now = self.now();
        self.state().sent.insert(id, now);
        bytes.len()
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
        self.state().metadata.remove(user);
    }
    fn hold(&self, held: bool) {
        self.state().held = held;
    }
    fn unseen(&self, node: NodeId, _at: Instant) -> bool {
        self.state().unseen.contains(&node)
    }
    fn arrived(&self, node: NodeId) -> bool {
        !self.unseen(node, self.now())
    }
    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool {
        self.unseen(node, at)
    }
    fn unseen_right(&self, _: NodeId, _: Instant) -> bool {
        false
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
    fn prune(&self, then: Instant) {
        self.state().sent.retain(|_, at| *at >= then);
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

/// What comes of a job, where payloads are texts and deltas more text: `odd` deltas become `even`
/// ones, and `wrong` ones are refused.
pub(super) fn worked(job: Job) -> Done {
    let outcome = match &job.delta {
        Some(delta) if delta.starts_with(b"wrong") => {
            Outcome::Checked(Err(DeltaError::Work.into()))
        }
        Some(delta) => Outcome::Checked(Ok(Checked {
            delta: delta
                .strip_prefix(b"odd")
                .map(|rest| [b"even", rest].concat().into()),
            alike: !delta.starts_with(b"odd"),
            tuples: false,
        })),
        None => {
            // What a node is before its first delta is a pickle, and no text.
            let base = std::str::from_utf8(&job.base).unwrap_or_default();
            let tail = job.tail.concat();
            Outcome::Folded(Ok(([base.as_bytes(), &tail].concat().into(), 0)))
        }
    };
    Done {
        age: job.age,
        id: job.id,
        version: job.version,
        end: job.end,
        outcome,
    }
}

/// A session and the clock.
pub(super) struct Room {
    pub(super) session: Session<Recorder>,
    pub(super) counters: Arc<Counters>,
    pub(super) version: &'static str,
    clock: Arc<Mutex<Instant>>,
    peers: u32,
}

impl Room {
    pub(super) fn new(version: &'static str) -> Self {
        Self::with(version, |_| {})
    }

    pub(super) fn with(version: &'static str, change: impl FnOnce(&mut Settings)) -> Self {
        let mut config = Config::default();
        config.session.admin_password = Some(Secret::new(ADMIN_PASSWORD));
        let mut settings = Settings::new(&config, 1 << 20, 1 << 20);
        change(&mut settings);
        let counters = Arc::new(Counters::default());
        let now = Instant::now();
        Self {
            session: Session::new(settings, Arc::clone(&counters), now),
            counters,
            version,
            clock: Arc::new(Mutex::new(now)),
            peers: 0,
        }
    }

    /// Alice, who is admin, has brought 1, 2 (hers, needs 1) and 3; Bob has them all.
    pub(super) fn busy(version: &'static str) -> (Self, Recorder, Recorder) {
        let mut room = Self::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.upload(
            &alice,
            &[
                node(1, "COMMON", &[], "one"),
                node(2, "alice", &[1], "two"),
                node(3, "COMMON", &[], "three"),
            ],
        );
        let bob = room.enter(auth("bob", version));
        room.join(&bob);
        room.hush(&[&alice, &bob]);
        (room, alice, bob)
    }

    pub(super) fn dialect(&self) -> &'static Dialect {
        row(self.version)
    }

    pub(super) fn now(&self) -> Instant {
        *self.clock.lock().unwrap()
    }

    /// Somebody with all links open who has not logged in.
    pub(super) fn stranger(&mut self) -> Recorder {
        self.peers += 1;
        let mut identity = [0; 16];
        identity[12..].copy_from_slice(&self.peers.to_be_bytes());
        let last = u8::try_from(self.peers).unwrap();
        Recorder {
            identity: Identity::new(&identity).unwrap(),
            address: Some(IpAddr::V4(Ipv4Addr::new(10, 0, 0, last))),
            framed: false,
            clock: Arc::clone(&self.clock),
            state: Arc::new(Mutex::new(Recorded {
                dialect: None,
                lines: Vec::new(),
                users: None,
                unseen: HashSet::new(),
                full: false,
                overfull: false,
                held: false,
                linked: [true; 4],
                was_linked: [true; 4],
                heard: None,
                worked: None,
                round_trip: None,
                metadata: HashSet::new(),
                sent: HashMap::new(),
            })),
        }
    }

    /// A stranger who has tried to log in.
    pub(super) fn enter(&mut self, auth: Auth) -> Recorder {
        let peer = self.stranger();
        self.ask(&peer, Request::Auth(auth));
        peer
    }

    pub(super) fn ask(&mut self, peer: &Recorder, request: Request) {
        let framing = self.dialect().commands;
        self.event(
            peer,
            Event::Command(Command {
                framing,
                owner: "anything".to_owned(),
                request,
            }),
        );
    }

    pub(super) fn event(&mut self, peer: &Recorder, event: Event) {
        let now = self.now();
        self.session.handle(peer, event, now);
        self.session.tick(now);
        self.work();
    }

    /// Does what is to be done with deltas, in words that are easy to read.
    pub(super) fn work(&mut self) {
        let now = self.now();
        while let Some(job) = self.session.next_job(now) {
            self.session.folded(worked(job), now);
        }
    }

    pub(super) fn push(&mut self, peer: &Recorder, node: NodeState) {
        self.update(peer, Update::Node(node));
    }

    pub(super) fn update(&mut self, peer: &Recorder, update: Update) {
        let began = self.now();
        let plain = true;
        self.event(
            peer,
            Event::Update {
                update,
                began,
                plain,
            },
        );
    }

    /// A delta that has to be looked into. Nobody does so before [`Self::work`].
    pub(super) fn odd_update(&mut self, peer: &Recorder, update: Update) {
        let began = self.now();
        let plain = false;
        self.session.handle(
            peer,
            Event::Update {
                update,
                began,
                plain,
            },
            began,
        );
    }

    pub(super) fn unlink(&mut self, peer: &Recorder, role: Role, end: End) {
        peer.state().linked[role.index()] = false;
        self.event(peer, Event::Unlinked { role, end });
    }

    /// Time passes, timers fire when they are due.
    pub(super) fn pass(&mut self, millis: u64) {
        let end = self.now() + Duration::from_millis(millis);
        while let Some(due) = self.session.next_timer().filter(|due| *due <= end) {
            *self.clock.lock().unwrap() = due.max(self.now());
            self.session.tick(due);
            self.work();
        }
        *self.clock.lock().unwrap() = end;
    }

    /// What a peer was told since it was last asked.
    pub(super) fn told(&self, peer: &Recorder) -> Vec<String> {
        std::mem::take(&mut peer.state().lines)
    }

    pub(super) fn hush(&self, peers: &[&Recorder]) {
        for peer in peers {
            self.told(peer);
        }
    }

    /// One node of an upload, on the way of this version.
    pub(super) fn bring(&mut self, peer: &Recorder, node: NodeState) {
        match self.dialect().upload {
            Transfer::Set => self.ask(peer, Request::UploadSet(node)),
            Transfer::DataLink => self.push(peer, node),
        }
    }

    pub(super) fn offer(&mut self, peer: &Recorder, nodes: &[u32]) {
        let nodes = nodes.iter().map(|n| id(*n)).collect();
        self.ask(peer, Request::UploadInit { nodes });
    }

    /// A whole upload.
    pub(super) fn upload(&mut self, peer: &Recorder, nodes: &[NodeState]) {
        let numbers: Vec<_> = nodes.iter().map(|node| number(node.id)).collect();
        self.offer(peer, &numbers);
        self.pass(200);
        for node in nodes {
            self.bring(peer, node.clone());
        }
        self.ask(peer, Request::UploadEnd);
        assert!(self.told(peer).contains(&"done".to_owned()));
    }

    /// The catalog a joiner gets, in the order in which it asks for the nodes.
    pub(super) fn catalog(&mut self, peer: &Recorder) -> Vec<u32> {
        self.hush(&[peer]);
        self.ask(peer, Request::CatalogRequest);
        let told = self.told(peer);
        assert_eq!(told.len(), 1, "{told:?}");
        let numbers = told[0].strip_prefix("catalog ").unwrap();
        numbers.rsplit(',').map(|n| n.parse().unwrap()).collect()
    }

    pub(super) fn get(&mut self, peer: &Recorder, n: u32) {
        self.ask(peer, Request::Get(id(n)));
    }

    /// What a client says when it has its last node.
    pub(super) fn all_fetched(&mut self, peer: &Recorder) {
        if self.dialect().join_done {
            self.ask(peer, Request::JoinDone);
        } else {
            // The session sees for itself, a moment after the last node has left.
            self.pass(25);
        }
    }

    /// A whole join; the nodes as they came.
    pub(super) fn join(&mut self, peer: &Recorder) -> Vec<String> {
        let mut lines = Vec::new();
        for n in self.catalog(peer) {
            self.get(peer, n);
            lines.extend(self.told(peer));
        }
        self.all_fetched(peer);
        lines
    }
}

/// Lines other than users dicts.
pub(super) fn without_users(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .filter(|line| !line.starts_with("users"))
        .collect()
}

impl Recorder {
    /// The same, over the newest clients' transport.
    pub(super) fn over_the_framed_transport(mut self) -> Self {
        self.framed = true;
        self
    }

    /// The same, from another address.
    pub(super) fn at(mut self, address: IpAddr) -> Self {
        self.address = Some(address);
        self
    }
}

impl Room {
    /// An upload without nodes.
    pub(super) fn upload_nothing(&mut self, peer: &Recorder) {
        self.offer(peer, &[]);
        self.pass(200);
        self.ask(peer, Request::UploadEnd);
        assert!(self.told(peer).contains(&"done".to_owned()));
    }
}
