//! Every single operation on the disk fails once, in every way, with some of what is to be written
//! ahead of its batch.

use std::io::ErrorKind;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::memory::Fault;
use super::staged::{guess, guesses};
use super::*;

const STEPS: usize = 16;

/// The batches of a session, and how it is after each.
fn session(seed: u64) -> Vec<(Batch, State)> {
    let mut random = StdRng::seed_from_u64(seed);
    let mut model = Model::default();
    let steps = (0..STEPS).map(|_| (model.step(&mut random), model.state.clone()));
    steps.collect()
}

fn operations(seed: u64) -> usize {
    let disk = MemoryDisk::new(seed);
    let mut store = open(&disk).unwrap();
    for (batch, _) in session(seed) {
        guess(&mut store, &batch, &mut guesses(&batch));
        store.commit(&batch).unwrap();
    }
    drop(store);
    disk.done()
}

#[test]
fn a_power_cut_costs_nothing_that_was_acknowledged() {
    for seed in 0..3 {
        let session = session(seed);
        for at in 0..operations(seed) {
            let disk = MemoryDisk::new(seed * 1000 + at as u64);
            disk.fail_at(at, Fault::Cut);
            let (mut acknowledged, mut attempted) = (0, 0);
            if let Ok(mut store) = open(&disk) {
                for (batch, _) in &session {
                    attempted = batch.sequence;
                    guess(&mut store, batch, &mut guesses(batch));
                    match store.commit(batch) {
                        Ok(()) => acknowledged = batch.sequence,
                        Err(_) => break,
                    }
                }
            }
            disk.cut_power();
            let where_ = format!("seed {seed}, operation {at}");
            let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
            let (state, _, sequence) = loaded(&mut store);
            assert!((acknowledged..=attempted).contains(&sequence), "{where_}");
            let done = usize::try_from(sequence).unwrap();
            let expected = done.checked_sub(1).map(|last| session[last].1.clone());
            assert_eq!(state, expected.unwrap_or_default(), "{where_}");
            // And it goes on from there.
            for (batch, _) in session.iter().skip(done) {
                store.commit(batch).unwrap();
            }
            drop(store);
            let mut store = open(&disk).unwrap();
            assert_eq!(loaded(&mut store).0, session[STEPS - 1].1, "{where_}");
        }
    }
}

/// What failed is tried again with the next batch.
fn commit_all(store: &mut Store, session: &[(Batch, State)]) -> usize {
    let mut failed = HashMap::new();
    let mut failures = 0;
    for (batch, _) in session {
        let mut batch = batch.clone();
        failed.extend(batch.nodes);
        batch.nodes = failed.clone().into_iter().collect();
        let last = batch.sequence == STEPS as u64;
        guess(store, &batch, &mut guesses(&batch));
        loop {
            let committed = store.commit(&batch).is_ok();
            match committed {
                true => failed.clear(),
                false => failures += 1,
            }
            if !last || committed {
                break;
            }
            assert!(failures < 5);
        }
    }
    failures
}

#[test]
fn an_operation_that_fails_once_is_got_over() {
    let faults = [
        Fault::Once(ErrorKind::Other),
        Fault::Once(ErrorKind::StorageFull),
        Fault::Short,
    ];
    let mut noticed = 0;
    for seed in 10..12 {
        let session = session(seed);
        for (at, fault) in (0..operations(seed)).flat_map(|at| faults.map(|fault| (at, fault))) {
            let where_ = format!("seed {seed}, operation {at}, {fault:?}");
            let disk = MemoryDisk::new(seed * 1000 + at as u64);
            disk.fail_at(at, fault);
            let mut store = match open(&disk) {
                Ok(store) => store,
                Err(_) => open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}")),
            };
            noticed += commit_all(&mut store, &session);
            let expected = (
                session[STEPS - 1].1.clone(),
                meta(STEPS as u64),
                STEPS as u64,
            );
            assert_eq!(loaded(&mut store), expected, "{where_}");
            // The system does not shut down in good order.
            std::mem::forget(store);
            disk.cut_power();
            let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
            assert_eq!(loaded(&mut store), expected, "{where_}");
        }
    }
    assert!(noticed > 100, "{noticed}");
}

#[test]
fn a_full_disk_is_said_and_got_over() {
    let session = session(20);
    for full_at in 0..STEPS - 1 {
        let disk = MemoryDisk::new(20);
        let mut store = open(&disk).unwrap();
        let mut failed = HashMap::new();
        for (step, (batch, state)) in session.iter().enumerate() {
            let mut batch = batch.clone();
            failed.extend(batch.nodes);
            batch.nodes = failed.clone().into_iter().collect();
            if step == full_at {
                disk.fail_now(Fault::Full);
            }
            if (full_at..full_at + 2).contains(&step) && step < STEPS - 1 {
                let error = store.commit(&batch).unwrap_err();
                assert!(matches!(error, StoreError::Full { .. }), "{error}");
                assert!(error.to_string().contains("space"), "{error}");
                continue;
            }
            disk.heal();
            guess(&mut store, &batch, &mut guesses(&batch));
            store.commit(&batch).unwrap();
            failed.clear();
            assert_eq!(loaded(&mut store).0, *state);
        }
    }
}

#[test]
fn a_directory_that_cannot_be_written_is_said() {
    for kind in [ErrorKind::PermissionDenied, ErrorKind::ReadOnlyFilesystem] {
        for at in 0..5 {
            let disk = MemoryDisk::new(0);
            disk.fail_at(at, Fault::Once(kind));
            let error = open(&disk).unwrap_err();
            assert!(matches!(error, StoreError::Unwritable { .. }), "{error}");
            assert!(error.to_string().contains("sessions/main"), "{error}");
        }
    }
}

/// The disk fails from an operation on, the process ends, the disk works again: what the next one
/// acknowledges is there after a power cut, whatever the disk had taken of the first one's work.
fn check_next(seed: u64, at: usize, more: u64) {
    let where_ = format!("seed {seed}, operation {at}, {more} more");
    let disk = MemoryDisk::new(seed);
    disk.fail_at(at, Fault::Broken);
    if let Ok(mut store) = open(&disk) {
        for n in 1..3 {
            let _ = store.commit(&batch(n, vec![(id(1), Some(node(n, &[1; 500])))]));
        }
        std::mem::forget(store);
    }
    disk.heal();
    let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
    let (mut state, _, mut sequence) = loaded(&mut store);
    for n in 0..more {
        let new = node(10 + n, &[7; 100]);
        sequence += 1;
        let nodes = vec![(id(5), Some(new.clone()))];
        store.commit(&batch(sequence, nodes)).unwrap();
        state.insert(id(5), new);
    }
    std::mem::forget(store);
    disk.cut_power();
    let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
    let (found, _, last) = loaded(&mut store);
    assert_eq!((found, last), (state, sequence), "{where_}");
}

#[test]
fn what_a_process_could_not_make_durable_the_next_one_does() {
    for seed in 0..60 {
        for (at, more) in (0..32).flat_map(|at| [(at, 0), (at, 1), (at, 2)]) {
            check_next(seed, at, more);
        }
    }
}

#[test]
fn a_new_store_is_there_after_a_power_cut_with_all_directories_above() {
    let disk = MemoryDisk::new(0);
    open(&disk).unwrap();
    for above in dir().ancestors() {
        assert!(disk.synced().contains(above), "{}", above.display());
    }
}

#[test]
fn what_may_not_be_read_is_not_called_unwritable() {
    let source = ErrorKind::PermissionDenied.into();
    let error = StoreError::io("read", Path::new("/data/sessions/main"), source);
    let error = error.to_string();
    assert!(
        error.starts_with("cannot read /data/sessions/main: "),
        "{error}"
    );
    assert!(!error.contains("write"), "{error}");
}
