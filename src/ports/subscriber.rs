//! The subscriber role, port p+1: nodes to the clients; from G6 on also from them.

use std::sync::Arc;

use super::context::Context;
use super::nodes::Nodes;
use super::peer::{Link, Peer};
use super::read::Received;
use super::role::Speech;
use crate::counters::Count;
use crate::session::Event;
use crate::session::outlet::Outlet;
use crate::wire::dialect::Dialect;

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct SubscriberSpeech {
    nodes: Nodes,
}

impl Speech for SubscriberSpeech {
    fn understand(
        &mut self,
        peer: &Arc<Peer>,
        _: &Arc<Link>,
        received: &mut Received,
        context: &Context,
    ) -> Option<Event> {
        let dialect = peer.dialect();
        if dialect.is_some_and(Dialect::has_publisher_port) {
            let what = "a message on the port that only sends";
            context
                .counters
                .refuse(Count::MalformedMessages, peer.identity(), what);
            return None;
        }
        self.nodes.understand(peer, dialect, received, context)
    }
}
