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
    pub fn into_frames(mut self) -> Vec<Bytes> {
        std::mem::take(self.frames_mut())
    }

    /// The frames, to be taken out. One in pieces is put together.
    pub fn frames_mut(&mut self) -> &mut Vec<Bytes> {
        if !self.last.is_empty() {
            self.frames
                .push(std::mem::take(&mut self.last).concat().into());
        }
        &mut self.frames
    }

    /// Payload bytes of all frames together, without transport overhead.
    pub fn payload_len(&self) -> usize {
        let frames = self.parts().map(|frame| frame.len());
        frames.fold(0, usize::saturating_add)
    }
}

/// A frame to be encoded, whose bytes are elsewhere.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// Short, so that it is copied.
    Text(&'a [u8]),
    /// In pieces, of which long ones are shared.
    Pieces(&'a [Bytes]),
}

impl<'a> Frame<'a> {
    /// A frame that is in one piece.
    pub fn of(piece: &'a Bytes) -> Self {
        Self::Pieces(std::slice::from_ref(piece))
    }

    pub(super) fn len(self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Pieces(pieces) => {
                let pieces = pieces.iter().map(Bytes::len);
                pieces.fold(0, usize::saturating_add)
            }
        }
    }
}

impl From<Frame<'_>> for Bytes {
    fn from(frame: Frame<'_>) -> Self {
        match frame {
            Frame::Text(text) => Self::copy_from_slice(text),
            Frame::Pieces([piece]) => piece.clone(),
            Frame::Pieces(pieces) => pieces.concat().into(),
        }
    }
}

/// What encoders take for a message: one, or frames that need not be put together to one.
pub trait Parts {
    /// The frames in order.
    fn parts(&self) -> impl Iterator<Item = Frame<'_>>;
}

impl Parts for Message {
    fn parts(&self) -> impl Iterator<Item = Frame<'_>> {
        let last = (!self.last.is_empty()).then_some(Frame::Pieces(&self.last));
        self.frames.iter().map(Frame::of).chain(last)
    }
}

impl Parts for &[Frame<'_>] {
    fn parts(&self) -> impl Iterator<Item = Frame<'_>> {
        self.iter().copied()
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
        let len = Frame::Pieces(&segments).len();
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

    /// Puts the segments behind others.
    pub(crate) fn append_to(self, others: &mut Vec<Bytes>) {
        match self.segments {
            Segments::One(segment) => others.push(segment),
            Segments::Many(segments) => others.extend_from_slice(&segments),
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
