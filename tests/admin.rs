//! What the person who runs the server can have it do: `ctl`, backups, going back.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::client::{As, Client};
use common::link::Via;
use common::scene::{self, payloads};
use common::server::{Program, command, run};
use common::{PATIENCE, node, uuid};
use multi_user_server::store::LARGE;
use multi_user_server::wire::client::OwnedAnswer;
use multi_user_server::wire::identity::NodeId;
use multi_user_server::wire::node::NodeState;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use serde_json::Value;

const VERSION: &str = "0.9.11";

fn made(n: u32, payload: &str) -> NodeState {
    let mut node = node(uuid(n), "COMMON", payload.to_owned());
    node.kind.clear();
    node
}

async fn host(program: &Program) -> Client {
    scene::host(program, VERSION).await
}

async fn joined(program: &Program, name: &str) -> Client {
    scene::joined(program, VERSION, name).await
}

fn ctl(program: &Program, arguments: &[&str]) -> Result<String, String> {
    run(program.data.path(), &[&["ctl"], arguments].concat())
}

fn ctl_json(program: &Program, arguments: &[&str]) -> Value {
    let text = ctl(program, &[&["--json"], arguments].concat()).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn backups(program: &Program) -> Vec<String> {
    backups_in(&program.data.path().join("backups/default"))
}

fn backups_in(dir: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(dir) else {
        return Vec::new();
    };
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

/// Waits until there is a backup for this reason.
fn backed_up(program: &Program, reason: &str) -> String {
    program.logged(&format!("a backup for {reason}"), |line| {
        let made = line.get("message")? == "backup made" && line.get("reason")? == reason;
        let file = line.get("file")?.as_str()?;
        made.then(|| file.to_owned())
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_and_removes_users() {
    let program = Program::start(&[]);
    let alice = host(&program).await;
    let mut bob = joined(&program, "bob").await;
    let text = ctl(&program, &["users"]).unwrap();
    assert!(
        text.starts_with("2 users online\n  alice(admin) - "),
        "{text}"
    );
    let users = ctl_json(&program, &["users"]);
    assert_eq!(users["users"][1]["name"], "bob");
    assert_eq!(users["users"][1]["admin"], false);

    assert_eq!(
        ctl(&program, &["kick", "bob"]).unwrap(),
        "bob kicked from the session.\n"
    );
    let reason = bob
        .answered("the kick", |answer| match answer {
            OwnedAnswer::Disconnect { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert_eq!(reason, "kicked by admin");
    let refused = ctl(&program, &["kick", "bob"]).unwrap_err();
    assert_eq!(refused, "error: can't kick bob, user not found\n");
    assert!(ctl(&program, &["say", "hello"]).unwrap().contains("1 user"));
    let several = ctl(&program, &["say", "lunch", "in", "5"]).unwrap();
    assert!(several.contains("1 user"), "{several}");
    program.logged("the text", |line| {
        line.get("order")?
            .as_str()?
            .contains("lunch in 5")
            .then_some(())
    });
    assert!(ctl(&program, &["say"]).is_err());
    drop(alice);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_sees_nodes_sets_them_aside_and_gives_them() {
    let program = Program::start(&[]);
    let _alice = host(&program).await;
    let nodes = ctl_json(&program, &["nodes"]);
    assert_eq!(nodes["nodes"].as_array().unwrap().len(), 2);
    let first = uuid(1).to_string();
    assert!(
        ctl(&program, &["quarantine", &first])
            .unwrap()
            .contains("set aside")
    );
    assert!(ctl(&program, &["nodes"]).unwrap().contains("set aside"));
    assert!(ctl(&program, &["quarantine", &first]).is_err());
    assert_eq!(
        ctl(&program, &["release", &first]).unwrap(),
        format!("{first} is back.\n")
    );

    assert_eq!(ctl(&program, &["rights"]).unwrap().lines().count(), 1);
    assert_eq!(
        ctl(&program, &["rights", "COMMON", "alice"]).unwrap(),
        "2 nodes given to alice.\n"
    );
    assert!(
        ctl(&program, &["rights"])
            .unwrap()
            .starts_with("  alice: 2 nodes")
    );
    assert!(
        ctl(&program, &["rights", &first, "nobody"])
            .unwrap_err()
            .contains("nobody is not in")
    );
    assert!(ctl(&program, &["rights", &first]).is_err());
    let refused = ctl(&program, &["rights", "bob", "alice"]).unwrap_err();
    assert!(refused.contains("bob owns nothing"), "{refused}");

    let stats = ctl_json(&program, &["stats"]);
    assert_eq!((&stats["users"], &stats["nodes"]), (&1.into(), &2.into()));
    assert_eq!(stats["durability"]["state"], "ok");
    assert_eq!(stats["clients"], VERSION);
    assert!(ctl(&program, &["save"]).unwrap().contains("on the disk"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_goes_back_to_a_backup_and_a_reset_can_be_undone() {
    let program = Program::start(&[]);
    let mut alice = host(&program).await;
    let made_first = ctl_json(&program, &["backup"]);
    assert_eq!(made_first["nodes"], 2);
    let first = PathBuf::from(made_first["path"].as_str().unwrap());
    assert!(first.starts_with(program.data.path().join("backups/default")));
    alice.push(&made(3, "three"));
    let bob = joined_with(&program, "bob", 3).await;
    drop(bob);

    let name = first.file_name().unwrap().to_str().unwrap();
    let answer = ctl(&program, &["restore", name]).unwrap();
    assert!(
        answer.contains("with 2 nodes") && answer.contains("What was there before"),
        "{answer}"
    );
    let reason = alice
        .answered("a farewell", |answer| match answer {
            OwnedAnswer::Disconnect { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert!(reason.contains("put back"), "{reason}");
    let carol = joined(&program, "carol").await;
    assert_eq!(payloads(&carol), ["one", "two"]);
    drop((alice, carol));

    let before = program.data.path().join("backups/default");
    let before: Vec<_> = backups_in(&before)
        .into_iter()
        .filter(|name| name.contains("_restore_"))
        .collect();
    assert_eq!(before.len(), 1);
    ctl(&program, &["restore", &before[0]]).unwrap();
    let dave = joined_with(&program, "dave", 3).await;
    assert_eq!(payloads(&dave), ["one", "two", "three"]);
    drop(dave);

    let answer = ctl(&program, &["reset"]).unwrap();
    assert!(answer.starts_with("The session is empty.\n"), "{answer}");
    assert!(
        backups(&program)
            .iter()
            .any(|name| name.contains("_reset_"))
    );
    assert_eq!(ctl_json(&program, &["stats"])["nodes"], 0);
    // So it is after the next start.
    let program = program.killed().start_again(&[]);
    assert_eq!(ctl_json(&program, &["stats"])["nodes"], 0);
    ctl(&program, &["restore", "reset"]).unwrap();
    let program = program.killed().start_again(&[]);
    let eve = joined_with(&program, "eve", 3).await;
    assert_eq!(payloads(&eve), ["one", "two", "three"]);
    assert!(ctl(&program, &["restore", "nothing"]).is_err());
    let said = ctl(&program, &["restore", ""]).unwrap_err();
    assert!(said.contains("say which one: "), "{said}");
    assert!(ctl(&program, &["restore"]).unwrap().lines().count() >= 3);
}

/// Where nothing is kept, nothing is said to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_keeps_nothing_does_not_say_that_all_is_saved() {
    let program = Program::start(&[("durability.flush", "off")]);
    let _alice = host(&program).await;
    for arguments in [&["save"][..], &["--json", "save"]] {
        let refused = ctl(&program, arguments).unwrap_err();
        assert!(refused.contains("nothing is kept"), "{refused}");
    }
}

/// Where no backup can be made nobody is sent away, and of two the first goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_away_for_what_cannot_be_done() {
    let program = Program::start(&[]);
    let _alice = host(&program).await;
    let backups_dir = program.data.path().join("backups");
    std::fs::write(&backups_dir, "in the way").unwrap();
    let refused = ctl(&program, &["reset"]).unwrap_err();
    assert!(refused.contains("not touched"), "{refused}");
    let stats = ctl_json(&program, &["stats"]);
    assert_eq!((&stats["users"], &stats["nodes"]), (&1.into(), &2.into()));

    std::fs::remove_file(&backups_dir).unwrap();
    // That it is nobody's again is a change that the first backup does not have.
    ctl(&program, &["rights", "COMMON", "alice"]).unwrap();
    let answer = ctl_json(&program, &["reset"]);
    let made = answer["backup"]["path"].as_str().unwrap();
    let resets: Vec<_> = backups(&program)
        .into_iter()
        .filter(|name| name.contains("_reset_"))
        .collect();
    assert_eq!(resets.len(), 1);
    assert!(made.ends_with(&resets[0]), "{made}");
    assert_eq!(ctl_json(&program, &["stats"])["users"], 0);
}

/// Somebody who has all of so many nodes, which may have been on their way.
async fn joined_with(program: &Program, name: &str, nodes: usize) -> Client {
    let mut client = joined(program, name).await;
    client
        .until("all nodes", |client| client.nodes.len() >= nodes)
        .await;
    client
}

/// What cannot be read any more is seen when it is to be copied. It is said for as long as it cannot be
/// written anew.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damage_of_what_is_kept_is_said_until_it_is_mended() {
    let program = Program::start(&[]);
    let mut alice = Client::enter(&program.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    let large = |n: u32, text: &str| made(n, &text.repeat(100_000));
    alice.upload(&[large(1, "1"), large(2, "2")]).await;
    ctl(&program, &["save"]).unwrap();
    let damaged = |program: &Program| {
        let stats = ctl_json(program, &["stats"]);
        stats["durability"]["damaged"].as_bool().unwrap()
    };
    assert!(!damaged(&program));
    let sessions = program.data.path().join("sessions");
    for part in std::fs::read_dir(sessions.join("default/log")).unwrap() {
        let part = part.unwrap().path();
        let mut bytes = std::fs::read(&part).unwrap();
        let first = bytes.windows(1000).position(|some| some == [b'1'; 1000]);
        let Some(first) = first else { continue };
        bytes[first + 500] ^= 1;
        std::fs::write(&part, &bytes).unwrap();
    }
    let in_its_way = sessions.join(".default.renewed");
    std::fs::write(&in_its_way, "").unwrap();
    let deadline = Instant::now() + PATIENCE;
    // The first node is old soon.
    while !damaged(&program) {
        assert!(Instant::now() < deadline);
        alice.push(&large(2, "3"));
        if let Err(error) = ctl(&program, &["save"]) {
            assert!(error.contains("is damaged"), "{error}");
        }
    }
    let error = ctl(&program, &["save"]).unwrap_err();
    assert!(error.contains("is damaged"), "{error}");
    let stats = ctl(&program, &["stats"]).unwrap();
    assert!(stats.contains("what is kept is DAMAGED"), "{stats}");
    assert!(stats.contains("disk: ok"), "{stats}");

    std::fs::remove_file(&in_its_way).unwrap();
    let since = Instant::now();
    // Who waits for it need not wait for long.
    while ctl(&program, &["save"]).is_err() {
        assert!(since.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    while damaged(&program) {
        assert!(Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    drop(alice);
    let program = program.killed().start_again(&[]);
    let stats = ctl_json(&program, &["stats"]);
    assert_eq!(
        (&stats["nodes"], &stats["durability"]["damaged"]),
        (&2.into(), &false.into())
    );
    let names = std::fs::read_dir(&sessions).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let aside = names.filter(|name| name.starts_with(".default.damaged-"));
    assert_eq!(aside.count(), 1);
}

/// Whatever the moment: what is there afterwards is the old session or the new one, whole.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_is_killed_while_the_session_is_replaced_has_one_or_the_other() {
    const KILLS: usize = 12;
    let program = Program::start(&[]);
    let mut alice = Client::enter(&program.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    // Files of their own beside rows of the log, and something to do.
    let large = |n: u32| made(n, &n.to_string().repeat(LARGE));
    let nodes = [made(1, "one"), made(2, "two"), large(3), large(4)];
    alice.upload(&nodes).await;
    let mut scenes = vec![None, scene(&program).await];
    let mut orders = vec![vec!["reset".to_owned()], back_to_now(&program)];
    for node in [made(2, "second"), large(5), large(6), made(7, "seven")] {
        alice.push(&node);
    }
    drop((alice, joined_with(&program, "bob", 7).await));
    scenes.push(scene(&program).await);
    orders.push(back_to_now(&program));
    // The first kill is to cost nothing.
    ctl(&program, &["save"]).unwrap();

    let mut program = program.killed().start_again(&[]);
    assert_eq!(scene(&program).await, scenes[2]);
    // How long it takes here if nobody disturbs it.
    let begun = Instant::now();
    let order: Vec<_> = orders[1].iter().map(String::as_str).collect();
    ctl(&program, &order).unwrap();
    let usual = begun.elapsed();
    assert_eq!(scene(&program).await, scenes[1]);
    let mut random = StdRng::seed_from_u64(1);
    let (mut present, mut replaced) = (1, 0);
    for kill in 0..KILLS {
        let other = (present + 1 + kill % 2) % orders.len();
        let mut order = command(program.data.path(), &[]);
        let mut order = order.arg("ctl").args(&orders[other]).spawn().unwrap();
        program.logged("the order", |line| {
            let order = line.get("order")?.as_str()?;
            (!order.starts_with("Stats")).then_some(())
        });
        // Any moment is good: this is what is tested, not waited for.
        std::thread::sleep(random.random_range(Duration::ZERO..usual * 2));
        program = program.killed().start_again(&[]);
        order.wait().unwrap();
        let found = scene(&program).await;
        let is = [present, other]
            .into_iter()
            .find(|&one| scenes[one] == found);
        present = is.unwrap_or_else(|| panic!("neither the one nor the other after {kill} kills"));
        replaced += usize::from(present == other);
    }
    assert!(replaced > 0);
}

/// The order that will bring back what is there now.
fn back_to_now(program: &Program) -> Vec<String> {
    let made = ctl_json(program, &["backup"]);
    let path = Path::new(made["path"].as_str().unwrap());
    let name = path.file_name().unwrap().to_str().unwrap();
    vec!["restore".to_owned(), name.to_owned()]
}

/// What every node of the session holds, if there are any.
async fn scene(program: &Program) -> Option<Vec<(NodeId, Bytes)>> {
    let deadline = Instant::now() + PATIENCE;
    let stats = loop {
        match ctl(program, &["--json", "stats"]) {
            Ok(stats) => break serde_json::from_str::<Value>(&stats).unwrap(),
            // Its ports are open before it takes orders.
            Err(error) => assert!(
                error.contains("no server runs") && Instant::now() < deadline,
                "{error}"
            ),
        }
    };
    if stats["nodes"] == 0 {
        return None;
    }
    let carol = joined(program, "carol").await;
    let nodes = carol.nodes.values();
    Some(nodes.map(|node| (node.id, node.payload.clone())).collect())
}

/// Not only when the first one is due, which may be hours later, or too late.
#[test]
fn a_folder_that_can_take_no_backups_is_told_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let wrong = directory.path().join("a file");
    std::fs::write(&wrong, "mine").unwrap();
    let dir = ("backup.dir", wrong.to_str().unwrap());
    let program = Program::start(&[dir]);
    let told = program.logged("that no backup can be made", |line| {
        (line["event"] == "backup.unusable").then(|| line.clone())
    });
    assert_eq!(told["level"], "WARN");
    assert_eq!(told["dir"], wrong.join("default").to_str().unwrap());
    let error = told["error"].as_str().unwrap();
    assert!(error.contains("Not a directory"), "{error}");
    assert!(told["message"].as_str().unwrap().contains("backup.dir"));
    // It serves all the same.
    assert_eq!(ctl_json(&program, &["stats"])["nodes"], 0);

    // Where none is to be made unasked, only who asks is told, and where one can be made, nobody.
    let off = [
        dir,
        ("backup.interval", "off"),
        ("backup.on_leave", "false"),
        ("backup.on_stop", "false"),
        ("backup.mass_delete", "0"),
    ];
    let unasked = Program::start(&off);
    assert!(ctl(&unasked, &["backup"]).is_err());
    let right = directory.path().join("right");
    let usable = Program::start(&[("backup.dir", right.to_str().unwrap())]);
    assert!(ctl(&usable, &["backup"]).is_ok());
    for mut program in [unasked, usable] {
        program.signal("TERM");
        assert!(program.wait(PATIENCE).success());
        program.wait_for_line("the end", "server.stopped");
        let told = |line: &String| line.contains("backup.unusable");
        assert!(!program.log().iter().any(told));
    }
    assert_eq!(std::fs::read_dir(&right).unwrap().count(), 1);
    assert_eq!(backups_in(&right.join("default")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn backups_are_made_by_themselves() {
    let program = Program::start(&[("backup.interval", "1s")]);
    let alice = host(&program).await;
    backed_up(&program, "interval");
    drop(alice);
    let program = program.killed().start_again(&[("backup.interval", "off")]);
    let alice = joined(&program, "alice").await;
    program.signal("USR1");
    backed_up(&program, "signal");
    alice.push(&made(3, "three"));
    let bob = joined_with(&program, "bob", 3).await;
    drop((alice, bob));
    backed_up(&program, "left");

    // What is in a backup already needs no other.
    let mut program = program;
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    assert!(!backups(&program).iter().any(|name| name.contains("_stop_")));
    // Whoever wants none for those who leave has one at the end.
    let mut program = program.start_again(&[("backup.on_leave", "off")]);
    let before = backups(&program);
    let alice = joined(&program, "alice").await;
    alice.push(&made(4, "four"));
    drop((alice, joined_with(&program, "bob", 4).await));
    for name in ["alice", "bob"] {
        program.logged("that both have left", |line| {
            let left = line.get("message")? == "user left" && line.get("user")? == name;
            left.then_some(())
        });
    }
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    let new: Vec<_> = backups(&program)
        .into_iter()
        .filter(|name| !before.contains(name))
        .collect();
    assert_eq!(new.len(), 1, "{new:?}");
    assert!(new[0].starts_with("default_stop_"), "{new:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_end_makes_a_backup_of_what_has_none() {
    let mut program = Program::start(&[]);
    let _alice = host(&program).await;
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    let made = backups(&program);
    assert_eq!(made.len(), 1, "{made:?}");
    assert!(made[0].starts_with("default_left_") || made[0].starts_with("default_stop_"));
    assert!(made[0].ends_with(".db"));
    let mode = std::fs::metadata(program.data.path().join("backups/default").join(&made[0]));
    assert_eq!(mode.unwrap().permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_deletes_the_scene_finds_it_in_a_backup() {
    let program = Program::start(&[]);
    let alice = host(&program).await;
    let mut bob = joined(&program, "bob").await;
    for n in [1, 2] {
        let delete = multi_user_server::wire::command::Request::Delete(uuid(n));
        alice.request(&delete);
    }
    bob.until("all gone", |bob| bob.nodes.is_empty()).await;
    backed_up(&program, "deletion");
    ctl(&program, &["restore", "deletion"]).unwrap();
    let carol = joined(&program, "carol").await;
    assert_eq!(payloads(&carol), ["one", "two"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_abandoned_session_is_reset_if_that_is_wanted() {
    let keys = [
        ("session.when_empty", "reset after 1s"),
        ("backup.on_leave", "off"),
    ];
    let program = Program::start(&keys);
    let alice = host(&program).await;
    drop(alice);
    backed_up(&program, "reset");
    program.wait_for_line("the reset", "session.replaced");
    assert_eq!(ctl_json(&program, &["stats"])["nodes"], 0);
    let mut bob = Client::enter(&program.ports, VERSION, Via::Hand, "bob", As::Admin).await;
    bob.upload(&[made(7, "another")]).await;
}

/// For both alike, since both find files by it.
#[test]
fn what_a_session_may_be_called_is_said() {
    let data = tempfile::tempdir().unwrap();
    for name in ["", "../x", ".x", "\u{1b}[2J"] {
        let commands = [
            ["ctl", "--session", name, "users"],
            ["session", "--name", name, "show"],
        ];
        let [ctl, session] = commands.map(|args| run(data.path(), &args).unwrap_err());
        let expected = format!(
            "error: {:?} cannot be a session's name: expected 1 to 64 letters (a-z), digits, '-', '_' or \
             '.', the first a letter or digit\n",
            name
        );
        assert_eq!(ctl, expected);
        assert_eq!(session, expected);
    }
}

#[test]
fn what_a_notice_looks_like_is_said() {
    let data = tempfile::tempdir().unwrap();
    let expected = "expected a duration such as \"60s\" or \"5m\", at most 24h";
    for (notice, why) in [
        ("abc", ""),
        ("25h", ""),
        ("", ""),
        ("10", "a unit is missing (ms, s, m, h): "),
    ] {
        let said = run(data.path(), &["ctl", "stop", "--notice", notice]).unwrap_err();
        let expected = format!("'--notice <DURATION>': {why}{expected}");
        assert!(said.contains(&expected), "{notice}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operator_ends_the_server_with_notice() {
    let mut program = Program::start(&[]);
    let mut alice = host(&program).await;
    let began = Instant::now();
    let answer = ctl(&program, &["stop", "--notice", "1s"]).unwrap();
    assert_eq!(answer, "The server ends in 1 s.\n");
    alice
        .answered("a farewell", |answer| match answer {
            OwnedAnswer::Disconnect { reason } => Some(reason.clone()),
            _ => None,
        })
        .await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    drop(alice);
    assert!(program.wait(PATIENCE).success());
    // The socket goes with it.
    let gone = ctl(&program, &["users"]).unwrap_err();
    assert!(
        gone.contains("no server runs with the session default"),
        "{gone}"
    );
    assert!(!program.data.path().join("ctl-default.sock").exists());
}

/// What is no order harms nobody, and nobody else may give any.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_socket_is_the_operators_alone_and_takes_any_nonsense() {
    let program = Program::start(&[]);
    let path = program.data.path().join("ctl-default.sock");
    assert!(ctl(&program, &["users"]).is_ok());
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let deep = [&[b'['; 60_000][..], b"\n"].concat();
    for nonsense in [
        &b"hello\n"[..],
        b"{\"order\":\"explode\"}\n",
        b"{\"order\":\"kick\"}\n",
        b"\xff\xfe\n",
        b"",
        &deep,
        &[b'x'; 100_000],
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        // It may have heard enough before the end.
        let _ = stream.write_all(nonsense);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        // What it leaves unread makes the end of the connection an error, behind the answer.
        let _ = stream.read_to_end(&mut answer);
        let shown = String::from_utf8_lossy(&answer);
        let answer: Value = serde_json::from_slice(&answer)
            .unwrap_or_else(|error| panic!("{error} in {shown:?}, the answer to {nonsense:?}"));
        assert_eq!(answer["ok"], false, "{shown}");
        let error = answer["error"].as_str().unwrap();
        assert!(error.starts_with("no order this server knows"), "{shown}");
    }
    assert!(ctl(&program, &["users"]).is_ok());
}

/// Who has nothing to say holds up orders for a while, if there are as many as may be at a time, and
/// is then sent away.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_says_nothing_on_the_socket_does_not_keep_orders_out() {
    const TOGETHER: usize = 16;
    let program = Program::start(&[]);
    let path = program.data.path().join("ctl-default.sock");
    let idle = || UnixStream::connect(&path).unwrap();
    let idle: Vec<_> = (0..TOGETHER).map(|_| idle()).collect();
    let began = Instant::now();
    assert!(ctl(&program, &["users"]).is_ok());
    assert!(began.elapsed() < PATIENCE);
    // Still there on this side, so it was the server that has given up on them.
    for mut stream in idle {
        assert_eq!(stream.read(&mut [0]).unwrap(), 0);
    }
}

/// A server that was killed leaves its socket, and the next one takes its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_left_behind_is_replaced() {
    let program = Program::start(&[]).killed();
    let gone = ctl(&program, &["users"]).unwrap_err();
    assert!(gone.contains("no server runs"), "{gone}");
    let program = program.start_again(&[]);
    assert!(ctl(&program, &["users"]).is_ok());
}
