//! What the ports tell the session.

use tokio::time::Instant;

use super::outlet::Repeat;
use crate::wire::command::Command;
use crate::wire::identity::NodeId;
use crate::wire::node::Update;
use crate::wire::role::Role;

/// Something that happened at a peer.
#[derive(Debug)]
pub enum Event {
    /// It asks for something.
    Command(Command),
    /// It pushed a node.
    Update {
        /// What it pushed.
        update: Update,
        /// Since when the link has been busy without a pause: the peer may have sent this then, so
        /// it need not have seen anything that went to it later.
        began: Instant,
        /// Whether it is a delta that may be passed on without knowing the node
        /// ([`is_plain`](crate::wire::delta::is_plain)).
        plain: bool,
    },
    /// It pushed a node (or its part of an upload) that others must not be given.
    Unfit(NodeId),
    /// A link of it came up.
    Linked {
        /// Which.
        role: Role,
    },
    /// A link of it ended, and no other has taken its place.
    Unlinked {
        /// Which.
        role: Role,
        /// How.
        end: End,
    },
    /// Its queue has room again.
    Drained,
    /// A frame that may have crossed another one was written.
    Crossed(Repeat),
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer closed it in good order.
    Closed,
    /// It was reset or failed.
    Broken,
    /// It took or gave no byte for too long while there was work to do.
    Stalled,
    /// The peer broke the protocol or a limit.
    Misused,
}
