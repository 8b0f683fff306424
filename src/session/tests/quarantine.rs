//! Nodes that the operator sets aside.

use super::room::{Room, VERSIONS, admin_auth, auth, id, node, without_users};
use crate::session::event::End;
use crate::session::quarantine::ReleaseError;
use crate::wire::command::Request;
use crate::wire::dialect::MissingNode;
use crate::wire::role::Role;

fn quarantine(room: &mut Room, n: u32) -> bool {
    let now = room.now();
    let done = room.session.quarantine(id(n), now);
    room.work();
    done
}

fn release(room: &mut Room, n: u32) -> Result<(), ReleaseError> {
    let now = room.now();
    room.session.release(id(n), now)
}

#[test]
fn what_is_set_aside_is_gone_for_everybody_and_comes_back() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        assert!(quarantine(&mut room, 1));
        for peer in [&alice, &bob] {
            let told = without_users(room.told(peer));
            assert_eq!(told, ["delete 1"], "{version}");
        }
        let eve = room.enter(auth("eve", version));
        assert_eq!(room.catalog(&eve).len(), 2, "{version}");
        for n in [3, 2] {
            room.get(&eve, n);
        }
        room.all_fetched(&eve);
        room.hush(&[&alice, &bob, &eve]);

        assert_eq!(release(&mut room, 1), Ok(()));
        for peer in [&alice, &bob, &eve] {
            let told = without_users(room.told(peer)).join("\n");
            assert!(told.contains(" 1 "), "{version}: {told}");
            assert!(told.contains("one"), "{version}: {told}");
            // What needed it needs it again.
            assert!(
                told.contains("2 ") && told.contains("[1]"),
                "{version}: {told}"
            );
        }
        assert_eq!(release(&mut room, 1), Err(ReleaseError::NotAside));
    }
}

#[test]
fn nobody_can_make_it_anew() {
    let (mut room, alice, _) = Room::busy("0.9.11");
    assert!(quarantine(&mut room, 3));
    assert!(!quarantine(&mut room, 3));
    room.pass(60_000);
    room.hush(&[&alice]);
    room.push(&alice, node(3, "COMMON", &[], "anew"));
    assert!(!room.session.replicas.contains(id(3)));
    assert_eq!(without_users(room.told(&alice)), ["delete 3"]);
    assert_eq!(release(&mut room, 3), Ok(()));
    let replica = room.session.replicas.get(id(3)).unwrap();
    assert_eq!(&replica.base()[..], b"three");
}

#[test]
fn a_joiner_in_the_midst_is_not_given_it() {
    for version in VERSIONS {
        let (mut room, _, _) = Room::busy(version);
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        room.get(&eve, 3);
        assert!(quarantine(&mut room, 1));
        room.get(&eve, 2);
        room.get(&eve, 1);
        let told = without_users(room.told(&eve)).join("\n");
        assert!(!told.contains("one"), "{version}: {told}");
        let marks = room.dialect().missing_node == MissingNode::RemovedMarker;
        let end = if marks {
            "removed"
        } else {
            "bye the scene was changed"
        };
        assert!(told.contains(end), "{version}: {told}");
    }
}

#[test]
fn its_nodes_are_listed_first() {
    let (mut room, _, _) = Room::busy("0.9.11");
    assert!(quarantine(&mut room, 1));
    let listed = room.session.nodes();
    let short: Vec<_> = listed.iter().map(|n| (n.id, n.aside, n.bytes)).collect();
    assert_eq!(
        short,
        [(id(1), true, 3), (id(3), false, 5), (id(2), false, 3)]
    );
}

/// Alice brought one node, which the operator set aside; she is gone.
fn all_aside(version: &'static str) -> Room {
    let mut room = Room::new(version);
    let alice = room.enter(admin_auth("alice", version));
    room.upload(&alice, &[node(1, "COMMON", &[], "one")]);
    assert!(quarantine(&mut room, 1));
    room.unlink(&alice, Role::Command, End::Closed);
    room.pass(2000);
    room
}

#[test]
fn released_during_an_upload_it_reaches_the_uploader() {
    for version in VERSIONS {
        let mut room = all_aside(version);
        let bob = room.enter(admin_auth("bob", version));
        room.offer(&bob, &[7]);
        room.pass(200);
        assert_eq!(release(&mut room, 1), Ok(()));
        room.hush(&[&bob]);
        room.bring(&bob, node(7, "COMMON", &[], "seven"));
        room.ask(&bob, Request::UploadEnd);
        let told = without_users(room.told(&bob));
        assert_eq!(told, ["done"], "{version}");
        room.pass(400);
        let told = without_users(room.told(&bob));
        let expected = ["node 1 COMMON [] one", "right 1 COMMON"];
        assert_eq!(told, expected, "{version}");
    }
}

/// Nobody can finish that upload; it can be joined all the same.
#[test]
fn released_during_an_upload_that_breaks_off_it_can_be_joined() {
    for version in VERSIONS {
        let mut room = all_aside(version);
        let bob = room.enter(admin_auth("bob", version));
        let eve = room.enter(auth("eve", version));
        room.offer(&bob, &[7]);
        room.pass(200);
        assert_eq!(release(&mut room, 1), Ok(()));
        room.hush(&[&eve]);
        room.unlink(&bob, Role::Command, End::Closed);
        room.pass(2000);
        let told = without_users(room.told(&eve));
        assert_eq!(told, ["catalog 1"], "{version}");
    }
}

#[test]
fn released_while_all_wait_it_lets_those_in_the_lobby_in() {
    for version in VERSIONS {
        let mut room = all_aside(version);
        let bob = room.enter(auth("bob", version));
        assert!(room.told(&bob).contains(&"auth LOBBY".to_owned()));
        assert_eq!(release(&mut room, 1), Ok(()));
        room.pass(200);
        let told = without_users(room.told(&bob));
        assert_eq!(told, ["catalog 1"], "{version}");
    }
}

#[test]
fn who_uploads_is_told_whom_the_operator_gave_its_nodes() {
    for version in VERSIONS {
        let (mut room, alice) = Room::settling(version, "alice");
        room.hush(&[&alice]);
        let now = room.now();
        assert_eq!(room.session.assign(&[id(1)], "COMMON", now), Ok(1));
        room.session.settled(room.session.sequence(), now);
        let told = without_users(room.told(&alice));
        assert_eq!(told, ["done"], "{version}");
        room.pass(400);
        let told = without_users(room.told(&alice));
        assert!(
            told.contains(&"right 1 COMMON".to_owned()),
            "{version}: {told:?}"
        );
    }
}
