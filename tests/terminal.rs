//! The console, on a terminal of its own.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]
#![cfg(unix)]

mod common;

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;

use common::client::{As, Client};
use common::link::Via;
use common::server::{self, ADMIN, Ports};
use rexpect::process::{PtyProcess, WaitStatus};
use rexpect::session::{PtySession, spawn_command};

const VERSION: &str = "0.1.26";
/// How long a terminal may be silent, in milliseconds.
const PATIENCE: Option<u64> = Some(20_000);

/// Starts the program on a terminal; gives that and where the program listens.
fn start(data: &std::path::Path) -> (PtySession, Ports) {
    let mut terminal = spawn_command(program(data), PATIENCE).unwrap();
    let mut addresses: Vec<SocketAddr> = Vec::new();
    while addresses.len() < 4 {
        let line = terminal.read_line().unwrap();
        if line.contains("listening") {
            let port = line.rsplit(':').next().unwrap();
            let digits: String = port.chars().take_while(char::is_ascii_digit).collect();
            addresses.push(([127, 0, 0, 1], digits.parse().unwrap()).into());
        }
    }
    terminal.exp_string("Type help").unwrap();
    terminal.exp_string(">> ").unwrap();
    (terminal, Ports::new(&addresses))
}

/// The program, to be started on a terminal.
fn program(data: &std::path::Path) -> std::process::Command {
    let mut command = server::command(data, &[("session.admin_password", ADMIN)]);
    command
        .env("MULTI_USER_LOG__FORMAT", "human")
        .env("TERM", "xterm")
        .env("NO_COLOR", "1");
    plain(&command)
}

/// The same command with the terminal for input and output.
fn plain(command: &std::process::Command) -> std::process::Command {
    let mut plain = std::process::Command::new(command.get_program());
    plain.env_clear();
    for (name, value) in command.get_envs() {
        plain.env(name, value.unwrap_or_default());
    }
    plain
}

fn exit_code(mut terminal: PtySession) -> i32 {
    let _ = terminal.exp_eof();
    match terminal.process().wait().unwrap() {
        rexpect::process::WaitStatus::Exited(_, code) => code,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_are_listed_and_kicked() {
    let data = tempfile::tempdir().unwrap();
    let (mut terminal, ports) = start(data.path());
    let _alice = Client::enter(&ports, VERSION, Via::Hand, "alice", As::Admin).await;
    let mut bob = Client::enter(&ports, VERSION, Via::Hand, "Bob B", As::User).await;
    // Lines of the log come in between; what is being typed stays.
    terminal.exp_string("user=Bob B").unwrap();
    terminal.send_line("users").unwrap();
    terminal.exp_string("2 users online").unwrap();
    terminal.exp_string("Bob B() - ").unwrap();
    terminal.exp_string("alice(admin) - ").unwrap();
    terminal.send_line("kick Eve").unwrap();
    terminal
        .exp_string("Can't kick Eve, user not found.")
        .unwrap();
    // Completed: "k" to "kick ", "B" to the name.
    terminal.send("k\tB\t\n").unwrap();
    terminal.flush().unwrap();
    terminal
        .exp_string("Bob B kicked from the session.")
        .unwrap();
    bob.until("being kicked", |bob| bob.dismissed.is_some())
        .await;
    assert_eq!(bob.dismissed.as_deref(), Some("kicked by admin"));
    terminal.send_line("nodes").unwrap();
    terminal.exp_string("0 nodes, 0 B").unwrap();
    terminal.send_line("quarantine 0123").unwrap();
    terminal.exp_string("There is no node 0123.").unwrap();
    terminal.send_line("help").unwrap();
    terminal.exp_string("kick NAME").unwrap();
    terminal.send_line("dance").unwrap();
    terminal.exp_string("Unknown: dance").unwrap();
    terminal.send_line("exit").unwrap();
    assert_eq!(exit_code(terminal), 0);
    let history = std::fs::read_to_string(data.path().join("console-history")).unwrap();
    assert!(history.contains("kick Bob B"), "{history}");
}

/// The end of the input leaves the server running.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_of_the_input_is_not_the_servers_end() {
    let data = tempfile::tempdir().unwrap();
    let (mut terminal, ports) = start(data.path());
    terminal.send_control('d').unwrap();
    terminal.exp_string("the server goes on").unwrap();
    let alice = Client::enter(&ports, VERSION, Via::Hand, "alice", As::Admin).await;
    terminal.exp_string("user=alice").unwrap();
    drop(alice);
    terminal.send_control('c').unwrap();
    assert_eq!(exit_code(terminal), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ctrl_c_ends_the_server() {
    let data = tempfile::tempdir().unwrap();
    let (mut terminal, _) = start(data.path());
    terminal.send_control('c').unwrap();
    terminal.exp_string("stopping").unwrap();
    assert_eq!(exit_code(terminal), 0);
}

/// A line that hangs has its programs wait for ever when they write.
#[test]
fn a_terminal_that_takes_nothing_does_not_keep_the_server_from_ending() {
    let data = tempfile::tempdir().unwrap();
    let mut program = PtyProcess::new(program(data.path())).unwrap();
    let mut terminal = program.get_file_handle().unwrap();
    let mut shown = Vec::new();
    while !String::from_utf8_lossy(&shown).contains("Type help") {
        let mut bytes = [0; 1024];
        let read = terminal.read(&mut bytes).unwrap();
        shown.extend_from_slice(&bytes[..read]);
    }
    // Each is logged, which is more than a terminal holds.
    for _ in 0..2000 {
        let mut socket = UnixStream::connect(data.path().join("ctl-default.sock")).unwrap();
        socket.write_all(b"{\"order\":\"users\"}\n").unwrap();
        socket.read_to_end(&mut Vec::new()).unwrap();
    }
    program.set_kill_timeout(PATIENCE);
    let ended = program.exit().unwrap();
    assert!(matches!(ended, WaitStatus::Exited(_, 0)), "{ended:?}");
}
