//! What a node costs that is edited again and again: memory, and the time of others' edits.
//!
//!     cargo bench --bench commits [-- COMMITS MEGABYTES]
//!
//! A client makes small commits to a node of 50 MB, every tenth of them to a list, which the server
//! has to look into; two others time their own edits of another node meanwhile. The same with a
//! node of 1 KB beside it is what the times are compared with.

// The helpers beside the tests are made for those.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::client::{As, Client, Heard};
use common::link::Via;
use common::server::Program;
use common::{node, uuid};
use multi_user_server::wire::client::{encode_request, encode_update};
use multi_user_server::wire::command::Request;
use multi_user_server::wire::node::{Delta, NodeState, Update};
use multi_user_server::wire::pickle::{Dict, Protocol, Value, write};

const VERSION: &str = "0.9.11";
/// Commits that may be on their way: an artist's client waits for nothing, but sends no faster than
/// its line.
const WINDOW: u64 = 64;
/// Added to times, so that they are pickled as long numbers.
const LONG: i64 = 1 << 40;
/// Pause between two edits that are timed.
const PACE: Duration = Duration::from_millis(20);

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u64>().ok());
    let commits = numbers.next().unwrap_or(20_000);
    let megabytes = numbers.next().unwrap_or(50);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    println!("| node | commits/s | at rest | at most | others' edits p50 | p99 |");
    println!("|---|---|---|---|---|---|");
    runtime.block_on(run(commits, 1000));
    runtime.block_on(run(commits, megabytes * 1_000_000));
}

async fn run(commits: u64, size: u64) {
    let program = Program::start(&[]);
    let ports = program.ports;
    let mut alice = Client::enter(&ports, VERSION, Via::Hand, "alice", As::Admin).await;
    let nodes = [state(1, document(size)), state(2, document(1000))];
    upload(&mut alice, &nodes).await;
    let mut bob = Client::enter(&ports, VERSION, Via::Hand, "bob", As::User).await;
    bob.join().await;
    let mut carol = Client::enter(&ports, VERSION, Via::Hand, "carol", As::User).await;
    carol.join().await;

    let seen = Arc::new(AtomicU64::new(0));
    let done = Arc::new(AtomicBool::new(false));
    let start = Instant::now();
    let editor = tokio::spawn(edit(alice, commits, Arc::clone(&seen), Arc::clone(&done)));
    let timer = tokio::spawn(time(bob, start, Arc::clone(&done)));
    let mut delays = Vec::new();
    while !done.load(Ordering::Relaxed) || seen.load(Ordering::Relaxed) < commits {
        let Heard::Update(Update::Delta(delta)) = carol.hear().await else {
            continue;
        };
        if delta.id == uuid(1) {
            seen.fetch_add(1, Ordering::Relaxed);
        } else if let Some(at) = stamp(&delta.delta) {
            delays.push(start.elapsed().saturating_sub(at));
        }
    }
    let rate = commits as f64 / start.elapsed().as_secs_f64();
    editor.await.unwrap();
    timer.await.unwrap();
    // Longer than a node that nobody edits is left alone.
    tokio::time::sleep(Duration::from_secs(13)).await;
    let (rest, most) = program.memory();
    delays.sort();
    let percentile = |part: usize| delays.get(delays.len() * part / 100).copied();
    let millis = |delay: Option<Duration>| delay.unwrap_or_default().as_secs_f64() * 1000.0;
    println!(
        "| {:.3} MB | {rate:.0} | {:.1} MB | {:.1} MB | {:.2} ms | {:.2} ms |",
        size as f64 / 1e6,
        rest as f64 / 1e6,
        most as f64 / 1e6,
        millis(percentile(50)),
        millis(percentile(99)),
    );
}

/// Commits as fast as they arrive at the others, within the window.
async fn edit(client: Client, commits: u64, seen: Arc<AtomicU64>, done: Arc<AtomicBool>) {
    let mut length = 0;
    for n in 0..commits {
        while n >= seen.load(Ordering::Relaxed) + WINDOW {
            tokio::time::sleep(Duration::from_micros(200)).await;
        }
        let delta = if n % 10 == 9 && length < 100 {
            length += 1;
            let path = format!("root['list'][{}]", length - 1);
            section("iterable_item_added", &path, Value::Int(7))
        } else {
            let change = Dict::new().with("new_value", Value::Int(i64::try_from(n).unwrap()));
            section(
                "values_changed",
                "root['props']['step']",
                Value::Dict(change),
            )
        };
        commit(&client, 1, delta);
    }
    done.store(true, Ordering::Relaxed);
    // Its links stay until everything has arrived.
    while seen.load(Ordering::Relaxed) < commits {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Edits with the time in them.
async fn time(client: Client, start: Instant, done: Arc<AtomicBool>) {
    while !done.load(Ordering::Relaxed) {
        let now = LONG + i64::try_from(start.elapsed().as_nanos()).unwrap();
        let change = Dict::new().with("new_value", Value::Int(now));
        let delta = section(
            "values_changed",
            "root['props']['step']",
            Value::Dict(change),
        );
        commit(&client, 2, delta);
        tokio::time::sleep(PACE).await;
    }
}

fn commit(client: &Client, n: u32, delta: Value) {
    let update = Update::Delta(Delta {
        id: uuid(n),
        owner: None,
        kind: Bytes::new(),
        dependencies: Vec::new(),
        delta: write(&delta, Protocol::Four),
    });
    for message in encode_update(client.dialect, &client.identity, &update) {
        client.publish(message);
    }
}

fn section(name: &str, path: &str, value: Value) -> Value {
    Value::from(Dict::new().with(name, Dict::new().with(path, value)))
}

/// The time in a delta made by [`time`]: the last number in it.
fn stamp(delta: &Bytes) -> Option<Duration> {
    let at = delta.windows(2).rposition(|pair| pair[0] == 0x8a)?;
    let length = usize::from(*delta.get(at + 1)?);
    let digits = delta.get(at + 2..at + 2 + length)?;
    let mut nanos = [0; 8];
    nanos[..length].copy_from_slice(digits);
    let nanos = i64::from_le_bytes(nanos).checked_sub(LONG)?;
    Some(Duration::from_nanos(u64::try_from(nanos).ok()?))
}

/// What a mesh looks like: some long buffers and a few small values.
fn document(size: u64) -> Value {
    let buffer = usize::try_from(size / 10).unwrap();
    let mut mesh = Dict::new();
    for n in 0..10 {
        mesh.insert(format!("buffer{n}"), Value::bytes(vec![n; buffer]));
    }
    let props = Dict::new().with("name", "mesh").with("step", 0);
    let list = Value::list(Vec::<Value>::new());
    Value::from(
        Dict::new()
            .with("mesh", mesh)
            .with("props", props)
            .with("list", list),
    )
}

fn state(n: u32, document: Value) -> NodeState {
    let mut state = node(uuid(n), "COMMON", write(&document, Protocol::Four));
    state.kind = Bytes::new();
    state
}

async fn upload(client: &mut Client, nodes: &[NodeState]) {
    client.offer(nodes).await;
    for node in nodes {
        for message in encode_request(
            client.dialect,
            &client.name,
            &Request::UploadSet(node.clone()),
        ) {
            client.commands.send(message);
        }
    }
    client.request(&Request::UploadEnd);
    client.until("the end of the upload", |_| true).await;
}
