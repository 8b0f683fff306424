//! From nodes and deltas to messages.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Delta, NodeState};
use crate::wire::dialect::{Dialect, Live, NodeFrames};
use crate::wire::identity::NodeId;
use crate::wire::message::Message;
use crate::wire::payload::{self, Empty};

/// What the server calls itself in the headers it sends (G1–G5).
const SERVER: &[u8] = b"SERVER_PUSH";
/// Numbers of the objects on the data link (G15–G19).
const COMMIT: u8 = 1;
const NODE: u8 = 2;

/// A node's whole state as the server sends it down the data link. The payload is shared, not
/// copied, except in G8–G14, whose live messages are deltas: there it becomes one that replaces
/// the root (see [`whole_as_delta`]).
pub fn encode_node(dialect: &Dialect, node: &NodeState) -> Vec<Message> {
    node_from(dialect, SERVER, node)
}

/// A delta as the server relays it: the dump unchanged, the owner as stored (a Commit carries
/// none). For dialects with deltas (G8–G19); the earlier ones know no such message, so there is
/// none for them.
pub fn encode_delta(dialect: &Dialect, delta: &Delta) -> Vec<Message> {
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
    let payload = if dialect.live == Live::Delta {
        whole_as_delta(&node.payload)
    } else {
        node.payload.clone()
    };
    if dialect.node == NodeFrames::Objects {
        return vec![Message::new(vec![
            payload::pickled_int(NODE, dialect.pickle),
            id_frame(&node.id),
            text_frame(&node.owner),
            payload::pickled_dependencies(&node.dependencies, dialect.pickle, Empty::List),
            payload,
        ])];
    }
    let about = About {
        id: &node.id,
        owner: &node.owner,
        kind: &node.kind,
        dependencies: &node.dependencies,
    };
    about.messages(dialect, sender, payload)
}

/// A delta as sent by whoever has this routing identity.
pub(in crate::wire) fn delta_from(dialect: &Dialect, sender: &[u8], delta: &Delta) -> Vec<Message> {
    match dialect.live {
        Live::Whole => Vec::new(),
        Live::Delta => {
            let about = About {
                id: &delta.id,
                owner: delta.owner.as_deref().unwrap_or("COMMON"),
                kind: &delta.kind,
                dependencies: &delta.dependencies,
            };
            about.messages(dialect, sender, delta.delta.clone())
        }
        Live::NodeOrCommit => vec![Message::new(vec![
            payload::pickled_int(COMMIT, dialect.pickle),
            id_frame(&delta.id),
            payload::pickled_dependencies(&delta.dependencies, dialect.pickle, Empty::List),
            delta.delta.clone(),
        ])],
    }
}

/// What a data message before G15 says beside the payload.
struct About<'a> {
    id: &'a NodeId,
    owner: &'a str,
    kind: &'a Bytes,
    dependencies: &'a [NodeId],
}

impl About<'_> {
    fn messages(&self, dialect: &Dialect, sender: &[u8], payload: Bytes) -> Vec<Message> {
        let dependencies =
            payload::pickled_dependencies(self.dependencies, dialect.pickle, Empty::None);
        let mut frames = Vec::with_capacity(6);
        if dialect.node == NodeFrames::HeaderWithSender {
            frames.push(Bytes::copy_from_slice(sender));
        }
        frames.push(id_frame(self.id));
        frames.push(text_frame(self.owner));
        match dialect.node {
            NodeFrames::HeaderWithSender | NodeFrames::Header => {
                frames.push(self.kind.clone());
                frames.push(payload::pickled_int(1, dialect.pickle));
                frames.push(dependencies);
                vec![Message::new(frames), Message::new(vec![payload])]
            }
            NodeFrames::Typed => {
                frames.extend([self.kind.clone(), dependencies, payload]);
                vec![Message::new(frames)]
            }
            NodeFrames::Untyped | NodeFrames::Objects => {
                frames.extend([dependencies, payload]);
                vec![Message::new(frames)]
            }
        }
    }
}

fn id_frame(id: &NodeId) -> Bytes {
    Bytes::copy_from_slice(id.as_bytes())
}

fn text_frame(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}
