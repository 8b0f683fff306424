//! What tests say, and how what they hear is told in a line.

use bytes::Bytes;

use crate::wire::client::{OwnedAnswer, decode_answer};
use crate::wire::command::{Auth, CommandLimits, Credentials};
use crate::wire::dialect::{self, Dialect, Passwords};
use crate::wire::framed;
use crate::wire::identity::NodeId;
use crate::wire::limits::{Assembler, Limits};
use crate::wire::message::{Encoded, Message};
use crate::wire::node::{Delta, NodeLimits, NodeState, Reassembler, Update};
use crate::wire::pickle::Value;
use crate::wire::zmtp;

/// One version of every generation whose clients are to be served first, and the oldest rows.
pub(in crate::session::tests) const VERSIONS: [&str; 7] = [
    "0.0.3", "0.0.20", "0.0.21", "0.1.3", "0.1.26", "0.1.31", "0.9.11",
];
pub(in crate::session::tests) const ADMIN_PASSWORD: &str = "sesame";

/// The uuid of node `n`. Node 0 is the placeholder of an empty catalog.
pub(in crate::session::tests) fn id(n: u32) -> NodeId {
    NodeId::new(format!("00000000-0000-4000-8000-{n:012}").as_bytes()).unwrap()
}

/// The number of a node.
pub(in crate::session::tests) fn number(id: NodeId) -> u32 {
    id.as_str()[24..].parse().unwrap()
}

pub(in crate::session::tests) fn node(
    n: u32,
    owner: &str,
    dependencies: &[u32],
    payload: &str,
) -> NodeState {
    NodeState {
        id: id(n),
        owner: owner.into(),
        kind: Bytes::from_static(b"BlObject"),
        dependencies: dependencies.iter().map(|n| id(*n)).collect(),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
    }
}

/// A delta, as G15 on sends it.
pub(in crate::session::tests) fn delta(n: u32, dependencies: &[u32], text: &str) -> Update {
    Update::Delta(Delta {
        id: id(n),
        owner: None,
        kind: Bytes::new(),
        dependencies: dependencies.iter().map(|n| id(*n)).collect(),
        delta: Bytes::copy_from_slice(text.as_bytes()),
    })
}

/// The row of a version.
pub(in crate::session::tests) fn row(version: &str) -> &'static Dialect {
    dialect::for_version(version_text(version).as_deref()).unwrap()
}

/// What a version says of itself when it logs in: nothing up to 0.0.10.
pub(in crate::session::tests) fn version_text(version: &str) -> Option<String> {
    (version != "0.0.3").then(|| version.to_owned())
}

/// A login without passwords.
pub(in crate::session::tests) fn auth(name: &str, version: &str) -> Auth {
    Auth {
        admin: false,
        name: name.to_owned(),
        version: version_text(version),
        credentials: match row(version).passwords {
            Passwords::One => Credentials::One(None),
            Passwords::Two => Credentials::Two {
                server: Some(String::new()),
                admin: None,
            },
        },
    }
}

/// A login with the admin password.
pub(in crate::session::tests) fn admin_auth(name: &str, version: &str) -> Auth {
    let mut auth = auth(name, version);
    auth.admin = true;
    auth.credentials = match auth.credentials {
        Credentials::One(_) => Credentials::One(Some(ADMIN_PASSWORD.to_owned())),
        Credentials::Two { server, .. } => Credentials::Two {
            server,
            admin: Some(ADMIN_PASSWORD.to_owned()),
        },
    };
    auth
}

/// The messages in the bytes of either transport.
pub(in crate::session::tests) fn messages(bytes: &Encoded, is_framed: bool) -> Vec<Message> {
    let limits = Limits {
        frame: usize::MAX,
        message: usize::MAX,
        frames: 64,
    };
    let mut assembler = Assembler::new();
    let mut messages = Vec::new();
    let mut push = |more, body| messages.extend(assembler.push(more, body, &limits).unwrap());
    if is_framed {
        let mut decoder = framed::Decoder::new();
        decoder.feed(b"\0\0\0\x01xC");
        bytes.segments().iter().for_each(|s| decoder.feed(s));
        while let Some(item) = decoder.next(&limits).unwrap() {
            if let framed::Item::Frame { more, body } = item {
                push(more, body);
            }
        }
    } else {
        let mut decoder = zmtp::Decoder::new();
        decoder.feed(&zmtp::greeting());
        decoder.feed(&zmtp::ready(zmtp::SocketType::Router, None));
        bytes.segments().iter().for_each(|s| decoder.feed(s));
        while let Some(item) = decoder.next(&limits).unwrap() {
            if let zmtp::Item::Frame { more, body } = item {
                push(more, body);
            }
        }
        assert_eq!(decoder.buffered(), 0, "whole messages only");
    }
    messages
}

/// The command in these bytes.
pub(in crate::session::tests) fn answer(bytes: &Encoded, is_framed: bool) -> OwnedAnswer {
    let messages = messages(bytes, is_framed);
    assert_eq!(messages.len(), 1);
    assert_eq!(messages[0].frames().len(), 3);
    decode_answer(&messages[0], &CommandLimits::default()).unwrap()
}

/// The nodes and deltas in these bytes.
pub(in crate::session::tests) fn updates(
    dialect: &Dialect,
    bytes: &Encoded,
    is_framed: bool,
) -> Vec<Update> {
    let mut reassembler = Reassembler::new();
    let updates: Vec<_> = messages(bytes, is_framed)
        .into_iter()
        .filter_map(|mut message| {
            reassembler
                .push(dialect, &mut message, &NodeLimits::default())
                .unwrap()
        })
        .collect();
    assert!(reassembler.expects_header());
    updates
}

pub(super) fn numbers(ids: &[NodeId]) -> String {
    let texts: Vec<_> = ids.iter().map(|id| number(*id).to_string()).collect();
    texts.join(",")
}

pub(super) fn node_line(node: &NodeState) -> String {
    format!(
        "node {} {} [{}] {}",
        number(node.id),
        node.owner,
        numbers(&node.dependencies),
        String::from_utf8_lossy(&node.payload)
    )
}

pub(super) fn update_line(update: &Update) -> String {
    match update {
        Update::Node(node) => node_line(node),
        Update::Delta(delta) => format!(
            "delta {} [{}] {}",
            number(delta.id),
            numbers(&delta.dependencies),
            String::from_utf8_lossy(&delta.delta)
        ),
    }
}

/// `name/status` of each user, admins with a `!`.
pub(super) fn users_line(users: &Value) -> String {
    let mut line = "users".to_owned();
    for (name, record) in users.as_dict().unwrap().iter() {
        let record = record.as_dict().unwrap();
        let keys: Vec<_> = record
            .iter()
            .map(|(key, _)| key.as_str().unwrap())
            .collect();
        assert_eq!(keys, ["id", "admin", "latency", "status", "metadata"]);
        assert_eq!(record.get("id").unwrap().as_str(), name.as_str());
        let admin = record.get("admin").unwrap().as_bool().unwrap();
        let status = record.get("status").unwrap().as_i64().unwrap();
        line += &format!(
            " {}{}/{status}",
            name.as_str().unwrap(),
            if admin { "!" } else { "" }
        );
    }
    line
}

pub(super) fn answer_line(answer: &OwnedAnswer) -> String {
    match answer {
        OwnedAnswer::Auth(text) => format!("auth {text}"),
        OwnedAnswer::Users(users) => users_line(users),
        OwnedAnswer::Metadata { owner, data } => format!("metadata {owner} {data:?}"),
        OwnedAnswer::Catalog(nodes) => format!("catalog {}", numbers(nodes)),
        OwnedAnswer::Set(node) => node_line(node),
        OwnedAnswer::Removed => "removed".to_owned(),
        OwnedAnswer::UploadAccepted => "accepted".to_owned(),
        OwnedAnswer::UploadRejected => "rejected".to_owned(),
        OwnedAnswer::UploadDone => "done".to_owned(),
        OwnedAnswer::Delete(node) => format!("delete {}", number(*node)),
        OwnedAnswer::Right { nodes, owner, .. } => format!("right {} {owner}", numbers(nodes)),
        OwnedAnswer::Disconnect { reason } => format!("bye {reason}"),
        OwnedAnswer::Info { private, version } => format!("info {private} {version}"),
    }
}
