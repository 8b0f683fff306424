//! Everybody who has a link open: what the links of one identity share.
//!
//! A [`Peer`] exists from its first link to its last (or its logout, if that is later). It is the
//! session's [`Outlet`]; connections ask it whether they belong to a user and tell it when bytes
//! arrive.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::outbox::Outbox;
use crate::session::event::End;
use crate::session::gate::Gate;
use crate::session::outlet::{Edit, Joins, Outlet, Slot};
use crate::wire::dialect::{Dialect, Heartbeat};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::role::Role;

/// How long the links of somebody who was sent away stay open, so that what was said last still
/// gets there. Closing earlier would make libzmq connect again (wire spec, §6).
const LINGER: Duration = Duration::from_secs(2);
/// A link on which nothing was pushed for so long has nothing under way.
const IDLE: Duration = Duration::from_secs(60);
/// Round trip assumed while none was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(500);
/// What an artist's client may take between receiving and having applied something.
const SLACK: Duration = Duration::from_millis(500);

/// One connection of a peer, as its tasks share it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Number of the connection, for logs.
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) address: IpAddr,
    /// Whether the peer answers heartbeats of the transport.
    pub(crate) answers_pings: bool,
    /// Ends both of its tasks.
    pub(crate) cancel: CancellationToken,
    /// Cancelled when its writer has stopped, so that a successor may write.
    pub(crate) written_off: CancellationToken,
    end: OnceLock<End>,
}

impl Link {
    pub(crate) fn new(
        id: u64,
        role: Role,
        address: IpAddr,
        answers_pings: bool,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            id,
            role,
            address,
            answers_pings,
            cancel,
            written_off: CancellationToken::new(),
            end: OnceLock::new(),
        }
    }

    /// Ends the link for this reason; the first one given counts.
    pub(crate) fn finish(&self, end: End) {
        let _ = self.end.set(end);
        self.cancel.cancel();
    }

    /// Why it ended.
    pub(crate) fn end(&self) -> End {
        self.end.get().copied().unwrap_or(End::Broken)
    }
}

/// What a peer is to the session.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Standing {
    /// It has not logged in.
    Stranger,
    /// It is a user who speaks so.
    User(&'static Dialect),
    /// It was one; its links live on for a moment, so that it learns why.
    Leaving,
}

/// What the links of one identity share.
#[derive(Debug)]
pub(crate) struct Peer {
    identity: Identity,
    framed: bool,
    pub(crate) outbox: Outbox,
    links: Mutex<Links>,
    standing: watch::Sender<Standing>,
    /// Counts logins, so that what is left of an earlier one does not end a later one.
    login: AtomicU64,
    /// Whether it was told why it is not logged in.
    told: AtomicBool,
    born: Instant,
    heard: AtomicU64,
    busy_since: AtomicU64,
    pushed: AtomicU64,
    bulk: AtomicU64,
    round_trip: AtomicU64,
    latency: AtomicU64,
    registry: Weak<Registry>,
}

#[derive(Debug, Default)]
struct Links {
    current: [Option<Arc<Link>>; 4],
    /// Roles linked since the last login.
    seen: [bool; 4],
    address: Option<IpAddr>,
}

/// What a new link found.
pub(crate) struct Attached {
    /// The link it takes the place of.
    pub(crate) replaced: Option<Arc<Link>>,
    /// Other links of the identity come from another address.
    pub(crate) elsewhere: bool,
}

impl Peer {
    fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn micros(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn moment(&self, micros: &AtomicU64) -> Instant {
        self.born + Duration::from_micros(micros.load(Ordering::Relaxed))
    }

    /// Its identity as it may be logged.
    pub(crate) fn name(&self) -> &Identity {
        &self.identity
    }

    /// Notes that bytes arrived.
    pub(crate) fn heard(&self) {
        self.heard.store(self.micros(), Ordering::Relaxed);
    }

    /// Notes that bytes of a large message arrived.
    pub(crate) fn moved_bulk(&self) {
        self.bulk.store(self.micros(), Ordering::Relaxed);
    }

    /// Notes since when the link that brings nodes has been busy without a pause.
    pub(crate) fn busy(&self, since: Instant) {
        let micros = since.saturating_duration_since(self.born).as_micros();
        let micros = u64::try_from(micros).unwrap_or(u64::MAX);
        self.busy_since.store(micros, Ordering::Relaxed);
        self.pushed.store(self.micros(), Ordering::Relaxed);
    }

    /// Notes a heartbeat's round trip, smoothed so that a single fast one does not hide a slow
    /// line; and the least of the last ones, which what held up one of them does not change.
    pub(crate) fn measured(&self, round_trip: Duration, least: Duration) {
        let least = u64::try_from(least.as_micros()).unwrap_or(u64::MAX).max(1);
        self.latency.store(least, Ordering::Relaxed);
        let new = u64::try_from(round_trip.as_micros())
            .unwrap_or(u64::MAX)
            .max(1);
        let old = self.round_trip.load(Ordering::Relaxed);
        let kept = if old == 0 || new >= old {
            new
        } else {
            old - (old - new) / 4
        };
        self.round_trip.store(kept, Ordering::Relaxed);
    }

    /// The dialect of the user this peer is, if it is one.
    pub(crate) fn dialect(&self) -> Option<&'static Dialect> {
        match *self.standing.borrow() {
            Standing::User(dialect) => Some(dialect),
            Standing::Stranger | Standing::Leaving => None,
        }
    }

    /// Whether it is a user.
    pub(crate) fn is_user(&self) -> bool {
        self.dialect().is_some()
    }

    /// Whether it has not logged in.
    pub(crate) fn is_stranger(&self) -> bool {
        matches!(*self.standing.borrow(), Standing::Stranger)
    }

    /// Tells of logins and logouts.
    pub(crate) fn standings(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// How its heartbeats are timed, once that is known.
    pub(crate) fn heartbeat(&self) -> Option<Heartbeat> {
        self.dialect().map(|dialect| dialect.heartbeat)
    }

    /// Whether this is the first time it is told that it is not logged in.
    pub(crate) fn tell_once(&self) -> bool {
        !self.told.swap(true, Ordering::Relaxed)
    }

    /// Makes a link the peer's link of its role. Refuses one of another transport, or, if
    /// `require_same`, of another address than the others.
    fn attach(&self, link: &Arc<Link>, framed: bool, require_same: bool) -> Option<Attached> {
        let mut links = self.links();
        let elsewhere = links.address.is_some_and(|address| address != link.address);
        if framed != self.framed || (elsewhere && require_same) {
            return None;
        }
        if link.role == Role::Command || links.address.is_none() {
            links.address = Some(link.address);
        }
        let index = link.role.index();
        if let Some(seen) = links.seen.get_mut(index) {
            *seen = true;
        }
        let replaced = links
            .current
            .get_mut(index)
            .and_then(|place| place.replace(Arc::clone(link)));
        drop(links);
        if let Some(old) = &replaced {
            old.finish(End::Broken);
        }
        self.heard();
        Some(Attached {
            replaced,
            elsewhere,
        })
    }

    /// Takes a link away. Returns whether it was the current one of its role.
    pub(crate) fn detach(&self, link: &Link) -> bool {
        let mut links = self.links();
        let current = links
            .current
            .get_mut(link.role.index())
            .filter(|place| place.as_ref().is_some_and(|current| current.id == link.id))
            .map(Option::take)
            .is_some();
        drop(links);
        self.forget_if_idle();
        current
    }

    /// Ends all links.
    pub(crate) fn close_links(&self, end: End) {
        let links: Vec<_> = self.links().current.iter().flatten().cloned().collect();
        for link in links {
            link.finish(end);
        }
    }

    fn forget_if_idle(&self) {
        if let Some(registry) = self.registry.upgrade() {
            registry.forget_if_idle(&self.identity);
        }
    }

    fn is_idle(&self) -> bool {
        !self.is_user() && self.links().current.iter().all(Option::is_none)
    }
}

impl Outlet for Arc<Peer> {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn address(&self) -> Option<IpAddr> {
        self.links().address
    }

    fn is_framed(&self) -> bool {
        self.framed
    }

    fn log_in(&self, dialect: &'static Dialect) {
        self.login.fetch_add(1, Ordering::Relaxed);
        self.outbox.clear();
        self.told.store(false, Ordering::Relaxed);
        let mut links = self.links();
        let present: [bool; 4] =
            std::array::from_fn(|i| links.current.get(i).is_some_and(Option::is_some));
        links.seen = present;
        drop(links);
        self.standing.send_replace(Standing::User(dialect));
    }

    fn log_out(&self) {
        let login = self.login.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.outbox.drop_data();
        self.outbox.hold(false);
        self.standing.send_replace(Standing::Leaving);
        let peer = Self::clone(self);
        tokio::spawn(async move {
            sleep(LINGER).await;
            if peer.login.load(Ordering::Relaxed) == login {
                peer.standing.send_replace(Standing::Stranger);
                peer.close_links(End::Closed);
                peer.forget_if_idle();
            }
        });
    }

    fn command(&self, slot: Slot, bytes: Encoded) {
        self.outbox.command(slot, bytes);
    }

    fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded) {
        self.outbox.edit(node, edit, bytes);
    }

    fn data(
        &self,
        node: NodeId,
        joins: Joins,
        after: &[NodeId],
        bytes: Encoded,
        now: Instant,
    ) -> usize {
        self.outbox.data(node, joins, after, bytes, now)
    }

    fn has_room(&self) -> bool {
        self.outbox.has_room()
    }

    fn is_overfull(&self) -> bool {
        self.outbox.is_overfull()
    }

    fn holds_metadata(&self, user: &str) -> bool {
        self.outbox.holds_metadata(user)
    }

    fn forget_metadata(&self, user: &str) {
        self.outbox.forget_metadata(user);
    }

    fn hold(&self, held: bool) {
        self.outbox.hold(held);
    }

    fn unseen(&self, node: NodeId, at: Instant) -> bool {
        self.outbox.unseen(node, at, self.window())
    }

    fn arrived(&self, node: NodeId) -> bool {
        !self.outbox.unseen(node, Instant::now(), Duration::ZERO)
    }

    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool {
        self.outbox.unseen_whole(node, at, self.window())
    }

    fn unseen_right(&self, node: NodeId, at: Instant) -> bool {
        self.outbox.unseen_right(node, at, self.window())
    }

    fn sent_since(&self, then: Instant) -> Vec<NodeId> {
        self.outbox.sent_since(then)
    }

    fn prune(&self, then: Instant) {
        self.outbox.prune(then);
    }

    fn is_linked(&self, role: Role) -> bool {
        self.links()
            .current
            .get(role.index())
            .is_some_and(Option::is_some)
    }

    fn was_linked(&self, role: Role) -> bool {
        self.links()
            .seen
            .get(role.index())
            .copied()
            .unwrap_or(false)
    }

    fn last_heard(&self) -> Instant {
        self.moment(&self.heard)
    }

    fn last_bulk(&self) -> Instant {
        self.moment(&self.bulk)
    }

    fn busy_since(&self) -> Instant {
        let now = Instant::now();
        if now > self.moment(&self.pushed) + IDLE {
            now
        } else {
            self.moment(&self.busy_since)
        }
    }

    fn has_no_data(&self) -> bool {
        self.outbox.has_no_data()
    }

    fn round_trip(&self) -> Option<Duration> {
        known(&self.latency)
    }

    fn window(&self) -> Duration {
        known(&self.round_trip).unwrap_or(UNKNOWN_ROUND_TRIP) + SLACK
    }
}

/// Microseconds, once they are known.
fn known(micros: &AtomicU64) -> Option<Duration> {
    match micros.load(Ordering::Relaxed) {
        0 => None,
        micros => Some(Duration::from_micros(micros)),
    }
}

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
            Arc::new(Peer {
                identity: identity.clone(),
                framed,
                outbox: Outbox::new(self.queue_budget, self.lag, self.gate.clone()),
                links: Mutex::default(),
                standing: watch::Sender::new(Standing::Stranger),
                login: AtomicU64::new(0),
                told: AtomicBool::new(false),
                born: Instant::now(),
                heard: AtomicU64::new(0),
                busy_since: AtomicU64::new(0),
                pushed: AtomicU64::new(0),
                bulk: AtomicU64::new(0),
                round_trip: AtomicU64::new(0),
                latency: AtomicU64::new(0),
                registry: Arc::downgrade(self),
            })
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

    fn forget_if_idle(&self, identity: &Identity) {
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
