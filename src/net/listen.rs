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
mod tests {
    use std::collections::VecDeque;
    use std::net::{Ipv4Addr, Ipv6Addr};

    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::net::TcpStream;
    use tokio::time::Instant;

    use super::*;

    const UNSENT: usize = 64 * 1024;
    const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
    const PEER: SocketAddr = SocketAddr::new(LOOPBACK, 9);

    /// Accepts what it was told to, then waits for ever.
    struct Script(VecDeque<io::Result<DuplexStream>>);

    impl Listener for Script {
        type Io = DuplexStream;

        async fn accept(&mut self) -> io::Result<(DuplexStream, SocketAddr)> {
            match self.0.pop_front() {
                Some(result) => result.map(|io| (io, PEER)),
                None => std::future::pending().await,
            }
        }

        fn local_addr(&self) -> io::Result<SocketAddr> {
            Ok(PEER)
        }
    }

    fn out_of_descriptors() -> io::Result<DuplexStream> {
        // EMFILE
        Err(io::Error::from_raw_os_error(24))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lack_of_descriptors_is_waited_out() {
        let mut script: VecDeque<_> = (0..10).map(|_| out_of_descriptors()).collect();
        script.push_back(Ok(duplex(1).0));
        script.push_back(out_of_descriptors());
        script.push_back(Ok(duplex(1).0));
        let mut acceptor = Acceptor::new(Script(script));
        let start = Instant::now();
        assert_eq!(acceptor.next().await.1, PEER);
        // 5 + 10 + … + 640 ms, then twice the longest pause.
        let spent = start.elapsed();
        assert!(spent >= Duration::from_millis(3275), "{spent:?}");
        assert!(spent < Duration::from_millis(3300), "{spent:?}");
        let start = Instant::now();
        acceptor.next().await;
        assert!(start.elapsed() < Duration::from_millis(10));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_are_gone_cost_no_time() {
        let gone = || Err(io::ErrorKind::ConnectionAborted.into());
        let mut script: VecDeque<_> = (0..100).map(|_| gone()).collect();
        script.push_back(Ok(duplex(1).0));
        let start = Instant::now();
        Acceptor::new(Script(script)).next().await;
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test]
    async fn accepts_over_tcp_without_delay() {
        let listener = bind(&[(LOOPBACK, 0)], UNSENT).unwrap().remove(0);
        let address = listener.local_addr().unwrap();
        let mut acceptor = Acceptor::new(listener);
        let mut client = TcpStream::connect(address).await.unwrap();
        let (mut stream, peer) = acceptor.next().await;
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(stream.stream().nodelay().unwrap());
        #[cfg(target_os = "linux")]
        {
            let unsent = socket2::SockRef::from(stream.stream()).tcp_notsent_lowat();
            assert_eq!(
                unsent.unwrap() as usize,
                UNSENT,
                "inherited from the listener"
            );
        }
        client.write_all(b"x").await.unwrap();
        assert_eq!(stream.read_u8().await.unwrap(), b'x');
    }

    /// A peer that has lost its line says nothing of that.
    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_system_looks_for_connections_that_are_dead() {
        let after = Duration::from_secs(35);
        let listener = bind(&[(LOOPBACK, 0)], UNSENT).unwrap().remove(0);
        find_dead(&listener, after);
        let address = listener.local_addr().unwrap();
        let mut acceptor = Acceptor::new(listener);
        let (_client, (stream, _)) = tokio::join!(TcpStream::connect(address), acceptor.next());
        let socket = SockRef::from(stream.stream());
        assert_eq!(socket.tcp_user_timeout().unwrap(), Some(after));
        assert!(socket.keepalive().unwrap());
        assert!(socket.tcp_keepalive_time().unwrap() < after);
    }

    #[test]
    fn a_connection_outlives_the_runtime_that_accepted_it() {
        let accepting = tokio::runtime::Runtime::new().unwrap();
        let (mut client, accepted) = accepting.block_on(async {
            let mut listener = bind(&[(LOOPBACK, 0)], UNSENT).unwrap().remove(0);
            let address = Listener::local_addr(&listener).unwrap();
            let client = std::net::TcpStream::connect(address).unwrap();
            (client, Listener::accept(&mut listener).await.unwrap().0)
        });
        let adopting = tokio::runtime::Runtime::new().unwrap();
        let adopted = adopting.block_on(async { TcpListener::adopt(accepted).unwrap() });
        drop(accepting);
        io::Write::write_all(&mut client, b"x").unwrap();
        let mut adopted = adopted;
        let read = adopting.block_on(async { adopted.read_u8().await.unwrap() });
        assert_eq!(read, b'x');
    }

    #[tokio::test]
    async fn a_port_in_use_is_named() {
        let first = bind(&[(LOOPBACK, 0)], UNSENT).unwrap().remove(0);
        let address = first.local_addr().unwrap();
        let error = bind(&[(LOOPBACK, 0), (LOOPBACK, address.port())], UNSENT).unwrap_err();
        let text = format!(
            "port {} of 127.0.0.1 is in use by {}; stop that, or choose another port",
            address.port(),
            holder(address.port())
        );
        assert_eq!(error.to_string(), text);
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_named() {
        let elsewhere = IpAddr::from([192, 0, 2, 1]);
        let error = bind(&[(elsewhere, 0)], UNSENT).unwrap_err();
        assert_eq!(
            error.to_string(),
            "this host does not have the address 192.0.2.1"
        );
        assert!(matches!(bind(&[], UNSENT), Err(BindError::Nothing)));
    }

    #[tokio::test]
    async fn both_families_share_a_port() {
        let v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
        let v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
        // Somebody else may have the port in the other family, so several are tried.
        let shared = (0..20).any(|_| {
            let first = bind(&[(v4, 0)], UNSENT).unwrap();
            let port = first[0].local_addr().unwrap().port();
            match bind(&[(v6, port)], UNSENT) {
                Ok(second) => second[0].local_addr().unwrap().port() == port,
                // Without IPv6 on the host there is nothing left of the list.
                Err(BindError::Nothing) => true,
                Err(_) => false,
            }
        });
        assert!(shared);
    }
}
