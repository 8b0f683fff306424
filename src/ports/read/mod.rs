//! The reading task of a connection: messages for its role task.

#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::AsyncRead;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_util::sync::WaitForCancellationFutureOwned;

use super::context::Context;
use super::peer::{Link, Peer, Standing};
use super::write::LONG_TARGET;
use crate::counters::Count;
use crate::net::admission::Permit;
use crate::net::handshake::{Decoder, Item};
use crate::session::event::End;
use crate::wire::intake::BIG;
use crate::wire::limits::{Assembler, Limits};
use crate::wire::message::Message;
use crate::wire::role::Role;
use crate::wire::zmtp;

/// Messages handed to the role task at once: few enough that lists of them are cheap to come by.
const BATCH: usize = 32;
/// After a message of more bytes what else has come is read as well, before it goes on: such come one by
/// one, as each is read into memory of its own, while a read brings many of those that are shorter…
const BULK: usize = BIG;
/// …until it is so many bytes: the system takes half as long for few long writes as for many of 64 KiB.
/// As much as a fast line is given at a time.
const TOGETHER: usize = LONG_TARGET;
/// A link on which nothing came for so long was idle: what comes next was sent just now.
const PAUSE: Duration = Duration::from_millis(100);
/// For so long after a connection was opened what comes may have waited for it at the client.
const BACKLOG: Duration = Duration::from_secs(2);
/// A message of which so much is there is a large one.
const LARGE: usize = 4096;
/// Unit of the budget for what is in flight.
const UNIT: usize = 1024;
/// Answers to the peer's own heartbeats that may wait; more are dropped.
pub(crate) const CONTROL: usize = 16;

/// A message.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) message: Message,
    /// Since when the connection has been busy without a pause.
    pub(crate) began: Instant,
}

/// Reads one connection.
pub(crate) struct Reader<R> {
    io: R,
    decoder: Decoder,
    assembler: Assembler,
    /// Since when bytes have come without a pause, or since when what comes may have waited at the client.
    busy_since: Instant,
    /// That, for what comes soon after the connection was opened.
    waited_since: Option<Instant>,
    window: Option<(Instant, usize)>,
    opened: Instant,
    budget: Arc<Semaphore>,
    budget_units: usize,
    /// How it ended behind the last messages.
    ended: Option<End>,
    /// The writer has stopped: what has come by then is read, and no more. (Begun once, as beginning to
    /// wait for it takes locks.)
    written_off: Pin<Box<WaitForCancellationFutureOwned>>,
}

/// What was paid for messages.
pub(crate) type Paid = Option<OwnedSemaphorePermit>;

impl<R: AsyncRead + Send + Unpin> Reader<R> {
    pub(crate) fn new(io: R, decoder: Decoder, link: &Link, context: &Context) -> Self {
        let budget_units = (context.limits.in_flight / UNIT).clamp(1, Semaphore::MAX_PERMITS);
        Self {
            io,
            decoder,
            assembler: Assembler::new(),
            busy_since: Instant::now(),
            waited_since: None,
            window: None,
            opened: Instant::now(),
            budget: Arc::new(Semaphore::new(budget_units)),
            budget_units,
            ended: None,
            written_off: Box::pin(link.written_off.clone().cancelled_owned()),
        }
    }

    /// When the connection was opened.
    pub(crate) fn opened(&self) -> Instant {
        self.opened
    }

    /// It is known whose the connection is: what comes first may have waited since another one broke.
    pub(crate) fn entered(&mut self, peer: &Peer, role: Role) {
        self.waited_since = peer.waited_since(role);
        self.busy_since = self.waited_since.unwrap_or(self.busy_since);
    }

    /// The first frame of the first message, left in place: on the publisher port it says whose
    /// the connection is, before anything else of it is taken.
    pub(crate) async fn first_frame(
        &mut self,
        link: &Link,
        context: &Context,
        permit: &Permit,
        control: &mpsc::Sender<Bytes>,
    ) -> Result<Bytes, End> {
        let mut deadline = context.login_deadline(self.opened);
        loop {
            match self.decoder.next(&Limits::STRANGER) {
                Ok(Some(Item::Frame { more, body })) => {
                    let frame = Bytes::copy_from_slice(&body);
                    match self.assembler.push(more, frame.clone(), &Limits::STRANGER) {
                        Ok(None) => return Ok(frame),
                        Ok(Some(_)) | Err(_) => return Err(End::Misused),
                    }
                }
                Ok(Some(Item::Ping(pong))) => drop(control.try_send(pong)),
                Ok(Some(Item::Pong(_) | Item::Other)) => {}
                Ok(None) => {
                    permit
                        .hold(self.decoder.allocated())
                        .map_err(|_| End::Misused)?;
                    match timeout_at(deadline, self.decoder.read(&mut self.io)).await {
                        // An artist who only watches is silent here, and closing this link would
                        // lose what it pushes first.
                        Err(_) if context.registry.awaits_publisher(link.address) => {
                            permit.promote();
                            deadline = Instant::now() + context.timing.login_deadline;
                        }
                        Err(_) if context.login_deadline(self.opened) > Instant::now() => {
                            deadline = context.login_deadline(self.opened);
                        }
                        Err(_) => return Err(End::Stalled),
                        Ok(Ok(0)) => return Err(End::Closed),
                        Ok(Ok(_)) => {}
                        Ok(Err(_)) => return Err(End::Broken),
                    }
                }
                Err(error) => {
                    context
                        .counters
                        .refuse(Count::BrokenTransport, permit.source(), error);
                    return Err(End::Misused);
                }
            }
        }
    }

    /// Waits for the next messages, as many as one read brought (or more, if they are long), and
    /// pays for them. Each is given to `take` before the next one is put together. Limits are a
    /// user's as soon as the peer is one.
    pub(crate) async fn next(
        &mut self,
        peer: &Peer,
        link: &Link,
        context: &Context,
        permit: &Permit,
        control: &mpsc::Sender<Bytes>,
        mut take: impl FnMut(&mut Received),
    ) -> Result<Paid, End> {
        if let Some(end) = self.ended.take() {
            return Err(end);
        }
        let (mut messages, mut bytes, mut longest) = (0, 0usize, 0);
        let mut limits = current_limits(peer, link, context, permit);
        loop {
            let gathered = match self.decoder.gather(&mut self.assembler, &limits) {
                Ok(None) => match self.decoder.next(&limits) {
                    Ok(Some(Item::Frame { more, body })) => {
                        self.assembler.push(more, body, &limits)
                    }
                    Ok(Some(Item::Ping(pong))) => {
                        drop(control.try_send(pong));
                        continue;
                    }
                    Ok(Some(Item::Pong(context))) => {
                        receipt(peer, link, &context, control);
                        continue;
                    }
                    Ok(Some(Item::Other)) => continue,
                    Ok(None) if messages == 0 => {
                        self.read(peer, link, context, permit).await?;
                        limits = current_limits(peer, link, context, permit);
                        continue;
                    }
                    Ok(None) => {
                        let enough = TOGETHER.min(self.budget_units.saturating_mul(UNIT));
                        if longest <= BULK
                            || bytes >= enough
                            || !self.read_on(peer, link, context, permit).await
                        {
                            return Ok(self.pay(messages, bytes).await);
                        }
                        limits = current_limits(peer, link, context, permit);
                        continue;
                    }
                    Err(error) => {
                        let end = misused(context, peer, error);
                        return self.end(messages, bytes, end).await;
                    }
                },
                gathered => gathered,
            };
            match gathered {
                Ok(Some(message)) => {
                    let len = message.payload_len();
                    // (Up to G9 a node is two messages, of which the first is short.)
                    longest = longest.max(len);
                    bytes = bytes.saturating_add(len);
                    messages += 1;
                    let began = self.busy_since;
                    let mut received = Received { message, began };
                    take(&mut received);
                    self.assembler.reuse(received.message);
                }
                Ok(None) => {}
                Err(error) => {
                    let end = misused(context, peer, error);
                    return self.end(messages, bytes, end).await;
                }
            }
            if messages >= BATCH {
                return Ok(self.pay(messages, bytes).await);
            }
        }
    }

    /// Ends, once the messages before that have been taken.
    async fn end(&mut self, messages: usize, bytes: usize, end: End) -> Result<Paid, End> {
        if messages == 0 {
            return Err(end);
        }
        self.ended = Some(end);
        Ok(self.pay(messages, bytes).await)
    }

    /// Reads what has come already. `false` if that is nothing, or the end, which is for
    /// [`Self::next`] to tell when the messages before it have been taken.
    async fn read_on(
        &mut self,
        peer: &Peer,
        link: &Link,
        context: &Context,
        permit: &Permit,
    ) -> bool {
        let read = {
            let mut read = pin!(self.read(peer, link, context, permit));
            poll_fn(|task| Poll::Ready(read.as_mut().poll(task))).await
        };
        match read {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(end)) => {
                self.ended = Some(end);
                false
            }
            Poll::Pending => false,
        }
    }

    /// Waits until what was received before has been dealt with far enough.
    fn pay(&mut self, messages: usize, bytes: usize) -> impl Future<Output = Paid> + use<R> {
        // How long that takes is not for the peer to answer for.
        self.window = None;
        // Small messages cost more than their bytes.
        let units = bytes
            .div_ceil(UNIT)
            .saturating_add(messages)
            .clamp(1, self.budget_units);
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let paid = Arc::clone(&self.budget).acquire_many_owned(units);
        async move { paid.await.ok() }
    }

    async fn read(
        &mut self,
        peer: &Peer,
        link: &Link,
        context: &Context,
        permit: &Permit,
    ) -> Result<(), End> {
        let held = self
            .assembler
            .held()
            .saturating_add(self.decoder.buffered());
        if held > 0 {
            self.assembler.settle();
        }
        let now = Instant::now();
        let timing = &context.timing;
        let mut standings = peer.standings();
        let stranger = matches!(*standings.borrow_and_update(), Standing::Stranger);
        let deadline = if stranger {
            let held = self
                .decoder
                .allocated()
                .saturating_add(self.assembler.held());
            permit
                .hold(held)
                .map_err(|refusal| misused(context, peer, refusal))?;
            Some(context.login_deadline(self.opened))
        } else if held > 0 {
            let (since, moved) = *self.window.get_or_insert((now, 0));
            if now >= since + timing.rate_window {
                if moved < timing.rate_bytes() {
                    return Err(stalled(context, link, peer));
                }
                self.window = Some((now, 0));
            }
            Some(now + timing.write_deadline)
        } else {
            self.window = None;
            None
        };
        let (io, decoder, written_off) = (&mut self.io, &mut self.decoder, &mut self.written_off);
        let read = async {
            tokio::select! {
                biased;
                read = decoder.read(io) => read,
                () = written_off => Err(ErrorKind::BrokenPipe.into()),
            }
        };
        let result = match deadline {
            None => read.await,
            Some(deadline) if stranger => tokio::select! {
                result = read => result,
                // A login lifts the deadline; nothing read is lost.
                _ = standings.changed() => return Ok(()),
                () = sleep_until(deadline) => {
                    if context.login_deadline(self.opened) > Instant::now() {
                        return Ok(());
                    }
                    context.counters.add(Count::LateConnections);
                    return Err(End::Stalled);
                }
            },
            Some(deadline) => match timeout_at(deadline, read).await {
                Ok(result) => result,
                Err(_) => return Err(stalled(context, link, peer)),
            },
        };
        match result {
            Ok(0) => Err(End::Closed),
            Ok(read) => {
                let arrived = Instant::now();
                if held == 0 && arrived >= now + PAUSE {
                    let waited = self
                        .waited_since
                        .filter(|_| arrived < self.opened + BACKLOG);
                    self.busy_since = waited.unwrap_or(arrived);
                }
                peer.heard();
                if peer.brings_nodes(link.role) {
                    peer.busy(self.busy_since);
                }
                if held > LARGE {
                    peer.moved_bulk();
                }
                if let Some((_, moved)) = &mut self.window {
                    *moved = moved.saturating_add(read);
                }
                Ok(())
            }
            Err(_) => Err(End::Broken),
        }
    }
}

/// What the peer may send now.
fn current_limits(peer: &Peer, link: &Link, context: &Context, permit: &Permit) -> Limits {
    if peer.is_stranger() {
        context.limits.stranger
    } else {
        permit.promote();
        context.limits.user(link.role, peer.dialect())
    }
}

/// The peer has read what went to its data link before the heartbeat it answers here.
fn receipt(peer: &Peer, link: &Link, context: &Bytes, control: &mpsc::Sender<Bytes>) {
    let Ok(batch) = <[u8; 8]>::try_from(&context[..]) else {
        return;
    };
    if link.role == Role::Subscriber
        && let Some(next) = peer
            .outbox
            .receipt(u64::from_be_bytes(batch), Instant::now())
    {
        let _ = control.try_send(zmtp::ping(0, &next.to_be_bytes()));
    }
}

fn stalled(context: &Context, link: &Link, peer: &Peer) -> End {
    let what = format_args!("its {} link stopped within a message", link.role);
    context
        .counters
        .refuse(Count::StalledLinks, peer.name(), what);
    End::Stalled
}

fn misused(context: &Context, peer: &Peer, error: impl std::fmt::Display) -> End {
    context
        .counters
        .refuse(Count::BrokenTransport, peer.name(), error);
    End::Misused
}
