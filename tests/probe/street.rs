//! What lies between a probe and a server: ports that are forwarded, or swallow what comes.

use std::net::{SocketAddr, TcpListener};

use tokio::task::JoinSet;

/// Forwards a port, as a router does, for as long as the result lives.
pub(crate) fn forward(from: TcpListener, to: SocketAddr) -> JoinSet<()> {
    from.set_nonblocking(true).unwrap();
    let from = tokio::net::TcpListener::from_std(from).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut lines = JoinSet::new();
        while let Ok((mut here, _)) = from.accept().await {
            lines.spawn(async move {
                let Ok(mut there) = tokio::net::TcpStream::connect(to).await else {
                    return;
                };
                let _ = tokio::io::copy_bidirectional(&mut here, &mut there).await;
            });
        }
    });
    tasks
}

/// A port that does not even take connections: its queue has room for one, which is there. Linux does
/// not answer further ones then, as if a firewall dropped them.
#[cfg(target_os = "linux")]
pub(crate) fn full(listener: TcpListener) -> (TcpListener, std::net::TcpStream) {
    socket2::SockRef::from(&listener).listen(0).unwrap();
    let place = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (listener, place)
}
