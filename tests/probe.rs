//! The subcommand `probe`, as people run it: against the program, against servers like the clients'
//! own, and against whatever else may be found at an address.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

#[path = "probe/others.rs"]
mod others;
#[path = "probe/street.rs"]
mod street;

use std::net::TcpListener;
use std::process::Stdio;

use common::client::{As, Client};
use common::link::Via;
use common::server::{Program, command, free_run};
use common::{node, uuid, within};
use serde_json::{Value, json};

use crate::street::forward;

/// What a run of `probe` gave.
#[derive(Debug)]
struct Probed {
    status: i32,
    out: String,
    err: String,
}

impl Probed {
    fn json(&self) -> Value {
        assert_eq!(self.err, "");
        serde_json::from_str(&self.out).unwrap()
    }
}

/// Runs `probe` with these arguments.
async fn probe(args: &[&str]) -> Probed {
    probe_with(&[], args).await
}

async fn probe_with(keys: &[(&str, &str)], args: &[&str]) -> Probed {
    let data = tempfile::tempdir().unwrap();
    let mut command = tokio::process::Command::from(command(data.path(), keys));
    command
        .arg("probe")
        .args(args)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let output = within("the end of a probe", command.output())
        .await
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Probed {
        // No status means that a signal ended it: it must not crash.
        status: output.status.code().unwrap(),
        out: text(output.stdout),
        err: text(output.stderr),
    }
}

fn at(run: &[TcpListener; 4]) -> String {
    run[0].local_addr().unwrap().to_string()
}

fn first(program: &Program) -> String {
    program.ports.at(0).to_string()
}

fn troubles(report: &Value) -> [&Value; 4] {
    let ports = report["ports"].as_array().unwrap();
    let troubles: Vec<_> = ports.iter().map(|port| &port["trouble"]).collect();
    troubles.try_into().unwrap()
}

/// Which of the three ages of clients can join.
fn reachable(report: &Value) -> [bool; 3] {
    let ages = report["clients"].as_array().unwrap();
    let reachable: Vec<_> = ages
        .iter()
        .map(|age| age["reachable"].as_bool().unwrap())
        .collect();
    reachable.try_into().unwrap()
}

#[tokio::test]
async fn all_well() {
    let program = Program::start_at(free_run(), &[]);
    let address = first(&program);
    let probed = probe(&[&address]).await;
    assert_eq!((probed.status, probed.err.as_str()), (0, ""), "{probed:?}");
    for part in [
        "command (newest clients, too), connects in ",
        "publisher and ttl, connects in ",
        "A server for all versions of the add-on; version ",
        ", no password is needed to join.",
        "yes  add-on 0.0.3 to 0.3.0 ",
        "All ports that are needed answer.",
    ] {
        assert!(
            probed.out.contains(part),
            "{part}\nis not in\n{}",
            probed.out
        );
    }

    let report = probe(&[&address, "--json"]).await.json();
    assert_eq!(report["verdict"], "reachable");
    assert_eq!(report["exit_status"], 0);
    assert_eq!(report["server"], "all");
    assert_eq!(report["session"]["private"], false);
    assert_eq!(reachable(&report), [true; 3]);
    let roles: Vec<_> = report["ports"]
        .as_array()
        .unwrap()
        .iter()
        .map(|port| port["roles"].clone())
        .collect();
    let expected = json!([["command"], ["subscriber"], ["publisher", "ttl"], ["ttl"]]);
    assert_eq!(Value::from(roles), expected);
    for port in [0, 2, 3] {
        assert!(
            report["ports"][port]["round_trip_ms"].is_number(),
            "{report}"
        );
    }

    let quiet = probe(&[&address, "--quiet"]).await;
    assert_eq!(
        (quiet.status, quiet.out.as_str(), quiet.err.as_str()),
        (0, "", "")
    );
}

#[tokio::test]
async fn without_a_port_it_is_the_configured_one() {
    let program = Program::start_at(free_run(), &[]);
    let port = program.ports.at(0).port().to_string();
    let keys = [("port", port.as_str())];
    assert_eq!(probe_with(&keys, &["-q"]).await.status, 0);
    let report = probe(&["--port", &port, "localhost", "--json"])
        .await
        .json();
    assert_eq!(report["host"], "localhost");
    assert_eq!(report["address"], "127.0.0.1");
    assert_eq!(report["exit_status"], 0);
}

#[tokio::test]
async fn ipv6() {
    let Ok(free) = TcpListener::bind(("::1", 0)) else {
        println!("not tested: this machine has no IPv6");
        return;
    };
    drop(free);
    let program = Program::start_at(free_run(), &[("bind", "::1")]);
    let address = first(&program);
    assert!(address.starts_with("[::1]:"), "{address}");
    let probed = probe(&[&address]).await;
    assert_eq!(probed.status, 0, "{probed:?}");
    // The artists cannot take that way.
    assert!(!probed.out.contains("  yes"), "{probed:?}");
    program.wait_for_line("a warning", "has no IPv4 address");
}

#[tokio::test]
async fn a_server_password_makes_it_private() {
    let keys = [("session.server_password", "a word for friends")];
    let program = Program::start_at(free_run(), &keys);
    let report = probe(&[&first(&program), "--json"]).await.json();
    assert_eq!(report["session"]["private"], true);
    let text = probe(&[&first(&program)]).await.out;
    assert!(text.contains(", a password is needed to join."), "{text}");
}

#[tokio::test]
async fn a_session_goes_on_undisturbed() {
    let program = Program::start_at(free_run(), &[]);
    let mut alice = Client::enter(&program.ports, "0.1.26", Via::Crate, "alice", As::Admin).await;
    let mut cube = node(uuid(1), "alice", "cube");
    alice.upload(&[cube.clone()]).await;
    let mut bob = Client::enter(&program.ports, "0.1.26", Via::Hand, "bob", As::User).await;
    bob.join().await;

    let report = probe(&[&first(&program), "--json"]).await.json();
    assert_eq!(report["exit_status"], 0, "{report}");
    // The clients' own version, no longer the one that is shown while nobody is there.
    assert_eq!(report["session"]["version"], "0.1.26");

    cube.payload = "moved".into();
    alice.push(&cube);
    bob.until("the cube to move", |bob| {
        bob.nodes[&uuid(1)].payload == cube.payload
    })
    .await;
    assert_eq!((alice.dismissed, bob.dismissed), (None, None));
    let counters = program.counters();
    assert_eq!(counters.get("logins"), 2);
    for refusals in [
        "refused_strangers",
        "refused_logins",
        "malformed_messages",
        "broken_transports",
        "late_connections",
    ] {
        assert_eq!(counters.get(refusals), 0, "{refusals}");
    }
}

#[tokio::test]
async fn ports_that_are_not_forwarded() {
    let program = Program::start_at(free_run(), &[]);
    let router = free_run();
    let address = at(&router);
    let port = router[0].local_addr().unwrap().port();
    let [first, second, third, fourth] = router;
    let _first = forward(first, program.ports.at(0));
    let _second = forward(second, program.ports.at(1));
    // The system takes connections there, and nobody fetches them.
    let _third = third;
    drop(fourth);
    let probed = probe(&[&address, "--json", "--wait", "1s"]).await;
    let report = probed.json();
    assert_eq!((probed.status, &report["exit_status"]), (1, &json!(1)));
    assert_eq!(report["verdict"], "partly");
    let expected = [json!(null), json!(null), json!("silent"), json!("refused")];
    assert_eq!(troubles(&report), expected.each_ref());
    assert_eq!(reachable(&report), [false, false, true]);
    assert_eq!(report["clients"][0]["missing"], json!([port + 2, port + 3]));
    assert_eq!(report["clients"][1]["missing"], json!([port + 2]));
    // The other ports tell all there is to tell.
    assert!(report["session"]["version"].is_string(), "{report}");

    let text = probe(&[&address, "--wait", "500"]).await.out;
    let no = format!(
        "no   add-on 0.4.0 to today (replication 0.1.33 to 0.9.11): port {} is missing",
        port + 2
    );
    assert!(text.contains(&no), "{text}");
}

#[tokio::test]
async fn only_the_first_port_is_forwarded() {
    let program = Program::start_at(free_run(), &[]);
    let router = free_run();
    let address = at(&router);
    let [first, others @ ..] = router;
    drop(others);
    let _first = forward(first, program.ports.at(0));
    let probed = probe(&[&address, "--json"]).await;
    let report = probed.json();
    assert_eq!(probed.status, 1);
    assert_eq!(report["server"], "all");
    assert_eq!(report["ports"][0]["framed"], true);
    assert_eq!(reachable(&report), [false, false, true]);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn ports_that_do_not_answer() {
    let run = free_run();
    let address = at(&run);
    let [first, second, third, fourth] = run;
    let _full = [first, second].map(street::full);
    drop((third, fourth));
    let probed = probe(&[&address, "--json", "--wait", "500ms"]).await;
    let report = probed.json();
    assert_eq!(probed.status, 3);
    let expected = ["dropped", "dropped", "refused", "refused"].map(Value::from);
    assert_eq!(troubles(&report), expected.each_ref());
    assert_eq!(report["verdict"], "nothing");
    assert_eq!(report["session"], Value::Null);
}

#[tokio::test]
async fn nothing_is_there() {
    let run = free_run();
    let address = at(&run);
    drop(run);
    let probed = probe(&[&address]).await;
    assert_eq!(probed.status, 3);
    assert_eq!(
        probed.out.matches("refused: nothing listens there").count(),
        4
    );
    let quiet = probe(&["-q", &address]).await;
    assert_eq!(
        (quiet.status, quiet.out.as_str(), quiet.err.as_str()),
        (3, "", "")
    );
}

#[tokio::test]
async fn the_wrong_first_port() {
    let program = Program::start_at(free_run(), &[]);
    let second = program.ports.at(1).to_string();
    let probed = probe(&[&second, "--json", "--wait", "1s"]).await;
    assert_eq!(probed.status, 1);
    let report = probed.json();
    assert_eq!(report["ports"][0]["trouble"], "mute");
    let hint = report["ports"][0]["hint"].as_str().unwrap();
    assert!(hint.contains("is the first port right?"), "{hint}");
    assert!(!hint.contains("restart"), "{hint}");
    // What the other ports look like says nothing while it is not known which they are.
    assert_eq!(report["server"], "unknown");
}

/// Heartbeats come from the other two without a question.
#[tokio::test]
async fn a_first_port_that_is_wrong_by_two_or_three() {
    let program = Program::start_at(free_run(), &[]);
    for offset in [2, 3] {
        let probed = probe(&[&program.ports.at(offset).to_string(), "--json"]).await;
        let report = probed.json();
        assert_eq!((probed.status, &report["verdict"]), (1, &json!("partly")));
        let first = &report["ports"][0];
        let hint = first["hint"].as_str().unwrap();
        assert!(hint.contains("is the first port right"), "{hint}");
        assert_eq!(first["roles"], json!([]), "p+{offset}");

        // A router that does not forward what is above them keeps the other checks waiting.
        let router = free_run();
        let address = at(&router);
        let [first, above @ ..] = router;
        let _first = forward(first, program.ports.at(offset));
        let probed = probe(&[&address, "--json", "--wait", "2s"]).await;
        let report = probed.json();
        drop(above);
        let troubles = troubles(&report);
        assert_eq!(troubles[..2], [&json!("other-port"), &json!("silent")]);
        assert_eq!((probed.status, &report["verdict"]), (1, &json!("partly")));
    }
}

#[tokio::test]
async fn mistakes_in_the_command_line() {
    for (args, part) in [
        (&["[::1"][..], "expected a name or an IP address"),
        (&["localhost:65533"], "expected a number from 1 to 65532"),
        (
            &["localhost:5555", "--wait", "0"],
            "'--wait <DURATION>': expected a duration",
        ),
        (
            &["localhost:5555", "--wait", "soon"],
            "'--wait <DURATION>': expected a duration such as \"3s\" or a number of milliseconds",
        ),
        (&["localhost:5555", "-q", "--json"], "cannot be used with"),
        (&["localhost"], "0 cannot be a first port"),
        (
            &["no..such..name:5555"],
            "the address of no..such..name cannot be found",
        ),
    ] {
        let probed = probe(args).await;
        assert_eq!((probed.status, probed.out.as_str()), (2, ""), "{args:?}");
        assert!(probed.err.contains(part), "{args:?}: {}", probed.err);
    }
}

#[tokio::test]
async fn the_help_tells_the_exit_status() {
    let help = probe(&["--help"]).await;
    assert_eq!(help.status, 0);
    for part in [
        "[HOST[:PORT]]",
        "--wait",
        "--json",
        "--quiet",
        "Exit status:",
        "  3  ",
    ] {
        assert!(help.out.contains(part), "{part} is not in\n{}", help.out);
    }
}

/// The README has no other list of them than the help.
#[tokio::test]
async fn the_readme_tells_the_same_exit_status() {
    let help = probe(&["--help"]).await.out;
    let readme = include_str!("../README.md");
    let readme = readme.split_whitespace().collect::<Vec<_>>().join(" ");
    let readme = readme.split("exit status is 0").nth(1).unwrap();
    for part in ["command line", "configuration", "the name is unknown"] {
        let two = help.lines().find(|line| line.starts_with("  2  ")).unwrap();
        assert!(two.contains(part), "{two}");
        let told = readme.find(part).unwrap_or(usize::MAX);
        assert!(readme.find(", 2 for") < Some(told), "{part}");
        assert!(Some(told) < readme.find(", 3 if"), "{part}");
    }
    // And so it is.
    let wrong = probe_with(&[("net.grace", "soon")], &["localhost:5555"]).await;
    assert_eq!(wrong.status, 2, "{wrong:?}");
}
