//! The TTL role, port p+3 (p+2 in the three-port generations): heartbeats.
//!
//! Clients end themselves when no PING comes, so pings must not wait for anything: each
//! connection has a task that does nothing else, on a runtime of its own. How they are timed is
//! the dialect's; before a login, when no dialect is known, a pace that suits all.
//!
//! A stranger is pinged for as long as a login may take and no longer: a restarted server that
//! pings for ever would keep clients believing that they are still part of the session.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, sleep_until, timeout};

use super::command::tell_stranger;
use super::context::Context;
use super::peer::{Link, Peer};
use crate::beat::SECOND;
use crate::counters::Count;
use crate::net::admission::Permit;
use crate::net::handshake::{Decoder, Item};
use crate::session::event::End;
use crate::session::outlet::Outlet;
use crate::wire::dialect::{Framing, Heartbeat};
use crate::wire::heartbeat;
use crate::wire::limits::{Assembler, Limits};
use crate::wire::message::Message;
use crate::wire::role::Role;
use crate::wire::zmtp;

/// The pace before the dialect is known: G1–G2 clients want it fast, the others do not mind.
const UNKNOWN: Duration = Duration::from_millis(250);
/// G1–G2 clients set the pace themselves; after so long they may have missed a PING.
const SILENCE: Duration = Duration::from_secs(1);
/// How long they wait before they answer.
const ECHO_PAUSE: Duration = Duration::from_millis(50);
/// Round trips whose least is shown as a user's latency.
const LATENCY_OF: usize = 4;
/// A heartbeat is a few bytes; a socket that cannot take them is of no use.
const WRITE: Duration = Duration::from_secs(5);

/// One heartbeat connection.
pub(crate) struct Heartbeats<Io> {
    pub(crate) io: Io,
    pub(crate) decoder: Decoder,
    pub(crate) peer: Arc<Peer>,
    pub(crate) link: Arc<Link>,
    pub(crate) port: u16,
    /// Whether a first PING has been sent already.
    pub(crate) greeted: bool,
}

/// When what was last seen and said.
struct Clock {
    frame: Instant,
    ping: Instant,
    /// PINGs without an answer, about: those of others than G1–G2 clients do not matter.
    unanswered: usize,
    /// The oldest of them: what comes next answers that one.
    asked: Option<Instant>,
    /// A PING of the transport that is unanswered, and when the last one was sent: where several others
    /// wait at the client, their answers say nothing of the line.
    probe: Option<Instant>,
    probed: Option<Instant>,
    round_trips: RoundTrips,
}

/// The last round trips.
#[derive(Default)]
struct RoundTrips(VecDeque<Duration>);

impl RoundTrips {
    /// Adds one, and returns the least of them: that is how far away the peer is. Whatever held up
    /// one of them is no news for everybody else.
    fn add(&mut self, round_trip: Duration) -> Duration {
        self.0.truncate(LATENCY_OF - 1);
        self.0.push_front(round_trip);
        self.0.iter().copied().min().unwrap_or(round_trip)
    }
}

impl<Io: AsyncRead + AsyncWrite + Send + Unpin> Heartbeats<Io> {
    /// Beats until the link ends.
    pub(crate) async fn run(mut self, context: &Context, permit: &Permit) -> End {
        let ping = heartbeat::ping(self.peer.is_framed());
        let opened = Instant::now();
        let mut assembler = Assembler::new();
        let mut clock = Clock {
            frame: opened,
            ping: opened,
            unanswered: self.greeted.into(),
            asked: self.greeted.then_some(opened),
            probe: None,
            probed: None,
            round_trips: RoundTrips::default(),
        };
        let mut standings = self.peer.standings();
        let link = Arc::clone(&self.link);
        let mut cancelled = pin!(link.cancel.cancelled());
        loop {
            let due = self.next_ping(&clock, context);
            let deadline = context.login_deadline(opened);
            let late = self.peer.is_stranger();
            let heard = tokio::select! {
                biased;
                () = &mut cancelled => return link.end(),
                () = sleep_until(due) => {
                    if let Err(end) = self.ping(&ping, &mut clock).await {
                        return end;
                    }
                    continue;
                }
                () = sleep_until(deadline), if late => {
                    if context.login_deadline(opened) > Instant::now() {
                        continue;
                    }
                    self.tell_stranger(context);
                    context.counters.add(Count::LateConnections);
                    return End::Stalled;
                }
                _ = standings.changed() => {
                    if let Err(end) = self.fill_up(&ping, &mut clock).await {
                        return end;
                    }
                    continue;
                }
                read = self.decoder.read(&mut self.io) => read,
            };
            match heard {
                Ok(0) => return End::Closed,
                Err(_) => return End::Broken,
                Ok(_) => self.peer.heard(),
            }
            if self.peer.is_user() {
                permit.promote();
            }
            loop {
                match self.decoder.next(&Limits::STRANGER) {
                    Ok(Some(Item::Frame { more, body })) => {
                        match assembler.push(more, body, &Limits::STRANGER) {
                            Ok(Some(message)) => {
                                if let Err(end) =
                                    self.understand(&message, &ping, &mut clock, context).await
                                {
                                    return end;
                                }
                            }
                            Ok(None) => {}
                            Err(error) => return self.misused(context, error),
                        }
                    }
                    Ok(Some(Item::Ping(pong))) => {
                        if let Err(end) = self.write(&pong).await {
                            return end;
                        }
                    }
                    Ok(Some(Item::Pong(_))) => {
                        let probe = clock.probe.take();
                        self.answered(probe, Duration::ZERO, &mut clock);
                    }
                    Ok(Some(Item::Other)) => {}
                    Ok(None) => break,
                    Err(error) => return self.misused(context, error),
                }
            }
            assembler.settle();
        }
    }

    fn next_ping(&self, clock: &Clock, context: &Context) -> Instant {
        let last = clock.frame.max(clock.ping);
        match self.peer.heartbeat() {
            // Links that are due at about the same time are pinged at one moment: the thread wakes up once for all
            // of them, and once for most of their answers.
            Some(Heartbeat::EverySecond) => context.timing.beat.last(last + SECOND),
            Some(Heartbeat::Echo50ms { .. }) => last + SILENCE,
            None => last + UNKNOWN,
        }
    }

    async fn understand(
        &mut self,
        message: &Message,
        ping: &Bytes,
        clock: &mut Clock,
        context: &Context,
    ) -> Result<(), End> {
        match message.frames() {
            [frame] if &frame[..] == heartbeat::PONG => {
                clock.unanswered = clock.unanswered.saturating_sub(1);
                let asked = clock.asked.take();
                match self.ahead() {
                    0 => self.answered(asked, Duration::ZERO, clock),
                    1 => self.answered(asked, ECHO_PAUSE, clock),
                    _ => {}
                }
            }
            [frame] if &frame[..] == heartbeat::INIT => {
                clock.frame = Instant::now();
                if self.ahead() == 0 {
                    return self.ping(ping, clock).await;
                }
                return self.fill_up(ping, clock).await;
            }
            _ => {
                let what = "a heartbeat that is none";
                context
                    .counters
                    .refuse(Count::MalformedMessages, self.peer.identity(), what);
                return Ok(());
            }
        }
        clock.frame = Instant::now();
        self.fill_up(ping, clock).await
    }

    /// How many PINGs the client is to have before it.
    fn ahead(&self) -> usize {
        match self.peer.heartbeat() {
            // With several the line has to be measured in another way.
            Some(Heartbeat::Echo50ms { ahead }) if self.link.answers_pings => ahead,
            Some(Heartbeat::Echo50ms { .. }) => 1,
            Some(Heartbeat::EverySecond) | None => 0,
        }
    }

    /// Sends what is missing of the PINGs a client is to have before it.
    async fn fill_up(&mut self, ping: &Bytes, clock: &mut Clock) -> Result<(), End> {
        let ahead = self.ahead();
        let missing = ahead.saturating_sub(clock.unanswered);
        if missing == 0 {
            return Ok(());
        }
        let now = Instant::now();
        let mut bytes = ping.repeat(missing);
        clock.ping = now;
        clock.unanswered = ahead;
        clock.asked.get_or_insert(now);
        let quiet = clock.probed.is_none_or(|last| now >= last + SECOND);
        if ahead > 1 && clock.probe.is_none() && quiet {
            bytes.extend_from_slice(&zmtp::ping(0, b""));
            clock.probe = Some(now);
            clock.probed = Some(now);
        }
        self.write(&bytes).await
    }

    /// What was asked at a moment has been answered, after a pause at the client.
    fn answered(&self, asked: Option<Instant>, pause: Duration, clock: &mut Clock) {
        if let Some(asked) = asked {
            let round_trip = asked.elapsed().saturating_sub(pause);
            let least = clock.round_trips.add(round_trip);
            self.peer.measured(round_trip, least);
        }
    }

    async fn ping(&mut self, ping: &Bytes, clock: &mut Clock) -> Result<(), End> {
        clock.ping = Instant::now();
        clock.unanswered = clock.unanswered.saturating_add(1);
        clock.asked.get_or_insert(clock.ping);
        self.write(ping).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), End> {
        match timeout(WRITE, self.io.write_all(bytes)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(End::Broken),
            Err(_) => Err(End::Stalled),
        }
    }

    fn misused(&self, context: &Context, error: impl std::fmt::Display) -> End {
        context
            .counters
            .refuse(Count::BrokenTransport, self.peer.identity(), error);
        End::Misused
    }

    /// A heartbeat of somebody who is not logged in. How its commands are framed is not known
    /// from this, but the port tells the era.
    fn tell_stranger(&self, context: &Context) {
        if self.peer.is_linked(Role::Command) {
            let named = !self.peer.is_framed() && self.port == 3;
            let framing = if named {
                Framing::Named
            } else {
                Framing::Numbered
            };
            tell_stranger(&self.peer, framing, context);
        }
    }
}
