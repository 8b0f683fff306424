//! An accepted connection, for which the system keeps no more than its line is worth.
//!
//! Accepted by the [`Listener`](super::listen::Listener) of the configured addresses. What the
//! system holds for a peer can no longer be replaced by anything newer, so it is bounded
//! (`net.send_buffer`). On a line that takes so much at once the bound would only cost: there it is
//! a few times as wide, for as long as that lasts.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

#[cfg(any(target_os = "linux", target_os = "android"))]
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How many times the usual bound a fast line has.
const WIDER: u32 = 4;
/// A line is fast if it takes as much as the usual bound within this time.
const FAST: Duration = Duration::from_millis(10);
/// It no longer is if it takes that long. (In between it stays what it was.)
const SLOW: Duration = Duration::from_millis(40);

/// A TCP connection.
#[derive(Debug)]
pub struct Line {
    stream: TcpStream,
    /// `None` if the system bounds what it holds as it likes.
    bound: Option<Bound>,
}

impl Line {
    /// A connection whose listener was opened by [`bind`](super::listen::bind).
    pub(super) fn new(stream: TcpStream) -> Self {
        let bound = unsent(&stream).map(Bound::new);
        Self { stream, bound }
    }

    #[cfg(test)]
    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// The same in the runtime that this is called in.
    pub(super) fn adopt(self) -> io::Result<Self> {
        let stream = TcpStream::from_std(self.stream.into_std()?)?;
        Ok(Self {
            stream,
            bound: self.bound,
        })
    }

    fn wrote(&mut self, written: &Poll<io::Result<usize>>) {
        let Some(bound) = &mut self.bound else { return };
        let written = match written {
            Poll::Pending => None,
            Poll::Ready(Ok(written)) => Some(*written),
            Poll::Ready(Err(_)) => return,
        };
        if let Some(unsent) = bound.wrote(written) {
            set_unsent(&self.stream, unsent);
        }
    }
}

/// How many bytes the system may hold beyond what is on its way.
#[derive(Debug)]
struct Bound {
    usual: u32,
    wide: bool,
    /// Since when it has taken nothing.
    full: Option<Instant>,
}

impl Bound {
    fn new(usual: u32) -> Self {
        Self {
            usual,
            wide: false,
            full: None,
        }
    }

    /// Notes that so many bytes were taken, or that it took none for being full. Returns the bound
    /// if it is another now.
    fn wrote(&mut self, written: Option<usize>) -> Option<u32> {
        let Some(written) = written else {
            self.full.get_or_insert_with(Instant::now);
            return None;
        };
        let waited = self.full.take()?.elapsed();
        // What was left over says little of what the line could have taken.
        if written < self.usual as usize / 4 {
            return None;
        }
        let share = f64::from(self.usual) / written as f64;
        let takes = waited.mul_f64(share);
        let wide = if self.wide {
            takes < SLOW
        } else {
            takes <= FAST
        };
        if wide == self.wide {
            return None;
        }
        self.wide = wide;
        Some(if wide {
            self.usual.saturating_mul(WIDER)
        } else {
            self.usual
        })
    }
}

/// The bound a connection has from its listener, if it has one.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn unsent(stream: &TcpStream) -> Option<u32> {
    let unsent = SockRef::from(stream).tcp_notsent_lowat().ok()?;
    // The system's own default is "no bound".
    (unsent != 0 && unsent <= u32::MAX / WIDER).then_some(unsent)
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn unsent(_: &TcpStream) -> Option<u32> {
    None
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn set_unsent(stream: &TcpStream, unsent: u32) {
    // Only an economy: a system that refuses keeps the bound it has.
    let _ = SockRef::from(stream).set_tcp_notsent_lowat(unsent);
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn set_unsent(_: &TcpStream, _: u32) {}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Line {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    const USUAL: u32 = 256 * 1024;

    /// What the bound becomes when the line takes so many bytes after so many milliseconds.
    async fn take(bound: &mut Bound, bytes: usize, after: u64) -> Option<u32> {
        assert_eq!(bound.wrote(None), None);
        advance(Duration::from_millis(after)).await;
        // Being asked again while full changes nothing.
        assert_eq!(bound.wrote(None), None);
        bound.wrote(Some(bytes))
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_line_has_a_wider_bound_until_it_is_slow() {
        let mut bound = Bound::new(USUAL);
        let usual = USUAL as usize;
        assert_eq!(take(&mut bound, usual, 11).await, None, "not fast");
        assert_eq!(take(&mut bound, usual / 2, 5).await, Some(4 * USUAL));
        assert_eq!(take(&mut bound, usual, 39).await, None, "not slow");
        assert_eq!(take(&mut bound, usual / 8, 500).await, None, "the rest");
        assert_eq!(take(&mut bound, usual, 40).await, Some(USUAL));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_learned_from_a_line_that_was_never_full() {
        let mut bound = Bound::new(USUAL);
        for _ in 0..3 {
            assert_eq!(bound.wrote(Some(8 << 20)), None);
            advance(Duration::from_secs(1)).await;
        }
    }
}
