//! What is written ahead of its batch is used if it fits, and is never seen otherwise.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::memory::Fault;
use super::*;
use crate::store::{Task, Written, keeper};

const NODES: u64 = 6;

fn upcoming(n: u64) -> Upcoming {
    (id(n), node(n, &vec![n as u8; LARGE + n as usize]))
}

fn small(n: u64) -> Upcoming {
    (id(n), node(n, &vec![n as u8; LARGE / 2]))
}

/// An upload of these nodes.
fn upload_of(nodes: impl IntoIterator<Item = Upcoming>) -> Batch {
    let nodes = nodes.into_iter().map(|(id, stored)| (id, Some(stored)));
    batch(1, nodes.collect())
}

/// An upload of large nodes, and a small one.
fn upload() -> Batch {
    let small = (id(NODES + 1), node(NODES + 1, b"small"));
    upload_of((1..=NODES).map(upcoming).chain([small]))
}

/// One of many small ones.
fn small_upload() -> Batch {
    upload_of((1..=NODES).map(small))
}

fn state(batch: Batch) -> State {
    let nodes = batch.nodes.into_iter();
    nodes.map(|(id, node)| (id, node.unwrap())).collect()
}

fn whole() -> State {
    state(upload())
}

fn files(disk: &MemoryDisk) -> Vec<String> {
    let files = disk.files().into_iter();
    let files = files.filter(|(path, _)| path.parent() == Some(&dir().join("nodes")));
    let names = files.map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned());
    names.collect()
}

fn bytes(disk: &MemoryDisk) -> u64 {
    let files = disk.files().into_iter();
    let files = files.filter(|(path, _)| path.parent() != Some(dir()));
    files.map(|(_, bytes)| bytes.len() as u64).sum()
}

#[test]
fn the_batch_has_the_files_that_are_there() {
    let disk = MemoryDisk::new(1);
    let mut store = open(&disk).unwrap();
    store.stage((1..NODES).map(upcoming));
    let staged = files(&disk);
    assert_eq!(staged.len(), 5);
    assert_eq!(store.disk_bytes(), bytes(&disk));
    assert_eq!((store.node_count(), store.summary().live_bytes), (0, 0));
    assert_eq!(loaded(&mut store).0, State::new());
    // Whatever else is written meanwhile leaves them alone.
    store.tidy().unwrap();
    let other = node(50, &[5; LARGE]);
    store
        .commit(&batch(1, vec![(id(50), Some(other))]))
        .unwrap();
    store.commit(&batch(2, vec![(id(50), None)])).unwrap();
    assert_eq!(files(&disk), staged);

    let before = disk.done();
    store.commit(&upload()).unwrap();
    let cost = disk.done() - before;
    let now = files(&disk);
    assert_eq!(now.len(), 6);
    assert!(staged.iter().all(|name| now.contains(name)));
    // One file: made, written in three parts, synced and named; and the directory, log and mark.
    assert!(cost <= 6 + 8, "{cost}");
    store.unstage();
    assert_eq!(files(&disk), now);
    assert_eq!(store.disk_bytes(), bytes(&disk));
    assert_eq!(loaded(&mut store).0, whole());
    drop(store);
    assert_eq!(loaded(&mut open(&disk).unwrap()).0, whole());
}

#[test]
fn what_came_otherwise_is_written_again() {
    let disk = MemoryDisk::new(2);
    let mut store = open(&disk).unwrap();
    let mut others: Vec<_> = (1..=5).map(upcoming).collect();
    others[0].1.version = 77;
    others[1].0 = id(77);
    others[2].1.base = vec![9; LARGE + 3].into();
    others[3].1.base = vec![4; LARGE].into();
    store.stage(others);
    // The same node twice: the later counts, and the earlier takes no space.
    let mut last = upcoming(5);
    last.1.base = vec![6; LARGE].into();
    store.stage([last]);
    assert_eq!(files(&disk).len(), 5);
    assert_eq!(store.disk_bytes(), bytes(&disk));
    let staged = files(&disk);
    store.commit(&upload()).unwrap();
    assert_eq!(loaded(&mut store).0, whole());
    assert_eq!(files(&disk).len(), 5 + 6);
    store.unstage();
    assert_eq!(files(&disk).len(), 6);
    assert!(files(&disk).iter().all(|name| !staged.contains(name)));
    assert_eq!(store.disk_bytes(), bytes(&disk));
    assert_eq!(loaded(&mut store).0, whole());
}

/// What has no file of its own has rows, which count with the batch alone.
#[test]
fn the_batch_goes_on_behind_the_rows_that_are_there() {
    let disk = MemoryDisk::new(1);
    let mut store = open(&disk).unwrap();
    let empty = bytes(&disk);
    store.stage((1..NODES).map(small));
    let staged = bytes(&disk) - empty;
    assert!(staged >= 5 * LARGE as u64 / 2, "{staged}");
    assert_eq!(store.disk_bytes(), bytes(&disk));
    assert_eq!(loaded(&mut store).0, State::new());
    assert!(!store.is_wasteful());

    // Of one the batch knows more, of another better.
    let mut nodes: Vec<_> = (1..=NODES).map(small).collect();
    nodes[0].1.tail.push(Bytes::from_static(b"delta"));
    nodes[1].1.owner = "alice".into();
    nodes[1].1.dependencies.clear();
    let upload = upload_of(nodes);
    store.commit(&upload).unwrap();
    let rest = bytes(&disk) - empty - staged;
    assert!(rest < LARGE as u64, "{rest}");
    store.unstage();
    assert_eq!(store.disk_bytes(), bytes(&disk));
    assert_eq!(loaded(&mut store).0, state(upload.clone()));
    drop(store);
    assert_eq!(loaded(&mut open(&disk).unwrap()).0, state(upload));
}

/// Whatever the batch does not have as it was foreseen is nowhere.
#[test]
fn rows_that_came_otherwise_are_cut_off() {
    let others: [fn(&mut Upcoming); 3] = [
        |upcoming| upcoming.0 = id(77),
        |upcoming| upcoming.1.version = 77,
        |upcoming| upcoming.1.base = vec![9; LARGE / 2].into(),
    ];
    for change in others {
        for at in [0, NODES as usize - 1] {
            let disk = MemoryDisk::new(2);
            let mut store = open(&disk).unwrap();
            let mut nodes: Vec<_> = (1..=NODES).map(small).collect();
            change(&mut nodes[at]);
            store.stage(nodes);
            store.commit(&small_upload()).unwrap();
            assert_eq!(loaded(&mut store).0, state(small_upload()));
            assert_eq!(store.node_count(), NODES as usize);
            assert_eq!(store.disk_bytes(), bytes(&disk));
            drop(store);
            assert_eq!(loaded(&mut open(&disk).unwrap()).0, state(small_upload()));
        }
    }
    // Another batch, or none; and what is there already is for a batch to change.
    let disk = MemoryDisk::new(3);
    let mut store = open(&disk).unwrap();
    let other = upload_of([small(50)]);
    store.stage((1..=NODES).map(small));
    store.commit(&other).unwrap();
    assert_eq!(loaded(&mut store).0, state(other.clone()));
    let before = bytes(&disk);
    store.stage((1..=NODES).map(small));
    store.stage([(id(50), node(99, b"another"))]);
    store.unstage();
    assert_eq!((store.disk_bytes(), bytes(&disk)), (before, before));
    assert_eq!(loaded(&mut store).0, state(other));
    store.commit(&small_upload()).unwrap();
    assert_eq!(store.node_count(), 1 + NODES as usize);
}

#[test]
fn an_upload_that_breaks_off_leaves_nothing() {
    let disk = MemoryDisk::new(3);
    let mut store = open(&disk).unwrap();
    store.stage((1..=NODES).map(upcoming));
    store.unstage();
    assert_eq!(files(&disk), [""; 0]);
    assert_eq!(store.disk_bytes(), bytes(&disk));
    // And not if the server ends before that.
    store.stage((1..=NODES).map(upcoming));
    drop(store);
    assert_eq!(files(&disk).len(), 6);
    let mut store = open(&disk).unwrap();
    assert_eq!(files(&disk), [""; 0]);
    assert_eq!(loaded(&mut store).0, State::new());
    // Nor if another batch fails meanwhile: then this one writes all of it.
    store.stage((1..=NODES).map(upcoming));
    disk.fail_now(Fault::Once(std::io::ErrorKind::Other));
    store.tidy().unwrap_err();
    assert_eq!(files(&disk), [""; 0]);
    store.commit(&upload()).unwrap();
    assert_eq!(loaded(&mut store).0, whole());
    assert_eq!(files(&disk).len(), 6);
}

/// Nobody is told, and nothing is left of what was begun: the batch writes it again, and fails if
/// it must.
#[test]
fn a_disk_that_is_full_meanwhile_is_got_over() {
    for seed in 0..40 {
        let faults = [
            Fault::Full,
            Fault::Short,
            Fault::Once(std::io::ErrorKind::Other),
        ];
        for fault in faults {
            let disk = MemoryDisk::new(seed);
            let mut store = open(&disk).unwrap();
            disk.fail_at(disk.done() + usize::try_from(seed).unwrap(), fault);
            store.stage((1..=NODES).map(upcoming));
            if fault == Fault::Full {
                assert_eq!(store.disk_bytes(), bytes(&disk), "{seed}");
                let is_full = files(&disk).len() < 6;
                assert_eq!(is_full, seed < 36, "{seed}");
                let error = store.commit(&upload()).unwrap_err();
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                // Space is what is lacking.
                assert!(!is_full || files(&disk).is_empty(), "{seed}");
            }
            disk.heal();
            store.commit(&upload()).unwrap();
            store.unstage();
            assert_eq!(loaded(&mut store).0, whole(), "{seed} {fault:?}");
            assert_eq!(store.disk_bytes(), bytes(&disk), "{seed} {fault:?}");
            std::mem::forget(store);
            disk.cut_power();
            let mut store = open(&disk).unwrap();
            assert_eq!(loaded(&mut store).0, whole(), "{seed} {fault:?}");
            assert_eq!(files(&disk).len(), 6, "{seed} {fault:?}");
        }
    }
}

/// The power fails at every operation, with everything written ahead or all but the last.
#[test]
fn a_power_cut_leaves_an_upload_whole_or_nothing_of_it() {
    let work = |disk: &MemoryDisk, upload: &Batch, ahead: u64| {
        let mut store = open(disk)?;
        for (id, stored) in upload.nodes.iter().take(ahead as usize) {
            store.stage([(*id, stored.clone().unwrap())]);
        }
        store.commit(upload)?;
        // The system does not shut down in good order.
        std::mem::forget(store);
        Ok::<_, StoreError>(())
    };
    let runs = [(upload(), NODES), (small_upload(), 0)]
        .into_iter()
        .flat_map(|run| [0, NODES - 1, NODES].map(|ahead| (run.clone(), ahead)));
    for ((upload, count), ahead) in runs {
        let whole_run = MemoryDisk::new(0);
        work(&whole_run, &upload, ahead).unwrap();
        for at in 0..=whole_run.done() {
            for seed in 0..8 {
                let disk = MemoryDisk::new(seed * 1000 + at as u64);
                disk.fail_at(at, Fault::Cut);
                let done = work(&disk, &upload, ahead).is_ok();
                disk.cut_power();
                let mut store = open(&disk).unwrap();
                let (state, _, sequence) = loaded(&mut store);
                let where_ = format!("{ahead} ahead, operation {at}, seed {seed}");
                assert!(sequence == 1 || !done, "{where_}");
                let (expected, count) = match sequence {
                    1 => (self::state(upload.clone()), count),
                    _ => (State::new(), 0),
                };
                assert_eq!(state, expected, "{where_}");
                assert_eq!(files(&disk).len() as u64, count, "{where_}");
                store.commit(&upload).unwrap();
                assert_eq!(
                    loaded(&mut store).0,
                    self::state(upload.clone()),
                    "{where_}"
                );
            }
        }
    }
}

/// A batch of more files than a process may have open.
#[test]
fn many_large_nodes_may_come_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), options()).unwrap();
    let nodes = (0..1500).map(|n| (id(n), node(n + 1, &[n as u8; LARGE])));
    let state: State = nodes.collect();
    let some = state.iter().take(200);
    store.stage(some.map(|(id, node)| (*id, node.clone())));
    let all = state.iter().map(|(id, node)| (*id, Some(node.clone())));
    store.commit(&batch(1, all.collect())).unwrap();
    assert_eq!(loaded(&mut store).0, state);
    let files = std::fs::read_dir(directory.path().join("nodes")).unwrap();
    assert_eq!(files.count(), 1500);
}

/// An end of the server in the middle of an upload.
#[test]
fn what_was_staged_goes_with_the_thread_that_writes() {
    let directory = tempfile::tempdir().unwrap();
    let mut keeper = keeper::start(directory.path(), options()).unwrap();
    keeper.kept.blocking_recv().unwrap().unwrap();
    let names = || std::fs::read_dir(directory.path().join("nodes")).unwrap();
    for (task, count) in [
        (Task::Stage((1..=3).map(upcoming).collect()), 3),
        (Task::Unstage, 0),
        (Task::Stage((1..=NODES).map(upcoming).collect()), 6),
    ] {
        keeper.tasks.blocking_send(task).unwrap();
        let report = keeper.reports.blocking_recv();
        assert!(matches!(report, Some(Written::Ahead)), "{report:?}");
        assert_eq!(names().count(), count);
    }
    drop(keeper.tasks);
    assert!(keeper.reports.blocking_recv().is_none());
    assert_eq!(names().count(), 0);
}

/// Guesses at what comes next, right and wrong ones, and uploads that break off.
pub(super) fn guess(store: &mut Store, batch: &Batch, random: &mut StdRng) {
    for (id, stored) in &batch.nodes {
        let Some(stored) = stored else { continue };
        let mut upcoming = stored.clone();
        match random.random_range(0..12) {
            0..6 => {}
            6 => upcoming.version += 1,
            7 => upcoming.base = vec![7; LARGE].into(),
            8 => upcoming.base = vec![7; LARGE - 1].into(),
            9 => upcoming.owner = "somebody".into(),
            10 => store.unstage(),
            _ => continue,
        }
        store.stage([(*id, upcoming)]);
    }
}

/// What a guess is drawn from, for each batch alike.
pub(super) fn guesses(batch: &Batch) -> StdRng {
    StdRng::seed_from_u64(batch.sequence)
}
