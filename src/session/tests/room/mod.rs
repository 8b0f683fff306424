//! A session in which every peer records what it is told, in lines that are easy to compare.

mod recorder;
mod words;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::beat::Beat;
use crate::config::{Config, Secret};
use crate::counters::Counters;
use crate::session::event::{End, Event};
use crate::session::folding::{Done, Job, Outcome};
use crate::session::{Session, Settings};
use crate::store::Kept;
use crate::wire::command::{Auth, Command, Request};
use crate::wire::delta::{Checked, DeltaError, Folded};
use crate::wire::dialect::{Dialect, Transfer};
use crate::wire::node::{NodeState, Update};
use crate::wire::role::Role;

pub(super) use self::recorder::Recorder;
pub(super) use self::words::*;

/// What comes of a job, where payloads are texts and deltas more text: `odd` deltas become `even`
/// ones, and `wrong` ones are refused. Of `slow` ones there is time for one.
pub(super) fn worked(job: Job) -> Done {
    let slow = |(place, delta): (usize, &Bytes)| delta.starts_with(b"slow").then_some(place);
    let second = job.tail.iter().enumerate().filter_map(slow).nth(1);
    let outcome = match &job.delta {
        Some(_) if second.is_some() => Outcome::Folded(Ok(folded(&job, second))),
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
        None => Outcome::Folded(Ok(folded(&job, second))),
    };
    Done {
        age: job.age,
        id: job.id,
        version: job.version,
        end: job.end,
        outcome,
    }
}

/// The base with the tail, or so many deltas of it.
fn folded(job: &Job, most: Option<usize>) -> Folded {
    // What a node is before its first delta is a pickle, and no text.
    let base = std::str::from_utf8(&job.base).unwrap_or_default();
    let (tail, left) = job.tail.split_at(most.unwrap_or(job.tail.len()));
    Folded {
        payload: [base.as_bytes(), &tail.concat()].concat().into(),
        left_out: 0,
        left: left.len(),
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
        let now = Instant::now();
        let mut settings = Settings::new(&config, 1 << 20, 1 << 20);
        settings.beat = Beat::since(now);
        change(&mut settings);
        let counters = Arc::new(Counters::default());
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

    /// Alice has brought one node of this owner, and waits for it to be on the disk.
    pub(super) fn settling(version: &'static str, owner: &str) -> (Self, Recorder) {
        let mut room = Self::new(version);
        room.session.restore(Kept::default());
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        room.bring(&alice, node(1, owner, &[], "one"));
        room.ask(&alice, Request::UploadEnd);
        (room, alice)
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
        Recorder::new(self.peers, Arc::clone(&self.clock))
    }

    /// A stranger who has tried to log in.
    pub(super) fn enter(&mut self, auth: Auth) -> Recorder {
        let peer = self.stranger();
        self.ask(&peer, Request::Auth(auth));
        peer
    }

    pub(super) fn ask(&mut self, peer: &Recorder, request: Request) {
        let command = self.command(request);
        self.event(peer, command);
    }

    /// As [`Self::ask`], while what is to be done with deltas takes longer.
    pub(super) fn ask_meanwhile(&mut self, peer: &Recorder, request: Request) {
        let (command, now) = (self.command(request), self.now());
        self.session.handle(peer, command, now);
    }

    fn command(&self, request: Request) -> Event {
        Event::Command(Command {
            framing: self.dialect().commands,
            owner: "anything".to_owned(),
            request,
        })
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
