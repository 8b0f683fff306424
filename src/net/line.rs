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
use tokio::task::coop;
use tokio::time::Instant;

/// How many times the usual bound a fast line has.
const WIDER: u32 = 4;
/// A line is fast if it takes as much as the usual bound within this time.
pub(crate) const FAST: Duration = Duration::from_millis(10);
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
        match written {
            // A task that has had its turn is put off in the same way.
            Poll::Pending if coop::has_budget_remaining() => bound.refused(),
            Poll::Ready(Ok(_)) => {
                if let Some(unsent) = bound.taken() {
                    set_unsent(&self.stream, unsent);
                }
            }
            _ => {}
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

    /// Notes that the system took nothing for being full.
    fn refused(&mut self) {
        self.full.get_or_insert_with(Instant::now);
    }

    /// Notes that it took something. Returns the bound if it is another now.
    fn taken(&mut self) -> Option<u32> {
        // It asks for more when half of what it may hold is left.
        let waited = self.full.take()?.elapsed().saturating_mul(2);
        let wide = if self.wide {
            waited < SLOW.saturating_mul(WIDER)
        } else {
            waited <= FAST
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
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use std::future::poll_fn;

    #[cfg(any(target_os = "linux", target_os = "android"))]
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    #[cfg(any(target_os = "linux", target_os = "android"))]
    use tokio::net::TcpListener;
    use tokio::time::advance;

    use super::*;

    const USUAL: u32 = 256 * 1024;

    /// What the bound becomes when the line is full for so many milliseconds.
    async fn wait(bound: &mut Bound, milliseconds: u64) -> Option<u32> {
        bound.refused();
        advance(Duration::from_millis(milliseconds)).await;
        // Being asked again while full changes nothing.
        bound.refused();
        bound.taken()
    }

    #[tokio::test(start_paused = true)]
    async fn a_fast_line_has_a_wider_bound_until_it_is_slow() {
        let mut bound = Bound::new(USUAL);
        assert_eq!(wait(&mut bound, 6).await, None, "not fast");
        assert_eq!(wait(&mut bound, 5).await, Some(4 * USUAL));
        assert_eq!(wait(&mut bound, 79).await, None, "not slow");
        assert_eq!(wait(&mut bound, 80).await, Some(USUAL));
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_learned_from_a_line_that_was_never_full() {
        let mut bound = Bound::new(USUAL);
        for _ in 0..3 {
            assert_eq!(bound.taken(), None);
            advance(Duration::from_secs(1)).await;
        }
    }

    /// A client and its line, with the usual bound.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    async fn connected() -> (TcpStream, Line) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (client, accepted) = tokio::join!(TcpStream::connect(address), listener.accept());
        let (stream, _) = accepted.unwrap();
        set_unsent(&stream, USUAL);
        (client.unwrap(), Line::new(stream))
    }

    /// Whoever reads nothing is not fast, however often the writing task was put off.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn being_put_off_is_not_being_full() {
        let (client, mut line) = connected().await;
        // More writes than a task may do at once.
        let puts_off = poll_fn(|context| {
            let write = |line: &mut Line, context: &mut _| Pin::new(line).poll_write(context, b"x");
            let pending = (0..1000).any(|_| write(&mut line, context).is_pending());
            Poll::Ready(pending)
        });
        assert!(puts_off.await);
        tokio::task::yield_now().await;
        line.write_all(b"x").await.unwrap();
        assert_eq!(unsent(&line.stream), Some(USUAL));
        drop(client);
    }

    /// A line between two sockets of this machine is as fast as any, until nobody reads.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn the_system_learns_of_the_bound() {
        let (mut client, mut line) = connected().await;
        let reading = tokio::spawn(async move {
            let mut buffer = vec![0; 1 << 20];
            while client.read(&mut buffer).await.unwrap() > 0 {}
        });
        let data = vec![0; 1 << 20];
        while unsent(&line.stream) != Some(4 * USUAL) {
            line.write_all(&data).await.unwrap();
        }
        drop(line);
        reading.await.unwrap();
    }
}
