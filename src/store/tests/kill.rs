//! A process that writes is killed at any moment.

use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use rand::SeedableRng;

use super::*;

const KILLS: usize = 30;
/// Tells the child, which is this test binary as well, where to write.
const DIRECTORY: &str = "STORE_TEST_DIRECTORY";

/// What happens in batch number `sequence`.
fn numbered(sequence: u64) -> Vec<(NodeId, Option<Stored>)> {
    let large = if sequence.is_multiple_of(3) {
        20_000
    } else {
        300
    };
    let bytes = vec![sequence as u8; large];
    let (first, second) = (sequence % 7, 10 + sequence % 5);
    let mut with_tail = node(sequence, &bytes);
    with_tail.tail = vec![Bytes::from(bytes.clone()); 3];
    let gone = 10 + (sequence + 2) % 5;
    vec![
        (id(first), Some(with_tail)),
        (id(second), Some(node(sequence, &bytes))),
        (id(gone), None),
    ]
}

fn expected(sequence: u64) -> State {
    let mut state = State::new();
    for (id, stored) in (1..=sequence).flat_map(numbered) {
        match stored {
            Some(stored) => state.insert(id, stored),
            None => state.remove(&id),
        };
    }
    state
}

#[test]
#[ignore = "it is what the test below kills"]
fn child() {
    let Ok(dir) = std::env::var(DIRECTORY) else {
        return;
    };
    let mut store = Store::open(Path::new(&dir), options()).unwrap();
    let (_, _, mut sequence) = loaded(&mut store);
    let mut out = std::io::stdout();
    loop {
        sequence += 1;
        // Some of it is there before, now and then with something that never comes.
        let nodes = numbered(sequence).into_iter();
        store.stage(nodes.filter_map(|(id, stored)| Some((id, stored?))));
        if sequence.is_multiple_of(4) {
            store.stage([(id(99), node(sequence, b"never"))]);
        }
        store.commit(&batch(sequence, numbered(sequence))).unwrap();
        writeln!(out, "\nacknowledged {sequence}").unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn whoever_is_killed_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let mut random = StdRng::seed_from_u64(1);
    let mut acknowledged = 0;
    for _ in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "store::tests::kill::child",
                "--ignored",
                "--nocapture",
            ])
            .env(DIRECTORY, directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("acknowledged ")?.parse::<u64>().ok();
        let mut seen = None;
        while seen.is_none() {
            seen = number(lines.next().expect("the child has ended").unwrap());
        }
        // Any moment is good: this is what is tested, not waited for.
        thread::sleep(Duration::from_micros(random.random_range(0..60_000)));
        child.kill().unwrap();
        acknowledged = lines
            .map_while(Result::ok)
            .filter_map(number)
            .last()
            .or(seen)
            .unwrap();
        child.wait().unwrap();
        let mut store = Store::open(directory.path(), options()).unwrap();
        let (state, _, sequence) = loaded(&mut store);
        assert!(
            (acknowledged..=acknowledged + 1).contains(&sequence),
            "{sequence} of {acknowledged}"
        );
        assert_eq!(state, expected(sequence));
    }
    assert!(acknowledged > KILLS as u64);
}
