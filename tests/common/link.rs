//! Connections that carry messages both ways, over whichever transport: the `zeromq` crate's
//! sockets, the same protocol made by hand, or the newest clients' chunks.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use multi_user_server::wire::framed;
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::limits::Assembler;
use multi_user_server::wire::message::{Encoded, Message};
use multi_user_server::wire::zmtp::{self, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use zeromq::util::PeerIdentity;
use zeromq::{DealerSocket, PushSocket, Socket, SocketOptions, SocketRecv, SocketSend, ZmqMessage};

use super::raw::{ELSEWHERE, HERE, Raw};
use super::{ANYTHING, within};

/// How a test peer connects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// By the `zeromq` crate, from the usual address.
    Crate,
    /// By hand, from the usual address.
    Hand,
    /// By hand, from an address of its own.
    Elsewhere,
}

impl Via {
    fn address(self) -> Ipv4Addr {
        match self {
            Self::Elsewhere => ELSEWHERE,
            _ => HERE,
        }
    }
}

/// What a link sends.
#[derive(Debug)]
pub(crate) enum Out {
    Message(Message),
    /// As they are; links of the crate cannot.
    Bytes(Bytes),
}

/// One connection. Dropped, it is closed.
#[derive(Debug)]
pub(crate) struct Link {
    to: mpsc::UnboundedSender<Out>,
    from: mpsc::UnboundedReceiver<Message>,
    _tasks: JoinSet<()>,
}

impl Link {
    /// A DEALER with this identity.
    pub(crate) async fn dealer(via: Via, address: SocketAddr, identity: &Identity) -> Self {
        if via != Via::Crate {
            let raw = Raw::dealer_from(via.address(), address, identity).await;
            return Self::pump(raw, zmtp::encode);
        }
        let mut socket = DealerSocket::with_options(options(identity));
        within("connecting", socket.connect(&format!("tcp://{address}")))
            .await
            .unwrap();
        let (mut send, mut receive) = socket.split();
        let (to, mut out) = mpsc::unbounded_channel();
        let (incoming, from) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(item) = out.recv().await {
                if send.send(crate_message(item)).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        tasks.spawn(async move {
            while let Ok(message) = receive.recv().await {
                if incoming.send(Message::new(message.into_vec())).is_err() {
                    return;
                }
            }
        });
        Self {
            to,
            from,
            _tasks: tasks,
        }
    }

    /// A PUSH. Its identity travels in the messages only.
    pub(crate) async fn push(via: Via, address: SocketAddr, identity: &Identity) -> Self {
        if via != Via::Crate {
            let mut raw = Raw::connect_from(via.address(), address).await;
            raw.shake(SocketType::Push, None).await.unwrap();
            return Self::pump(raw, zmtp::encode);
        }
        let mut socket = PushSocket::with_options(options(identity));
        within("connecting", socket.connect(&format!("tcp://{address}")))
            .await
            .unwrap();
        let (to, mut out) = mpsc::unbounded_channel();
        let (incoming, from) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(item) = out.recv().await {
                if socket.send(crate_message(item)).await.is_err() {
                    return;
                }
            }
            drop(incoming);
            std::future::pending::<()>().await;
        });
        Self {
            to,
            from,
            _tasks: tasks,
        }
    }

    /// A connection of the newest clients for one role.
    pub(crate) async fn framed(
        via: Via,
        address: SocketAddr,
        identity: &Identity,
        role: u8,
    ) -> Self {
        let mut raw = Raw::connect_from(via.address(), address).await;
        raw.send(&framed_hello(identity.as_bytes(), role))
            .await
            .unwrap();
        Self::pump_framed(raw.into_stream())
    }

    /// Carries on with a connection whose handshake is done.
    pub(crate) fn pump(raw: Raw, encode: fn(&Message) -> Encoded) -> Self {
        let (stream, mut decoder, mut assembler) = raw.into_parts();
        let (mut reader, mut writer) = stream.into_split();
        let (to, mut out) = mpsc::unbounded_channel();
        let (incoming, from) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(item) = out.recv().await {
                if write(&mut writer, item, encode).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        tasks.spawn(async move {
            loop {
                while let Some(item) = decoder.next(&ANYTHING).unwrap() {
                    if let zmtp::Item::Frame { more, body } = item
                        && let Some(message) = assembler.push(more, body, &ANYTHING).unwrap()
                        && incoming.send(message).is_err()
                    {
                        return;
                    }
                }
                if !matches!(reader.read_buf(&mut decoder.space()).await, Ok(1..)) {
                    return;
                }
            }
        });
        Self {
            to,
            from,
            _tasks: tasks,
        }
    }

    fn pump_framed(stream: TcpStream) -> Self {
        let (mut reader, mut writer) = stream.into_split();
        let (to, mut out) = mpsc::unbounded_channel();
        let (incoming, from) = mpsc::unbounded_channel();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            while let Some(item) = out.recv().await {
                if write(&mut writer, item, framed::encode).await.is_err() {
                    return;
                }
            }
            std::future::pending::<()>().await;
        });
        tasks.spawn(async move {
            let mut decoder = framed::Decoder::of_a_server();
            let mut assembler = Assembler::new();
            loop {
                while let Some(item) = decoder.next(&ANYTHING).unwrap() {
                    if let framed::Item::Frame { more, body } = item
                        && let Some(message) = assembler.push(more, body, &ANYTHING).unwrap()
                        && incoming.send(message).is_err()
                    {
                        return;
                    }
                }
                if !matches!(reader.read_buf(&mut decoder.space()).await, Ok(1..)) {
                    return;
                }
            }
        });
        Self {
            to,
            from,
            _tasks: tasks,
        }
    }

    pub(crate) fn send(&self, message: Message) {
        let _ = self.to.send(Out::Message(message));
    }

    pub(crate) fn send_bytes(&self, bytes: impl Into<Bytes>) {
        let _ = self.to.send(Out::Bytes(bytes.into()));
    }

    /// What sends on this link, for others to hold.
    pub(crate) fn sender(&self) -> mpsc::UnboundedSender<Out> {
        self.to.clone()
    }

    /// The next message; `None` when the other side has closed the connection.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        self.from.recv().await
    }

    /// Answers heartbeats for ever, after saying that it is there.
    pub(crate) async fn beat(mut self) {
        let say = |text: &'static str| Message::new(vec![Bytes::from_static(text.as_bytes())]);
        self.send(say("INIT"));
        while let Some(message) = self.recv().await {
            if message.frames() == [&b"PING"[..]] {
                self.send(say("PONG"));
            }
        }
    }
}

/// The first bytes of a connection of the newest clients.
pub(crate) fn framed_hello(identity: &[u8], role: u8) -> Bytes {
    let len = u32::try_from(identity.len()).unwrap();
    [&len.to_be_bytes()[..], identity, &[role]].concat().into()
}

async fn write(
    writer: &mut tokio::net::tcp::OwnedWriteHalf,
    item: Out,
    encode: fn(&Message) -> Encoded,
) -> std::io::Result<()> {
    match item {
        Out::Message(message) => {
            let bytes = encode(&message).segments().concat();
            writer.write_all(&bytes).await
        }
        Out::Bytes(bytes) => writer.write_all(&bytes).await,
    }
}

fn options(identity: &Identity) -> SocketOptions {
    let mut options = SocketOptions::default();
    options.peer_identity(PeerIdentity::try_from(identity.as_bytes()).unwrap());
    options
}

fn crate_message(item: Out) -> ZmqMessage {
    match item {
        Out::Message(message) => ZmqMessage::try_from(message.into_frames()).unwrap(),
        Out::Bytes(_) => panic!("the crate's sockets send messages only"),
    }
}
