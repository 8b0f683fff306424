//! From an accepted socket to a link with a role: which transport, who, what for.
//!
//! Called by the ports' connection tasks under the handshake deadline. What a peer may make us
//! hold meanwhile is bounded by [`Limits::STRANGER`].

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use rand::TryRngCore;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf};

use crate::wire::detect::{Foreign, Transport, detect};
use crate::wire::framed::{self, FramedError};
use crate::wire::heartbeat;
use crate::wire::identity::Identity;
use crate::wire::limits::{Assembler, LimitError, Limits};
use crate::wire::message::Message;
use crate::wire::role::Role;
use crate::wire::zmtp::{self, SocketType, ZmtpError};

/// A connection whose purpose is known.
#[derive(Debug)]
pub struct Opened<Io> {
    /// What it is for.
    pub role: Role,
    /// Whose it is. A publisher's says so only with its first message.
    pub identity: Option<Identity>,
    /// Whether it uses the newest clients' transport.
    pub framed: bool,
    /// Whether it answers heartbeats of the transport: peers of ZMTP 3.1 do.
    pub answers_pings: bool,
    /// Whether a first PING went out with the end of the handshake.
    pub greeted: bool,
    /// What it sends.
    pub decoder: Decoder,
    /// Where that comes from.
    pub reader: ReadHalf<Io>,
    /// Where answers go.
    pub writer: WriteHalf<Io>,
}

/// Why a connection is of no use.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The peer went away.
    #[error("the peer closed the connection during the handshake")]
    Closed,
    /// The socket failed.
    #[error("the connection failed: {0}")]
    Io(#[from] io::Error),
    /// Another protocol.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// Not as ZMTP has it.
    #[error(transparent)]
    Zmtp(ZmtpError),
    /// Not as the framed transport has it.
    #[error(transparent)]
    Framed(FramedError),
    /// ZeroMQ's transport, where it is not offered.
    #[error("ZeroMQ is not offered on this port")]
    NoZmtp,
    /// The framed transport, where it is not offered.
    #[error("the framed transport is not offered on this port")]
    NoFramed,
    /// A socket that does not belong on this port.
    #[error("a {0:?} socket does not belong on port p+{1}")]
    SocketType(SocketType, u16),
}

impl From<ZmtpError> for OpenError {
    fn from(error: ZmtpError) -> Self {
        match error {
            ZmtpError::Foreign(foreign) => Self::Foreign(foreign),
            error => Self::Zmtp(error),
        }
    }
}

impl From<FramedError> for OpenError {
    fn from(error: FramedError) -> Self {
        match error {
            FramedError::Foreign(foreign) => Self::Foreign(foreign),
            error => Self::Framed(error),
        }
    }
}

/// Which transports may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Offered {
    /// ZeroMQ's, of all clients but the newest.
    pub zmtp: bool,
    /// The newest clients', on the first port.
    pub framed: bool,
}

/// Speaks with a new connection until its purpose is known. `offset` is the port's distance from
/// the base port.
///
/// # Errors
///
/// If the peer is none of ours, breaks the rules, or goes away.
pub async fn open<Io>(io: Io, offset: u16, offered: Offered) -> Result<Opened<Io>, OpenError>
where
    Io: AsyncRead + AsyncWrite + Send + Unpin,
{
    let (mut reader, mut writer) = tokio::io::split(io);
    let mut first = Vec::with_capacity(64);
    let transport = loop {
        if reader.read_buf(&mut (&mut first).limit(64)).await? == 0 {
            return Err(OpenError::Closed);
        }
        if let Some(transport) = detect(&first)? {
            break transport;
        }
    };
    match transport {
        Transport::Zmtp if offered.zmtp => {
            let mut decoder = zmtp::Decoder::new();
            decoder.feed(&first);
            let (ready, answers_pings) = shake_zmtp(&mut decoder, &mut reader, &mut writer).await?;
            let (role, answer) = purpose(ready.socket_type, offset)?;
            let mut last = BytesMut::from(zmtp::ready(answer, None));
            // Clients of four ports up to 0.0.11 end themselves if their own program says something
            // before the first PING is there.
            let greeted = offset == 3 && role == Role::Ttl;
            if greeted {
                last.put(heartbeat::ping(false));
            }
            writer.write_all(&last).await?;
            let identity =
                (role != Role::Publisher).then(|| ready.identity.unwrap_or_else(nameless));
            let decoder = Decoder::Zmtp(decoder);
            Ok(Opened {
                role,
                identity,
                framed: false,
                answers_pings,
                greeted,
                decoder,
                reader,
                writer,
            })
        }
        Transport::Framed if offered.framed && offset == 0 => {
            let mut decoder = framed::Decoder::new();
            decoder.feed(&first);
            let (identity, role) = shake_framed(&mut decoder, &mut reader).await?;
            let role = match role {
                framed::Role::Command => Role::Command,
                framed::Role::Data => Role::Subscriber,
                framed::Role::Ttl => Role::Ttl,
            };
            let decoder = Decoder::Framed(decoder);
            Ok(Opened {
                role,
                identity: Some(identity),
                framed: true,
                answers_pings: false,
                greeted: false,
                decoder,
                reader,
                writer,
            })
        }
        Transport::Zmtp => Err(OpenError::NoZmtp),
        Transport::Framed => Err(OpenError::NoFramed),
    }
}

async fn shake_zmtp<R, W>(
    decoder: &mut zmtp::Decoder,
    reader: &mut R,
    writer: &mut W,
) -> Result<(zmtp::Ready, bool), OpenError>
where
    R: AsyncRead + Unpin,
    W: AsyncWrite + Unpin,
{
    writer.write_all(&zmtp::greeting()).await?;
    let mut answers_pings = false;
    loop {
        while let Some(item) = decoder.next(&Limits::STRANGER)? {
            match item {
                zmtp::Item::Greeting(greeting) => answers_pings = greeting.minor >= 1,
                zmtp::Item::Ready(ready) => return Ok((ready, answers_pings)),
                _ => {}
            }
        }
        if reader.read_buf(&mut decoder.space()).await? == 0 {
            return Err(OpenError::Closed);
        }
    }
}

async fn shake_framed<R: AsyncRead + Unpin>(
    decoder: &mut framed::Decoder,
    reader: &mut R,
) -> Result<(Identity, framed::Role), OpenError> {
    loop {
        while let Some(item) = decoder.next(&Limits::STRANGER)? {
            if let framed::Item::Handshake { identity, role } = item {
                return Ok((identity, role));
            }
        }
        if reader.read_buf(&mut decoder.space()).await? == 0 {
            return Err(OpenError::Closed);
        }
    }
}

/// What a socket on a port is for, and which socket answers it (wire spec, detecting the
/// generation). The peer's READY comes first, because on p+2 ours depends on it.
fn purpose(peer: SocketType, offset: u16) -> Result<(Role, SocketType), OpenError> {
    match (offset, peer) {
        (0, SocketType::Dealer) => Ok((Role::Command, SocketType::Router)),
        (1, SocketType::Dealer) => Ok((Role::Subscriber, SocketType::Router)),
        (2, SocketType::Push) => Ok((Role::Publisher, SocketType::Pull)),
        (2 | 3, SocketType::Dealer) => Ok((Role::Ttl, SocketType::Router)),
        _ => Err(OpenError::SocketType(peer, offset)),
    }
}

/// An identity for a peer that gave none, as a ROUTER makes one up: whoever asks for the server
/// info may do so without one.
fn nameless() -> Identity {
    let mut bytes = [0; 16];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .ok()
        .and_then(|()| Identity::new(&bytes))
        .unwrap_or_else(Identity::anonymous)
}

/// What either transport sends after its handshake.
#[derive(Debug)]
pub enum Decoder {
    /// ZeroMQ's.
    Zmtp(zmtp::Decoder),
    /// The newest clients'.
    Framed(framed::Decoder),
}

/// Something a peer sent.
#[derive(Debug)]
pub enum Item {
    /// A frame of a message.
    Frame {
        /// Whether more frames of the message follow.
        more: bool,
        /// Its content.
        body: Bytes,
    },
    /// A heartbeat of the transport, to be answered with these bytes.
    Ping(Bytes),
    /// The answer to a heartbeat of ours, with its context.
    Pong(Bytes),
    /// Nothing that matters.
    Other,
}

/// What is wrong with what a peer sent.
#[derive(Debug, Error)]
pub enum DecodeError {
    /// Not as ZMTP has it.
    #[error(transparent)]
    Zmtp(#[from] ZmtpError),
    /// Not as the framed transport has it.
    #[error(transparent)]
    Framed(#[from] FramedError),
    /// More than the peer may send.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

impl Decoder {
    /// The next item, if it is complete.
    ///
    /// # Errors
    ///
    /// If the peer breaks the transport's rules or a limit.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Item>, DecodeError> {
        Ok(match self {
            Self::Zmtp(decoder) => decoder.next(limits)?.map(|item| match item {
                zmtp::Item::Frame { more, body } => Item::Frame { more, body },
                zmtp::Item::Ping { context, .. } => Item::Ping(zmtp::pong(&context)),
                zmtp::Item::Pong { context } => Item::Pong(context),
                _ => Item::Other,
            }),
            Self::Framed(decoder) => decoder.next(limits)?.map(|item| match item {
                framed::Item::Frame { more, body } => Item::Frame { more, body },
                _ => Item::Other,
            }),
        })
    }

    /// Gathers frames that are there, and short, up to the end of a message. `None` if [`next`](Self::next) has to be
    /// asked what comes now.
    ///
    /// # Errors
    ///
    /// If the message is beyond the limits.
    pub fn gather(
        &mut self,
        assembler: &mut Assembler,
        limits: &Limits,
    ) -> Result<Option<Message>, LimitError> {
        match self {
            Self::Zmtp(decoder) => decoder.gather(assembler, limits),
            Self::Framed(decoder) => decoder.gather(assembler, limits),
        }
    }

    /// Reads from the socket into the decoder.
    ///
    /// # Errors
    ///
    /// If the socket fails.
    pub async fn read<R: AsyncRead + Unpin>(&mut self, reader: &mut R) -> io::Result<usize> {
        let pages = match self {
            Self::Zmtp(decoder) => decoder.pages(),
            Self::Framed(decoder) => decoder.pages(),
        };
        if let Some(pages) = pages {
            let read = reader.read(pages).await?;
            match self {
                Self::Zmtp(decoder) => decoder.paged(read),
                Self::Framed(decoder) => decoder.paged(read),
            }
            return Ok(read);
        }
        match self {
            Self::Zmtp(decoder) => reader.read_buf(&mut decoder.space()).await,
            Self::Framed(decoder) => reader.read_buf(&mut decoder.space()).await,
        }
    }

    /// Bytes received that are not yet part of an item.
    pub fn buffered(&self) -> usize {
        match self {
            Self::Zmtp(decoder) => decoder.buffered(),
            Self::Framed(decoder) => decoder.buffered(),
        }
    }

    /// Memory held for them.
    pub fn allocated(&self) -> usize {
        match self {
            Self::Zmtp(decoder) => decoder.allocated(),
            Self::Framed(decoder) => decoder.allocated(),
        }
    }
}
