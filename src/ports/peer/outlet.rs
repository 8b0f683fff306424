//! What a peer is to the session: where it puts what it says, and what it asks of the links.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Link, Peer, Standing};
use crate::session::event::End;
use crate::session::outlet::{Edit, FRESH_LOGIN, Joins, Outlet, Slot, Taken};
use crate::wire::dialect::Dialect;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::role::Role;

/// How long the links of somebody who was sent away stay open, so that what was said last still
/// gets there. Closing earlier would make libzmq connect again (wire spec, §6).
pub(super) const LINGER: Duration = Duration::from_secs(2);
/// A link on which nothing was pushed for so long has nothing under way.
const IDLE: Duration = Duration::from_secs(60);
/// Round trip assumed while none was measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(500);
/// What an artist's client may take between receiving and having applied something.
const SLACK: Duration = Duration::from_millis(500);

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
        // What was pushed before is not this login's.
        let now = self.micros();
        self.busy_since.store(now, Ordering::Relaxed);
        self.pushed.store(now, Ordering::Relaxed);
        self.cut_off.store(0, Ordering::Relaxed);
        let mut links = self.links();
        let present: [bool; 4] =
            std::array::from_fn(|i| links.current.get(i).is_some_and(Option::is_some));
        links.seen = present;
        drop(links);
        self.standing.send_replace(Standing::User(dialect));
    }

    fn log_out(&self) {
        let login = self.login.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        self.outbox.take_back();
        self.standing.send_replace(Standing::Leaving);
        if self.outbox.is_held() {
            release_later(self);
        }
        let links = self.current_links();
        let peer = Self::clone(self);
        tokio::spawn(async move {
            let is_over = || peer.login.load(Ordering::Relaxed) != login;
            sleep(LINGER).await;
            if is_over() {
                return;
            }
            peer.standing.send_replace(Standing::Stranger);
            let (old, new): (Vec<_>, Vec<_>) = peer
                .current_links()
                .into_iter()
                .partition(|link| links.iter().any(|old| old.id == link.id));
            close(&old);
            if !new.is_empty() {
                // A login may be on its way over one that came just now.
                sleep(FRESH_LOGIN).await;
                if is_over() {
                    return;
                }
                close(&new);
            }
            peer.forget_if_idle();
        });
    }

    fn start_over(&self) {
        if matches!(*self.standing.borrow(), Standing::Leaving) {
            self.outbox.clear();
        }
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
    ) -> Taken {
        let window = || self.window();
        self.outbox.data(node, joins, after, bytes, now, window)
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

    fn take_back(&self) -> Vec<NodeId> {
        self.outbox.take_back()
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

    fn remembers(&self, then: Instant) -> bool {
        self.outbox.remembers(then)
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
        let pushed = self.moment(&self.pushed);
        let cut_off = self.moment(&self.cut_off);
        if cut_off > pushed && now <= cut_off + IDLE {
            // What has waited since then may be on its way over another link.
            pushed
        } else if now > pushed + IDLE {
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

/// Lets what waits for the login that has ended go, unless another one comes over the link that is new: the
/// client that it is for may have come back.
pub(super) fn release_later(peer: &Arc<Peer>) {
    let login = peer.login.load(Ordering::Relaxed);
    let peer = Arc::clone(peer);
    tokio::spawn(async move {
        sleep(FRESH_LOGIN).await;
        if peer.login.load(Ordering::Relaxed) == login {
            peer.outbox.hold(false);
        }
    });
}

fn close(links: &[Arc<Link>]) {
    for link in links {
        link.finish(End::Closed);
    }
}

/// Microseconds, once they are known.
fn known(micros: &AtomicU64) -> Option<Duration> {
    match micros.load(Ordering::Relaxed) {
        0 => None,
        micros => Some(Duration::from_micros(micros)),
    }
}
