//! From nodes and deltas to messages.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Delta, NodeRef, NodeState};
use crate::wire::dialect::{Dialect, Live, NodeFrames};
use crate::wire::message::{Encoded, Frame, Message};
use crate::wire::payload::{self, Empty};
use crate::wire::transport;

/// What the server calls itself in the headers it sends (G1–G5).
const SERVER: &[u8] = b"SERVER_PUSH";
/// Numbers of the objects on the data link (G15–G19).
const COMMIT: u8 = 1;
const NODE: u8 = 2;

/// A node's whole state as the server sends it down the data link. The payload is shared, not
/// copied, except in G8–G14, whose live messages are deltas: there it becomes one that replaces
/// the root (see [`whole_as_delta`]).
pub fn encode_node(dialect: &Dialect, node: NodeRef<'_>) -> Encoded {
    with_node(dialect, SERVER, node, |messages| {
        transport::encode(dialect.ports, messages)
    })
}

/// A delta as the server relays it: the dump unchanged (in the place of the payload), the owner as
/// stored (a Commit carries none). For dialects with deltas (G8–G19); the earlier ones know no such
/// message, so there is none for them.
pub fn encode_delta(dialect: &Dialect, delta: NodeRef<'_>) -> Encoded {
    with_delta(dialect, SERVER, delta, |messages| {
        transport::encode(dialect.ports, messages)
    })
}

/// The messages of [`encode_node`].
pub fn node_messages(dialect: &Dialect, node: &NodeState) -> Vec<Message> {
    node_from(dialect, SERVER, node)
}

/// The messages of [`encode_delta`].
pub fn delta_messages(dialect: &Dialect, delta: &Delta) -> Vec<Message> {
    delta_from(dialect, SERVER, delta)
}

/// A delta that replaces the whole document by this pickled payload: `values_changed` at `root`
/// (G8–G14). All versions of deepdiff apply it alike, whatever the document was before.
///
/// The payload's own operations are embedded unread, so it must have been scanned. That is sound
/// because nothing before them touches the memo, and readers do not insist that a frame opcode
/// covers whole values. The protocol stays the payload's: below 3 it decides how names are read.
pub fn whole_as_delta(payload: &Bytes) -> Bytes {
    let header = match payload.as_ref() {
        [0x80, _version, ..] => 2,
        _ => 0,
    };
    let (header, body) = payload.split_at_checked(header).unwrap_or((&[], payload));
    let body = body.strip_suffix(b".").unwrap_or(body);
    let around = PREFIX.len().saturating_add(SUFFIX.len());
    let mut delta = BytesMut::with_capacity(payload.len().saturating_add(around));
    delta.put_slice(header);
    delta.put_slice(PREFIX);
    delta.put_slice(body);
    delta.put_slice(SUFFIX);
    delta.freeze()
}

/// `{'values_changed': {'root': {'new_value':`. The text opcodes are protocol 4's, which readers
/// take whatever protocol was announced.
const PREFIX: &[u8] = b"}\x8c\x0evalues_changed}\x8c\x04root}\x8c\x09new_value";
/// `}}}` and the end.
const SUFFIX: &[u8] = b"sss.";

/// A node's whole state as sent by whoever has this routing identity.
pub(in crate::wire) fn node_from(
    dialect: &Dialect,
    sender: &[u8],
    node: &NodeState,
) -> Vec<Message> {
    with_node(dialect, sender, node.as_ref(), put_together)
}

/// A delta as sent by whoever has this routing identity.
pub(in crate::wire) fn delta_from(dialect: &Dialect, sender: &[u8], delta: &Delta) -> Vec<Message> {
    let about = NodeRef {
        id: &delta.id,
        owner: delta.owner.as_deref().unwrap_or("COMMON"),
        kind: &delta.kind,
        dependencies: &delta.dependencies,
        payload: &delta.delta,
    };
    with_delta(dialect, sender, about, put_together)
}

fn put_together(messages: &[&[Frame<'_>]]) -> Vec<Message> {
    let message = |frames: &&[Frame<'_>]| frames.iter().map(|frame| Bytes::from(*frame)).collect();
    messages
        .iter()
        .map(|frames| Message::new(message(frames)))
        .collect()
}

/// Makes the frames of a node's messages, for `then` to do something with.
fn with_node<R>(
    dialect: &Dialect,
    sender: &[u8],
    node: NodeRef<'_>,
    then: impl FnOnce(&[&[Frame<'_>]]) -> R,
) -> R {
    let delta;
    let payload = if dialect.live == Live::Delta {
        delta = whole_as_delta(node.payload);
        &delta
    } else {
        node.payload
    };
    let node = NodeRef { payload, ..node };
    if dialect.node != NodeFrames::Objects {
        return with_parts(dialect, sender, node, then);
    }
    let number = payload::pickled_int(NODE, dialect.pickle);
    let dependencies = dependencies(dialect, node, Empty::List);
    then(&[&[
        Frame::of(&number),
        Frame::Text(node.id.as_bytes()),
        Frame::Text(node.owner.as_bytes()),
        Frame::of(&dependencies),
        Frame::of(node.payload),
    ]])
}

/// The same for a delta.
fn with_delta<R>(
    dialect: &Dialect,
    sender: &[u8],
    delta: NodeRef<'_>,
    then: impl FnOnce(&[&[Frame<'_>]]) -> R,
) -> R {
    match dialect.live {
        Live::Whole => then(&[]),
        Live::Delta => with_parts(dialect, sender, delta, then),
        Live::NodeOrCommit => {
            let number = payload::pickled_int(COMMIT, dialect.pickle);
            let dependencies = dependencies(dialect, delta, Empty::List);
            then(&[&[
                Frame::of(&number),
                Frame::Text(delta.id.as_bytes()),
                Frame::of(&dependencies),
                Frame::of(delta.payload),
            ]])
        }
    }
}

/// The same for what a data message before G15 says.
fn with_parts<R>(
    dialect: &Dialect,
    sender: &[u8],
    node: NodeRef<'_>,
    then: impl FnOnce(&[&[Frame<'_>]]) -> R,
) -> R {
    let chunks = payload::pickled_int(1, dialect.pickle);
    let dependencies = dependencies(dialect, node, Empty::None);
    let sender = Frame::Text(sender);
    let id = Frame::Text(node.id.as_bytes());
    let owner = Frame::Text(node.owner.as_bytes());
    let (kind, chunks) = (Frame::Text(node.kind), Frame::of(&chunks));
    let (dependencies, payload) = (Frame::of(&dependencies), Frame::of(node.payload));
    match dialect.node {
        NodeFrames::HeaderWithSender => {
            then(&[&[sender, id, owner, kind, chunks, dependencies], &[payload]])
        }
        NodeFrames::Header => then(&[&[id, owner, kind, chunks, dependencies], &[payload]]),
        NodeFrames::Typed => then(&[&[id, owner, kind, dependencies, payload]]),
        NodeFrames::Untyped | NodeFrames::Objects => then(&[&[id, owner, dependencies, payload]]),
    }
}

fn dependencies(dialect: &Dialect, node: NodeRef<'_>, empty: Empty) -> Bytes {
    payload::pickled_dependencies(node.dependencies, dialect.pickle, empty)
}
