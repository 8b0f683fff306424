//! Backups on a disk on which everything can go wrong.

mod live;

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::write::tidy;
use super::{BackupError, Limits, Made, Place, Reason, contents, read_file, write_file};
use crate::config::Config;
use crate::session::Snapshot;
use crate::store::disk::{Disk, How};
use crate::store::tests::memory::{Fault, MemoryDisk};
use crate::store::{Meta, Stored};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;
use crate::wire::pickle::{Budget, Dict, Protocol, Value, write};

const DIR: &str = "/data/backups/main";

fn id(n: u32) -> NodeId {
    NodeId::new(format!("{n:08}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn payload(text: &str) -> Bytes {
    write(&Value::Dict(Dict::new().with("text", text)), Protocol::Four)
}

fn node(n: u32, text: &str) -> (NodeId, Stored) {
    let stored = Stored {
        place: u64::from(n),
        owner: Arc::from("alice"),
        kind: Bytes::new(),
        dependencies: (1..n).take(2).map(id).collect(),
        version: u64::from(n),
        base: payload(text),
        tail_start: 0,
        tail: Vec::new(),
        aside: None,
    };
    (id(n), stored)
}

/// A session of nodes that do not become smaller.
fn session() -> Snapshot {
    let noise = |n: u32| {
        let numbers = (0..60_000u32).map(|i| char::from(b'a' + (i.wrapping_mul(n + 7) % 26) as u8));
        numbers.collect::<String>()
    };
    let mut nodes: Vec<_> = (1..=5).map(|n| node(n, &noise(n))).collect();
    nodes.push(node(6, "aside"));
    nodes[5].1.aside = Some(vec![]);
    Snapshot {
        sequence: 42,
        meta: Meta {
            family: Some(Family::UntypedPickle),
            version: Some("0.9.11".to_owned()),
            active: true,
        },
        nodes,
    }
}

fn content() -> Budget {
    Budget::node(1 << 20, 64, 100_000)
}

fn place(dir: &Path) -> Place<'_> {
    Place {
        dir,
        session: "main",
        content: content(),
    }
}

fn back_up(disk: &dyn Disk, reason: Reason) -> Result<Made, BackupError> {
    place(Path::new(DIR)).write_on(disk, reason, time(), contents(&session()))
}

fn time() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_456_800)
}

/// A file of the disk in memory, as one of the system's.
fn copied(disk: &MemoryDisk, path: &Path) -> tempfile::NamedTempFile {
    let file = disk.open(path, How::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    file.read_at(0, &mut bytes).unwrap();
    let copy = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(copy.path(), bytes).unwrap();
    copy
}

fn limits() -> Limits {
    Limits::new(&Config::default(), 1 << 24, content())
}

fn check(read: &Snapshot) {
    let written = session();
    assert_eq!(read.nodes.len(), 5);
    for ((id, stored), (wanted, original)) in read.nodes.iter().zip(&written.nodes) {
        assert_eq!(id, wanted);
        assert_eq!(stored.base, original.base);
        assert_eq!(stored.dependencies, original.dependencies);
        assert_eq!(&*stored.owner, "COMMON");
    }
    assert_eq!(read.meta.family, Some(Family::UntypedPickle));
}

#[test]
fn a_backup_has_all_but_what_is_set_aside() {
    let disk = MemoryDisk::new(1);
    let made = back_up(&disk, Reason::Interval).unwrap();
    let path = Path::new(DIR).join("main_interval_2026_11_23_18-00-00.db");
    assert_eq!((&made.path, made.nodes, made.aside), (&path, 5, 1));
    let copy = copied(&disk, &path);
    assert_eq!(copy.path().metadata().unwrap().len(), made.bytes);
    let read = read_file(copy.path(), &limits()).unwrap();
    check(&read);
    assert_eq!(read.meta.version.as_deref(), Some("0.9.11"));
    // Another one in the same second does not take its place.
    let again = back_up(&disk, Reason::Interval).unwrap();
    assert_eq!(
        again.path,
        Path::new(DIR).join("main_interval_2026_11_23_18-00-00_2.db")
    );
}

/// A node that names what `session.extra_globals` permits is not read here.
#[test]
fn it_is_said_whose_last_changes_a_backup_lacks() {
    let mut session = session();
    session.nodes[1].1.base = Bytes::from_static(b"\x80\x04cnumpy\ndtype\n.");
    session.nodes[2].1.base = session.nodes[1].1.base.clone();
    session.nodes[2].1.tail = vec![payload("a change")];
    let disk = MemoryDisk::new(1);
    let made = place(Path::new(DIR))
        .write_on(&disk, Reason::Reset, time(), contents(&session))
        .unwrap();
    assert_eq!((made.nodes, made.aside), (5, 1));
    assert_eq!(made.without_changes, [id(3)]);
    assert_eq!(back_up(&disk, Reason::Reset).unwrap().without_changes, []);
}

/// Whatever fails, what is called a backup is a whole one, and what was said to be made is there.
#[test]
fn every_operation_can_fail_and_no_file_is_half_a_backup() {
    let all = {
        let disk = MemoryDisk::new(0);
        back_up(&disk, Reason::Stop).unwrap();
        disk.done()
    };
    assert!(all > 4, "{all}");
    let faults = [
        Fault::Cut,
        Fault::Once(ErrorKind::Other),
        Fault::Once(ErrorKind::StorageFull),
        Fault::Once(ErrorKind::ReadOnlyFilesystem),
        Fault::Short,
        Fault::Full,
    ];
    let mut failed = 0;
    for (at, fault) in (0..all).flat_map(|at| faults.map(|fault| (at, fault))) {
        let disk = MemoryDisk::new(at as u64);
        disk.fail_at(at, fault);
        let made = back_up(&disk, Reason::Stop);
        if let Err(error) = &made {
            failed += 1;
            let text = error.to_string();
            assert!(text.starts_with("can't "), "{text}");
        }
        disk.cut_power();
        disk.heal();
        let files = disk.list(Path::new(DIR)).unwrap_or_default();
        let whole: Vec<_> = files
            .iter()
            .filter(|(name, _)| name.ends_with(".db"))
            .collect();
        assert!(
            made.is_err() || !whole.is_empty(),
            "{at} {fault:?}: it is not there"
        );
        for (name, _) in whole {
            let copy = copied(&disk, &Path::new(DIR).join(name));
            check(&read_file(copy.path(), &limits()).unwrap());
        }
        // The next attempt succeeds.
        back_up(&disk, Reason::Stop).unwrap();
    }
    assert!(failed > 10, "{failed}");
}

#[test]
fn what_an_ended_server_left_is_removed_and_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path();
    let snapshot = session();
    let made = place(dir).write(Reason::Left, contents(&snapshot)).unwrap();
    let keep = ["notes.txt", "other_left_2026_11_23_18-00-00.db.new"];
    let left = "main_left_2026_11_23_19-00-00.db.new";
    for name in keep.iter().chain([&left]) {
        std::fs::write(dir.join(name), "half").unwrap();
    }
    let state = session().fingerprint();
    assert_eq!(tidy(dir, "main"), Some((state, made.path.clone())));
    assert!(!dir.join(left).exists());
    assert!(made.path.exists());
    for name in keep {
        assert!(dir.join(name).exists(), "{name}");
    }
    assert_eq!(tidy(&dir.join("missing"), "main"), None);
}

#[test]
fn a_file_is_written_once() {
    let directory = tempfile::tempdir().unwrap();
    let path: PathBuf = directory.path().join("scene.db");
    let made = write_file(&path, "main", content(), contents(&session())).unwrap();
    assert_eq!((made.nodes, made.aside), (5, 1));
    let error = write_file(&path, "main", content(), contents(&session())).unwrap_err();
    assert!(error.to_string().contains("exists"), "{error}");
    let mut magic = [0; 2];
    std::fs::File::open(&path)
        .unwrap()
        .read_exact(&mut magic)
        .unwrap();
    assert_eq!(magic, [0x1f, 0x8b]);
    check(&read_file(&path, &limits()).unwrap());
    std::fs::write(&path, "nonsense").unwrap();
    let error = read_file(&path, &limits()).unwrap_err();
    assert!(
        error.contains("scene.db: this is no session file"),
        "{error}"
    );
}

/// A few kilobytes of a packed file may be as many values as one likes, and each takes far more in
/// memory than in the file.
#[test]
fn the_values_of_a_file_take_no_more_than_a_session_may() {
    let file = |lists: usize, values: usize| {
        let list = Value::List(vec![Value::None; values].into());
        let data = Dict::new().with("x", Value::List(vec![list; lists].into()));
        let node = Dict::new()
            .with("owner", "alice")
            .with("data", Value::Dict(data))
            .with("dependencies", Value::List(Vec::new().into()));
        let node = vec![id(1).as_str().into(), Value::Dict(node)];
        let nodes = vec![Value::Tuple(node.into())];
        let file = Dict::new().with("nodes", Value::List(nodes.into()));
        let path = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(path.path(), write(&Value::Dict(file), Protocol::Four)).unwrap();
        path
    };
    // For all of these there are bytes enough.
    let content = Budget::node(1 << 26, 64, 1 << 24);
    let read = |lists, values, bytes| {
        let limits = Limits::new(&Config::default(), bytes, content);
        let read = read_file(file(lists, values).path(), &limits);
        read.map(|read| read.nodes.len())
    };
    assert_eq!(read(4, 250_000, 1 << 24), Ok(1));
    let error = read(8, 250_000, 1 << 26).unwrap_err();
    assert!(error.contains("1048576"), "{error}");
    assert_eq!(read(8, 250_000, 1 << 27), Ok(1));
    let error = read(1, 3_000_000, 1 << 27).unwrap_err();
    assert!(error.contains("2097152"), "{error}");
}

/// What is emptied or replaced after the first backup ever is in that alone.
#[test]
fn the_folders_of_a_backup_are_as_durable_as_it() {
    let disk = MemoryDisk::new(1);
    back_up(&disk, Reason::Reset).unwrap();
    for dir in ["/data/backups/main", "/data/backups", "/data"] {
        assert!(disk.synced().contains(Path::new(dir)), "{dir}");
    }
}
