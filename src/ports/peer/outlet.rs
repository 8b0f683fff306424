//! What a peer is to the session: where it puts what it says, and what it asks of the links.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Peer, Standing};
use crate::session::event::End;
use crate::session::outlet::{Edit, Joins, Outlet, Slot};
use crate::wire::dialect::Dialect;
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
        self.outbox.take_back();
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
