//! The same for what copying old rows finds to be damaged, while all that changes can still be written.

use super::*;

const LAST: u64 = 1000;

/// A store of which an old segment was found to be damaged, and what the session has.
fn spoilt(seed: u64) -> (MemoryDisk, Store, State) {
    let disk = MemoryDisk::new(seed);
    let mut store = open(&disk).unwrap();
    let state = (1..9).map(|n| (id(n), node(n, &[n as u8; 2000])));
    let mut state: State = state.collect();
    store.commit(&batch(1, in_order(&state))).unwrap();
    let first = dir().join("log/0000000000000001");
    disk.damage(&first, |file| file[1000] ^= 1);
    edit_until_spoilt(&mut store, &mut state, 100);
    (disk, store, state)
}

/// Edits, all of which are safe, until something old is copied that cannot be read.
fn edit_until_spoilt(store: &mut Store, state: &mut State, first: u64) {
    for n in first.. {
        let id = id(2 + n % 7);
        let mut edited = node(n, &[n as u8; 2000]);
        edited.place = state[&id].place;
        let edit = batch(n, vec![(id, Some(edited.clone()))]);
        assert!(matches!(done(store, Task::Batch(edit)), Written::Safe));
        state.insert(id, edited);
        if store.spoilt {
            break;
        }
        assert!(n < first + 100, "nothing old is copied");
    }
}

fn in_order(state: &State) -> Vec<(NodeId, Option<Stored>)> {
    whole(0, state).nodes
}

fn handed_over(store: &mut Store, state: &State) -> Written {
    done(store, Task::Whole(batch(LAST, in_order(state))))
}

/// The store has everything, now and after a power cut, and the damaged one is aside.
fn check(disk: &MemoryDisk, mut store: Store, state: &State, where_: &str) {
    let expected = (state.clone(), meta(LAST), LAST);
    assert!(!store.spoilt, "{where_}");
    assert_eq!(loaded(&mut store), expected, "{where_}");
    assert_eq!(set_aside(disk).len(), 1, "{where_}");
    std::mem::forget(store);
    disk.cut_power();
    let mut store = open(disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
    assert_eq!(loaded(&mut store), expected, "{where_}");
}

#[test]
fn it_is_set_aside_for_one_with_all_there_is() {
    let (disk, mut store, state) = spoilt(1);
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    check(&disk, store, &state, "");
}

#[test]
fn whatever_fails_meanwhile_is_tried_again() {
    let (disk, mut store, state) = spoilt(0);
    let before = disk.done();
    handed_over(&mut store, &state);
    let operations = disk.done() - before;
    let (mut again, mut kept) = (0, 0);
    for (at, fault) in (0..operations).flat_map(|at| FAULTS.map(|fault| (at, fault))) {
        let where_ = format!("operation {at}, {fault:?}");
        let (disk, mut store, state) = spoilt(at as u64);
        disk.fail_at(disk.done() + at, fault);
        let mut attempts = 0;
        loop {
            let report = handed_over(&mut store, &state);
            disk.heal();
            match report {
                Written::Safe if !store.spoilt => break,
                // The damaged one has it.
                Written::Safe => kept += 1,
                Written::Failed(_) | Written::Lost(_) => again += 1,
                Written::Ahead => panic!("{where_}: {report:?}"),
            }
            attempts += 1;
            assert!(attempts < 4, "{where_}");
        }
        check(&disk, store, &state, &where_);
    }
    assert!(again > 10 && kept > 10, "{again} {kept}");
}

/// A node is edited and all there is handed over: it is safe, in the damaged store.
fn stays_damaged(disk: &MemoryDisk, store: &mut Store, state: &mut State, n: u64) {
    let mut edited = state[&id(3)].clone();
    edited.version = 500 + n;
    edited.base = vec![n as u8; 100].into();
    state.insert(id(3), edited);
    let report = handed_over(store, state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    assert!(store.spoilt && set_aside(disk).is_empty());
}

/// Where there is no space for all of it once more, what changes is still written.
#[test]
fn without_space_it_goes_on_in_the_damaged_one() {
    let (disk, mut store, mut state) = spoilt(1);
    disk.leave(6000);
    for n in 0..3 {
        stays_damaged(&disk, &mut store, &mut state, n);
    }
    disk.leave(1 << 20);
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    check(&disk, store, &state, "");
}

/// A process may have too many files open, a cable may be loose: nothing is damaged.
#[test]
fn what_could_not_be_read_for_a_moment_is_not_set_aside() {
    let disk = MemoryDisk::new(1);
    let mut store = open(&disk).unwrap();
    let state = (1..9).map(|n| (id(n), node(n, &[n as u8; 2000])));
    let mut state: State = state.collect();
    store.commit(&batch(1, in_order(&state))).unwrap();
    for round in 1..4 {
        disk.can_be_read(false);
        edit_until_spoilt(&mut store, &mut state, round * 200);
        disk.can_be_read(true);
        let whole = batch(round * 200 + 150, in_order(&state));
        let report = done(&mut store, Task::Whole(whole));
        assert!(matches!(report, Written::Safe), "{report:?}");
        assert!(!store.spoilt && set_aside(&disk).is_empty());
        assert_eq!(loaded(&mut store).0, state);
    }
    // What is old is copied again, and its space given back.
    for n in 1000..1200 {
        let edit = batch(n, vec![(id(3), Some(node(n, &[n as u8; 2000])))]);
        assert!(matches!(done(&mut store, Task::Batch(edit)), Written::Safe));
    }
    assert!(!store.spoilt && store.disk_bytes() < 100_000);
}

/// The store is taken up again then. That may fail as well.
#[test]
fn what_can_be_read_after_all_survives_what_fails_then() {
    let unread = |seed| {
        let disk = MemoryDisk::new(seed);
        let mut store = open(&disk).unwrap();
        let state = (1..9).map(|n| (id(n), node(n, &[n as u8; 2000])));
        let mut state: State = state.collect();
        store.commit(&batch(1, in_order(&state))).unwrap();
        disk.can_be_read(false);
        edit_until_spoilt(&mut store, &mut state, 100);
        disk.can_be_read(true);
        // Of an upload that is under way.
        store.stage([(id(70), node(70, &[7; 2000]))]);
        (disk, store, state)
    };
    let (disk, mut store, state) = unread(0);
    let before = disk.done();
    handed_over(&mut store, &state);
    let operations = disk.done() - before;
    let mut again = 0;
    for (at, fault) in (0..operations).flat_map(|at| FAULTS.map(|fault| (at, fault))) {
        let where_ = format!("operation {at}, {fault:?}");
        let (disk, mut store, state) = unread(at as u64);
        disk.fail_at(disk.done() + at, fault);
        let mut attempts = 0;
        while !matches!(handed_over(&mut store, &state), Written::Safe) {
            disk.heal();
            attempts += 1;
            assert!(attempts < 4, "{where_}");
        }
        again += attempts;
        disk.heal();
        let more = batch(LAST + 1, vec![(id(50), Some(node(50, &[5; 2000])))]);
        assert!(
            matches!(done(&mut store, Task::Batch(more)), Written::Safe),
            "{where_}"
        );
        assert!(!store.spoilt && set_aside(&disk).is_empty(), "{where_}");
        std::mem::forget(store);
        disk.cut_power();
        let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
        assert_eq!(loaded(&mut store).0.len(), state.len() + 1, "{where_}");
    }
    assert!(again > 5, "{again}");
}

/// What is mounted where the session is cannot be set aside. It is kept there as it was before.
#[test]
fn where_it_cannot_be_set_aside_it_goes_on_in_the_damaged_one() {
    let (disk, mut store, mut state) = spoilt(1);
    disk.can_be_renamed(false);
    for n in 0..3 {
        stays_damaged(&disk, &mut store, &mut state, n);
        let left = files(&disk, renewed()).into_keys();
        assert_eq!(left.collect::<Vec<_>>(), [Path::new("lock")]);
    }
    disk.can_be_renamed(true);
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    check(&disk, store, &state, "");
}
