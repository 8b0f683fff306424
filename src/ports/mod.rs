//! The port roles: one task each for command, subscriber, publisher and TTL, between the
//! connections and the session.
//!
//! An accepted connection is admitted and opened (`connection`), entered with the task of its
//! role (`role`) under its identity (`peer`), and then read and written by tasks of its own
//! (`read`, `write`). What it receives goes through its role's task, which turns frames into session
//! events; what the session says goes into the peer's [`outbox`], from which the connection's
//! writer takes it.

mod command;
mod connection;
mod context;
#[cfg(test)]
mod linked;
mod nodes;
pub mod outbox;
mod peer;
mod publisher;
mod read;
mod role;
mod subscriber;
mod ttl;
mod vet;
mod write;

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::connection::Roles;
use self::context::{Context, PortLimits, Timing};
pub(crate) use self::peer::Peer;
use self::peer::Registry;
use crate::config::Config;
use crate::counters::Counters;
use crate::memory::{pages, spare};
use crate::net::Rate;
use crate::net::admission::{Admission, AdmissionConfig};
use crate::net::handshake::Offered;
use crate::net::listen::{Acceptor, Listener};
use crate::session::Handle;
use crate::wire::role::Role;

/// How often admission forgets addresses that have gone, and memory that nobody uses is given back.
const SWEEP: Duration = Duration::from_secs(60);
/// Connections on which nobody is logged in for which there is always a place at an address where
/// users are, besides as many as those have links; and for how long beyond the grace of a broken
/// link: who has to join again gets in, too.
const HOME_PLACES: usize = 16;
const HOME_KEPT: Duration = Duration::from_secs(300);

/// All ports of a server.
#[derive(Debug)]
pub(crate) struct Ports {
    context: Context,
    roles: Roles,
    accepting: CancellationToken,
    closing: CancellationToken,
    tasks: TaskTracker,
}

impl Ports {
    /// Starts the role tasks. Heartbeats run on `heartbeats` if it is given; `shared_addresses` are
    /// those under which many clients may appear.
    pub(crate) fn start(
        config: &Config,
        max_node: usize,
        session: Handle<Arc<Peer>>,
        counters: Arc<Counters>,
        heartbeats: Option<tokio::runtime::Handle>,
        shared_addresses: Vec<IpAddr>,
    ) -> Self {
        let queue_budget = config.net.peer_queue.as_usize();
        let registry = Registry::new(queue_budget, config.net.lag, session.gate());
        let context = Context {
            session,
            registry,
            admission: Admission::new(admission_config(config, shared_addresses)),
            counters,
            limits: Arc::new(PortLimits::new(config, max_node)),
            timing: Arc::new(Timing::new(config)),
            same_address: config.net.same_address,
            offered: Offered {
                zmtp: config.session.clients.zmtp(),
                framed: config.session.clients.framed(),
            },
            helpers: vet::helpers(config.runtime.worker_threads),
        };
        let roles = Roles {
            command: role::spawn(Role::Command, context.clone()),
            subscriber: role::spawn(Role::Subscriber, context.clone()),
            publisher: role::spawn(Role::Publisher, context.clone()),
            ttl: role::spawn(Role::Ttl, context.clone()),
            heartbeats,
        };
        let ports = Self {
            context,
            roles,
            accepting: CancellationToken::new(),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
        };
        ports.sweep();
        ports
    }

    /// Accepts connections on a listener of port p + `offset`.
    pub(crate) fn listen<L: Listener>(&self, listener: L, offset: u16) {
        let mut acceptor = Acceptor::new(listener);
        let (context, roles) = (self.context.clone(), self.roles.clone());
        let (accepting, closing) = (self.accepting.clone(), self.closing.clone());
        let tasks = self.tasks.clone();
        self.tasks.spawn(async move {
            loop {
                let (io, peer) = tokio::select! {
                    () = accepting.cancelled() => return,
                    accepted = acceptor.next() => accepted,
                };
                tasks.spawn(connection::serve::<L>(
                    io,
                    peer.ip(),
                    offset,
                    context.clone(),
                    roles.clone(),
                    closing.clone(),
                ));
            }
        });
    }

    /// The session behind the ports.
    pub(crate) fn session(&self) -> &Handle<Arc<Peer>> {
        &self.context.session
    }

    /// Accepts no further connections.
    pub(crate) fn stop_accepting(&self) {
        self.accepting.cancel();
    }

    /// Whether anybody has a link or is logged in.
    pub(crate) fn has_peers(&self) -> bool {
        !self.context.registry.is_empty()
    }

    /// Ends all connections and waits until they are gone.
    pub(crate) async fn close(&self) {
        self.stop_accepting();
        self.closing.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    fn sweep(&self) {
        let (admission, accepting) = (self.context.admission.clone(), self.accepting.clone());
        self.tasks.spawn(async move {
            loop {
                tokio::select! {
                    () = accepting.cancelled() => return,
                    () = tokio::time::sleep(SWEEP) => {
                        admission.sweep();
                        spare::clear();
                        pages::clear();
                    }
                }
            }
        });
    }
}

/// Admission's limits from the configuration.
fn admission_config(config: &Config, shared_addresses: Vec<IpAddr>) -> AdmissionConfig {
    let net = &config.net;
    let rate = |burst: NonZeroU32, often: NonZeroU32, within: Duration| Rate {
        burst: burst.get(),
        every: within / often.get(),
    };
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    AdmissionConfig {
        connections: net.max_connections,
        strangers: net.max_unauthenticated,
        source_connections: net.max_per_address,
        source_strangers: net.unauthenticated_per_address(),
        home_places: HOME_PLACES,
        home_kept: net.grace.saturating_add(HOME_KEPT),
        stranger_memory: net.unauthenticated_buffer.as_usize(),
        strangers_memory: net.unauthenticated_total.as_usize(),
        accepts: rate(net.accepts_burst, net.accepts_per_second, second),
        source_accepts: rate(
            net.accepts_per_address_burst,
            net.accepts_per_address,
            second,
        ),
        source_newcomers: rate(net.connections_burst, net.connections_per_minute, minute),
        source_logins: rate(net.logins_burst, net.logins_per_minute, minute),
        shared: shared_addresses,
        shared_logins: rate(net.connections_burst, net.connections_per_minute, minute),
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::net::admission::Permit;

    /// At a school, or through a tunnel.
    #[test]
    fn a_full_session_may_come_from_one_address_at_once() {
        let (config, here) = (Config::default(), IpAddr::V4(Ipv4Addr::LOCALHOST));
        for shared in [Vec::new(), vec![here]] {
            let admission = Admission::new(admission_config(&config, shared));
            let mut permits = Vec::new();
            for user in 0..config.session.max_users {
                let identity = user.to_be_bytes();
                let links: [Permit; 4] = std::array::from_fn(|link| {
                    let permit = admission.admit(here).unwrap();
                    permit.identify(&identity, link > 0).unwrap();
                    permit
                });
                admission.login_attempt(here, &identity).unwrap();
                // On the publisher's port nobody is known before the first node.
                let [command, subscriber, _publisher, ttl] = &links;
                [command, subscriber, ttl]
                    .into_iter()
                    .for_each(Permit::promote);
                permits.push(links);
            }
            let elsewhere = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1));
            assert!(admission.admit(elsewhere).is_ok());
        }
    }
}
