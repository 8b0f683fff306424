//! From messages to updates, per connection.

use bytes::{Bytes, BytesMut};
use smol_str::SmolStr;

use super::{Delta, NodeError, NodeLimits, NodeState, Update};
use crate::wire::dialect::{Dialect, Live, NodeFrames};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::intake::BIG;
use crate::wire::message::Message;
use crate::wire::payload;

/// Puts the data messages of ONE connection together: a header and its chunk messages in G1–G9,
/// single messages later. Payloads share the memory of the frames they came in.
#[derive(Debug, Default)]
pub struct Reassembler {
    pending: Option<Pending>,
}

impl Reassembler {
    /// A reassembler for a new connection.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether the next message starts a node rather than continue one.
    pub fn expects_header(&self) -> bool {
        self.pending.is_none()
    }

    /// Takes the frames of the next message. Gives the update it completes, if it does.
    ///
    /// # Errors
    /// The message is not what is due in this dialect, or beyond the limits. What was gathered is
    /// dropped; as chunk messages cannot be told from headers for sure, the connection is best
    /// closed.
    pub fn push(
        &mut self,
        dialect: &Dialect,
        message: &mut Message,
        limits: &NodeLimits,
    ) -> Result<Option<Update>, NodeError> {
        let frames = message.frames_mut();
        if let Some(pending) = self.pending.take() {
            return self.chunk(dialect, pending, frames, limits);
        }
        match dialect.node {
            NodeFrames::HeaderWithSender => {
                let [_sender, header @ ..] = exactly::<6>("header", frames)?;
                self.pending = Some(Pending::new(header, limits)?);
                Ok(None)
            }
            NodeFrames::Header => {
                let header = exactly::<5>("header", frames)?;
                self.pending = Some(Pending::new(header, limits)?);
                Ok(None)
            }
            NodeFrames::Typed => {
                let [id, owner, kind, dependencies, payload] = exactly("node", frames)?;
                let header = Header::new(&id, &owner, &kind, &dependencies, limits)?;
                header.update(dialect, payload, limits).map(Some)
            }
            NodeFrames::Untyped => {
                let [id, owner, dependencies, payload] = exactly("node", frames)?;
                let header = Header::new(&id, &owner, &Bytes::new(), &dependencies, limits)?;
                header.update(dialect, payload, limits).map(Some)
            }
            NodeFrames::Objects => object(frames, limits).map(Some),
        }
    }

    fn chunk(
        &mut self,
        dialect: &Dialect,
        mut pending: Pending,
        frames: &mut Vec<Bytes>,
        limits: &NodeLimits,
    ) -> Result<Option<Update>, NodeError> {
        let [chunk] = exactly("chunk message", frames)?;
        pending.len = pending.len.saturating_add(chunk.len());
        if pending.len > limits.payload {
            return Err(NodeError::TooLong(limits.payload));
        }
        pending.missing = pending.missing.saturating_sub(1);
        if pending.missing > 0 {
            // A copy, unless it has memory of its own: others may be long in coming, and as a slice it
            // would keep the whole read buffer alive.
            let apart = chunk.len() > BIG;
            let chunk = if apart {
                chunk
            } else {
                Bytes::copy_from_slice(&chunk)
            };
            pending.chunks.push(chunk);
            self.pending = Some(pending);
            return Ok(None);
        }
        pending.chunks.push(chunk);
        let payload = joined(pending.chunks, pending.len);
        pending.header.update(dialect, payload, limits).map(Some)
    }
}

/// The identity that the first frame of a header message names (G1–G5 up). On the publisher port
/// it is all that tells whose connection it is.
pub fn header_sender(first_frame: &[u8]) -> Option<Identity> {
    Identity::new(first_frame)
}

/// A node whose chunk messages have not all arrived.
#[derive(Debug)]
struct Pending {
    header: Header,
    /// Chunk messages still to come, at least one.
    missing: u32,
    chunks: Vec<Bytes>,
    /// Bytes in `chunks`.
    len: usize,
}

impl Pending {
    fn new(
        [id, owner, kind, count, dependencies]: [Bytes; 5],
        limits: &NodeLimits,
    ) -> Result<Self, NodeError> {
        let count = payload::int(&count);
        let missing = count
            .and_then(|count| u32::try_from(count).ok())
            .filter(|count| (1..=limits.chunks).contains(count))
            .ok_or(NodeError::Chunks(count))?;
        Ok(Self {
            header: Header::new(&id, &owner, &kind, &dependencies, limits)?,
            missing,
            chunks: Vec::new(),
            len: 0,
        })
    }
}

/// What a data message says about its node beside the payload.
#[derive(Debug)]
struct Header {
    id: NodeId,
    owner: SmolStr,
    kind: Bytes,
    dependencies: Vec<NodeId>,
}

impl Header {
    fn new(
        id: &Bytes,
        owner: &Bytes,
        kind: &Bytes,
        dependencies: &Bytes,
        limits: &NodeLimits,
    ) -> Result<Self, NodeError> {
        if kind.len() > limits.name {
            return Err(NodeError::Kind(limits.name));
        }
        if std::str::from_utf8(kind).is_err() {
            return Err(NodeError::KindText);
        }
        Ok(Self {
            id: NodeId::new(id).ok_or(NodeError::Id)?,
            owner: owner_text(owner, limits)?,
            // A copy: as a slice it would keep the whole read buffer alive.
            kind: Bytes::copy_from_slice(kind),
            dependencies: payload::dependencies(dependencies, limits.dependencies)
                .map_err(NodeError::Dependencies)?,
        })
    }

    fn update(
        self,
        dialect: &Dialect,
        payload: Bytes,
        limits: &NodeLimits,
    ) -> Result<Update, NodeError> {
        let payload = sized(payload, limits)?;
        Ok(if dialect.live == Live::Delta {
            Update::Delta(Delta {
                id: self.id,
                owner: Some(self.owner),
                kind: self.kind,
                dependencies: self.dependencies,
                delta: payload,
            })
        } else {
            Update::Node(NodeState {
                id: self.id,
                owner: self.owner,
                kind: self.kind,
                dependencies: self.dependencies,
                payload,
            })
        })
    }
}

fn object(frames: &mut Vec<Bytes>, limits: &NodeLimits) -> Result<Update, NodeError> {
    match frames.first().and_then(payload::int) {
        Some(1) => {
            let [_number, id, dependencies, delta] = exactly("Commit", frames)?;
            Ok(Update::Delta(Delta {
                id: NodeId::new(&id).ok_or(NodeError::Id)?,
                owner: None,
                kind: Bytes::new(),
                dependencies: payload::dependencies(&dependencies, limits.dependencies)
                    .map_err(NodeError::Dependencies)?,
                delta: sized(delta, limits)?,
            }))
        }
        Some(2) => {
            let [_number, id, owner, dependencies, payload] = exactly("Node", frames)?;
            let header = Header::new(&id, &owner, &Bytes::new(), &dependencies, limits)?;
            Ok(Update::Node(NodeState {
                id: header.id,
                owner: header.owner,
                kind: header.kind,
                dependencies: header.dependencies,
                payload: sized(payload, limits)?,
            }))
        }
        number => Err(NodeError::Object(number)),
    }
}

fn exactly<const N: usize>(
    what: &'static str,
    frames: &mut Vec<Bytes>,
) -> Result<[Bytes; N], NodeError> {
    if frames.len() != N {
        return Err(NodeError::Frames {
            what,
            found: frames.len(),
            expected: N,
        });
    }
    let mut frames = frames.drain(..);
    Ok(std::array::from_fn(|_| frames.next().unwrap_or_default()))
}

fn owner_text(owner: &Bytes, limits: &NodeLimits) -> Result<SmolStr, NodeError> {
    if owner.is_empty() || owner.len() > limits.name {
        return Err(NodeError::Owner);
    }
    let owner = std::str::from_utf8(owner).map_err(|_| NodeError::Owner)?;
    Ok(SmolStr::new(owner))
}

fn sized(payload: Bytes, limits: &NodeLimits) -> Result<Bytes, NodeError> {
    if payload.is_empty() {
        return Err(NodeError::Empty);
    }
    if payload.len() > limits.payload {
        return Err(NodeError::TooLong(limits.payload));
    }
    Ok(payload)
}

/// The chunks, of so many bytes, as one; a copy only if there are several, which no honest client of our
/// time sends.
fn joined(mut chunks: Vec<Bytes>, len: usize) -> Bytes {
    if chunks.len() == 1 {
        return chunks.pop().unwrap_or_default();
    }
    let mut whole = BytesMut::with_capacity(len);
    for chunk in chunks {
        whole.extend_from_slice(&chunk);
    }
    whole.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect;

    fn message(frames: &[&'static [u8]]) -> Message {
        let frames = frames.iter().map(|frame| Bytes::from_static(frame));
        Message::new(frames.collect())
    }

    #[test]
    fn chunks_keep_no_more_memory_than_they_have_bytes() {
        let dialect = dialect::for_version(Some("0.0.20")).unwrap();
        let limits = NodeLimits::default();
        let mut reassembler = Reassembler::new();
        let id = b"12345678-0000-4000-8000-000000000000";
        let header = [
            id,
            &b"COMMON"[..],
            b"Mesh",
            b"\x80\x03K\x03.",
            b"\x80\x03].",
        ];
        let mut header = match dialect.node {
            NodeFrames::HeaderWithSender => message(&[&[&b"alice"[..]], &header[..]].concat()),
            _ => message(&header),
        };
        assert_eq!(
            reassembler.push(dialect, &mut header, &limits).unwrap(),
            None
        );
        let read: Vec<Bytes> = (b'a'..=b'c')
            .map(|byte| vec![byte; 1 << 20].into())
            .collect();
        for buffer in &read[..2] {
            let mut chunk = Message::new(vec![buffer.slice(7..8)]);
            assert_eq!(
                reassembler.push(dialect, &mut chunk, &limits).unwrap(),
                None
            );
            assert!(buffer.is_unique(), "the read buffer is free again");
        }
        let mut chunk = Message::new(vec![read[2].slice(..BIG + 1)]);
        let Some(Update::Node(node)) = reassembler.push(dialect, &mut chunk, &limits).unwrap()
        else {
            panic!("no node");
        };
        assert_eq!(node.payload.len(), BIG + 3);
        assert!(node.payload.starts_with(b"abcc"));
        let payload = node.payload.try_into_mut().unwrap();
        assert_eq!(payload.capacity(), BIG + 3);
    }
}
