//! What is written is read.

use std::fs;

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::*;
use crate::store::content::{self, About, Commit, Content, Mark, PayloadRow, Said};
use crate::store::keeper::claimed;
use crate::store::row::Kind;

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
        let payloads = model
            .state
            .values()
            .flat_map(|node| node.tail.iter().chain([&node.base]));
        let large = payloads.filter(|payload| payload.len() >= LARGE);
        let files = disk.files().into_iter();
        let files = files.filter(|(path, _)| path.starts_with(dir().join("nodes")));
        assert_eq!(files.count(), large.count(), "one file per large payload");
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

/// What was said before of the same version is not taken for a part of it.
#[test]
fn a_tail_may_be_shorter_than_it_was() {
    let disk = MemoryDisk::new(4);
    let mut store = open(&disk).unwrap();
    let mut stored = node(1, b"base");
    stored.tail = ["one", "two", "three"].map(Bytes::from).to_vec();
    let changes: [fn(&mut Stored); 4] = [
        |_| {},
        |stored| stored.tail.truncate(1),
        |stored| stored.tail_start = 5,
        |stored| (stored.tail_start, stored.tail[0]) = (2, Bytes::from_static(b"other")),
    ];
    for (sequence, change) in (1..).zip(changes) {
        change(&mut stored);
        let nodes = vec![(id(1), Some(stored.clone()))];
        store.commit(&batch(sequence, nodes)).unwrap();
        let expected = State::from([(id(1), stored.clone())]);
        assert_eq!(loaded(&mut store).0, expected, "{sequence}");
        drop(store);
        store = open(&disk).unwrap();
        assert_eq!(loaded(&mut store).0, expected, "{sequence}");
    }
}

#[test]
fn nodes_are_read_one_by_one_as_well() {
    let disk = MemoryDisk::new(3);
    let mut random = StdRng::seed_from_u64(3);
    let mut model = Model::default();
    let mut store = open(&disk).unwrap();
    for step in 1..60 {
        store.commit(&model.step(&mut random)).unwrap();
        let ids = store.ids();
        let places: Vec<_> = ids.iter().map(|id| model.state[id].place).collect();
        assert!(places.is_sorted());
        let read = ids.iter().map(|id| (*id, store.read(*id).unwrap()));
        assert_eq!(read.collect::<State>(), model.state);
        let bytes = |node: &Stored| node.base.len() + node.tail.concat().len();
        let summary = store.summary();
        assert_eq!((summary.meta, summary.sequence), (meta(step), step));
        assert_eq!(summary.nodes, ids.len());
        let live = model.state.values().map(bytes).sum::<usize>();
        assert_eq!(summary.live_bytes, live as u64);
        let files = disk.files();
        let files = files
            .iter()
            .filter(|(path, _)| path.parent() != Some(dir()));
        let len: usize = files.map(|(_, bytes)| bytes.len()).sum();
        assert_eq!(summary.disk_bytes, len as u64);
    }
    let error = store.read(id(99)).unwrap_err();
    assert!(matches!(error, StoreError::NoNode { .. }), "{error}");
}

#[test]
fn none_is_made_where_one_is_to_be_looked_at() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("sessions/main");
    let error = Store::open_existing(&dir, options()).unwrap_err();
    assert!(matches!(error, StoreError::Missing { .. }), "{error}");
    assert!(!dir.exists());
    fs::create_dir_all(&dir).unwrap();
    Store::open_existing(&dir, options()).unwrap_err();
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 0);
    let mut store = Store::open(&dir, options()).unwrap();
    store
        .commit(&batch(1, vec![(id(1), Some(node(1, &[1; 9000])))]))
        .unwrap();
    drop(store);
    let store = Store::open_existing(&dir, options()).unwrap();
    assert_eq!(store.ids(), [id(1)]);
    drop(store);
    fs::remove_file(dir.join("format")).unwrap();
    let error = Store::open_existing(&dir, options()).unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
}

/// Who looks at it has it for a moment.
#[test]
fn who_is_to_use_it_waits_until_it_is_free() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let mut other = Some(Store::open(dir, options()).unwrap());
    let error = claimed(dir, &options(), || false).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error}");
    let mut waits = 0;
    let claim = claimed(dir, &options(), || {
        waits += 1;
        if waits == 3 {
            other = None;
        }
        true
    });
    claim.unwrap();
    assert_eq!(waits, 3);
    // What is wrong otherwise is not waited for.
    fs::write(dir.join("format"), "9\n").unwrap();
    let error = claimed(dir, &options(), || panic!("it waits")).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error}");
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
        for dir in [&dir, &dir.join("nodes"), &dir.join("log")] {
            assert_eq!(mode(dir), 0o700);
        }
        let files = [
            "lock",
            "format",
            "mark",
            "log/0000000000000001",
            "nodes/0000000000000001",
        ];
        for file in files {
            assert_eq!(mode(&dir.join(file)), 0o600, "{file}");
        }
    }
    drop(store);
    Store::open(&dir, options()).unwrap();
}

#[test]
fn broken_rows_are_not_read() {
    let about = About {
        place: 2,
        owner: "bob".into(),
        kind: Bytes::from_static(b"Object"),
    };
    let mark = Mark {
        number: 1,
        first: 2,
        segment: 3,
        end: 4,
    };
    let commit = Commit {
        number: 1,
        first: 2,
        sequence: 3,
        meta: meta(3),
    };
    let here = PayloadRow::new(Kind::Delta, id(1), (3, 4), b"delta");
    let file = content::in_file(Kind::BaseFile, id(1), (3, 4), 5, 6);
    let in_file = Content::File {
        number: 5,
        bytes: 6,
    };
    let rows = [
        (about.row(id(1)), Said::About(about)),
        (
            here.parts().concat(),
            Said::Delta((3, 4), Content::Here(b"delta")),
        ),
        (file, Said::Base((3, 4), in_file)),
        (content::gone(id(1)), Said::Gone),
    ];
    for (row, said) in &rows {
        let read = content::read(row).unwrap();
        assert_eq!((read.0, &read.1), (Some(id(1)), said));
    }
    assert_eq!(content::read(&mark.row()), Some((None, Said::Mark(mark))));
    let links = content::links(id(1), 9, &[id(2)], Some(&[id(3)]));
    let commit = commit.row();
    for row in rows.map(|(row, _)| row).into_iter().chain([links, commit]) {
        assert!(content::read(&row).is_some());
        for at in 0..row.len() {
            assert_eq!(content::read(&row[..at]), None, "cut at {at}");
            for bit in 0..8 {
                let mut broken = row.clone();
                broken[at] ^= 1 << bit;
                assert_eq!(content::read(&broken), None, "bit {bit} of byte {at}");
            }
            // Also where the checksum says nothing, because somebody has made it up.
            let mut broken = row[..row.len() - 4].to_vec();
            if let Some(byte) = broken.get_mut(at) {
                *byte = 0xff;
            }
            broken.extend(crc32fast::hash(&broken).to_le_bytes());
            content::read(&broken);
        }
    }
}

/// A server has its place at once, however long reading takes; only then does it learn of damage.
#[test]
fn a_store_is_claimed_before_it_is_read() {
    let disk = MemoryDisk::new(1);
    let claim = || Claim::on(Arc::new(disk.clone()), dir(), options(), true);
    let mut state = State::new();
    for round in 0..2 {
        let claimed = claim().unwrap();
        let mut found = State::new();
        let loaded = claimed.load(|id, node| assert!(found.insert(id, node).is_none()));
        let (mut store, _, sequence) = loaded.unwrap();
        assert_eq!((&found, sequence), (&state, round));
        let mut small = node(1, &[1; 600]);
        small.tail = vec![Bytes::from_static(b"a"), vec![2; 5000].into()];
        let nodes = vec![(id(1), Some(small)), (id(2), Some(node(2, &[3; 5000])))];
        store.commit(&batch(round + 1, nodes.clone())).unwrap();
        state = nodes
            .into_iter()
            .map(|(id, node)| (id, node.unwrap()))
            .collect();
    }
    disk.damage(&dir().join("log/0000000000000001"), |log| log[100] ^= 1);
    let damaged = claim().unwrap().load(|_, _| {});
    assert!(matches!(damaged.unwrap_err(), StoreError::Damaged { .. }));
    disk.damage(&dir().join("format"), |file| *file = b"99\n".to_vec());
    assert!(matches!(claim().unwrap_err(), StoreError::Newer { .. }));
}
