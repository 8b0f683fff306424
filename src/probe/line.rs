//! The TCP connections of a probe, and why one is of no use.
//!
//! The client sockets of the crate `zeromq` are not let onto the network by themselves: they take a
//! frame's announced length at its word and reserve that much, so that whoever answers could end
//! the program, and they don't tell "refused" from "nobody answers". So [`connect`] opens the
//! connection, and a [`Guard`] hands it to a socket by way of the loopback: it passes on what both
//! sides say, and cuts the line at the first byte that breaks the protocol or a stranger's limits.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use super::Trouble;
use crate::wire::limits::Limits;
use crate::wire::zmtp::{Decoder, Item, Ready, ZmtpError};

/// How long the other side may take to close a connection that we have closed. Leaving earlier could
/// look to it like a line that broke.
const FAREWELL: Duration = Duration::from_millis(250);

/// Opens a connection; says how long that took.
pub(super) async fn connect(
    to: SocketAddr,
    deadline: Instant,
) -> Result<(TcpStream, Duration), Trouble> {
    let begun = Instant::now();
    match timeout_at(deadline, TcpStream::connect(to)).await {
        Err(_) => Err(Trouble::Dropped),
        Ok(Ok(stream)) => {
            let took = begun.elapsed();
            // Only costs time if it fails.
            let _ = stream.set_nodelay(true);
            Ok((stream, took))
        }
        Ok(Err(error)) => Err(match error.kind() {
            io::ErrorKind::ConnectionRefused => Trouble::Refused,
            io::ErrorKind::TimedOut => Trouble::Dropped,
            _ => Trouble::Unreachable(error.to_string()),
        }),
    }
}

/// Closes a connection in good order.
pub(super) async fn farewell(mut stream: TcpStream) {
    let mut buffer = [0; 1024];
    let _ = timeout(FAREWELL, async {
        stream.shutdown().await?;
        // What is unread when we close would turn our end of the connection into a reset.
        while stream.read(&mut buffer).await? > 0 {}
        io::Result::Ok(())
    })
    .await;
}

/// Stands between a connection and a socket of the crate.
#[derive(Debug)]
pub(super) struct Guard {
    /// Where the socket is to connect to.
    pub(super) endpoint: String,
    stop: CancellationToken,
    relay: JoinHandle<Seen>,
}

/// What went by.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// What the other side says it is.
    pub(super) ready: Option<Ready>,
    /// What was wrong with its bytes.
    error: Option<ZmtpError>,
    /// Whether it closed the connection.
    closed: bool,
}

impl Guard {
    /// Stands before this connection.
    pub(super) async fn before(server: TcpStream) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("tcp://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        let relay = tokio::spawn(relay(server, listener, stop.clone()));
        Ok(Self {
            endpoint,
            stop,
            relay,
        })
    }

    /// Closes the connection; gives what went by.
    pub(super) async fn close(self) -> Seen {
        self.stop.cancel();
        self.relay.await.unwrap_or_default()
    }
}

impl Seen {
    /// Why the connection was of no use.
    pub(super) fn trouble(self) -> Trouble {
        match (self.error, self.ready) {
            (Some(ZmtpError::Foreign(foreign)), _) => Trouble::Foreign(foreign),
            (Some(error), _) => Trouble::Broken(error.to_string()),
            (None, Some(ready)) => Trouble::OtherSocket(ready.socket_type),
            (None, None) if self.closed => Trouble::HungUp,
            (None, None) => Trouble::Silent,
        }
    }
}

async fn relay(mut server: TcpStream, listener: TcpListener, stop: CancellationToken) -> Seen {
    let mut seen = Seen::default();
    let pass = async {
        let (mut socket, _) = listener.accept().await?;
        drop(listener);
        let (mut from_socket, mut to_socket) = socket.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            // What the crate sends on our behalf needs no looking at.
            sent = tokio::io::copy(&mut from_socket, &mut to_server) => sent.map(drop),
            heard = inspect(&mut from_server, &mut to_socket, &mut seen) => heard,
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        _ = pass => {}
    }
    farewell(server).await;
    seen
}

/// Passes on what the server says, and notes what it is.
async fn inspect(
    server: &mut ReadHalf<'_>,
    socket: &mut WriteHalf<'_>,
    seen: &mut Seen,
) -> io::Result<()> {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 4096];
    loop {
        let read = server.read(&mut buffer).await;
        let bytes = match read {
            Ok(n @ 1..) => buffer.get(..n).unwrap_or_default(),
            _ => {
                seen.closed = true;
                return Ok(());
            }
        };
        decoder.feed(bytes);
        loop {
            match decoder.next(&Limits::STRANGER) {
                Ok(Some(Item::Ready(ready))) => seen.ready = Some(ready),
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(error) => {
                    seen.error = Some(error);
                    return Ok(());
                }
            }
        }
        socket.write_all(bytes).await?;
    }
}
