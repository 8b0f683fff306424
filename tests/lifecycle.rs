//! The program from start to end: ports, passwords, log, signals.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant};

use common::client::{As, Client};
use common::link::Via;
use common::server::{self, Local, Program};
use common::{PATIENCE, node, uuid};
use multi_user_server::config::{Config, Secret};
use multi_user_server::server::Server;
use multi_user_server::store::LARGE;
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

/// Shells allow 1024 open files to begin with, which a full session has more of.
#[test]
fn as_many_files_may_be_open_as_there_may_be_connections() {
    let keys = [
        ("session.max_users", "300"),
        ("net.max_connections", "1200"),
    ];
    let raised = Program::start_after("ulimit -S -n 200", &keys);
    assert!(raised.open_files() >= 1200, "{}", raised.open_files());
    assert!(!raised.log().concat().contains("files may be open"));

    let limited = Program::start_after("ulimit -n 200", &keys);
    limited.wait_for_line("the limit", "no more than 200 files may be open");
    assert_eq!(limited.open_files(), 200);
}

/// Something that is opened and never read: whoever tries waits.
fn stuck(path: &std::path::Path) {
    let made = Command::new("mkfifo").arg(path).status().unwrap();
    assert!(made.success());
}

/// Loading changes nothing, so nobody has to wait for its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_while_it_loads_it_ends_at_once() {
    let mut program = Program::start(&[]);
    let mut alice = Client::enter(&program.ports, VERSIONS[2], Via::Hand, "alice", As::Admin).await;
    let mut large = node(uuid(1), "COMMON", "x".repeat(LARGE));
    large.kind.clear();
    alice.upload(&[large]).await;
    drop(alice);
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    // The file of the large node.
    let nodes = program.data.path().join("sessions/default/nodes");
    let file = std::fs::read_dir(nodes).unwrap().next().unwrap().unwrap();
    let (file, kept) = (file.path(), program.data.path().join("kept"));
    std::fs::rename(&file, &kept).unwrap();
    stuck(&file);
    let mut program = program.start_again(&[]);
    // Others may wait already.
    let waiting = common::raw::Raw::dealer(program.ports.at(0)).await;
    program.signal("TERM");
    assert_eq!(program.wait(Duration::from_secs(5)).code(), Some(0));
    drop(waiting);
    std::fs::rename(&kept, &file).unwrap();
    let program = program.start_again(&[]);
    let mut bob = Client::enter(&program.ports, VERSIONS[2], Via::Hand, "bob", As::User).await;
    bob.join().await;
    assert_eq!(bob.nodes.len(), 1);
}

/// Whoever says it twice does not wait for the last backup; what artists did is there all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn told_to_stop_once_more_it_ends_without_a_backup() {
    let mut program = Program::start(&[]);
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    // What seems to be a backup holds up all others.
    let backups = program.data.path().join("backups/default");
    std::fs::create_dir_all(&backups).unwrap();
    let backup = backups.join("default_manual_2026_11_23_18-00-00.db");
    stuck(&backup);
    let mut program = program.start_again(&[]);
    let mut alice = Client::enter(&program.ports, VERSIONS[2], Via::Hand, "alice", As::Admin).await;
    let mut one = node(uuid(1), "COMMON", "one");
    one.kind.clear();
    alice.upload(&[one]).await;
    drop(alice);
    program.signal("TERM");
    program.wait_for_line("that a backup is being made", "once more ends without it");
    program.signal("INT");
    assert_eq!(program.wait(Duration::from_secs(5)).code(), Some(0));
    std::fs::remove_file(&backup).unwrap();
    let program = program.start_again(&[]);
    let mut bob = Client::enter(&program.ports, VERSIONS[2], Via::Hand, "bob", As::User).await;
    bob.join().await;
    assert_eq!(bob.nodes.len(), 1);
}

/// Nobody is to believe that all is on the disk whose session is gone.
#[test]
fn a_server_without_its_session_does_not_end_well() {
    let runtime = || tokio::runtime::Runtime::new().unwrap();
    let first = runtime();
    let local = first.block_on(async {
        let local = Local::start(|_| {}).await;
        let ports = &local.ports;
        drop(Client::enter(ports, VERSIONS[1], Via::Crate, "alice", As::Admin).await);
        local
    });
    // What ends all tasks ends the session's.
    drop(first);
    let stopped = runtime().block_on(local.server.stop()).unwrap_err();
    let text = "the last changes could not be written: the session has ended";
    assert_eq!(stopped.to_string(), text);
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
    let by = format!(
        " (process {}); stop that, or choose another port",
        std::process::id()
    );
    assert!(last.ends_with(&by), "{err}");
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

/// Who may not be called so reads why.
#[tokio::test]
async fn names_that_cannot_be_used_are_told_apart() {
    let program = Program::start(&[]);
    let long = "é".repeat(65);
    for (name, why) in [
        ("Guest", "reserved"),
        ("", "1 to 128 bytes"),
        (long.as_str(), "1 to 128 bytes"),
    ] {
        let mut client = Client::connect(&program.ports, VERSIONS[2], Via::Hand).await;
        let answer = client.log_in(name, As::User).await;
        assert!(answer.contains(why), "{name}: {answer}");
    }
}

/// Everybody who may join would be admin.
#[tokio::test]
async fn no_server_starts_whose_passwords_are_the_same() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("admin-password"), "sesame\n").unwrap();
    let mut config = Config {
        bind: vec!["127.0.0.1".parse().unwrap()],
        port: 0,
        data_dir: data.path().to_owned(),
        ..Config::default()
    };
    config.session.server_password = Some(Secret::new("sesame"));
    let error = Server::start(config, None).await.unwrap_err().to_string();
    assert!(error.contains("both passwords are the same"), "{error}");
    assert!(error.contains("admin-password"), "{error}");
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

/// Started by another program for one session, it ends with its last user.
#[tokio::test]
async fn attached_it_ends_with_the_last_user() {
    let mut program = Program::start(&[("runtime.attached", "true")]);
    let ports = program.ports;
    let alice = Client::enter(&ports, VERSIONS[1], Via::Hand, "alice", As::Admin).await;
    let bob = Client::enter(&ports, VERSIONS[1], Via::Hand, "bob", As::User).await;
    drop(alice);
    let left = |name: &'static str| {
        move |line: &serde_json::Value| {
            (line["event"] == "user.left" && line["user"] == name).then_some(())
        }
    };
    program.logged("that alice left", left("alice"));
    assert!(program.is_running());
    drop(bob);
    let status = program.wait(Duration::from_secs(10));
    assert_eq!(status.code(), Some(0));
}

/// It ends with the program that started it.
#[test]
fn attached_it_ends_with_the_program_that_started_it() {
    let data = tempfile::tempdir().unwrap();
    let server = server::command(data.path(), &[("runtime.attached", "true")]);
    // The shell ends at once, and what it started goes on with another parent.
    let script = format!(
        "{} 2>{}/log & until grep -q server.listening {}/log; do :; done",
        server.get_program().to_str().unwrap(),
        data.path().display(),
        data.path().display()
    );
    let mut shell = std::process::Command::new("sh");
    shell
        .args(["-c", &script])
        .stderr(std::process::Stdio::null());
    for (name, value) in server.get_envs() {
        shell.env(name, value.unwrap_or_default());
    }
    assert!(shell.status().unwrap().success());
    let deadline = Instant::now() + Duration::from_secs(20);
    let log = || std::fs::read_to_string(data.path().join("log")).unwrap();
    while !log().contains("server.stopped") {
        assert!(Instant::now() < deadline, "it goes on:\n{}", log());
        std::thread::yield_now();
    }
    assert!(
        log().contains("the program that started this one ended"),
        "{}",
        log()
    );
}

/// Every line goes to the file as well, and to a new one after SIGHUP.
#[tokio::test]
async fn the_log_is_kept_in_a_file_that_can_be_moved_away() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    let program = Program::start(&[("log.file", file.to_str().unwrap())]);
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("server.listening")
    );
    let moved = directory.path().join("server.log.1");
    std::fs::rename(&file, &moved).unwrap();
    program.signal("HUP");
    program.wait_for_line("that the file is new", "log.reopened");
    assert!(
        std::fs::read_to_string(&file)
            .unwrap()
            .contains("log.reopened")
    );
    assert!(
        !std::fs::read_to_string(&moved)
            .unwrap()
            .contains("log.reopened")
    );
}

/// As on a full disk that somebody makes room on: it is said once that lines are missing in the file, and
/// then how many.
#[cfg(target_os = "linux")]
#[test]
fn lines_that_are_missing_in_the_log_file_are_counted() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    std::os::unix::fs::symlink("/dev/full", &file).unwrap();
    let mut program = Program::start(&[("log.file", file.to_str().unwrap())]);
    let first = program.logged("that the file is full", |line| {
        (line["event"] == "log.not_written").then(|| line.clone())
    });
    assert_eq!(first["level"], "WARN");
    assert_eq!(first["file"], file.to_str().unwrap());
    let error = first["error"].as_str().unwrap();
    assert!(error.contains("No space left"), "{error}");
    program.counters();
    std::fs::remove_file(&file).unwrap();
    program.signal("HUP");
    let (place, missing) = program.logged("how many are missing", |line| {
        let told = line["event"] == "log.left_out";
        told.then(|| (line["place"].clone(), line["lines"].as_u64().unwrap()))
    });
    assert_eq!(place, "file");
    program.signal("TERM");
    assert_eq!(program.wait(Duration::from_secs(5)).code(), Some(0));
    program.wait_for_line("the end", "server.stopped");
    let shown = program.log();
    let there = std::fs::read_to_string(&file).unwrap();
    assert!(there.contains("log.left_out"), "{there}");
    let lacks = shown.len() - there.lines().count();
    assert_eq!(usize::try_from(missing), Ok(lacks), "{shown:#?}");
    let told = |event: &str| shown.iter().filter(|line| line.contains(event)).count();
    assert_eq!((told("log.not_written"), told("log.left_out")), (1, 1));
}

/// As on a disk that hangs.
#[tokio::test]
async fn a_log_file_that_cannot_be_opened_anew_keeps_the_server_neither_from_orders_nor_from_ending()
 {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("server.log");
    let mut program = Program::start(&[("log.file", file.to_str().unwrap())]);
    std::fs::remove_file(&file).unwrap();
    // To open a pipe that nobody reads takes for ever.
    let made = Command::new("mkfifo").arg(&file).status();
    assert!(made.unwrap().success());
    program.signal("HUP");
    program.signal("USR2");
    program.wait_for_line("the counters", "server.counters");
    program.signal("TERM");
    let status = program.wait(Duration::from_secs(5));
    assert_eq!(status.code(), Some(0));
}

/// Whoever reads its standard error may stop: neither the session nor the file waits for that.
#[tokio::test]
async fn a_screen_that_takes_no_lines_holds_up_nobody() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut filling = writer.try_clone().unwrap();
    let filler = std::thread::spawn(move || while filling.write_all(&[b'x'; 4096]).is_ok() {});
    let data = tempfile::tempdir().unwrap();
    let file = data.path().join("server.log");
    let keys = [
        ("session.admin_password", server::ADMIN),
        ("log.file", file.to_str().unwrap()),
    ];
    let mut child = server::command(data.path(), &keys)
        .stderr(writer)
        .spawn()
        .unwrap();
    let deadline = Instant::now() + PATIENCE;
    let logged = |event: &str, count: usize| loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        let lines: Vec<serde_json::Value> = lines
            .filter(|line: &serde_json::Value| line["event"] == event)
            .collect();
        if lines.len() == count {
            return lines;
        }
        assert!(Instant::now() < deadline, "no {event} in the log:\n{text}");
        std::thread::yield_now();
    };
    let addresses: Vec<std::net::SocketAddr> = logged("server.listening", 4)
        .iter()
        .map(|line| line["address"].as_str().unwrap().parse().unwrap())
        .collect();
    let ports = server::Ports::new(&addresses);
    drop(Client::enter(&ports, VERSIONS[1], Via::Hand, "alice", As::Admin).await);
    logged("user.left", 1);
    let pid = child.id().to_string();
    let killed = Command::new("kill").args(["-TERM", &pid]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    logged("server.stopped", 1);
    drop(reader);
    filler.join().unwrap();
}

#[test]
fn a_log_file_that_cannot_be_opened_is_an_error() {
    let data = tempfile::tempdir().unwrap();
    let nowhere = data.path().join("no/such/place.log");
    let out = server::command(data.path(), &[("log.file", nowhere.to_str().unwrap())])
        .output()
        .unwrap();
    assert_eq!(out.status.code(), Some(1));
    let err = String::from_utf8(out.stderr).unwrap();
    assert!(err.starts_with("error: cannot open the log file "), "{err}");
}

/// A service manager learns when the server serves, that it lives, and when it is about to end.
#[cfg(target_os = "linux")]
#[test]
fn the_service_manager_is_told() {
    let data = tempfile::tempdir().unwrap();
    let path = data.path().join("notify");
    let socket = std::os::unix::net::UnixDatagram::bind(&path).unwrap();
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .unwrap();
    let mut child = server::command(data.path(), &[])
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "300000")
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let hear = || {
        let mut bytes = [0; 256];
        let len = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..len]).trim().to_owned()
    };
    assert_eq!(hear(), "READY=1");
    assert_eq!([hear(), hear(), hear()], ["WATCHDOG=1"; 3]);
    let pid = child.id().to_string();
    let killed = std::process::Command::new("kill")
        .args(["-TERM", &pid])
        .status();
    assert!(killed.unwrap().success());
    let mut last = hear();
    while last == "WATCHDOG=1" {
        last = hear();
    }
    assert_eq!(last, "STOPPING=1");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

/// Sockets that a service manager holds open are used, whichever order they come in.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn sockets_are_taken_over_from_the_service_manager() {
    // Does what systemd does: puts the sockets where they are expected and says so.
    const HAND_OVER: &str = r#"
import os, socket, sys
names = ["ttl", "command", "publisher", "subscriber"]
sockets = {name: socket.create_server(("127.0.0.1", 0)) for name in names}
high = [os.dup2(sockets[name].fileno(), 50 + i) for i, name in enumerate(names)]
for i, fd in enumerate(high):
    os.dup2(fd, 3 + i, inheritable=True)
ports = [sockets[name].getsockname()[1] for name in ("command", "subscriber", "publisher", "ttl")]
print(*ports, flush=True)
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="4", LISTEN_FDNAMES=":".join(names))
os.execv(sys.argv[1], sys.argv[1:])
"#;
    let data = tempfile::tempdir().unwrap();
    let server = server::command(data.path(), &[("session.admin_password", server::ADMIN)]);
    let mut python = std::process::Command::new("python3");
    python.args(["-c", HAND_OVER]).arg(server.get_program());
    for (name, value) in server.get_envs() {
        python.env(name, value.unwrap_or_default());
    }
    let mut child = python
        .env("PATH", std::env::var("PATH").unwrap())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
    std::io::BufRead::read_line(&mut out, &mut line).unwrap();
    let addresses: Vec<std::net::SocketAddr> = line
        .split_whitespace()
        .map(|port| ([127, 0, 0, 1], port.parse().unwrap()).into())
        .collect();
    let ports = server::Ports::new(&addresses);
    let mut alice = Client::enter(&ports, VERSIONS[1], Via::Hand, "alice", As::Admin).await;
    alice.upload(&[node(uuid(1), "alice", "x")]).await;
    let mut bob = Client::enter(&ports, VERSIONS[1], Via::Crate, "bob", As::User).await;
    bob.join().await;
    assert_eq!(bob.nodes.len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
}
