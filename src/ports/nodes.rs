//! What the subscriber and publisher roles have in common: messages that carry nodes.

use std::sync::Arc;

use super::context::Context;
use super::peer::Peer;
use super::read::Received;
use crate::counters::Count;
use crate::session::Event;
use crate::session::outlet::Outlet;
use crate::wire::dialect::Dialect;
use crate::wire::node::Reassembler;

/// Puts the messages of one connection together to nodes.
#[derive(Debug, Default)]
pub(crate) struct Nodes {
    reassembler: Reassembler,
    /// When the first message of the node under way began.
    began: Option<tokio::time::Instant>,
}

impl Nodes {
    /// The node a message completes, if it does. Who has no dialect is not logged in.
    pub(crate) fn understand(
        &mut self,
        peer: &Arc<Peer>,
        dialect: Option<&Dialect>,
        received: &mut Received,
        context: &Context,
    ) -> Option<Event> {
        let Some(dialect) = dialect else {
            context.counters.refuse(
                Count::RefusedStranger,
                peer.identity(),
                "a node without login",
            );
            return None;
        };
        let began = *self.began.get_or_insert(received.began);
        let limits = &context.limits.command.node;
        match self
            .reassembler
            .push(dialect, &mut received.message, limits)
        {
            Ok(None) => None,
            Ok(Some(update)) => {
                self.began = None;
                Some(Event::Update {
                    update,
                    began,
                    // Looked into later, before anybody else gets it.
                    plain: false,
                })
            }
            Err(error) => {
                self.began = None;
                context
                    .counters
                    .refuse(Count::MalformedMessages, peer.identity(), error);
                None
            }
        }
    }
}
