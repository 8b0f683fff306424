//! Properties of the command and node codecs: whatever is written is read back, in every dialect;
//! whatever arrives, nothing panics and no bound is passed.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test fails by panicking, also in its helpers"
)]

use std::io::Write;
use std::process::{Command, Stdio};
use std::thread;

use bytes::Bytes;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request, encode_update};
use multi_user_server::wire::command::{
    Answer, Auth, CommandError, CommandLimits, Credentials, Request, decode, encode,
};
use multi_user_server::wire::dialect::{
    Dialect, Framing, Live, NodeFrames, Passwords, RightShape, SetShape, dialects, for_version,
};
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{
    Delta, NodeError, NodeLimits, NodeRef, NodeState, Reassembler, Update, delta_messages,
    encode_delta, encode_node, node_messages, whole_as_delta,
};
use multi_user_server::wire::pickle::{Dict, Protocol, Value, write};
use multi_user_server::wire::transport;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const LIMITS: NodeLimits = NodeLimits {
    payload: 1000,
    dependencies: 8,
    name: 64,
    chunks: 4,
};

const COMMAND_LIMITS: CommandLimits = CommandLimits {
    nodes: 16,
    items: 1000,
    text: 128,
    node: LIMITS,
};

proptest! {
    #[test]
    fn requests_round_trip(
        dialect in dialect(),
        owner in text(),
        request in request(),
    ) {
        let Some(request) = sayable(dialect, request) else { return Ok(()) };
        let messages = encode_request(dialect, &owner, &request);
        prop_assert_eq!(messages.len(), 1);
        let command = decode(&messages[0], &COMMAND_LIMITS).unwrap();
        prop_assert_eq!(command.framing, dialect.commands);
        prop_assert_eq!(command.request, request);
    }

    #[test]
    fn answers_round_trip(dialect in dialect(), answer in answer()) {
        let answer = match answer {
            OwnedAnswer::Set(node) => OwnedAnswer::Set(settable(dialect, node)),
            answer => answer,
        };
        let messages = encode(dialect, &answer.borrow());
        let read = |message| decode_answer(message, &COMMAND_LIMITS).unwrap();
        match answer {
            OwnedAnswer::Right { by, nodes, owner } if dialect.right == RightShape::One => {
                prop_assert_eq!(messages.len(), nodes.len());
                for (message, node) in messages.iter().zip(nodes) {
                    let (by, owner) = (by.clone(), owner.clone());
                    let single = OwnedAnswer::Right { by, nodes: vec![node], owner };
                    prop_assert_eq!(read(message), single);
                }
            }
            OwnedAnswer::Info { .. } if dialect.commands == Framing::Named => {
                prop_assert!(messages.is_empty());
            }
            answer => {
                prop_assert_eq!(messages.len(), 1);
                prop_assert_eq!(read(&messages[0]), answer);
            }
        }
    }

    #[test]
    fn updates_round_trip(
        dialect in dialect(),
        identity in vec(any::<u8>(), 1..20),
        node in node(),
        whole in any::<bool>(),
    ) {
        let identity = Identity::new(&identity).unwrap();
        let node = typed(dialect, node);
        let update = if whole || dialect.live == Live::Whole {
            Update::Node(node.clone())
        } else {
            delta(dialect, node.clone())
        };
        let expected = match update.clone() {
            Update::Node(node) if dialect.live == Live::Delta => {
                let payload = whole_as_delta(&node.payload);
                delta(dialect, NodeState { payload, ..node })
            }
            update => update,
        };
        let limits = NodeLimits { payload: 2000, ..LIMITS };
        let up = encode_update(dialect, &identity, &update);
        prop_assert_eq!(assemble(dialect, up, &limits), vec![expected.clone()]);
        let (down, written) = match &update {
            Update::Node(node) => {
                (node_messages(dialect, node), encode_node(dialect, node.as_ref()))
            }
            Update::Delta(delta) => {
                let stored = NodeRef { payload: &delta.delta, ..node.as_ref() };
                (delta_messages(dialect, delta), encode_delta(dialect, stored))
            }
        };
        let encoded = transport::encode(dialect.ports, &down);
        prop_assert_eq!(written.segments().concat(), encoded.segments().concat());
        prop_assert_eq!(assemble(dialect, down, &limits), vec![expected]);
    }

    #[test]
    fn chunks_are_joined_within_the_limits(
        dialect in chunked(),
        node in node(),
        cuts in vec(any::<prop::sample::Index>(), 0..6),
    ) {
        let node = typed(dialect, node);
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(node.payload.len())).collect();
        cuts.extend([0, node.payload.len()]);
        cuts.sort_unstable();
        let chunks: Vec<Bytes> = cuts.windows(2).map(|cut| node.payload.slice(cut[0]..cut[1])).collect();
        let mut header = node_messages(&Dialect { live: Live::Whole, ..*dialect }, &node)
            .swap_remove(0)
            .into_frames();
        let count = header.len() - 2;
        header[count] = write(&Value::Int(chunks.len() as i64), Protocol::Four);

        let mut reassembler = Reassembler::new();
        let started = reassembler.push(dialect, &mut Message::new(header), &LIMITS);
        if chunks.len() > LIMITS.chunks as usize {
            prop_assert!(matches!(started, Err(NodeError::Chunks(_))));
            return Ok(());
        }
        prop_assert!(matches!(started, Ok(None)));
        let mut done = None;
        for chunk in chunks {
            prop_assert!(done.is_none() && !reassembler.expects_header());
            done = reassembler.push(dialect, &mut Message::new(vec![chunk]), &LIMITS).unwrap();
        }
        prop_assert!(reassembler.expects_header());
        let expected = match dialect.live {
            Live::Delta => delta(dialect, node),
            _ => Update::Node(node),
        };
        prop_assert_eq!(done, Some(expected));
    }

    #[test]
    fn arbitrary_commands_never_panic(frames in command_frames()) {
        let message = Message::new(frames);
        let _ = decode(&message, &COMMAND_LIMITS);
        let _ = decode_answer(&message, &COMMAND_LIMITS);
    }

    #[test]
    fn damaged_requests_never_panic(
        dialect in dialect(),
        request in request(),
        frame in 0_usize..3,
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let messages = encode_request(dialect, "someone", &request);
        let Some(message) = messages.into_iter().next() else { return Ok(()) };
        let mut frames = message.into_frames();
        let mut bytes = frames[frame].to_vec();
        let at = at.index(bytes.len());
        bytes[at] = byte;
        frames[frame] = bytes.into();
        let _ = decode(&Message::new(frames), &COMMAND_LIMITS);
    }

    #[test]
    fn arbitrary_data_never_panics_nor_passes_the_limits(
        dialect in dialect(),
        messages in vec(vec(data_frame(), 0..7), 0..6),
    ) {
        let mut reassembler = Reassembler::new();
        for frames in messages {
            let update = reassembler.push(dialect, &mut Message::new(frames), &LIMITS);
            if let Ok(Some(Update::Node(NodeState { payload, dependencies, .. })
                | Update::Delta(Delta { delta: payload, dependencies, .. }))) = update {
                prop_assert!((1..=LIMITS.payload).contains(&payload.len()));
                prop_assert!(dependencies.len() <= LIMITS.dependencies);
            }
        }
    }
}

#[test]
fn a_command_has_three_frames_of_known_meaning() {
    let pickled = |value: Value| write(&value, Protocol::Four);
    let none = pickled(Value::None);
    let frames = |frames: &[&[u8]]| {
        let frames = frames
            .iter()
            .map(|frame| Bytes::copy_from_slice(frame))
            .collect();
        decode(&Message::new(frames), &COMMAND_LIMITS).unwrap_err()
    };
    assert!(matches!(
        frames(&[b"me", b"RepAuthCommand"]),
        CommandError::Frames(2)
    ));
    assert!(matches!(
        frames(&[b"me", b"RepAuthCommand", &none, &none]),
        CommandError::Frames(4)
    ));
    let unknown = frames(&[b"me", b"Rep<Config>Command", &none]);
    assert!(matches!(unknown, CommandError::Kind(name) if name == "RepConfigCommand"));
    let six = pickled(Value::Int(6));
    assert!(matches!(frames(&[&six, b"me", &none]), CommandError::Kind(name) if name == "6"));
    let users = frames(&[b"me", b"RepUpdateClientsState", &none]);
    assert!(matches!(
        users,
        CommandError::Direction("UpdateClientsState")
    ));
    assert!(matches!(
        frames(&[b"\xff", b"RepAuthCommand", &none]),
        CommandError::Owner
    ));
    assert!(matches!(
        frames(&[&[b'x'; 129], b"RepAuthCommand", &none]),
        CommandError::Owner
    ));
    assert!(matches!(
        frames(&[b"me", b"RepAuthCommand", &none]),
        CommandError::Payload { kind: "Auth", .. }
    ));
}

#[test]
fn lists_and_texts_are_bounded() {
    let dialect = for_version(Some("0.9.11")).unwrap();
    let id = NodeId::new(&[b'a'; 36]).unwrap();
    let refused = |request: Request| {
        let message = encode_request(dialect, "me", &request).swap_remove(0);
        decode(&message, &COMMAND_LIMITS).is_err()
    };
    let right = |nodes, owner: &str| Request::Right {
        nodes: vec![id; nodes],
        owner: owner.to_owned(),
    };
    assert!(!refused(right(16, "me")) && refused(right(17, "me")));
    assert!(refused(right(1, &"x".repeat(129))));
    assert!(refused(Request::Kick {
        user: "x".repeat(129)
    }));
    let node = |dependencies, payload, owner: usize| {
        Request::UploadSet(NodeState {
            id,
            owner: "x".repeat(owner).into(),
            kind: Bytes::new(),
            dependencies: vec![id; dependencies],
            payload: vec![0; payload].into(),
        })
    };
    assert!(!refused(node(8, 1000, 64)));
    assert!(refused(node(9, 1, 1)) && refused(node(0, 1001, 1)) && refused(node(0, 1, 65)));
    assert!(refused(node(0, 0, 1)));
}

/// Whether somebody still keeps the payload of a command that was read.
fn is_kept(name: &'static [u8], payload: Vec<u8>) -> (Request, bool) {
    let payload = Bytes::from(payload);
    let frames = vec![
        Bytes::from_static(b"me"),
        Bytes::from_static(name),
        payload.clone(),
    ];
    let limits = CommandLimits {
        node: NodeLimits {
            payload: 1 << 20,
            ..LIMITS
        },
        ..COMMAND_LIMITS
    };
    let request = decode(&Message::new(frames), &limits).unwrap().request;
    (request, !payload.is_unique())
}

/// What is kept of a command is counted; what came with it would not be.
#[test]
fn little_keeps_nothing_large_in_memory() {
    let pickle = |value: &Value| write(value, Protocol::Four).to_vec();
    // The value of a key that comes twice is gone.
    let twice = |value: &[u8]| {
        [
            b"\x80\x04}(K\x01B\0\0\x08\0",
            &[0; 1 << 19][..],
            b"K\x01",
            value,
            b"u.",
        ]
        .concat()
    };
    let bytes = Value::bytes(vec![7; 5000]);
    let bytes = pickle(&bytes);
    let value = &bytes[2..bytes.len() - 1];
    let (request, kept) = is_kept(b"RepUpdateUserMetadata", twice(value));
    assert!(!kept, "{request:?}");
    let set = |payload: usize| {
        let data = Dict::new()
            .with("uuid", Value::bytes(vec![b'a'; 36]))
            .with("owner", Value::bytes(b"me".to_vec()))
            .with("dependencies", Value::bytes(pickle(&Value::list([0; 0]))))
            .with("data", Value::bytes(vec![7; payload]));
        let rest = Value::bytes(vec![0; 1 << 19]);
        let set = Dict::new()
            .with("STATE", "SET")
            .with("DATA", data)
            .with("rest", rest);
        is_kept(b"RepServerSnapshotCommand", pickle(&set.into()))
    };
    assert!(!set(5000).1);
    // That would be copied for nothing.
    assert!(set(1 << 20).1);
}

#[test]
fn an_upload_announces_each_node_once() {
    let dialect = for_version(Some("0.9.11")).unwrap();
    let [one, two] = [b'a', b'b'].map(|byte| NodeId::new(&[byte; 36]).unwrap());
    let nodes = vec![two, one, two];
    let message = encode_request(dialect, "me", &Request::UploadInit { nodes }).swap_remove(0);
    let request = decode(&message, &COMMAND_LIMITS).unwrap().request;
    assert_eq!(
        request,
        Request::UploadInit {
            nodes: vec![two, one]
        }
    );
}

#[test]
fn the_bare_end_of_an_upload_is_one() {
    let frames = vec![
        Bytes::from_static(b"server"),
        Bytes::from_static(b"RepServerSnapshotCommand"),
        write(&Value::str("SNAPSHOT_END"), Protocol::Three),
    ];
    let command = decode(&Message::new(frames), &COMMAND_LIMITS).unwrap();
    assert_eq!(command.request, Request::UploadEnd);
}

#[test]
fn answers_have_the_framing_of_their_row() {
    for dialect in dialects() {
        let reason = "wrong port";
        let messages = encode(dialect, &Answer::Disconnect { reason });
        let answer = decode_answer(&messages[0], &COMMAND_LIMITS).unwrap();
        let reason = reason.to_owned();
        assert_eq!(answer, OwnedAnswer::Disconnect { reason });
        let numbered = messages[0].frames()[0].first() == Some(&0x80);
        assert_eq!(numbered, dialect.commands == Framing::Numbered);
    }
}

#[test]
fn credentials_do_not_show_in_debug_output() {
    let auth = Auth {
        admin: true,
        name: "ann".to_owned(),
        version: None,
        credentials: Credentials::Two {
            server: Some("hunter2".to_owned()),
            admin: Some("hunter3".to_owned()),
        },
    };
    assert!(!format!("{auth:?}").contains("hunter"));
}

#[test]
fn chunk_counts_are_checked_before_anything_is_kept() {
    let dialect = for_version(Some("0.1.33")).unwrap();
    let counts = [0, -1, 5, 1 << 40, i64::MAX];
    let honest = write(&Value::Int(1), Protocol::Four);
    let header = |count: Bytes| {
        let frames = [&[b'a'; 36][..], b"COMMON", b"Thing"].map(Bytes::copy_from_slice);
        let [id, owner, kind] = frames;
        Message::new(vec![
            id,
            owner,
            kind,
            count,
            write(&Value::None, Protocol::Four),
        ])
    };
    for count in counts.map(|count| write(&Value::Int(count), Protocol::Four)) {
        let mut reassembler = Reassembler::new();
        let refused = reassembler.push(dialect, &mut header(count), &LIMITS);
        assert!(matches!(refused, Err(NodeError::Chunks(_))));
        assert!(reassembler.expects_header());
    }
    let mut reassembler = Reassembler::new();
    assert!(matches!(
        reassembler.push(dialect, &mut header(honest), &LIMITS),
        Ok(None)
    ));
    let mut chunk = Message::new(vec![vec![0; 1001].into()]);
    let refused = reassembler.push(dialect, &mut chunk, &LIMITS);
    assert!(matches!(refused, Err(NodeError::TooLong(1000))));
    assert!(reassembler.expects_header());
}

/// Clients decode the type as UTF-8 outside of what catches errors, so no other bytes go on.
#[test]
fn types_of_nodes_are_texts() {
    let dialect = for_version(Some("0.1.31")).unwrap();
    let node = |kind: &'static [u8]| NodeState {
        id: NodeId::new(&[b'a'; 36]).unwrap(),
        owner: "COMMON".into(),
        kind: Bytes::from_static(kind),
        dependencies: Vec::new(),
        payload: Bytes::from_static(b"\x80\x04}."),
    };
    for (kind, right) in [("Würfel".as_bytes(), true), (b"W\xfcrfel", false)] {
        let set = Request::UploadSet(node(kind));
        let message = encode_request(dialect, "ann", &set).remove(0);
        assert_eq!(decode(&message, &CommandLimits::default()).is_ok(), right);

        let live = encode_update(
            dialect,
            &Identity::new(&[1; 16]).unwrap(),
            &Update::Node(node(kind)),
        );
        let mut reassembler = Reassembler::new();
        let mut header = live.into_iter().next().unwrap();
        let pushed = reassembler.push(dialect, &mut header, &LIMITS);
        assert_eq!(!matches!(pushed, Err(NodeError::KindText)), right);
    }
}

#[test]
fn only_nodes_and_commits_travel_as_objects() {
    let dialect = for_version(Some("0.9.11")).unwrap();
    let number = write(&Value::Int(9), Protocol::Four);
    let frames = vec![
        number,
        Bytes::from_static(b"ann"),
        Bytes::from_static(b"\x80\x04N."),
    ];
    let refused = Reassembler::new().push(dialect, &mut Message::new(frames), &LIMITS);
    assert!(matches!(refused, Err(NodeError::Object(Some(9)))));
}

/// The deltas that replace a root are spliced, not pickled: both of Python's unpicklers have to
/// agree that they say what they should.
#[test]
fn python_reads_spliced_deltas() {
    const MAKE: &str = r"
import pickle
shared = ['s' * 300, {'k': (1, 2.5, None, True)}]
big = {str(n): b'x' * 5000 for n in range(40)}
for value in [None, {}, {'a': shared, 'b': shared}, big, {'t': ('x',) * 9, 5: {1, 2}}, [[[]]]]:
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        print(pickle.dumps(value, protocol).hex())
";
    const CHECK: &str = r"
import io, pickle, sys
for line in sys.stdin:
    payload, delta = map(bytes.fromhex, line.split())
    expected = {'values_changed': {'root': {'new_value': pickle.loads(payload)}}}
    assert pickle.loads(delta) == expected
    assert pickle.Unpickler(io.BytesIO(delta)).load() == expected
    assert pickle._Unpickler(io.BytesIO(delta)).load() == expected
    print('ok')
";
    let payloads = python(MAKE, "");
    let mut lines = String::new();
    for payload in payloads.lines() {
        let bytes: Bytes = (0..payload.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&payload[at..at + 2], 16).unwrap())
            .collect();
        let delta = whole_as_delta(&bytes);
        let delta: String = delta.iter().map(|byte| format!("{byte:02x}")).collect();
        lines.push_str(&format!("{payload} {delta}\n"));
    }
    assert!(payloads.lines().count() >= 18);
    assert_eq!(
        python(CHECK, &lines).lines().count(),
        payloads.lines().count()
    );
}

fn python(program: &str, input: &str) -> String {
    let mut child = Command::new("python3")
        .args(["-c", program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let output = thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(input.as_bytes()).unwrap());
        child.wait_with_output().unwrap()
    });
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

fn assemble(dialect: &Dialect, messages: Vec<Message>, limits: &NodeLimits) -> Vec<Update> {
    let mut reassembler = Reassembler::new();
    messages
        .into_iter()
        .filter_map(|mut message| reassembler.push(dialect, &mut message, limits).unwrap())
        .collect()
}

fn dialect() -> impl Strategy<Value = &'static Dialect> {
    (0..dialects().len()).prop_map(|row| &dialects()[row])
}

fn chunked() -> impl Strategy<Value = &'static Dialect> {
    dialect().prop_filter("has chunk messages", |dialect| {
        matches!(
            dialect.node,
            NodeFrames::Header | NodeFrames::HeaderWithSender
        )
    })
}

fn node_id() -> impl Strategy<Value = NodeId> {
    vec(b'!'..=b'~', 36).prop_map(|text| NodeId::new(&text).unwrap())
}

fn text() -> impl Strategy<Value = String> {
    "\\PC{1,16}"
}

fn node() -> impl Strategy<Value = NodeState> {
    let payload = vec(any::<u8>(), 1..900);
    (
        node_id(),
        text(),
        "[A-Za-z]{1,16}",
        vec(node_id(), 0..8),
        payload,
    )
        .prop_map(|(id, owner, kind, dependencies, payload)| NodeState {
            id,
            owner: owner.into(),
            kind: kind.into(),
            dependencies,
            payload: payload.into(),
        })
}

/// The node without its type where this dialect's data messages carry none.
fn typed(dialect: &Dialect, node: NodeState) -> NodeState {
    if dialect.typed_nodes() {
        return node;
    }
    NodeState {
        kind: Bytes::new(),
        ..node
    }
}

/// The node without its type where this dialect's `SET` carries none.
fn settable(dialect: &Dialect, node: NodeState) -> NodeState {
    if matches!(dialect.set, SetShape::None | SetShape::TypedDict) {
        return node;
    }
    NodeState {
        kind: Bytes::new(),
        ..node
    }
}

fn delta(dialect: &Dialect, node: NodeState) -> Update {
    Update::Delta(Delta {
        id: node.id,
        owner: (dialect.live != Live::NodeOrCommit).then_some(node.owner),
        kind: node.kind,
        dependencies: node.dependencies,
        delta: node.payload,
    })
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        auth().prop_map(Request::Auth),
        Just(Request::CatalogRequest),
        node_id().prop_map(Request::Get),
        Just(Request::JoinDone),
        prop::collection::hash_set(node_id(), 0..16).prop_map(|nodes| Request::UploadInit {
            nodes: nodes.into_iter().collect()
        }),
        node().prop_map(Request::UploadSet),
        Just(Request::UploadEnd),
        node_id().prop_map(Request::Delete),
        (vec(node_id(), 0..16), text()).prop_map(|(nodes, owner)| Request::Right { nodes, owner }),
        text().prop_map(|user| Request::Kick { user }),
        Just(Request::Disconnect),
        metadata().prop_map(Request::Metadata),
        Just(Request::Info),
    ]
}

/// The request as this dialect can say it.
fn sayable(dialect: &Dialect, request: Request) -> Option<Request> {
    Some(match request {
        Request::Info if dialect.commands == Framing::Named => return None,
        Request::UploadSet(node) => Request::UploadSet(settable(dialect, node)),
        Request::Right { mut nodes, owner } if dialect.right == RightShape::One => {
            nodes.truncate(1);
            if nodes.is_empty() {
                return None;
            }
            Request::Right { nodes, owner }
        }
        Request::Auth(mut auth) => {
            if dialect.passwords == Passwords::One {
                auth.credentials = Credentials::One(Some("secret".to_owned()));
            }
            Request::Auth(auth)
        }
        request => request,
    })
}

fn auth() -> impl Strategy<Value = Auth> {
    let passwords = (option::of(text()), option::of(text()));
    let parts = (any::<bool>(), text(), option::of(text()), passwords);
    parts.prop_map(|(admin, name, version, (server, admin_password))| Auth {
        admin,
        name,
        version,
        credentials: Credentials::Two {
            server,
            admin: admin_password,
        },
    })
}

fn metadata() -> impl Strategy<Value = Value> {
    vec((text(), vec(any::<i64>(), 0..4)), 0..6).prop_map(|entries| {
        let entries = entries.into_iter();
        let dict: Dict = entries
            .map(|(key, numbers)| (Value::str(key), Value::list(numbers)))
            .collect();
        Value::Dict(dict)
    })
}

fn answer() -> impl Strategy<Value = OwnedAnswer> {
    prop_oneof![
        text().prop_map(OwnedAnswer::Auth),
        metadata().prop_map(OwnedAnswer::Users),
        (text(), metadata()).prop_map(|(owner, data)| OwnedAnswer::Metadata { owner, data }),
        vec(node_id(), 0..16).prop_map(OwnedAnswer::Catalog),
        node().prop_map(OwnedAnswer::Set),
        Just(OwnedAnswer::Removed),
        Just(OwnedAnswer::UploadAccepted),
        Just(OwnedAnswer::UploadRejected),
        Just(OwnedAnswer::UploadDone),
        node_id().prop_map(OwnedAnswer::Delete),
        (text(), vec(node_id(), 0..16), text()).prop_map(|(by, nodes, owner)| OwnedAnswer::Right {
            by,
            nodes,
            owner
        }),
        text().prop_map(|reason| OwnedAnswer::Disconnect { reason }),
        (any::<bool>(), text())
            .prop_map(|(private, version)| OwnedAnswer::Info { private, version }),
    ]
}

/// Frames of which some make sense.
fn command_frames() -> impl Strategy<Value = Vec<Bytes>> {
    let number = (0_i64..20).prop_map(|number| write(&Value::Int(number), Protocol::Four));
    let name = prop::sample::select(
        &[
            "RepAuthCommand",
            "RepDeleteCommand",
            "RepRightCommand",
            "RepSnapshotCommand",
            "RepServerSnapshotCommand",
            "RepKickCommand",
            "RepUpdateUserMetadata",
            "RepDisconnectCommand",
        ][..],
    )
    .prop_map(Bytes::from);
    let payload = metadata().prop_map(|value| write(&value, Protocol::Four));
    let frame = prop_oneof![
        number,
        name,
        payload,
        text().prop_map(Bytes::from),
        vec(any::<u8>(), 0..40).prop_map(Bytes::from),
    ];
    vec(frame, 0..5)
}

fn data_frame() -> impl Strategy<Value = Bytes> {
    let pickled = |value: &Value| write(value, Protocol::Four);
    prop_oneof![
        node_id().prop_map(|id| Bytes::copy_from_slice(id.as_bytes())),
        text().prop_map(Bytes::from),
        (0_i64..6).prop_map(move |number| pickled(&Value::Int(number))),
        vec(node_id(), 0..12).prop_map(move |ids| {
            pickled(&Value::list(ids.iter().map(|id| Value::str(id.as_str()))))
        }),
        Just(pickled(&Value::None)),
        vec(any::<u8>(), 0..1200).prop_map(Bytes::from),
    ]
}
