//! Messages as both transports carry them: a short list of byte frames.
//!
//! Decoders in [`zmtp`](super::zmtp) and [`framed`](super::framed) produce them, the codecs in
//! [`command`](super::command) and [`node`](super::node) give them meaning, and the outboxes of
//! the ports hold them in [`Encoded`] form until the socket takes them.

use std::sync::Arc;

use bytes::Bytes;

/// One multipart message: the frames a DEALER peer sees, without any routing identity in front.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    frames: Vec<Bytes>,
}

impl Message {
    /// A message of these frames.
    pub fn new(frames: Vec<Bytes>) -> Self {
        Self { frames }
    }

    /// The frames in order.
    pub fn frames(&self) -> &[Bytes] {
        &self.frames
    }

    /// The frames, owned.
    pub fn into_frames(self) -> Vec<Bytes> {
        self.frames
    }

    /// Payload bytes of all frames together, without transport overhead.
    pub fn payload_len(&self) -> usize {
        self.frames
            .iter()
            .map(Bytes::len)
            .fold(0, usize::saturating_add)
    }
}

impl From<Vec<Bytes>> for Message {
    fn from(frames: Vec<Bytes>) -> Self {
        Self::new(frames)
    }
}

/// A message (or several that belong together) in the bytes of one transport, ready to be written
/// to any number of peers. Clones share the bytes.
#[derive(Clone, Debug)]
pub struct Encoded {
    segments: Segments,
    len: usize,
}

#[derive(Clone, Debug)]
enum Segments {
    /// As small messages are.
    One(Bytes),
    Many(Arc<[Bytes]>),
}

impl Encoded {
    /// Wraps segments that are to be written one after the other.
    pub fn new(segments: Vec<Bytes>) -> Self {
        let len = segments
            .iter()
            .map(Bytes::len)
            .fold(0, usize::saturating_add);
        Self {
            segments: Segments::Many(segments.into()),
            len,
        }
    }

    /// Wraps what is in one piece.
    pub fn of_one(segment: Bytes) -> Self {
        let len = segment.len();
        Self {
            segments: Segments::One(segment),
            len,
        }
    }

    /// The segments in writing order.
    pub fn segments(&self) -> &[Bytes] {
        match &self.segments {
            Segments::One(segment) => std::slice::from_ref(segment),
            Segments::Many(segments) => segments,
        }
    }

    /// Bytes on the wire.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
