//! From answers to frames.

use super::kind::{self, Kind};
use super::{Answer, set};
use crate::wire::dialect::{Dialect, RightShape};
use crate::wire::message::Message;
use crate::wire::payload;
use crate::wire::pickle::Value;

/// An answer as a dialect's clients expect it. Usually one message; a Right of several nodes is
/// several where clients know only single ones (G1–G15), and none when it names no node there. There
/// is none either for what the framing has no word for (the server info in class names).
pub fn encode(dialect: &Dialect, answer: &Answer<'_>) -> Vec<Message> {
    let message = |kind, owner: &str, value: &Value| {
        kind::message(dialect.commands, dialect.pickle, kind, owner, value)
            .into_iter()
            .collect::<Vec<_>>()
    };
    let server = |kind, value: &Value| message(kind, "server", value);
    match *answer {
        Answer::Auth(text) => server(Kind::Auth, &Value::str(text)),
        Answer::Users(users) => server(Kind::Users, users),
        Answer::Metadata { owner, data } => message(Kind::Metadata, owner, data),
        Answer::Catalog(nodes) => server(
            Kind::Snapshot,
            &payload::dict([
                ("STATE", Value::str("INIT")),
                ("CATALOG", payload::id_list(nodes)),
            ]),
        ),
        Answer::Set(node) => server(Kind::Snapshot, &set_data(set::encode(dialect, node))),
        Answer::Removed => server(Kind::Snapshot, &set_data(Value::Bytes(REMOVED))),
        Answer::UploadAccepted => server(Kind::ServerSnapshot, &state("ACCEPTED")),
        Answer::UploadRejected => server(Kind::ServerSnapshot, &state("REJECTED")),
        Answer::UploadDone => server(Kind::ServerSnapshot, &state("DONE")),
        Answer::Delete(node) => message(Kind::Delete, "client", &payload::id(&node)),
        Answer::Right { by, nodes, owner } => match dialect.right {
            RightShape::One => nodes
                .iter()
                .flat_map(|node| message(Kind::Right, by, &right(payload::id(node), owner)))
                .collect(),
            RightShape::List => message(Kind::Right, by, &right(payload::id_list(nodes), owner)),
        },
        Answer::Disconnect { reason } => server(
            Kind::Disconnect,
            &payload::dict([("reason", Value::str(reason))]),
        ),
        Answer::Info { private, version } => server(
            Kind::Info,
            &payload::dict([
                ("private", Value::Bool(private)),
                ("version", Value::str(version)),
            ]),
        ),
    }
}

/// What G18 and later send in place of a node that is gone.
pub(in crate::wire) const REMOVED: bytes::Bytes = bytes::Bytes::from_static(b"removed");

/// A snapshot command that carries nothing but its state.
pub(in crate::wire) fn state(state: &str) -> Value {
    payload::dict([("STATE", Value::str(state))])
}

/// A snapshot command that carries a node.
pub(in crate::wire) fn set_data(data: Value) -> Value {
    payload::dict([("STATE", Value::str("SET")), ("DATA", data)])
}

/// The payload of a Right.
pub(in crate::wire) fn right(uuid: Value, owner: &str) -> Value {
    payload::dict([("uuid", uuid), ("owner", Value::str(owner))])
}
