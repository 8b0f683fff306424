//! What the master copy keeps, counts and tells of.

use super::*;
use crate::store::Stored;

fn id(n: u8) -> NodeId {
    NodeId::new(format!("{n:02}345678-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn state(n: u8, owner: &str, dependencies: &[NodeId], payload: &'static [u8]) -> NodeState {
    NodeState {
        id: id(n),
        owner: owner.into(),
        kind: Bytes::from_static(b"BlObject"),
        dependencies: dependencies.to_vec(),
        payload: Bytes::from_static(payload),
    }
}

fn me() -> Identity {
    Identity::new(b"0123456789abcdef").unwrap()
}

#[tokio::test(start_paused = true)]
async fn an_update_changes_neither_owner_nor_place() {
    let mut replicas = Replicas::default();
    replicas.store(state(1, COMMON, &[], b"one"));
    replicas.store(state(2, "bob", &[id(1)], b"two"));
    replicas.store(state(1, "eve", &[], b"uno"));
    assert_eq!(replicas.ids().collect::<Vec<_>>(), [id(1), id(2)]);
    let replica = replicas.get(id(1)).unwrap();
    assert_eq!(&**replica.owner(), COMMON);
    assert_eq!(&replica.base_state(id(1)).payload[..], b"uno");
    assert_eq!(replicas.owned_by("bob"), [id(2)]);
}

#[tokio::test(start_paused = true)]
async fn a_delete_leaves_no_dependency_and_no_bytes() {
    let now = Instant::now();
    let mut replicas = Replicas::default();
    replicas.store(state(1, COMMON, &[], b"one"));
    replicas.store(state(2, COMMON, &[id(1), id(3)], b"two"));
    replicas.append(&Delta {
        id: id(2),
        owner: None,
        kind: Bytes::new(),
        dependencies: vec![id(1), id(3)],
        delta: Bytes::from_static(b"delta"),
    });
    assert!(replicas.delete(id(1), &me(), now).is_some());
    assert_eq!(replicas.get(id(2)).unwrap().dependencies(), [id(3)]);
    assert!(replicas.delete(id(2), &me(), now).is_some());
    assert!(replicas.delete(id(2), &me(), now).is_none());
    assert_eq!(
        (replicas.bytes(), replicas.len(), replicas.dependents.len()),
        (0, 0, 0)
    );
    assert!(replicas.is_grave(id(1)));
    replicas.store(state(1, COMMON, &[], b"anew"));
    assert!(!replicas.is_grave(id(1)));
}

#[tokio::test(start_paused = true)]
async fn what_is_set_aside_counts_and_comes_back_whole() {
    let now = Instant::now();
    let mut replicas = Replicas::default();
    replicas.store(state(1, "bob", &[], b"one"));
    replicas.store(state(2, COMMON, &[id(1)], b"two"));
    replicas.append(&Delta {
        id: id(1),
        owner: None,
        kind: Bytes::new(),
        dependencies: Vec::new(),
        delta: Bytes::from_static(b"delta"),
    });
    let before = replicas.bytes();
    let dependents = replicas.dependents(id(1));
    let replica = replicas.delete(id(1), &me(), now).unwrap();
    replicas.set_aside(id(1), replica, dependents);
    assert_eq!(replicas.bytes(), before - DEPENDENCY);
    assert!(!replicas.contains(id(1)));
    assert_eq!(replicas.put_back(id(1)), Some(vec![id(2)]));
    assert_eq!(replicas.bytes(), before);
    assert_eq!(replicas.get(id(2)).unwrap().dependencies(), [id(1)]);
    assert_eq!(replicas.get(id(1)).unwrap().tail(), ["delta"]);
    assert_eq!(replicas.put_back(id(1)), None);
}

#[tokio::test(start_paused = true)]
async fn what_changed_is_told_once_and_can_be_put_back() {
    let now = Instant::now();
    let mut replicas = Replicas::default();
    replicas.watch(0);
    replicas.store(state(1, "bob", &[], b"one"));
    replicas.store(state(2, "bob", &[id(1)], b"two"));
    assert_eq!(replicas.take_changes().len(), 2);
    assert!(!replicas.has_changes());
    replicas.append(&Delta {
        id: id(2),
        owner: None,
        kind: Bytes::new(),
        dependencies: vec![id(1)],
        delta: Bytes::from_static(b"delta"),
    });
    let changes = replicas.take_changes();
    assert_eq!(changes.len(), 1);
    replicas.store(state(3, "bob", &[], b"three"));
    replicas.delete(id(1), &me(), now);
    let ids = |changes: Vec<(NodeId, Option<Stored>)>| {
        let mut ids: Vec<_> = changes
            .iter()
            .map(|(id, kept)| (*id, kept.is_some()))
            .collect();
        ids.sort();
        ids
    };
    let later = replicas.take_changes();
    // What needed the deleted one has changed, too.
    assert_eq!(ids(later), [(id(1), false), (id(2), true), (id(3), true)]);

    replicas.untake_changes([id(2), id(3)]);
    let mut restored = Replicas::default();
    for (id, stored) in replicas.take_changes() {
        restored.restore(id, stored.unwrap());
    }
    assert_eq!(restored.bytes(), replicas.bytes());
    assert_eq!(restored.ids().collect::<Vec<_>>(), [id(2), id(3)]);
    let replica = restored.get(id(2)).unwrap();
    assert_eq!((&**replica.owner(), replica.tail().len()), (COMMON, 1));
    restored.store(state(4, "bob", &[], b"four"));
    assert_eq!(restored.ids().last(), Some(id(4)));
}

#[tokio::test(start_paused = true)]
async fn the_former_owner_is_remembered() {
    let now = Instant::now();
    let mut replicas = Replicas::default();
    replicas.store(state(1, "bob", &[], b"one"));
    assert!(replicas.give(id(1), &COMMON.into(), now));
    assert!(!replicas.give(id(1), &COMMON.into(), now));
    assert_eq!(replicas.get(id(1)).unwrap().former(), Some(("bob", now)));
}

#[tokio::test(start_paused = true)]
async fn the_oldest_graves_are_forgotten_if_there_are_too_many() {
    let id =
        |n: usize| NodeId::new(format!("{n:08}-0000-4000-8000-000000000000").as_bytes()).unwrap();
    let (now, who) = (Instant::now(), Identity::anonymous());
    let mut replicas = Replicas::default();
    for n in 0..GRAVES + 10 {
        replicas.store(NodeState {
            id: id(n),
            ..state(1, COMMON, &[], b"x")
        });
        replicas.delete(id(n), &who, now);
    }
    assert_eq!(replicas.graves.len(), GRAVES);
    assert!(
        !replicas.is_grave(id(9)) && replicas.is_grave(id(10)) && replicas.is_grave(id(GRAVES + 9))
    );
    // Who comes and goes again and again has one.
    for _ in 0..1000 {
        replicas.store(NodeState {
            id: id(10),
            ..state(1, COMMON, &[], b"x")
        });
        replicas.delete(id(10), &who, now);
    }
    assert!(replicas.burials.len() <= 2 * GRAVES + 64);
    replicas.forget_graves(now + std::time::Duration::from_secs(1));
    assert!(replicas.graves.is_empty());
    replicas.delete(id(1), &who, now);
    assert!(replicas.burials.len() <= 66);
}
