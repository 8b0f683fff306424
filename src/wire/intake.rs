//! The bytes a decoder has received and not yet handed on.
//!
//! Both transports' decoders read through an [`Intake`]. Small bodies are split off the read
//! buffer without a copy; a body longer than [`BIG`] gets memory of its own: what others have done
//! with, or new memory that grows with what was *received*, never at once to what was announced.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use super::spare;

/// Bodies longer than this get memory of their own. Others share that of the read buffer, which can
/// be used again only when they are gone.
pub(crate) const BIG: usize = 16 * 1024;

/// New memory of a body to begin with.
const FIRST: usize = 64 * 1024;

/// A new read buffer, and the least it shrinks to.
const MIN_CHUNK: usize = 8 * 1024;

/// The most a read buffer grows to, while reads fill it.
const MAX_CHUNK: usize = 256 * 1024;

/// Reads in a row that leave most of the buffer empty before it shrinks.
const PATIENCE: u8 = 16;

/// Where the next read of a socket goes, to be handed to `AsyncReadExt::read_buf`.
pub(super) type Space<'a> = Limit<&'a mut (dyn BufMut + Send)>;

/// The received bytes of one connection.
#[derive(Debug)]
pub(super) struct Intake {
    buf: BytesMut,
    /// Bytes of the allocation `buf` lives in, of which it may show only the end.
    size: usize,
    big: Option<Big>,
    /// How much of a read buffer to have ready; adapts to how full the reads are.
    chunk: usize,
    /// The most `chunk` may grow to; follows what the peer may send.
    ceiling: usize,
    /// Room of `buf` when it was last offered to a read, and how much of it was.
    offered: Option<(usize, usize)>,
    /// Reads in a row that used little of what was offered.
    idle: u8,
}

#[derive(Debug)]
struct Big {
    data: Vec<u8>,
    /// The announced length, which was checked against the limits.
    len: usize,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            buf: BytesMut::new(),
            size: 0,
            big: None,
            chunk: MIN_CHUNK,
            ceiling: MIN_CHUNK,
            offered: None,
            idle: 0,
        }
    }

    /// Lets the read buffer grow up to about `frame` bytes, within fixed bounds.
    pub(super) fn set_ceiling(&mut self, frame: usize) {
        self.ceiling = frame.clamp(MIN_CHUNK, MAX_CHUNK);
    }

    /// Room for the next read; never empty.
    pub(super) fn space(&mut self) -> Space<'_> {
        self.adapt();
        // The borrow checker needs the question and the use apart.
        if self.big.as_ref().is_some_and(|big| big.missing() > 0)
            && let Some(big) = &mut self.big
        {
            let room = big.grow();
            return (&mut big.data as &mut (dyn BufMut + Send)).limit(room);
        }
        let mut room = spare(&self.buf);
        if room < self.chunk / 4 {
            // Half a chunk is enough to go on in memory that is free again.
            if !self.buf.try_reclaim(self.chunk / 2) {
                let mut fresh = BytesMut::with_capacity(self.buf.len().saturating_add(self.chunk));
                fresh.extend_from_slice(&self.buf);
                self.size = fresh.capacity();
                self.buf = fresh;
            }
            room = spare(&self.buf);
        }
        let offer = room.min(self.chunk);
        self.offered = Some((room, offer));
        (&mut self.buf as &mut (dyn BufMut + Send)).limit(offer)
    }

    /// Takes bytes that were read elsewhere, for instance to detect the transport.
    pub(super) fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let mut space = self.space();
            let take = bytes.len().min(space.remaining_mut());
            let (now, later) = bytes.split_at_checked(take).unwrap_or((bytes, &[]));
            space.put_slice(now);
            bytes = later;
        }
    }

    /// What arrived and was not taken. While a big body is under way these are its successors.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buf
    }

    /// Drops the first `count` of [`bytes`](Self::bytes), or all if there are fewer.
    pub(super) fn skip(&mut self, count: usize) {
        self.buf.advance(count.min(self.buf.len()));
    }

    /// The next `len` bytes once all of them arrived. `len` was checked, and stays the same until
    /// this has returned them.
    pub(super) fn body(&mut self, len: usize) -> Option<Bytes> {
        match self.big.take() {
            Some(big) if big.missing() == 0 => Some(spare::share(big.data)),
            Some(big) => {
                self.big = Some(big);
                None
            }
            None if len <= BIG => (self.buf.len() >= len).then(|| self.buf.split_to(len).freeze()),
            None => {
                let here = self.buf.split_to(self.buf.len().min(len));
                let big = Big::new(len, &here);
                if big.missing() == 0 {
                    return Some(spare::share(big.data));
                }
                self.big = Some(big);
                // Whatever follows is likely to be as big: read little of it into the buffer, as
                // that has to be moved.
                self.chunk = MIN_CHUNK;
                self.offered = None;
                None
            }
        }
    }

    /// Bytes received and not yet taken.
    pub(super) fn buffered(&self) -> usize {
        let big = self.big.as_ref().map_or(0, |big| big.data.len());
        self.buf.len().saturating_add(big)
    }

    /// Bytes of memory this keeps for itself.
    pub(super) fn allocated(&self) -> usize {
        let big = self.big.as_ref().map_or(0, |big| big.data.capacity());
        self.size.saturating_add(big)
    }

    /// Learns from how much the last read brought how much to offer to the next ones.
    fn adapt(&mut self) {
        let Some((room, offer)) = self.offered.take() else {
            return;
        };
        let used = room.saturating_sub(spare(&self.buf));
        if used >= offer && offer >= self.chunk / 2 {
            self.chunk = self.chunk.saturating_mul(2).min(self.ceiling);
            self.idle = 0;
        } else if used > self.chunk / 8 {
            self.idle = 0;
        } else if self.chunk > MIN_CHUNK {
            self.idle = self.idle.saturating_add(1);
            if self.idle >= PATIENCE {
                self.idle = 0;
                self.chunk = (self.chunk / 2).max(MIN_CHUNK);
                if self.buf.is_empty() {
                    self.buf = BytesMut::new();
                    self.size = 0;
                }
            }
        }
    }
}

impl Big {
    /// A body of which so much is here.
    fn new(len: usize, here: &[u8]) -> Self {
        let data = spare::take(len).unwrap_or_default();
        let mut big = Self { data, len };
        if big.data.capacity() < len {
            big.reserve(here.len());
        }
        big.data.extend_from_slice(here);
        big
    }

    /// Bytes still to come.
    fn missing(&self) -> usize {
        self.len.saturating_sub(self.data.len())
    }

    /// Makes room if there is none; how much may be read now.
    fn grow(&mut self) -> usize {
        if self.data.capacity() == self.data.len() {
            self.reserve(self.data.len());
        }
        self.data
            .capacity()
            .min(self.len)
            .saturating_sub(self.data.len())
    }

    /// Memory for four times what was received, at least [`FIRST`], at most for what was announced.
    /// Fewer, larger steps than doubling, because each may move the data.
    fn reserve(&mut self, received: usize) {
        let target = received.saturating_mul(4).max(FIRST);
        let target = if target < self.len {
            target
        } else {
            spare::room(self.len)
        };
        self.data
            .reserve_exact(target.saturating_sub(self.data.len()));
    }
}

fn spare(buf: &BytesMut) -> usize {
    buf.capacity().saturating_sub(buf.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One read that brings as much as it may.
    fn fill(intake: &mut Intake) -> usize {
        let mut space = intake.space();
        let room = space.remaining_mut();
        space.put_bytes(1, room);
        room
    }

    #[test]
    fn the_buffer_grows_only_while_reads_fill_it() {
        let mut intake = Intake::new();
        intake.set_ceiling(usize::MAX);
        assert_eq!(intake.space().remaining_mut(), MIN_CHUNK);
        for _ in 0..100 {
            fill(&mut intake);
            intake.skip(usize::MAX);
        }
        assert!(intake.allocated() >= MAX_CHUNK / 2, "{intake:?}");
        assert!(intake.allocated() <= MAX_CHUNK, "{intake:?}");
        for _ in 0..100 {
            intake.space().put_u8(1);
            intake.skip(1);
        }
        assert!(intake.allocated() <= MIN_CHUNK, "{intake:?}");
    }

    #[test]
    fn the_ceiling_bounds_the_buffer() {
        let mut intake = Intake::new();
        intake.set_ceiling(16 * 1024);
        for _ in 0..100 {
            fill(&mut intake);
            intake.skip(usize::MAX);
        }
        assert!(intake.allocated() <= 16 * 1024, "{intake:?}");
    }

    #[test]
    fn a_big_body_grows_with_what_arrives() {
        let len = 100 * 1024 * 1024;
        let mut intake = Intake::new();
        intake.set_ceiling(len);
        intake.feed(&[1; 100]);
        assert_eq!(intake.body(len), None);
        let mut received = 100;
        while received < len {
            received += fill(&mut intake);
            assert_eq!(intake.buffered(), received);
            assert!(intake.allocated() <= received * 4 + len / 16 + FIRST + MIN_CHUNK);
        }
        assert_eq!(received, len);
        // Until it is fetched, reads go on elsewhere.
        intake.feed(b"next");
        assert_eq!(intake.body(len).map(|body| body.len()), Some(len));
        assert_eq!(intake.bytes(), b"next");
    }

    #[test]
    fn bodies_share_the_read_buffer() {
        let mut intake = Intake::new();
        intake.feed(b"abcdef");
        intake.skip(1);
        let body = intake.body(3).unwrap();
        assert_eq!(body, "bcd");
        assert!(!body.is_unique());
        assert_eq!(intake.body(3), None);
        intake.feed(b"g");
        assert_eq!(intake.body(3).unwrap(), "efg");
        assert_eq!(intake.buffered(), 0);
    }
}
