//! Stores of older formats are brought up to date, whatever comes between.

use std::fs;

use super::memory::Fault;
use super::*;
use crate::store::disk::{Disk, How};
use crate::store::recover::recover_on;

/// What the stores in `tests/corpus/store` hold.
fn fixture() -> Vec<(NodeId, Option<Stored>)> {
    let mut first = node(1, b"small");
    first.tail = vec![Bytes::from_static(b"one"), Bytes::from_static(b"two")];
    first.tail_start = 4;
    let mut second = node(2, &[2; 4000]);
    second.owner = "bob".into();
    let mut third = node(3, b"");
    third.aside = Some(vec![id(1)]);
    vec![
        (id(1), Some(first)),
        (id(2), Some(second)),
        (id(3), Some(third)),
    ]
}

/// Run this after a change of the format, with the directory of the new one.
#[test]
#[ignore = "it writes the corpus"]
fn write_fixture() {
    let dir = std::env::var("STORE_FIXTURE").unwrap();
    let mut store = Store::open(Path::new(&dir), options()).unwrap();
    store.commit(&batch(9, fixture())).unwrap();
}

fn expected() -> (State, Meta, u64) {
    let nodes = fixture().into_iter().map(|(id, node)| (id, node.unwrap()));
    (nodes.collect(), meta(9), 9)
}

fn corpus() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/store")
}

/// The files of a store, by their names in it.
fn files(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    for below in ["", "nodes", "log"] {
        for entry in fs::read_dir(dir.join(below)).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_file() {
                let name = path.strip_prefix(dir).unwrap().to_str().unwrap();
                found.push((name.to_owned(), fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// A disk with a store of this format on it.
fn disk_with(format: &str, seed: u64) -> MemoryDisk {
    let disk = MemoryDisk::new(seed);
    for (name, bytes) in files(&corpus().join(format)) {
        let path = dir().join(name);
        let file = disk.open(&path, How::Anew).unwrap();
        file.write_at(0, &bytes).unwrap();
        file.sync().unwrap();
        disk.sync_dir(path.parent().unwrap()).unwrap();
    }
    disk
}

#[test]
fn stores_of_all_formats_are_read() {
    let mut formats = 0;
    for entry in fs::read_dir(corpus()).unwrap() {
        let from = entry.unwrap().path();
        let directory = tempfile::tempdir().unwrap();
        for below in ["nodes", "log"] {
            fs::create_dir(directory.path().join(below)).unwrap();
        }
        for (name, bytes) in files(&from) {
            fs::write(directory.path().join(name), bytes).unwrap();
        }
        let mut store = Store::open(directory.path(), options()).unwrap();
        assert_eq!(loaded(&mut store), expected(), "{}", from.display());
        assert_eq!(store.summary().live_bytes, 5 + 6 + 4000);
        drop(store);
        assert!(!directory.path().join("store.redb").exists());
        // And it is one like any other.
        let mut store = Store::open_existing(directory.path(), options()).unwrap();
        assert_eq!(loaded(&mut store), expected(), "{}", from.display());
        formats += 1;
    }
    assert_eq!(formats, crate::store::format::FORMAT);
}

#[test]
fn an_interrupted_upgrade_is_done_again() {
    let whole = disk_with("1", 0);
    let first = whole.done();
    drop(open(&whole).unwrap());
    let faults = [
        Fault::Cut,
        Fault::Once(std::io::ErrorKind::Other),
        Fault::Short,
    ];
    for at in first..whole.done() {
        for fault in faults {
            for seed in 0..4 {
                let disk = disk_with("1", seed * 1000 + at as u64);
                disk.fail_at(at, fault);
                // What is only tidied up may fail unnoticed.
                let _ = open(&disk);
                disk.cut_power();
                let where_ = format!("operation {at}, {fault:?}, seed {seed}");
                let mut store = open(&disk).unwrap_or_else(|error| panic!("{where_}: {error}"));
                assert_eq!(loaded(&mut store), expected(), "{where_}");
                store.commit(&batch(10, vec![(id(1), None)])).unwrap();
                assert_eq!(loaded(&mut store).0.len(), 2, "{where_}");
            }
        }
    }
}

/// The large files are not written again.
#[test]
fn an_upgrade_takes_no_space_for_large_nodes() {
    let disk = disk_with("1", 0);
    let large = dir().join("nodes/0000000000000001");
    let before = disk.files();
    drop(open(&disk).unwrap());
    let after = disk.files();
    let find = |files: &[(_, Vec<u8>)]| files.iter().find(|(path, _)| *path == large).cloned();
    assert_eq!(find(&before), find(&after));
    let nodes = after
        .iter()
        .filter(|(path, _)| path.starts_with(dir().join("nodes")));
    assert_eq!(nodes.count(), 1);
}

#[test]
fn a_damaged_store_of_format_1_is_left_as_it_is_and_rescued() {
    let index = dir().join("store.redb");
    let large = dir().join("nodes/0000000000000001");
    for (path, searched) in [(&index, true), (&large, false)] {
        let disk = disk_with("1", 0);
        disk.damage(path, |file| {
            for byte in file.iter_mut().take(512) {
                *byte = 0x55;
            }
        });
        let (_, damaged) = disk
            .files()
            .into_iter()
            .find(|(found, _)| found == path)
            .unwrap();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let into = Path::new("/data/sessions/rescued");
        let report = recover_on(&shared, dir(), into, &|_, _, payload| Some(payload)).unwrap();
        assert_eq!(report.searched, searched);
        let mut store = Store::open_on(shared, into, options(), true).unwrap();
        let (mut state, meta, sequence) = expected();
        if path == &large {
            assert_eq!(report.lost, [id(2)]);
            state.remove(&id(2));
        }
        assert_eq!(loaded(&mut store), (state, meta, sequence));
        let mut store = open(&disk);
        let tried = store.as_mut().map(|store| store.load(|_, _| {}));
        let error = match tried {
            Ok(Err(error)) => error,
            Ok(Ok(_)) => panic!("it is not damaged"),
            Err(error) => StoreError::damaged(path, error.to_string()),
        };
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        let (_, after) = disk
            .files()
            .into_iter()
            .find(|(found, _)| found == path)
            .unwrap();
        assert!(after == damaged);
    }
}
