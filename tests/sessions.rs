//! `session`: what is kept, copied to and from files and brought back, with and without a server.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::client::{As, Client};
use common::link::Via;
use common::scene::{host, joined, made};
use common::server::{Program, command, run};
use common::{PATIENCE, uuid};
use multi_user_server::store::LARGE;
use multi_user_server::wire::node::NodeState;
use serde_json::Value;

/// One for each way of storing nodes, and one of those that cannot open files of today.
const VERSIONS: [&str; 4] = ["0.0.20", "0.1.26", "0.2.4", "0.9.11"];

/// What somebody finds who joins: payloads, and what the second node needs.
async fn found(program: &Program, version: &'static str) -> (Vec<String>, usize) {
    let client = joined(program, version, "carol").await;
    let nodes = client.nodes.values();
    // Which pickle says so is the server's to choose.
    let text = |node: &NodeState| {
        let payload = String::from_utf8_lossy(&node.payload).into_owned();
        let known = ["one", "two"]
            .into_iter()
            .find(|text| payload.contains(text));
        known.unwrap_or("something else").to_owned()
    };
    let payloads = nodes.map(text).collect();
    let needs = client
        .nodes
        .get(&uuid(2))
        .map_or(0, |node| node.dependencies.len());
    (payloads, needs)
}

fn scene() -> (Vec<String>, usize) {
    (vec!["one".to_owned(), "two".to_owned()], 1)
}

fn stopped(mut program: Program) -> Program {
    program.signal("TERM");
    assert!(program.wait(PATIENCE).success());
    program
}

fn session(data: &Path, arguments: &[&str]) -> Result<String, String> {
    run(data, &[&["session"], arguments].concat())
}

fn session_json(data: &Path, arguments: &[&str]) -> Value {
    let text = session(data, &[&["--json"], arguments].concat()).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn file(data: &Path, name: &str) -> String {
    data.join(name).to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_is_exported_and_hosted_elsewhere() {
    for version in VERSIONS {
        let program = Program::start(&[]);
        let alice = host(&program, version).await;
        // By the server that runs, and from its data.
        let running = file(program.data.path(), "running.db");
        let text = session(program.data.path(), &["export", &running]).unwrap();
        assert!(text.starts_with("2 nodes in "), "{version}: {text}");
        drop(alice);
        let program = stopped(program);
        let resting = file(program.data.path(), "resting.db");
        session(program.data.path(), &["export", &resting]).unwrap();
        let refused = session(program.data.path(), &["export", &resting]).unwrap_err();
        assert!(
            refused.ends_with("the file exists already, choose another name\n"),
            "{refused}"
        );

        for path in [&running, &resting] {
            // Into the data of a server that has never run, and into one that runs.
            let fresh = tempfile::tempdir().unwrap();
            let imported = session_json(fresh.path(), &["import", path]);
            assert_eq!(imported["nodes"], 2, "{version}");
            assert!(
                session(fresh.path(), &["import", path])
                    .unwrap_err()
                    .contains("--replace")
            );
            let other = Program::start(&[]);
            session(other.data.path(), &["import", path]).unwrap();
            assert_eq!(found(&other, version).await, scene(), "{version}");
            let listed = session_json(other.data.path(), &["list"]);
            assert_eq!(listed["sessions"][0]["state"], "running");
            let refused = session(other.data.path(), &["import", path]).unwrap_err();
            assert!(refused.contains("--replace"), "{refused}");
        }
        session(program.data.path(), &["import", "--replace", &resting]).unwrap();
        let program = program.start_again(&[]);
        assert_eq!(found(&program, version).await, scene(), "{version}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_shown_reset_and_restored() {
    let program = Program::start(&[]);
    let alice = host(&program, "0.9.11").await;
    drop(alice);
    let program = stopped(program);
    let data = program.data.path().to_owned();
    let listed = session_json(&data, &["list"]);
    let kept = &listed["sessions"][0];
    assert_eq!(kept["session"], "default");
    assert_eq!(
        (&kept["state"], &kept["nodes"]),
        (&"stopped".into(), &2.into())
    );
    assert_eq!(kept["clients"], "0.9.11");
    let shown = session_json(&data, &["show"]);
    assert!(!shown["backup_files"].as_array().unwrap().is_empty());

    let reset = session_json(&data, &["reset"]);
    let backup = PathBuf::from(reset["backup"]["path"].as_str().unwrap());
    assert!(backup.exists());
    assert_eq!(session_json(&data, &["show"])["nodes"], 0);
    let text = session(&data, &["restore", "reset"]).unwrap();
    assert!(text.starts_with("2 nodes from"), "{text}");
    let program = program.start_again(&[]);
    assert_eq!(found(&program, "0.9.11").await, scene());
}

/// What is set aside stays so whatever takes the session's place, with a server and without.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_set_aside_stays_so() {
    let program = Program::start(&[]);
    let alice = host(&program, "0.9.11").await;
    let data = program.data.path().to_owned();
    let ctl = |arguments: &[&str]| run(&data, &[&["ctl", "--json"], arguments].concat()).unwrap();
    let stats = || {
        let stats: Value = serde_json::from_str(&ctl(&["stats"])).unwrap();
        (stats["nodes"].clone(), stats["aside"].clone())
    };
    // Both nodes are in it.
    let both = file(&data, "both.db");
    session(&data, &["export", &both]).unwrap();
    drop(alice);
    let first = uuid(1).to_string();
    ctl(&["quarantine", &first]);
    session(&data, &["reset"]).unwrap();
    assert_eq!(stats(), (0.into(), 1.into()));
    // There is nothing to save of it, and nothing in the way of another one.
    let again = session_json(&data, &["reset"]);
    assert_eq!(again["backup"], Value::Null);
    session(&data, &["import", &both]).unwrap();
    assert_eq!(stats(), (1.into(), 1.into()));

    let program = stopped(program);
    session(&data, &["reset"]).unwrap();
    let again = session_json(&data, &["reset"]);
    assert_eq!(again["backup"], Value::Null);
    let program = stopped(program.start_again(&[]));
    assert_eq!(session_json(&data, &["import", &both])["nodes"], 1);
    session(&data, &["import", "--replace", &both]).unwrap();
    let program = program.start_again(&[]);
    assert_eq!(stats(), (1.into(), 1.into()));
    ctl(&["release", &first]);
    assert_eq!(stats(), (2.into(), 0.into()));
    assert_eq!(found(&program, "0.9.11").await.0, ["one", "two"]);
}

#[test]
fn what_is_not_there_is_said() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path();
    assert_eq!(
        session(data, &["list"]).unwrap(),
        "There are no sessions.\n"
    );
    for arguments in [
        &["show"][..],
        &["reset"],
        &["recover"],
        &["restore"],
        &["export", "x.db"],
        &["import", "missing.db"],
        &["--name", "../elsewhere", "show"],
    ] {
        let said = session(data, arguments).unwrap_err();
        assert!(
            said.starts_with("error: ") && said.len() > 20,
            "{arguments:?}: {said}"
        );
    }
    // Looking makes nothing.
    assert!(!data.join("sessions/default").exists());
    assert!(!data.join("x.db").exists());
}

/// Not the name under which it would have been written first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_says_which_directory_is_missing() {
    let program = Program::start(&[]);
    let alice = host(&program, "0.9.11").await;
    let data = program.data.path().to_owned();
    let (beside, within) = (tempfile::tempdir().unwrap(), data.join("none"));
    let missing = [beside.path().join("none"), within];
    let refused = |arguments: &[&str]| session(&data, arguments).unwrap_err();
    let check = |how: &str| {
        for dir in &missing {
            let (dir, path) = (dir.display(), dir.join("o.db"));
            let said = refused(&["export", path.to_str().unwrap()]);
            let expected = format!("there is no directory {dir}\n");
            assert!(said.ends_with(&expected), "{how}: {said}");
            assert!(!said.contains(".new"), "{how}: {said}");
        }
    };
    check("with a server");
    drop(alice);
    let _program = stopped(program);
    check("without");

    // Nor where the directory is there, but is none.
    std::fs::write(beside.path().join("file"), "").unwrap();
    let path = beside.path().join("file/o.db");
    let said = refused(&["export", path.to_str().unwrap()]);
    assert!(
        said.contains("file/o.db") && !said.contains(".new"),
        "{said}"
    );
}

/// What is damaged is said when the server starts, with what to do; that brings back the rest, and
/// the damaged one stays.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_session_is_recovered() {
    let program = Program::start(&[]);
    let mut alice = Client::enter(&program.ports, "0.9.11", Via::Hand, "alice", As::Admin).await;
    let large = "x".repeat(LARGE);
    let nodes = [made(&alice, 1, "one"), made(&alice, 2, &large)];
    alice.upload(&nodes).await;
    drop(alice);
    let program = stopped(program);
    let data = program.data.path().to_owned();
    assert!(
        session(&data, &["recover"])
            .unwrap()
            .contains("not damaged")
    );
    let made = std::fs::read_dir(data.join("backups/default")).unwrap();
    let first = made.last().unwrap().unwrap().file_name();
    let first = first.into_string().unwrap();
    // A bit of the large node's own file.
    let dir = data.join("sessions/default/nodes");
    let large = std::fs::read_dir(&dir)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut bytes = std::fs::read(&large).unwrap();
    bytes[200_000] ^= 1;
    std::fs::write(&large, &bytes).unwrap();

    let mut command = command(&data, &[]);
    let output = command.output().unwrap();
    assert!(!output.status.success());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("session recover"), "{said}");

    let backup = session(&data, &["restore", "--name", "other"]).unwrap_err();
    assert!(backup.contains("there is no backup"), "{backup}");
    let recovered = session_json(&data, &["recover"]);
    assert_eq!(recovered["recovered"], 1);
    assert_eq!(recovered["lost"], Value::from(vec![uuid(2).to_string()]));
    let damaged = PathBuf::from(recovered["damaged"].as_str().unwrap());
    assert!(damaged.join("nodes").exists());
    let program = program.start_again(&[]);
    let (payloads, _) = found(&program, "0.9.11").await;
    assert_eq!(payloads, ["one"]);
    let _program = stopped(program);

    // Whoever wants the large one back goes back to a backup, past damage too.
    let index = data.join("sessions/default/mark");
    std::fs::write(&index, "nonsense").unwrap();
    let all = session(&data, &["restore", &first]).unwrap();
    assert!(all.contains("The damaged session is in"), "{all}");
    assert_eq!(session_json(&data, &["show"])["nodes"], 2);
    // Or past damage that is seen only when a node is read.
    let damage = || {
        let large = std::fs::read_dir(&dir).unwrap().next().unwrap().unwrap();
        let mut bytes = std::fs::read(large.path()).unwrap();
        bytes[200_000] ^= 1;
        std::fs::write(large.path(), &bytes).unwrap();
    };
    damage();
    let again = session(&data, &["restore", &first]).unwrap();
    assert!(again.contains("The damaged session is in"), "{again}");
    damage();
    let reset = session(&data, &["reset"]).unwrap();
    assert!(reset.contains("It was damaged"), "{reset}");
}

/// A user that is neither root nor anybody else.
const SERVERS: u32 = 47_110;

/// A data directory of that user's. `None` if only root could make one.
fn of_another_user() -> Option<Arc<tempfile::TempDir>> {
    if !nix::unistd::geteuid().is_root() {
        println!("not tested: only root can look after what is another user's");
        return None;
    }
    let data = tempfile::tempdir().unwrap();
    std::os::unix::fs::chown(data.path(), Some(SERVERS), Some(SERVERS)).unwrap();
    Some(Arc::new(data))
}

/// All that is in a directory and not its owner's.
fn strangers(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let metadata = path.symlink_metadata().unwrap();
        if (metadata.uid(), metadata.gid()) != (SERVERS, SERVERS) {
            found.push(path.clone());
        }
        if metadata.is_dir() {
            found.extend(strangers(&path));
        }
    }
    found
}

/// The server's user has to be able to use whatever root makes there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_root_makes_is_given_to_the_servers_user() {
    let Some(data) = of_another_user() else {
        return;
    };
    let elsewhere = tempfile::tempdir().unwrap();
    let scene = file(elsewhere.path(), "scene.db");
    let program = Program::start(&[]);
    drop(host(&program, "0.9.11").await);
    session(program.data.path(), &["export", &scene]).unwrap();

    let data = data.path();
    run(data, &["admin-password"]).unwrap();
    assert_eq!(strangers(data), Vec::<PathBuf>::new());
    run(data, &["admin-password", "--new"]).unwrap();
    session(data, &["import", &scene]).unwrap();
    assert_eq!(strangers(data), Vec::<PathBuf>::new());
    let other = ["--name", "other", "import", scene.as_str()];
    session(data, &other).unwrap();
    // With a backup of what was there.
    let reset = session_json(data, &["reset"]);
    assert!(Path::new(reset["backup"]["path"].as_str().unwrap()).exists());
    assert_eq!(strangers(data), Vec::<PathBuf>::new());
    // What is linked to is not in there, and stays as it is.
    let outside = elsewhere.path().join("outside");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("mine"), "mine").unwrap();
    std::os::unix::fs::symlink(&outside, data.join("backups/link")).unwrap();
    session(data, &["restore"]).unwrap();
    for path in [&outside, &outside.join("mine")] {
        assert_eq!(path.metadata().unwrap().uid(), 0);
    }
}

/// The server need not be able to open the files of whoever asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_of_the_callers_pass_to_and_from_a_server_of_another_user() {
    let Some(data) = of_another_user() else {
        return;
    };
    // Nobody but root may go in there.
    let elsewhere = tempfile::tempdir().unwrap();
    let scene_file = file(elsewhere.path(), "scene.db");
    let program = Program::start_as(SERVERS, data);
    drop(host(&program, "0.9.11").await);
    let data = program.data.path();

    let exported = session_json(data, &["export", &scene_file]);
    assert_eq!(
        (&exported["exported"], &exported["nodes"]),
        (&scene_file.as_str().into(), &2.into())
    );
    let bytes = std::fs::metadata(&scene_file).unwrap().len();
    assert_eq!(exported["bytes"], bytes);
    let again = session(data, &["export", &scene_file]).unwrap_err();
    assert!(again.contains("scene.db"), "{again}");
    assert_eq!(std::fs::metadata(&scene_file).unwrap().len(), bytes);

    run(data, &["ctl", "reset"]).unwrap();
    let text = session(data, &["import", &scene_file]).unwrap();
    assert!(text.contains(&scene_file), "{text}");
    assert_eq!(found(&program, "0.9.11").await, scene());
    run(data, &["ctl", "reset"]).unwrap();
    run(data, &["ctl", "restore", &scene_file]).unwrap();
    assert_eq!(found(&program, "0.9.11").await, scene());

    // What is wrong is said of the caller's file.
    for (name, text) in [("none.db", None), ("other.db", Some("no session"))] {
        let path = file(elsewhere.path(), name);
        if let Some(text) = text {
            std::fs::write(&path, text).unwrap();
        }
        let refused = session(data, &["import", "--replace", &path]).unwrap_err();
        assert!(refused.contains(&path), "{refused}");
        assert!(!refused.contains("exchange"), "{refused}");
    }
    // Nothing of that stays behind.
    let names = std::fs::read_dir(data).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let left: Vec<_> = names.filter(|name| name.contains("exchange")).collect();
    assert_eq!(left, [""; 0]);
}

/// A running server's session is told of like any other, also if it is not kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_session_of_a_running_server_is_shown_with_size_clients_and_backups() {
    for flush in ["100ms", "off"] {
        let program = Program::start(&[("durability.flush", flush)]);
        let _alice = host(&program, "0.9.11").await;
        let data = program.data.path();
        run(data, &["ctl", "backup"]).unwrap();
        let listed = session_json(data, &["list"]);
        let shown = session_json(data, &["show"]);
        for kept in [&listed["sessions"][0], &shown] {
            assert_eq!(
                (&kept["session"], &kept["state"]),
                (&"default".into(), &"running".into())
            );
            assert_eq!(
                (&kept["nodes"], &kept["clients"]),
                (&2.into(), &"0.9.11".into()),
                "{flush}"
            );
            assert!(kept["bytes"].as_u64().unwrap() > 0);
            assert_eq!(kept["backups"], 1);
        }
        assert_eq!(listed["sessions"].as_array().unwrap().len(), 1);
        assert_eq!(shown["backup_files"].as_array().unwrap().len(), 1);
        let text = session(data, &["list"]).unwrap();
        assert!(text.contains("default (running): 2 nodes"), "{text}");
        assert!(text.ends_with(", 1 backup\n"), "{text}");
    }
}

/// Who may not use the socket learns who may.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_user_is_told_who_may_order() {
    let Some(users) = of_another_user() else {
        return;
    };
    let program = Program::start(&[]);
    let command = command(program.data.path(), &[]);
    let copy = users.path().join("program");
    std::fs::copy(command.get_program(), &copy).unwrap();
    let known: Vec<_> = command.get_envs().collect();
    let output = std::process::Command::new(&copy)
        .uid(SERVERS)
        .env_clear()
        .envs(
            known
                .into_iter()
                .filter_map(|(key, value)| Some((key, value?))),
        )
        .current_dir(users.path())
        .args(["ctl", "users"])
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error.contains("sudo"), "{error}");
    assert_eq!(error.matches("Permission denied").count(), 1, "{error}");
}
