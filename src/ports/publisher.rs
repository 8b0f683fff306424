//! The publisher role, port p+2 of the four-port generations: nodes from the clients.
//!
//! libzmq gives no identity for PUSH sockets. The first frame of each node's header does; the
//! connection was bound to the first one it named, and may not name another.

use std::sync::Arc;

use super::context::Context;
use super::nodes::Nodes;
use super::peer::{Link, Peer};
use super::read::Received;
use super::role::Speech;
use crate::counters::Count;
use crate::session::Event;
use crate::session::event::End;
use crate::session::outlet::Outlet;
use crate::wire::dialect::Dialect;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct PublisherSpeech {
    nodes: Nodes,
}

impl Speech for PublisherSpeech {
    fn understand(
        &mut self,
        peer: &Arc<Peer>,
        link: &Arc<Link>,
        received: &mut Received,
        context: &Context,
    ) -> Option<Event> {
        let dialect = peer.dialect();
        if !dialect.is_none_or(Dialect::has_publisher_port) {
            context.counters.refuse(
                Count::MalformedMessages,
                peer.identity(),
                "a push in a session without that port",
            );
            link.finish(End::Misused);
            return None;
        }
        let header = received.message.frames().len() > 1;
        let sender = received.message.frames().first();
        if header && sender.is_some_and(|sender| sender != peer.identity().as_bytes()) {
            context.counters.refuse(
                Count::MalformedMessages,
                peer.identity(),
                "a node in another's name",
            );
            link.finish(End::Misused);
            return None;
        }
        self.nodes.understand(peer, dialect, received, context)
    }
}
