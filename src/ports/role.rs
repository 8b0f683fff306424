//! The task behind each port role: which connections there are, by identity, and the way of what
//! they say to the session.
//!
//! Connections tell it that they open, what they understood and that they ended. It decides
//! nothing about the session. What a role makes of messages is its [`Speech`], one for each
//! connection, used in the connection's own task: a slow or hostile message holds up nobody else.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use tracing::debug;

use super::context::Context;
use super::peer::{Link, Peer};
use super::read::Received;
use crate::config::SameAddress;
use crate::counters::Count;
use crate::session::Event;
use crate::session::event::End;
use crate::session::events::Events;
use crate::session::outlet::Outlet;
use crate::wire::identity::Identity;
use crate::wire::role::Role;

/// Letters that may wait for a role. What they hold is bounded by each connection's budget.
const INBOX: usize = 256;

/// What connections tell their role.
pub(crate) enum Letter {
    /// A connection is there.
    Open {
        identity: Identity,
        framed: bool,
        link: Arc<Link>,
        opened: oneshot::Sender<Opened>,
    },
    /// It said something.
    Said {
        peer: Arc<Peer>,
        events: Events,
        paid: Option<OwnedSemaphorePermit>,
    },
    /// It is gone.
    Ended {
        peer: Arc<Peer>,
        link: Arc<Link>,
        end: End,
    },
}

/// What a connection learns about itself.
pub(crate) struct Opened {
    pub(crate) peer: Arc<Peer>,
    /// Whose writer has to stop first.
    pub(crate) predecessor: Option<Arc<Link>>,
}

/// What a role makes of the messages of one connection.
pub(crate) trait Speech: Send + 'static {
    /// What a message means. `None` if it means nothing to the session (yet).
    fn understand(
        &mut self,
        peer: &Arc<Peer>,
        link: &Arc<Link>,
        received: &mut Received,
        context: &Context,
    ) -> Option<Event>;
}

/// Starts a role's task; it ends when all senders are gone.
pub(crate) fn spawn(role: Role, context: Context) -> mpsc::Sender<Letter> {
    let (inbox, letters) = mpsc::channel(INBOX);
    tokio::spawn(run(role, context, letters));
    inbox
}

async fn run(role: Role, context: Context, mut letters: mpsc::Receiver<Letter>) {
    while let Some(letter) = letters.recv().await {
        match letter {
            Letter::Open {
                identity,
                framed,
                link,
                opened,
            } => {
                open(role, &identity, framed, link, opened, &context).await;
            }
            Letter::Said { peer, events, paid } => {
                context.session.send(peer, events, paid).await;
            }
            Letter::Ended { peer, link, end } => {
                let current = peer.detach(&link);
                debug!(name: "peer.unlinked", peer = %peer.identity(), %role, ?end, current, "link ended");
                // Whoever broke the protocol is sent away, however fast it comes back.
                if current || end == End::Misused {
                    let unlinked = Event::Unlinked { role, end };
                    context.session.send(peer, vec![unlinked], None).await;
                }
            }
        }
    }
}

async fn open(
    role: Role,
    identity: &Identity,
    framed: bool,
    link: Arc<Link>,
    opened: oneshot::Sender<Opened>,
    context: &Context,
) {
    let require = context.same_address == SameAddress::Require;
    let Some((peer, attached)) = context.registry.attach(identity, framed, require, &link) else {
        let what = "a link that comes from elsewhere than the others of its identity";
        return context
            .counters
            .refuse(Count::RefusedConnection, identity, what);
    };
    if attached.elsewhere {
        let note = format_args!("its {role} link comes from {}", link.address);
        context.counters.note(Count::OtherAddress, identity, note);
    }
    debug!(name: "peer.linked", peer = %identity, %role, address = %link.address, link = link.id, "link opened");
    if attached.replaced.is_some() {
        context.counters.add(Count::ReplacedLinks);
    }
    if role == Role::Subscriber {
        peer.outbox.start_receipts_over();
    }
    if peer.linked(role) {
        let linked = Event::Linked { role };
        context
            .session
            .send(Arc::clone(&peer), vec![linked], None)
            .await;
    }
    // The connection is gone already if nobody waits; then it says so itself.
    let _ = opened.send(Opened {
        peer,
        predecessor: attached.replaced,
    });
}
