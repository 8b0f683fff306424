//! What is written is read.

use std::fs;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::store::row::{self, Head, Home, Kind};

#[test]
fn what_is_committed_is_loaded() {
    for seed in 0..20 {
        let disk = MemoryDisk::new(seed);
        let mut random = StdRng::seed_from_u64(seed);
        let mut model = Model::default();
        let mut store = open(&disk).unwrap();
        assert_eq!(loaded(&mut store), (State::new(), Meta::default(), 0));
        for step in 1..40 {
            store.commit(&model.step(&mut random)).unwrap();
            if step % 7 == 0 {
                drop(store);
                store = open(&disk).unwrap();
            }
            let expected = (model.state.clone(), meta(step), step);
            assert_eq!(loaded(&mut store), expected, "seed {seed}, step {step}");
            assert_eq!(store.node_count(), model.state.len());
        }
        let large = model.state.values().filter(|node| node.base.len() >= LARGE);
        let files = disk.files().into_iter();
        let files = files.filter(|(path, _)| path.starts_with(dir().join("nodes")));
        assert_eq!(files.count(), large.count(), "one file per large base");
    }
}

#[test]
fn only_what_is_new_is_written() {
    let directory = tempfile::tempdir().unwrap();
    let mut store = Store::open(directory.path(), options()).unwrap();
    let mut stored = node(1, &vec![7; 100_000]);
    store
        .commit(&batch(1, vec![(id(1), Some(stored.clone()))]))
        .unwrap();
    let names = || -> Vec<_> {
        let files = fs::read_dir(directory.path().join("nodes")).unwrap();
        files.map(|file| file.unwrap().file_name()).collect()
    };
    let before = names();
    stored.owner = "bob".into();
    stored.tail.push(Bytes::from_static(b"delta"));
    store
        .commit(&batch(2, vec![(id(1), Some(stored.clone()))]))
        .unwrap();
    assert_eq!(names(), before, "the base has not been written again");
    stored.tail_start = 1;
    stored.tail.clear();
    store
        .commit(&batch(3, vec![(id(1), Some(stored.clone()))]))
        .unwrap();
    assert_ne!(names(), before);
    assert_eq!(names().len(), 1);
    assert!(store.disk_bytes() > 100_000);
    drop(store);
    let mut store = Store::open(directory.path(), options()).unwrap();
    assert_eq!(loaded(&mut store).0, State::from([(id(1), stored)]));
}

#[test]
fn it_is_for_one_server_and_one_user() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("sessions/main");
    let mut store = Store::open(&dir, options()).unwrap();
    store
        .commit(&batch(1, vec![(id(1), Some(node(1, &[1; 9000])))]))
        .unwrap();
    let error = Store::open(&dir, options()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }));
    assert!(error.to_string().contains(&*dir.to_string_lossy()));
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&dir), mode(&dir.join("nodes"))), (0o700, 0o700));
        for file in ["lock", "format", "store.redb", "nodes/0000000000000001"] {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    }
    drop(store);
    Store::open(&dir, options()).unwrap();
}

#[test]
fn broken_rows_are_not_read() {
    let head = Head {
        sequence: 1,
        place: 2,
        version: 3,
        tail_start: 4,
        home: Home::File(5),
        owner: "bob".into(),
        kind: Bytes::from_static(b"Object"),
    };
    let row = head.row(id(1));
    assert_eq!(Head::read(&row, id(1)), Some(head));
    assert_eq!(Head::read(&row, id(2)), None, "the row of another node");
    assert_eq!(row::open(&row, Kind::Base, Some(id(1))), None);
    let links = row::links(id(1), &node(1, b""), 9);
    for row in [row, links, row::session(&meta(3), 3)] {
        let read = |row: &[u8]| {
            Head::read(row, id(1)).is_some()
                || row::read_links(row, id(1)).is_some()
                || row::read_session(row).is_some()
        };
        assert!(read(&row));
        for at in 0..row.len() {
            assert!(!read(&row[..at]), "cut at {at}");
            for bit in 0..8 {
                let mut broken = row.clone();
                broken[at] ^= 1 << bit;
                assert!(!read(&broken), "bit {bit} of byte {at}");
            }
            // Also where the checksum says nothing, because somebody has made it up.
            let mut broken = row[..row.len() - 4].to_vec();
            if let Some(byte) = broken.get_mut(at) {
                *byte = 0xff;
            }
            broken.extend(crc32fast::hash(&broken).to_le_bytes());
            read(&broken);
        }
    }
}
