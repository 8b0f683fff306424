//! Deletes, Rights and kicks: the authority matrix.

use super::room::{Recorder, Room, VERSIONS, admin_auth, auth, id, node, row, without_users};
use crate::counters::Count;
use crate::wire::command::Request;
use crate::wire::dialect::RightShape;

fn give(nodes: &[u32], owner: &str) -> Request {
    Request::Right {
        nodes: nodes.iter().map(|n| id(*n)).collect(),
        owner: owner.to_owned(),
    }
}

fn echoes(version: &str) -> bool {
    row(version).generation >= 9
}

/// Owners as a joiner is given them.
fn owners(room: &mut Room) -> String {
    let version = room.version;
    let eve = room.enter(auth("eve", version));
    let mut owners: Vec<_> = room
        .join(&eve)
        .iter()
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            format!("{}:{}", words[1], words[2])
        })
        .collect();
    owners.sort();
    owners.join(" ")
}

#[test]
fn a_delete_goes_to_the_others_and_back_from_g9_on() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(1)));
        assert_eq!(room.told(&alice), ["delete 1"], "{version}");
        let back: &[&str] = if echoes(version) { &["delete 1"] } else { &[] };
        assert_eq!(room.told(&bob), back, "{version}");
        let eve = room.enter(auth("eve", version));
        assert_eq!(
            room.join(&eve),
            ["node 3 COMMON [] three", "node 2 alice [] two"],
            "{version}: nothing depends on it any more"
        );
    }
}

#[test]
fn a_delete_of_nothing_is_answered_to_those_who_wait_for_it() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(9)));
        let back: &[&str] = if echoes(version) { &["delete 9"] } else { &[] };
        assert_eq!(room.told(&bob), back, "{version}");
        let told = room.told(&alice);
        assert!(told.is_empty() || told == ["delete 9"], "{version}");
    }
}

#[test]
fn a_refused_delete_is_taken_back_where_it_was_applied() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(2)));
        let back: &[&str] = if echoes(version) {
            &[]
        } else {
            &["node 2 alice [1] two", "right 2 alice"]
        };
        assert_eq!(room.told(&bob), back, "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
        assert_eq!(room.session.node_count(), 3);
        assert_eq!(room.counters.value(Count::RefusedDelete), 1);
    }
}

/// The sender has also forgotten that other nodes need the one it must not delete.
#[test]
fn a_refused_delete_is_taken_back_in_dependents_too() {
    for version in VERSIONS.into_iter().filter(|v| !echoes(v)) {
        let (mut room, _, bob) = Room::busy(version);
        room.push(&bob, node(4, "bob", &[2], "four"));
        room.ask(&bob, Request::Delete(id(2)));
        let told = room.told(&bob);
        assert!(
            told.contains(&"node 4 bob [2] four".to_owned()),
            "{version}: {told:?}"
        );
        assert_eq!(told[0], "node 2 alice [1] two", "what it needs comes first");
    }
}

/// Commands and nodes travel on different links: what was pushed first may come second.
#[test]
fn a_refused_delete_is_taken_back_in_a_new_node_that_it_overtook() {
    for version in VERSIONS.into_iter().filter(|v| !echoes(v)) {
        let (mut room, _, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(2)));
        room.hush(&[&bob]);
        room.push(&bob, node(4, "bob", &[2], "four"));
        assert_eq!(room.told(&bob), ["node 4 bob [2] four"], "{version}");
        // What is made later needs no correction.
        room.pass(2000);
        room.hush(&[&bob]);
        room.push(&bob, node(5, "bob", &[2], "five"));
        assert!(room.told(&bob).is_empty(), "{version}");
    }
}

/// As when somebody takes the objects out of a collection and deletes them.
#[test]
fn a_node_on_its_way_is_sent_again_but_once_for_all_that_is_deleted_meanwhile() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let needs: Vec<_> = (10..110).collect();
        for n in &needs {
            room.push(&alice, node(*n, "COMMON", &[], "object"));
        }
        room.push(&alice, node(5, "COMMON", &needs, "collection"));
        room.hush(&[&bob]);
        bob.state().unseen.insert(id(5));
        for n in &needs {
            room.ask(&alice, Request::Delete(id(*n)));
            room.pass(1);
        }
        room.pass(2000);
        let told = room.told(&bob);
        let states: Vec<_> = told.iter().filter(|l| l.starts_with("node 5 ")).collect();
        assert!(
            (1..5).contains(&states.len()),
            "{version}: {}",
            states.len()
        );
        assert_eq!(*states[states.len() - 1], "node 5 COMMON [] collection");
    }
}

/// Whoever sent it had not heard yet that the node was gone.
#[test]
fn a_right_does_not_outlive_the_node_it_is_about() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, Request::Delete(id(3)));
        room.ask(&bob, give(&[3], "alice"));
        room.pass(120_000);
        room.push(&bob, node(3, "bob", &[], "anew"));
        let owner = room.session.replicas.get(id(3)).unwrap().owner();
        assert_eq!(**owner, *"bob", "{version}");
    }
}

#[test]
fn take_give_and_release() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        for (who, other, owner) in [
            (&bob, &alice, "bob"),
            (&bob, &alice, "alice"),
            (&alice, &bob, "COMMON"),
        ] {
            room.ask(who, give(&[1], owner));
            let line = format!("right 1 {owner}");
            assert_eq!(room.told(other), [line.as_str()], "{version}");
            // Without echo it may be confirmed all the same, as another's may have crossed it.
            let back = room.told(who);
            assert!(back.iter().all(|l| *l == line), "{version}: {back:?}");
            assert!(!echoes(version) || back.len() == 1, "{version}: {back:?}");
        }
    }
}

#[test]
fn what_is_somebody_elses_cannot_be_taken() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        for owner in ["bob", "COMMON", "alice", "nobody"] {
            room.ask(&bob, give(&[2], owner));
            assert_eq!(room.told(&bob), ["right 2 alice"], "{version} {owner}");
            assert!(room.told(&alice).is_empty(), "{version}");
        }
        assert_eq!(room.counters.value(Count::RefusedRight), 4);
    }
}

#[test]
fn nodes_can_only_be_given_to_those_present() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        for owner in ["nobody", "server", "client", ""] {
            room.ask(&bob, give(&[1], owner));
            assert_eq!(room.told(&bob), ["right 1 COMMON"], "{version} {owner}");
            assert!(room.told(&alice).is_empty(), "{version}");
        }
    }
}

#[test]
fn of_a_list_the_permitted_part_is_given() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.ask(&bob, give(&[1, 2, 3], "bob"));
    assert_eq!(room.told(&alice), ["right 1 bob", "right 3 bob"]);
    assert_eq!(
        room.told(&bob),
        ["right 1 bob", "right 3 bob", "right 2 alice"]
    );
    assert_eq!(owners(&mut room), "1:bob 2:alice 3:bob");
}

#[test]
fn an_empty_list_is_answered_and_told_to_nobody_else() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.ask(&bob, give(&[], "bob"));
    assert_eq!(row("0.9.11").right, RightShape::List);
    assert_eq!(room.told(&bob), ["right  bob"]);
    assert!(room.told(&alice).is_empty());
}

#[test]
fn an_admin_may_take_anything_and_it_is_noted() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(4, "bob", &[], "four"));
        room.hush(&[&alice, &bob]);
        room.ask(&alice, give(&[4], "alice"));
        assert_eq!(room.told(&bob), ["right 4 alice"], "{version}");
        assert_eq!(room.counters.value(Count::RightsByAdmin), 1);
        room.ask(&alice, give(&[4], "nobody"));
        assert_eq!(
            room.told(&alice).pop().unwrap(),
            "right 4 alice",
            "{version}"
        );
        // To delete or change it she has to take it first.
        room.ask(&alice, give(&[4], "bob"));
        room.pass(11_000);
        room.hush(&[&alice, &bob]);
        room.ask(&alice, Request::Delete(id(4)));
        assert_eq!(room.session.node_count(), 4, "{version}");
    }
}

#[test]
fn a_right_that_is_faster_than_its_new_node_counts() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, give(&[4], "bob"));
        assert!(room.told(&alice).is_empty(), "{version}");
        room.push(&bob, node(4, "COMMON", &[], "four"));
        assert_eq!(
            room.told(&alice),
            ["node 4 COMMON [] four", "right 4 bob"],
            "{version}"
        );
        // (Who gets no echo may have made the node after it.)
        assert_eq!(room.told(&bob), ["right 4 bob"], "{version}");
        assert!(owners(&mut room).contains("4:bob"), "{version}");
    }
}

#[test]
fn a_right_waits_for_its_senders_node_only_however_long_that_takes() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, give(&[4, 5], "bob"));
        room.push(&alice, node(4, "alice", &[], "hers"));
        room.pass(15_000);
        room.push(&bob, node(5, "COMMON", &[], "over a thin line"));
        let owners = owners(&mut room);
        assert!(
            owners.contains("4:alice") && owners.contains("5:bob"),
            "{version} {owners}"
        );
    }
}

#[test]
fn rights_go_behind_nodes_that_have_to_wait() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        bob.state().full = true;
        room.push(&alice, node(4, "alice", &[], "four"));
        room.ask(&alice, give(&[4], "COMMON"));
        assert!(room.told(&bob).is_empty(), "{version}");
        bob.state().full = false;
        room.event(&bob, crate::session::Event::Drained);
        assert_eq!(
            room.told(&bob),
            ["node 4 COMMON [] four", "right 4 COMMON"],
            "{version}"
        );
    }
}

#[test]
fn only_admins_kick() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(4, "bob", &[], "four"));
        let kick = |name: &str| Request::Kick {
            user: name.to_owned(),
        };
        let eve: Recorder = room.enter(auth("eve", version));
        room.hush(&[&alice, &bob, &eve]);
        room.ask(&bob, kick("alice"));
        room.ask(&bob, kick("bob"));
        room.ask(&alice, kick("nobody"));
        for peer in [&alice, &bob, &eve] {
            assert!(room.told(peer).is_empty(), "{version}");
        }
        room.ask(&alice, kick("bob"));
        assert_eq!(room.told(&bob), ["bye kicked by admin"], "{version}");
        let told = room.told(&alice);
        assert!(
            told.contains(&"right 4 COMMON".to_owned()),
            "{version} {told:?}"
        );
        assert!(
            told.iter()
                .any(|l| l.starts_with("users") && !l.contains("bob"))
        );
        assert_eq!(room.session.user_count(), 2);
        // The name is free, for an admin, too.
        let again = room.enter(admin_auth("bob", version));
        let auths = without_users(room.told(&again));
        assert_eq!(auths, ["auth RUNNING"], "{version}");
    }
}

/// Clients before G9 have applied it already, whoever it names.
#[test]
fn an_early_right_to_nobody_is_refused_when_its_node_comes() {
    for version in VERSIONS.into_iter().filter(|v| !echoes(v)) {
        let (mut room, _, bob) = Room::busy(version);
        room.ask(&bob, give(&[4], "nobody"));
        room.push(&bob, node(4, "bob", &[], "four"));
        assert_eq!(room.told(&bob), ["right 4 bob"], "{version}");
    }
}

/// A Right that crosses another's on its way to the sender would be undone there by it.
#[test]
fn a_right_that_may_have_crossed_anothers_is_confirmed() {
    for version in VERSIONS.into_iter().filter(|v| !echoes(v)) {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, give(&[1], "alice"));
        room.ask(&alice, give(&[1], "COMMON"));
        room.hush(&[&bob]);
        room.ask(&bob, give(&[1], "bob"));
        assert_eq!(room.told(&bob), ["right 1 bob"], "{version}");
    }
}

/// Another's update on its way to the deleter would bring the node back there.
#[test]
fn a_delete_that_crosses_an_update_is_confirmed() {
    for version in VERSIONS {
        let (mut room, _, bob) = Room::busy(version);
        bob.state().unseen.insert(id(1));
        room.ask(&bob, Request::Delete(id(1)));
        bob.state().unseen.clear();
        room.pass(400);
        let told = without_users(room.told(&bob));
        assert_eq!(told, ["delete 1"], "{version}");
    }
}

/// What a client up to G8 made anew, as somebody undid the Delete, may be here before the Delete.
#[test]
fn a_delete_that_may_have_been_undone_counts_for_its_sender_too() {
    for version in VERSIONS.into_iter().filter(|v| !echoes(v)) {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(3, "COMMON", &[], "undone"));
        room.hush(&[&alice, &bob]);
        room.ask(&bob, Request::Delete(id(3)));
        for peer in [&alice, &bob] {
            let told = without_users(room.told(peer));
            assert_eq!(told, ["delete 3"], "{version}");
        }
        // Long after that it is as with any other.
        let (mut room, _, bob) = Room::busy(version);
        room.push(&bob, node(3, "COMMON", &[], "three"));
        room.pass(1000);
        room.hush(&[&bob]);
        room.ask(&bob, Request::Delete(id(3)));
        let told = without_users(room.told(&bob));
        assert!(told.is_empty(), "{version} {told:?}");
    }
}

/// Each wait would be for itself, for as long as the deleter does not say that it has read the update.
#[test]
fn however_often_a_node_is_deleted_its_update_is_waited_for_once() {
    let (mut room, _, bob) = Room::busy("0.9.11");
    bob.state().unseen.insert(id(1));
    for _ in 0..3 {
        room.ask(&bob, Request::Delete(id(1)));
    }
    room.pass(1000);
    room.push(&bob, node(1, "COMMON", &[], "late"));
    assert!(without_users(room.told(&bob)).is_empty());
    bob.state().unseen.clear();
    room.pass(1000);
    assert_eq!(without_users(room.told(&bob)), ["delete 1"]);
}

/// From G15 on clients end on a Commit for a node that is gone.
#[test]
fn a_delete_waits_for_commits_on_their_way() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    bob.state().unseen.insert(id(1));
    room.ask(&alice, Request::Delete(id(1)));
    room.pass(250);
    assert!(without_users(room.told(&bob)).is_empty());
    bob.state().unseen.clear();
    room.pass(100);
    assert_eq!(without_users(room.told(&bob)), ["delete 1"]);
}
