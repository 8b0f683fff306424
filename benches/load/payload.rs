//! What clients send: nodes and view updates of a given size, with a stamp in them that tells who
//! sent which when.
//!
//! A message is encoded once. Before each sending only its head, which has the node's uuid and the
//! stamp, is written anew; the rest is shared.

use bytes::Bytes;
use memchr::memmem;
use multi_user_server::wire::client::{encode_request, encode_update};
use multi_user_server::wire::command::Request;
use multi_user_server::wire::dialect::{Dialect, Family};
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{NodeState, Update};
use multi_user_server::wire::pickle::{Dict, Protocol, Value, write};

use crate::link::Framing;

const MAGIC: [u8; 8] = *b"\xf5StAmP\x01\xf6";
/// Bytes of a stamp.
const STAMP: usize = 32;

/// What a message is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Part of the first upload.
    Upload = 0,
    /// A change.
    Live = 1,
    /// A view update.
    View = 2,
}

/// Who sent what when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    pub(crate) purpose: u16,
    pub(crate) sender: u16,
    pub(crate) node: u32,
    pub(crate) number: u64,
    /// Nanoseconds since the generator's start.
    pub(crate) at: u64,
}

impl Stamp {
    pub(crate) fn bytes(&self) -> [u8; STAMP] {
        let mut bytes = [0; STAMP];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.purpose.to_le_bytes());
        bytes[10..12].copy_from_slice(&self.sender.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.node.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.number.to_le_bytes());
        bytes[24..].copy_from_slice(&self.at.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<STAMP>()?;
        Some(Self {
            purpose: u16::from_le_bytes(bytes[8..10].try_into().unwrap()),
            sender: u16::from_le_bytes(bytes[10..12].try_into().unwrap()),
            node: u32::from_le_bytes(bytes[12..16].try_into().unwrap()),
            number: u64::from_le_bytes(bytes[16..24].try_into().unwrap()),
            at: u64::from_le_bytes(bytes[24..].try_into().unwrap()),
        })
    }

    /// The stamps in these bytes.
    pub(crate) fn all(bytes: &[u8]) -> impl Iterator<Item = Self> + '_ {
        memmem::find_iter(bytes, &MAGIC).filter_map(|at| Self::read(&bytes[at..]))
    }

    /// The first one.
    pub(crate) fn first(bytes: &[u8]) -> Option<Self> {
        Self::all(bytes).next()
    }
}

/// What a node is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One long `bytes`: nothing to be read.
    Opaque,
    /// Lists of small dicts of numbers and texts, as node trees have them.
    Nested,
}

/// The uuid of the n-th node.
pub(crate) fn uuid(n: u32) -> NodeId {
    NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

/// A message of which all but the head is the same every time.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    head: Vec<u8>,
    rest: Bytes,
    stamps: Vec<usize>,
    uuids: Vec<usize>,
    /// Bytes of the node's payload alone.
    pub(crate) payload: usize,
}

impl Template {
    /// A change of a node on the data link.
    pub(crate) fn update(
        dialect: &Dialect,
        framing: Framing,
        sender: &Identity,
        content: Content,
        size: usize,
    ) -> Self {
        let node = node(dialect, content, size);
        let payload = node.payload.len();
        let messages = encode_update(dialect, sender, &Update::Node(node));
        Self::of(framing, &messages, payload)
    }

    /// A node of the first upload on the command link.
    pub(crate) fn upload(
        dialect: &Dialect,
        framing: Framing,
        content: Content,
        size: usize,
    ) -> Self {
        let node = node(dialect, content, size);
        let payload = node.payload.len();
        let messages = encode_request(dialect, "server", &Request::UploadSet(node));
        Self::of(framing, &messages, payload)
    }

    /// What clients send when somebody looks around.
    pub(crate) fn view(dialect: &Dialect, framing: Framing, name: &str) -> Self {
        let corners =
            (0..7).map(|i| Value::list((0..3).map(|j| f64::from(i) * 1.37 + f64::from(j))));
        let matrix = (0..4).map(|i| Value::list((0..4).map(|j| f64::from(i * 4 + j) * 0.707)));
        let view = Dict::new()
            .with("view_corners", Value::list(corners))
            .with("view_matrix", Value::list(matrix))
            .with("stamp", Value::bytes(blank().to_vec()));
        let messages = encode_request(dialect, name, &Request::Metadata(Value::from(view)));
        Self::of(framing, &messages, 0)
    }

    fn of(framing: Framing, messages: &[Message], payload: usize) -> Self {
        let mut head = Vec::new();
        for message in messages {
            for segment in framing.encode(message).segments() {
                head.extend_from_slice(segment);
            }
        }
        let blank = blank();
        let stamps: Vec<_> = memmem::find_iter(&head, &blank).collect();
        let uuids: Vec<_> = memmem::find_iter(&head, placeholder().as_bytes()).collect();
        let end = stamps.last().unwrap() + STAMP;
        assert!(uuids.iter().all(|at| *at < end), "the stamp comes last");
        let rest = head.split_off(end).into();
        Self {
            head,
            rest,
            stamps,
            uuids,
            payload,
        }
    }

    /// The message's bytes, about this node and with this stamp.
    pub(crate) fn filled(&mut self, stamp: &Stamp) -> [&[u8]; 2] {
        for at in &self.stamps {
            self.head[*at..][..STAMP].copy_from_slice(&stamp.bytes());
        }
        let id = uuid(stamp.node);
        for at in &self.uuids {
            let text = id.as_bytes();
            self.head[*at..][..text.len()].copy_from_slice(text);
        }
        [&self.head, &self.rest]
    }
}

fn placeholder() -> NodeId {
    uuid(u32::MAX)
}

fn blank() -> [u8; STAMP] {
    Stamp {
        purpose: u16::MAX,
        sender: u16::MAX,
        node: u32::MAX,
        number: u64::MAX,
        at: u64::MAX,
    }
    .bytes()
}

fn node(dialect: &Dialect, content: Content, size: usize) -> NodeState {
    let typed = dialect.typed_nodes();
    NodeState {
        id: placeholder(),
        owner: "COMMON".into(),
        kind: Bytes::from_static(if typed { b"BlMesh" } else { b"" }),
        dependencies: Vec::new(),
        payload: match dialect.family {
            Family::Marshal => marshalled(size),
            _ => pickled(content, size),
        },
    }
}

/// A dict as Python's marshal, which has no nested variant here.
fn marshalled(size: usize) -> Bytes {
    const BEFORE: &[u8] = b"{z\x05stamps\x20\x00\x00\x00";
    const BETWEEN: &[u8] = b"z\x04datas";
    let overhead = BEFORE.len() + STAMP + BETWEEN.len() + 4 + 1;
    let data = noise(size.saturating_sub(overhead));
    let length = u32::try_from(data.len()).unwrap().to_le_bytes();
    [BEFORE, &blank(), BETWEEN, &length, &data, b"0"]
        .concat()
        .into()
}

fn pickled(content: Content, size: usize) -> Bytes {
    let with = |data: Value| {
        let dict = Dict::new()
            .with("uuid", placeholder().to_string())
            .with("type_id", "Mesh")
            .with("stamp", Value::bytes(blank().to_vec()))
            .with("data", data);
        write(&Value::from(dict), Protocol::Four)
    };
    let room = |empty: Value| size.saturating_sub(with(empty).len());
    match content {
        Content::Opaque => with(Value::bytes(noise(room(Value::bytes(Vec::new()))))),
        Content::Nested => {
            let one = write(&Value::list([socket(0)]), Protocol::Four).len();
            let count = room(Value::list([Value::None])) / one;
            with(Value::list((0..count).map(socket)))
        }
    }
}

/// One of the inputs of a node in a material.
fn socket(n: usize) -> Value {
    let number = n as f64;
    Value::from(
        Dict::new()
            .with("name", format!("socket {n:05}"))
            .with("location", Value::list([number / 7.0, number / 3.0, 0.5]))
            .with("default_value", number * 1.0625)
            .with("link", i64::try_from(n % 900).unwrap())
            .with("hide", n.is_multiple_of(2)),
    )
}

/// Bytes that nothing can compress, the same every time.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}
