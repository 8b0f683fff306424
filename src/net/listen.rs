//! Ports: binding them and accepting connections on them, whatever happens.
//!
//! [`server`](crate::server) binds the configured addresses with [`bind`]; the ports hand each
//! listener to an [`Acceptor`], whose [`next`](Acceptor::next) they call in a loop. Tests hand in
//! other [`Listener`]s, for instance in memory.

use std::future::Future;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;

use super::holder::holder;
use super::line::Line;

/// Connections the system keeps ready for us: a whole team coming back at once fits.
const BACKLOG: i32 = 1024;

/// First and longest pause after an error that says nothing about one connection.
const PAUSES: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// Where connections come from.
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection and the address of its peer. Loses nothing when the future
    /// is dropped.
    fn accept(&mut self) -> impl Future<Output = io::Result<(Self::Io, SocketAddr)>> + Send;

    /// The address peers connect to.
    ///
    /// # Errors
    ///
    /// If the system does not tell.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Takes a connection over into the runtime that this is called in. What arrives then wakes
    /// that runtime's thread, instead of one that only has to wake another.
    ///
    /// # Errors
    ///
    /// If the system refuses.
    fn adopt(io: Self::Io) -> io::Result<Self::Io> {
        Ok(io)
    }
}

impl Listener for TcpListener {
    type Io = Line;

    async fn accept(&mut self) -> io::Result<(Line, SocketAddr)> {
        let (stream, peer) = Self::accept(self).await?;
        // Messages are small and each is awaited. Fails only if the peer is gone already, which
        // the first read will tell.
        let _ = stream.set_nodelay(true);
        Ok((Line::new(stream), peer))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Self::local_addr(self)
    }

    fn adopt(io: Line) -> io::Result<Line> {
        io.adopt()
    }
}

/// Bounds the bytes the system may hold for a peer beyond what is on its way: what waits longer
/// waits in our queue, where newer states can still take its place, and what was written has all
/// but arrived. Connections inherit it from their listener.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unsent(listener: &Socket, unsent: usize) {
    if let Ok(unsent @ 1..) = u32::try_from(unsent) {
        // Only an economy: a system that refuses queues more.
        let _ = listener.set_tcp_notsent_lowat(unsent);
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unsent(_: &Socket, _: usize) {}

/// Has the system end connections that are dead: whose peer acknowledges nothing of what was sent for
/// this long (Linux), or answers none of the system's own questions. Accepted connections inherit it.
pub fn find_dead(listener: &TcpListener, after: Duration) {
    let socket = SockRef::from(listener);
    // A third of it in silence, and then as many questions as fit into the rest.
    let pace = after / 6;
    let asking = TcpKeepalive::new()
        .with_time(after / 3)
        .with_interval(pace.max(Duration::from_secs(1)));
    // A system that refuses finds them as late as it always did.
    let _ = socket.set_tcp_keepalive(&asking);
    bound_unacknowledged(&socket, after);
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn bound_unacknowledged(socket: &Socket, after: Duration) {
    let _ = socket.set_tcp_user_timeout(Some(after));
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn bound_unacknowledged(_: &Socket, _: Duration) {}

/// Accepts from one listener, come what may.
#[derive(Debug)]
pub struct Acceptor<L> {
    listener: L,
    /// How long to wait after the next error; `None` while all is well.
    pause: Option<Duration>,
}

impl<L: Listener> Acceptor<L> {
    /// An acceptor on this listener.
    pub fn new(listener: L) -> Self {
        Self {
            listener,
            pause: None,
        }
    }

    /// The next connection and the address of its peer. Errors of single connections are passed
    /// over; others, such as a lack of file descriptors, are logged and waited out with growing
    /// pauses. Loses nothing when the future is dropped.
    pub async fn next(&mut self) -> (L::Io, SocketAddr) {
        loop {
            let error = match self.listener.accept().await {
                Ok(accepted) => {
                    self.pause = None;
                    return accepted;
                }
                Err(error) => error,
            };
            if concerns_one_connection(&error) {
                tracing::debug!(name: "accept.gone", %error, "a connection was gone before it was accepted");
                // A flood of them must not starve the other tasks.
                tokio::task::yield_now().await;
                continue;
            }
            let (first, longest) = PAUSES;
            let pause = self
                .pause
                .map_or(first, |pause| pause.saturating_mul(2).min(longest));
            self.pause = Some(pause);
            tracing::warn!(name: "accept.paused", %error, ?pause, "cannot accept connections at the moment");
            tokio::time::sleep(pause).await;
        }
    }
}

/// A port could not be opened.
#[derive(Debug, Error)]
pub enum BindError {
    /// Another program has it.
    #[error(
        "port {} of {} is in use by {by}; stop that, or choose another port",
        address.port(),
        address.ip()
    )]
    InUse {
        /// Where.
        address: SocketAddr,
        /// Which program, as far as the system tells.
        by: String,
    },
    /// The system keeps it for privileged programs.
    #[error("port {} of {} may not be opened without privileges; choose one from 1024 up", .0.port(), .0.ip())]
    Denied(SocketAddr),
    /// No interface of this host has the address.
    #[error("this host does not have the address {}", .0.ip())]
    NotHere(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The list of addresses is empty, or none of them exists on this host.
    #[error("there is no address to listen on")]
    Nothing,
}

/// Opens every port of the list, in its order. Port 0 is any free one. `0.0.0.0` and `::` can both
/// be in the list; where the host has no IPv6, `::` is passed over if something else is listed.
/// For each connection the system holds about `unsent` bytes beyond what is on its way (Linux), a
/// few times as many on a fast line; 0 leaves it to the system.
///
/// # Errors
///
/// If one of them cannot be opened; none is open then. Must be called within a tokio runtime.
pub fn bind(addresses: &[(IpAddr, u16)], unsent: usize) -> Result<Vec<TcpListener>, BindError> {
    let mut listeners = Vec::with_capacity(addresses.len());
    for (ip, port) in addresses {
        let address = SocketAddr::new(*ip, *port);
        match open(address, unsent) {
            Ok(listener) => listeners.push(listener),
            Err(error) if *ip == UNSPECIFIED_V6 && lacks_ipv6(&error) => {
                tracing::warn!(name: "server.no_ipv6", %error, "this host has no IPv6, listening without it");
            }
            Err(source) => return Err(explain(address, source)),
        }
    }
    if listeners.is_empty() {
        return Err(BindError::Nothing);
    }
    Ok(listeners)
}

const UNSPECIFIED_V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::UNSPECIFIED);

fn open(address: SocketAddr, unsent: usize) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Lets a restarted server have its port back at once. On Windows the option means that a
    // second server could take the port away.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    bound_unsent(&socket, unsent);
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn explain(address: SocketAddr, source: io::Error) -> BindError {
    match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse {
            address,
            by: holder(address.port()),
        },
        io::ErrorKind::PermissionDenied => BindError::Denied(address),
        io::ErrorKind::AddrNotAvailable => BindError::NotHere(address),
        _ => BindError::Other { address, source },
    }
}

/// Whether the host has no IPv6: its sockets are unknown, for which std has no name, or switched
/// off.
fn lacks_ipv6(error: &io::Error) -> bool {
    // EAFNOSUPPORT of Linux, of the BSDs and macOS, and of Windows.
    let unknown = matches!(error.raw_os_error(), Some(97 | 47 | 10047));
    unknown || error.kind() == io::ErrorKind::AddrNotAvailable
}

fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::HostUnreachable
            | io::ErrorKind::Interrupted
            | io::ErrorKind::NetworkDown
            | io::ErrorKind::NetworkUnreachable
    )
}

#[cfg(test)]
mod tests;
