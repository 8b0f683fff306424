//! The program from start to end: ports, passwords, log, signals.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use common::client::{As, Client};
use common::link::Via;
use common::server::{self, Local, Program};
use common::{node, uuid};
use multi_user_server::wire::client::OwnedAnswer;

/// Clients of three eras: four ports without and with the users dict at login, three ports.
const VERSIONS: [&str; 3] = ["0.0.20", "0.1.26", "0.9.11"];

/// Told to stop, the program tells everybody why and ends well in time.
#[tokio::test]
async fn on_sigterm_and_sigint_clients_learn_why_and_the_program_ends() {
    for (signal, version) in [
        ("TERM", VERSIONS[0]),
        ("INT", VERSIONS[1]),
        ("TERM", VERSIONS[2]),
    ] {
        let mut program = Program::start(&[]);
        let mut alice =
            Client::enter(&program.ports, version, Via::Crate, "alice", As::Admin).await;
        alice.upload(&[node(uuid(1), "alice", "x")]).await;
        let mut bob = Client::enter(&program.ports, version, Via::Hand, "bob", As::User).await;
        bob.join().await;
        let begin = Instant::now();
        program.signal(signal);
        for client in [&mut alice, &mut bob] {
            let reason = client
                .answered("a farewell", |answer| match answer {
                    OwnedAnswer::Disconnect { reason } => Some(reason.clone()),
                    _ => None,
                })
                .await;
            assert_eq!(reason, "the server is shutting down");
        }
        drop((alice, bob));
        let status = program.wait(Duration::from_secs(5));
        assert!(begin.elapsed() < Duration::from_secs(5));
        assert_eq!(status.code(), Some(0));
    }
}

/// Somebody who takes nothing does not keep the program from ending.
#[tokio::test]
async fn clients_that_stay_do_not_delay_the_end() {
    let mut program = Program::start(&[]);
    let stranger = common::raw::Raw::dealer(program.ports.at(0)).await;
    let half = common::raw::Raw::saying(program.ports.at(1), &[0xFF]).await;
    let alice = Client::enter(&program.ports, VERSIONS[1], Via::Hand, "alice", As::Admin).await;
    program.signal("TERM");
    assert_eq!(program.wait(Duration::from_secs(5)).code(), Some(0));
    drop((stranger, half, alice));
}

/// The counters come to the log as one JSON object, with what has happened so far.
#[tokio::test]
async fn sigusr2_writes_the_counters() {
    let program = Program::start(&[]);
    let before = program.counters();
    assert_eq!((before.get("logins"), before.get("refused_logins")), (0, 0));
    let alice = Client::enter(&program.ports, VERSIONS[1], Via::Crate, "alice", As::Admin).await;
    let mut eve = Client::connect(&program.ports, VERSIONS[1], Via::Crate).await;
    let answer = eve.log_in("eve", As::Password("guess")).await;
    assert_eq!(answer, "FAILED: wrong password");
    let after = program.counters();
    assert_eq!((after.get("logins"), after.get("refused_logins")), (1, 1));
    assert!(after.get("connections") >= 8);
    drop(alice);
}

#[test]
fn a_port_in_use_is_told() {
    // Nearly every port can be a base port.
    let (_taken, port) = std::iter::repeat_with(|| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        (listener, port)
    })
    .find(|(_, port)| *port <= 65532)
    .unwrap();
    let data = tempfile::tempdir().unwrap();
    let port_text = port.to_string();
    let mut child = server::command(data.path(), &[("port", &port_text)])
        .spawn()
        .unwrap();
    let mut err = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut err)
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    let last = err.lines().last().unwrap();
    assert!(last.starts_with("error: cannot serve: port "), "{err}");
    assert!(
        last.ends_with(" of 127.0.0.1 is in use by another program"),
        "{err}"
    );
}

/// The password the program makes up is for its user's eyes: in a file, and never in a log that
/// is not a terminal.
#[tokio::test]
async fn the_password_made_up_is_kept_in_private() {
    let program = Program::start_with(&[]);
    let file = program.data.path().join("admin-password");
    let password = std::fs::read_to_string(&file).unwrap();
    let password = password.trim();
    assert!(password.len() >= 16, "{password:?}");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let mut alice = Client::connect(&program.ports, VERSIONS[1], Via::Crate).await;
    assert_eq!(
        alice.log_in("alice", As::Password("wrong")).await,
        "FAILED: wrong password"
    );
    assert_eq!(alice.log_in("alice", As::Password(password)).await, "LOBBY");
    let log = program.log();
    assert!(log.iter().any(|line| line.contains("admin-password")));
    assert!(!log.iter().any(|line| line.contains(password)));
    assert!(
        !log.iter()
            .any(|line| line.contains("wrong password") && line.contains("\"wrong\""))
    );
}

/// Names cannot forge lines of the log, colour them, or turn them round.
#[tokio::test]
async fn hostile_names_are_escaped_in_the_log() {
    let forged = "eve\n{\"level\":\"INFO\",\"message\":\"listening\"}\r\u{1b}[31m";
    for format in ["human", "json"] {
        let program = Program::start(&[("log.format", format)]);
        let mut eve = Client::connect(&program.ports, VERSIONS[1], Via::Crate).await;
        let answer = eve.log_in(forged, As::User).await;
        assert!(answer.starts_with("FAILED: this user name"), "{answer}");
        assert_eq!(
            eve.log_in("eve\u{202e}\u{feff}txt", As::User).await,
            "LOBBY"
        );
        program.wait_for_line("the login", "user logged in");
        let log = program.log();
        for line in &log {
            let json = serde_json::from_str::<serde_json::Value>(line);
            assert_eq!(json.is_ok(), format == "json", "{line}");
            let deceptive = ['\u{1b}', '\u{202e}', '\u{feff}', '\r'];
            assert!(!line.contains(deceptive), "{line}");
            // As JSON has them; a log that is made readable again would act on them.
            assert!(!line.contains("\\u001b"), "{line}");
        }
        // The refusal's name is there, on one line, as it may be read.
        let refused = log.iter().find(|line| line.contains("login as"));
        assert!(
            refused.is_some_and(|line| line.contains("u{a}{")),
            "{refused:?}"
        );
    }
}

/// A second session after all have left: the first one's nodes are there.
#[tokio::test]
async fn nodes_stay_when_everybody_leaves() {
    for version in VERSIONS {
        let local = Local::start(|_| {}).await;
        let mut alice = Client::enter(&local.ports, version, Via::Crate, "alice", As::Admin).await;
        alice.upload(&[node(uuid(1), "alice", "x")]).await;
        alice.close();
        let mut bob = Client::connect(&local.ports, version, Via::Crate).await;
        // The name is free, and the session runs, as soon as the end of alice's link is noticed.
        assert_eq!(bob.log_in("bob", As::User).await, "RUNNING");
        bob.join().await;
        bob.until("alice's leaving", |bob| {
            bob.nodes[&uuid(1)].owner == "COMMON"
        })
        .await;
        assert!(bob.dismissed.is_none());
    }
}
