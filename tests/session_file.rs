//! The session file against the clients themselves: what a package saves is read, and what is
//! written is loaded by the package.
//!
//! Each version builds a graph of its own nodes and saves it with its own function; what is read of
//! that is written again, and loaded with the package's own loader. The Python side is
//! `tests/session_file/client.py`; the environments are those of `tests/clients`.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "helpers of tests"
)]

use std::convert::Infallible;
use std::env;
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use bytes::Bytes;
use multi_user_server::session_file::{About, Format, Limits, Reader, write};
use multi_user_server::wire::identity::NodeId;
use multi_user_server::wire::node::NodeState;
use multi_user_server::wire::pickle::{Budget, Value, read};

/// Each shape of the file, with the versions in which its writer changed.
const VERSIONS: [(&str, Format); 9] = [
    ("0.1.26", Format::Decoded { typed: true }),
    ("0.1.42", Format::Decoded { typed: true }),
    ("0.2.4", Format::Decoded { typed: false }),
    ("0.3.0", Format::Decoded { typed: false }),
    ("0.4.0", Format::Chunks),
    ("0.5.4", Format::Chunks),
    ("0.9.1", Format::Chunks),
    ("0.9.11", Format::Chunks),
    ("0.10.3", Format::Chunks),
];

#[test]
fn clients_and_we_understand_each_others_files() {
    make_environments();
    let tried = VERSIONS
        .iter()
        .filter_map(|(version, format)| try_version(version, *format));
    let failures: Vec<_> = tried.collect();
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// What is wrong with a version's files, if anything.
fn try_version(version: &str, format: Format) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let mut client = Client::start(version, folder.path());
    let saved = client.line();
    let expected: Vec<_> =
        std::iter::from_fn(|| Some(client.line()).filter(|line| !line.is_empty()))
            .map(|line| node(&line))
            .collect();

    let mut nodes = Vec::new();
    let file = File::open(saved).unwrap();
    let summary = Reader::open(file)
        .unwrap()
        .read(&Limits::default(), |node| {
            nodes.push(node);
            Ok::<_, Infallible>(())
        });
    let summary = match summary {
        Ok(summary) => summary,
        Err(error) => return Some(format!("{version}: {error}")),
    };
    let right = (Some(format), 1, Vec::new());
    if (
        summary.format,
        summary.without_data,
        summary.missing.clone(),
    ) != right
    {
        return Some(format!("{version}: {summary:?}"));
    }
    let differs = |(one, two): (&NodeState, &NodeState)| {
        without_payload(one) != without_payload(two) || value(&one.payload) != value(&two.payload)
    };
    if nodes.len() != expected.len() || nodes.iter().zip(&expected).any(differs) {
        return Some(format!("{version}: other nodes were read than saved"));
    }

    let ours = folder.path().join("ours.db");
    let about = About::now(Some(version), "Büro");
    let nodes = nodes.into_iter().map(Ok::<_, Infallible>);
    let out = File::create(&ours).unwrap();
    write(out, format, &about, nodes).unwrap();
    let read_again = Reader::open(File::open(&ours).unwrap()).unwrap();
    assert_eq!(read_again.about().unwrap().session, "Büro");
    client.say(&ours);
    let loaded = client.line();
    (loaded != "same").then(|| format!("{version}: {loaded}"))
}

fn without_payload(node: &NodeState) -> NodeState {
    NodeState {
        payload: Bytes::new(),
        ..node.clone()
    }
}

fn value(payload: &Bytes) -> Value {
    read(payload, &Budget::NODE).unwrap()
}

/// A node of a line.
fn node(line: &str) -> NodeState {
    let words: Vec<_> = line.split('\t').collect();
    let [id, owner, kind, dependencies, data] = words[..] else {
        panic!("{line}");
    };
    let dependencies = dependencies.split(',').filter(|id| !id.is_empty());
    NodeState {
        id: NodeId::new(id.as_bytes()).unwrap(),
        owner: String::from_utf8(unhex(owner)).unwrap().into(),
        kind: kind.to_owned().into(),
        dependencies: dependencies
            .map(|id| NodeId::new(id.as_bytes()).unwrap())
            .collect(),
        payload: unhex(data).into(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The script in the environment of a version.
struct Client {
    child: Child,
    output: BufReader<std::process::ChildStdout>,
}

impl Client {
    fn start(version: &str, folder: &Path) -> Self {
        let mut child = Command::new(interpreter(version))
            .arg(tests().join("session_file/client.py"))
            .arg(folder)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self { child, output }
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "the script ended early");
        line.pop();
        line
    }

    fn say(&mut self, path: &Path) {
        let mut input = self.child.stdin.take().unwrap();
        writeln!(input, "{}", path.display()).unwrap();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes the environments that are missing.
fn make_environments() {
    let script = tests().join("clients/venvs.py");
    let versions = VERSIONS.map(|(version, _)| version);
    let output = Command::new("python3").arg(script).args(versions).output();
    let output = output.unwrap_or_else(|error| panic!("python3 is needed for this test: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "clients can't be installed: {}",
        String::from_utf8_lossy(&said)
    );
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

fn interpreter(version: &str) -> PathBuf {
    let target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients");
    let parent = env::var_os("CLIENT_VENVS").map_or_else(target, PathBuf::from);
    parent.join(version).join("bin/python")
}
