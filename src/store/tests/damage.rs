//! Damage is noticed, said, and as little as possible is lost to it.

use std::fs;

use super::*;
use crate::store::recover::recover_on;
use crate::store::{Report, disk::Disk};

/// A store with two small nodes and a large one.
fn filled() -> (MemoryDisk, State) {
    let disk = MemoryDisk::new(1);
    let mut store = open(&disk).unwrap();
    let mut small = node(1, &[1; 600]);
    small.tail = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
    let large = node(2, &[2; 50_000]);
    let nodes = vec![
        (id(1), Some(small)),
        (id(2), Some(large)),
        (id(3), Some(node(3, &[3; 10]))),
    ];
    store.commit(&batch(1, nodes.clone())).unwrap();
    let state = nodes.into_iter().map(|(id, node)| (id, node.unwrap()));
    (disk, state.collect())
}

fn tried(disk: &MemoryDisk) -> Result<State, StoreError> {
    let mut store = open(disk)?;
    let mut state = State::new();
    store.load(|id, stored| {
        state.insert(id, stored);
    })?;
    Ok(state)
}

fn rescued(disk: &MemoryDisk) -> (Report, State) {
    let into = Path::new("/data/sessions/rescued");
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut before = disk.files();
    let report = recover_on(&shared, dir(), into).unwrap();
    let mut after = disk.files();
    before.retain(|(path, _)| path.starts_with(dir()));
    after.retain(|(path, _)| path.starts_with(dir()));
    assert!(before == after, "the damaged one has changed");
    let mut store = Store::open_on(shared, into, options()).unwrap();
    (report, loaded(&mut store).0)
}

type Damage = fn(&mut Vec<u8>);

#[test]
fn a_damaged_payload_is_said_and_costs_one_node() {
    let damages: [(&str, Damage); 4] = [
        ("a bit", |file| file[30_000] ^= 1),
        ("its length", |file| file[9] ^= 1),
        ("cut", |file| file.truncate(20_000)),
        ("empty", Vec::clear),
    ];
    for (what, damage) in damages {
        let (disk, state) = filled();
        let path = dir().join("nodes/0000000000000001");
        disk.damage(&path, damage);
        check_lost(&disk, &state, what);
    }
    let (disk, state) = filled();
    disk.forget(&dir().join("nodes/0000000000000001"));
    check_lost(&disk, &state, "missing");
}

fn check_lost(disk: &MemoryDisk, state: &State, what: &str) {
    let error = tried(disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Damaged { path, .. }
        if path.ends_with("nodes/0000000000000001")),
        "{what}: {error}"
    );
    assert!(error.to_string().contains("move it away"), "{error}");
    let (report, rescued) = rescued(disk);
    assert_eq!(report.lost, [id(2)], "{what}");
    assert_eq!((report.nodes, report.searched), (2, false), "{what}");
    let mut state = state.clone();
    state.remove(&id(2));
    assert_eq!(rescued, state, "{what}");
}

#[test]
fn a_damaged_index_is_never_taken_for_another() {
    let (disk, state) = filled();
    let path = dir().join("store.redb");
    let files = disk.files();
    let (_, sound) = files.iter().find(|(found, _)| *found == path).unwrap();
    let mut noticed = 0;
    for at in (0..sound.len()).step_by(997).chain(0..320) {
        disk.damage(&path, |file| {
            file.clone_from(sound);
            file[at] ^= 0x10;
        });
        match tried(&disk) {
            Ok(found) => assert_eq!(found, state, "byte {at}"),
            Err(StoreError::Damaged { what, .. }) => {
                assert!(!what.is_empty());
                noticed += 1;
            }
            Err(error) => panic!("byte {at}: {error}"),
        }
    }
    assert!(noticed > 20, "{noticed}");
    for len in [0, 100, 4096, sound.len() / 2, sound.len() - 1] {
        disk.damage(&path, |file| {
            file.clone_from(sound);
            file.truncate(len);
        });
        let error = tried(&disk).unwrap_err();
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{len}: {error}"
        );
    }
    disk.forget(&path);
    assert!(matches!(tried(&disk), Err(StoreError::Damaged { .. })));
}

#[test]
fn rows_are_found_in_what_was_an_index() {
    let (disk, state) = filled();
    disk.damage(&dir().join("store.redb"), |file| {
        for byte in file.iter_mut().take(512) {
            *byte = 0x55;
        }
    });
    assert!(matches!(tried(&disk), Err(StoreError::Damaged { .. })));
    let (report, rescued) = rescued(&disk);
    assert_eq!((report.nodes, report.searched), (3, true));
    assert_eq!(rescued, state);
}

#[test]
fn a_format_that_is_unknown_or_lost_is_refused() {
    let (disk, _) = filled();
    let format = dir().join("format");
    disk.damage(&format, |file| {
        *file = b"2\nwritten by multi-user-server 7.8.9\nand more\n".to_vec();
    });
    let error = tried(&disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Newer { by, format: 2, .. } if by == "7.8.9"),
        "{error}"
    );
    for text in ["", "x\n", "0\n"] {
        disk.damage(&format, |file| *file = text.as_bytes().to_vec());
        assert!(
            matches!(tried(&disk), Err(StoreError::Damaged { .. })),
            "{text}"
        );
    }
    disk.forget(&format);
    assert!(matches!(tried(&disk), Err(StoreError::Damaged { .. })));
}

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

#[test]
fn stores_of_all_formats_are_read() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/store");
    let mut formats = 0;
    for entry in fs::read_dir(corpus).unwrap() {
        let from = entry.unwrap().path();
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("nodes")).unwrap();
        for file in ["format", "store.redb", "nodes/0000000000000001"] {
            fs::copy(from.join(file), directory.path().join(file)).unwrap();
        }
        let mut store = Store::open(directory.path(), options()).unwrap();
        let expected = fixture().into_iter().map(|(id, node)| (id, node.unwrap()));
        assert_eq!(
            loaded(&mut store),
            (expected.collect(), meta(9), 9),
            "{}",
            from.display()
        );
        formats += 1;
    }
    assert_eq!(formats, crate::store::format::FORMAT);
}
