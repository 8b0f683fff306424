//! Live updates: who is told, who may, and how concurrent ones come together.

use std::time::Duration;

use super::room::{Room, VERSIONS, auth, delta, id, node, row, without_users};
use crate::counters::Count;
use crate::wire::command::Request;
use crate::wire::dialect::Live;
use crate::wire::node::Update;
use crate::wire::pickle::{Dict, Value};

pub(super) fn right(n: u32, owner: &str) -> Request {
    Request::Right {
        nodes: vec![id(n)],
        owner: owner.to_owned(),
    }
}

#[test]
fn an_update_goes_to_the_others_with_the_stored_owner() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.join(&eve);
        room.hush(&[&alice, &bob, &eve]);
        room.push(&alice, node(2, "bob", &[1, 3], "zwei"));
        for peer in [&bob, &eve] {
            assert_eq!(room.told(peer), ["node 2 alice [1,3] zwei"], "{version}");
        }
        assert!(room.told(&alice).is_empty(), "{version}: no echo");
        if row(version).live == Live::NodeOrCommit {
            room.update(&bob, delta(1, &[3], "+b"));
            for peer in [&alice, &eve] {
                assert_eq!(room.told(peer), ["delta 1 [3] +b"]);
            }
            assert!(room.told(&bob).is_empty());
        }
    }
}

#[test]
fn a_new_node_belongs_to_its_sender_or_nobody() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(4, "bob", &[], "four"));
        room.push(&bob, node(5, "COMMON", &[], "five"));
        assert!(room.told(&bob).is_empty(), "{version}");
        room.push(&bob, node(6, "alice", &[], "six"));
        assert_eq!(room.told(&bob), ["right 6 COMMON"], "{version}");
        assert_eq!(
            room.told(&alice),
            [
                "node 4 bob [] four",
                "node 5 COMMON [] five",
                "node 6 COMMON [] six"
            ],
            "{version}"
        );
    }
}

#[test]
fn an_update_of_somebody_elses_node_is_corrected() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(2, "bob", &[], "mine"));
        assert_eq!(
            room.told(&bob),
            ["node 2 alice [1] two", "right 2 alice"],
            "{version}"
        );
        assert!(room.told(&alice).is_empty(), "{version}");
        assert_eq!(room.counters.value(Count::RefusedUpdate), 1);
    }
}

#[test]
fn deltas_on_a_refused_state_are_refused_until_the_correction_was_seen() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.update(&bob, delta(2, &[], "+evil"));
    assert_eq!(room.told(&bob), ["node 2 alice [1] two", "right 2 alice"]);
    room.ask(&alice, right(2, "COMMON"));
    room.hush(&[&alice, &bob]);
    bob.state().unseen.insert(id(2));
    room.update(&bob, delta(2, &[1], "+on evil"));
    assert_eq!(room.told(&bob)[0], "node 2 COMMON [1] two");
    assert!(room.told(&alice).is_empty());
    bob.state().unseen.clear();
    room.update(&bob, delta(2, &[1], "+good"));
    assert!(room.told(&bob).is_empty());
    assert_eq!(room.told(&alice), ["delta 2 [1] +good"]);
}

#[test]
fn the_former_owners_updates_in_flight_still_count() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let update = |text| Update::Node(node(2, "alice", &[1], text));
        room.ask(&alice, right(2, "COMMON"));
        room.ask(&bob, right(2, "bob"));
        room.ask(&bob, right(2, "alice"));
        room.hush(&[&alice, &bob]);
        room.pass(9900);
        room.update(&bob, update("late but in time"));
        assert_eq!(
            without_users(room.told(&alice)),
            ["node 2 alice [1] late but in time"],
            "{version}"
        );
        room.hush(&[&bob]);
        room.pass(200);
        room.update(&bob, update("too late"));
        assert!(without_users(room.told(&alice)).is_empty(), "{version}");
        let told = without_users(room.told(&bob));
        assert_eq!(told, ["node 2 alice [1] late but in time", "right 2 alice"]);
    }
}

#[test]
fn only_the_last_owner_counts_as_former() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, right(2, "COMMON"));
        room.ask(&bob, right(2, "bob"));
        room.hush(&[&alice, &bob]);
        room.push(&alice, node(2, "alice", &[1], "the last of hers"));
        assert!(room.told(&bob).is_empty(), "{version}");
        assert_eq!(
            room.told(&alice),
            ["node 2 bob [1] two", "right 2 bob"],
            "{version}"
        );
    }
}

#[test]
fn who_may_not_have_seen_anothers_update_gets_the_outcome() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        bob.state().unseen.insert(id(1));
        room.hush(&[&bob]);
        room.push(&bob, node(1, "COMMON", &[], "un"));
        assert_eq!(room.told(&alice), ["node 1 COMMON [] un"], "{version}");
        assert!(room.told(&bob).is_empty(), "{version}: bob is still at it");
        bob.state().unseen.clear();
        room.pass(500);
        assert_eq!(
            without_users(room.told(&bob)),
            ["node 1 COMMON [] un"],
            "{version}"
        );
        assert_eq!(room.counters.value(Count::Converged), 1);
        room.push(&bob, node(1, "COMMON", &[], "eins"));
        assert!(room.told(&bob).is_empty(), "{version}");
    }
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.update(&alice, delta(1, &[], "+a"));
    bob.state().unseen.insert(id(1));
    room.hush(&[&bob]);
    room.update(&bob, delta(1, &[], "+b"));
    assert_eq!(room.told(&alice), ["delta 1 [] +b"]);
    bob.state().unseen.clear();
    room.pass(500);
    assert_eq!(
        without_users(room.told(&bob)),
        ["node 1 COMMON [] one", "delta 1 [] +a", "delta 1 [] +b"]
    );
}

#[test]
fn a_push_that_its_own_delete_overtook_brings_nothing_back() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(1)));
        room.hush(&[&alice, &bob]);
        room.push(&bob, node(1, "COMMON", &[], "zombie"));
        assert_eq!(room.session.node_count(), 2, "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
        // Not even known here yet when the Delete came.
        room.ask(&bob, Request::Delete(id(9)));
        room.hush(&[&bob]);
        room.push(&bob, node(9, "COMMON", &[], "zombie"));
        assert_eq!(room.session.node_count(), 2, "{version}");
    }
}

#[test]
fn a_push_by_somebody_who_has_not_heard_of_the_delete_brings_nothing_back() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, Request::Delete(id(1)));
        bob.state().unseen.insert(id(1));
        room.hush(&[&alice]);
        room.push(&bob, node(1, "COMMON", &[], "zombie"));
        assert_eq!(room.session.node_count(), 2, "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
        bob.state().unseen.clear();
        room.pass(700);
        assert!(
            without_users(room.told(&bob)).contains(&"delete 1".to_owned()),
            "{version}"
        );
        room.hush(&[&alice]);
        room.push(&bob, node(1, "bob", &[], "made anew"));
        assert_eq!(room.session.node_count(), 3, "{version}");
        assert_eq!(room.told(&alice)[0], "node 1 bob [] made anew", "{version}");
    }
}

/// Whether a push soon after a Delete was sent before or after it is a guess. If it was after
/// (undo), the sender has a node nobody else has, unless it is told that it is gone.
#[test]
fn whose_new_node_is_taken_for_an_old_push_is_told() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(1)));
        room.hush(&[&alice, &bob]);
        room.pass(500);
        room.push(&bob, node(1, "COMMON", &[], "undone"));
        let kept = room.session.node_count() == 3;
        let told = without_users(room.told(&bob)).contains(&"delete 1".to_owned());
        assert!(kept || told, "{version}: bob alone has node 1");
    }
}

/// 20 MB on a slow line take longer than any Delete that follows them.
#[test]
fn a_push_long_after_its_own_delete_is_in_all_or_none() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&bob, Request::Delete(id(1)));
        room.hush(&[&alice, &bob]);
        room.pass(5000);
        room.push(&bob, node(1, "COMMON", &[], "late"));
        let kept = room.session.node_count() == 3;
        let told = without_users(room.told(&bob)).contains(&"node 1 COMMON [] late".to_owned());
        assert!(!kept || told, "{version}: bob alone lacks node 1");
    }
}

#[test]
fn growth_beyond_the_limit_is_refused_and_taken_back() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&bob, node(1, "COMMON", &[], &"x".repeat(2 << 20)));
        assert_eq!(
            room.told(&bob),
            ["node 1 COMMON [] one", "right 1 COMMON"],
            "{version}"
        );
        room.push(&bob, node(4, "COMMON", &[], &"x".repeat(2 << 20)));
        assert_eq!(room.session.node_count(), 3, "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
        assert_eq!(room.counters.value(Count::RefusedFull), 2);
    }
}

#[test]
fn dependencies_count_as_growth() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let many: Vec<u32> = (1000..40_000).collect();
        room.push(&bob, node(4, "COMMON", &many, "small"));
        assert_eq!(room.session.node_count(), 3, "{version}");
        assert!(room.told(&alice).is_empty(), "{version}");
    }
}

#[test]
fn metadata_goes_as_each_generation_has_it() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let data = |key: &str, n| Request::Metadata(Value::Dict(Dict::new().with(key, n)));
        room.ask(&bob, data("frame_current", Value::Int(1)));
        if row(version).generation >= 9 {
            let told = room.told(&alice);
            assert!(told[0].starts_with("metadata bob ") && told[0].contains("frame_current"));
            assert!(room.told(&bob).is_empty(), "{version}");
        } else {
            assert_eq!(
                room.told(&alice),
                room.told(&bob),
                "{version}: the users dict to all"
            );
        }
        // Merged, not replaced; and a newcomer sees all of it.
        room.ask(&bob, data("scene_current", Value::str("Scene")));
        let eve = room.enter(auth("eve", version));
        room.pass(1100);
        let users = eve.state().users.clone().unwrap();
        let record = users.as_dict().unwrap().get("bob").unwrap().clone();
        let metadata = record.as_dict().unwrap().get("metadata").unwrap().clone();
        let metadata = metadata.as_dict().unwrap();
        assert_eq!(
            metadata.get("frame_current").unwrap().as_i64(),
            Some(1),
            "{version}"
        );
        assert_eq!(
            metadata.get("scene_current").unwrap().as_str(),
            Some("Scene")
        );
    }
}

#[test]
fn metadata_beyond_the_limit_is_refused() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let big = Value::str("x".repeat(2 << 20));
        room.ask(
            &bob,
            Request::Metadata(Value::Dict(Dict::new().with("a", big))),
        );
        let many: Dict = (0..2000).map(|key| (key, Value::None)).collect();
        room.ask(&bob, Request::Metadata(Value::Dict(many)));
        let large = Value::list(vec![Value::None; 1 << 17]);
        room.ask(
            &bob,
            Request::Metadata(Value::Dict(Dict::new().with("a", large))),
        );
        assert!(room.told(&alice).is_empty(), "{version}");
        assert_eq!(room.counters.value(Count::RefusedMetadata), 3);
    }
}

#[test]
fn queued_metadata_is_replaced_by_all_of_it() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    let data = |key: &str| Request::Metadata(Value::Dict(Dict::new().with(key, Value::Int(1))));
    room.ask(&bob, data("first"));
    room.pass(1);
    room.hush(&[&alice]);
    alice.state().metadata.insert("bob".to_owned());
    room.ask(&bob, data("second"));
    let told = room.told(&alice);
    assert!(
        told[0].contains("first") && told[0].contains("second"),
        "{told:?}"
    );
}

/// A megabyte of a user that has to be told again costs no more for each byte that changes in it.
#[test]
fn large_metadata_is_not_told_again_for_each_small_update() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    let data = |key: &str, value| Request::Metadata(Value::Dict(Dict::new().with(key, value)));
    let large = || Value::str("x".repeat(900_000));
    alice.state().metadata.insert("bob".to_owned());
    room.ask(&bob, data("large", large()));
    assert_eq!(room.told(&alice).len(), 1);
    for frame in 0..100 {
        room.ask(&bob, data("frame", Value::Int(frame)));
        room.ask(&bob, data("scene", Value::Int(-frame)));
    }
    assert!(room.told(&alice).is_empty());
    room.pass(40);
    let told = room.told(&alice);
    assert_eq!(told.len(), 1, "{}", told.len());
    for last in ["large", "99", "-99"] {
        assert!(told[0].contains(last));
    }
    // What rests is what was told, and to whom nothing waits only what is new is told.
    alice.state().metadata.clear();
    room.pass(40);
    room.ask(&bob, data("frame", Value::Int(1)));
    room.pass(1);
    room.ask(&bob, data("frame", Value::Int(2)));
    let told = room.told(&alice);
    assert_eq!(told.len(), 2);
    assert!(told.iter().all(|line| line.len() < 1000));
}

/// News that were to be told in a moment go with their user.
#[test]
fn metadata_that_rests_is_forgotten_with_its_user() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    let data = |key: &str, value| Request::Metadata(Value::Dict(Dict::new().with(key, value)));
    room.ask(&bob, data("large", Value::str("x".repeat(900_000))));
    room.ask(&bob, data("frame", Value::Int(1)));
    assert_eq!(room.told(&alice).len(), 1);
    room.ask(&alice, Request::Kick { user: "bob".into() });
    assert_eq!(room.session.user_count(), 1);
    room.pass(2000);
    assert!(room.told(&alice).iter().all(|line| !line.contains("frame")));
}

#[test]
fn a_measured_latency_is_shown_soon() {
    let (mut room, alice, bob) = Room::busy("0.1.31");
    bob.state().round_trip = Some(Duration::from_millis(40));
    room.pass(1100);
    assert!(room.told(&alice).iter().any(|l| l.starts_with("users")));
    let users = alice.state().users.clone().unwrap();
    let record = users.as_dict().unwrap().get("bob").unwrap().clone();
    let latency = record.as_dict().unwrap().get("latency").unwrap().as_i64();
    assert_eq!(latency, Some(40));
}

/// What changes a node must not get there when that may just have been deleted.
#[test]
fn who_may_take_no_change_of_a_node_gets_it_whole_a_round_trip_later() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    let eve = room.enter(auth("eve", "0.9.11"));
    room.join(&eve);
    room.hush(&[&alice, &bob, &eve]);
    bob.state().deleted.insert(id(1));
    for text in ["+a", "+b"] {
        room.update(&alice, delta(1, &[], text));
    }
    room.pass(200);
    assert!(room.told(&bob).is_empty());
    assert_eq!(room.told(&eve), ["delta 1 [] +a", "delta 1 [] +b"]);
    // Nor when it is sent again.
    room.pass(100);
    assert_eq!(room.told(&bob), ["node 1 COMMON [] one"]);
    bob.state().deleted.clear();
    room.pass(300);
    let told = room.told(&bob);
    assert_eq!(
        told,
        ["node 1 COMMON [] one", "delta 1 [] +a", "delta 1 [] +b"]
    );
    room.pass(1000);
    assert!(without_users(room.told(&bob)).is_empty());
}
