//! Deltas that are looked into before they count, and nodes that are folded.

use super::room::{Room, auth, delta, id, node, without_users};
use crate::counters::Count;
use crate::session::outlet::Outlet;
use crate::wire::command::Request;

const DELTAS: &str = "0.9.11";

#[test]
fn what_clients_may_not_apply_alike_is_reworded() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(1, &[], "odd"));
    assert_eq!(without_users(room.told(&bob)), [""; 0]);
    room.work();
    assert_eq!(without_users(room.told(&bob)), ["delta 1 [] even"]);
    // The sender's own version may have made something else of it.
    room.pass(400);
    let told = without_users(room.told(&alice));
    assert_eq!(told, ["node 1 COMMON [] one", "delta 1 [] even"]);
}

#[test]
fn what_comes_after_it_waits_and_keeps_its_order() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(1, &[], "odd"));
    room.odd_update(&alice, delta(1, &[], "+second"));
    room.odd_update(&bob, delta(3, &[], "+elsewhere"));
    room.work();
    let told = without_users(room.told(&bob));
    assert_eq!(told, ["delta 1 [] even", "delta 1 [] +second"]);
    assert_eq!(without_users(room.told(&alice)), ["delta 3 [] +elsewhere"]);
    assert_eq!(room.session.replicas.get(id(1)).unwrap().tail().len(), 2);
}

/// Somebody who edits and is gone the next moment has edited.
#[test]
fn what_waits_counts_also_if_its_sender_has_left() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(2, &[1], "odd"));
    room.odd_update(&alice, delta(2, &[1], "+second"));
    let now = room.now();
    assert!(room.session.remove("alice", now));
    room.hush(&[&bob]);
    room.work();
    let told = without_users(room.told(&bob));
    assert_eq!(told, ["delta 2 [1] even", "delta 2 [1] +second"]);
    // But not if the node is somebody's meanwhile.
    let carol = room.enter(auth("carol", DELTAS));
    room.join(&carol);
    room.odd_update(&bob, delta(3, &[], "odd"));
    room.odd_update(&bob, delta(3, &[], "+second"));
    let now = room.now();
    room.session.assign(&[id(3)], "carol", now).unwrap();
    room.session.remove("bob", now);
    room.hush(&[&carol]);
    room.work();
    assert_eq!(without_users(room.told(&carol)), ["delta 3 [] even"]);
}

/// What was under way belongs to the session that was there then.
#[test]
fn nothing_of_a_session_gets_into_the_one_that_takes_its_place() {
    let (mut room, alice, _) = Room::busy(DELTAS);
    let saved = room.session.snapshot();
    room.odd_update(&alice, delta(1, &[], "odd"));
    room.odd_update(&alice, delta(1, &[], "+second"));
    room.odd_update(&alice, delta(3, &[], "odd"));
    let now = room.now();
    let job = room.session.next_job(now).unwrap();
    room.session.replace(saved, None, "restored", now).unwrap();
    room.session.folded(super::room::worked(job), now);
    room.work();
    assert!(room.session.folds_nothing());
    for n in [1, 3] {
        assert_eq!(room.session.replicas.get(id(n)).unwrap().tail().len(), 0);
    }
}

#[test]
fn a_delta_that_cannot_be_applied_is_taken_back() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(1, &[], "wrong"));
    room.work();
    assert_eq!(without_users(room.told(&bob)), [""; 0]);
    let told = without_users(room.told(&alice));
    assert_eq!(told, ["node 1 COMMON [] one", "right 1 COMMON"]);
    assert_eq!(room.counters.value(Count::RefusedUpdate), 1);
}

#[test]
fn a_delete_does_not_wait_and_leaves_nothing_behind() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(3, &[], "odd"));
    room.odd_update(&alice, delta(3, &[], "+more"));
    room.ask(&bob, Request::Delete(id(3)));
    room.work();
    room.pass(2000);
    assert!(!room.session.replicas.contains(id(3)));
    assert_eq!(without_users(room.told(&bob)), ["delete 3"]);
    let told = without_users(room.told(&alice));
    assert!(told.contains(&"delete 3".to_owned()), "{told:?}");
}

#[test]
fn a_node_made_anew_has_nothing_of_the_old_ones_work() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(3, &[], "odd"));
    let now = room.now();
    let job = room.session.next_job(now).unwrap();
    room.ask(&bob, Request::Delete(id(3)));
    room.pass(5000);
    room.hush(&[&alice, &bob]);
    room.push(&bob, node(3, "COMMON", &[], "anew"));
    let now = room.now();
    room.session.folded(super::room::worked(job), now);
    room.work();
    let replica = room.session.replicas.get(id(3)).unwrap();
    assert_eq!(
        (&replica.base()[..], replica.tail().len()),
        (&b"anew"[..], 0)
    );
}

#[test]
fn a_sender_that_got_the_node_meanwhile_gets_it_again() {
    let (mut room, alice, _) = Room::busy(DELTAS);
    room.odd_update(&alice, delta(1, &[], "+a"));
    let now = room.now();
    let job = room.session.next_job(now).unwrap();
    room.session.send_whole(alice.identity(), id(1), now);
    alice.state().unseen.insert(id(1));
    room.session.folded(super::room::worked(job), now);
    alice.state().unseen.clear();
    room.pass(400);
    let told = without_users(room.told(&alice));
    assert_eq!(
        told,
        [
            "node 1 COMMON [] one",
            "node 1 COMMON [] one",
            "delta 1 [] +a"
        ]
    );
}

#[test]
fn what_waits_is_bounded() {
    let mut room = Room::with(DELTAS, |settings| settings.waiting_bytes = 1000);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    room.odd_update(&alice, delta(1, &[], "odd"));
    for _ in 0..5 {
        room.odd_update(&alice, delta(1, &[], &"x".repeat(600)));
    }
    assert_eq!(room.counters.value(Count::RefusedFull), 4);
    room.work();
    assert_eq!(room.session.replicas.get(id(1)).unwrap().tail().len(), 2);
}

#[test]
fn long_tails_are_folded_while_edits_go_on() {
    let mut room = Room::with(DELTAS, |settings| settings.tail_deltas = 3);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    for n in 1..=4 {
        room.update(&alice, delta(1, &[], &format!("+{n}")));
    }
    let replica = room.session.replicas.get(id(1)).unwrap();
    assert_eq!(&replica.base()[..], b"one+1+2+3+4");
    assert_eq!((replica.tail_start(), replica.tail_end()), (4, 4));

    for n in 5..=7 {
        room.update(&alice, delta(1, &[], &format!("+{n}")));
    }
    let began = room.now();
    room.odd_update(&alice, delta(1, &[], "+8"));
    room.work();
    let (update, plain) = (delta(1, &[], "+9"), true);
    room.event(
        &alice,
        crate::session::Event::Update {
            update,
            began,
            plain,
        },
    );
    let replica = room.session.replicas.get(id(1)).unwrap();
    assert_eq!(&replica.base()[..], b"one+1+2+3+4+5+6+7+8");
    assert_eq!(replica.tail().len(), 1);
    room.session.replicas.delete(id(1), alice.identity(), began);
    assert_eq!(room.session.replicas.bytes(), 0);
}

/// What takes too long for one job is done in several, and nothing is lost.
#[test]
fn a_tail_that_takes_long_is_folded_bit_by_bit() {
    let mut room = Room::with(DELTAS, |settings| settings.tail_deltas = 3);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    for n in 1..=3 {
        room.update(&alice, delta(1, &[], &format!("slow{n}")));
    }
    room.update(&alice, delta(1, &[], "+4"));
    let replica = room.session.replicas.get(id(1)).unwrap();
    assert_eq!(&replica.base()[..], b"oneslow1slow2slow3+4");
    assert_eq!((replica.tail_start(), replica.tail_end()), (4, 4));
    assert!(room.session.folds_nothing());
}

/// A delta is looked into when there is time for all that is before it.
#[test]
fn a_delta_after_a_tail_that_takes_long_waits_until_it_is_folded() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    for n in 1..=3 {
        room.update(&alice, delta(1, &[], &format!("slow{n}")));
    }
    room.hush(&[&bob]);
    room.odd_update(&alice, delta(1, &[], "odd"));
    room.odd_update(&alice, delta(1, &[], "+more"));
    let now = room.now();
    let job = room.session.next_job(now).unwrap();
    room.session.folded(super::room::worked(job), now);
    assert_eq!(without_users(room.told(&bob)), [""; 0]);
    room.work();
    let told = without_users(room.told(&bob));
    assert_eq!(told, ["delta 1 [] even", "delta 1 [] +more"]);
    let replica = room.session.replicas.get(id(1)).unwrap();
    assert_eq!(room.counters.value(Count::RefusedUpdate), 0);
    let state = [replica.base().clone(), replica.tail().concat().into()].concat();
    assert_eq!(state, b"oneslow1slow2slow3even+more");
    assert!(room.session.folds_nothing());
}

#[test]
fn who_lacks_deltas_that_have_been_folded_gets_the_whole_state() {
    let mut room = Room::with(DELTAS, |settings| settings.tail_deltas = 3);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    let bob = room.enter(super::room::auth("bob", DELTAS));
    room.join(&bob);
    room.hush(&[&bob]);
    bob.state().full = true;
    for n in 1..=5 {
        room.update(&alice, delta(1, &[], &format!("+{n}")));
    }
    bob.state().full = false;
    room.event(&bob, crate::session::Event::Drained);
    let told = without_users(room.told(&bob));
    assert_eq!(told, ["node 1 COMMON [] one+1+2+3+4", "delta 1 [] +5"]);
}

#[test]
fn a_joiner_waits_for_one_folding_only() {
    let (mut room, alice, _) = Room::busy(DELTAS);
    room.update(&alice, delta(1, &[], "+a"));
    let eve = room.enter(super::room::auth("eve", DELTAS));
    room.catalog(&eve);
    let now = room.now();
    for n in [1, 2, 3] {
        let framing = room.dialect().commands;
        let command = crate::wire::command::Command {
            framing,
            owner: "eve".to_owned(),
            request: Request::Get(id(n)),
        };
        room.session
            .handle(&eve, crate::session::Event::Command(command), now);
    }
    assert_eq!(room.told(&eve), [""; 0], "in the order in which it asked");
    let job = room.session.next_job(now).unwrap();
    let (update, began, plain) = (delta(1, &[], "+b"), now, true);
    room.session.handle(
        &alice,
        crate::session::Event::Update {
            update,
            began,
            plain,
        },
        now,
    );
    room.session.folded(super::room::worked(job), now);
    let told = without_users(room.told(&eve));
    assert_eq!(
        told,
        [
            "node 1 COMMON [] one+a",
            "node 2 alice [1] two",
            "node 3 COMMON [] three"
        ]
    );
    room.all_fetched(&eve);
    assert_eq!(without_users(room.told(&eve)), ["delta 1 [] +b"]);
}

#[test]
fn a_node_that_rests_is_one_state() {
    let (mut room, alice, _) = Room::busy(DELTAS);
    room.update(&alice, delta(1, &[], "+a"));
    assert_eq!(room.session.replicas.get(id(1)).unwrap().tail().len(), 1);
    room.pass(15_000);
    let replica = room.session.replicas.get(id(1)).unwrap();
    assert_eq!(&replica.base()[..], b"one+a");
    assert_eq!(replica.tail().len(), 0);
}

/// What is left of an event when nobody works yet.
fn handle(room: &mut Room, peer: &super::room::Recorder, event: crate::session::Event) {
    let now = room.now();
    room.session.handle(peer, event, now);
}

fn ask(room: &mut Room, peer: &super::room::Recorder, request: Request) {
    let command = crate::wire::command::Command {
        framing: room.dialect().commands,
        owner: "somebody".to_owned(),
        request,
    };
    handle(room, peer, crate::session::Event::Command(command));
}

#[test]
fn a_joiner_does_not_wait_for_a_folding_that_is_needless_by_now() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.update(&alice, delta(1, &[], "+a"));
    room.update(&alice, delta(3, &[], "+a"));
    let eve = room.enter(super::room::auth("eve", DELTAS));
    let adam = room.enter(super::room::auth("adam", DELTAS));
    room.catalog(&eve);
    room.catalog(&adam);
    ask(&mut room, &eve, Request::Get(id(1)));
    ask(&mut room, &adam, Request::Get(id(3)));
    let (began, plain) = (room.now(), true);
    let update = crate::wire::node::Update::Node(node(1, "COMMON", &[], "new"));
    let event = crate::session::Event::Update {
        update,
        began,
        plain,
    };
    handle(&mut room, &alice, event);
    ask(&mut room, &bob, Request::Delete(id(3)));
    room.work();
    assert_eq!(without_users(room.told(&eve)), ["node 1 COMMON [] new"]);
    assert_eq!(without_users(room.told(&adam)), ["removed"]);
}

#[test]
fn any_number_of_needless_foldings_is_skipped() {
    let (mut room, _, _) = Room::busy(DELTAS);
    for n in 0..200_000 {
        room.session.fold_soon(id(n));
    }
    let now = room.now();
    assert!(room.session.next_job(now).is_none());
}

#[test]
fn checks_and_foldings_take_turns() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.update(&alice, delta(2, &[], "+a"));
    room.session.fold_soon(id(2));
    room.odd_update(&alice, delta(1, &[], "odd"));
    room.odd_update(&bob, delta(3, &[], "odd"));
    let now = room.now();
    let jobs: Vec<_> = std::iter::from_fn(|| room.session.next_job(now)).collect();
    let order: Vec<_> = jobs.iter().map(|job| super::room::number(job.id)).collect();
    assert_eq!(order.len(), 3);
    assert_ne!(order.last(), Some(&2), "{order:?}");
}

#[test]
fn nobody_waits_for_all_that_another_has_to_be_looked_into() {
    let (mut room, alice, bob) = Room::busy(DELTAS);
    room.push(&alice, node(4, "COMMON", &[], "four"));
    for n in [1, 2, 3] {
        room.odd_update(&alice, delta(n, &[], "odd"));
    }
    room.odd_update(&bob, delta(4, &[], "odd"));
    let now = room.now();
    let jobs: Vec<_> = std::iter::from_fn(|| room.session.next_job(now)).collect();
    let order: Vec<_> = jobs.iter().map(|job| super::room::number(job.id)).collect();
    assert_eq!(order, [1, 4, 2, 3]);
}

#[test]
fn what_is_yet_to_be_looked_into_is_bounded_for_each() {
    let mut room = Room::with(DELTAS, |settings| settings.waiting_bytes = 1000);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    let nodes = [1, 2, 3, 4].map(|n| node(n, "COMMON", &[], "text"));
    room.upload(&alice, &nodes);
    let bob = room.enter(super::room::auth("bob", DELTAS));
    room.join(&bob);
    for n in [1, 2, 3] {
        room.odd_update(&alice, delta(n, &[], &"x".repeat(600)));
    }
    assert_eq!(room.counters.value(Count::RefusedFull), 2);
    // Others have their own share.
    room.odd_update(&bob, delta(4, &[], &"x".repeat(600)));
    room.odd_update(&bob, delta(1, &[], &"x".repeat(30)));
    assert_eq!(room.counters.value(Count::RefusedFull), 2);
    room.work();
    for n in [1, 4] {
        room.odd_update(&alice, delta(n, &[], &"x".repeat(300)));
    }
    room.work();
    assert_eq!(room.counters.value(Count::RefusedFull), 2);
    assert!(room.session.folds_nothing());
}

/// Those with little in them take memory, too.
#[test]
fn small_deltas_cost_what_they_take() {
    let mut room = Room::with(DELTAS, |settings| settings.waiting_bytes = 1000);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    room.odd_update(&alice, delta(1, &[], "odd"));
    for _ in 0..50 {
        room.odd_update(&alice, delta(1, &[], "+"));
    }
    assert!(room.counters.value(Count::RefusedFull) > 0);
    room.work();

    let most = 10_000;
    let mut room = Room::with(DELTAS, |settings| {
        settings.max_session = most;
        settings.tail_deltas = usize::MAX;
    });
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    for _ in 0..200 {
        room.update(&alice, delta(1, &[], "+"));
    }
    assert!(room.counters.value(Count::RefusedFull) > 0);
    let replicas = &room.session.replicas;
    assert!(replicas.get(id(1)).unwrap().tail().len() > 10);
    assert!(replicas.bytes() <= most);
    // Folded they are part of the node.
    let small = replicas.bytes() / 2;
    room.pass(15_000);
    assert!(room.session.replicas.bytes() < small);
}

#[test]
fn a_tail_that_cannot_be_folded_has_an_end() {
    let mut room = Room::with(DELTAS, |settings| settings.tail_deltas = 3);
    let alice = room.enter(super::room::admin_auth("alice", DELTAS));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    room.session.replicas.note_unfoldable(id(1));
    let mut sent = 0;
    while room.counters.value(Count::RefusedFull) == 0 {
        assert!(sent < 1000);
        room.hush(&[&alice]);
        room.update(&alice, delta(1, &[], "+"));
        sent += 1;
    }
    let told = without_users(room.told(&alice));
    assert_eq!(
        told.first().map(String::as_str),
        Some("node 1 COMMON [] one")
    );
    let tail = |room: &Room| room.session.replicas.get(id(1)).unwrap().tail().len();
    assert_eq!(tail(&room), sent - 1);
    assert!(sent > 30, "some more than others");
    room.push(&alice, node(1, "COMMON", &[], "anew"));
    room.update(&alice, delta(1, &[], "+"));
    assert_eq!(tail(&room), 1);
}

#[test]
fn a_node_made_anew_has_no_fault_of_the_old_one() {
    let (mut room, alice, _) = Room::busy(DELTAS);
    for anew in [true, false] {
        room.update(&alice, delta(1, &[], "+a"));
        room.session.fold_soon(id(1));
        let now = room.now();
        let job = room.session.next_job(now).unwrap();
        if anew {
            room.push(&alice, node(1, "COMMON", &[], "anew"));
        }
        let done = crate::session::folding::Done {
            outcome: crate::session::folding::Outcome::Fault,
            ..super::room::worked(job)
        };
        room.session.folded(done, now);
        let replica = room.session.replicas.get(id(1)).unwrap();
        assert_eq!(replica.is_unfoldable(), !anew);
    }
    assert_eq!(room.counters.value(Count::Panics), 2);
}
