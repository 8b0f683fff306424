//! Leaving and coming back.

use super::room::{Recorder, Room, VERSIONS, admin_auth, auth, delta, id, node, without_users};
use crate::counters::Count;
use crate::session::Event;
use crate::session::event::End;
use crate::session::outlet::Repeat;
use crate::wire::command::Request;
use crate::wire::role::Role;

/// Every way to go, for bob; alice is admin.
#[derive(Clone, Copy, Debug)]
enum Way {
    Goodbye,
    Close,
    Reset,
    Silence,
    Kick,
    Stall,
    Misuse,
    Overfull,
    Again,
}

const WAYS: [Way; 9] = [
    Way::Goodbye,
    Way::Close,
    Way::Reset,
    Way::Silence,
    Way::Kick,
    Way::Stall,
    Way::Misuse,
    Way::Overfull,
    Way::Again,
];

fn go(room: &mut Room, alice: &Recorder, bob: &Recorder, way: Way) {
    let unlinked = |role, end| Event::Unlinked { role, end };
    match way {
        Way::Goodbye => {
            room.ask(bob, Request::Disconnect);
            room.pass(200);
        }
        Way::Close => {
            room.unlink(bob, Role::Command, End::Closed);
            room.pass(1000);
        }
        Way::Reset => {
            room.unlink(bob, Role::Command, End::Broken);
            room.pass(60_000);
        }
        Way::Silence => {
            bob.state().heard = Some(room.now());
            room.pass(60_000);
        }
        Way::Kick => room.ask(
            alice,
            Request::Kick {
                user: "bob".to_owned(),
            },
        ),
        Way::Stall => room.event(bob, unlinked(Role::Subscriber, End::Stalled)),
        Way::Misuse => room.event(bob, unlinked(Role::Publisher, End::Misused)),
        Way::Overfull => {
            bob.state().overfull = true;
            room.pass(1100);
        }
        Way::Again => {
            let version = room.version;
            room.ask(bob, Request::Auth(auth("robert", version)));
        }
    }
}

#[test]
fn whatever_the_way_nodes_are_free_and_the_others_know() {
    for version in VERSIONS {
        for way in WAYS {
            let (mut room, alice, bob) = Room::busy(version);
            room.push(&bob, node(4, "bob", &[], "four"));
            room.ask(
                &bob,
                Request::Right {
                    nodes: vec![id(1)],
                    owner: "bob".to_owned(),
                },
            );
            let eve = room.enter(auth("eve", version));
            room.join(&eve);
            let joining = room.enter(auth("ian", version));
            room.catalog(&joining);
            room.get(&joining, 4);
            room.hush(&[&alice, &bob, &eve, &joining]);
            go(&mut room, &alice, &bob, way);
            for peer in [&alice, &eve] {
                let mut told = room.told(peer);
                let users = told.iter().rfind(|l| l.starts_with("users")).unwrap();
                assert!(!users.contains("bob"), "{version} {way:?}: {users}");
                told.retain(|line| line.starts_with("right"));
                told.sort();
                assert_eq!(
                    told,
                    ["right 1 COMMON", "right 4 COMMON"],
                    "{version} {way:?}"
                );
            }
            for n in [3, 2, 1] {
                room.get(&joining, n);
            }
            room.all_fetched(&joining);
            let told = room.told(&joining);
            assert!(
                told.contains(&"right 4 COMMON".to_owned()),
                "{version} {way:?}"
            );
            assert!(
                told.contains(&"node 1 COMMON [] one".to_owned()),
                "{version} {way:?}"
            );
            assert_eq!(room.counters.value(Count::Leaves), 1);
            // The name is free.
            let again = room.enter(auth("bob", version));
            assert!(
                room.told(&again).contains(&"auth RUNNING".to_owned()),
                "{version} {way:?}"
            );
        }
    }
}

#[test]
fn the_last_users_nodes_are_free_too() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Closed);
        room.unlink(&alice, Role::Command, End::Closed);
        room.pass(1000);
        assert_eq!(room.session.user_count(), 0);
        let eve = room.enter(auth("eve", version));
        assert!(
            room.join(&eve)
                .contains(&"node 2 COMMON [1] two".to_owned()),
            "{version}"
        );
    }
}

#[test]
fn a_good_bye_is_answered_after_the_client_expects_it() {
    for version in ["0.0.3", "0.0.11"] {
        let (mut room, _, bob) = Room::busy(version);
        room.ask(&bob, Request::Disconnect);
        room.pass(50);
        assert!(room.told(&bob).is_empty(), "{version}");
        room.pass(100);
        assert_eq!(room.told(&bob), ["bye ended by user"], "{version}");
    }
}

#[test]
fn a_closed_link_frees_the_name_within_a_second_a_reset_after_the_grace() {
    for version in VERSIONS {
        let (mut room, _, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Closed);
        room.pass(1000);
        assert_eq!(room.session.user_count(), 1, "{version}");
        let (mut room, _, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Broken);
        room.pass(1000);
        assert_eq!(room.session.user_count(), 2, "{version}");
    }
}

/// The newest clients never open a link again, so nothing is gained by waiting for one.
#[test]
fn a_reset_link_of_the_newest_clients_frees_the_name_at_once() {
    const NEWEST: &str = "0.10.2";
    let mut room = Room::new(NEWEST);
    let alice = room.stranger().over_the_framed_transport();
    room.ask(&alice, Request::Auth(admin_auth("alice", NEWEST)));
    room.pass(100);
    assert_eq!(room.session.user_count(), 1);
    room.unlink(&alice, Role::Command, End::Broken);
    room.pass(1000);
    assert_eq!(room.session.user_count(), 0);
}

#[test]
fn a_link_that_comes_back_in_time_loses_nothing() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.pass(5000);
        room.pass(500);
        // Under way when the link broke, and after.
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        room.unlink(&bob, Role::Command, End::Broken);
        room.unlink(&bob, Role::Subscriber, End::Broken);
        room.push(&alice, node(2, "alice", &[], "due"));
        room.push(&alice, node(4, "alice", &[], "quattro"));
        room.ask(&alice, Request::Delete(id(3)));
        room.ask(
            &alice,
            Request::Right {
                nodes: vec![id(4)],
                owner: "COMMON".to_owned(),
            },
        );
        room.pass(1000);
        room.hush(&[&alice, &bob]);
        for role in [Role::Command, Role::Subscriber] {
            bob.state().linked[role.index()] = true;
            room.event(&bob, Event::Linked { role });
        }
        assert!(
            room.told(&bob).is_empty() && bob.state().held,
            "{version}: a login may come"
        );
        room.pass(1000);
        assert!(!bob.state().held);
        let told = room.told(&bob);
        for line in [
            "node 1 COMMON [] uno",
            "node 2 alice [] due",
            "node 4 COMMON [] quattro",
            "right 4 COMMON",
            "delete 3",
        ] {
            let times = told.iter().filter(|l| *l == line).count();
            assert_eq!(times, 1, "{version} {line}: {told:?}");
        }
        assert!(told.iter().any(|l| l.starts_with("users")), "{version}");
        assert_eq!(room.session.user_count(), 2);
        room.pass(60_000);
        assert_eq!(
            room.session.user_count(),
            2,
            "{version}: the cut is forgotten"
        );
    }
}

#[test]
fn deltas_are_sent_again_as_whole_states() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.pass(5000);
    room.update(&alice, delta(1, &[], "+a"));
    room.unlink(&bob, Role::Subscriber, End::Broken);
    room.update(&alice, delta(1, &[], "+b"));
    room.hush(&[&bob]);
    let role = Role::Subscriber;
    room.event(&bob, Event::Linked { role });
    room.pass(1000);
    let told = without_users(room.told(&bob));
    assert_eq!(
        told,
        [
            "node 1 COMMON [] one",
            "delta 1 [] +a",
            "delta 1 [] +b",
            "right 1 COMMON"
        ]
    );
}

#[test]
fn a_command_over_the_new_link_goes_on_at_once() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Broken);
        let role = Role::Command;
        room.event(&bob, Event::Linked { role });
        room.hush(&[&alice, &bob]);
        room.ask(&bob, Request::Delete(id(3)));
        assert!(!bob.state().held, "{version}");
        assert_eq!(room.told(&alice), ["delete 3"], "{version}");
    }
}

#[test]
fn a_login_over_the_new_link_starts_over() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Broken);
        let role = Role::Command;
        room.event(&bob, Event::Linked { role });
        room.hush(&[&alice, &bob]);
        room.ask(&bob, Request::Auth(auth("bob", version)));
        room.pass(5000);
        let told = room.told(&bob);
        let auths: Vec<_> = told.iter().filter(|l| l.starts_with("auth")).collect();
        assert_eq!(auths, ["auth RUNNING"], "{version}");
        assert!(!told.iter().any(|l| l.starts_with("node")), "{version}");
        assert_eq!(room.join(&bob).len(), 3, "{version}");
    }
}

#[test]
fn a_join_cut_in_the_middle_ends_with_a_reason() {
    for version in VERSIONS {
        let (mut room, ..) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.get(&eve, 3);
        room.unlink(&eve, Role::Command, End::Broken);
        room.hush(&[&eve]);
        let role = Role::Command;
        room.event(&eve, Event::Linked { role });
        room.pass(2000);
        let told = room.told(&eve);
        assert!(told[0].starts_with("bye "), "{version}: {told:?}");
    }
}

#[test]
fn links_that_never_came_are_named_by_their_port() {
    for version in VERSIONS {
        let three = version == "0.9.11";
        for (role, port) in [
            (Role::Subscriber, "5556"),
            (Role::Ttl, if three { "5557" } else { "5558" }),
        ] {
            let (mut room, _, bob) = Room::busy(version);
            bob.state().was_linked[role.index()] = false;
            bob.state().linked[role.index()] = false;
            room.pass(60_000);
            let told = without_users(room.told(&bob));
            assert_eq!(told.len(), 1, "{version}: {told:?}");
            assert!(
                told[0].starts_with("bye ") && told[0].contains(port),
                "{told:?}"
            );
            assert_eq!(room.session.user_count(), 1);
        }
        // A PUSH link is known only when it is used.
        let (mut room, _, bob) = Room::busy(version);
        bob.state().was_linked[Role::Publisher.index()] = false;
        bob.state().linked[Role::Publisher.index()] = false;
        room.pass(60_000);
        assert_eq!(room.session.user_count(), 2, "{version}");
    }
}

#[test]
fn any_byte_on_any_link_is_a_sign_of_life() {
    for version in VERSIONS {
        let (mut room, _, bob) = Room::busy(version);
        for _ in 0..30 {
            bob.state().heard = Some(room.now());
            room.pass(4000);
        }
        assert_eq!(room.session.user_count(), 2, "{version}");
    }
}

#[test]
fn frames_that_may_have_crossed_are_sent_again_if_they_still_hold() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let crossed = |n, data| Event::Crossed(Repeat { node: id(n), data });
        room.event(&bob, crossed(2, false));
        room.event(&bob, crossed(3, true));
        room.ask(&alice, Request::Delete(id(1)));
        room.event(&bob, crossed(1, false));
        room.hush(&[&alice, &bob]);
        room.pass(299);
        assert!(
            without_users(room.told(&bob)).is_empty(),
            "{version}: after a round trip"
        );
        room.pass(10);
        let told = without_users(room.told(&bob));
        assert_eq!(
            told,
            [
                "right 2 alice",
                "node 3 COMMON [] three",
                "right 3 COMMON",
                "delete 1"
            ],
            "{version}"
        );
    }
}

#[test]
fn the_end_of_the_server_is_told_to_everybody() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let eve = room.enter(admin_auth("eve", version));
        let now = room.now();
        room.session.dismiss_all("the server is shutting down", now);
        for peer in [&alice, &bob, &eve] {
            let told = room.told(peer);
            assert!(
                told.contains(&"bye the server is shutting down".to_owned()),
                "{version}"
            );
        }
        assert_eq!(room.session.user_count(), 0);
    }
}

/// Pushes and heartbeats go on over the other links while this one is gone.
#[test]
fn what_was_under_way_at_the_cut_is_sent_again_whatever_was_heard_since() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.pass(5000);
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        room.pass(50);
        room.unlink(&bob, Role::Subscriber, End::Broken);
        room.pass(500);
        room.hush(&[&alice, &bob]);
        let role = Role::Subscriber;
        room.event(&bob, Event::Linked { role });
        room.pass(1000);
        let told = room.told(&bob);
        assert!(
            told.contains(&"node 1 COMMON [] uno".to_owned()),
            "{version}: {told:?}"
        );
    }
}
