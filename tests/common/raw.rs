//! Bare connections: any bytes, and hand-made handshakes.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::limits::Assembler;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::zmtp::{self, SocketType};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

use super::{ANYTHING, identity, within};

/// Where honest peers come from.
pub(crate) const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// Where attackers come from, so that limits per address are their own. (Linux answers to all of
/// 127.0.0.0/8.)
pub(crate) const ELSEWHERE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

/// One TCP connection.
#[derive(Debug)]
pub(crate) struct Raw {
    stream: TcpStream,
    decoder: zmtp::Decoder,
    assembler: Assembler,
}

impl Raw {
    pub(crate) async fn connect_from(from: Ipv4Addr, to: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind((from, 0).into()).unwrap();
        let stream = within("connecting", socket.connect(to)).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self {
            stream,
            decoder: zmtp::Decoder::new(),
            assembler: Assembler::new(),
        }
    }

    /// An attacker's connection.
    pub(crate) async fn connect(to: SocketAddr) -> Self {
        Self::connect_from(ELSEWHERE, to).await
    }

    /// An attacker's connection that has sent these bytes.
    pub(crate) async fn saying(to: SocketAddr, bytes: &[u8]) -> Self {
        let mut raw = Self::connect(to).await;
        // The server may have closed it already.
        let _ = raw.send(bytes).await;
        raw
    }

    /// An attacker's DEALER with an identity of its own.
    pub(crate) async fn dealer(to: SocketAddr) -> Self {
        Self::dealer_from(ELSEWHERE, to, &identity()).await
    }

    /// A DEALER, handshake done.
    pub(crate) async fn dealer_from(from: Ipv4Addr, to: SocketAddr, identity: &Identity) -> Self {
        let mut raw = Self::connect_from(from, to).await;
        raw.shake(SocketType::Dealer, Some(identity.as_bytes()))
            .await
            .unwrap();
        raw
    }

    /// An attacker's PUSH, handshake done.
    pub(crate) async fn push(to: SocketAddr) -> Self {
        Self::push_from(ELSEWHERE, to).await
    }

    /// A PUSH, handshake done.
    pub(crate) async fn push_from(from: Ipv4Addr, to: SocketAddr) -> Self {
        let mut raw = Self::connect_from(from, to).await;
        raw.shake(SocketType::Push, None).await.unwrap();
        raw
    }

    /// Exchanges greeting and READY.
    pub(crate) async fn shake(
        &mut self,
        kind: SocketType,
        identity: Option<&[u8]>,
    ) -> io::Result<()> {
        self.send(&zmtp::greeting()).await?;
        self.send(&zmtp::ready(kind, identity)).await?;
        within("the handshake", async {
            loop {
                if let Some(zmtp::Item::Ready(_)) = self.item().await? {
                    return Ok(());
                }
            }
        })
        .await
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends a message as ZMTP frames.
    pub(crate) async fn say(&mut self, message: &Message) -> io::Result<()> {
        let bytes = zmtp::encode(message).segments().concat();
        self.send(&bytes).await
    }

    /// The next thing the server says; an error at the end of the connection.
    async fn item(&mut self) -> io::Result<Option<zmtp::Item>> {
        loop {
            if let Some(item) = self.decoder.next(&ANYTHING).unwrap() {
                return Ok(Some(item));
            }
            if self.stream.read_buf(&mut self.decoder.space()).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// The next message; `None` at the end of the connection.
    pub(crate) async fn recv(&mut self) -> Option<Message> {
        loop {
            if let zmtp::Item::Frame { more, body } = self.item().await.ok()??
                && let Some(message) = self.assembler.push(more, body, &ANYTHING).unwrap()
            {
                return Some(message);
            }
        }
    }

    /// Waits until the server ends the connection; gives the bytes it said before. Must come
    /// before any message was received.
    pub(crate) async fn closed(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        within("the server's closing of a connection", async {
            let mut buffer = [0; 4096];
            // A reset is an end as well.
            while let Ok(n @ 1..) = self.stream.read(&mut buffer).await {
                bytes.extend_from_slice(&buffer[..n]);
            }
        })
        .await;
        bytes
    }

    /// Hangs up, and waits until the server has done so, too.
    pub(crate) async fn hung_up(mut self) {
        // The server may have been first.
        let _ = self.stream.shutdown().await;
        self.closed().await;
    }

    /// Waits until the server ends the connection; gives the messages it sent before.
    pub(crate) async fn last_words(mut self) -> Vec<Message> {
        let mut messages = Vec::new();
        within("the server's closing of a connection", async {
            while let Some(message) = self.recv().await {
                messages.push(message);
            }
        })
        .await;
        messages
    }

    pub(crate) fn into_stream(self) -> TcpStream {
        self.stream
    }

    pub(crate) fn into_parts(self) -> (TcpStream, zmtp::Decoder, Assembler) {
        (self.stream, self.decoder, self.assembler)
    }
}

/// A message of these frames.
pub(crate) fn message<const N: usize>(frames: [&[u8]; N]) -> Message {
    Message::new(frames.iter().map(|f| Bytes::copy_from_slice(f)).collect())
}
