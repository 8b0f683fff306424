//! What it takes to write a session file and to read it: time, size and memory.
//!
//!     cargo bench --bench session_file [-- NODES KILOBYTES]
//!
//! Each node holds coordinates as a mesh does, as `bytes`, and as a list of numbers, which is how
//! few are. The file is on the disk of the temporary directory; memory is what the process had at
//! most (Linux only), beyond what it had before.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "no program for others"
)]

use std::convert::Infallible;
use std::fs::{self, File};
use std::time::Instant;

use multi_user_server::session_file::{About, Format, Limits, Reader, write};
use multi_user_server::wire::identity::NodeId;
use multi_user_server::wire::node::NodeState;
use multi_user_server::wire::pickle::{self, Dict, Protocol, Value};

fn main() {
    let mut numbers = std::env::args().filter_map(|word| word.parse::<u32>().ok());
    let nodes = numbers.next().unwrap_or(1000);
    let size = numbers.next().unwrap_or(1000) as usize * 1000;
    println!("| format | content | GB | packed | write s/GB | MB | read s/GB | MB |");
    println!("|---|---|---|---|---|---|---|---|");
    for format in [Format::Chunks, Format::Decoded { typed: false }] {
        run(format, "mesh", nodes, &|seed| mesh(seed, size));
        run(format, "numbers", nodes / 10, &|seed| list(seed, size));
    }
}

fn run(format: Format, content: &str, nodes: u32, data: &dyn Fn(u32) -> Value) {
    let path = std::env::temp_dir().join("bench-session.db");
    // Made before, so that only the writing is measured; few, so that they take little.
    let payloads: Vec<_> = (0..4)
        .map(|seed| pickle::write(&Dict::new().with("data", data(seed)).into(), Protocol::Four))
        .collect();
    let states = (0..nodes).map(|n| {
        Ok::<_, Infallible>(NodeState {
            id: NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap(),
            owner: "COMMON".into(),
            kind: Default::default(),
            dependencies: Vec::new(),
            payload: payloads[n as usize % payloads.len()].clone(),
        })
    });
    let before = begin();
    let start = Instant::now();
    let file = File::create(&path).unwrap();
    let written = write(file, format, &About::now(None, "bench"), states).unwrap();
    let write_time = start.elapsed().as_secs_f64();
    let write_memory = peak().saturating_sub(before);
    let gigabytes = written.bytes as f64 / 1e9;
    let packed = fs::metadata(&path).unwrap().len() as f64 / written.bytes as f64;

    let before = begin();
    let start = Instant::now();
    let reader = Reader::open(File::open(&path).unwrap()).unwrap();
    let limits = Limits {
        values: 1 << 28,
        ..Limits::default()
    };
    let summary = reader.read(&limits, |node| {
        std::hint::black_box(node);
        Ok::<_, Infallible>(())
    });
    assert_eq!(summary.unwrap().nodes, nodes as usize);
    let read_time = start.elapsed().as_secs_f64();
    let read_memory = peak().saturating_sub(before);
    println!(
        "| {format:?} | {content} | {gigabytes:.2} | {packed:.2} | {:.2} | {} | {:.2} | {} |",
        write_time / gigabytes,
        write_memory / 1000,
        read_time / gigabytes,
        read_memory / 1000,
    );
    fs::remove_file(&path).unwrap();
}

/// Coordinates of a wavy surface with some noise, as numpy dumps them.
fn mesh(seed: u32, size: usize) -> Value {
    let mut noise = seed;
    let coordinates = (0..size / 4).flat_map(|at| {
        noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let wave = (at as f32 / 300.0).sin() * 10.0;
        (wave + (noise >> 20) as f32 / 4096.0).to_le_bytes()
    });
    Value::bytes(coordinates.collect::<Vec<_>>())
}

fn list(seed: u32, size: usize) -> Value {
    let numbers = (0..size / 9).map(|at| f64::from(seed) + at as f64 / 7.0);
    Value::list(numbers.collect::<Vec<_>>())
}

/// Forgets the peak; gives the kilobytes the process has now.
fn begin() -> u64 {
    let _ = fs::write("/proc/self/clear_refs", "5");
    status("VmRSS:")
}

fn peak() -> u64 {
    status("VmHWM:")
}

fn status(name: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
