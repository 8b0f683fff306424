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

/// As the configuration has it, which refuses what is inside and takes what is beside.
#[tokio::test]
async fn all_of_ipv6_holds_its_own_addresses_and_none_of_ipv4() {
    let all = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    // Somebody else may have the port in the other family, so several are tried.
    let beside = (0..20).any(|_| {
        let Ok(first) = bind(&[(all, 0)], UNSENT) else {
            println!("not tested: this machine has no IPv6");
            return true;
        };
        let port = first[0].local_addr().unwrap().port();
        let inside = bind(&[(IpAddr::V6(Ipv6Addr::LOCALHOST), port)], UNSENT);
        assert!(inside.is_err(), "{inside:?}");
        bind(&[(LOOPBACK, port)], UNSENT).is_ok()
    });
    assert!(beside);
}
