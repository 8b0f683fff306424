//! Who has links: the peers by identity. Connections attach here.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Attached, Link, Peer};
use crate::ports::outbox::Outbox;
use crate::session::gate::Gate;
use crate::session::outlet::Outlet;
use crate::wire::dialect::Dialect;
use crate::wire::identity::Identity;
use crate::wire::role::Role;

/// All peers by identity.
#[derive(Debug)]
pub(crate) struct Registry {
    peers: Mutex<HashMap<Identity, Arc<Peer>>>,
    queue_budget: usize,
    lag: Duration,
    gate: Gate,
}

impl Registry {
    /// A registry whose peers' queues hold `queue_budget` bytes and may lag so far, behind a gate.
    pub(crate) fn new(queue_budget: usize, lag: Duration, gate: Gate) -> Arc<Self> {
        Arc::new(Self {
            peers: Mutex::default(),
            gate,
            queue_budget,
            lag,
        })
    }

    fn peers(&self) -> MutexGuard<'_, HashMap<Identity, Arc<Peer>>> {
        self.peers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Attaches a link to the peer of this identity, which is created if it is new. `None` if the
    /// link does not fit the peer's others.
    pub(crate) fn attach(
        self: &Arc<Self>,
        identity: &Identity,
        framed: bool,
        require_same: bool,
        link: &Arc<Link>,
    ) -> Option<(Arc<Peer>, Attached)> {
        let mut peers = self.peers();
        let peer = peers.entry(identity.clone()).or_insert_with(|| {
            let outbox = Outbox::new(self.queue_budget, self.lag, self.gate.clone());
            Arc::new(Peer::new(
                identity.clone(),
                framed,
                outbox,
                Arc::downgrade(self),
            ))
        });
        // Within the registry's lock, so that the peer is not forgotten in between.
        let attached = peer.attach(link, framed, require_same)?;
        Some((Arc::clone(peer), attached))
    }

    /// The peer of an identity, if it has a link or is logged in.
    pub(crate) fn find(&self, identity: &Identity) -> Option<Arc<Peer>> {
        self.peers().get(identity).cloned()
    }

    /// Whether a user from this address has yet to open the link on which it pushes nodes.
    pub(crate) fn awaits_publisher(&self, address: IpAddr) -> bool {
        self.peers().values().any(|peer| {
            peer.dialect().is_some_and(Dialect::has_publisher_port)
                && peer.address() == Some(address)
                && !peer.is_linked(Role::Publisher)
        })
    }

    /// Forgets a peer that has no link and is not logged in.
    pub(super) fn forget_if_idle(&self, identity: &Identity) {
        let mut peers = self.peers();
        if peers.get(identity).is_some_and(|peer| peer.is_idle()) {
            peers.remove(identity);
        }
    }

    /// Whether there is nobody.
    pub(crate) fn is_empty(&self) -> bool {
        self.peers().is_empty()
    }
}
