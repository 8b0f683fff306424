//! The checks that go over ZeroMQ, each with a client socket of the crate `zeromq`: does the port
//! take the socket that clients open there, and does it answer? Called by the probe.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use zeromq::util::PeerIdentity;
use zeromq::{
    DealerSocket, Endpoint, PushSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage,
};

use super::line::{self, Guard};
use super::{Answer, Check, Info, Trouble, fresh_identity, info_request, read_info};
use crate::wire::identity::Identity;
use crate::wire::message::Message;

/// Lets the crate do what it does once only, so that it is not measured: it compiles patterns when
/// it reads its first endpoint.
pub(super) fn warm_up() {
    let _ = "tcp://127.0.0.1:1".parse::<Endpoint>();
}

/// What the clients' own servers call their sockets for commands and for nodes. The others, and
/// this server's, have no names.
const COMMAND: &[u8] = b"SERVER_COMMAND";
const SUBSCRIBER: &[u8] = b"SERVER_PUSH";

/// How soon a heartbeat port of this server says something by itself, and some time more: it beats four
/// times a second for whoever it does not know.
const UNASKED: Duration = Duration::from_millis(750);

/// The command port. The server info is asked for as soon as something comes through `may_ask`,
/// and never if it is closed before: servers of the clients up to 0.1.3 break on questions they do
/// not know, and with them the session they have.
///
/// Command ports say nothing by themselves. Where heartbeats come, the first port is a wrong one.
pub(super) async fn command(
    to: SocketAddr,
    deadline: Instant,
    mut may_ask: mpsc::Receiver<()>,
) -> (Check, Option<Info>) {
    let mut talk = match Talk::<DealerSocket>::open(to, deadline).await {
        Ok(talk) => talk,
        Err(trouble) => return (Err(trouble), None),
    };
    let until = deadline.min(Instant::now() + UNASKED);
    let may_ask = async {
        let told = may_ask.recv().await.is_some();
        if !told {
            sleep_until(until).await;
        }
        told
    };
    let asked = tokio::select! {
        told = timeout_at(deadline, may_ask) => told.unwrap_or(false),
        Some(()) = talk.hear_beat() => {
            talk.close(None).await;
            return (Err(Trouble::OtherPort), None);
        }
    };
    let answer = if asked {
        timeout_at(deadline, talk.ask_info()).await.ok().flatten()
    } else {
        None
    };
    let (round_trip, info) = answer.unzip();
    let (answer, name) = talk.close(round_trip).await;
    let check = match name.as_ref().map(Identity::as_bytes) {
        Some(SUBSCRIBER) => Err(Trouble::OtherPort),
        // The clients' own servers leave it unanswered up to 0.8.3; this one answers always.
        None if asked && round_trip.is_none() => Err(Trouble::Mute),
        _ => Ok(answer),
    };
    (check, info)
}

/// The port that nodes come from.
pub(super) async fn subscriber(to: SocketAddr, deadline: Instant) -> Check {
    let talk = Talk::<DealerSocket>::open(to, deadline).await?;
    match talk.close(None).await {
        (_, Some(name)) if name.as_bytes() == COMMAND => Err(Trouble::OtherPort),
        (answer, _) => Ok(answer),
    }
}

/// The port that nodes go to.
pub(super) async fn publisher(to: SocketAddr, deadline: Instant) -> Check {
    let talk = Talk::<PushSocket>::open(to, deadline).await?;
    Ok(talk.close(None).await.0)
}

/// A heartbeat port. `knows_info` is told if there is one: on p+2 only servers have it that can be
/// asked for the server info.
pub(super) async fn ttl(
    to: SocketAddr,
    deadline: Instant,
    knows_info: Option<mpsc::Sender<()>>,
) -> Check {
    let mut talk = Talk::<DealerSocket>::open(to, deadline).await?;
    if let Some(knows_info) = knows_info {
        // The command port may have failed already.
        let _ = knows_info.try_send(());
    }
    let round_trip = timeout_at(deadline, talk.beat()).await.ok().flatten();
    match talk.close(round_trip).await {
        (answer, _) if answer.round_trip.is_some() => Ok(answer),
        _ => Err(Trouble::Mute),
    }
}

/// A socket that the other side has taken for what it is.
struct Talk<S> {
    socket: S,
    guard: Guard,
    connect: Duration,
}

impl<S: Socket> Talk<S> {
    async fn open(to: SocketAddr, deadline: Instant) -> Result<Self, Trouble> {
        let (stream, connect) = line::connect(to, deadline).await?;
        let guard = Guard::before(stream)
            .await
            .map_err(|error| Trouble::Unreachable(error.to_string()))?;
        let mut options = SocketOptions::default();
        // Sixteen bytes are never too long for one; without, the crate makes one up.
        if let Ok(identity) = PeerIdentity::try_from(fresh_identity().as_bytes()) {
            options.peer_identity(identity);
        }
        // The deadline is ours.
        options.no_connect_timeout();
        let mut socket = S::with_options(options);
        match timeout_at(deadline, socket.connect(&guard.endpoint)).await {
            Ok(Ok(())) => Ok(Self {
                socket,
                guard,
                connect,
            }),
            // The guard knows better than the crate what went wrong.
            _ => Err(guard.close().await.trouble()),
        }
    }

    /// Hangs up; gives what the other side called itself.
    async fn close(self, round_trip: Option<Duration>) -> (Answer, Option<Identity>) {
        drop(self.socket);
        let ready = self.guard.close().await.ready;
        let answer = Answer {
            connect: self.connect,
            round_trip,
        };
        (answer, ready.and_then(|ready| ready.identity))
    }
}

impl Talk<DealerSocket> {
    /// Asks for the server info. `None` if the connection is of no use any more, as below: the
    /// crate ends one when the other side sends a heartbeat of the transport. What was learnt
    /// before stays true.
    async fn ask_info(&mut self) -> Option<(Duration, Info)> {
        let begun = Instant::now();
        for message in info_request() {
            self.send(message).await?;
        }
        loop {
            let info = read_info(&self.receive().await?);
            if let Some(info) = info {
                return Some((begun.elapsed(), info));
            }
        }
    }

    /// Says hello on a heartbeat port, and waits for the first heartbeat.
    async fn beat(&mut self) -> Option<Duration> {
        let begun = Instant::now();
        let hello = Message::new(vec![Bytes::from_static(b"INIT")]);
        self.send(hello).await?;
        self.hear_beat().await?;
        Some(begun.elapsed())
    }

    /// Waits for a heartbeat.
    async fn hear_beat(&mut self) -> Option<()> {
        while self.receive().await?.frames() != [&b"PING"[..]] {}
        Some(())
    }

    async fn send(&mut self, message: Message) -> Option<()> {
        let message = ZmqMessage::try_from(message.into_frames()).ok()?;
        self.socket.send(message).await.ok()
    }

    async fn receive(&mut self) -> Option<Message> {
        let message = self.socket.recv().await.ok()?;
        Some(Message::new(message.into_vec()))
    }
}
