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
    /// One more frame, in pieces, if there are any.
    last: Vec<Bytes>,
}

impl Message {
    /// A message of these frames.
    pub fn new(frames: Vec<Bytes>) -> Self {
        let last = Vec::new();
        Self { frames, last }
    }

    /// A message to be sent whose last frame comes in pieces: what is large is not copied only to
    /// be in one place with what surrounds it.
    pub fn with_last(mut frames: Vec<Bytes>, mut last: Vec<Bytes>) -> Self {
        if last.len() <= 1 {
            frames.append(&mut last);
        }
        Self { frames, last }
    }

    /// The frames in order. (Those of a message [with pieces](Self::with_last) have to be encoded
    /// and decoded first.)
    pub fn frames(&self) -> &[Bytes] {
        &self.frames
    }

    /// The frames, owned. One in pieces is put together.
    pub fn into_frames(self) -> Vec<Bytes> {
        let Self { mut frames, last } = self;
        if !last.is_empty() {
            frames.push(last.concat().into());
        }
        frames
    }

    /// The pieces of each frame in order.
    pub(super) fn parts(&self) -> impl Iterator<Item = &[Bytes]> {
        let last = (!self.last.is_empty()).then_some(&self.last[..]);
        self.frames.iter().map(std::slice::from_ref).chain(last)
    }

    /// Payload bytes of all frames together, without transport overhead.
    pub fn payload_len(&self) -> usize {
        self.parts().map(len).fold(0, usize::saturating_add)
    }
}

/// Bytes in all pieces.
pub(super) fn len(pieces: &[Bytes]) -> usize {
    pieces.iter().map(Bytes::len).fold(0, usize::saturating_add)
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
        let len = len(&segments);
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
