//! Payloads are what artists say, and may look like rows of the log. Searching a damaged log must not
//! take them for some.

use super::*;
use crate::store::Report;
use crate::store::content::{self, About};
use crate::store::disk::Disk;
use crate::store::recover::recover_within;
use crate::store::row::{Kind, seal};
use crate::wire::pickle::{Dict, Protocol, ScanPolicy, Value, write};

/// What would run a function on every other artist's machine.
const EVIL: &[u8] = b"\x80\x04cos\nsystem\n(S'id'\ntR.";

/// Data as an artist pushes it.
fn dict(value: impl Into<Value>) -> Bytes {
    write(
        &Value::Dict(Dict::new().with("data", value)),
        Protocol::Four,
    )
}

fn base(id: NodeId, version: u64, payload: &[u8]) -> Vec<u8> {
    let state = [version.to_le_bytes(), 0_u64.to_le_bytes()].concat();
    seal(Kind::Base, Some(id), &[&state, payload])
}

/// Rows that change two nodes of others, and make one.
fn rows() -> Vec<u8> {
    let about = About {
        place: 99,
        owner: "mallory".into(),
        kind: Bytes::new(),
    };
    [
        base(id(1), 1 << 40, EVIL),
        content::gone(id(2)),
        about.row(id(66)),
        content::links(id(66), 1, &[], None),
        base(id(66), 5, EVIL),
    ]
    .concat()
}

/// A session with such rows in its last node but one, and how it is without that.
fn filled(rows: Vec<u8>) -> (MemoryDisk, State) {
    let disk = MemoryDisk::new(1);
    // All of it is in the log.
    let large = usize::MAX;
    let options = Options { large, ..options() };
    let mut store = Store::open_on(Arc::new(disk.clone()), dir(), options, true).unwrap();
    let mut state = State::new();
    let nodes = [
        (1, dict("the victim")),
        (2, dict("deleted?")),
        (3, dict(Value::Bytes(rows.into()))),
        (4, dict("the last")),
    ];
    for (n, payload) in nodes {
        let node = node(n, &payload);
        state.insert(id(n), node);
    }
    let mut all: Vec<_> = state.iter().map(|(id, node)| (*id, node)).collect();
    all.sort_unstable_by_key(|(_, node)| node.place);
    let all = all.into_iter();
    let all = all.map(|(id, node)| (id, Some(node.clone()))).collect();
    store.commit(&batch(1, all)).unwrap();
    (disk, state)
}

/// Changes a byte of the log behind what is found there.
fn damage(disk: &MemoryDisk, what: &[u8], behind: usize) {
    let files = disk.files();
    let log = dir().join("log");
    let found = files
        .iter()
        .filter(|(path, _)| path.starts_with(&log))
        .find_map(|(path, bytes)| {
            let mut places = bytes.windows(what.len());
            Some((path, places.position(|there| there == what)?))
        });
    let (path, at) = found.unwrap();
    disk.damage(path, |file| file[at + behind] ^= 1);
}

fn recovered(disk: &MemoryDisk) -> (Report, State) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let into = Path::new("/data/sessions/rescued");
    let report = recover_within(&shared, dir(), into, &ScanPolicy::NODE).unwrap();
    assert!(report.searched);
    let mut store = Store::open_on(shared, into, options(), true).unwrap();
    (report, loaded(&mut store).0)
}

#[test]
fn what_looks_like_rows_inside_a_row_is_none() {
    // The damage is elsewhere, or in the same payload.
    for (what, lost) in [(&b"the last"[..], 4), (b"mallory", 3)] {
        let (disk, mut state) = filled(rows());
        damage(&disk, what, 0);
        let (report, found) = recovered(&disk);
        state.remove(&id(lost));
        assert_eq!(found, state, "{lost}");
        assert_eq!((report.lost, report.refused), (vec![id(lost)], vec![]));
    }
}

#[test]
fn what_a_search_finds_is_looked_into() {
    let (disk, mut state) = filled(rows());
    // Where the row ends is not known any more.
    let stored = &state[&id(3)].base;
    let len = (stored.len() as u64 + 16).to_le_bytes();
    damage(&disk, &[b"mus-rowB".as_slice(), &len].concat(), 12);
    let (report, found) = recovered(&disk);
    assert_eq!(found[&id(1)], state[&id(1)]);
    assert!(!found.contains_key(&id(66)));
    assert_eq!(report.refused, [id(66)]);
    // That there is nothing wrong with it says nothing of whether it was ever true.
    state.retain(|node, _| [id(1), id(4)].contains(node));
    assert_eq!(found, state);
}

/// The starts of many long rows, in a payload of which nothing is sound.
#[test]
fn what_looks_like_many_rows_takes_no_hours() {
    let body = 1_000_000_u64.to_le_bytes();
    let start = [b"mus-rowB", &body[..], id(7).as_bytes()].concat();
    let (disk, mut state) = filled(start.repeat(40_000));
    let stored = &state[&id(3)].base;
    let len = (stored.len() as u64 + 16).to_le_bytes();
    damage(&disk, &[b"mus-rowB".as_slice(), &len].concat(), 12);
    let before = disk.read();
    let (report, found) = recovered(&disk);
    let read = disk.read() - before;
    assert!(read < 40 * stored.len(), "{read} bytes were read");
    state.remove(&id(3));
    assert_eq!((found, report.lost), (state, vec![id(3)]));
}
