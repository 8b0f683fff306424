//! What goes on when a link came back: as long as that is open nothing leaves, and what does then
//! builds on nothing that may be lost.

use std::time::Duration;

use super::room::{Recorder, Room, VERSIONS, admin_auth, auth, delta, id, node, without_users};
use crate::config::Config;
use crate::session::Settings;
use crate::session::event::{End, Event};
use crate::session::outlet::Outlet;
use crate::wire::command::Request;
use crate::wire::dialect::{Live, MetadataFanOut};
use crate::wire::pickle::{Dict, Value};
use crate::wire::role::Role;

fn comes_back(room: &mut Room, peer: &Recorder, role: Role) {
    peer.state().linked[role.index()] = true;
    room.event(peer, Event::Linked { role });
}

#[test]
fn metadata_waits_for_the_users_dict() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        if room.dialect().metadata != MetadataFanOut::RelayToOthers {
            continue;
        }
        // The users dict with carol in it goes to a line that is dead already.
        let carol = room.enter(auth("carol", version));
        room.join(&carol);
        room.unlink(&bob, Role::Command, End::Broken);
        room.hush(&[&alice, &bob]);
        comes_back(&mut room, &bob, Role::Command);
        let moves = |frame| {
            let data = Dict::new().with("frame_current", frame);
            Request::Metadata(Value::Dict(data))
        };
        room.ask(&carol, moves(1));
        room.pass(900);
        room.ask(&carol, moves(2));
        let told = room.told(&bob);
        let news: Vec<_> = told
            .iter()
            .filter_map(|line| line.split(' ').next())
            .collect();
        assert_eq!(news, ["users", "metadata"], "{version}: {told:?}");
    }
}

#[test]
fn a_delta_goes_after_the_state_it_builds_on() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        if room.dialect().live == Live::Whole {
            continue;
        }
        room.pass(60_000);
        // It goes to a line that is dead already.
        room.push(&alice, node(7, "COMMON", &[], "seven"));
        room.unlink(&bob, Role::Subscriber, End::Broken);
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Subscriber);
        room.update(&alice, delta(7, &[], "+more"));
        room.pass(1000);
        let told = without_users(room.told(&bob));
        let expected = [
            "node 7 COMMON [] seven",
            "delta 7 [] +more",
            "right 7 COMMON",
        ];
        assert_eq!(told, expected, "{version}");
    }
}

/// Whoever has no room is given the state later, and the delta with it.
#[test]
fn a_delta_to_a_full_queue_goes_after_the_state_too() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    room.pass(60_000);
    room.push(&alice, node(7, "COMMON", &[], "seven"));
    room.unlink(&bob, Role::Subscriber, End::Broken);
    room.hush(&[&bob]);
    room.update(&alice, delta(7, &[], "+more"));
    bob.state().full = true;
    comes_back(&mut room, &bob, Role::Subscriber);
    room.update(&alice, delta(7, &[], "+yet more"));
    room.pass(1000);
    assert!(without_users(room.told(&bob)).is_empty());
    bob.state().full = false;
    room.event(&bob, Event::Drained);
    let told = without_users(room.told(&bob));
    assert_eq!(told[0], "node 7 COMMON [] seven", "{told:?}");
}

#[test]
fn a_delta_to_a_node_that_is_gone_goes_nowhere() {
    for version in ["0.1.42", "0.9.11"] {
        let (mut room, alice, bob) = Room::busy(version);
        room.update(&alice, delta(3, &[], "+some"));
        room.unlink(&bob, Role::Subscriber, End::Broken);
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Subscriber);
        room.update(&alice, delta(3, &[], "+more"));
        room.ask(&alice, Request::Delete(id(3)));
        room.pass(1000);
        let told = without_users(room.told(&bob));
        assert!(!told.is_empty(), "{version}");
        assert!(told.iter().all(|l| l == "delete 3"), "{version}: {told:?}");
    }
}

/// The Delete went to a line that was dead already, and the artist works on without it.
#[test]
fn an_edit_by_somebody_who_is_away_brings_nothing_back() {
    for version in VERSIONS {
        for role in [Role::Command, Role::Subscriber] {
            for back in [false, true] {
                let (mut room, alice, bob) = Room::busy(version);
                room.pass(5000);
                room.ask(&alice, Request::Delete(id(3)));
                room.unlink(&bob, role, End::Broken);
                room.pass(2000);
                if back {
                    comes_back(&mut room, &bob, role);
                }
                room.hush(&[&alice, &bob]);
                if room.dialect().live == Live::Delta {
                    room.update(&bob, delta(3, &[], "+late"));
                } else {
                    room.push(&bob, node(3, "COMMON", &[], "late"));
                }
                room.pass(1000);
                let what = format!("{version} {role} {back}");
                assert!(!room.session.replicas.contains(id(3)), "{what}");
                assert!(without_users(room.told(&alice)).is_empty(), "{what}");
                let told = room.told(&bob);
                assert!(told.contains(&"delete 3".to_owned()), "{what}: {told:?}");
            }
        }
    }
}

/// A link was dead for as long as that can be before anybody noticed, and away for as long as it may be.
#[test]
fn what_a_dead_link_swallowed_is_sent_again() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.pass(60_000);
        let owner = "alice".to_owned();
        let nodes = vec![id(1)];
        room.ask(&alice, Request::Delete(id(3)));
        room.ask(&alice, Request::Right { nodes, owner });
        let settings = Settings::new(&Config::default(), 1, 1);
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap();
        room.pass(millis(settings.dead_after));
        room.unlink(&bob, Role::Command, End::Broken);
        room.pass(millis(settings.grace) - 100);
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Command);
        room.pass(1000);
        let told = without_users(room.told(&bob));
        assert!(told.contains(&"delete 3".to_owned()), "{version}: {told:?}");
        assert!(
            told.contains(&"right 1 alice".to_owned()),
            "{version}: {told:?}"
        );
    }
}

#[test]
fn who_may_lack_what_nobody_remembers_has_to_join_again() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.pass(60_000);
        room.ask(&alice, Request::Delete(id(3)));
        room.unlink(&bob, Role::Command, End::Broken);
        bob.prune(room.now());
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Command);
        room.pass(1000);
        let told = without_users(room.told(&bob));
        assert_eq!(told.len(), 1, "{version}: {told:?}");
        assert!(told[0].starts_with("bye "), "{version}: {told:?}");
    }
}

/// Clients end on metadata of somebody unknown, before they see why they are sent away.
#[test]
fn who_has_to_join_again_is_told_of_nobody_unknown() {
    for version in VERSIONS {
        let (mut room, _, bob) = Room::busy(version);
        if room.dialect().metadata != MetadataFanOut::RelayToOthers {
            continue;
        }
        room.pass(60_000);
        // The users dict with carol in it goes to a line that is dead already.
        let carol = room.enter(auth("carol", version));
        room.join(&carol);
        room.unlink(&bob, Role::Command, End::Broken);
        bob.prune(room.now());
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Command);
        let data = Dict::new().with("frame_current", 1);
        room.ask(&carol, Request::Metadata(Value::Dict(data)));
        room.pass(1000);
        let told = room.told(&bob);
        assert!(told.iter().all(|l| !l.starts_with("metadata")), "{told:?}");
        assert!(told.last().unwrap().starts_with("bye "), "{told:?}");
    }
}

fn breaks_for_a_moment(room: &mut Room, peer: &Recorder, role: Role) -> Vec<String> {
    room.hush(&[peer]);
    room.unlink(peer, role, End::Broken);
    room.pass(300);
    comes_back(room, peer, role);
    room.pass(1000);
    without_users(room.told(peer))
}

/// The client waits for it for ever, and it must not come twice.
#[test]
fn who_may_lack_an_answer_has_to_join_again() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let bob = room.enter(auth("bob", version));
        let told = breaks_for_a_moment(&mut room, &bob, Role::Command);
        assert!(told[0].starts_with("bye "), "{version}, login: {told:?}");

        let bob = room.enter(auth("bob", version));
        room.pass(60_000);
        room.offer(&bob, &[7]);
        room.pass(200);
        let told = breaks_for_a_moment(&mut room, &bob, Role::Command);
        assert!(told[0].starts_with("bye "), "{version}, rejected: {told:?}");

        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
        let told = breaks_for_a_moment(&mut room, &alice, Role::Subscriber);
        assert!(
            !told.iter().any(|line| line.starts_with("bye ")),
            "{version}: {told:?}"
        );
        let told = breaks_for_a_moment(&mut room, &alice, Role::Command);
        assert!(told[0].starts_with("bye "), "{version}, done: {told:?}");
    }
}

/// Up to 0.0.20 nobody says that it has it, and the new link knows of nothing that is on its way.
#[test]
fn who_may_lack_the_last_node_of_its_join_has_to_join_again() {
    for version in ["0.0.3", "0.0.20"] {
        for arrives in [false, true] {
            let (mut room, _, _) = Room::busy(version);
            let eve = room.enter(auth("eve", version));
            let catalog = room.catalog(&eve);
            eve.state().unseen.extend(catalog.iter().map(|n| id(*n)));
            for n in &catalog {
                room.get(&eve, *n);
            }
            room.pass(500);
            if arrives {
                eve.state().unseen.clear();
                room.pass(50);
            }
            room.hush(&[&eve]);
            room.unlink(&eve, Role::Subscriber, End::Broken);
            eve.state().unseen.clear();
            room.pass(300);
            comes_back(&mut room, &eve, Role::Subscriber);
            room.pass(1000);
            let told = without_users(room.told(&eve));
            let again = told[0].starts_with("bye ");
            assert_eq!(again, !arrives, "{version}: {told:?}");
        }
    }
}

#[test]
fn who_has_its_answer_goes_on() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
        let bob = room.enter(auth("bob", version));
        room.join(&bob);
        let eve = room.enter(admin_auth("eve", version));
        room.join(&eve);
        if room.dialect().live == Live::Delta {
            room.update(&alice, delta(1, &[], "+more"));
        } else {
            room.push(&alice, node(1, "COMMON", &[], "more"));
        }
        // They have asked for nodes since, or pushed one.
        for peer in [&bob, &eve, &alice] {
            let told = breaks_for_a_moment(&mut room, peer, Role::Command);
            assert!(
                !told.iter().any(|line| line.starts_with("bye ")),
                "{version}: {told:?}"
            );
        }
    }
}

/// The upload is done while its link is gone.
#[test]
fn an_answer_that_waits_is_not_lost() {
    for version in VERSIONS {
        let (mut room, alice) = Room::settling(version, "COMMON");
        room.pass(60_000);
        room.unlink(&alice, Role::Command, End::Broken);
        room.pass(300);
        room.hush(&[&alice]);
        let now = room.now();
        room.session.settled(room.session.sequence(), now);
        comes_back(&mut room, &alice, Role::Command);
        room.pass(1000);
        let told = without_users(room.told(&alice));
        assert_eq!(told, ["done"], "{version}");
    }
}

/// Blender's restart opens one link after the other.
#[test]
fn each_link_that_comes_up_gives_a_login_its_time() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.push(&alice, node(1, "COMMON", &[], "uno"));
        for role in [Role::Command, Role::Subscriber] {
            room.unlink(&bob, role, End::Broken);
        }
        room.hush(&[&bob]);
        comes_back(&mut room, &bob, Role::Subscriber);
        room.pass(600);
        comes_back(&mut room, &bob, Role::Command);
        room.pass(600);
        assert!(bob.state().held, "{version}");
        room.pass(200);
        assert!(!bob.state().held, "{version}");
    }
}

/// What waits is for somebody who has gone, and whom the client that logs in anew knows nothing of.
#[test]
fn a_login_that_is_refused_gets_its_answer_alone() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.unlink(&bob, Role::Command, End::Broken);
        room.hush(&[&bob]);
        room.ask(&alice, Request::Delete(id(3)));
        comes_back(&mut room, &bob, Role::Command);
        room.ask(&bob, Request::Auth(auth("alice", version)));
        let told = room.told(&bob);
        assert!(told[0].starts_with("auth FAILED"), "{version}: {told:?}");
        assert!(told[1..].iter().all(|l| l.starts_with("bye ")), "{told:?}");
    }
}
