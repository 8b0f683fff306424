//! Nodes that are made, or cannot be, while others are at work.

use super::live::right;
use super::room::{Room, VERSIONS, admin_auth, auth, delta, id, node, row, without_users};
use crate::counters::Count;
use crate::session::Event;
use crate::session::outlet::Repeat;
use crate::wire::command::Request;
use crate::wire::dialect::Live;
use crate::wire::node::Update;

/// Clients of these versions push what has changed, and take that for a whole node.
#[test]
fn what_follows_a_refused_new_node_makes_no_ruin() {
    for version in ["0.1.42", "0.5.4"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.event(&alice, Event::Unfit(id(9)));
        assert_eq!(room.told(&alice), ["delete 9"], "{version}");
        // It was under way.
        alice.state().unseen.insert(id(9));
        room.update(&alice, delta(9, &[], "+more"));
        assert!(!room.session.replicas.contains(id(9)), "{version}");
        assert!(without_users(room.told(&bob)).is_empty(), "{version}");
    }
}

/// Of a change to a node that is not there the others would make a ruin.
#[test]
fn a_delta_that_makes_no_node_is_refused() {
    for version in ["0.1.42", "0.5.4"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.update(&alice, delta(9, &[], "wrong"));
        assert_eq!(room.told(&alice), ["delete 9"], "{version}");
        room.pass(1000);
        assert!(!room.session.replicas.contains(id(9)), "{version}");
        assert!(without_users(room.told(&bob)).is_empty(), "{version}");
        assert_eq!(room.counters.value(Count::RefusedUpdate), 1, "{version}");
    }
}

/// It is there for everybody, or for nobody.
#[test]
fn a_node_made_by_a_delta_is_not_there_before_that_was_looked_into() {
    for version in ["0.1.42", "0.5.4"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.odd_update(&bob, delta(9, &[], "odd"));
        room.odd_update(&bob, delta(9, &[], "+more"));
        room.ask_meanwhile(&bob, right(9, "bob"));
        assert!(!room.session.replicas.contains(id(9)), "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
        room.work();
        let told = without_users(room.told(&alice));
        let expected = ["delta 9 [] even", "right 9 bob", "delta 9 [] +more"];
        assert_eq!(told, expected, "{version}");
        // Deleted while the first delta is looked into.
        room.odd_update(&bob, delta(8, &[], "+text"));
        room.ask(&bob, Request::Delete(id(8)));
        assert!(!room.session.replicas.contains(id(8)), "{version}");
        let told = without_users(room.told(&alice));
        assert!(told.iter().all(|line| line == "delete 8"), "{version}");
    }
}

/// Somebody who makes a node and is gone the next moment has made it.
#[test]
fn a_node_made_by_a_delta_stays_when_its_maker_leaves() {
    for version in ["0.1.42", "0.5.4"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.odd_update(&bob, delta(9, &[], "+text"));
        let now = room.now();
        assert!(room.session.remove("bob", now));
        room.hush(&[&alice]);
        room.work();
        let told = without_users(room.told(&alice));
        assert_eq!(told, ["delta 9 [] +text"], "{version}");
    }
}

/// Its maker would go on with changes of what nobody else has. Whole states can be taken any time.
#[test]
fn who_makes_a_node_for_which_there_is_no_room_is_told() {
    for version in VERSIONS.into_iter().chain(["0.1.42", "0.5.4"]) {
        let (mut room, alice, bob) = Room::busy(version);
        let text = "x".repeat(2 << 20);
        let whole = row(version).live == Live::Whole;
        if row(version).live == Live::Delta {
            room.update(&bob, delta(4, &[], &text));
        } else {
            room.push(&bob, node(4, "COMMON", &[], &text));
        }
        let told = room.told(&bob);
        let expected: &[&str] = if whole { &[] } else { &["delete 4"] };
        assert_eq!(told, expected, "{version}");
        assert!(!room.session.replicas.contains(id(4)), "{version}");
        if row(version).live == Live::NodeOrCommit {
            // It was on its way already.
            room.update(&bob, delta(4, &[], "+more"));
            assert!(!room.session.replicas.contains(id(4)), "{version}");
        }
        assert!(without_users(room.told(&alice)).is_empty(), "{version}");
    }
}

#[test]
fn who_changes_a_node_that_is_not_there_is_told() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.update(&bob, delta(4, &[], "+more"));
    assert_eq!(room.told(&bob), ["delete 4"]);
    room.event(&bob, Event::Unfit(id(5)));
    assert_eq!(room.told(&bob), ["delete 5"]);
    assert!(room.told(&alice).is_empty());
}

/// It builds on the old one: to the others it may lead nowhere.
#[test]
fn a_delta_of_a_deleted_node_is_none_of_the_node_made_anew() {
    for version in ["0.1.42", "0.5.4", "0.7.0", "0.9.11"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, Request::Delete(id(3)));
        room.pass(2000);
        room.push(&alice, node(3, "COMMON", &[], "anew"));
        room.hush(&[&alice, &bob]);
        bob.state().unseen.insert(id(3));
        room.update(&bob, delta(3, &[], "+old"));
        bob.state().unseen.clear();
        assert!(without_users(room.told(&alice)).is_empty(), "{version}");
        let told = room.told(&bob).join("\n");
        assert!(
            told.contains("anew") && !told.contains("+old"),
            "{version}: {told}"
        );
        room.pass(1000);
        room.hush(&[&alice]);
        room.update(&bob, delta(3, &[], "+more"));
        let told = room.told(&alice).join("\n");
        assert!(told.contains("+more"), "{version}: {told}");
    }
}

/// A change of it that is refused says nothing about the node itself.
#[test]
fn a_node_that_is_looked_into_survives_what_is_refused_after_it() {
    for version in ["0.1.42", "0.5.4"] {
        let mut room = Room::with(version, |settings| settings.waiting_bytes = 1000);
        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
        let bob = room.enter(auth("bob", version));
        room.join(&bob);
        room.hush(&[&alice, &bob]);
        room.odd_update(&bob, delta(8, &[], "+eight"));
        room.odd_update(&bob, delta(9, &[], "+nine"));
        let now = room.now();
        room.session.handle(&bob, Event::Unfit(id(8)), now);
        room.odd_update(&bob, delta(9, &[], &"x".repeat(2000)));
        assert_eq!(room.counters.value(Count::RefusedFull), 1, "{version}");
        room.work();
        // These build on what was refused.
        bob.state().unseen.extend([id(8), id(9)]);
        room.odd_update(&bob, delta(8, &[], "+more"));
        room.odd_update(&bob, delta(9, &[], "+more"));
        room.work();
        let told = without_users(room.told(&alice));
        assert_eq!(told, ["delta 8 [] +eight", "delta 9 [] +nine"], "{version}");
        bob.state().unseen.clear();
        let told = without_users(room.told(&bob)).join("\n");
        assert!(!told.contains("delete"), "{version}: {told}");
        assert!(told.contains("+eight"), "{version}: {told}");
        assert!(told.contains("+nine"), "{version}: {told}");
        assert!(!told.contains("+more"), "{version}: {told}");
    }
}

/// What is on its way there is about the old one, and would be the last word.
#[test]
fn who_makes_a_node_anew_owns_it_whatever_right_comes_late() {
    for version in ["0.0.3", "0.1.26", "0.1.40"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(3)));
        room.pass(2000);
        room.hush(&[&alice, &bob]);
        bob.state().unseen_rights.insert(id(3));
        room.push(&bob, node(3, "bob", &[], "anew"));
        let told = without_users(room.told(&bob)).join("\n");
        assert!(told.contains("right 3 bob"), "{version}: {told}");
    }
}

/// The Delete of the old one takes it from what needs it, wherever that comes from.
#[test]
fn what_needs_a_node_made_anew_is_whole_again_at_everybody() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, Request::Delete(id(1)));
        room.pass(2000);
        room.push(&alice, node(1, "COMMON", &[], "anew"));
        room.push(&alice, node(3, "COMMON", &[1], "needs it"));
        room.hush(&[&alice, &bob]);
        // It went out before the Delete had arrived.
        room.event(
            &bob,
            Event::Crossed(Repeat {
                node: id(1),
                data: true,
            }),
        );
        room.pass(400);
        let told = without_users(room.told(&bob));
        let expected = [
            "node 1 COMMON [] anew",
            "right 1 COMMON",
            "node 3 COMMON [1] needs it",
        ];
        assert_eq!(told, expected, "{version}");
        // Sent before its sender heard of the Delete.
        let began = room.now();
        room.ask(&alice, Request::Delete(id(1)));
        room.pass(2000);
        room.push(&alice, node(1, "COMMON", &[], "again"));
        room.hush(&[&bob]);
        let update = Update::Node(node(3, "COMMON", &[1], "of bob"));
        let plain = true;
        room.event(
            &bob,
            Event::Update {
                update,
                began,
                plain,
            },
        );
        room.pass(2000);
        let told = without_users(room.told(&bob));
        let whole = "node 3 COMMON [1] of bob".to_owned();
        assert!(told.contains(&whole), "{version}: {told:?}");
    }
}

/// Looking into it took a while.
#[test]
fn what_is_deleted_while_a_delta_is_looked_into_is_none_of_its_needs() {
    for version in ["0.1.42", "0.5.4", "0.7.0", "0.9.11"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.odd_update(&bob, delta(3, &[2], "odd"));
        room.ask_meanwhile(&alice, Request::Delete(id(2)));
        room.hush(&[&alice]);
        room.work();
        let told = without_users(room.told(&alice));
        assert_eq!(told, ["delta 3 [] even"], "{version}");
        let needs = room.session.replicas.get(id(3)).unwrap().dependencies();
        assert!(needs.is_empty(), "{version}");
    }
}
