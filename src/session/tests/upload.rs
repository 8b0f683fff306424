//! The first client brings the nodes.

use super::room::{Room, VERSIONS, admin_auth, auth, id, node, row, without_users};
use crate::config::Upload;
use crate::counters::Count;
use crate::session::event::End;
use crate::wire::command::Request;
use crate::wire::role::Role;

#[test]
fn accepted_done_and_then_the_catalog_for_those_who_wait() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(auth("bob", version));
        room.hush(&[&alice, &bob]);
        room.offer(&alice, &[1, 2]);
        if row(version).slow_answers {
            room.pass(99);
            assert!(
                room.told(&alice).is_empty(),
                "{version}: too fast for its client"
            );
            room.pass(101);
        }
        assert_eq!(without_users(room.told(&alice)), ["accepted"], "{version}");
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        assert!(without_users(room.told(&alice)).is_empty());
        assert_eq!(room.session.node_count(), 0, "invisible until it is whole");
        room.ask(&alice, Request::UploadEnd);
        assert!(
            without_users(room.told(&alice)).is_empty(),
            "END may overtake a node"
        );
        assert!(without_users(room.told(&bob)).is_empty(), "{version}");
        room.bring(&alice, node(2, "alice", &[1], "two"));
        let told = room.told(&alice);
        assert_eq!(told[0], "done", "{version}");
        if row(version).generation >= 3 {
            assert_eq!(told[1..], ["users alice!/2 bob/10"], "{version}");
        } else {
            assert_eq!(told.len(), 1, "{version}: {told:?}");
        }
        assert_eq!(without_users(room.told(&bob)), ["catalog 1,2"], "{version}");
        room.get(&bob, 2);
        assert_eq!(room.told(&bob), ["node 2 alice [1] two"], "{version}");
    }
}

#[test]
fn the_end_after_the_last_node_shows_the_uploader_as_active() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        room.hush(&[&alice]);
        room.ask(&alice, Request::UploadEnd);
        let expected = match row(version).generation {
            1 | 2 => vec![],
            _ => vec!["users alice!/2".to_owned()],
        };
        assert_eq!(room.told(&alice), expected, "{version}");
        room.ask(&alice, Request::UploadEnd);
        assert!(room.told(&alice).is_empty());
    }
}

#[test]
fn only_admins_unless_anyone_may() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let bob = room.enter(auth("bob", version));
        room.offer(&bob, &[1]);
        room.pass(200);
        assert_eq!(
            without_users(room.told(&bob)).pop().unwrap(),
            "rejected",
            "{version}"
        );
        assert_eq!(room.counters.value(Count::RefusedUpload), 1);
        // Still there, and served when somebody else has uploaded.
        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
        assert_eq!(without_users(room.told(&bob)), ["catalog 1"], "{version}");

        let mut room = Room::with(version, |s| s.upload = Upload::Anyone);
        let bob = room.enter(auth("bob", version));
        room.upload(&bob, &[node(1, "COMMON", &[], "one")]);
        assert_eq!(room.session.node_count(), 1, "{version}");
    }
}

#[test]
fn the_second_offer_is_rejected_and_served_afterwards() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(admin_auth("bob", version));
        room.hush(&[&alice, &bob]);
        room.offer(&alice, &[1]);
        room.offer(&bob, &[7, 8]);
        room.pass(200);
        assert_eq!(without_users(room.told(&bob)), ["rejected"], "{version}");
        room.bring(&bob, node(7, "COMMON", &[], "seven"));
        room.ask(&bob, Request::UploadEnd);
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        room.ask(&alice, Request::UploadEnd);
        assert_eq!(
            without_users(room.told(&bob)),
            ["catalog 1"],
            "{version}: DONE is not his"
        );
        assert_eq!(
            without_users(room.told(&alice)),
            ["accepted", "done"],
            "{version}"
        );
    }
}

#[test]
fn an_offer_that_crosses_the_end_of_an_upload_is_rejected_first() {
    for version in VERSIONS.into_iter().filter(|v| row(v).slow_answers) {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(admin_auth("bob", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        room.hush(&[&alice, &bob]);
        room.offer(&bob, &[7]);
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        assert!(
            without_users(room.told(&bob)).is_empty(),
            "not between INIT and its answer"
        );
        room.pass(200);
        assert_eq!(
            without_users(room.told(&bob)),
            ["rejected", "catalog 1"],
            "{version}"
        );
    }
}

#[test]
fn an_offer_in_a_running_session_is_rejected() {
    for version in VERSIONS {
        let (mut room, ..) = Room::busy(version);
        let eve = room.enter(admin_auth("eve", version));
        room.hush(&[&eve]);
        room.offer(&eve, &[9]);
        room.pass(200);
        assert_eq!(without_users(room.told(&eve))[0], "rejected", "{version}");
        assert_eq!(room.session.node_count(), 3, "{version}");
    }
}

/// An offer may cross a catalog, but not one after the other: a catalog is long, and who asks for no node
/// of it could have any number.
#[test]
fn whoever_goes_on_offering_gets_no_further_catalogs() {
    for version in VERSIONS {
        let (mut room, ..) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.hush(&[&eve]);
        for _ in 0..4 {
            room.offer(&eve, &[9]);
            room.pass(200);
        }
        let told = room.told(&eve);
        let count = |word| told.iter().filter(|line| line.starts_with(word)).count();
        assert_eq!((count("rejected"), count("catalog")), (4, 2), "{version}");
    }
}

#[test]
fn whatever_way_the_uploader_goes_somebody_else_can_upload() {
    for version in VERSIONS {
        for way in 0..4 {
            let mut room = Room::new(version);
            let alice = room.enter(admin_auth("alice", version));
            let bob = room.enter(admin_auth("bob", version));
            room.offer(&alice, &[1, 2]);
            room.pass(200);
            room.bring(&alice, node(1, "COMMON", &[], "one"));
            room.hush(&[&alice, &bob]);
            match way {
                0 => {
                    room.unlink(&alice, Role::Command, End::Closed);
                    room.pass(1000);
                }
                1 => room.ask(
                    &bob,
                    Request::Kick {
                        user: "alice".to_owned(),
                    },
                ),
                2 => {
                    let then = room.now();
                    alice.state().worked = Some(then);
                    room.pass(32_000);
                    assert!(room.told(&alice).iter().any(|l| l.starts_with("bye ")));
                }
                _ => room.event(
                    &alice,
                    crate::session::Event::Unlinked {
                        role: Role::Subscriber,
                        end: End::Misused,
                    },
                ),
            }
            assert!(
                without_users(room.told(&bob)).is_empty(),
                "bob stays in the lobby"
            );
            assert_eq!(room.session.user_count(), 1, "{version} {way}");
            let eve = room.enter(auth("eve", version));
            assert!(
                room.told(&eve).contains(&"auth LOBBY".to_owned()),
                "{version} {way}"
            );
            room.upload(&bob, &[node(5, "COMMON", &[], "five")]);
            assert_eq!(
                without_users(room.told(&eve)),
                ["catalog 5"],
                "{version} {way}"
            );
            assert_eq!(room.session.node_count(), 1, "nothing of the first is left");
        }
    }
}

#[test]
fn a_stall_without_publisher_link_names_its_port() {
    for version in ["0.0.20", "0.1.3"] {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        let then = room.now();
        alice.state().worked = Some(then);
        alice.state().linked[Role::Publisher.index()] = false;
        room.hush(&[&alice]);
        room.pass(32_000);
        let told = without_users(room.told(&alice));
        assert!(
            told[0].starts_with("bye ") && told[0].contains("5557"),
            "{told:?}"
        );
    }
}

#[test]
fn what_was_not_announced_waits_until_all_is_there() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        room.push(&alice, node(2, "alice", &[], "two"));
        room.push(&alice, node(2, "alice", &[], "zwei"));
        room.ask(
            &alice,
            Request::Right {
                nodes: vec![id(1)],
                owner: "alice".to_owned(),
            },
        );
        room.hush(&[&alice]);
        assert_eq!(room.session.node_count(), 0);
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        room.ask(&alice, Request::UploadEnd);
        assert_eq!(room.session.node_count(), 2, "{version}");
        let bob = room.enter(auth("bob", version));
        assert_eq!(
            room.join(&bob),
            ["node 2 alice [] zwei", "node 1 alice [] one"],
            "{version}"
        );
    }
}

#[test]
fn an_announced_node_counts_once_and_only_from_the_uploader() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(auth("bob", version));
        room.offer(&alice, &[1, 2]);
        room.pass(200);
        room.bring(&bob, node(1, "COMMON", &[], "evil"));
        room.bring(&alice, node(1, "bob", &[], "one"));
        room.hush(&[&alice, &bob]);
        room.bring(&bob, node(2, "COMMON", &[], "evil"));
        room.ask(&bob, Request::UploadEnd);
        assert_eq!(room.session.node_count(), 0);
        room.bring(&alice, node(2, "COMMON", &[], "two"));
        room.ask(&alice, Request::UploadEnd);
        room.get(&bob, 1);
        let told = without_users(room.told(&bob));
        assert_eq!(told, ["catalog 1,2", "node 1 COMMON [] one"], "{version}");
    }
}

#[test]
fn an_empty_upload_makes_an_empty_session_that_can_be_joined_later() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(auth("bob", version));
        room.hush(&[&alice, &bob]);
        room.upload(&alice, &[]);
        let told = without_users(room.told(&bob));
        if version == "0.9.11" {
            assert_eq!(told, ["catalog 0"], "a placeholder");
            room.get(&bob, 0);
            assert_eq!(without_users(room.told(&bob)), ["removed"]);
            room.all_fetched(&bob);
            room.push(&alice, node(1, "COMMON", &[], "one"));
            assert_eq!(without_users(room.told(&bob)), ["node 1 COMMON [] one"]);
        } else {
            assert!(told.is_empty(), "{version}: {told:?}");
            room.push(&alice, node(1, "COMMON", &[], "one"));
            assert_eq!(without_users(room.told(&bob)), ["catalog 1"], "{version}");
        }
    }
}

/// Nobody is left who could make a first node, and whoever comes is told to wait for one.
#[test]
fn an_empty_session_without_active_users_can_be_filled_again() {
    for version in VERSIONS.into_iter().filter(|v| *v != "0.9.11") {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &[]);
        let bob = room.enter(admin_auth("bob", version));
        room.ask(&bob, Request::CatalogRequest);
        room.unlink(&alice, Role::Command, End::Closed);
        room.pass(1000);
        let eve = room.enter(admin_auth("eve", version));
        assert!(
            room.told(&eve).contains(&"auth LOBBY".to_owned()),
            "{version}"
        );
        room.upload(&eve, &[node(1, "COMMON", &[], "one")]);
        assert!(
            room.told(&bob).contains(&"catalog 1".to_owned()),
            "{version}"
        );
    }
}

#[test]
fn an_upload_beyond_the_limits_is_refused() {
    for version in VERSIONS {
        let mut room = Room::with(version, |s| s.max_session = 1000);
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1, 2]);
        room.pass(200);
        room.bring(&alice, node(1, "COMMON", &[], &"x".repeat(600)));
        room.hush(&[&alice]);
        room.bring(&alice, node(2, "COMMON", &[], &"x".repeat(600)));
        let told = without_users(room.told(&alice));
        assert!(told[0].starts_with("bye "), "{version} {told:?}");
        assert_eq!(
            (room.session.user_count(), room.session.node_count()),
            (0, 0)
        );
        let mut room = Room::with(version, |s| s.max_nodes = 1);
        let alice = room.enter(admin_auth("alice", version));
        room.offer(&alice, &[1, 2]);
        room.pass(200);
        assert_eq!(without_users(room.told(&alice)).pop().unwrap(), "rejected");
    }
}

#[test]
fn what_waits_for_an_upload_and_the_upload_share_the_limit() {
    for version in VERSIONS {
        let mut room = Room::with(version, |s| s.max_session = 2000);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(auth("bob", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        // Nobody but the uploader has joined, so that nothing of the others' would count in the end.
        room.push(&bob, node(2, "COMMON", &[], &"b".repeat(900)));
        assert_eq!(room.counters.value(Count::RefusedUpdate), 1, "{version}");
        room.push(&alice, node(3, "COMMON", &[], &"a".repeat(900)));
        room.hush(&[&alice, &bob]);
        room.bring(&alice, node(1, "COMMON", &[], &"x".repeat(900)));
        let told = without_users(room.told(&alice));
        assert!(told[0].starts_with("bye "), "{version} {told:?}");
    }
}

#[test]
fn what_waits_for_an_upload_counts_with_all_it_takes() {
    const LIMIT: usize = 1 << 20;
    let mut room = Room::with("0.9.11", |s| s.max_session = LIMIT);
    let alice = room.enter(admin_auth("alice", "0.9.11"));
    room.offer(&alice, &[1]);
    room.pass(200);
    let owner = "x".repeat(1024);
    let mut kept = 0;
    while room.counters.value(Count::RefusedFull) == 0 {
        kept += owner.len();
        let (nodes, owner) = (Vec::new(), owner.clone());
        room.ask(&alice, Request::Right { nodes, owner });
        assert!(kept <= LIMIT, "{kept}");
    }
}

/// Somebody who has not even joined would keep the host's scene out.
#[test]
fn what_others_send_during_an_upload_does_not_count_against_it() {
    for version in VERSIONS {
        let mut room = Room::with(version, |s| s.max_session = 2000);
        let alice = room.enter(admin_auth("alice", version));
        let bob = room.enter(auth("bob", version));
        room.offer(&alice, &[1]);
        room.pass(200);
        room.hush(&[&alice, &bob]);
        for _ in 0..100 {
            room.ask(&bob, Request::Delete(id(1)));
            let (nodes, owner) = (vec![id(1)], "bob".to_owned());
            room.ask(&bob, Request::Right { nodes, owner });
        }
        room.bring(&alice, node(1, "alice", &[], "one"));
        assert_eq!(without_users(room.told(&alice)), ["done"], "{version}");
        room.hush(&[&bob]);
        room.get(&bob, 1);
        assert_eq!(room.told(&bob), ["node 1 alice [] one"], "{version}");
        let refused = [Count::RefusedDelete, Count::RefusedRight];
        for refused in refused.map(|count| room.counters.value(count)) {
            assert_eq!(refused, 100, "{version}");
        }
    }
}

#[test]
fn a_fault_in_what_waits_for_an_upload_costs_nothing_else() {
    for fault in ["right 8 COMMON", "catalog 1,2"] {
        let mut room = Room::new("0.9.11");
        let alice = room.enter(admin_auth("alice", "0.9.11"));
        let bob = room.enter(auth("bob", "0.9.11"));
        room.offer(&alice, &[1, 2]);
        room.pass(200);
        room.bring(&alice, node(1, "COMMON", &[], "one"));
        room.push(&alice, node(7, "alice", &[], "seven"));
        room.push(&alice, node(8, "bob", &[], "not his yet"));
        room.push(&alice, node(9, "alice", &[], "nine"));
        room.ask(&alice, Request::Delete(id(7)));
        for peer in [&alice, &bob] {
            peer.state().fails_at = Some(fault);
        }
        room.bring(&alice, node(2, "COMMON", &[], "two"));
        let there: Vec<_> = [7, 8, 9]
            .into_iter()
            .filter(|n| room.session.replicas.contains(id(*n)))
            .collect();
        assert_eq!(there, [8, 9], "{fault}");
        assert_eq!(room.counters.value(Count::Panics), 1, "{fault}");
    }
}
