//! Builds the wire form of messages: small bodies merged, big ones shared.
//!
//! The encoders of both transports write through a [`Gather`].

use bytes::{BufMut, Bytes};

use super::message::{Encoded, Frame, Parts};
use crate::memory::spare;

/// Bodies up to this many bytes are copied next to their headers; for longer ones a segment of
/// their own is cheaper than the copy.
pub(super) const MERGE: usize = 4 * 1024;

/// Segments in the making.
#[derive(Debug)]
pub(super) struct Gather {
    head: Vec<u8>,
    segments: Vec<Bytes>,
}

impl Gather {
    /// Room for these messages with `overhead` bytes per message and per frame.
    pub(super) fn for_messages(messages: &[impl Parts], overhead: usize) -> Self {
        let mut small: usize = 0;
        let mut big: usize = 0;
        for message in messages {
            small = small.saturating_add(overhead);
            for frame in message.parts() {
                small = small.saturating_add(overhead);
                match frame {
                    Frame::Text(text) => small = small.saturating_add(text.len()),
                    Frame::Pieces(pieces) => {
                        for piece in pieces {
                            if piece.len() > MERGE {
                                big = big.saturating_add(1);
                            } else {
                                small = small.saturating_add(piece.len());
                            }
                        }
                    }
                }
            }
        }
        Self {
            head: spare::empty(small),
            segments: match big {
                0 => Vec::new(),
                _ => Vec::with_capacity(big.saturating_mul(2).saturating_add(1)),
            },
        }
    }

    /// Where headers are written.
    pub(super) fn header(&mut self) -> &mut impl BufMut {
        &mut self.head
    }

    /// Adds a body: pieces of it are copied if they are small, shared if they are not.
    pub(super) fn body(&mut self, frame: Frame<'_>) {
        let pieces = match frame {
            Frame::Text(text) => return self.head.extend_from_slice(text),
            Frame::Pieces(pieces) => pieces,
        };
        for piece in pieces {
            if piece.len() > MERGE {
                self.flush();
                self.segments.push(piece.clone());
            } else {
                self.head.extend_from_slice(piece);
            }
        }
    }

    /// The segments.
    pub(super) fn finish(mut self) -> Encoded {
        if self.segments.is_empty() && !self.head.is_empty() {
            return Encoded::of_one(spare::share(self.head));
        }
        self.flush();
        Encoded::new(self.segments)
    }

    fn flush(&mut self) {
        if !self.head.is_empty() {
            let head = std::mem::take(&mut self.head);
            self.segments.push(spare::share(head));
        }
    }
}
