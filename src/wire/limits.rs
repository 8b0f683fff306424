//! How much a peer may send, and the gathering of its frames into messages within that.
//!
//! The decoders of both transports check every announced length against [`Limits`] before a byte
//! of the body is taken; connections feed the frames they get to an [`Assembler`].

use bytes::Bytes;
use thiserror::Error;

use super::intake::BIG;
use super::message::Message;

/// The largest things a peer may send. They rise once the peer has logged in, so they are handed
/// to the decoders with every call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one frame.
    pub frame: usize,
    /// Bytes of all frames of one message together.
    pub message: usize,
    /// Frames of one message.
    pub frames: usize,
}

impl Limits {
    /// For a peer that has not logged in. The largest honest message of one is an Auth command:
    /// three frames and a few hundred bytes.
    pub const STRANGER: Self = Self {
        frame: 16 * 1024,
        message: 16 * 1024,
        frames: 16,
    };
}

/// A peer announced more than it may send.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum LimitError {
    /// One frame is too long.
    #[error("a frame of {len} bytes is longer than the {limit} bytes allowed")]
    Frame {
        /// Bytes announced.
        len: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// The frames of one message are too long together.
    #[error("a message grows to {len} bytes, beyond the {limit} bytes allowed")]
    Message {
        /// Bytes of the message with the frame that is one too many.
        len: u64,
        /// Bytes allowed.
        limit: usize,
    },
    /// One message has too many frames.
    #[error("a message has more than the {limit} frames allowed")]
    Frames {
        /// Frames allowed.
        limit: usize,
    },
}

/// Frames that an honest message has at most.
const USUAL: usize = 6;

/// What the message that is being received amounts to so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    bytes: usize,
    frames: usize,
}

impl Tally {
    /// Whether a further frame of `len` bytes is within the limits; its length as `usize`.
    pub(super) fn check(&self, len: u64, limits: &Limits) -> Result<usize, LimitError> {
        let limit = limits.frame;
        let size = usize::try_from(len)
            .ok()
            .filter(|size| *size <= limit)
            .ok_or(LimitError::Frame { len, limit })?;
        if self.frames >= limits.frames {
            return Err(LimitError::Frames {
                limit: limits.frames,
            });
        }
        if self.bytes.saturating_add(size) > limits.message {
            return Err(LimitError::Message {
                len: u64::try_from(self.bytes)
                    .unwrap_or(u64::MAX)
                    .saturating_add(len),
                limit: limits.message,
            });
        }
        Ok(size)
    }

    /// Counts a frame that arrived; the last one of a message starts the count anew.
    pub(super) fn add(&mut self, more: bool, len: usize) {
        if more {
            self.bytes = self.bytes.saturating_add(len);
            self.frames = self.frames.saturating_add(1);
        } else {
            *self = Self::default();
        }
    }
}

/// Gathers the frames of one connection into messages.
#[derive(Debug, Default)]
pub struct Assembler {
    frames: Vec<Bytes>,
    tally: Tally,
    /// How many of `frames` no longer share memory with a read buffer.
    settled: usize,
}

impl Assembler {
    /// An assembler without frames.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the next frame; `more` says that others of the same message follow. Returns the
    /// message when this was its last frame.
    ///
    /// # Errors
    ///
    /// If the frame takes the message beyond the limits. What was gathered is dropped then.
    #[inline]
    pub fn push(
        &mut self,
        more: bool,
        body: Bytes,
        limits: &Limits,
    ) -> Result<Option<Message>, LimitError> {
        let announced = u64::try_from(body.len()).unwrap_or(u64::MAX);
        if let Err(error) = self.tally.check(announced, limits) {
            *self = Self::default();
            return Err(error);
        }
        self.tally.add(more, body.len());
        if self.frames.capacity() == 0 {
            self.frames.reserve_exact(USUAL);
        }
        self.frames.push(body);
        if more {
            return Ok(None);
        }
        self.settled = 0;
        Ok(Some(Message::new(std::mem::take(&mut self.frames))))
    }

    /// Takes back the list of a message that has been understood, for the next one.
    pub fn reuse(&mut self, message: Message) {
        let mut frames = message.into_frames();
        frames.clear();
        if self.frames.capacity() == 0 && frames.capacity() <= USUAL {
            self.frames = frames;
        }
    }

    /// Bytes this holds of a message whose end is still to come, with what each frame costs.
    pub fn held(&self) -> usize {
        self.frames
            .len()
            .saturating_mul(size_of::<Bytes>())
            .saturating_add(self.tally.bytes)
    }

    /// To be called before waiting for more bytes. Small frames share the memory of the buffer
    /// they were read into; while a message is incomplete they are copied out of it, so that a
    /// peer cannot pin a whole buffer with each frame of one byte.
    pub fn settle(&mut self) {
        for frame in self.frames.iter_mut().skip(self.settled) {
            if frame.len() <= BIG {
                *frame = Bytes::copy_from_slice(frame);
            }
        }
        self.settled = self.frames.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        frame: 10,
        message: 15,
        frames: 3,
    };

    fn push(
        assembler: &mut Assembler,
        more: bool,
        len: usize,
    ) -> Result<Option<usize>, LimitError> {
        let body = Bytes::from(vec![0; len]);
        let message = assembler.push(more, body, &LIMITS)?;
        Ok(message.map(|message| message.payload_len()))
    }

    #[test]
    fn gathers_frames_until_the_last() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, true, 3), Ok(None));
        assert_eq!(push(&mut assembler, true, 0), Ok(None));
        assert_eq!(assembler.held(), 3 + 2 * size_of::<Bytes>());
        assert_eq!(push(&mut assembler, false, 10), Ok(Some(13)));
        assert_eq!(assembler.held(), 0);
        assert_eq!(push(&mut assembler, false, 10), Ok(Some(10)));
    }

    #[test]
    fn a_list_is_used_again_and_nothing_that_was_in_it() {
        let mut assembler = Assembler::new();
        let body = || Bytes::from_static(b"x");
        let message = assembler.push(false, body(), &LIMITS).unwrap().unwrap();
        let list = message.frames().as_ptr();
        assembler.reuse(message);
        assert_eq!(assembler.held(), 0);
        assert!(assembler.push(true, body(), &LIMITS).unwrap().is_none());
        // One that comes back too late is not taken for what has been gathered since.
        assembler.reuse(Message::new(vec![body(), body()]));
        let message = assembler.push(false, body(), &LIMITS).unwrap().unwrap();
        assert_eq!(
            (message.frames().len(), message.frames().as_ptr()),
            (2, list)
        );
    }

    #[test]
    fn a_frame_too_long_is_refused() {
        let mut assembler = Assembler::new();
        let error = LimitError::Frame { len: 11, limit: 10 };
        assert_eq!(push(&mut assembler, true, 11), Err(error));
    }

    #[test]
    fn a_message_too_long_is_refused_and_dropped() {
        let mut assembler = Assembler::new();
        assert_eq!(push(&mut assembler, true, 10), Ok(None));
        let error = LimitError::Message { len: 16, limit: 15 };
        assert_eq!(push(&mut assembler, false, 6), Err(error));
        assert_eq!(assembler.held(), 0);
    }

    #[test]
    fn endless_frames_are_refused() {
        let mut assembler = Assembler::new();
        for _ in 0..3 {
            assert_eq!(push(&mut assembler, true, 0), Ok(None));
        }
        let error = LimitError::Frames { limit: 3 };
        assert_eq!(push(&mut assembler, true, 0), Err(error));
    }

    #[test]
    fn settling_lets_the_read_buffer_go() {
        let buffer = Bytes::from(vec![7; 100]);
        let mut assembler = Assembler::new();
        assembler.push(true, buffer.slice(3..5), &LIMITS).unwrap();
        assert!(!buffer.is_unique());
        assembler.settle();
        assert!(buffer.is_unique());
        let message = assembler.push(false, Bytes::new(), &LIMITS).unwrap();
        assert_eq!(message.unwrap().frames()[0], vec![7, 7]);
    }
}
