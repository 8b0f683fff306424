//! What it costs to keep a session: bytes written for each byte given, bytes on disk for each that
//! is live, commits per second, and how long it takes to load one.
//!
//!     cargo bench --bench store -- [--quick] [--loads] [DIRECTORY]
//!
//! With `--loads` only the last, with `--quick` all in less than half a minute.
//!
//! Every commit is synced, so the directory (a temporary one, unless named) should be on the disk
//! that is meant. Written is what the system was given by write calls, and what it sent to the disk,
//! whole blocks and names of files included; both are only known on Linux. Loading is compared with
//! reading the same files into one buffer, as `cat` does, and into fresh memory, which nothing that
//! keeps what it reads can do without; all of it with the files in the system's cache, and without.

// What a bench is for ends with it.
#![allow(clippy::unwrap_used)]

use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use multi_user_server::store::{Batch, Claim, Meta, Options, Store, Stored};
use multi_user_server::wire::identity::NodeId;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;
/// Changes that come together: 160 a second, written every 100 ms.
const TOGETHER: usize = 16;

fn main() {
    let words: Vec<_> = std::env::args().skip(1).collect();
    let quick = words.iter().any(|word| word == "--quick");
    let named = words.iter().find(|word| !word.starts_with('-'));
    let temporary = tempfile::tempdir().unwrap();
    let dir = named.map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let dir = dir.join("store-bench");
    let part = if quick { 10 } else { 1 };

    if !words.iter().any(|word| word == "--loads") {
        writes(&dir, part);
    }
    println!("| loaded | store | `cat` | fresh memory |");
    println!("|---|---|---|---|");
    load(&dir, 100 / part, 10_000_000);
    load(&dir, 10_000 / part, 100_000);
    load(&dir, 200_000 / part, 4 * KIB);
}

fn writes(dir: &Path, part: usize) {
    println!("| | written | to the disk | on disk | commits/s |");
    println!("|---|---|---|---|---|");
    edits(dir, (200, 200), 20_000 / part, 2 * KIB);
    edits(dir, (200, 200), 100_000 / part, 2 * KIB);
    edits(dir, (2000, 2000), 100_000 / part, 2 * KIB);
    edits(dir, (2000, 20), 100_000 / part, 2 * KIB);
    edits(dir, (2000, 2000), 100_000 / part / part, 20 * KIB);
    edits(dir, (400, 400), 4_000 / part, 256 * KIB);
    edits(dir, (400, 8), 4_000 / part, 256 * KIB);
    large(dir, 100 / part);
    at_once(dir, 2000, 20 * KIB);
    deltas(dir, 20_000 / part, 200);
    deltas(dir, 200 / part, MIB);
    println!();
}

/// A store, and what was given to it.
struct Filled<'d> {
    dir: &'d Path,
    store: Store,
    sequence: u64,
    /// What a node is: content comes from a place in noise, which nothing can compress.
    noise: Bytes,
    random: StdRng,
    nodes: Vec<Stored>,
    given: usize,
    commits: usize,
    since: Instant,
    before: Io,
}

impl<'d> Filled<'d> {
    fn new(dir: &'d Path, largest: usize) -> Self {
        let _ = fs::remove_dir_all(dir);
        let mut random = StdRng::seed_from_u64(1);
        let mut noise = vec![0; largest + MIB];
        random.fill(&mut *noise);
        Self {
            dir,
            store: Store::open(dir, Options::default()).unwrap(),
            sequence: 0,
            noise: noise.into(),
            random,
            nodes: Vec::new(),
            given: 0,
            commits: 0,
            since: Instant::now(),
            before: Io::now(),
        }
    }

    fn bytes(&mut self, len: usize) -> Bytes {
        let start = self.random.random_range(0..MIB);
        // As when it came from the network: bytes of its own.
        Bytes::copy_from_slice(self.noise.slice(start..start + len).as_ref())
    }

    fn version(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    /// A new state of a node, or a new node.
    fn replace(&mut self, n: usize, len: usize) {
        let base = self.bytes(len);
        let version = self.version();
        if n == self.nodes.len() {
            self.nodes.push(Stored {
                place: version,
                owner: "COMMON".into(),
                kind: Bytes::from_static(b"Object"),
                dependencies: vec![id(0)],
                version,
                base: Bytes::new(),
                tail_start: 0,
                tail: Vec::new(),
                aside: None,
            });
        }
        let node = self.nodes.get_mut(n).unwrap();
        (node.version, node.base, node.tail_start) = (version, base, 0);
        node.tail.clear();
        self.given += len;
    }

    /// The session does not commit twice what changes twice between two commits.
    fn commit(&mut self, mut changed: Vec<usize>) {
        changed.sort_unstable();
        changed.dedup();
        let nodes = changed.into_iter();
        let nodes = nodes.map(|n| (id(n), self.nodes.get(n).cloned()));
        let batch = Batch {
            sequence: self.sequence,
            meta: Meta::default(),
            nodes: nodes.collect(),
        };
        self.store.commit(&batch).unwrap();
        self.commits += 1;
    }

    fn start(&mut self) {
        (self.given, self.commits) = (0, 0);
        (self.since, self.before) = (Instant::now(), Io::now());
    }

    fn report(self, what: &str) {
        let took = self.since.elapsed();
        drop(self.store);
        let written = self.before.until(Io::now(), self.given);
        let tails = self.nodes.iter().flat_map(|node| &node.tail);
        let payloads = self.nodes.iter().map(|node| &node.base).chain(tails);
        let live = payloads.map(Bytes::len).sum::<usize>();
        let size = files(self.dir).iter().map(|(_, len)| len).sum::<u64>();
        println!(
            "| {what} | {written} | {:.2} | {:.0} |",
            size as f64 / live as f64,
            self.commits as f64 / took.as_secs_f64()
        );
        let _ = fs::remove_dir_all(self.dir);
    }
}

fn id(n: usize) -> NodeId {
    NodeId::new(format!("{n:036}").as_bytes()).unwrap()
}

/// New states of nodes, of which some are changed.
fn edits(dir: &Path, (nodes, changed): (usize, usize), count: usize, len: usize) {
    let mut filled = Filled::new(dir, len);
    (0..nodes).for_each(|n| filled.replace(n, len));
    filled.commit((0..nodes).collect());
    filled.start();
    for _ in 0..count / TOGETHER {
        let mut all: Vec<_> = (0..TOGETHER)
            .map(|_| filled.random.random_range(0..changed))
            .collect();
        all.sort_unstable();
        all.dedup();
        all.iter().for_each(|n| filled.replace(*n, len));
        filled.commit(all);
    }
    let of = match nodes == changed {
        true => format!("{nodes} nodes"),
        false => format!("{changed} of {nodes} nodes"),
    };
    filled.report(&format!("{count} × {} KiB on {of}", len / KIB));
}

/// New states of large nodes.
fn large(dir: &Path, count: usize) {
    let mut filled = Filled::new(dir, 20 * MIB);
    let len = |filled: &mut Filled<'_>| filled.random.random_range(5 * MIB..20 * MIB);
    let nodes = count / 5;
    for n in 0..nodes {
        let len = len(&mut filled);
        filled.replace(n, len);
    }
    filled.commit((0..nodes).collect());
    filled.start();
    for _ in 0..count {
        let n = filled.random.random_range(0..nodes);
        let len = len(&mut filled);
        filled.replace(n, len);
        filled.commit(vec![n]);
    }
    filled.report(&format!("{count} × 5 to 20 MiB on {nodes} nodes"));
}

/// An upload.
fn at_once(dir: &Path, nodes: usize, len: usize) {
    let mut filled = Filled::new(dir, len);
    (0..nodes).for_each(|n| filled.replace(n, len));
    filled.commit((0..nodes).collect());
    filled.report(&format!("{nodes} × {} KiB at once", len / KIB));
}

/// Deltas, which are folded into the node when there are many.
fn deltas(dir: &Path, count: usize, len: usize) {
    let mut filled = Filled::new(dir, len.max(2 * KIB));
    (0..200).for_each(|n| filled.replace(n, 2 * KIB));
    filled.commit((0..200).collect());
    filled.start();
    for _ in 0..count / TOGETHER {
        let all: Vec<_> = (0..TOGETHER)
            .map(|_| filled.random.random_range(0..200))
            .collect();
        for n in &all {
            let delta = filled.bytes(len);
            filled.given += len;
            filled.nodes.get_mut(*n).unwrap().tail.push(delta);
        }
        filled.commit(all);
    }
    filled.report(&format!("{count} deltas of {len} B on 200 nodes"));
}

/// All of a session.
fn load(dir: &Path, nodes: usize, len: usize) {
    let mut filled = Filled::new(dir, len);
    for n in 0..nodes {
        filled.replace(n, len);
        if n % 1000 == 999 || n + 1 == nodes {
            filled.commit((n - n % 1000..n + 1).collect());
        }
        // Nothing but what it takes to keep them.
        if n % 1000 == 999 {
            for node in &mut filled.nodes {
                node.base = Bytes::new();
            }
        }
    }
    drop(filled);
    let all = files(dir);
    let total = all.iter().map(|(_, len)| len).sum::<u64>();
    for cached in [true, false] {
        let [mut store, mut cat, mut fresh] = [Duration::MAX; 3];
        for _ in 0..3 {
            store = store.min(timed(&all, cached, || {
                let claim = Claim::new(dir, Options::default()).unwrap();
                let mut found = Vec::with_capacity(nodes);
                claim.load(|id, stored| found.push((id, stored))).unwrap();
                assert_eq!(found.len(), nodes);
                found
            }));
            cat = cat.min(timed(&all, cached, || {
                let mut buffer = vec![0; MIB];
                for (path, _) in &all {
                    let mut file = File::open(path).unwrap();
                    while file.read(&mut buffer).unwrap() > 0 {}
                }
            }));
            fresh = fresh.min(timed(&all, cached, || {
                let read = |(path, _): &(PathBuf, u64)| fs::read(path).unwrap();
                all.iter().map(read).collect::<Vec<_>>()
            }));
        }
        println!(
            "| {:.0} MB, {nodes} nodes, {} | {:.2} s | {:.2} s | {:.2} s |",
            total as f64 / 1e6,
            if cached {
                "from the cache"
            } else {
                "from the disk"
            },
            store.as_secs_f64(),
            cat.as_secs_f64(),
            fresh.as_secs_f64()
        );
    }
    let _ = fs::remove_dir_all(dir);
}

/// How long something takes, apart from giving back what it returns.
fn timed<R>(files: &[(PathBuf, u64)], cached: bool, work: impl FnOnce() -> R) -> Duration {
    if !cached {
        files.iter().for_each(|(path, _)| forget(path));
    }
    let since = Instant::now();
    let result = work();
    let took = since.elapsed();
    drop(result);
    took
}

/// Has the system forget what it has of a file, where it can be told to.
fn forget(path: &Path) {
    let mut command = Command::new("dd");
    let input = format!("if={}", path.display());
    command.args([&input, "iflag=nocache", "count=0"]);
    let _ = command.stderr(Stdio::null()).status();
}

fn files(dir: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        match entry.metadata().unwrap() {
            metadata if metadata.is_dir() => found.extend(files(&entry.path())),
            metadata => found.push((entry.path(), metadata.len())),
        }
    }
    found
}

/// What this process has written, as the system counts it.
#[derive(Clone, Copy)]
struct Io(Option<(u64, u64)>);

impl Io {
    fn now() -> Self {
        let text = fs::read_to_string("/proc/self/io").unwrap_or_default();
        let number = |name: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok())
        };
        Self(number("wchar:").zip(number("write_bytes:")))
    }

    fn until(self, now: Self, given: usize) -> String {
        match (self.0, now.0) {
            (Some((called, sent)), Some((called_now, sent_now))) => {
                let part = |before, now: u64| now.saturating_sub(before) as f64 / given as f64;
                format!(
                    "{:.2} | {:.2}",
                    part(called, called_now),
                    part(sent, sent_now)
                )
            }
            _ => "– | –".to_owned(),
        }
    }
}
