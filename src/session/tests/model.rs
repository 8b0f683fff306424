//! Whole clients on lines with delays, around a session and the real queues.
//!
//! A [`Client`] obeys the wire as the real ones do, and panics where they would end. Everything
//! takes time: writing, each direction of each link (in order within a link, not across them).

use std::cmp::Reverse;
use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use super::room::{ADMIN_PASSWORD, admin_auth, answer, auth, id, number, row, updates, worked};
use crate::config::{Config, Secret};
use crate::counters::Counters;
use crate::ports::outbox::{Batch, Lane, Outbox};
use crate::session::event::{End, Event};
use crate::session::folding::Done;
use crate::session::gate::Gate;
use crate::session::outlet::{Edit, Joins, Outlet, Slot};
use crate::session::{Session, Settings};
use crate::wire::client::OwnedAnswer;
use crate::wire::command::{Command, Request};
use crate::wire::dialect::{Dialect, Live, RightShape, Transfer};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::node::{Delta, NodeState, Update};
use crate::wire::pickle::{Dict, Value};
use crate::wire::role::Role;

/// Longest way of a frame in one direction, and longest time to write a batch.
const DELAY: u64 = 100;
const WRITING: u64 = 20;
/// Longest time to look into a delta, or to fold a node.
const WORKING: u64 = 50;

#[derive(Clone, Debug)]
pub(super) struct Line(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    identity: Identity,
    outbox: Outbox,
    dialect: Mutex<Option<&'static Dialect>>,
    clock: Arc<Mutex<Instant>>,
}

impl Outlet for Line {
    fn identity(&self) -> &Identity {
        &self.0.identity
    }
    fn address(&self) -> Option<IpAddr> {
        None
    }
    fn is_framed(&self) -> bool {
        false
    }
    fn log_in(&self, dialect: &'static Dialect) {
        self.0.outbox.clear();
        *self.0.dialect.lock().unwrap() = Some(dialect);
    }
    fn log_out(&self) {
        self.0.outbox.drop_data();
        self.0.outbox.hold(false);
        *self.0.dialect.lock().unwrap() = None;
    }
    fn command(&self, slot: Slot, bytes: Encoded) {
        self.0.outbox.command(slot, bytes);
    }
    fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded) {
        self.0.outbox.edit(node, edit, bytes);
    }
    fn data(
        &self,
        node: NodeId,
        joins: Joins,
        after: &[NodeId],
        bytes: Encoded,
        now: Instant,
    ) -> usize {
        self.0.outbox.data(node, joins, after, bytes, now)
    }
    fn has_room(&self) -> bool {
        self.0.outbox.has_room()
    }
    fn is_overfull(&self) -> bool {
        false
    }
    fn holds_metadata(&self, user: &str) -> bool {
        self.0.outbox.holds_metadata(user)
    }
    fn forget_metadata(&self, user: &str) {
        self.0.outbox.forget_metadata(user);
    }
    fn hold(&self, held: bool) {
        self.0.outbox.hold(held);
    }
    fn unseen(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen(node, at, self.window())
    }
    fn arrived(&self, node: NodeId) -> bool {
        let now = *self.0.clock.lock().unwrap();
        !self.0.outbox.unseen(node, now, Duration::ZERO)
    }
    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen_whole(node, at, self.window())
    }
    fn unseen_right(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen_right(node, at, self.window())
    }
    fn sent_since(&self, then: Instant) -> Vec<NodeId> {
        self.0.outbox.sent_since(then)
    }
    fn prune(&self, then: Instant) {
        self.0.outbox.prune(then);
    }
    fn is_linked(&self, _: Role) -> bool {
        true
    }
    fn was_linked(&self, _: Role) -> bool {
        true
    }
    fn last_heard(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn last_bulk(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn busy_since(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn has_no_data(&self) -> bool {
        self.0.outbox.has_no_data()
    }
    fn round_trip(&self) -> Option<Duration> {
        None
    }
    fn window(&self) -> Duration {
        Duration::from_millis(2 * DELAY + WRITING + 10)
    }
}

/// A node as a client has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    owner: String,
    dependencies: Vec<u32>,
    data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Auth,
    Lobby,
    Offering,
    Fetching { awaited: u32, rest: Vec<u32> },
    Active,
    Gone(String),
}

/// One client, honest or not.
#[derive(Debug)]
struct Client {
    name: String,
    admin: bool,
    hostile: bool,
    line: Line,
    state: State,
    nodes: BTreeMap<u32, Held>,
    users: Option<BTreeSet<String>>,
    late: Vec<Update>,
    /// When the last frame in each direction of each link arrives.
    ways: [Instant; 4],
    writing: [bool; 2],
}

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    Written(usize, Lane, Box<Batch>),
    Down(usize, Lane, Encoded),
    Up(usize, Box<Event>),
    Close(usize),
    Worked(Box<Done>),
}

pub(super) struct World {
    session: Session<Line>,
    dialect: &'static Dialect,
    version: &'static str,
    rng: StdRng,
    start: Instant,
    now: Instant,
    clock: Arc<Mutex<Instant>>,
    clients: Vec<Client>,
    queue: BinaryHeap<Reverse<(Instant, u64)>>,
    happenings: BTreeMap<u64, Happening>,
    serial: u64,
    budget: usize,
    /// What happened, for when something is wrong.
    trace: Vec<String>,
}

fn lane_index(lane: Lane) -> usize {
    match lane {
        Lane::Command => 0,
        Lane::Data => 1,
    }
}

impl World {
    pub(super) fn new(version: &'static str, seed: u64, budget: usize) -> Self {
        let mut config = Config::default();
        config.session.admin_password = Some(Secret::new(ADMIN_PASSWORD));
        let settings = Settings::new(&config, 1 << 30, 1 << 30);
        let now = Instant::now();
        Self {
            session: Session::new(settings, Arc::new(Counters::default()), now),
            dialect: row(version),
            version,
            rng: StdRng::seed_from_u64(seed),
            start: now,
            now,
            clock: Arc::new(Mutex::new(now)),
            clients: Vec::new(),
            queue: BinaryHeap::new(),
            happenings: BTreeMap::new(),
            serial: 0,
            budget,
            trace: Vec::new(),
        }
    }

    fn note(&mut self, text: String) {
        let at = (self.now - self.start).as_millis();
        self.trace.push(format!("{at:>6} {text}"));
    }

    fn at(&mut self, due: Instant, happening: Happening) {
        self.serial += 1;
        self.queue.push(Reverse((due, self.serial)));
        self.happenings.insert(self.serial, happening);
    }

    fn delay(&mut self) -> Duration {
        Duration::from_millis(self.rng.random_range(1..=DELAY))
    }

    /// When a frame that leaves now on one way (0, 1 down; 2, 3 up) of a client arrives.
    fn arrival(&mut self, client: usize, way: usize) -> Instant {
        let due = self.now + self.delay();
        let last = &mut self.clients[client].ways[way];
        *last = due.max(*last);
        *last
    }

    pub(super) fn enter(&mut self, name: &str, admin: bool, hostile: bool) -> usize {
        let number = self.clients.len();
        // Time stands still for outboxes: their peers are late at once, or when half full.
        let lag = Duration::from_secs(self.rng.random_range(0..=1));
        let mut identity = [7; 16];
        identity[0] = u8::try_from(number).unwrap();
        self.clients.push(Client {
            name: name.to_owned(),
            admin,
            hostile,
            line: Line(Arc::new(Inner {
                identity: Identity::new(&identity).unwrap(),
                outbox: Outbox::new(self.budget, lag, Gate::default()),
                dialect: Mutex::default(),
                clock: Arc::clone(&self.clock),
            })),
            state: State::Auth,
            nodes: BTreeMap::new(),
            users: None,
            late: Vec::new(),
            ways: [self.now; 4],
            writing: [false; 2],
        });
        let login = if admin { admin_auth } else { auth };
        self.ask(number, Request::Auth(login(name, self.version)));
        number
    }

    fn ask(&mut self, client: usize, request: Request) {
        self.note(format!("{client} asks {request:?}"));
        let due = self.arrival(client, 2);
        let framing = self.dialect.commands;
        let owner = "x".to_owned();
        let command = Command {
            framing,
            owner,
            request,
        };
        self.at(
            due,
            Happening::Up(client, Box::new(Event::Command(command))),
        );
    }

    fn push(&mut self, client: usize, update: Update) {
        self.note(format!("{client} pushes {update:?}"));
        let due = self.arrival(client, 3);
        let plain = self.rng.random_bool(0.7);
        let event = Event::Update {
            update,
            began: due,
            plain,
        };
        self.at(due, Happening::Up(client, Box::new(event)));
    }

    /// Lets time pass until a moment.
    fn run_to(&mut self, end: Instant) {
        loop {
            self.write();
            while let Some(job) = self.session.next_job(self.now) {
                let millis = self.rng.random_range(0..=WORKING);
                let due = self.now + Duration::from_millis(millis);
                self.at(due, Happening::Worked(Box::new(worked(job))));
            }
            let timer = self.session.next_timer();
            let next = self.queue.peek().map(|Reverse((due, _))| *due);
            let due = [timer, next].into_iter().flatten().min().unwrap();
            if due > end {
                break;
            }
            self.now = due.max(self.now);
            *self.clock.lock().unwrap() = self.now;
            if next == Some(due) {
                let Some(Reverse((_, serial))) = self.queue.pop() else {
                    unreachable!()
                };
                let happening = self.happenings.remove(&serial).unwrap();
                self.happen(happening);
            } else {
                self.session.tick(due);
            }
        }
        self.now = end;
        *self.clock.lock().unwrap() = end;
    }

    pub(super) fn pass(&mut self, millis: u64) {
        self.run_to(self.now + Duration::from_millis(millis));
    }

    fn write(&mut self) {
        for client in 0..self.clients.len() {
            for lane in [Lane::Command, Lane::Data] {
                if self.clients[client].writing[lane_index(lane)] {
                    continue;
                }
                let line = self.clients[client].line.clone();
                let target = self.rng.random_range(1..400);
                let mut batch = Batch::default();
                let next = line.0.outbox.next(lane, target, &mut batch);
                let mut context = Context::from_waker(Waker::noop());
                if std::pin::pin!(next).poll(&mut context).is_ready() {
                    self.clients[client].writing[lane_index(lane)] = true;
                    let millis = self.rng.random_range(0..=WRITING);
                    let due = self.now + Duration::from_millis(millis);
                    self.at(due, Happening::Written(client, lane, Box::new(batch)));
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Written(client, lane, batch) => {
                self.clients[client].writing[lane_index(lane)] = false;
                let line = self.clients[client].line.clone();
                let written = line.0.outbox.written(lane, &batch, self.now, line.window());
                let due = self.arrival(client, lane_index(lane));
                let bytes = Encoded::new(batch.segments);
                self.at(due, Happening::Down(client, lane, bytes));
                for repeat in written.repeats {
                    self.session.handle(&line, Event::Crossed(repeat), self.now);
                }
                if written.drained {
                    self.session.handle(&line, Event::Drained, self.now);
                }
            }
            Happening::Down(client, lane, bytes) => self.receive(client, lane, &bytes),
            Happening::Up(client, event) => {
                let line = self.clients[client].line.clone();
                if matches!(&*event, Event::Update { .. })
                    && line.0.dialect.lock().unwrap().is_none()
                {
                    return;
                }
                self.session.handle(&line, *event, self.now);
            }
            Happening::Worked(done) => self.session.folded(*done, self.now),
            Happening::Close(client) => {
                let line = self.clients[client].line.clone();
                let role = Role::Command;
                let end = End::Closed;
                self.session
                    .handle(&line, Event::Unlinked { role, end }, self.now);
            }
        }
    }

    fn receive(&mut self, client: usize, lane: Lane, bytes: &Encoded) {
        let me = &self.clients[client];
        if me.hostile || matches!(me.state, State::Gone(_)) {
            return;
        }
        match lane {
            Lane::Command => {
                for message in super::room::messages(bytes, false) {
                    let one = crate::wire::transport::encode(self.dialect.ports, &[message]);
                    let answer = answer(&one, false);
                    self.note(format!("  {client} hears {answer:?}"));
                    self.answered(client, answer);
                }
            }
            Lane::Data => {
                for update in updates(self.dialect, bytes, false) {
                    self.note(format!("  {client} gets {update:?}"));
                    self.arrived(client, update, false);
                }
            }
        }
    }

    fn fail(&self, client: usize, what: &str) -> ! {
        let trace = self.trace.join("\n");
        panic!(
            "{trace}\nclient {client} ({:?}): {what}",
            self.clients[client].state
        )
    }

    fn answered(&mut self, client: usize, answer: OwnedAnswer) {
        let me = &mut self.clients[client];
        match (answer, me.state.clone()) {
            (OwnedAnswer::Auth(text), State::Auth) => {
                me.state = State::Lobby;
                match text.as_str() {
                    "LOBBY" if me.admin => self.offer(client),
                    "LOBBY" => {}
                    "RUNNING" => self.ask(client, Request::CatalogRequest),
                    _ => me.state = State::Gone(text),
                }
            }
            (OwnedAnswer::Users(users), state) => {
                let names: BTreeSet<String> = users
                    .as_dict()
                    .unwrap()
                    .iter()
                    .map(|(name, _)| name.as_str().unwrap().to_owned())
                    .collect();
                if state != State::Auth && !names.contains(&me.name) {
                    self.fail(client, "a users dict without oneself");
                }
                me.users = Some(names);
            }
            (OwnedAnswer::Metadata { owner, .. }, _) => {
                if !me
                    .users
                    .as_ref()
                    .is_some_and(|users| users.contains(&owner))
                {
                    self.fail(client, "metadata of somebody unknown");
                }
            }
            (OwnedAnswer::Catalog(ids), State::Lobby) => {
                let mut rest: Vec<u32> = ids.iter().map(|id| number(*id)).collect();
                let Some(awaited) = rest.pop() else {
                    self.fail(client, "an empty catalog");
                };
                me.state = State::Fetching { awaited, rest };
                self.ask(client, Request::Get(id(awaited)));
            }
            (OwnedAnswer::Set(node), State::Fetching { awaited, .. }) => {
                if number(node.id) != awaited {
                    self.fail(client, "another node than asked for");
                }
                self.arrived(client, Update::Node(node), true);
            }
            (OwnedAnswer::Removed, State::Fetching { .. }) => self.next(client),
            (OwnedAnswer::UploadAccepted, State::Offering) => self.upload(client),
            (OwnedAnswer::UploadRejected, State::Offering) => me.state = State::Lobby,
            (OwnedAnswer::UploadDone, State::Offering) => me.state = State::Active,
            (OwnedAnswer::Delete(node), _) => me.forget(number(node)),
            (OwnedAnswer::Right { nodes, owner, .. }, _) => {
                for node in nodes {
                    if let Some(held) = me.nodes.get_mut(&number(node)) {
                        held.owner.clone_from(&owner);
                    }
                }
            }
            (OwnedAnswer::Disconnect { reason }, _) => me.state = State::Gone(reason),
            (answer, _) => self.fail(client, &format!("{answer:?} at the wrong time")),
        }
    }

    fn next(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let State::Fetching { awaited, rest } = &mut me.state else {
            return;
        };
        if let Some(more) = rest.pop() {
            *awaited = more;
            self.ask(client, Request::Get(id(more)));
            return;
        }
        me.state = State::Active;
        let late = std::mem::take(&mut me.late);
        for update in late {
            self.arrived(client, update, false);
        }
        if self.dialect.join_done {
            self.ask(client, Request::JoinDone);
        }
    }

    fn arrived(&mut self, client: usize, update: Update, set: bool) {
        let queues = self.dialect.queues_while_joining;
        let by_data = self.dialect.join == Transfer::DataLink;
        let ruins = !self.dialect.echo_edits;
        let me = &mut self.clients[client];
        let of = match &update {
            Update::Node(node) => number(node.id),
            Update::Delta(delta) => number(delta.id),
        };
        match &me.state {
            State::Fetching { awaited, .. } if set || (by_data && of == *awaited) => {
                me.store(update, ruins).unwrap();
                self.next(client);
            }
            State::Fetching { .. } if queues => me.late.push(update),
            State::Active => {
                if let Err(what) = me.store(update, ruins) {
                    self.fail(client, what);
                }
            }
            _ => self.fail(client, "a node it cannot take"),
        }
    }

    fn offer(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.state = State::Offering;
        let base = 100 * (u32::try_from(client).unwrap() + 1);
        me.nodes = (base..base + 4)
            .map(|n| {
                let held = Held {
                    owner: if n % 2 == 0 { "COMMON" } else { &me.name }.to_owned(),
                    dependencies: (n > base).then_some(n - 1).into_iter().collect(),
                    data: format!("n{n};"),
                };
                (n, held)
            })
            .collect();
        let nodes = me.nodes.keys().map(|n| id(*n)).collect();
        self.ask(client, Request::UploadInit { nodes });
    }

    fn upload(&mut self, client: usize) {
        let nodes = self.clients[client].nodes.clone();
        for (n, held) in nodes {
            let node = held.state(n);
            match self.dialect.upload {
                Transfer::Set => self.ask(client, Request::UploadSet(node)),
                Transfer::DataLink => self.push(client, Update::Node(node)),
            }
        }
        self.ask(client, Request::UploadEnd);
    }

    /// One thing an artist (or an attacker) does. `choice` decides what, if it can be done.
    pub(super) fn act(&mut self, client: usize, choice: u32) {
        if self.clients[client].hostile {
            return self.attack(client, choice);
        }
        let me = &self.clients[client];
        if me.state != State::Active {
            return;
        }
        let mine: Vec<u32> = me
            .nodes
            .iter()
            .filter(|(_, held)| held.owner == "COMMON" || held.owner == me.name)
            .map(|(n, _)| *n)
            .collect();
        let pick = mine
            .get(self.rng.random_range(0..mine.len().max(1)))
            .copied();
        let echo = self.dialect.echo_edits;
        match (choice % 10, pick) {
            (0, _) => self.create(client),
            (1, Some(n)) => {
                if !echo {
                    self.clients[client].forget(n);
                }
                self.ask(client, Request::Delete(id(n)));
            }
            (2..=4, Some(n)) => {
                let me = &self.clients[client];
                let owner = match self.rng.random_range(0..4) {
                    0 => "COMMON".to_owned(),
                    1 => self.clients[0].name.clone(),
                    _ => me.name.clone(),
                };
                let mut nodes = vec![n];
                if self.dialect.right == RightShape::List {
                    nodes.extend(&self.clients[client].nodes[&n].dependencies);
                }
                if !echo {
                    let held = self.clients[client].nodes.get_mut(&n).unwrap();
                    held.owner.clone_from(&owner);
                }
                let nodes = nodes.into_iter().map(id).collect();
                self.ask(client, Request::Right { nodes, owner });
            }
            (5, _) => {
                let data = Dict::new().with("frame_current", 1);
                self.ask(client, Request::Metadata(Value::Dict(data)));
            }
            (_, Some(n)) => self.edit(client, n, choice),
            _ => self.create(client),
        }
    }

    fn create(&mut self, client: usize) {
        self.serial += 1;
        let n = 10_000 + u32::try_from(self.serial).unwrap();
        let me = &mut self.clients[client];
        let known: Vec<u32> = me.nodes.keys().copied().collect();
        let held = Held {
            owner: if self.serial.is_multiple_of(2) {
                "COMMON"
            } else {
                &me.name
            }
            .to_owned(),
            dependencies: known.into_iter().rev().take(1).collect(),
            data: format!("n{n};"),
        };
        me.nodes.insert(n, held.clone());
        let update = if self.dialect.live == Live::Delta {
            Update::Delta(held.delta(n, &held.data))
        } else {
            Update::Node(held.state(n))
        };
        self.push(client, update);
    }

    fn edit(&mut self, client: usize, n: u32, choice: u32) {
        self.serial += 1;
        let text = format!("e{};", self.serial);
        let deltas = match self.dialect.live {
            Live::Whole => false,
            Live::Delta => true,
            Live::NodeOrCommit => !choice.is_multiple_of(3),
        };
        let held = self.clients[client].nodes.get_mut(&n).unwrap();
        let update = if deltas {
            held.data += &text;
            Update::Delta(held.delta(n, &text))
        } else {
            held.data = text;
            Update::Node(held.state(n))
        };
        self.push(client, update);
    }

    /// Anything at all, most of it forbidden or senseless.
    fn attack(&mut self, client: usize, choice: u32) {
        let all: Vec<NodeId> = self.session.replicas.ids().collect();
        let node = if all.is_empty() || choice.is_multiple_of(7) {
            id(choice % 5 + 1)
        } else {
            all[choice as usize % all.len()]
        };
        let n = number(node);
        let held = Held {
            owner: ["COMMON", "u0", "u1", "evil"][choice as usize % 4].to_owned(),
            dependencies: vec![n, 1, 77],
            data: format!("evil{choice};"),
        };
        let nodes = vec![node, id(1), id(2)];
        let owner = held.owner.clone();
        let request = match self.rng.random_range(0..14) {
            0 => Request::CatalogRequest,
            1 => Request::Get(node),
            2 => Request::JoinDone,
            3 => Request::UploadInit { nodes },
            4 => Request::UploadSet(held.state(n)),
            5 => Request::UploadEnd,
            6 => Request::Delete(node),
            7 | 8 => Request::Right { nodes, owner },
            9 => Request::Kick { user: owner },
            10 => Request::Metadata(Value::Dict(Dict::new().with("a", i64::from(choice)))),
            11 if self.dialect.live == Live::NodeOrCommit => {
                return self.push(client, Update::Delta(held.delta(n, &held.data)));
            }
            _ if self.dialect.live == Live::Delta => {
                return self.push(client, Update::Delta(held.delta(n, &held.data)));
            }
            _ => return self.push(client, Update::Node(held.state(n))),
        };
        self.ask(client, request);
    }

    /// Closes Blender. What was sent before may be lost or not; here it arrives.
    pub(super) fn close(&mut self, client: usize) {
        if matches!(self.clients[client].state, State::Gone(_)) {
            return;
        }
        self.clients[client].state = State::Gone("closed".to_owned());
        self.note(format!("{client} closes"));
        let due = self.clients[client].ways.iter().max().copied().unwrap();
        self.at(due, Happening::Close(client));
    }

    pub(super) fn count(&self) -> usize {
        self.clients.len()
    }

    /// After quiet: everybody has what the session has, and knows who is there.
    pub(super) fn check(&mut self) {
        self.pass(15_000);
        let truth: BTreeMap<u32, Held> = self
            .session
            .replicas
            .ids()
            .map(|node| {
                let replica = self.session.replicas.get(node).unwrap();
                let state = replica.base_state(node);
                let mut data = text(&state.payload);
                for delta in replica.tail() {
                    data += std::str::from_utf8(delta).unwrap();
                }
                let held = Held {
                    owner: state.owner,
                    dependencies: state.dependencies.iter().map(|n| number(*n)).collect(),
                    data,
                };
                (number(node), held)
            })
            .collect();
        let present: BTreeSet<String> = self
            .session
            .users
            .iter()
            .map(|(_, user)| user.name.to_string())
            .collect();
        let someone_active = self.session.users.iter().any(|(_, user)| user.is_active());
        for (number, client) in self.clients.iter().enumerate() {
            if client.hostile {
                continue;
            }
            match &client.state {
                State::Gone(_) => continue,
                State::Lobby if truth.is_empty() || !someone_active => {}
                State::Active => {
                    for n in truth.keys().chain(client.nodes.keys()) {
                        // Dependencies on nodes that are gone say nothing any more.
                        let existing = |held: &Held| {
                            let mut held = held.clone();
                            held.dependencies.retain(|n| truth.contains_key(n));
                            held
                        };
                        let ours = truth.get(n).map(existing);
                        let theirs = client.nodes.get(n).map(existing);
                        if ours != theirs {
                            let what = format!("node {n} is {ours:?}, has {theirs:?}");
                            self.fail(number, &what);
                        }
                    }
                }
                _ => self.fail(number, "stuck"),
            }
            if client.users.as_ref() != Some(&present) {
                let what = format!("knows of {:?}, not {present:?}", client.users);
                self.fail(number, &what);
            }
        }
    }

    /// All nodes gone: nothing is left of them.
    pub(super) fn empty(&mut self) {
        let all: Vec<NodeId> = self.session.replicas.ids().collect();
        let me = self.clients[0].line.identity().clone();
        for node in all {
            self.session.replicas.delete(node, &me, self.now);
        }
        assert_eq!(self.session.replicas.bytes(), 0);
        assert!(self.session.replicas.is_empty());
    }
}

impl Held {
    /// A change of it. (Only messages of G8–G14 name the owner; the others' leave it out.)
    fn delta(&self, n: u32, text: &str) -> Delta {
        Delta {
            id: id(n),
            owner: Some(self.owner.clone()),
            kind: bytes::Bytes::from_static(b"BlObject"),
            dependencies: self.dependencies.iter().map(|n| id(*n)).collect(),
            delta: text.to_owned().into(),
        }
    }

    fn state(&self, n: u32) -> NodeState {
        let dependencies: Vec<String> = self.dependencies.iter().map(u32::to_string).collect();
        debug_assert!(dependencies.len() < 10);
        super::room::node(n, &self.owner, &self.dependencies, &self.data)
    }
}

/// A payload as text. What a node is before its first delta is a pickle, and no text.
fn text(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.to_owned(),
        Err(_) => String::new(),
    }
}

/// What a delta replaces everything by, if that is what it does (G8–G14).
fn replaced(delta: &bytes::Bytes) -> Option<String> {
    const PREFIX: &[u8] = b"}\x8c\x0evalues_changed}\x8c\x04root}\x8c\x09new_value";
    let at = delta
        .windows(PREFIX.len())
        .position(|part| part == PREFIX)?;
    let body = delta[at + PREFIX.len()..].strip_suffix(b"sss.").unwrap();
    // With a header it was a pickle.
    Some(if at == 0 { text(body) } else { String::new() })
}

impl Client {
    fn forget(&mut self, n: u32) {
        if self.nodes.remove(&n).is_some() {
            for held in self.nodes.values_mut() {
                held.dependencies.retain(|dependency| *dependency != n);
            }
        }
    }

    /// `ruins`: where clients delete at once, not on the server's word, a delta may come after (G8).
    fn store(&mut self, update: Update, ruins: bool) -> Result<(), &'static str> {
        match update {
            Update::Node(node) => {
                let dependencies = node.dependencies.iter().map(|n| number(*n)).collect();
                let data = text(&node.payload);
                let owner = match self.nodes.get(&number(node.id)) {
                    Some(held) => held.owner.clone(),
                    None => node.owner,
                };
                let held = Held {
                    owner,
                    dependencies,
                    data,
                };
                self.nodes.insert(number(node.id), held);
            }
            Update::Delta(delta) => {
                let whole = replaced(&delta.delta);
                let edits = delta.delta.starts_with(b"e") && !delta.delta.starts_with(b"evil");
                if let (Some(owner), Entry::Vacant(place)) =
                    (&delta.owner, self.nodes.entry(number(delta.id)))
                    && (whole.is_some() || !edits || ruins)
                {
                    // G8–G14 make a node of whatever comes first.
                    place.insert(Held {
                        owner: owner.clone(),
                        dependencies: Vec::new(),
                        data: String::new(),
                    });
                }
                let held = self.nodes.get_mut(&number(delta.id));
                let held = held.ok_or("a delta for a node it does not have")?;
                held.dependencies = delta.dependencies.iter().map(|n| number(*n)).collect();
                if let Some(whole) = whole {
                    held.data = whole;
                    return Ok(());
                }
                let text = std::str::from_utf8(&delta.delta).unwrap();
                if held.data.contains(text) && text.starts_with('e') && !text.starts_with("evil") {
                    return Err("the same delta twice");
                }
                held.data += text;
            }
        }
        Ok(())
    }
}
