//! What was accepted is there again, however the server ended.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::client::{As, Client};
use common::link::Via;
use common::scene::{host, joined, made, payloads};
use common::server::Program;
use common::uuid;
use multi_user_server::store::LARGE;
use multi_user_server::wire::client::OwnedAnswer;
use multi_user_server::wire::command::Request;
use multi_user_server::wire::dialect::Transfer;
use multi_user_server::wire::node::NodeState;
use tokio::time::sleep;

const VERSIONS: [&str; 3] = ["0.1.26", "0.9.11", "0.10.2"];

/// DONE means safe: not even a moment later is anything missing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_is_done_survives_everything() {
    for version in VERSIONS {
        let program = Program::start(&[("durability.flush", "60s")]);
        let _alice = host(&program, version).await;
        let program = program.killed().start_again(&[]);
        let bob = joined(&program, version, "bob").await;
        assert_eq!(payloads(&bob), ["one", "two"], "{version}");
    }
}

/// An end in order loses nothing, however long changes may take to be written.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_end_in_order_loses_nothing() {
    for version in VERSIONS {
        let mut program = Program::start(&[("durability.flush", "60s")]);
        let alice = host(&program, version).await;
        let mut bob = joined(&program, version, "bob").await;
        alice.push(&made(&alice, 2, "second"));
        alice.push(&made(&alice, 3, "three"));
        bob.until("the last node", |bob| bob.nodes.contains_key(&uuid(3)))
            .await;
        alice.request(&Request::Delete(uuid(1)));
        bob.until("the delete", |bob| !bob.nodes.contains_key(&uuid(1)))
            .await;
        program.signal("TERM");
        assert!(program.wait(Duration::from_secs(20)).success());
        let program = program.start_again(&[]);
        let carol = joined(&program, version, "carol").await;
        assert_eq!(payloads(&carol), ["second", "three"], "{version}");
    }
}

/// Where nobody is told of a change before it is safe, what somebody was told of is there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_told_of_what_is_not_safe() {
    for version in VERSIONS {
        let program = Program::start(&[("durability.flush", "0")]);
        let alice = host(&program, version).await;
        let mut bob = joined(&program, version, "bob").await;
        for n in 3..20 {
            alice.push(&made(&alice, n, &format!("node {n}")));
        }
        bob.until("the last node", |bob| bob.nodes.contains_key(&uuid(19)))
            .await;
        let program = program.killed().start_again(&[]);
        let carol = joined(&program, version, "carol").await;
        assert_eq!(payloads(&carol), payloads(&bob), "{version}");
    }
}

/// Large nodes are on the disk before the last has arrived, and gone if that never comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_breaks_off_leaves_nothing_on_the_disk() {
    let large = "x".repeat(LARGE);
    for version in VERSIONS {
        for flush in ["60s", "0"] {
            let flush = [("durability.flush", flush)];
            let program = Program::start(&flush);
            let alice = begin(&program, version, &large).await;
            alice.close();
            files(&program, 0).await;
            let _bob = begin(&program, version, &large).await;
            let program = program.killed().start_again(&flush);
            files(&program, 0).await;
            let mut carol = begin(&program, version, &large).await;
            let last = made(&carol, 2, "two");
            bring(&carol, &last);
            carol.request(&Request::UploadEnd);
            let done =
                |answer: &OwnedAnswer| matches!(answer, OwnedAnswer::UploadDone).then_some(());
            carol.answered("the end of an upload", done).await;
            let program = program.killed().start_again(&flush);
            files(&program, 1).await;
            let dave = joined(&program, version, "dave").await;
            assert_eq!(payloads(&dave), [&*large, "two"], "{version}");
        }
    }
}

/// Somebody who brings the first of two nodes, as far as the disk.
async fn begin(program: &Program, version: &'static str, large: &str) -> Client {
    let mut host = Client::enter(&program.ports, version, Via::Hand, "host", As::Admin).await;
    let nodes = [made(&host, 1, large), made(&host, 2, "two")];
    host.offer(&nodes).await;
    bring(&host, &nodes[0]);
    files(program, 1).await;
    host
}

fn bring(host: &Client, node: &NodeState) {
    match host.dialect.upload {
        Transfer::DataLink => host.push(node),
        _ => host.request(&Request::UploadSet(node.clone())),
    }
}

/// Waits until there are so many files of large nodes.
async fn files(program: &Program, count: usize) {
    let names = || {
        let sessions = fs::read_dir(program.data.path().join("sessions")).unwrap();
        let session = sessions.into_iter().next().unwrap().unwrap().path();
        let files = fs::read_dir(session.join("nodes")).unwrap();
        let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
        names.collect::<Vec<_>>()
    };
    let is_so = || {
        let names = names();
        names.len() == count && names.iter().all(|name| !name.ends_with(".new"))
    };
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{:?}", names());
        sleep(Duration::from_millis(5)).await;
    }
}

/// That the log has a bad bit shows when it is read again, as after an upload that breaks off. What
/// comes then is safe all the same, and the log as it was stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_damaged_meanwhile_is_written_anew() {
    let old = "old ".repeat(2000);
    for flush in ["100ms", "0"] {
        let flush = [("durability.flush", flush)];
        let mut program = Program::start(&flush);
        let sessions = program.data.path().join("sessions");
        let log = sessions.join("default/log/0000000000000001");
        let enter = async |program: &Program, name| {
            Client::enter(&program.ports, "0.9.11", Via::Hand, name, As::Admin).await
        };
        let len = || fs::metadata(&log).unwrap().len();
        let mut alice = enter(&program, "alice").await;
        alice.upload(&[made(&alice, 1, &old)]).await;
        alice.request(&Request::Delete(uuid(1)));
        alice
            .until("the delete", |alice| alice.nodes.is_empty())
            .await;
        program.signal("TERM");
        assert!(program.wait(Duration::from_secs(20)).success());
        // Somebody else may bring a scene then.
        let program = program.start_again(&flush);
        let mut bob = enter(&program, "bob").await;

        let mut bytes = fs::read(&log).unwrap();
        let at = bytes.windows(8).position(|some| some == b"old old ");
        bytes[at.unwrap()] ^= 1;
        fs::write(&log, &bytes).unwrap();
        let large = made(&bob, 2, &"x".repeat(LARGE));
        let nodes = [made(&bob, 1, &old), large, made(&bob, 3, "three")];
        bob.offer(&nodes).await;
        bring(&bob, &nodes[0]);
        bring(&bob, &nodes[1]);
        until(|| len() > bytes.len() as u64).await;
        files(&program, 1).await;
        bob.close();
        files(&program, 0).await;

        let mut carol = enter(&program, "carol").await;
        let nodes = [made(&carol, 1, "one"), made(&carol, 2, "two")];
        carol.upload(&nodes).await;
        let aside = || {
            let all = fs::read_dir(&sessions).unwrap();
            let mut names = all.map(|entry| entry.unwrap().path());
            names.find(|path| path.to_string_lossy().contains(".default.damaged-"))
        };
        until(|| aside().is_some() && log.exists()).await;
        let damaged = fs::read(aside().unwrap().join("log/0000000000000001")).unwrap();
        assert!(damaged.starts_with(&bytes));

        let program = program.killed().start_again(&flush);
        let dave = joined(&program, "0.9.11", "dave").await;
        assert_eq!(payloads(&dave), ["one", "two"]);
    }
}

async fn until(is_so: impl Fn() -> bool) {
    let begin = Instant::now();
    while !is_so() {
        assert!(begin.elapsed() < Duration::from_secs(20));
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_kept_that_need_not_be() {
    let program = Program::start(&[("durability.flush", "off")]);
    let _alice = host(&program, "0.9.11").await;
    let program = program.killed().start_again(&[("durability.flush", "off")]);
    let mut alice = Client::enter(&program.ports, "0.9.11", Via::Hand, "alice", As::Admin).await;
    let again = made(&alice, 1, "anew");
    alice.upload(&[again]).await;
}

/// Two servers on one session would undo each other's work.
#[test]
fn a_second_server_is_refused() {
    let program = Program::start(&[]);
    let output = common::server::command(program.data.path(), &[])
        .output()
        .unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("another server"), "{error}");
}
