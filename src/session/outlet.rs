//! What the session needs of a peer: somewhere to put what it says, and what is known of the line.
//!
//! The ports implement [`Outlet`] with real links; the session's tests with a recorder. Nothing
//! here waits: pushing never blocks, whatever the state of the peer.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::wire::dialect::Dialect;
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::Encoded;
use crate::wire::role::Role;

/// How long after a link came up a login may still come over it, which would make it a new start rather than
/// the same client going on.
pub(crate) const FRESH_LOGIN: Duration = Duration::from_millis(700);

/// What a queued command is, as far as a newer one may take its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Must be delivered as it is.
    Plain,
    /// The users dict: only the latest counts.
    Users,
    /// A user's metadata: the newer one holds all of the older one.
    Metadata(Arc<str>),
}

/// A change of a node that travels on the command link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The node is gone.
    Delete,
    /// The node has another owner.
    Right,
}

/// How new data of a node joins what is queued of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joins {
    /// It is the whole state: whatever is queued of the node is obsolete.
    Replaces,
    /// It is a newer whole state: it takes the place of what is queued if the peer is behind on the
    /// node, and follows it otherwise.
    Renews,
    /// It builds on what is queued or was sent before.
    Follows,
}

/// What a peer's queue did with data of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// Queued. So many bytes of the node wait there now, if the peer is behind on it; otherwise 0.
    Queued(usize),
    /// Not queued: what builds on a node that was made anew must not get there behind a Delete of the old one, and
    /// that may not have got there before the node. The whole state is to be sent a round trip later.
    Refused,
}

/// A frame whose place in the order is not certain at the peer and that wants repeating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repeat {
    /// The node.
    pub node: NodeId,
    /// Whether its data (and not only the Delete or Right) is to be sent again.
    pub data: bool,
}

/// One peer's queues and line.
pub trait Outlet: Clone + Send + 'static {
    /// Who it is.
    fn identity(&self) -> &Identity;
    /// Where its command link comes from.
    fn address(&self) -> Option<IpAddr>;
    /// Whether it speaks the newest clients' transport.
    fn is_framed(&self) -> bool;

    /// Raises the limits of its links to those of a user and starts with empty queues.
    fn log_in(&self, dialect: &'static Dialect);
    /// Takes the user's rights from its links. What is queued as commands still leaves, then
    /// they are closed.
    fn log_out(&self);
    /// A login came: what still waits for a user it was before is not for this one.
    fn start_over(&self);

    /// Queues a command.
    fn command(&self, slot: Slot, bytes: Encoded);
    /// Queues a Delete or Right behind the node's data.
    fn edit(&self, node: NodeId, edit: Edit, bytes: Encoded);
    /// Queues data of a node at the moment `now`, behind the nodes in `after` if they are queued.
    fn data(
        &self,
        node: NodeId,
        joins: Joins,
        after: &[NodeId],
        bytes: Encoded,
        now: Instant,
    ) -> Taken;
    /// Whether bulk may be queued. If not, an event tells when it may again.
    fn has_room(&self) -> bool;
    /// Whether the peer takes nothing although only commands are queued.
    fn is_overfull(&self) -> bool;
    /// Whether metadata of this user is queued.
    fn holds_metadata(&self, user: &str) -> bool;
    /// Drops queued metadata of a user.
    fn forget_metadata(&self, user: &str);
    /// Takes back all data that is queued. Returns whose it was, in the order of the queue.
    fn take_back(&self) -> Vec<NodeId>;
    /// Holds everything back, or lets it go.
    fn hold(&self, held: bool);

    /// Whether something of the node that was meant for the peer may not have reached it when
    /// the peer sent what began to arrive at `at`.
    fn unseen(&self, node: NodeId, at: Instant) -> bool;
    /// Whether everything of the node that was meant for the peer has got there, as far as can be
    /// told. (It may be a while until the peer has dealt with it.)
    fn arrived(&self, node: NodeId) -> bool;
    /// As [`Outlet::unseen`] for whole states of the node alone.
    fn unseen_whole(&self, node: NodeId, at: Instant) -> bool;
    /// As [`Outlet::unseen`] for Rights of the node alone, whoever they are about.
    fn unseen_right(&self, node: NodeId, at: Instant) -> bool;
    /// Nodes of which anything was written at or after `then`.
    fn sent_since(&self, then: Instant) -> Vec<NodeId>;
    /// Whether [`Outlet::sent_since`] that moment is all there was.
    fn remembers(&self, then: Instant) -> bool;
    /// Forgets what was written before `then`.
    fn prune(&self, then: Instant);

    /// Whether the link is there.
    fn is_linked(&self, role: Role) -> bool;
    /// Whether the link has been there since the login.
    fn was_linked(&self, role: Role) -> bool;
    /// When the last byte came on any link.
    fn last_heard(&self) -> Instant;
    /// When the last byte of a large message came.
    fn last_bulk(&self) -> Instant;
    /// Since when the link that brings nodes has been busy without a pause: what arrives now may
    /// have been sent then.
    fn busy_since(&self) -> Instant;
    /// Whether no data is queued or on its way to the socket.
    fn has_no_data(&self) -> bool;
    /// The round trip of the heartbeats, but for what held up single ones.
    fn round_trip(&self) -> Option<Duration>;
    /// The round trip, or a guess on the safe side, with slack for the client's own work.
    fn window(&self) -> Duration;
}
