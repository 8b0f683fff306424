//! The writing task of a connection: what waits for the peer.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::context::{Context, Timing};
use super::outbox::{Batch, Lane};
use super::peer::{Link, Peer};
use crate::counters::{Count, Counters};
use crate::memory::spare;
use crate::net::line;
use crate::session::Event;
use crate::session::event::End;
use crate::session::outlet::Outlet;
use crate::wire::zmtp;

/// Bytes taken from a queue for one write. What has been taken no longer gives way to newer states.
const TARGET: usize = 256 * 1024;
/// The same where a line takes that in no time, as one long write costs the system less. It is less
/// than what the system holds for a fast line by default (`net::line`), so that it takes all at once.
pub(super) const LONG_TARGET: usize = 3 * TARGET;
/// So many batches in a row prove that. (The first may find room in the system's own buffer.)
const PROOF: u32 = 2;
/// Batches of so many bytes are large.
const LARGE: usize = 128 * 1024;
/// Bytes written of a large batch before the others have their turn. What follows then finds a peer
/// that is awake, and each line in turn, rather than one that was handed megabytes while it slept:
/// the system takes a third less for the same.
const HEAD: usize = 2048;
/// Of more than so many bytes…
const LONG: usize = 5 * TARGET;
/// …so many are written at a time, with turns of the others between: to hand over what the system
/// cannot hold takes it longer.
const TURN: usize = LONG_TARGET;
/// Slices handed to the system at once.
const SLICES: usize = 64;
/// What is shorter is copied next to others: the system takes longer for a slice than that.
const SHORT: usize = 1024;
/// Bytes of copies in one piece.
const PIECE: usize = 32 * 1024;

/// Writes what waits for a peer on one link, until the link ends.
pub(crate) async fn write<W: AsyncWrite + Send + Unpin>(
    mut io: W,
    lane: Option<Lane>,
    peer: Arc<Peer>,
    link: Arc<Link>,
    predecessor: Option<Arc<Link>>,
    mut control: mpsc::Receiver<Bytes>,
    context: Context,
) {
    // Also if this ends by a fault: a successor must not wait for ever.
    let _written_off = link.written_off.clone().drop_guard();
    if let Some(predecessor) = predecessor {
        tokio::select! {
            () = predecessor.written_off.cancelled() => {}
            () = link.cancel.cancelled() => {}
        }
    }
    let (timing, counters) = (&context.timing, &context.counters);
    let mut batch = Batch::default();
    let mut pace = Pace::default();
    // Begun once, as beginning to wait for it takes locks, and this loop turns with every batch.
    let mut cancelled = pin!(link.cancel.cancelled());
    loop {
        let next = async {
            match lane {
                Some(lane) => {
                    peer.outbox.next(lane, pace.target(), &mut batch).await;
                    lane
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = &mut cancelled => break,
            Some(bytes) = control.recv() => {
                if let Err(end) = flush(&mut io, VecDeque::from([bytes]), &link, timing, counters).await {
                    link.unwritable(end);
                    break;
                }
            }
            lane = next => {
                let begun = Instant::now();
                if lane == Lane::Data
                    && link.answers_pings
                    && let Some(number) = peer.outbox.ask_receipt(&batch, begun)
                {
                    batch.segments.push(zmtp::ping(0, &number.to_be_bytes()));
                }
                let segments = merged(batch.segments.drain(..));
                let result = flush(&mut io, segments, &link, timing, counters).await;
                let now = Instant::now();
                pace.wrote(batch.bytes(), begun, now);
                match result {
                    Ok(()) => {
                        let written = peer.outbox.written(lane, &batch, now, peer.window());
                        let mut events: Vec<_> =
                            written.repeats.into_iter().map(Event::Crossed).collect();
                        if written.drained {
                            events.push(Event::Drained);
                        }
                        context.session.send(Arc::clone(&peer), events, None).await;
                    }
                    Err(end) => {
                        if peer.outbox.lost(lane, &batch, now) {
                            context.session.send(Arc::clone(&peer), vec![Event::Drained], None).await;
                        }
                        link.unwritable(end);
                        break;
                    }
                }
            }
        }
    }
    let _ = tokio::time::timeout(Duration::from_secs(1), io.shutdown()).await;
}

/// How fast the line has been of late.
#[derive(Debug, Default)]
struct Pace {
    /// Full batches, one right after the other, that it took at once.
    quick: u32,
    /// When the last one of any size had been taken.
    last: Option<Instant>,
}

impl Pace {
    /// So many bytes were written.
    fn wrote(&mut self, bytes: usize, begun: Instant, done: Instant) {
        let within = |from: Instant, to: Instant| to.saturating_duration_since(from) <= line::FAST;
        if !within(begun, done) {
            self.quick = 0;
        } else if bytes >= TARGET {
            let follows = self.last.is_some_and(|last| within(last, begun));
            self.quick = if follows { self.quick } else { 0 }.saturating_add(1);
        }
        self.last = Some(done);
    }

    /// Bytes to take for the next batch.
    fn target(&self) -> usize {
        if self.quick >= PROOF {
            LONG_TARGET
        } else {
            TARGET
        }
    }
}

/// Writes all segments. The peer must take some of them within the write deadline, and enough of
/// them over the rate window.
async fn flush<W: AsyncWrite + Unpin>(
    io: &mut W,
    mut segments: VecDeque<Bytes>,
    link: &Link,
    timing: &Timing,
    counters: &Counters,
) -> Result<(), End> {
    let mut window = (Instant::now(), 0usize);
    let mut left = segments.iter().map(Bytes::len).sum::<usize>();
    let mut first = true;
    while !segments.is_empty() {
        let room = if first && left >= LARGE {
            HEAD
        } else if left > LONG {
            TURN
        } else {
            usize::MAX
        };
        let written = {
            let mut slices = [IoSlice::new(&[]); SLICES];
            let used = fill(&mut slices, &segments, room);
            let slices = slices.get(..used).unwrap_or(&[]);
            let deadline = Instant::now() + timing.write_deadline;
            let writing = async {
                match slices {
                    // Most batches are one piece, which the system takes faster by itself.
                    [only] => io.write(only).await,
                    _ => io.write_vectored(slices).await,
                }
            };
            tokio::select! {
                biased;
                result = guard(deadline, writing) => match result {
                    Some(Ok(0)) | Some(Err(_)) => return Err(End::Broken),
                    Some(Ok(written)) => written,
                    None => {
                        counters.add(Count::StalledLinks);
                        return Err(End::Stalled);
                    }
                },
                () = link.cancel.cancelled() => return Err(link.end()),
            }
        };
        consume(&mut segments, written);
        left = left.saturating_sub(written);
        first = false;
        window.1 = window.1.saturating_add(written);
        let now = Instant::now();
        if now >= window.0 + timing.rate_window {
            if window.1 < timing.rate_bytes() {
                counters.add(Count::StalledLinks);
                return Err(End::Stalled);
            }
            window = (now, 0);
        }
        if room != usize::MAX {
            tokio::task::yield_now().await;
        }
    }
    match io.flush().await {
        Ok(()) => Ok(()),
        Err(_) => Err(End::Broken),
    }
}

/// Points slices at the first `room` bytes, as far as there are slices. Returns how many.
fn fill<'a>(
    slices: &mut [IoSlice<'a>; SLICES],
    segments: &'a VecDeque<Bytes>,
    mut room: usize,
) -> usize {
    let mut used = 0;
    for (slice, segment) in slices.iter_mut().zip(segments) {
        if room == 0 {
            break;
        }
        let part = segment.get(..room).unwrap_or(segment);
        *slice = IoSlice::new(part);
        room -= part.len();
        used += 1;
    }
    used
}

async fn guard(
    deadline: Instant,
    work: impl Future<Output = io::Result<usize>>,
) -> Option<io::Result<usize>> {
    timeout_at(deadline, work).await.ok()
}

fn consume(segments: &mut VecDeque<Bytes>, mut written: usize) {
    while let Some(front) = segments.front_mut() {
        if written < front.len() {
            front.advance(written);
            return;
        }
        written -= front.len();
        segments.pop_front();
    }
}

/// The same bytes in fewer pieces.
fn merged(segments: impl Iterator<Item = Bytes>) -> VecDeque<Bytes> {
    let mut pieces = VecDeque::with_capacity(8);
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        let is_short = |segment: &Bytes| segment.len() <= SHORT;
        if !is_short(&segment) || !segments.peek().is_some_and(is_short) {
            pieces.push_back(segment);
            continue;
        }
        let mut piece = spare::empty(PIECE);
        piece.extend_from_slice(&segment);
        while piece.len() <= PIECE - SHORT
            && let Some(segment) = segments.next_if(is_short)
        {
            piece.extend_from_slice(&segment);
        }
        pieces.push_back(spare::share(piece));
    }
    pieces
}
