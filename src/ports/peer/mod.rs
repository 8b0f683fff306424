//! Everybody who has a link open: what the links of one identity share.
//!
//! A [`Peer`] exists from its first link to its last (or its logout, if that is later). It is the
//! session's [`Outlet`](crate::session::Outlet); connections ask it whether they belong to a user and tell it when bytes
//! arrive.

mod link;
mod outlet;
mod registry;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

pub(crate) use self::link::Link;
pub(crate) use self::registry::Registry;
use super::outbox::Outbox;
use crate::session::event::End;
use crate::wire::dialect::{Dialect, Heartbeat};
use crate::wire::identity::Identity;
use crate::wire::role::Role;

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
    /// When the last bytes came over the link that brings nodes, and when one of those ended.
    pushed: AtomicU64,
    cut_off: AtomicU64,
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
    /// One without links.
    fn new(identity: Identity, framed: bool, outbox: Outbox, registry: Weak<Registry>) -> Self {
        Self {
            identity,
            framed,
            outbox,
            links: Mutex::default(),
            standing: watch::Sender::new(Standing::Stranger),
            login: AtomicU64::new(0),
            told: AtomicBool::new(false),
            born: Instant::now(),
            heard: AtomicU64::new(0),
            busy_since: AtomicU64::new(0),
            pushed: AtomicU64::new(0),
            cut_off: AtomicU64::new(0),
            bulk: AtomicU64::new(0),
            round_trip: AtomicU64::new(0),
            latency: AtomicU64::new(0),
            registry,
        }
    }

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

    /// When what comes first over a new link that brings nodes was sent at the earliest: it may have
    /// waited at the client since the one before broke. `None` if there was none.
    pub(crate) fn waited_since(&self, role: Role) -> Option<Instant> {
        let was_cut_off = self.cut_off.load(Ordering::Relaxed) != 0;
        (was_cut_off && self.brings_nodes(role)).then(|| self.moment(&self.pushed))
    }

    /// Whether it pushes nodes over links of this role.
    pub(crate) fn brings_nodes(&self, role: Role) -> bool {
        match role {
            Role::Publisher => true,
            Role::Subscriber => self.dialect().is_none_or(|d| !d.has_publisher_port()),
            Role::Command | Role::Ttl => false,
        }
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
            self.note_cut_off(link.role);
            old.finish(End::Broken);
        }
        self.heard();
        Some(Attached {
            replaced,
            elsewhere,
        })
    }

    /// A link came up. What waits is held back until it is known whether this goes on with a login or starts
    /// another, which is for the session to tell of a user. Returns whether it is one.
    pub(crate) fn linked(self: &Arc<Self>, role: Role) -> bool {
        let holds = matches!(role, Role::Command | Role::Subscriber) && !self.is_stranger();
        if holds {
            self.outbox.hold(true);
        }
        // It may have left meanwhile.
        let standing = *self.standing.borrow();
        match standing {
            Standing::User(_) => return true,
            Standing::Leaving if holds => outlet::release_later(self),
            Standing::Stranger if holds => self.outbox.hold(false),
            Standing::Leaving | Standing::Stranger => {}
        }
        false
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
        if current {
            self.note_cut_off(link.role);
        }
        self.forget_if_idle();
        current
    }

    fn note_cut_off(&self, role: Role) {
        if self.brings_nodes(role) {
            self.cut_off.store(self.micros().max(1), Ordering::Relaxed);
        }
    }

    fn current_links(&self) -> Vec<Arc<Link>> {
        self.links().current.iter().flatten().cloned().collect()
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
