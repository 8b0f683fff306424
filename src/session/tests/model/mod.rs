//! Whole clients on lines with delays, around a session and the real queues.
//!
//! A [`Client`] obeys the wire as the real ones do, and panics where they would end. Everything
//! takes time: writing, each direction of each link (in order within a link, not across them).

mod acts;
mod answers;
mod breaks;
mod client;
mod line;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::time::Instant;

use self::client::{Client, Held, State, text};
use self::line::{Inner, Line};
use super::room::{ADMIN_PASSWORD, admin_auth, auth, number, row, worked};
use crate::beat::Beat;
use crate::config::{Config, Secret};
use crate::counters::Counters;
use crate::ports::outbox::{Batch, Lane, Outbox};
use crate::session::event::{End, Event};
use crate::session::folding::Done;
use crate::session::gate::Gate;
use crate::session::outlet::Outlet;
use crate::session::{Session, Settings};
use crate::wire::command::{Command, Request};
use crate::wire::dialect::{Dialect, Ports};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::node::Update;
use crate::wire::pickle::Value;
use crate::wire::role::Role;

/// Longest way of a frame in one direction, and longest time to write a batch.
const DELAY: u64 = 100;
const WRITING: u64 = 20;
/// Longest time to look into a delta, or to fold a node.
const WORKING: u64 = 50;

/// What happens at a moment.
#[derive(Debug)]
enum Happening {
    /// With how often the link had broken by then.
    Written(usize, Lane, Box<Batch>, u32),
    Down(usize, Lane, Encoded, u32),
    Back(usize, Lane),
    Free(usize, Lane),
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
    /// Nodes that were brought back.
    back: BTreeSet<u32>,
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
    /// With `full` there is hardly room for what is uploaded, and for what waits.
    pub(super) fn new(version: &'static str, seed: u64, budget: usize, full: bool) -> Self {
        let mut config = Config::default();
        config.session.admin_password = Some(Secret::new(ADMIN_PASSWORD));
        let now = Instant::now();
        let mut settings = Settings::new(&config, 1 << 30, 1 << 30);
        settings.beat = Beat::since(now);
        if full {
            settings.max_session = 5_000;
            settings.waiting_bytes = 700;
            settings.tail_deltas = 4;
        }
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
            back: BTreeSet::new(),
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
                framed: self.dialect.ports == Ports::Framed,
            })),
            state: State::Auth,
            nodes: BTreeMap::new(),
            gone: BTreeMap::new(),
            users: None,
            late: Vec::new(),
            metadata: BTreeMap::new(),
            ways: [self.now; 4],
            writing: [false; 2],
            breaks: [0; 2],
            down: [false; 2],
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
        let early = if self.rng.random_bool(0.3) {
            self.rng.random_range(0..150)
        } else {
            0
        };
        let event = Event::Update {
            update,
            began: due - Duration::from_millis(early),
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
                let me = &self.clients[client];
                let index = lane_index(lane);
                if me.writing[index] || me.down[index] {
                    continue;
                }
                let (line, breaks) = (me.line.clone(), me.breaks[index]);
                let target = self.rng.random_range(1..400);
                let mut batch = Batch::default();
                let next = line.0.outbox.next(lane, target, &mut batch);
                let mut context = Context::from_waker(Waker::noop());
                if std::pin::pin!(next).poll(&mut context).is_ready() {
                    self.clients[client].writing[index] = true;
                    let millis = self.rng.random_range(0..=WRITING);
                    let due = self.now + Duration::from_millis(millis);
                    let written = Happening::Written(client, lane, Box::new(batch), breaks);
                    self.at(due, written);
                }
            }
        }
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Written(client, lane, batch, breaks) => {
                let me = &mut self.clients[client];
                me.writing[lane_index(lane)] = false;
                let line = me.line.clone();
                if breaks != me.breaks[lane_index(lane)] {
                    if line.0.outbox.lost(lane, &batch, self.now) {
                        self.session.handle(&line, Event::Drained, self.now);
                    }
                    return;
                }
                let written = line.0.outbox.written(lane, &batch, self.now, line.window());
                let due = self.arrival(client, lane_index(lane));
                let bytes = Encoded::new(batch.segments);
                self.at(due, Happening::Down(client, lane, bytes, breaks));
                for repeat in written.repeats {
                    self.session.handle(&line, Event::Crossed(repeat), self.now);
                }
                if written.drained {
                    self.session.handle(&line, Event::Drained, self.now);
                }
            }
            Happening::Down(client, lane, bytes, breaks) => {
                if breaks == self.clients[client].breaks[lane_index(lane)] {
                    self.receive(client, lane, &bytes);
                }
            }
            Happening::Back(client, lane) => self.come_back(client, lane),
            Happening::Free(client, lane) => self.clients[client].writing[lane_index(lane)] = false,
            Happening::Up(client, event) => {
                let line = self.clients[client].line.clone();
                if matches!(&*event, Event::Update { .. } | Event::Unfit(_))
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

    fn fail(&self, client: usize, what: &str) -> ! {
        let trace = self.trace.join("\n");
        panic!(
            "{trace}\nclient {client} ({:?}): {what}",
            self.clients[client].state
        )
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
                    owner: state.owner.into(),
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
                        // Dependencies on nodes that are gone say nothing any more. Who has not seen that one was
                        // gone before it was back has kept them.
                        let listed = |n: &u32, held: &Held| {
                            truth.contains_key(n)
                                && (!self.back.contains(n) || held.dependencies.contains(n))
                        };
                        let ours = truth.get(n);
                        let existing = |held: &Held| {
                            let mut held = held.clone();
                            held.dependencies
                                .retain(|n| ours.is_some_and(|ours| listed(n, ours)));
                            held.dependencies.dedup();
                            held
                        };
                        let ours = ours.map(existing);
                        let theirs = client.nodes.get(n).map(existing);
                        if ours != theirs {
                            let what = format!("node {n} is {ours:?}, has {theirs:?}");
                            self.fail(number, &what);
                        }
                    }
                }
                _ => self.fail(number, "stuck"),
            }
            for (_, user) in self.session.users.iter() {
                if *user.name == *client.name {
                    continue;
                }
                let ours = match user.metadata.get("frame_current") {
                    Some(Value::Int(n)) => Some(*n),
                    _ => None,
                };
                let theirs = client.metadata.get(&*user.name).copied();
                if ours != theirs {
                    let what = format!("metadata of {} is {ours:?}, has {theirs:?}", user.name);
                    self.fail(number, &what);
                }
            }
            if client.users.as_ref() != Some(&present) {
                let what = format!("knows of {:?}, not {present:?}", client.users);
                self.fail(number, &what);
            }
        }
    }

    /// All nodes gone: nothing is left of them.
    pub(super) fn empty(&mut self) {
        let aside: Vec<NodeId> = self.session.replicas.aside().map(|(id, _)| id).collect();
        for node in aside {
            self.session.release(node, self.now).unwrap();
        }
        let all: Vec<NodeId> = self.session.replicas.ids().collect();
        let me = self.clients[0].line.identity().clone();
        for node in all {
            self.session.replicas.delete(node, &me, self.now);
        }
        assert_eq!(self.session.replicas.bytes(), 0);
        assert!(self.session.replicas.is_empty());
    }
}
