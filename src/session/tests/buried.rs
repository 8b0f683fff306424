//! What is kept of deleted nodes, within the session's limit.

use super::room::{Room, VERSIONS, admin_auth, auth, id, node};
use crate::session::settings::Settings;
use crate::session::snapshot::Occasion;
use crate::wire::command::Request;

const LIMIT: usize = 100_000;

fn limited(settings: &mut Settings) {
    settings.max_session = LIMIT;
}

fn large(n: u32) -> crate::wire::node::NodeState {
    node(n, "COMMON", &[], &"x".repeat(LIMIT / 5))
}

/// A scene of ten small nodes.
fn scene() -> Vec<crate::wire::node::NodeState> {
    (1..=10).map(|n| node(n, "COMMON", &[], "small")).collect()
}

#[test]
fn what_is_deleted_over_and_over_takes_no_more_than_the_session_may() {
    let mut room = Room::with("0.9.11", limited);
    let alice = room.enter(admin_auth("alice", "0.9.11"));
    room.upload(&alice, &scene());
    // Far from a fifth of the scene each, but all of them together are much.
    let mut saved = None;
    for n in 11..=30 {
        room.push(&alice, large(n));
        assert!(room.session.replicas.contains(id(n)), "{n}");
        room.ask(&alice, Request::Delete(id(n)));
        let taken = room.session.bytes() + room.session.buried.bytes();
        assert!(taken <= LIMIT, "{taken} bytes");
        saved = saved.or_else(|| room.session.take_wanted_backup());
    }
    let (occasion, saved) = saved.unwrap();
    assert_eq!(occasion, Occasion::Deletion);
    assert!(saved.nodes.iter().any(|(node, _)| *node == id(11)));
}

#[test]
fn who_was_promised_too_much_begins_again() {
    for version in VERSIONS {
        let mut room = Room::with(version, |settings| {
            limited(settings);
            settings.mass_delete = 0;
        });
        let alice = room.enter(admin_auth("alice", version));
        room.upload(&alice, &scene());
        let bob = room.enter(auth("bob", version));
        room.join(&bob);
        for n in 11..=14 {
            room.push(&alice, large(n));
        }
        let eve = room.enter(auth("eve", version));
        room.catalog(&eve);
        for n in 11..=14 {
            room.ask(&alice, Request::Delete(id(n)));
        }
        assert_eq!(
            room.session.user_count(),
            3,
            "{version}: there is room for it"
        );
        for n in 21..=24 {
            room.push(&alice, large(n));
            assert!(room.session.replicas.contains(id(n)), "{version}: {n}");
        }
        let taken = room.session.bytes() + room.session.buried.bytes();
        assert!(taken <= LIMIT, "{version}: {taken} bytes");
        // Newer clients are told of a node that is gone by the answer to their GET; nothing is kept for them.
        let stays = version == "0.9.11" || version == "0.10.2";
        assert_eq!(
            room.session.user_count(),
            if stays { 3 } else { 2 },
            "{version}"
        );
    }
}
