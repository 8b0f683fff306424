//! What the store cannot rely on any more is written anew, from all there is.

use super::*;
use crate::session::snapshot::Durability;
use crate::session::tests::room::Recorder;

/// A session of three nodes, one of them set aside, all of it on the disk.
fn at_work() -> (Kitchen, Recorder) {
    let mut kitchen = Kitchen::new(Duration::from_millis(100));
    let alice = kitchen.room.enter(admin_auth("alice", VERSION));
    kitchen.room.offer(&alice, &[1, 2, 3]);
    kitchen.room.pass(200);
    for n in [1, 2, 3] {
        kitchen.room.bring(&alice, node(n, "alice", &[], "one"));
    }
    kitchen.room.ask(&alice, Request::UploadEnd);
    kitchen.step().unwrap();
    kitchen.hear(Written::Safe);
    let now = kitchen.room.now();
    assert!(kitchen.room.session.quarantine(id(3), now));
    kitchen.room.pass(100);
    assert!(kitchen.step().is_none());
    kitchen.room.pass(100);
    assert_eq!(kitchen.step().unwrap().nodes.len(), 1);
    kitchen.hear(Written::Safe);
    (kitchen, alice)
}

impl Kitchen {
    /// All there is, handed over at this moment.
    fn whole(&mut self) -> Option<Batch> {
        match self.task()? {
            Task::Whole(batch) => Some(batch),
            task => panic!("{task:?}"),
        }
    }

    fn lost(&mut self) {
        self.hear(Written::Lost("it is damaged".to_owned()));
    }

    /// How long until something is handed over, if nothing happens.
    fn waits(&mut self) -> u64 {
        assert!(self.task().is_none());
        let due = self.keeping.due().unwrap();
        let wait = due.duration_since(self.room.now());
        self.room.pass(wait.as_millis().try_into().unwrap());
        wait.as_secs()
    }
}

#[test]
fn a_store_that_is_damaged_gets_all_there_is() {
    let (mut kitchen, alice) = at_work();
    kitchen.room.update(&alice, delta(1, &[], "+a"));
    assert!(kitchen.step().is_none());
    kitchen.room.pass(100);
    assert_eq!(kitchen.step().unwrap().nodes.len(), 1);
    kitchen.lost();
    assert_eq!(kitchen.room.counters.value(Count::DiskFailures), 1);
    let durability = kitchen.room.session.durability();
    assert!(
        matches!(durability, Durability::Degraded { why, .. } if why == "it is damaged"),
        "{durability:?}"
    );
    assert!(!kitchen.keeping.is_each());
    // It is written as it is when it can be.
    assert!(kitchen.whole().is_none());
    kitchen.room.ask(&alice, Request::Delete(id(2)));
    kitchen.room.pass(1000);
    let whole = kitchen.whole().unwrap();
    assert!(whole.nodes.contains(&(id(2), None)));
    let mut disk = Disk::default();
    disk.write(whole);
    assert_eq!(disk.0.len(), 2);

    // What cannot be written then is written with all there is again.
    kitchen.hear(Written::Failed("no space".to_owned()));
    kitchen.room.update(&alice, delta(1, &[], "+b"));
    assert_eq!(kitchen.waits(), 1);
    let whole = kitchen.whole().unwrap();
    disk = Disk::default();
    disk.write(whole);
    kitchen.room.update(&alice, delta(1, &[], "+c"));
    kitchen.hear(Written::Safe);
    let durability = kitchen.room.session.durability();
    assert!(matches!(durability, Durability::Ok), "{durability:?}");
    // After that it is what changes.
    assert!(kitchen.step().is_none());
    kitchen.room.pass(100);
    let batch = kitchen.step().unwrap();
    assert_eq!(batch.nodes.len(), 1);
    disk.write(batch);
    kitchen.hear(Written::Safe);
    assert_eq!(disk.text(), present(&mut kitchen.room));
}

#[test]
fn what_cannot_take_all_there_is_is_left_alone_for_longer_each_time() {
    let (mut kitchen, alice) = at_work();
    let mut trials = Vec::new();
    for again in [false, true] {
        kitchen.room.update(&alice, delta(1, &[], "+a"));
        assert!(kitchen.step().is_none());
        kitchen.room.pass(100);
        kitchen.step().unwrap();
        for _ in 0..11 {
            kitchen.lost();
            trials.push(kitchen.waits());
            assert_eq!(kitchen.whole().unwrap().nodes.len(), 3);
        }
        let longest = [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300];
        assert_eq!(std::mem::take(&mut trials), longest, "again: {again}");
        // For who waits for it, it is tried at once, but not without end.
        kitchen.lost();
        let (done, mut saved) = oneshot::channel();
        let sequence = kitchen.room.session.sequence();
        kitchen.room.pass(400);
        kitchen.keeping.save(sequence, done);
        assert!(kitchen.whole().is_none());
        kitchen.room.pass(600);
        kitchen.whole().unwrap();
        kitchen.lost();
        assert_eq!(saved.try_recv(), Ok(Err("it is damaged".to_owned())));
        let (done, mut saved) = oneshot::channel();
        kitchen.room.pass(30_000);
        kitchen.keeping.save(sequence, done);
        kitchen.whole().unwrap();
        kitchen.hear(Written::Safe);
        assert!(kitchen.task().is_none());
        assert_eq!(saved.try_recv(), Ok(Ok(())));
    }
}

/// Its host waits no longer than for a disk that is full.
#[test]
fn an_upload_meanwhile_comes_to_its_end() {
    let mut kitchen = Kitchen::new(Duration::from_secs(10));
    let alice = kitchen.room.enter(admin_auth("alice", VERSION));
    kitchen.room.offer(&alice, &[1, 2]);
    kitchen.room.pass(200);
    kitchen.room.bring(&alice, node(1, "COMMON", &[], "some"));
    kitchen.room.pass(250);
    assert_eq!(kitchen.ahead().len(), 1);
    kitchen.hear(Written::Ahead);
    kitchen.room.bring(&alice, node(2, "COMMON", &[], "some"));
    kitchen.room.hush(&[&alice]);
    assert_eq!(kitchen.step().unwrap().nodes.len(), 2);
    kitchen.lost();
    assert!(kitchen.room.told(&alice).contains(&"done".to_owned()));
    assert!(matches!(kitchen.task(), Some(Task::Unstage)));
    kitchen.hear(Written::Ahead);
    for _ in 0..9 {
        kitchen.waits();
        assert_eq!(kitchen.whole().unwrap().nodes.len(), 2);
        kitchen.lost();
    }
    // All is deleted, and another scene comes.
    for n in [1, 2] {
        kitchen.room.ask(&alice, Request::Delete(id(n)));
    }
    let role = crate::wire::role::Role::Command;
    let closed = crate::session::event::End::Closed;
    kitchen.room.unlink(&alice, role, closed);
    kitchen.room.pass(2000);
    let bob = kitchen.room.enter(admin_auth("bob", VERSION));
    kitchen.room.offer(&bob, &[4, 5]);
    kitchen.room.pass(200);
    kitchen.room.bring(&bob, node(4, "COMMON", &[], "some"));
    kitchen.room.pass(250);
    assert!(kitchen.task().is_none(), "the disk is left alone");
    kitchen.room.bring(&bob, node(5, "COMMON", &[], "some"));
    kitchen.room.hush(&[&bob]);
    let whole = kitchen.whole().unwrap();
    let there = whole.nodes.iter().filter(|(_, node)| node.is_some());
    assert_eq!(there.count(), 2);
    kitchen.hear(Written::Safe);
    assert!(kitchen.room.told(&bob).contains(&"done".to_owned()));
}

/// It takes what changes, but could not be loaded. That may be found out when nothing changes.
#[test]
fn a_store_found_damaged_in_passing_gets_all_there_is() {
    let (mut kitchen, alice) = at_work();
    assert!(kitchen.task().is_none());
    kitchen.health.say(true);
    for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
        assert_eq!(kitchen.whole().unwrap().nodes.len(), 3, "{wait}");
        kitchen.room.pass(5);
        assert!(kitchen.task().is_none(), "one thing at a time");
        // It could not be written anew, for now, but nothing is missing.
        kitchen.hear(Written::Safe);
        assert!(kitchen.task().is_none());
        let durability = kitchen.room.session.durability();
        assert!(matches!(durability, Durability::Ok), "{durability:?}");
        // What changes meanwhile does not wait for that.
        kitchen.room.update(&alice, delta(1, &[], "+a"));
        assert!(kitchen.task().is_none());
        kitchen.room.pass(100);
        assert_eq!(kitchen.step().unwrap().nodes.len(), 1);
        kitchen.hear(Written::Safe);
        kitchen.room.pass(wait * 1000 - 106);
        assert!(kitchen.task().is_none(), "{wait}");
        kitchen.room.pass(1);
    }
    kitchen.whole().unwrap();
    kitchen.health.say(false);
    kitchen.hear(Written::Safe);
    assert!(kitchen.task().is_none());
    kitchen.room.pass(600_000);
    assert!(kitchen.task().is_none());
    // And at once when it happens again. Nodes that are gone are no reason to leave it as it is.
    for n in [1, 2, 3] {
        kitchen.room.ask(&alice, Request::Delete(id(n)));
    }
    kitchen.step();
    kitchen.room.pass(100);
    kitchen.step();
    kitchen.hear(Written::Safe);
    kitchen.health.say(true);
    assert!(kitchen.whole().is_some());
}

/// Who waits for everything to be safe waits for that as well.
#[test]
fn what_is_saved_can_be_loaded() {
    let (mut kitchen, _) = at_work();
    kitchen.health.say(true);
    let (done, mut saved) = oneshot::channel();
    let sequence = kitchen.room.session.sequence();
    kitchen.keeping.save(sequence, done);
    kitchen.whole().unwrap();
    assert!(saved.try_recv().is_err());
    kitchen.health.say(false);
    kitchen.hear(Written::Safe);
    assert_eq!(saved.try_recv(), Ok(Ok(())));
}

/// Nor is anybody told that all is safe while it is not.
#[test]
fn what_cannot_be_loaded_is_not_called_saved() {
    let (mut kitchen, alice) = at_work();
    let sequence = kitchen.room.session.sequence();
    kitchen.health.say(true);
    for _ in 0..10 {
        let (done, mut saved) = oneshot::channel();
        kitchen.keeping.save(sequence, done);
        // It is tried for who waits, though it has failed often.
        kitchen.whole().unwrap();
        kitchen.hear(Written::Safe);
        let reason = saved.try_recv().unwrap().unwrap_err();
        assert!(reason.contains("damaged"), "{reason}");
        // But not without end.
        let (done, mut saved) = oneshot::channel();
        kitchen.keeping.save(sequence, done);
        assert!(kitchen.task().is_none());
        saved.try_recv().unwrap().unwrap_err();
        kitchen.room.pass(1000);
    }
    // Somebody waits while what changes is written.
    kitchen.room.update(&alice, delta(1, &[], "+a"));
    kitchen.step();
    kitchen.room.pass(100);
    kitchen.step().unwrap();
    let (done, mut saved) = oneshot::channel();
    kitchen.keeping.save(kitchen.room.session.sequence(), done);
    kitchen.hear(Written::Safe);
    assert!(saved.try_recv().is_err(), "not yet");
    kitchen.whole().unwrap();
    kitchen.health.say(false);
    kitchen.hear(Written::Safe);
    assert_eq!(saved.try_recv(), Ok(Ok(())));
}

/// Each time one more copy of the session stays behind.
#[test]
fn what_is_damaged_again_and_again_is_not_written_anew_all_the_time() {
    let (mut kitchen, _) = at_work();
    for _ in 0..3 {
        kitchen.health.say(true);
        kitchen.whole().unwrap();
        kitchen.health.say(false);
        kitchen.hear(Written::Safe);
        kitchen.room.pass(1000);
        kitchen.health.say(true);
        kitchen.room.pass(298_000);
        assert!(kitchen.task().is_none());
        kitchen.room.pass(1000);
    }
}
