//! The codec against recorded sessions of real clients with their own servers.
//!
//! Every message of every session in `corpus/sessions` has to be understood as what it was, and
//! to come out of our encoders as the same frames again: pickled frames as equal values, all
//! others byte for byte. No dependencies may be `None` or `[]`; clients take either.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bytes::Bytes;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request, encode_update};
use multi_user_server::wire::command::{
    Command, CommandLimits, Credentials, Request, decode, encode,
};
use multi_user_server::wire::dialect::{
    Dialect, Family, Framing, Passwords, Ports, RightShape, for_version,
};
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::marshal;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{
    NodeLimits, Reassembler, Update, delta_messages, header_sender, node_messages, whole_as_delta,
};
use multi_user_server::wire::pickle::{self, Budget, ScanPolicy, Top, Value, scan};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Link {
    Command,
    Data,
    Publisher,
    Ttl,
}

struct Recorded {
    up: bool,
    link: Link,
    identity: Option<Bytes>,
    message: Message,
    /// Where it was, for failures.
    place: String,
}

struct Session {
    dialect: &'static Dialect,
    messages: Vec<Recorded>,
}

#[test]
fn requests_are_understood_and_written_alike() {
    let mut kinds = BTreeMap::new();
    for session in sessions() {
        let dialect = session.dialect;
        for recorded in session
            .messages
            .iter()
            .filter(|m| m.up && m.link == Link::Command)
        {
            let place = &recorded.place;
            let command = decode(&recorded.message, &CommandLimits::default())
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(command.framing, dialect.commands, "{place}");
            let kind = said(&recorded.message);
            assert_eq!(request_kind(&command.request), kind, "{place}");
            *kinds.entry(kind).or_insert(0) += 1;
            if let Request::Auth(auth) = &command.request {
                assert_eq!(auth.name, command.owner, "{place}");
                assert_eq!(auth.version.is_some(), dialect.sends_version, "{place}");
                let two = matches!(auth.credentials, Credentials::Two { .. });
                assert_eq!(two, dialect.passwords == Passwords::Two, "{place}");
                let spoken = for_version(auth.version.as_deref()).unwrap();
                // Package 0.10.3 calls itself 0.10.2, which is the same row.
                assert_eq!(spoken, dialect, "{place}");
            }
            let ours = encode_request(dialect, &command.owner, &command.request);
            assert_same(&ours, std::slice::from_ref(&recorded.message), place);
        }
    }
    let kinds: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "Auth",
            "Delete",
            "Disconnect",
            "Info",
            "Kick",
            "Metadata",
            "Right",
            "ServerSnapshot END",
            "ServerSnapshot INIT",
            "ServerSnapshot SET",
            "Snapshot DONE",
            "Snapshot GET",
            "Snapshot REQUEST_INIT",
        ]
    );
}

#[test]
fn answers_are_written_as_the_real_servers_did() {
    let mut kinds = BTreeMap::new();
    let mut forgotten = 0;
    for session in sessions() {
        for recorded in session
            .messages
            .iter()
            .filter(|m| !m.up && m.link == Link::Command)
        {
            let place = &recorded.place;
            let answer = decode_answer(&recorded.message, &CommandLimits::default())
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            let kind = said(&recorded.message);
            assert_eq!(answer_kind(&answer), kind, "{place}");
            let lists = session.dialect.right == RightShape::List;
            if kind == "Right" && lists && names_one_node(&recorded.message) {
                // Servers 0.8.0 to 0.9.4 forgot the list when they cleaned up after a user, and
                // their clients ignored the Right. Ours does not.
                forgotten += 1;
                continue;
            }
            *kinds.entry(kind).or_insert(0) += 1;
            let ours = encode(session.dialect, &answer.borrow());
            assert_same(&ours, std::slice::from_ref(&recorded.message), place);
        }
    }
    let kinds: Vec<&str> = kinds.keys().map(String::as_str).collect();
    assert_eq!(
        kinds,
        [
            "Auth",
            "Delete",
            "Disconnect",
            "Info",
            "Metadata",
            "Right",
            "ServerSnapshot ACCEPTED",
            "ServerSnapshot DONE",
            "Snapshot INIT",
            "Snapshot SET",
            "Users",
        ]
    );
    assert_eq!(forgotten, 2);
}

#[test]
fn data_messages_are_understood_and_relayed_alike() {
    for session in sessions() {
        let dialect = session.dialect;
        // One reassembler per connection; the publisher port's messages carry no identity, but
        // only one client pushes at a time in these sessions.
        let mut links: BTreeMap<_, (Reassembler, Vec<Message>)> = BTreeMap::new();
        let (mut up, mut down) = (0, 0);
        for recorded in &session.messages {
            if !matches!(recorded.link, Link::Data | Link::Publisher) {
                continue;
            }
            let place = &recorded.place;
            let key = (recorded.link, recorded.up, recorded.identity.clone());
            let (reassembler, gathered) = links.entry(key).or_default();
            assert_eq!(reassembler.expects_header(), gathered.is_empty(), "{place}");
            gathered.push(recorded.message.clone());
            let update = reassembler
                .push(
                    dialect,
                    &mut recorded.message.clone(),
                    &NodeLimits::default(),
                )
                .unwrap_or_else(|error| panic!("{place}: {error}"));
            let Some(update) = update else { continue };
            let theirs = std::mem::take(gathered);
            let ours = if recorded.up {
                up += 1;
                encode_update(dialect, &sender(recorded, &theirs), &update)
            } else {
                down += 1;
                match &update {
                    Update::Node(node) => node_messages(dialect, node),
                    Update::Delta(delta) => delta_messages(dialect, delta),
                }
            };
            assert_same(&ours, &theirs, place);
        }
        for ((link, ..), (reassembler, _)) in &links {
            assert!(reassembler.expects_header(), "{link:?} ends inside a node");
        }
        assert!(up > 0 && down > 0, "{:?}", dialect.first);
    }
}

#[test]
fn uploaded_nodes_become_deltas_that_replace_the_root() {
    let mut seen = 0;
    for session in sessions() {
        for recorded in session
            .messages
            .iter()
            .filter(|m| m.up && m.link == Link::Command)
        {
            let Ok(command) = decode(&recorded.message, &CommandLimits::default()) else {
                continue;
            };
            let Request::UploadSet(node) = command.request else {
                continue;
            };
            let delta = read(&whole_as_delta(&node.payload));
            let root = delta.as_dict().and_then(|dict| dict.get("values_changed"));
            let entry = root
                .and_then(Value::as_dict)
                .and_then(|dict| dict.get("root"));
            let whole = entry
                .and_then(Value::as_dict)
                .and_then(|dict| dict.get("new_value"));
            assert_eq!(whole, Some(&read(&node.payload)), "{}", recorded.place);
            seen += 1;
        }
    }
    assert!(seen > 20);
}

/// What is passed on only if it is a dict of plain data, or a delta in a dict, has always been one.
/// `None` would be a node that was never dumped, which an upload may contain.
#[test]
fn payloads_of_clients_are_dicts_of_plain_data() {
    for session in sessions() {
        let dialect = session.dialect;
        let mut links: BTreeMap<_, Reassembler> = BTreeMap::new();
        let mut seen = 0;
        for recorded in session.messages.iter().filter(|m| m.up) {
            let place = &recorded.place;
            let (payload, delta) = match recorded.link {
                Link::Command => match decode(&recorded.message, &CommandLimits::default()) {
                    Ok(Command {
                        request: Request::UploadSet(node),
                        ..
                    }) => (node.payload, false),
                    _ => continue,
                },
                Link::Data | Link::Publisher => {
                    let key = (recorded.link, recorded.identity.clone());
                    let mut message = recorded.message.clone();
                    let reassembler = links.entry(key).or_default();
                    match reassembler.push(dialect, &mut message, &NodeLimits::default()) {
                        Ok(Some(Update::Node(node))) => (node.payload, false),
                        Ok(Some(Update::Delta(delta))) => (delta.delta, true),
                        _ => continue,
                    }
                }
                Link::Ttl => continue,
            };
            seen += 1;
            if dialect.family == Family::Marshal {
                let scanned = marshal::scan(&payload, &Budget::NODE);
                assert!(scanned.is_ok(), "{place}: {scanned:?}");
                continue;
            }
            let scanned = scan(&payload, &ScanPolicy::NODE);
            let scanned = scanned.unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(scanned.top, Top::Dict, "{place}");
            assert!(delta || scanned.of_deltas.is_none(), "{place}: {scanned:?}");
        }
        assert!(seen > 2, "{:?}: {seen} payloads", dialect.first);
    }
}

fn names_one_node(message: &Message) -> bool {
    let right = read(&message.frames()[2]);
    matches!(
        right.as_dict().and_then(|dict| dict.get("uuid")),
        Some(Value::Str(_))
    )
}

/// What a command message says it is, read without the codec under test.
fn said(message: &Message) -> String {
    let [first, second, payload] = message.frames() else {
        panic!("{message:?}");
    };
    let numbered = first.first() == Some(&0x80);
    let kind = if numbered {
        match first.as_ref() {
            [0x80, 4, b'K', number, b'.'] => number.to_string(),
            _ => panic!("{first:?}"),
        }
    } else {
        String::from_utf8(second.to_vec()).unwrap()
    };
    let kind = match kind.as_str() {
        "4" | "RepDeleteCommand" => "Delete",
        "5" | "RepRightCommand" => "Right",
        "7" | "RepSnapshotCommand" => "Snapshot",
        "8" | "RepServerSnapshotCommand" => "ServerSnapshot",
        "9" | "RepAuthCommand" => "Auth",
        "10" | "RepDisconnectCommand" => "Disconnect",
        "11" | "RepKickCommand" => "Kick",
        "12" | "RepUpdateClientsState" => "Users",
        "13" | "RepUpdateUserMetadata" => "Metadata",
        "14" => "Info",
        other => panic!("{other}"),
    };
    match read(payload).as_dict().and_then(|dict| dict.get("STATE")) {
        Some(state) => format!("{kind} {}", state.as_str().unwrap()),
        None => kind.to_owned(),
    }
}

fn request_kind(request: &Request) -> &'static str {
    match request {
        Request::Auth(_) => "Auth",
        Request::CatalogRequest => "Snapshot REQUEST_INIT",
        Request::Get(_) => "Snapshot GET",
        Request::JoinDone => "Snapshot DONE",
        Request::UploadInit { .. } => "ServerSnapshot INIT",
        Request::UploadSet(_) => "ServerSnapshot SET",
        Request::UploadEnd => "ServerSnapshot END",
        Request::Delete(_) => "Delete",
        Request::Right { .. } => "Right",
        Request::Kick { .. } => "Kick",
        Request::Disconnect => "Disconnect",
        Request::Metadata(_) => "Metadata",
        Request::Info => "Info",
    }
}

fn answer_kind(answer: &OwnedAnswer) -> &'static str {
    match answer {
        OwnedAnswer::Auth(_) => "Auth",
        OwnedAnswer::Users(_) => "Users",
        OwnedAnswer::Metadata { .. } => "Metadata",
        OwnedAnswer::Catalog(_) => "Snapshot INIT",
        OwnedAnswer::Set(_) | OwnedAnswer::Removed => "Snapshot SET",
        OwnedAnswer::UploadAccepted => "ServerSnapshot ACCEPTED",
        OwnedAnswer::UploadRejected => "ServerSnapshot REJECTED",
        OwnedAnswer::UploadDone => "ServerSnapshot DONE",
        OwnedAnswer::Delete(_) => "Delete",
        OwnedAnswer::Right { .. } => "Right",
        OwnedAnswer::Disconnect { .. } => "Disconnect",
        OwnedAnswer::Info { .. } => "Info",
    }
}

fn sender(recorded: &Recorded, messages: &[Message]) -> Identity {
    match &recorded.identity {
        Some(identity) => Identity::new(identity).unwrap(),
        None => header_sender(&messages[0].frames()[0]).unwrap(),
    }
}

fn assert_same(ours: &[Message], theirs: &[Message], place: &str) {
    assert_eq!(ours.len(), theirs.len(), "{place}");
    for (ours, theirs) in ours.iter().zip(theirs) {
        assert_eq!(ours.frames().len(), theirs.frames().len(), "{place}");
        for (ours, theirs) in ours.frames().iter().zip(theirs.frames()) {
            if ours != theirs {
                let [ours, theirs] =
                    [ours, theirs].map(|frame| plain(&Value::Bytes(frame.clone())));
                assert_eq!(ours, theirs, "{place}");
            }
        }
    }
}

/// The value with every pickle inside it replaced by what it says, and `None` by `[]`.
fn plain(value: &Value) -> Value {
    match value {
        Value::Bytes(bytes) if bytes.first() == Some(&0x80) => match read(bytes) {
            Value::None => Value::tuple([Value::list(Vec::<Value>::new())]),
            value => Value::tuple([plain(&value)]),
        },
        Value::List(items) => Value::list(items.iter().map(plain)),
        Value::Dict(dict) => Value::Dict(
            dict.iter()
                .map(|(key, value)| (key.clone(), plain(value)))
                .collect(),
        ),
        other => other.clone(),
    }
}

fn read(bytes: &Bytes) -> Value {
    pickle::read(bytes, &Budget::NODE).unwrap_or_else(|error| panic!("{bytes:?}: {error}"))
}

fn sessions() -> Vec<Session> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus/sessions");
    let sessions: Vec<Session> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "jsonl")
        })
        .map(|path| session(&path))
        .collect();
    assert_eq!(sessions.len(), 22);
    sessions
}

fn session(path: &Path) -> Session {
    let version = path.file_stem().unwrap().to_str().unwrap();
    let dialect = for_version(Some(version)).unwrap();
    let text = fs::read_to_string(path).unwrap();
    let lines: Vec<(f64, String, String, Vec<String>)> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let base = lines.iter().map(|line| line.2.clone()).min().unwrap();
    let messages = lines
        .into_iter()
        .map(|(seconds, direction, port, frames)| {
            let mut frames: Vec<Bytes> = frames.iter().map(|hex| unhex(hex)).collect();
            let link = link(dialect, &base, &port, &frames);
            let identity = (link != Link::Publisher).then(|| frames.remove(0));
            if link == Link::Ttl {
                let beat = matches!(frames[..], [ref one] if [&b"INIT"[..], b"PING", b"PONG"].contains(&&one[..]));
                assert!(beat, "{version} at {seconds}: {frames:?}");
            }
            Recorded {
                up: direction == "C>S",
                link,
                identity,
                message: Message::new(frames),
                place: format!("{version} at {seconds} s, {link:?}"),
            }
        })
        .collect();
    Session { dialect, messages }
}

fn link(dialect: &Dialect, base: &str, port: &str, frames: &[Bytes]) -> Link {
    if dialect.ports == Ports::Framed {
        assert_eq!(dialect.commands, Framing::Numbered);
        return match frames[1].as_ref() {
            b"INIT" | b"PING" | b"PONG" => Link::Ttl,
            [0x80, 4, b'K', 1 | 2, b'.'] => Link::Data,
            _ => Link::Command,
        };
    }
    let number = |text: &str| text.parse::<u16>().unwrap();
    match (number(port) - number(base), dialect.ports) {
        (0, _) => Link::Command,
        (1, _) => Link::Data,
        (2, Ports::Four) => Link::Publisher,
        (2, Ports::Three) | (3, Ports::Four) => Link::Ttl,
        other => panic!("{other:?}"),
    }
}

fn unhex(hex: &str) -> Bytes {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}
