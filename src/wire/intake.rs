//! The bytes a decoder has received and not yet handed on.
//!
//! Both transports' decoders read through an [`Intake`]. Small bodies are split off the read
//! buffer without a copy; a body longer than [`BIG`] gets memory of its own: what others have done
//! with, or new memory: for up to [`FIRST`] at once, as the system fills in pages only as they are
//! written to; beyond that it grows with what was *received*, never at once to what was announced.
//! Of a body larger than [`PAGED`] a quarter of that is enough for it to get a place for all of it.

use bytes::{Buf, BufMut, Bytes, BytesMut, buf::Limit};

use crate::memory::pages::{self, Buffer};
use crate::memory::spare;

/// Bodies longer than this get memory of their own. Others share that of the read buffer, which can
/// be used again only when they are gone.
pub(crate) const BIG: usize = 16 * 1024;

/// A body longer than this is read into memory of the system's: moving it as it grows takes longer
/// than reading it.
const PAGED: usize = 4 * 1024 * 1024;

/// New memory of a body to begin with, if it may be so long at all. Moving what had come of 140 KB to larger
/// memory was a quarter of what receiving them took.
const FIRST: usize = 1024 * 1024;

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
    body: Body,
    /// The announced length, which was checked against the limits.
    len: usize,
}

#[derive(Debug)]
enum Body {
    Heap(Vec<u8>),
    Pages { buffer: Buffer, filled: usize },
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
        if self.big.as_mut().is_some_and(|big| big.grow() > 0)
            && let Some(big) = &mut self.big
        {
            let room = big.grow();
            if let Body::Heap(data) = &mut big.body {
                return (data as &mut (dyn BufMut + Send)).limit(room);
            }
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

    /// Where the next read goes, if it can go into a large body at once: to be preferred to
    /// [`space`](Self::space), from where it would be copied. What was read is told to
    /// [`paged`](Self::paged).
    pub(super) fn pages(&mut self) -> Option<&mut [u8]> {
        let big = self.big.as_mut().filter(|_| self.buf.is_empty())?;
        big.grow();
        let len = big.len;
        match &mut big.body {
            Body::Pages { buffer, filled } => buffer.get_mut(*filled..len),
            Body::Heap(_) => None,
        }
        .filter(|pages| !pages.is_empty())
    }

    /// So much was read into [`pages`](Self::pages).
    pub(super) fn paged(&mut self, read: usize) {
        if let Some(Big {
            body: Body::Pages { filled, .. },
            len,
        }) = &mut self.big
        {
            *filled = filled.saturating_add(read).min(*len);
        }
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
            Some(mut big) => {
                big.fill(&mut self.buf);
                if big.missing() == 0 {
                    return Some(big.share());
                }
                self.big = Some(big);
                None
            }
            None if len <= BIG => (self.buf.len() >= len).then(|| self.buf.split_to(len).freeze()),
            None => {
                let here = self.buf.split_to(self.buf.len().min(len));
                let big = Big::new(len, &here);
                if big.missing() == 0 {
                    return Some(big.share());
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

    /// The same, if it is all there already behind so many bytes of a header, which are dropped then; and short.
    #[inline(always)]
    pub(super) fn short_body(&mut self, header: usize, len: usize) -> Option<Bytes> {
        if len > BIG || self.big.is_some() || self.buf.len() < header.saturating_add(len) {
            return None;
        }
        self.buf.advance(header);
        Some(self.buf.split_to(len).freeze())
    }

    /// Bytes received and not yet taken.
    pub(super) fn buffered(&self) -> usize {
        let big = self.big.as_ref().map_or(0, Big::received);
        self.buf.len().saturating_add(big)
    }

    /// Bytes of memory this keeps for itself.
    pub(super) fn allocated(&self) -> usize {
        let big = self.big.as_ref().map_or(0, Big::allocated);
        self.size.saturating_add(big)
    }

    /// Learns from how much the last read brought how much to offer to the next ones.
    fn adapt(&mut self) {
        let Some((room, offer)) = self.offered.take() else {
            return;
        };
        let used = room.saturating_sub(spare(&self.buf));
        if used == 0 {
            // Nothing had come.
            return;
        }
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
        let mut data = spare::take(len).unwrap_or_default();
        if data.capacity() < len {
            reserve(&mut data, here.len(), len);
        }
        data.extend_from_slice(here);
        let body = Body::Heap(data);
        Self { body, len }
    }

    fn received(&self) -> usize {
        match &self.body {
            Body::Heap(data) => data.len(),
            Body::Pages { filled, .. } => *filled,
        }
    }

    /// Bytes still to come.
    fn missing(&self) -> usize {
        self.len.saturating_sub(self.received())
    }

    /// Bytes of memory it has. Pages nobody has written to are none.
    fn allocated(&self) -> usize {
        match &self.body {
            Body::Heap(data) => data.capacity(),
            Body::Pages { filled, .. } => filled.saturating_add(pages::LARGE).min(self.len),
        }
    }

    /// Makes room on the heap if there is none, or goes over to pages; how much may be read onto
    /// the heap now.
    fn grow(&mut self) -> usize {
        let Body::Heap(data) = &mut self.body else {
            return 0;
        };
        if data.capacity() == data.len() && data.len() < self.len {
            let filled = data.len();
            if self.len > PAGED && filled >= PAGED / 4 {
                let mut buffer = Buffer::new(self.len);
                if let Some(start) = buffer.get_mut(..filled) {
                    start.copy_from_slice(data);
                }
                self.body = Body::Pages { buffer, filled };
                return 0;
            }
            reserve(data, filled, self.len);
        }
        data.capacity().min(self.len).saturating_sub(data.len())
    }

    /// Takes what was read elsewhere, if it is for pages.
    fn fill(&mut self, from: &mut BytesMut) {
        if let Body::Pages { buffer, filled } = &mut self.body {
            let take = from.len().min(self.len.saturating_sub(*filled));
            let end = filled.saturating_add(take);
            if let Some(to) = buffer.get_mut(*filled..end) {
                to.copy_from_slice(&from.split_to(take));
                *filled = end;
            }
        }
    }

    fn share(self) -> Bytes {
        match self.body {
            Body::Heap(data) => spare::share(data),
            Body::Pages { buffer, .. } => buffer.freeze(),
        }
    }
}

/// Memory for four times what was received, at least [`FIRST`], at most for what was announced.
/// Fewer, larger steps than doubling, because each may move the data.
fn reserve(data: &mut Vec<u8>, received: usize, len: usize) {
    let target = received.saturating_mul(4).max(FIRST);
    let target = if target < len {
        target
    } else {
        spare::room(len)
    };
    data.reserve_exact(target.saturating_sub(data.len()));
}

fn spare(buf: &BytesMut) -> usize {
    buf.capacity().saturating_sub(buf.len())
}

#[cfg(test)]
mod tests;
