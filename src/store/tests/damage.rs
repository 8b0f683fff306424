//! Damage is noticed, said, and as little as possible is lost to it.

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
    rescued_to(disk, "rescued")
}

fn rescued_to(disk: &MemoryDisk, name: &str) -> (Report, State) {
    let into = &Path::new("/data/sessions").join(name);
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut before = disk.files();
    let report = recover_on(&shared, dir(), into, &|_, _, payload| Some(payload)).unwrap();
    let mut after = disk.files();
    before.retain(|(path, _)| path.starts_with(dir()));
    after.retain(|(path, _)| path.starts_with(dir()));
    assert!(before == after, "the damaged one has changed");
    let mut store = Store::open_on(shared, into, options(), true).unwrap();
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
    assert!(error.to_string().contains("session recover"), "{error}");
    let (report, rescued) = rescued(disk);
    assert_eq!(report.lost, [id(2)], "{what}");
    assert_eq!((report.nodes, report.searched), (2, false), "{what}");
    let mut state = state.clone();
    state.remove(&id(2));
    assert_eq!(rescued, state, "{what}");
}

/// A log of several segments.
fn long() -> (MemoryDisk, State) {
    let (disk, mut state) = filled();
    let mut store = open(&disk).unwrap();
    for n in 10..210 {
        let stored = node(n, &[n as u8; 2000]);
        let gone = id(n.saturating_sub(40).max(4));
        let nodes = vec![(id(n), Some(stored.clone())), (gone, None)];
        store.commit(&batch(n, nodes)).unwrap();
        state.insert(id(n), stored);
        state.remove(&gone);
    }
    drop(store);
    // Segments that were given up go.
    open(&disk).unwrap();
    (disk, state)
}

/// Opening does nothing to what is damaged.
fn untouched(disk: &MemoryDisk) -> Result<State, StoreError> {
    let before = disk.files();
    let tried = tried(disk);
    if matches!(tried, Err(StoreError::Damaged { .. })) {
        assert!(before == disk.files(), "the damaged one has changed");
    }
    tried
}

#[test]
fn a_damaged_log_is_never_taken_for_another() {
    for (disk, state) in [filled(), long()] {
        let log = dir().join("log");
        let files = disk.files();
        let segments = files.iter().filter(|(path, _)| path.starts_with(&log));
        let mark = files.iter().find(|(path, _)| path.ends_with("mark"));
        for (path, sound) in segments.chain(mark) {
            let step = (sound.len() / 97).max(1);
            for at in (0..sound.len()).step_by(step).chain(0..200) {
                disk.damage(path, |file| {
                    file.clone_from(sound);
                    file[at] ^= 0x10;
                });
                check_noticed(&disk, &state, path, at);
            }
            for len in [0, 1, 100, sound.len() / 2, sound.len() - 1] {
                disk.damage(path, |file| {
                    file.clone_from(sound);
                    file.truncate(len);
                });
                check_noticed(&disk, &state, path, len);
            }
            disk.damage(path, |file| file.clone_from(sound));
        }
        let (path, _) = files
            .iter()
            .find(|(path, _)| path.starts_with(&log))
            .unwrap();
        for path in [path, &dir().join("mark")] {
            let sound = disk.clone().files();
            disk.forget(path);
            assert!(matches!(untouched(&disk), Err(StoreError::Damaged { .. })));
            let (_, bytes) = sound.iter().find(|(found, _)| found == path).unwrap();
            disk.open(path, crate::store::disk::How::Anew).unwrap();
            disk.damage(path, |file| file.clone_from(bytes));
        }
        assert_eq!(untouched(&disk).unwrap(), state);
    }
}

fn check_noticed(disk: &MemoryDisk, state: &State, path: &Path, at: usize) {
    let is_mark = path.ends_with("mark");
    match untouched(disk) {
        // One place of the mark is enough, and what is between them means nothing.
        Ok(found) if is_mark => assert_eq!(found, *state, "byte {at} of the mark"),
        Ok(_) => panic!("byte {at} of {} is not missed", path.display()),
        Err(StoreError::Damaged { what, .. }) => assert!(!what.is_empty()),
        Err(error) => panic!("byte {at}: {error}"),
    }
}

#[test]
fn rows_are_found_in_what_was_a_log() {
    let (disk, state) = long();
    let files = disk.files();
    let mut segments = files
        .iter()
        .filter(|(path, _)| path.starts_with(dir().join("log")));
    let (path, _) = segments.next().unwrap();
    assert!(segments.next().is_some());
    disk.damage(path, |file| {
        for byte in file.iter_mut().take(40) {
            *byte = 0x55;
        }
    });
    assert!(matches!(untouched(&disk), Err(StoreError::Damaged { .. })));
    let (report, found) = rescued(&disk);
    assert!(report.searched);
    assert_eq!((report.nodes, found), (state.len(), state.clone()));
    disk.forget(&dir().join("format"));
    let (report, found) = rescued_to(&disk, "again");
    assert!(report.searched && report.lost.is_empty());
    assert_eq!(found, state);
}

#[test]
fn a_format_that_is_unknown_or_lost_is_refused() {
    let (disk, _) = filled();
    let format = dir().join("format");
    disk.damage(&format, |file| {
        *file = b"3\nwritten by multi-user-server 7.8.9\nand more\n".to_vec();
    });
    let error = tried(&disk).unwrap_err();
    assert!(
        matches!(&error, StoreError::Newer { by, format: 3, .. } if by == "7.8.9"),
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

#[test]
fn what_the_disk_cannot_read_is_damage() {
    let (disk, state) = filled();
    disk.spoil(&dir().join("nodes/0000000000000001"), 20_000..20_512);
    check_lost(&disk, &state, "unreadable");
    // What the newest place of the mark says the log proves.
    let mark = dir().join("mark");
    let (disk, state) = filled();
    disk.spoil(&mark, 0..512);
    assert_eq!(tried(&disk).unwrap(), state);
    // In the other there may have been a later one.
    for unreadable in [4096..4608, 0..4608] {
        let (disk, state) = filled();
        disk.spoil(&mark, unreadable);
        assert!(matches!(untouched(&disk), Err(StoreError::Damaged { .. })));
        assert_eq!(rescued(&disk).1, state);
    }
}

/// A node of 2000 bytes or two stand where nothing can be read; all others are found.
#[test]
fn a_search_goes_on_behind_what_cannot_be_read() {
    let (disk, state) = long();
    let files = disk.files();
    let log = files
        .iter()
        .filter(|(path, _)| path.starts_with(dir().join("log")));
    let (path, bytes) = log.max_by_key(|(_, bytes)| bytes.len()).unwrap();
    assert!(bytes.len() > 4096);
    disk.spoil(path, 600..1112);
    assert!(matches!(untouched(&disk), Err(StoreError::Damaged { .. })));
    let (report, found) = rescued(&disk);
    assert!(report.searched);
    let missing = state.len() - found.len();
    assert!((1..4).contains(&missing), "{missing}");
    assert!(found.iter().all(|(id, node)| state[id] == *node));
}
