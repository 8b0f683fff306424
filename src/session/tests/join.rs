//! Late joiners.

use super::room::{Room, VERSIONS, auth, delta, id, node, row, without_users};
use crate::session::Event;
use crate::wire::command::Request;
use crate::wire::dialect::Live;

fn have_deltas(version: &str) -> bool {
    row(version).live != Live::Whole
}

#[test]
fn the_catalog_is_in_order_and_each_get_is_answered_at_once() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        assert_eq!(room.catalog(&eve), [3, 2, 1], "{version}");
        room.get(&eve, 3);
        assert_eq!(room.told(&eve), ["node 3 COMMON [] three"]);
        room.get(&eve, 2);
        assert_eq!(room.told(&eve), ["node 2 alice [1] two"]);
        room.hush(&[&alice, &bob]);
        room.get(&eve, 1);
        room.all_fetched(&eve);
        let told = room.told(&eve);
        assert_eq!(told[0], "node 1 COMMON [] one");
        if row(version).generation >= 3 {
            let users = "users alice!/2 bob/2 eve/2";
            assert_eq!(told[1..], [users], "{version}");
            assert_eq!(room.told(&bob), [users], "{version}");
        } else {
            assert_eq!(told.len(), 1, "{version}");
            assert!(room.told(&bob).is_empty());
        }
    }
}

/// Where a first delta makes a node (G8-G14), the old one may still be there: it is no change of that.
#[test]
fn a_node_made_anew_by_a_delta_takes_the_old_ones_place() {
    for version in ["0.1.42", "0.5.4"] {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.get(&eve, 3);
        room.ask(&bob, Request::Delete(id(3)));
        room.pass(2000);
        room.hush(&[&alice, &bob, &eve]);
        room.update(&alice, delta(3, &[], "anew"));
        assert!(room.session.replicas.contains(id(3)), "{version}");
        let told = without_users(room.told(&bob));
        let whole = told.iter().position(|line| line.contains("new_value"));
        let last = told.iter().rposition(|line| line == "delta 3 [] anew");
        assert!(whole.is_some() && whole < last, "{version}: {told:?}");
        room.get(&eve, 2);
        room.get(&eve, 1);
        room.hush(&[&eve]);
        room.all_fetched(&eve);
        room.pass(5000);
        let told = without_users(room.told(&eve));
        assert!(told[0].contains("new_value"), "{version}: {told:?}");
    }
}

#[test]
fn gets_out_of_turn_are_not_answered() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.hush(&[&eve]);
        room.get(&eve, 1);
        room.all_fetched(&eve);
        assert!(room.told(&eve).is_empty(), "{version}: before the catalog");
        room.catalog(&eve);
        room.get(&eve, 9);
        assert!(room.told(&eve).is_empty(), "{version}: not offered");
        room.get(&eve, 1);
        room.get(&eve, 1);
        assert_eq!(room.told(&eve).len(), 1, "{version}: twice");
        room.ask(&eve, Request::CatalogRequest);
        assert!(room.told(&eve).is_empty(), "{version}: a second catalog");
        room.hush(&[&alice]);
        room.ask(&alice, Request::CatalogRequest);
        room.get(&alice, 1);
        assert!(room.told(&alice).is_empty(), "{version}: active already");
    }
}

#[test]
fn nothing_live_reaches_a_joiner_and_afterwards_everything_once() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        assert!(
            without_users(room.told(&eve))
                .iter()
                .all(|l| l.starts_with("auth"))
        );
        assert_eq!(room.catalog(&eve), [3, 2, 1]);
        room.get(&eve, 3);
        room.hush(&[&eve]);
        // Of a node it has, one it has not, a new one, and rights of all of them.
        room.push(&bob, node(3, "COMMON", &[], "tres"));
        room.push(&bob, node(3, "COMMON", &[1], "trois"));
        room.push(&bob, node(1, "COMMON", &[], "un"));
        room.push(&bob, node(4, "bob", &[3], "quatre"));
        for n in [1, 3] {
            room.ask(
                &bob,
                Request::Right {
                    nodes: vec![id(n)],
                    owner: "bob".to_owned(),
                },
            );
        }
        assert!(room.told(&eve).is_empty(), "{version}");
        room.get(&eve, 2);
        assert_eq!(room.told(&eve), ["node 2 alice [1] two"], "{version}");
        room.get(&eve, 1);
        let mut told = room.told(&eve);
        assert_eq!(told.remove(0), "node 1 bob [] un", "{version}");
        assert!(
            told.is_empty() || !row(version).join_done,
            "{version}: before DONE"
        );
        room.all_fetched(&eve);
        told.extend(without_users(room.told(&eve)));
        let data: Vec<_> = told.iter().filter(|l| l.starts_with("node")).collect();
        assert_eq!(
            data,
            ["node 3 bob [1] trois", "node 4 bob [3] quatre"],
            "{version}"
        );
        let right = told.iter().position(|l| *l == "right 3 bob");
        let node = told.iter().position(|l| l.starts_with("node 3"));
        assert!(right > node, "{version}: {told:?}");
        assert!(
            !told.contains(&"right 1 COMMON".to_owned()),
            "{version}: {told:?}"
        );
    }
}

#[test]
fn deltas_are_never_contained_twice() {
    for version in VERSIONS.into_iter().filter(|v| have_deltas(v)) {
        let (mut room, alice, _) = Room::busy(version);
        room.update(&alice, delta(1, &[], "+a"));
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.update(&alice, delta(1, &[], "+b"));
        let mut told = Vec::new();
        for n in [3, 2, 1] {
            room.get(&eve, n);
        }
        room.update(&alice, delta(1, &[], "+c"));
        told.extend(room.told(&eve));
        assert!(told.iter().all(|l| l.starts_with("node")), "{told:?}");
        room.all_fetched(&eve);
        room.update(&alice, delta(1, &[], "+d"));
        told.extend(without_users(room.told(&eve)));
        told.retain(|line| line.contains(" 1 "));
        assert_eq!(
            told,
            ["node 1 COMMON [] one+a+b", "delta 1 [] +c", "delta 1 [] +d"]
        );
    }
}

#[test]
fn a_node_deleted_before_its_get() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.ask(&alice, Request::Delete(id(2)));
        room.ask(&alice, Request::Delete(id(3)));
        assert!(room.told(&eve).is_empty(), "{version}");
        room.get(&eve, 3);
        room.get(&eve, 2);
        let told = room.told(&eve);
        if version == "0.9.11" {
            assert_eq!(told, ["removed", "removed"]);
        } else {
            // Its dependencies do not matter any more.
            let told: Vec<_> = told.iter().map(|line| line.replace("[1]", "[]")).collect();
            let last = ["node 3 COMMON [] three", "node 2 alice [] two"];
            assert_eq!(told, last, "{version}");
        }
        room.get(&eve, 1);
        let mut told = room.told(&eve);
        assert_eq!(told.remove(0), "node 1 COMMON [] one", "{version}");
        room.all_fetched(&eve);
        told.extend(without_users(room.told(&eve)));
        if version == "0.9.11" {
            assert!(told.is_empty(), "{told:?}");
        } else {
            told.sort();
            assert_eq!(told, ["delete 2", "delete 3"], "{version}");
        }
    }
}

#[test]
fn a_node_deleted_after_its_get() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.get(&eve, 3);
        room.push(&alice, node(3, "COMMON", &[], "tres"));
        room.hush(&[&eve]);
        room.ask(&alice, Request::Delete(id(3)));
        assert!(room.told(&eve).is_empty(), "{version}");
        room.get(&eve, 2);
        room.get(&eve, 1);
        room.all_fetched(&eve);
        let told = without_users(room.told(&eve));
        let expected = ["node 2 alice [1] two", "node 1 COMMON [] one", "delete 3"];
        assert_eq!(told, expected, "{version}");
    }
}

/// A client forgets a dependency when it is told of the Delete; of a node it never had it is not.
#[test]
fn dependencies_on_a_node_deleted_before_its_get_are_gone() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.get(&eve, 2);
        assert_eq!(room.told(&eve), ["node 2 alice [1] two"]);
        room.ask(&alice, Request::Delete(id(1)));
        room.get(&eve, 1);
        room.get(&eve, 3);
        room.all_fetched(&eve);
        let told = without_users(room.told(&eve));
        let told_so = told.contains(&"delete 1".to_owned());
        let sent_anew = told.contains(&"node 2 alice [] two".to_owned());
        assert!(told_so || sent_anew, "{version}: {told:?}");
    }
}

#[test]
fn a_node_deleted_and_made_anew_during_a_join() {
    for version in VERSIONS {
        for fetched in [false, true] {
            let (mut room, alice, _) = Room::busy(version);
            let eve = room.enter(auth("eve", version));
            room.catalog(&eve);
            if fetched {
                room.get(&eve, 3);
            }
            room.ask(&alice, Request::Delete(id(3)));
            room.pass(2000);
            room.push(&alice, node(3, "alice", &[], "trinity"));
            if !fetched {
                room.get(&eve, 3);
            }
            room.get(&eve, 2);
            room.get(&eve, 1);
            room.all_fetched(&eve);
            let told = without_users(room.told(&eve));
            let three: Vec<_> = told.iter().filter(|l| l.contains(" 3")).collect();
            assert!(
                !told.contains(&"delete 3".to_owned()),
                "{version}: {told:?}"
            );
            assert!(
                three.contains(&&"node 3 alice [] trinity".to_owned()),
                "{version}"
            );
        }
    }
}

#[test]
fn an_emptied_session_never_gives_an_empty_catalog() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        for n in 1..=3 {
            room.ask(&alice, Request::Delete(id(n)));
        }
        let eve = room.enter(auth("eve", version));
        assert!(
            room.told(&eve).contains(&"auth RUNNING".to_owned()),
            "{version}"
        );
        room.ask(&eve, Request::CatalogRequest);
        let told = without_users(room.told(&eve));
        if version == "0.9.11" {
            assert_eq!(told, ["catalog 0"]);
            room.push(&alice, node(4, "COMMON", &[], "four"));
            room.get(&eve, 0);
            room.all_fetched(&eve);
            let told = without_users(room.told(&eve));
            assert_eq!(told, ["removed", "node 4 COMMON [] four"]);
        } else {
            assert!(told.is_empty(), "{version} {told:?}");
            room.push(&alice, node(4, "COMMON", &[], "four"));
            assert_eq!(without_users(room.told(&eve)), ["catalog 4"], "{version}");
        }
    }
}

/// Commands and pushes travel on different links: the first push after a join may overtake DONE.
#[test]
fn a_push_that_overtakes_done_counts() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        for n in room.catalog(&eve) {
            room.get(&eve, n);
        }
        room.hush(&[&alice, &eve]);
        room.push(&eve, node(3, "COMMON", &[], "tres"));
        room.push(&eve, node(4, "eve", &[], "four"));
        room.all_fetched(&eve);
        let expected = ["node 3 COMMON [] tres", "node 4 eve [] four"];
        assert_eq!(without_users(room.told(&alice)), expected, "{version}");
        assert!(without_users(room.told(&eve)).is_empty(), "{version}");
        if row(version).generation >= 3 {
            let users = eve.state().users.clone().unwrap();
            let record = users.as_dict().unwrap().get("eve").unwrap().clone();
            let status = record.as_dict().unwrap().get("status").unwrap().as_i64();
            assert_eq!(status, Some(2), "{version}");
        }
    }
}

#[test]
fn a_full_queue_costs_no_update_and_doubles_none() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        bob.state().full = true;
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        room.push(&alice, node(1, "COMMON", &[], "un"));
        room.push(&alice, node(5, "alice", &[6], "five"));
        room.push(&alice, node(6, "COMMON", &[], "six"));
        room.push(&alice, node(7, "COMMON", &[], "seven"));
        room.ask(&alice, Request::Delete(id(7)));
        assert!(
            without_users(room.told(&bob))
                .iter()
                .all(|l| l.starts_with("delete")),
            "{version}"
        );
        bob.state().full = false;
        room.event(&bob, Event::Drained);
        assert_eq!(
            without_users(room.told(&bob)),
            [
                "node 1 COMMON [] un",
                "node 6 COMMON [] six",
                "node 5 alice [6] five"
            ],
            "{version}: present states, after what they need"
        );
    }
}

/// What a peer misses is noted as "the deltas from here on": its own must not be among them.
#[test]
fn deltas_of_somebody_who_has_fallen_behind_do_not_come_back_to_him() {
    for version in VERSIONS.into_iter().filter(|v| have_deltas(v)) {
        let (mut room, alice, bob) = Room::busy(version);
        bob.state().full = true;
        room.update(&alice, delta(1, &[], "+a"));
        room.update(&bob, delta(1, &[], "+b"));
        bob.state().full = false;
        room.event(&bob, Event::Drained);
        let told = without_users(room.told(&bob));
        // He has one+b: either the whole anew, or a's alone (then both end with another order).
        assert_eq!(
            told,
            ["node 1 COMMON [] one", "delta 1 [] +a", "delta 1 [] +b"]
        );
    }
}

/// There may be any number of them while somebody joins and takes for ever.
#[test]
fn what_was_made_and_deleted_meanwhile_is_nothing_to_a_joiner() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        for n in room.catalog(&eve) {
            room.get(&eve, n);
            room.push(&alice, node(10 + n, "COMMON", &[], "new"));
            room.ask(&alice, Request::Delete(id(10 + n)));
        }
        room.hush(&[&eve]);
        room.ask(&alice, Request::Delete(id(3)));
        room.all_fetched(&eve);
        let told = without_users(room.told(&eve));
        assert_eq!(told, ["delete 3"], "{version}");
    }
}
