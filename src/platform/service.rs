//! What a service manager (systemd) does for the server and wants to know from it: sockets it
//! holds, readiness, signs of life. All of it does nothing where there is none.

use std::io;

use thiserror::Error;
use tokio::net::TcpListener;

use crate::session::{Handle, Outlet};

/// Sockets that were handed over cannot be used.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// One is no TCP listener.
    #[error("a socket handed over by the service manager cannot be used: {0}")]
    Socket(#[from] io::Error),
    /// One has a port that is none of the session's.
    #[error(
        "the service manager hands over port {port}, but the session's ports are {first} to {last}: \
         name the sockets command, subscriber, publisher and ttl (FileDescriptorName=), or make the \
         ports match"
    )]
    Port {
        /// Its port.
        port: u16,
        /// The configured port.
        first: u16,
        /// The last of the ports that belong to it.
        last: u16,
    },
}

/// Names by which a socket unit can say which port a socket is, in the order of the ports.
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "no systemd there")
)]
const NAMES: [&str; 4] = ["command", "subscriber", "publisher", "ttl"];

/// The sockets the service manager holds open for the session, each with the distance of its port
/// from the base port. Empty if there are none.
///
/// # Errors
///
/// If one of them is of no use.
#[cfg(target_os = "linux")]
pub(crate) fn sockets(base_port: u16) -> Result<Vec<(TcpListener, u16)>, ServiceError> {
    let mut handed_over = listenfd::ListenFd::from_env();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<&str> = names.split(':').collect();
    let mut listeners = Vec::new();
    for index in 0..handed_over.len() {
        let Some(listener) = handed_over.take_tcp_listener(index)? else {
            continue;
        };
        let port = listener.local_addr()?.port();
        let name = names.get(index).copied().unwrap_or_default();
        let offset = offset(name, port, base_port)?;
        listener.set_nonblocking(true)?;
        listeners.push((TcpListener::from_std(listener)?, offset));
    }
    Ok(listeners)
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn sockets(_: u16) -> Result<Vec<(TcpListener, u16)>, ServiceError> {
    Ok(Vec::new())
}

/// Which of the session's ports a socket is, by its name or else by its number.
#[cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "no systemd there")
)]
fn offset(name: &str, port: u16, base_port: u16) -> Result<u16, ServiceError> {
    let named = NAMES
        .into_iter()
        .zip(0u16..)
        .find(|(known, _)| *known == name);
    let counted = port.checked_sub(base_port).filter(|offset| *offset < 4);
    named
        .map(|(_, offset)| offset)
        .or(counted)
        .ok_or_else(|| ServiceError::Port {
            port,
            first: base_port,
            last: base_port.saturating_add(3),
        })
}

/// Says that the server serves once its session is loaded, until then that this takes time, and from
/// then on that the session is alive, as often as is wanted.
#[cfg(target_os = "linux")]
pub(crate) fn ready<O: Outlet + Sync>(session: &Handle<O>) {
    use std::time::Duration;

    use sd_notify::NotifyState;
    use tokio::time::timeout;
    /// How much more time is asked for at a time, and how often that is done.
    const MORE: Duration = Duration::from_secs(30);
    const OFTEN: Duration = Duration::from_secs(5);

    let session = session.clone();
    tokio::spawn(async move {
        let loaded = session.ask(|_, _| ());
        tokio::pin!(loaded);
        loop {
            match timeout(OFTEN, &mut loaded).await {
                Ok(Some(())) => break,
                // It never will be.
                Ok(None) => return,
                Err(_) => {
                    let more = u32::try_from(MORE.as_micros()).unwrap_or(u32::MAX);
                    let _ = sd_notify::notify(&[NotifyState::ExtendTimeoutUsec(more)]);
                }
            }
        }
        // An error says that nobody wants to know.
        let _ = sd_notify::notify(&[NotifyState::Ready]);
        let Some(deadline) = sd_notify::watchdog_enabled() else {
            return;
        };
        // The session's answer is the sign of life: a hung session gets none out.
        while session.ask(|_, _| ()).await.is_some() {
            let _ = sd_notify::notify(&[NotifyState::Watchdog]);
            tokio::time::sleep(deadline / 3).await;
        }
    });
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn ready<O: Outlet + Sync>(_: &Handle<O>) {}

/// Says that the server is about to end.
pub(crate) fn stopping() {
    #[cfg(target_os = "linux")]
    let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sockets_are_known_by_name_or_port() {
        assert_eq!(offset("ttl", 80, 5555).unwrap(), 3);
        assert_eq!(offset("x.socket", 5557, 5555).unwrap(), 2);
        let error = offset("unknown", 5559, 5555).unwrap_err().to_string();
        assert!(error.contains("5559"), "{error}");
        assert!(offset("", 80, 5555).is_err());
    }
}
