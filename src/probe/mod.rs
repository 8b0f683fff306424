//! `multi-user-server probe`: whether a session server can be reached and joined, seen from outside.
//!
//! Called by `main`. [`run`] looks at the four ports side by side, and gives a [`Report`] for
//! people ([`Display`](std::fmt::Display)) and for programs ([`Report::to_json`]).
//!
//! The server may be this one or any of the clients' own, and a session may be going on, so a
//! probe does only what any stranger may: it opens six connections under identities of their own,
//! sends the first heartbeat where heartbeats go, and asks for the server info where that is known
//! to be understood. It never tries to log in.
//!
//! - [`address`] is whom to look at.
//! - `line` opens connections, tells apart why one cannot be used, and guards the client sockets.
//! - `sockets` checks what goes over ZeroMQ, by the client sockets of the crate `zeromq`.
//! - `framed` checks the newest clients' transport, which the crate does not know.
//! - [`report`] draws the conclusions: a pure function of the [`Evidence`]; `words` tells them.

pub mod address;
mod framed;
mod line;
pub mod report;
mod sockets;
#[cfg(test)]
mod tests;
mod words;

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rand::TryRngCore;
use thiserror::Error;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

pub use self::address::Address;
pub use self::report::{Report, Verdict};
use crate::config::Clients;
use crate::wire::client;
use crate::wire::command::{CommandLimits, Request};
use crate::wire::detect::Foreign;
use crate::wire::dialect;
use crate::wire::identity::Identity;
use crate::wire::message::Message;
use crate::wire::zmtp::SocketType;

/// The highest first port: three more come after it.
pub const MAX_PORT: u16 = 65_532;

/// What all connections together found.
#[derive(Clone, Debug)]
pub struct Evidence {
    /// The host as it was asked for.
    pub host: String,
    /// The clients that a server for several kinds has to be there for.
    pub wanted: Clients,
    /// What was looked at: the address, and the first port.
    pub first: SocketAddr,
    /// Commands on p.
    pub command: Check,
    /// Commands on p over the newest clients' transport.
    pub framed: Check,
    /// Nodes on p+1.
    pub subscriber: Check,
    /// Nodes to the server on p+2, where clients up to 0.1.31 send them.
    pub publisher: Check,
    /// Heartbeats on p+2, where clients from 0.1.33 on have them.
    pub third_ttl: Check,
    /// Heartbeats on p+3, where clients up to 0.1.31 have them.
    pub fourth_ttl: Check,
    /// What the server says of itself, if it does.
    pub info: Option<Info>,
}

/// What one connection found.
pub type Check = Result<Answer, Trouble>;

/// A connection that was taken for what it was to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// How long TCP took to connect.
    pub connect: Duration,
    /// How long a heartbeat or the server info took, if it came.
    pub round_trip: Option<Duration>,
}

/// Why a connection is of no use.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Trouble {
    /// The other side, or a firewall that says so, refuses the connection.
    #[error("refused")]
    Refused,
    /// No answer at all to the attempt to connect.
    #[error("nothing answers")]
    Dropped,
    /// The network says that there is no way.
    #[error("cannot be reached from here: {0}")]
    Unreachable(String),
    /// Connected, but nothing is said there.
    #[error("takes the connection, but says nothing")]
    Silent,
    /// Connected, and closed by the other side.
    #[error("takes the connection, but hangs up")]
    HungUp,
    /// Another protocol.
    #[error("{0}")]
    Foreign(Foreign),
    /// Not as the protocol has it.
    #[error("breaks the protocol: {0}")]
    Broken(String),
    /// ZeroMQ, but not what session servers have on that port.
    #[error("a {} socket is there, which does not belong on that port", .0.name())]
    OtherSocket(SocketType),
    /// A session server's, but another one of its ports.
    #[error("another port of the session server is there")]
    OtherPort,
    /// A session server that does not answer what it should.
    #[error("takes the connection, but does not answer")]
    Mute,
}

/// What a server says of itself to anybody who asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// Whether a password is needed to join.
    pub private: bool,
    /// The clients' version, fit for a terminal.
    pub version: String,
}

/// Why nothing could be probed.
#[derive(Debug, Error)]
pub enum ProbeError {
    /// The name is unknown, or nobody could be asked.
    #[error("the address of {host} cannot be found: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the system says.
        error: io::Error,
    },
    /// There are no ports from here on.
    #[error("{0} cannot be a first port: it has to be from 1 to {MAX_PORT}")]
    Port(u16),
    /// The system gives no means.
    #[error("cannot start: {0}")]
    Start(io::Error),
}

/// Probes the server at `address`; `port` is used if that names none. A server for several kinds of
/// clients has to be there for those `wanted`. Takes `wait` at most.
///
/// # Errors
///
/// If there is nothing that could be probed.
pub fn run(
    address: &Address,
    port: u16,
    wanted: Clients,
    wait: Duration,
) -> Result<Report, ProbeError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ProbeError::Start)?;
    let evidence = runtime.block_on(gather(address, port, wanted, wait));
    // The system may still be looking for a name.
    runtime.shutdown_background();
    Ok(Report::new(&evidence?))
}

async fn gather(
    address: &Address,
    port: u16,
    wanted: Clients,
    wait: Duration,
) -> Result<Evidence, ProbeError> {
    let deadline = Instant::now() + wait;
    let port = address.port.unwrap_or(port);
    if !(1..=MAX_PORT).contains(&port) {
        return Err(ProbeError::Port(port));
    }
    let first = resolve(address, port, deadline).await?;
    let at = |offset: u16| {
        let mut at = first;
        at.set_port(port.saturating_add(offset));
        at
    };
    sockets::warm_up();
    // Whoever learns that the server knows the info request says so here (see `sockets::command`).
    let (knows_info, may_ask) = mpsc::channel(2);
    let (framed, command, subscriber, publisher, third_ttl, fourth_ttl) = tokio::join!(
        framed::command(at(0), deadline, knows_info.clone()),
        sockets::command(at(0), deadline, may_ask),
        sockets::subscriber(at(1), deadline),
        sockets::publisher(at(2), deadline),
        sockets::ttl(at(2), deadline, Some(knows_info)),
        sockets::ttl(at(3), deadline, None),
    );
    let (framed, framed_info) = framed;
    let (command, command_info) = command;
    Ok(Evidence {
        host: address.host.clone(),
        wanted,
        first,
        command,
        framed,
        subscriber,
        publisher,
        third_ttl,
        fourth_ttl,
        info: command_info.or(framed_info),
    })
}

/// The address of a name. IPv4 goes first, since that is all the clients' ZeroMQ connects to.
async fn resolve(
    address: &Address,
    port: u16,
    deadline: Instant,
) -> Result<SocketAddr, ProbeError> {
    let failed = |error| ProbeError::Resolve {
        host: address.host.clone(),
        error,
    };
    let found = timeout_at(
        deadline,
        tokio::net::lookup_host((address.host.as_str(), port)),
    )
    .await
    .map_err(|_| failed(io::ErrorKind::TimedOut.into()))?
    .map_err(failed)?;
    found
        .min_by_key(SocketAddr::is_ipv6)
        .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))
}

/// An identity nobody has used before: each connection has its own, so that none is taken for
/// part of a client.
fn fresh_identity() -> Identity {
    let mut bytes = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .ok()
        .and_then(|()| Identity::new(&bytes))
        .unwrap_or_else(Identity::anonymous)
}

/// The request for the server info, as clients of the newest generation send it. All that know it
/// send it alike.
fn info_request() -> Vec<Message> {
    let newest = dialect::dialects()
        .last()
        .unwrap_or_else(|| dialect::oldest());
    client::encode_request(newest, "guest", &Request::Info)
}

/// What an answer says, if it is the server info.
fn read_info(message: &Message) -> Option<Info> {
    match client::decode_answer(message, &CommandLimits::default()) {
        Ok(client::OwnedAnswer::Info { private, version }) => Some(Info {
            private,
            version: dialect::echoable(&version),
        }),
        _ => None,
    }
}
