//! What the session gives the disk, and what it does while it waits for it.

mod lost;

use std::collections::HashMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::sync::{mpsc, oneshot};

use super::room::{Recorder, Room, admin_auth, auth, delta, id, node, number, without_users};
use crate::counters::Count;
use crate::session::keeping::Keeping;
use crate::store::{Batch, Health, Kept, Stored, Task, Upcoming, Written};
use crate::wire::command::Request;
use crate::wire::identity::NodeId;

const VERSION: &str = "0.9.11";

fn kept(version: &'static str) -> Room {
    let mut room = Room::new(version);
    room.session.restore(Kept::default());
    room
}

/// What a store has after some batches.
#[derive(Default)]
struct Disk(HashMap<NodeId, Stored>);

impl Disk {
    fn write(&mut self, batch: Batch) {
        for (id, stored) in batch.nodes {
            match stored {
                Some(stored) => self.0.insert(id, stored),
                None => self.0.remove(&id),
            };
        }
    }

    fn text(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.0.iter().map(|(id, s)| line(*id, s)).collect();
        lines.sort();
        lines
    }
}

fn line(id: NodeId, stored: &Stored) -> String {
    let dependencies: Vec<_> = stored.dependencies.iter().map(|d| number(*d)).collect();
    let all = [&[stored.base.clone()][..], &stored.tail].concat().concat();
    format!(
        "{} {} {:?} {} {:?}",
        number(id),
        stored.place,
        dependencies,
        String::from_utf8_lossy(&all),
        stored.aside
    )
}

/// The whole of what there is, as a disk that missed nothing would have it.
fn present(room: &mut Room) -> Vec<String> {
    room.session.retake_all();
    let mut disk = Disk::default();
    disk.write(room.session.take_batch());
    disk.text()
}

/// Whatever happens, and whenever the disk has time: with every batch it has what there is.
#[test]
fn batches_are_the_state_at_their_moment() {
    for seed in 0..40 {
        let mut random = StdRng::seed_from_u64(seed);
        let mut room = kept(VERSION);
        let alice = room.enter(admin_auth("alice", VERSION));
        room.offer(&alice, &[1, 2]);
        room.pass(200);
        for n in [1, 2] {
            room.bring(&alice, node(n, "COMMON", &[], &format!("n{n}")));
        }
        room.ask(&alice, Request::UploadEnd);
        let mut disk = Disk::default();
        let batch = room.session.take_batch();
        let sequence = batch.sequence;
        disk.write(batch);
        let now = room.now();
        room.session.settled(sequence, now);
        for step in 0..120 {
            let n = random.random_range(1..8);
            let needs = random.random_range(1..8);
            match random.random_range(0..12) {
                0..3 => room.push(&alice, node(n, "COMMON", &[needs], &format!("s{step}"))),
                3..7 => room.update(&alice, delta(n, &[needs], &format!("+{step}"))),
                7 => room.ask(&alice, Request::Delete(id(n))),
                8 => {
                    let now = room.now();
                    let _ = room.session.quarantine(id(n), now);
                }
                9 => {
                    let now = room.now();
                    let _ = room.session.release(id(n), now);
                }
                10 => room.pass(random.random_range(0..15_000)),
                _ => {
                    disk.write(room.session.take_batch());
                    assert_eq!(disk.text(), present(&mut room), "seed {seed}, step {step}");
                }
            }
        }
        disk.write(room.session.take_batch());
        let last = present(&mut room);

        // And a session that goes on with it is the same.
        let mut again = Room::new(VERSION);
        again.session.restore(Kept {
            nodes: disk.0.into_iter().collect(),
            ..Kept::default()
        });
        assert_eq!(present(&mut again), last);
        let before = room.session.replicas.bytes();
        assert_eq!(again.session.replicas.bytes(), before, "seed {seed}");
    }
}

#[test]
fn a_restored_session_can_be_joined_by_its_own_kind_only() {
    let mut room = kept(VERSION);
    let alice = room.enter(admin_auth("alice", VERSION));
    room.offer(&alice, &[1]);
    room.pass(200);
    room.bring(&alice, node(1, "alice", &[], "one"));
    let batch = room.session.take_batch();
    let mut again = Room::new(VERSION);
    again.session.restore(Kept {
        meta: batch.meta,
        sequence: batch.sequence,
        nodes: batch
            .nodes
            .into_iter()
            .filter_map(|(id, stored)| Some((id, stored?)))
            .collect(),
    });
    let bob = again.enter(auth("bob", VERSION));
    // Nobody is there who could own anything.
    assert_eq!(again.join(&bob), ["node 1 COMMON [] one"]);
    let mut older = again;
    older.unlink(
        &bob,
        crate::wire::role::Role::Command,
        crate::session::event::End::Closed,
    );
    older.pass(2000);
    older.version = "0.1.26";
    let eve = older.enter(auth("eve", "0.1.26"));
    let told = older.told(&eve).join("\n");
    assert!(
        told.contains("the session holds work of client version 0.2.1 or newer"),
        "{told}"
    );
}

/// A session with the actor's side of a store.
struct Kitchen {
    room: Room,
    keeping: Keeping,
    tasks: mpsc::Receiver<Task>,
    health: Health,
}

impl Kitchen {
    fn new(within: Duration) -> Self {
        let (to, tasks) = mpsc::channel(2);
        let (_reports, from) = mpsc::channel(1);
        let health = Health::default();
        Self {
            room: kept(VERSION),
            keeping: Keeping::new(to, from, health.clone(), within),
            tasks,
            health,
        }
    }

    /// Alice has brought these nodes, and they are being written.
    fn writing(nodes: &[u32]) -> (Self, Recorder) {
        let mut kitchen = Self::new(Duration::from_secs(10));
        let alice = kitchen.room.enter(admin_auth("alice", VERSION));
        kitchen.room.offer(&alice, nodes);
        kitchen.room.pass(200);
        for n in nodes {
            kitchen.room.bring(&alice, node(*n, "alice", &[], "one"));
        }
        kitchen.step().unwrap();
        (kitchen, alice)
    }

    /// What is handed over at this moment, if anything is.
    fn task(&mut self) -> Option<Task> {
        let now = self.room.now();
        self.keeping.step(&mut self.room.session, now);
        self.tasks.try_recv().ok()
    }

    /// The same, where it can only be a batch.
    fn step(&mut self) -> Option<Batch> {
        match self.task()? {
            Task::Batch(batch) => Some(batch),
            task => panic!("{task:?}"),
        }
    }

    /// What is to be written ahead at this moment.
    fn ahead(&mut self) -> Vec<Upcoming> {
        match self.task() {
            Some(Task::Stage(upcoming)) => upcoming,
            task => panic!("{task:?}"),
        }
    }

    fn hear(&mut self, report: Written) {
        let now = self.room.now();
        let counters = std::sync::Arc::clone(&self.room.counters);
        self.keeping
            .heard(&mut self.room.session, Some(report), &counters, now);
    }
}

#[test]
fn an_upload_is_done_when_it_is_safe() {
    for fails in [false, true] {
        let mut kitchen = Kitchen::new(Duration::from_secs(10));
        let alice = kitchen.room.enter(admin_auth("alice", VERSION));
        let bob = kitchen.room.enter(auth("bob", VERSION));
        kitchen.room.offer(&alice, &[1]);
        kitchen.room.pass(200);
        kitchen.room.bring(&alice, node(1, "alice", &[], "one"));
        kitchen.room.ask(&alice, Request::UploadEnd);
        kitchen.room.hush(&[&alice, &bob]);
        // At once, whatever the interval.
        let batch = kitchen.step().unwrap();
        assert_eq!(batch.nodes.len(), 1);
        kitchen.room.ask(&bob, Request::CatalogRequest);
        kitchen.room.pass(60_000);
        assert_eq!(without_users(kitchen.room.told(&alice)), [""; 0]);
        assert_eq!(without_users(kitchen.room.told(&bob)), [""; 0]);
        // A disk that is full is no reason to stop working.
        kitchen.hear(if fails {
            Written::Failed("no space".to_owned())
        } else {
            Written::Safe
        });
        assert!(kitchen.room.told(&alice).contains(&"done".to_owned()));
        assert_eq!(without_users(kitchen.room.told(&bob)), ["catalog 1"]);
        let failures = kitchen.room.counters.value(Count::DiskFailures);
        assert_eq!(failures, u64::from(fails));
    }
}

#[test]
fn what_changes_while_something_is_written_has_waited_when_that_is_done() {
    let mut kitchen = Kitchen::new(Duration::from_millis(100));
    let alice = kitchen.room.enter(admin_auth("alice", VERSION));
    kitchen.room.offer(&alice, &[1]);
    kitchen.room.pass(200);
    kitchen.room.bring(&alice, node(1, "alice", &[], "one"));
    kitchen.room.ask(&alice, Request::UploadEnd);
    kitchen.step().unwrap();
    kitchen.hear(Written::Safe);
    kitchen.room.update(&alice, delta(1, &[], "+a"));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(100);
    kitchen.step().unwrap();
    kitchen.room.update(&alice, delta(1, &[], "+b"));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(60);
    kitchen.hear(Written::Safe);
    assert!(kitchen.step().is_none());
    kitchen.room.pass(40);
    kitchen.step().unwrap();
}

#[test]
fn an_uploader_that_leaves_while_it_is_written_has_brought_it() {
    let (mut kitchen, alice) = Kitchen::writing(&[1]);
    let role = crate::wire::role::Role::Command;
    kitchen
        .room
        .unlink(&alice, role, crate::session::event::End::Closed);
    kitchen.room.pass(2000);
    kitchen.hear(Written::Safe);
    let bob = kitchen.room.enter(auth("bob", VERSION));
    assert_eq!(kitchen.room.join(&bob), ["node 1 COMMON [] one"]);
}

/// What it pushed behind its nodes has been taken, and is no part of what it waits for.
#[test]
fn what_an_uploader_did_before_it_left_while_it_is_written_is_done() {
    let (mut kitchen, alice) = Kitchen::writing(&[1, 2]);
    kitchen.room.push(&alice, node(3, "alice", &[], "three"));
    kitchen.room.ask(&alice, Request::Delete(id(2)));
    let role = crate::wire::role::Role::Command;
    let end = crate::session::event::End::Closed;
    kitchen.room.unlink(&alice, role, end);
    kitchen.room.pass(2000);
    assert_eq!(kitchen.room.session.user_count(), 0);
    kitchen.hear(Written::Safe);
    let bob = kitchen.room.enter(auth("bob", VERSION));
    let mut nodes = kitchen.room.join(&bob);
    nodes.sort();
    assert_eq!(nodes, ["node 1 COMMON [] one", "node 3 COMMON [] three"]);
}

/// Its add-on keeps its identity when it joins again.
#[test]
fn an_uploader_that_logs_in_anew_while_it_is_written_joins_as_others_do() {
    let (mut kitchen, alice) = Kitchen::writing(&[1]);
    kitchen.room.hush(&[&alice]);
    let again = Request::Auth(admin_auth("alice", VERSION));
    kitchen.room.ask(&alice, again);
    assert!(kitchen.room.told(&alice).contains(&"auth LOBBY".to_owned()));
    kitchen.hear(Written::Safe);
    assert_eq!(without_users(kitchen.room.told(&alice)), ["catalog 1"]);
}

#[test]
fn changes_go_together_and_failed_ones_again() {
    let mut kitchen = Kitchen::new(Duration::from_millis(100));
    let alice = kitchen.room.enter(admin_auth("alice", VERSION));
    kitchen.room.offer(&alice, &[1, 2]);
    kitchen.room.pass(200);
    for n in [1, 2] {
        kitchen.room.bring(&alice, node(n, "alice", &[], "one"));
    }
    kitchen.step().unwrap();
    kitchen.hear(Written::Safe);

    kitchen.room.update(&alice, delta(1, &[], "+a"));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(50);
    kitchen.room.update(&alice, delta(1, &[], "+b"));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(50);
    let batch = kitchen.step().unwrap();
    assert_eq!(batch.nodes.len(), 1);
    // Nothing is handed over before that is written.
    kitchen.room.update(&alice, delta(2, &[], "+c"));
    kitchen.room.pass(500);
    assert!(kitchen.step().is_none());
    kitchen.hear(Written::Failed("no space".to_owned()));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(1000);
    let batch = kitchen.step().unwrap();
    assert_eq!(batch.nodes.len(), 2);
    kitchen.hear(Written::Safe);

    // Who asks for everything to be safe is told when it is, and at once if it is.
    kitchen.room.update(&alice, delta(1, &[], "+d"));
    let (done, mut saved) = oneshot::channel();
    let sequence = kitchen.room.session.sequence();
    kitchen.keeping.save(sequence, done);
    assert_eq!(kitchen.step().unwrap().nodes.len(), 1);
    assert!(saved.try_recv().is_err());
    kitchen.hear(Written::Safe);
    assert!(kitchen.step().is_none());
    assert_eq!(saved.try_recv(), Ok(Ok(())));
}

#[test]
fn what_has_arrived_is_written_while_the_rest_arrives() {
    let mut kitchen = Kitchen::new(Duration::from_secs(10));
    let alice = kitchen.room.enter(admin_auth("alice", VERSION));
    kitchen.room.offer(&alice, &[3, 1, 2, 3, 4]);
    kitchen.room.pass(200);
    assert!(kitchen.task().is_none());
    kitchen.room.bring(&alice, node(1, "alice", &[3], "small"));
    kitchen.room.bring(&alice, node(2, "COMMON", &[], "some"));
    // What little comes at once can wait.
    let now = kitchen.room.now();
    assert!(kitchen.task().is_none());
    let patience = Duration::from_millis(250);
    assert_eq!(kitchen.keeping.due(), Some(now + patience));
    kitchen.room.pass(249);
    assert!(kitchen.task().is_none());
    kitchen.room.pass(1);
    let mut ahead = kitchen.ahead();
    assert_eq!(ahead.len(), 2);
    // One thing at a time.
    kitchen.room.bring(&alice, node(3, "COMMON", &[], "some"));
    assert!(kitchen.task().is_none());
    assert_eq!(kitchen.keeping.due(), None);
    kitchen.room.pass(250);
    assert!(kitchen.task().is_none());
    kitchen.hear(Written::Ahead);
    ahead.extend(kitchen.ahead());
    assert_eq!(ahead.len(), 3);
    assert_eq!(kitchen.room.session.node_count(), 0, "nobody sees it");

    // The batch does not wait until it can be handed over.
    kitchen.room.bring(&alice, node(4, "COMMON", &[], "some"));
    kitchen.room.hush(&[&alice]);
    let batch = kitchen.step().unwrap();
    assert_eq!(batch.nodes.len(), 4);
    for (id, upcoming) in ahead {
        let mut nodes = batch.nodes.iter();
        let (_, stored) = nodes.find(|(other, _)| *other == id).unwrap();
        let stored = stored.as_ref().unwrap();
        assert_eq!(*stored, upcoming);
        assert_eq!(stored.base.as_ptr(), upcoming.base.as_ptr());
    }
    kitchen.hear(Written::Ahead);
    assert!(kitchen.task().is_none());
    assert_eq!(without_users(kitchen.room.told(&alice)), [""; 0]);
    kitchen.hear(Written::Safe);
    assert!(kitchen.room.told(&alice).contains(&"done".to_owned()));
    // Nothing should be left; but nodes may have been made meanwhile that are none of it.
    assert!(matches!(kitchen.task(), Some(Task::Unstage)));
    kitchen.hear(Written::Ahead);
    assert!(kitchen.task().is_none());
}

#[test]
fn of_an_upload_that_breaks_off_nothing_is_written_any_more() {
    let mut kitchen = Kitchen::new(Duration::from_secs(10));
    let role = crate::wire::role::Role::Command;
    let closed = crate::session::event::End::Closed;
    for again in [false, true] {
        let alice = kitchen.room.enter(admin_auth("alice", VERSION));
        kitchen.room.offer(&alice, &[1, 2, 3]);
        kitchen.room.pass(200);
        kitchen.room.bring(&alice, node(1, "COMMON", &[], "some"));
        kitchen.room.pass(250);
        let ahead = kitchen.ahead();
        assert_eq!(ahead.len(), 1);
        kitchen.room.bring(&alice, node(2, "COMMON", &[], "some"));
        kitchen.room.unlink(&alice, role, closed);
        kitchen.room.pass(2000);
        if again {
            // The next one comes at once; what it brings waits until that is done.
            let bob = kitchen.room.enter(admin_auth("bob", VERSION));
            kitchen.room.offer(&bob, &[1, 2]);
            kitchen.room.pass(200);
            kitchen.room.bring(&bob, node(2, "COMMON", &[], "some"));
        }
        assert!(kitchen.task().is_none(), "one thing at a time");
        kitchen.hear(Written::Ahead);
        assert!(matches!(kitchen.task(), Some(Task::Unstage)));
        kitchen.hear(Written::Ahead);
    }
    kitchen.room.pass(250);
    let ahead = kitchen.ahead();
    assert_eq!(ahead.len(), 1);
    assert_eq!(ahead[0].0, id(2));
}

/// One that was never begun has nothing to be removed, and without a store nothing waits.
#[test]
fn where_nothing_is_kept_nothing_is_written_ahead() {
    let mut room = Room::new(VERSION);
    let alice = room.enter(admin_auth("alice", VERSION));
    room.offer(&alice, &[1, 2]);
    room.pass(200);
    room.bring(&alice, node(1, "COMMON", &[], "some"));
    let later = room.now() + Duration::from_secs(1);
    assert!(room.session.ahead.next(later).is_none());
    room.bring(&alice, node(2, "COMMON", &[], "some"));
    assert!(room.session.ahead.void().is_none());
    assert_eq!(room.session.node_count(), 2);
}
