//! What is not needed any more takes no space for long.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;

/// Nodes of 2 KiB, changed at random, 16 a batch.
fn edited(disk: &MemoryDisk, nodes: u64, batches: u64) -> (Store, State) {
    let mut random = StdRng::seed_from_u64(1);
    let mut store = open(disk).unwrap();
    let mut state = State::new();
    for n in 0..nodes {
        let stored = node(n + 1, &[n as u8; 2048]);
        state.insert(id(n), stored);
    }
    let all = state.iter().map(|(id, node)| (*id, Some(node.clone())));
    store.commit(&batch(1, all.collect())).unwrap();
    for sequence in 2..batches {
        let mut changed = HashMap::new();
        for n in 0..16 {
            let id = id(random.random_range(0..nodes));
            let version = nodes + sequence * 16 + n;
            let mut stored = node(version, &vec![n as u8; 2048]);
            stored.place = state[&id].place;
            changed.insert(id, Some(stored.clone()));
            state.insert(id, stored);
        }
        let changed = changed.into_iter().collect();
        store.commit(&batch(sequence, changed)).unwrap();
    }
    (store, state)
}

#[test]
fn what_is_replaced_takes_no_space_for_long() {
    for nodes in [20, 200, 1000] {
        let disk = MemoryDisk::new(1);
        let (mut store, state) = edited(&disk, nodes, 600);
        let live = nodes * 2048;
        let summary = store.summary();
        assert_eq!(summary.live_bytes, live);
        // And about a batch more, which shows where there is little.
        let most = live * 2 + (48 << 10);
        assert!(summary.disk_bytes < most, "{nodes}: {}", summary.disk_bytes);
        let found = disk.files().into_iter();
        let found = found.filter(|(path, _)| path.starts_with(dir().join("log")));
        let there: usize = found.map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(there as u64, summary.disk_bytes);
        assert_eq!(loaded(&mut store).0, state);
        drop(store);
        assert_eq!(loaded(&mut open(&disk).unwrap()).0, state);
    }
}

#[test]
fn what_is_deleted_gives_its_space_back() {
    let disk = MemoryDisk::new(1);
    let (mut store, mut state) = edited(&disk, 2000, 100);
    // All but a few.
    let gone: Vec<_> = store.ids().into_iter().skip(3).collect();
    state.retain(|id, _| !gone.contains(id));
    let nodes = gone.into_iter().map(|id| (id, None)).collect();
    store.commit(&batch(100, nodes)).unwrap();
    assert_eq!(loaded(&mut store).0, state);
    store.tidy().unwrap();
    assert!(store.disk_bytes() < 1 << 20, "{}", store.disk_bytes());
    assert_eq!(loaded(&mut store).0, state);
    // And all.
    let nodes = store.ids().into_iter().map(|id| (id, None)).collect();
    store.commit(&batch(101, nodes)).unwrap();
    while store.is_wasteful() {
        store.tidy().unwrap();
    }
    drop(store);
    let mut store = open(&disk).unwrap();
    assert_eq!(loaded(&mut store), (State::new(), meta(101), 101));
}

/// Of what cannot be read, nothing is given up: it is noticed when it is loaded.
#[test]
fn what_is_damaged_stays() {
    let disk = MemoryDisk::new(1);
    let (mut store, _) = edited(&disk, 200, 100);
    let files = disk.files();
    let mut segments = files
        .iter()
        .filter(|(path, _)| path.starts_with(dir().join("log")));
    let (path, _) = segments.nth(3).unwrap();
    disk.damage(path, |file| file[1000] ^= 1);
    for n in 0..40 {
        let nodes = (0..16).map(|m| (id(m), Some(node(10_000 + n, &[9; 2048]))));
        store.commit(&batch(100 + n, nodes.collect())).unwrap();
    }
    drop(store);
    let error = open(&disk).map(drop).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// What is deleted makes space, and copying what counts needs some: that is no reason not to delete.
#[test]
fn a_batch_needs_no_space_but_its_own() {
    let disk = MemoryDisk::new(1);
    let (mut store, mut state) = edited(&disk, 200, 2);
    let large = (500..502).map(|n| (id(n), node(n, &[1; 100_000])));
    let large: Vec<_> = large.collect();
    let nodes = large.iter().map(|(id, node)| (*id, Some(node.clone())));
    store.commit(&batch(2, nodes.collect())).unwrap();
    let mut gone: Vec<_> = store.ids().into_iter().skip(80).collect();
    gone.extend(large.iter().map(|(id, _)| id));
    state.retain(|id, _| !gone.contains(id));
    let nodes: Vec<_> = gone.into_iter().map(|id| (id, None)).collect();
    disk.leave(20_000);
    store.commit(&batch(3, nodes)).unwrap();
    assert_eq!(loaded(&mut store).0, state);
    // What it made has come free, but somebody else has taken it: the next one fits as well, and
    // nobody copies in vain for each.
    disk.leave(5_000);
    for n in 4..20 {
        let before = disk.done();
        let small = node(n + 1000, b"small");
        state.insert(id(0), small.clone());
        store.commit(&batch(n, vec![(id(0), Some(small))])).unwrap();
        assert!(disk.done() - before < 10);
    }
    assert!(!store.is_wasteful());
    assert_eq!(loaded(&mut store).0, state);
    drop(store);
    // With space it is given back.
    disk.leave(1 << 20);
    let mut store = open(&disk).unwrap();
    while store.is_wasteful() {
        store.tidy().unwrap();
    }
    assert!(store.disk_bytes() < 80 * 2048 * 2, "{}", store.disk_bytes());
    assert_eq!(loaded(&mut store).0, state);
}
