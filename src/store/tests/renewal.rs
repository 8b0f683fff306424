//! What is damaged while it is in use is set aside for a new store with all there is.

mod spoilt;

use std::io::ErrorKind;
use std::path::PathBuf;

use super::memory::Fault;
use super::*;
use crate::store::keeper::{self, done};
use crate::store::{Task, Written};

const SEQUENCE: u64 = 7;

/// What a disk may do instead of an operation.
const FAULTS: [Fault; 5] = [
    Fault::Once(ErrorKind::Other),
    Fault::Once(ErrorKind::StorageFull),
    Fault::Short,
    Fault::Full,
    Fault::Broken,
];

/// Files of a directory by their names in it.
type Files = HashMap<PathBuf, Vec<u8>>;

fn files(disk: &MemoryDisk, dir: &Path) -> Files {
    let files = disk.files().into_iter();
    let inside = files.filter_map(|(path, bytes)| {
        let name = path.strip_prefix(dir).ok()?.to_owned();
        Some((name, bytes))
    });
    inside.collect()
}

fn renewed() -> &'static Path {
    Path::new("/data/sessions/.main.renewed")
}

/// The directories that were set aside.
fn set_aside(disk: &MemoryDisk) -> Vec<PathBuf> {
    let sessions = dir().parent().unwrap();
    let all = files(disk, sessions).into_keys();
    let names = all.filter_map(|path| Some(path.iter().next()?.to_owned()));
    let mut names: Vec<_> = names
        .filter(|name| name.to_str().unwrap().starts_with(".main.damaged-"))
        .map(|name| sessions.join(name))
        .collect();
    names.sort();
    names.dedup();
    names
}

/// A store with small and large nodes that has failed once while a bit in its oldest segment is
/// bad; what the session has by now; the files there are.
fn lost(seed: u64) -> (MemoryDisk, Store, State, Files) {
    let disk = MemoryDisk::new(seed);
    let mut store = open(&disk).unwrap();
    let mut state: State = (1..9).map(|n| (id(n), node(n, &[n as u8; 2000]))).collect();
    state.insert(id(20), node(20, &[20; 2 * LARGE]));
    state.insert(id(30), node(30, b"gone soon"));
    store.commit(&whole(SEQUENCE - 2, &state)).unwrap();
    let first = dir().join("log/0000000000000001");
    disk.damage(&first, |file| file[1000] ^= 1);

    // It goes on all the same, as long as nothing has it read.
    let mut edited = state[&id(1)].clone();
    edited.tail = vec![vec![1; 300].into(), vec![2; LARGE].into()];
    edited.aside = Some(vec![id(2)]);
    let edit = vec![(id(1), Some(edited.clone()))];
    let edit = batch(SEQUENCE - 1, edit);
    assert!(matches!(done(&mut store, Task::Batch(edit)), Written::Safe));
    state.insert(id(1), edited);

    disk.fail_now(Fault::Once(ErrorKind::Other));
    let delete = batch(SEQUENCE, vec![(id(30), None)]);
    let report = done(&mut store, Task::Batch(delete.clone()));
    assert!(matches!(report, Written::Failed(_)), "{report:?}");
    state.remove(&id(30));
    let report = done(&mut store, Task::Batch(delete));
    assert!(
        matches!(&report, Written::Lost(why) if why.contains("log/0000000000000001")),
        "{report:?}"
    );
    assert!(store.spoilt);
    let files = files(&disk, dir());
    (disk, store, state, files)
}

/// All there is, and that another node is not any more. In an order, so that it always takes the same
/// operations.
fn whole(sequence: u64, state: &State) -> Batch {
    let nodes = state.iter().map(|(id, node)| (*id, Some(node.clone())));
    let gone = id(30);
    let mut nodes: Vec<_> = nodes.collect();
    if !state.contains_key(&gone) {
        nodes.push((gone, None));
    }
    nodes.sort_by_key(|(id, _)| *id);
    batch(sequence, nodes)
}

fn handed_over(store: &mut Store, state: &State) -> Written {
    done(store, Task::Whole(whole(SEQUENCE, state)))
}

/// The store has everything, now and after a power cut, and goes on; the damaged one is as it was.
fn check_whole(disk: &MemoryDisk, mut store: Store, state: &State, damaged: &Files, where_: &str) {
    let expected = (state.clone(), meta(SEQUENCE), SEQUENCE);
    assert_eq!(loaded(&mut store), expected, "{where_}");
    assert!(!store.spoilt, "{where_}");
    let [aside] = &set_aside(disk)[..] else {
        panic!("{where_}: {:?}", set_aside(disk));
    };
    assert!(files(disk, aside) == *damaged, "{where_}");
    assert_eq!(files(disk, renewed()), Files::new(), "{where_}");
    // The system does not shut down in good order.
    std::mem::forget(store);
    disk.cut_power();
    let mut store = open(disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
    assert_eq!(loaded(&mut store), expected, "{where_}");
    let more = vec![(id(50), Some(node(50, &[5; LARGE])))];
    store.commit(&batch(SEQUENCE + 1, more)).unwrap();
    store.tidy().unwrap();
    let bytes = files(disk, dir()).into_iter();
    let bytes = bytes.filter(|(path, _)| path.components().count() > 1);
    let bytes: usize = bytes.map(|(_, bytes)| bytes.len()).sum();
    assert_eq!(store.disk_bytes(), bytes as u64, "{where_}");
    drop(store);
    let mut store = open(disk).unwrap();
    assert_eq!(store.node_count(), state.len() + 1, "{where_}");
    assert_eq!(loaded(&mut store).2, SEQUENCE + 1, "{where_}");
    assert!(files(disk, aside) == *damaged, "{where_}");
}

/// How many operations it takes.
fn operations() -> usize {
    let (disk, mut store, state, _) = lost(0);
    let before = disk.done();
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    disk.done() - before
}

#[test]
fn a_damaged_store_is_set_aside_for_one_with_all_there_is() {
    let (disk, mut store, state, damaged) = lost(1);
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    check_whole(&disk, store, &state, &damaged, "");
}

/// A disk that could not read something may do so the next time: nothing is written anew then.
#[test]
fn what_can_be_read_after_all_stays() {
    let (disk, mut store, mut state, _) = lost(1);
    let first = dir().join("log/0000000000000001");
    disk.damage(&first, |file| file[1000] ^= 1);
    let other = node(60, b"other");
    state.insert(id(60), other);
    let before = disk.done();
    let report = handed_over(&mut store, &state);
    assert!(matches!(report, Written::Safe), "{report:?}");
    assert!(disk.done() - before < 12, "{}", disk.done() - before);
    assert!(set_aside(&disk).is_empty() && !store.spoilt);
    assert_eq!(loaded(&mut store).0, state);
}

#[test]
fn whatever_fails_meanwhile_is_tried_again() {
    let mut noticed = 0;
    for (at, fault) in (0..operations()).flat_map(|at| FAULTS.map(|fault| (at, fault))) {
        let where_ = format!("operation {at}, {fault:?}");
        let (disk, mut store, state, damaged) = lost(at as u64);
        disk.fail_at(disk.done() + at, fault);
        let mut attempts = 0;
        while !matches!(handed_over(&mut store, &state), Written::Safe) {
            attempts += 1;
            assert!(attempts < 4, "{where_}");
            if fault != Fault::Broken && store.next.is_none() {
                // What is of no use takes no space.
                let mut left = files(&disk, renewed()).into_keys();
                assert!(left.all(|name| name == Path::new("lock")), "{where_}");
            }
            disk.heal();
            // What comes of an upload meanwhile does no harm.
            store.stage([(id(70), node(70, b"upcoming"))]);
            store.unstage();
        }
        noticed += attempts;
        check_whole(&disk, store, &state, &damaged, &where_);
    }
    assert!(noticed > 100, "{noticed}");
}

/// Ends the server at an operation, or cuts the power.
fn end_at(at: usize, seed: u64, cut: bool) {
    let where_ = format!("operation {at}, seed {seed}, cut {cut}");
    let (disk, mut store, state, damaged) = lost(seed);
    let fault = if cut { Fault::Cut } else { Fault::Broken };
    disk.fail_at(disk.done() + at, fault);
    let is_safe = matches!(handed_over(&mut store, &state), Written::Safe);
    std::mem::forget(store);
    match cut {
        true => disk.cut_power(),
        false => disk.heal(),
    }
    match open(&disk) {
        Ok(store) => check_whole(&disk, store, &state, &damaged, &where_),
        Err(error) => {
            assert!(!is_safe, "{where_}: {error}");
            assert!(matches!(error, StoreError::Damaged { .. }), "{where_}");
            assert!(set_aside(&disk).is_empty(), "{where_}");
            assert!(files(&disk, dir()) == damaged, "{where_}");
        }
    }
}

#[test]
fn an_end_meanwhile_leaves_the_damaged_one_or_the_whole_one() {
    for at in 0..operations() {
        end_at(at, at as u64, false);
        for seed in 0..6 {
            end_at(at, 1000 * seed + at as u64, true);
        }
    }
}

/// The first operation after which the new one counts, without its place.
fn written() -> usize {
    let counts = |at: &usize| {
        let (disk, mut store, state, _) = lost(0);
        disk.fail_at(disk.done() + at, Fault::Broken);
        handed_over(&mut store, &state);
        files(&disk, renewed()).contains_key(Path::new("format"))
    };
    (0..operations()).find(counts).unwrap()
}

/// Whoever comes next gives it its place; and the next one, if that one is ended as well.
#[test]
fn who_comes_next_finishes_it() {
    let (first, last) = (written(), operations());
    assert!(last - first >= 4, "{first} {last}");
    let faults = [Fault::Cut, Fault::Broken, Fault::Once(ErrorKind::Other)];
    let runs = (first..last).flat_map(|at| (0..12).map(move |next| (at, next)));
    for ((at, next), fault) in runs.flat_map(|run| faults.map(|fault| (run, fault))) {
        let where_ = format!("operation {at}, then {next}, {fault:?}");
        let (disk, mut store, state, damaged) = lost((at * 100 + next) as u64);
        disk.fail_at(disk.done() + at, Fault::Broken);
        handed_over(&mut store, &state);
        std::mem::forget(store);
        disk.heal();
        disk.fail_at(disk.done() + next, fault);
        // Also who only looks at it.
        if let Ok(store) = Store::open_on(Arc::new(disk.clone()), dir(), options(), false) {
            std::mem::forget(store);
        }
        match fault {
            Fault::Cut => disk.cut_power(),
            _ => disk.heal(),
        }
        match open(&disk) {
            Ok(store) => check_whole(&disk, store, &state, &damaged, &where_),
            // That it counts had not reached the disk.
            Err(StoreError::Damaged { .. }) if at == first && fault == Fault::Cut => {
                assert!(files(&disk, dir()) == damaged, "{where_}");
            }
            Err(error) => panic!("{where_}: {error}"),
        }
    }
}

/// What was begun of a new one takes no space for long: who opens a sound store removes it.
#[test]
fn what_was_never_finished_is_removed() {
    for at in [5, 10, written() - 1] {
        let (disk, mut store, state, _) = lost(0);
        disk.fail_at(disk.done() + at, Fault::Broken);
        handed_over(&mut store, &state);
        std::mem::forget(store);
        disk.heal();
        assert!(files(&disk, renewed()).len() > 1, "{at}");
        open(&disk).map(drop).unwrap_err();
        assert!(files(&disk, renewed()).len() > 1, "{at}");
        let first = dir().join("log/0000000000000001");
        disk.damage(&first, |file| file[1000] ^= 1);
        open(&disk).unwrap();
        let left = files(&disk, renewed());
        assert_eq!(left.into_keys().collect::<Vec<_>>(), [Path::new("lock")]);
    }
}

/// It takes the space that lacks: whoever is asked to make space may remove it.
#[test]
fn one_that_was_removed_is_not_gone_on_with() {
    let mut waited = 0;
    for at in 0..operations() {
        let (disk, mut store, state, damaged) = lost(at as u64);
        disk.fail_at(disk.done() + at, Fault::Full);
        let report = handed_over(&mut store, &state);
        if matches!(report, Written::Safe) || !files(&disk, dir()).contains_key(Path::new("lock")) {
            continue;
        }
        waited += usize::from(store.next.is_some());
        for (path, _) in disk.files() {
            if path.starts_with(renewed()) {
                disk.forget(&path);
            }
        }
        disk.heal();
        let where_ = format!("operation {at}");
        let mut attempts = 0;
        while !matches!(handed_over(&mut store, &state), Written::Safe) {
            attempts += 1;
            assert!(attempts < 4, "{where_}");
        }
        check_whole(&disk, store, &state, &damaged, &where_);
    }
    assert!(waited > 0);
}

/// What somebody has put there by hand may lack it.
#[test]
fn a_damaged_one_without_its_lock_is_set_aside() {
    let (disk, mut store, state, mut damaged) = lost(0);
    disk.fail_at(disk.done() + written(), Fault::Broken);
    handed_over(&mut store, &state);
    std::mem::forget(store);
    disk.heal();
    disk.forget(&dir().join("lock"));
    damaged.remove(Path::new("lock"));
    check_whole(&disk, open(&disk).unwrap(), &state, &damaged, "");
}

/// On real files, with the thread. An upload that breaks off has the log read as well.
#[test]
fn the_thread_goes_on_in_the_new_one() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("main");
    let mut keeper = keeper::start(&dir, options()).unwrap();
    keeper.kept.blocking_recv().unwrap().unwrap();
    let mut told = |task| {
        keeper.tasks.blocking_send(task).unwrap();
        keeper.reports.blocking_recv().unwrap()
    };
    let mut state: State = (1..9).map(|n| (id(n), node(n, &[n as u8; 2000]))).collect();
    state.insert(id(20), node(20, &[20; 2 * LARGE]));
    assert!(matches!(told(Task::Batch(whole(1, &state))), Written::Safe));
    let first = dir.join("log/0000000000000001");
    let mut bytes = std::fs::read(&first).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&first, &bytes).unwrap();
    let upcoming = vec![(id(40), node(40, &[4; 100]))];
    assert!(matches!(told(Task::Stage(upcoming)), Written::Ahead));
    assert!(!keeper.health.is_damaged());
    let other = batch(2, vec![(id(1), None)]);
    assert!(matches!(told(Task::Batch(other)), Written::Lost(_)));
    assert!(keeper.health.is_damaged());
    state.remove(&id(1));
    assert!(matches!(told(Task::Whole(whole(2, &state))), Written::Safe));
    assert!(!keeper.health.is_damaged());

    // It is as much its own as the other was.
    let error = Store::open(&dir, options()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let names = || std::fs::read_dir(directory.path()).unwrap();
    let mut names: Vec<_> = names().map(|entry| entry.unwrap().path()).collect();
    names.retain(|path| *path != dir);
    let [damaged] = &names[..] else {
        panic!("{names:?}");
    };
    let name = damaged.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with(".main.damaged-"), "{name}");
    let aside = std::fs::read(damaged.join("log/0000000000000001")).unwrap();
    assert!(aside == bytes);
    state.insert(id(2), node(90, &[9; LARGE]));
    assert!(matches!(told(Task::Batch(whole(3, &state))), Written::Safe));
    drop(keeper.tasks);
    assert!(keeper.reports.blocking_recv().is_none());
    let mut store = Store::open(&dir, options()).unwrap();
    assert_eq!(loaded(&mut store), (state, meta(3), 3));
}
