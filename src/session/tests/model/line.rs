//! The line between a client and the session: the real queues, but time as the model has it.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::{DELAY, WRITING};
use crate::ports::outbox::Outbox;
use crate::session::outlet::{Edit, Joins, Outlet, Slot, Taken};
use crate::wire::dialect::Dialect;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::role::Role;

/// What the session holds of a client.
#[derive(Clone, Debug)]
pub(super) struct Line(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) identity: Identity,
    pub(super) outbox: Outbox,
    pub(super) dialect: Mutex<Option<&'static Dialect>>,
    pub(super) clock: Arc<Mutex<Instant>>,
    pub(super) framed: bool,
}

impl Outlet for Line {
    fn identity(&self) -> &Identity {
        &self.0.identity
    }
    fn address(&self) -> Option<IpAddr> {
        None
    }
    fn is_framed(&self) -> bool {
        self.0.framed
    }
    fn log_in(&self, dialect: &'static Dialect) {
        self.0.outbox.clear();
        *self.0.dialect.lock().unwrap() = Some(dialect);
    }
    fn log_out(&self) {
        self.0.outbox.take_back();
        self.0.outbox.hold(false);
        *self.0.dialect.lock().unwrap() = None;
    }
    fn start_over(&self) {}
    fn command(&self, slot: Slot, bytes: Encoded) {
        self.0.outbox.command(slot, bytes);
    }
    fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded) {
        self.0.outbox.edit(node, edit, bytes);
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
        self.0.outbox.data(node, joins, after, bytes, now, window)
    }
    fn has_room(&self) -> bool {
        self.0.outbox.has_room()
    }
    fn is_overfull(&self) -> bool {
        false
    }
    fn holds_metadata(&self, user: &str) -> bool {
        self.0.outbox.holds_metadata(user)
    }
    fn forget_metadata(&self, user: &str) {
        self.0.outbox.forget_metadata(user);
    }
    fn take_back(&self) -> Vec<NodeId> {
        self.0.outbox.take_back()
    }
    fn hold(&self, held: bool) {
        self.0.outbox.hold(held);
    }
    fn unseen(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen(node, at, self.window())
    }
    fn arrived(&self, node: NodeId) -> bool {
        let now = *self.0.clock.lock().unwrap();
        !self.0.outbox.unseen(node, now, Duration::ZERO)
    }
    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen_whole(node, at, self.window())
    }
    fn unseen_right(&self, node: NodeId, at: Instant) -> bool {
        self.0.outbox.unseen_right(node, at, self.window())
    }
    fn sent_since(&self, then: Instant) -> Vec<NodeId> {
        self.0.outbox.sent_since(then)
    }
    fn remembers(&self, then: Instant) -> bool {
        self.0.outbox.remembers(then)
    }
    fn prune(&self, then: Instant) {
        self.0.outbox.prune(then);
    }
    fn is_linked(&self, _: Role) -> bool {
        true
    }
    fn was_linked(&self, _: Role) -> bool {
        true
    }
    fn last_heard(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn last_bulk(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn busy_since(&self) -> Instant {
        *self.0.clock.lock().unwrap()
    }
    fn has_no_data(&self) -> bool {
        self.0.outbox.has_no_data()
    }
    fn round_trip(&self) -> Option<Duration> {
        None
    }
    fn window(&self) -> Duration {
        Duration::from_millis(2 * DELAY + WRITING + 10)
    }
}
