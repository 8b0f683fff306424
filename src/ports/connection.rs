//! The way of one connection: admitted, opened, handed to its role, served, ended.

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::command::CommandSpeech;
use super::context::Context;
use super::outbox::Lane;
use super::peer::{Link, Peer, Standing};
use super::publisher::PublisherSpeech;
use super::read::{CONTROL, Reader, Received};
use super::role::{Letter, Opened as Entered, Speech};
use super::subscriber::SubscriberSpeech;
use super::ttl::Heartbeats;
use super::vet::Vetting;
use super::write::write;
use crate::counters::Count;
use crate::net::admission::Permit;
use crate::net::handshake::{self, OpenError, Opened};
use crate::net::listen::Listener;
use crate::session::event::End;
use crate::session::events::Events;
use crate::wire::identity::Identity;
use crate::wire::role::Role;

static NEXT: AtomicU64 = AtomicU64::new(1);

/// The inboxes of the role tasks, and where heartbeats run.
#[derive(Clone, Debug)]
pub(crate) struct Roles {
    pub(crate) command: mpsc::Sender<Letter>,
    pub(crate) subscriber: mpsc::Sender<Letter>,
    pub(crate) publisher: mpsc::Sender<Letter>,
    pub(crate) ttl: mpsc::Sender<Letter>,
    pub(crate) heartbeats: Option<tokio::runtime::Handle>,
}

impl Roles {
    fn inbox(&self, role: Role) -> &mpsc::Sender<Letter> {
        match role {
            Role::Command => &self.command,
            Role::Subscriber => &self.subscriber,
            Role::Publisher => &self.publisher,
            Role::Ttl => &self.ttl,
        }
    }
}

/// Serves a connection on port p + `offset` until it ends.
pub(crate) async fn serve<L: Listener>(
    io: L::Io,
    address: IpAddr,
    offset: u16,
    context: Context,
    roles: Roles,
    closing: CancellationToken,
) {
    let counters = &context.counters;
    counters.add(Count::Connections);
    let address = address.to_canonical();
    let permit = match context.admission.admit(address) {
        Ok(permit) => permit,
        Err(refusal) => return counters.refuse(Count::RefusedConnection, address, refusal),
    };
    let handshake = handshake::open(io, offset, context.offered);
    let opened = tokio::select! {
        () = closing.cancelled() => return,
        opened = timeout(context.timing.handshake_deadline, handshake) => opened,
    };
    let opened = match opened {
        Ok(Ok(opened)) => opened,
        Ok(Err(error)) => return fail(&context, address, &error),
        Err(_) => return counters.refuse(Count::LateConnections, address, "no handshake in time"),
    };
    let link = Arc::new(Link::new(
        NEXT.fetch_add(1, Ordering::Relaxed),
        opened.role,
        address,
        opened.answers_pings,
        closing.child_token(),
    ));
    let connection = Connection {
        offset,
        context,
        roles,
        permit,
        link,
    };
    match opened.role {
        Role::Ttl => connection.beat::<L>(opened).await,
        _ => connection.exchange(opened).await,
    }
}

fn fail(context: &Context, address: IpAddr, error: &OpenError) {
    let count = match error {
        // Scanners and port checks; nothing to learn from.
        OpenError::Closed | OpenError::Io(_) => {
            return context.counters.add(Count::BrokenTransport);
        }
        OpenError::Foreign(_) => Count::ForeignProtocol,
        _ => Count::BrokenTransport,
    };
    context.counters.refuse(count, address, error);
}

struct Connection {
    offset: u16,
    context: Context,
    roles: Roles,
    permit: Permit,
    link: Arc<Link>,
}

impl Connection {
    /// A link with messages: reads here, writes in a task of its own.
    async fn exchange<Io>(self, opened: Opened<Io>)
    where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let Opened {
            role,
            identity,
            framed,
            answers_pings: _,
            greeted: _,
            decoder,
            reader,
            writer,
        } = opened;
        let mut reader: Reader<ReadHalf<Io>> =
            Reader::new(reader, decoder, &self.link, &self.context);
        let (control, controls) = mpsc::channel(CONTROL);
        let mut controls = Some(controls);
        let mut writer = Some(writer);
        let identity = match identity {
            Some(identity) => identity,
            None => {
                let named = tokio::select! {
                    () = self.link.cancel.cancelled() => return,
                    frame = reader.first_frame(&self.link, &self.context, &self.permit, &control) => frame,
                };
                if named == Err(End::Closed) {
                    // Somebody who only looked whether the port is there.
                    return;
                }
                let Some(identity) = named.ok().and_then(|frame| Identity::new(&frame)) else {
                    return self.context.counters.add(Count::LateConnections);
                };
                identity
            }
        };
        let Some((seat, predecessor)) = self.enter(role, identity, framed).await else {
            return;
        };
        let peer = Arc::clone(&seat.peer);
        reader.entered(&peer, role);
        let lane = match role {
            Role::Command => Some(Lane::Command),
            Role::Subscriber => Some(Lane::Data),
            Role::Publisher | Role::Ttl => None,
        };
        if let (Some(writer), Some(controls)) = (writer.take(), controls.take()) {
            self.spawn_writer(writer, lane, &peer, predecessor, controls);
        }
        let end = match self.await_login(role, &peer, reader.opened()).await {
            Ok(()) => self.read(&mut reader, &peer, &control).await,
            Err(end) => end,
        };
        seat.leave(end);
    }

    fn spawn_writer<Io>(
        &self,
        writer: WriteHalf<Io>,
        lane: Option<Lane>,
        peer: &Arc<Peer>,
        predecessor: Option<Arc<Link>>,
        controls: mpsc::Receiver<bytes::Bytes>,
    ) where
        Io: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        tokio::spawn(write(
            writer,
            lane,
            Arc::clone(peer),
            Arc::clone(&self.link),
            predecessor,
            controls,
            self.context.clone(),
        ));
    }

    /// A publisher link is read on only when its identity is a user.
    async fn await_login(&self, role: Role, peer: &Arc<Peer>, opened: Instant) -> Result<(), End> {
        if role != Role::Publisher || peer.is_user() {
            return Ok(());
        }
        let mut standings = peer.standings();
        let is_user = |standing: &Standing| matches!(standing, Standing::User(_));
        let login = async { standings.wait_for(is_user).await.is_ok() };
        tokio::select! {
            () = self.link.cancel.cancelled() => Err(self.link.end()),
            () = self.link.written_off.cancelled() => Err(End::Broken),
            is_user = login => if is_user { Ok(()) } else { Err(End::Misused) },
            () = self.late(opened) => {
                let what = "a push by somebody who is not logged in";
                self.context.counters.refuse(Count::RefusedStranger, peer.name(), what);
                Err(End::Misused)
            }
        }
    }

    /// Waits until somebody must have logged in.
    async fn late(&self, opened: Instant) {
        loop {
            let deadline = self.context.login_deadline(opened);
            if deadline <= Instant::now() {
                return;
            }
            sleep_until(deadline).await;
        }
    }

    async fn read<R: AsyncRead + Send + Unpin>(
        &self,
        reader: &mut Reader<R>,
        peer: &Arc<Peer>,
        control: &mpsc::Sender<bytes::Bytes>,
    ) -> End {
        let inbox = self.roles.inbox(self.link.role);
        let mut speech = speech(self.link.role);
        let mut vetting = Vetting::new(Arc::clone(peer), self.context.clone());
        let mut cancelled = pin!(self.link.cancel.cancelled());
        loop {
            let mut events = Events::default();
            let take = |received: &mut Received| {
                if let Some(event) = speech.understand(peer, &self.link, received, &self.context) {
                    events.push(event);
                }
            };
            let batch = tokio::select! {
                biased;
                () = &mut cancelled => return self.link.end(),
                batch = reader.next(peer, &self.link, &self.context, &self.permit, control, take) => batch,
            };
            let paid = match batch {
                Ok(paid) => paid,
                Err(end) => return end,
            };
            let events = vetting.vet(events).await;
            let letter = Letter::Said {
                peer: Arc::clone(peer),
                events,
                paid,
            };
            if inbox.send(letter).await.is_err() {
                return End::Closed;
            }
        }
    }

    /// A heartbeat link.
    async fn beat<L: Listener>(self, opened: Opened<L::Io>) {
        let Some(identity) = opened.identity else {
            return;
        };
        let entered = self.enter(opened.role, identity, opened.framed).await;
        let Some((seat, _)) = entered else { return };
        let io = opened.reader.unsplit(opened.writer);
        let (decoder, port) = (opened.decoder, self.offset);
        let heartbeats = self.roles.heartbeats.clone();
        let moves = heartbeats.is_some();
        let task = async move {
            let Ok(io) = (if moves { L::adopt(io) } else { Ok(io) }) else {
                return seat.leave(End::Broken);
            };
            let beats = Heartbeats {
                io,
                decoder,
                peer: Arc::clone(&seat.peer),
                link: Arc::clone(&self.link),
                port,
                greeted: opened.greeted,
            };
            let end = beats.run(&self.context, &self.permit).await;
            seat.leave(end);
        };
        match heartbeats {
            Some(runtime) => drop(runtime.spawn(task)),
            None => task.await,
        }
    }

    /// Takes a place with the role, and learns whose writer has to stop first.
    async fn enter(
        &self,
        role: Role,
        identity: Identity,
        framed: bool,
    ) -> Option<(Seat, Option<Arc<Link>>)> {
        let known = self.context.registry.find(&identity).is_some();
        if let Err(refusal) = self.permit.identify(identity.as_bytes(), known) {
            self.context
                .counters
                .refuse(Count::RefusedConnection, self.permit.source(), refusal);
            return None;
        }
        let (opened, entered) = oneshot::channel();
        let letter = Letter::Open {
            identity,
            framed,
            link: Arc::clone(&self.link),
            opened,
        };
        let inbox = self.roles.inbox(role).clone();
        inbox.send(letter).await.ok()?;
        let Entered { peer, predecessor } = entered.await.ok()?;
        let link = Arc::clone(&self.link);
        Some((Seat { peer, link, inbox }, predecessor))
    }
}

/// A connection's place with its role. Leaving it, in whatever way (a fault included), tells the
/// role.
struct Seat {
    peer: Arc<Peer>,
    link: Arc<Link>,
    inbox: mpsc::Sender<Letter>,
}

impl Seat {
    fn leave(self, end: End) {
        self.link.finish(end);
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.link.finish(End::Broken);
        let letter = Letter::Ended {
            peer: Arc::clone(&self.peer),
            link: Arc::clone(&self.link),
            // The writer may have had a reason of its own.
            end: self.link.end(),
        };
        let inbox = self.inbox.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { inbox.send(letter).await.is_ok() });
        }
    }
}

/// What a role makes of a connection's messages.
fn speech(role: Role) -> Box<dyn Speech> {
    match role {
        Role::Command | Role::Ttl => Box::new(CommandSpeech),
        Role::Subscriber => Box::new(SubscriberSpeech::default()),
        Role::Publisher => Box::new(PublisherSpeech::default()),
    }
}
