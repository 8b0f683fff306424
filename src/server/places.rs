//! Where a server listens: opens the configured addresses, and says which ports have to be forwarded
//! for whom.

use std::net::{IpAddr, SocketAddr};

use tokio::net::TcpListener;
use tracing::{info, warn};

use super::StartError;
use crate::config::{Clients, Config, Era};
use crate::net::listen::{BindError, bind};

/// Opens the ports of all addresses. Ports of the default addresses may be missing if the host
/// does not have their kind.
pub(super) fn open(config: &Config) -> Result<Vec<(TcpListener, u16)>, StartError> {
    let mut listeners = Vec::new();
    for ip in &config.bind {
        let wanted: Vec<(IpAddr, u16)> = (0..config.session.clients.ports())
            .map(|offset| {
                let port = if config.port == 0 {
                    0
                } else {
                    config.port.saturating_add(offset)
                };
                (*ip, port)
            })
            .collect();
        match bind(&wanted, config.net.send_buffer.as_usize()) {
            Ok(bound) => listeners.extend(bound.into_iter().zip(0..)),
            Err(error @ (BindError::Nothing | BindError::NotHere(_) | BindError::Other { .. }))
                if config.may_be_missing(*ip) && config.bind.len() > 1 =>
            {
                warn!(name: "server.address_missing", address = %ip, %error, "not listening here");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if listeners.is_empty() {
        return Err(BindError::Nothing.into());
    }
    Ok(listeners)
}

/// Says where the server is, for whom which ports have to be forwarded, and what is unwise.
pub(super) fn announce(config: &Config, addresses: &[SocketAddr]) {
    for address in addresses {
        info!(name: "server.listening", %address, "listening");
    }
    if config.bind.iter().all(IpAddr::is_ipv6) {
        warn!(name: "server.no_ipv4", "bind has no IPv4 address: no add-on can connect, since all of \
            them speak IPv4 only");
    }
    let p = config.port;
    if p != 0 {
        let wanted = forwarding(&config.session.clients, p).join(", ");
        info!(name: "server.forward", "to be reached from outside, forward TCP ports {wanted}");
    }
    if config.session.server_password.is_none() {
        let public = config.bind.iter().any(|ip| !ip.is_loopback());
        if public {
            warn!(name: "server.open", "no server password is set: everybody who reaches this \
                server can join");
        }
    }
}

/// The ports to forward, and for whom.
fn forwarding(clients: &Clients, p: u16) -> Vec<String> {
    let (two, three) = (p.saturating_add(2), p.saturating_add(3));
    let texts = [
        (
            Era::FourPorts,
            format!("{p}-{three} for add-ons up to 0.3 (replication up to 0.1.31)"),
        ),
        (
            Era::ThreePorts,
            format!("{p}-{two} for add-ons from 0.4 on (replication 0.1.33 to 0.9.11)"),
        ),
        (
            Era::OnePort,
            format!("{p} alone for the newest (replication from 0.9.12 on)"),
        ),
    ];
    let texts = texts.into_iter().filter(|(era, _)| clients.has(*era));
    texts.map(|(_, text)| text).collect()
}
