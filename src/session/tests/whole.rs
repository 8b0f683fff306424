//! The session as a whole: saved before somebody regrets it, replaced, closed; and what the operator
//! says and gives.

use super::room::{Recorder, Room, VERSIONS, admin_auth, auth, id, node, number, without_users};
use crate::session::Snapshot;
use crate::session::snapshot::{Occasion, ReplaceError};
use crate::wire::command::Request;
use crate::wire::pickle::{Dict, Value};

/// The nodes of a snapshot, each with what it needs.
fn nodes(snapshot: &Snapshot) -> Vec<(u32, Vec<u32>, String)> {
    let nodes = snapshot.nodes.iter();
    nodes
        .map(|(id, stored)| {
            let needs = stored.dependencies.iter().map(|d| number(*d)).collect();
            let payload = String::from_utf8_lossy(&stored.base).into_owned();
            (number(*id), needs, payload)
        })
        .collect()
}

fn scene() -> Vec<(u32, Vec<u32>, String)> {
    vec![
        (1, vec![], "one".to_owned()),
        (2, vec![1], "two".to_owned()),
        (3, vec![], "three".to_owned()),
    ]
}

#[test]
fn another_session_takes_its_place() {
    for version in VERSIONS {
        let (room, ..) = Room::busy(version);
        let saved = room.session.snapshot();
        assert_eq!(nodes(&saved), scene(), "{version}");

        let mut room = Room::new(version);
        let carol = room.enter(admin_auth("carol", version));
        room.upload(&carol, &[node(7, "COMMON", &[], "seven")]);
        room.session.restore(crate::store::Kept::default());
        room.hush(&[&carol]);
        let now = room.now();
        room.session.take_batch();
        room.session
            .replace(saved, None, "come again", now)
            .unwrap();
        let told = without_users(room.told(&carol)).join("\n");
        assert!(told.contains("come again"), "{version}: {told}");
        // The disk is told of all of it.
        let mut changed: Vec<_> = room.session.take_batch().nodes;
        changed.sort_by_key(|(id, _)| *id);
        let changed: Vec<_> = changed
            .iter()
            .map(|(id, s)| (number(*id), s.is_some()))
            .collect();
        assert_eq!(changed, [(1, true), (2, true), (3, true), (7, false)]);
        // Whoever comes now joins it.
        let dave = room.enter(auth("dave", version));
        let joined = room.join(&dave).join("\n");
        for text in ["one", "two", "three"] {
            assert!(joined.contains(text), "{version}: {joined}");
        }
        assert_eq!(nodes(&room.session.snapshot()), scene());
    }
}

#[test]
fn an_empty_session_can_be_filled_anew() {
    let (mut room, alice, bob) = Room::busy("0.9.11");
    let now = room.now();
    let empty = Snapshot::default();
    room.session.replace(empty, None, "reset", now).unwrap();
    for peer in [&alice, &bob] {
        assert!(room.told(peer).join("\n").contains("reset"));
    }
    assert_eq!(room.session.user_count(), 0);
    let carol = room.enter(admin_auth("carol", "0.9.11"));
    room.upload(&carol, &[node(1, "COMMON", &[], "another")]);
    assert_eq!(nodes(&room.session.snapshot()).len(), 1);
}

#[test]
fn what_is_too_large_or_late_does_not_take_its_place() {
    let (mut room, ..) = Room::busy("0.9.11");
    let now = room.now();
    let mut large = room.session.snapshot();
    large.nodes[0].1.base = vec![0; 2 << 20].into();
    let refused = room.session.replace(large, None, "never", now);
    assert!(matches!(refused, Err(ReplaceError::TooLarge { .. })));
    let before = room.session.sequence() - 1;
    let refused = room
        .session
        .replace(Snapshot::default(), Some(before), "never", now);
    assert_eq!(refused, Err(ReplaceError::Changed));
    assert_eq!(room.session.user_count(), 2);
    assert_eq!(nodes(&room.session.snapshot()), scene());
}

#[test]
fn nobody_is_let_in_while_it_is_closed() {
    for version in VERSIONS {
        let (mut room, alice, _) = Room::busy(version);
        let now = room.now();
        room.session.close("the session is being put back", now);
        assert_eq!(room.session.user_count(), 0);
        let eve = room.enter(auth("eve", version));
        let told = room.told(&eve).join("\n");
        assert!(told.contains("FAILED"), "{version}: {told}");
        assert!(told.contains("put back, try again"), "{version}: {told}");
        assert_eq!(room.session.user_count(), 0);
        room.session.open();
        room.enter(auth("eve", version));
        assert_eq!(room.session.user_count(), 1);
        drop(alice);
    }
}

fn delete(room: &mut Room, peer: &Recorder, n: u32) {
    room.ask(peer, Request::Delete(id(n)));
}

#[test]
fn who_deletes_much_at_once_has_a_backup_made_of_it() {
    for version in VERSIONS {
        let mut room = Room::new(version);
        let alice = room.enter(admin_auth("alice", version));
        let mut all: Vec<_> = (1..=10)
            .map(|n| node(n, "COMMON", &[], &format!("node {n}")))
            .collect();
        all[9].dependencies = vec![id(1), id(2)];
        room.upload(&alice, &all);
        let before = nodes(&room.session.snapshot());
        delete(&mut room, &alice, 1);
        room.pass(4000);
        delete(&mut room, &alice, 2);
        assert!(
            room.session.take_wanted_backup().is_none(),
            "two of ten are 20 %"
        );
        room.pass(4000);
        delete(&mut room, &alice, 10);
        let (occasion, saved) = room.session.take_wanted_backup().unwrap();
        assert_eq!(occasion, Occasion::Deletion);
        assert_eq!(nodes(&saved), before, "{version}");
        // It is the same wipe for a while.
        for n in 3..=6 {
            delete(&mut room, &alice, n);
        }
        assert!(room.session.take_wanted_backup().is_none());
    }
}

#[test]
fn deleting_now_and_then_is_no_wipe() {
    let mut room = Room::new("0.9.11");
    let alice = room.enter(admin_auth("alice", "0.9.11"));
    let bob_too = 100;
    let all: Vec<_> = (1..=bob_too).map(|n| node(n, "COMMON", &[], "x")).collect();
    room.upload(&alice, &all);
    let bob = room.enter(auth("bob", "0.9.11"));
    room.join(&bob);
    // Neither of the two deletes more than a fifth within ten seconds.
    for n in 1..=18 {
        delete(&mut room, &alice, n);
        delete(&mut room, &bob, n + 20);
    }
    room.pass(10_100);
    for n in 50..=60 {
        delete(&mut room, &alice, n);
    }
    assert!(room.session.take_wanted_backup().is_none());
}

#[test]
fn clients_of_another_version_have_a_backup_made() {
    let (mut room, alice, bob) = Room::busy("0.9.9");
    room.ask(&alice, Request::Disconnect);
    room.ask(&bob, Request::Disconnect);
    room.pass(1000);
    assert_eq!(room.session.user_count(), 0);
    room.enter(auth("carol", "0.9.9"));
    assert!(
        room.session.take_wanted_backup().is_none(),
        "the same version"
    );

    let now = room.now();
    room.session.dismiss_all("go", now);
    room.version = "0.9.11";
    room.enter(auth("carol", "0.9.11"));
    let (occasion, saved) = room.session.take_wanted_backup().unwrap();
    assert_eq!(occasion, Occasion::Version);
    assert_eq!(nodes(&saved), scene());
    assert_eq!(saved.meta.version.as_deref(), Some("0.9.9"));
}

/// What an artist's add-on says of its view.
fn looking() -> Value {
    let point = |x: f64, y: f64| Value::from(vec![x.into(), y.into(), Value::Float(5.0)]);
    let corners = [(0.0, 0.0), (10.0, 20.0), (0.0, 20.0), (10.0, 0.0)];
    let mut corners: Vec<_> = corners.iter().map(|(x, y)| point(*x, *y)).collect();
    corners.extend([point(0.0, 0.0), point(0.0, 0.0), point(0.0, 0.0)]);
    let row = || Value::from(vec![Value::Float(1.0), Value::Float(0.0)]);
    let metadata = Dict::new()
        .with("scene_current", "Scene")
        .with("frame_current", 12)
        .with("view_corners", Value::from(corners))
        .with("view_matrix", Value::from(vec![row(), row()]));
    Value::Dict(metadata)
}

#[test]
fn a_text_is_seen_where_artists_look_and_goes_away() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        room.ask(&alice, Request::Metadata(looking()));
        room.pass(1000);
        let now = room.now();
        let said = room.session.say("coffee\n\0 is ready", now);
        assert_eq!(said, Ok(2));
        let name = "» coffee is ready";
        let entry = |peer: &Recorder| {
            let users = peer.state().users.clone().unwrap();
            let Value::Dict(users) = users else { panic!() };
            users.get(name).cloned()
        };
        let Some(Value::Dict(seen)) = entry(&alice) else {
            panic!("{version}");
        };
        let Some(Value::Dict(metadata)) = seen.get("metadata") else {
            panic!("{version}");
        };
        assert_eq!(metadata.get("scene_current"), Some(&Value::str("Scene")));
        // A twentieth from the left, three quarters up.
        let Some(Value::List(corners)) = metadata.get("view_corners") else {
            panic!("{version}");
        };
        assert_eq!(corners.len(), 7);
        for corner in corners.iter() {
            let Value::List(corner) = corner else {
                panic!("{version}")
            };
            for (value, wanted) in corner.iter().zip([0.5, 15.0, 5.0]) {
                let Value::Float(value) = value else {
                    panic!("{version}")
                };
                assert!((value - wanted).abs() < 1e-9, "{version}: {corner:?}");
            }
        }
        let first = metadata.get("view_matrix").cloned();
        // Where Bob looks is not known.
        assert_eq!(entry(&bob), None, "{version}");
        room.pass(1000);
        let Some(Value::Dict(seen)) = entry(&alice) else {
            panic!("{version}");
        };
        let Some(Value::Dict(metadata)) = seen.get("metadata") else {
            panic!("{version}");
        };
        assert_ne!(metadata.get("view_matrix").cloned(), first, "{version}");
        // Nothing can be given to it, and it is no user.
        room.ask(
            &alice,
            Request::Right {
                nodes: vec![id(1)],
                owner: name.to_owned(),
            },
        );
        assert_eq!(room.session.user_count(), 2);
        assert_eq!(
            &**room.session.replicas.get(id(1)).unwrap().owner(),
            "COMMON"
        );
        room.pass(15_000);
        assert_eq!(entry(&alice), None, "{version}");
        let now = room.now();
        assert!(room.session.say(" \n", now).is_err());
    }
}

#[test]
fn nodes_are_given_to_who_is_there() {
    for version in VERSIONS {
        let (mut room, alice, bob) = Room::busy(version);
        let now = room.now();
        let given = room.session.assign(&[id(1), id(2)], "bob", now);
        assert_eq!(given, Ok(2), "{version}");
        for peer in [&alice, &bob] {
            let told = without_users(room.told(peer)).join("\n");
            assert!(
                told.contains("bob") && told.contains('1'),
                "{version}: {told}"
            );
        }
        assert!(room.session.assign(&[id(1)], "nobody", now).is_err());
        assert_eq!(room.session.assign(&[id(1)], "COMMON", now), Ok(1));
        assert_eq!(
            &**room.session.replicas.get(id(1)).unwrap().owner(),
            "COMMON"
        );
        assert_eq!(&**room.session.replicas.get(id(2)).unwrap().owner(), "bob");
    }
}

#[test]
fn what_is_set_aside_keeps_what_it_needs() {
    let (mut room, ..) = Room::busy("0.9.11");
    let now = room.now();
    assert!(room.session.quarantine(id(2), now));
    room.session.release(id(2), now).unwrap();
    let two = room.session.replicas.get(id(2)).unwrap();
    assert_eq!(two.dependencies(), [id(1)]);
}
