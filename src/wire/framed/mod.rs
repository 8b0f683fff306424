//! The transport of generation G19: length-prefixed chunks over plain TCP.
//!
//! A client opens three connections to one port and says on each, once and without being
//! answered, its identity and which role the connection has. Then both sides send messages: the
//! number of chunks, and each chunk after its length, all as big-endian `u32`. `net` drives
//! [`Decoder`] as it drives the one of [`zmtp`](super::zmtp) and writes what [`encode`] returns.

#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes};
use thiserror::Error;

use super::detect::Foreign;
use super::gather::Gather;
use super::identity::Identity;
use super::intake::Intake;
use super::limits::{Assembler, LimitError, Limits, Tally};
use super::message::{Encoded, Message, Parts};

/// What a peer sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// Who the peer is and what the connection is for; comes first and once.
    Handshake {
        /// Joins the three connections of one client.
        identity: Identity,
        /// What this one carries.
        role: Role,
    },
    /// A chunk of a message.
    Frame {
        /// Whether further chunks of the same message follow.
        more: bool,
        /// The chunk's content.
        body: Bytes,
    },
    /// A message without chunks, which the protocol allows and no honest client sends.
    Empty,
}

/// What a connection carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Commands in both directions.
    Command,
    /// Nodes in both directions.
    Data,
    /// Signs of life.
    Ttl,
}

impl Role {
    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            b'C' => Some(Self::Command),
            b'D' => Some(Self::Data),
            b'T' => Some(Self::Ttl),
            _ => None,
        }
    }

    fn byte(self) -> u8 {
        match self {
            Self::Command => b'C',
            Self::Data => b'D',
            Self::Ttl => b'T',
        }
    }
}

/// What is wrong with the bytes of a peer. The connection is of no use afterwards.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum FramedError {
    /// The first bytes belong to another protocol.
    #[error(transparent)]
    Foreign(#[from] Foreign),
    /// The identity has a length that is not allowed.
    #[error("the identity has {0} bytes, not 1 to 255")]
    IdentityLength(u32),
    /// The role is none that exists.
    #[error("the role byte 0x{0:02x} is unknown")]
    Role(u8),
    /// More than the peer may send.
    #[error(transparent)]
    Limit(#[from] LimitError),
}

/// Reads what one peer sends.
#[derive(Debug)]
pub struct Decoder {
    intake: Intake,
    state: State,
    tally: Tally,
    /// After an error nothing that follows can be trusted to begin where it seems to.
    failed: Option<FramedError>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Handshake,
    /// Between messages.
    Count,
    /// Before a chunk, of which so many are still to come.
    Length {
        left: u32,
    },
    /// Within a chunk whose length was checked.
    Body {
        left: u32,
        len: usize,
    },
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that expects a handshake.
    pub fn new() -> Self {
        Self {
            intake: Intake::new(),
            state: State::Handshake,
            tally: Tally::default(),
            failed: None,
        }
    }

    /// A decoder of what a server sends, which is no handshake.
    pub fn of_a_server() -> Self {
        Self {
            state: State::Count,
            ..Self::new()
        }
    }

    /// Room for the next read, to be handed to `AsyncReadExt::read_buf`. Never empty; grows with
    /// what was received, not with what was announced. Take all items before each read.
    pub fn space(&mut self) -> impl BufMut + Send + '_ {
        self.intake.space()
    }

    /// Where the next read goes, if it can go into a large body at once; to be preferred to
    /// [`space`](Self::space). What was read is told to [`paged`](Self::paged).
    pub fn pages(&mut self) -> Option<&mut [u8]> {
        self.intake.pages()
    }

    /// So much was read into [`pages`](Self::pages).
    pub fn paged(&mut self, read: usize) {
        self.intake.paged(read);
    }

    /// Takes bytes that were read elsewhere, for instance to detect the transport.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.intake.feed(bytes);
    }

    /// Bytes received and not yet handed on.
    pub fn buffered(&self) -> usize {
        self.intake.buffered()
    }

    /// Bytes of memory kept for reading, whether filled or not.
    pub fn allocated(&self) -> usize {
        self.intake.allocated()
    }

    /// The next complete item, or `None` if more bytes are needed.
    ///
    /// # Errors
    ///
    /// As soon as the peer broke the protocol, or announced more than `limits` allow; the same
    /// error again whenever it is asked after that.
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Item>, FramedError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        self.intake.set_ceiling(limits.frame);
        let result = self.step(limits);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Gathers chunks for as long as they are all there, and short, up to the end of a message: what would come of
    /// [`next`](Self::next), chunk by chunk. `None` if that has to be asked what comes now.
    ///
    /// A chunk goes straight to where it stays, as a frame of ZMTP does.
    ///
    /// # Errors
    ///
    /// If the message is beyond the limits.
    pub fn gather(
        &mut self,
        assembler: &mut Assembler,
        limits: &Limits,
    ) -> Result<Option<Message>, LimitError> {
        while let Some((more, body)) = self.short_chunk(limits) {
            let message = assembler.push(more, body, limits)?;
            if message.is_some() {
                return Ok(message);
            }
        }
        Ok(None)
    }

    /// The next chunk, if nothing is in doubt about it.
    #[inline(always)]
    fn short_chunk(&mut self, limits: &Limits) -> Option<(bool, Bytes)> {
        if self.failed.is_some() {
            return None;
        }
        let bytes = self.intake.bytes();
        let (left, header, len) = match self.state {
            State::Count => {
                let (count, rest) = bytes.split_first_chunk()?;
                let count = u32::from_be_bytes(*count);
                let within = usize::try_from(count).is_ok_and(|count| count <= limits.frames);
                (
                    Some(count).filter(|count| *count > 0 && within)?,
                    8,
                    rest.first_chunk()?,
                )
            }
            State::Length { left } => (left, 4, bytes.first_chunk()?),
            State::Handshake | State::Body { .. } => return None,
        };
        let len = u64::from(u32::from_be_bytes(*len));
        let len = self.tally.check(len, limits).ok()?;
        let body = self.intake.short_body(header, len)?;
        Some((self.taken(left, len), body))
    }

    fn step(&mut self, limits: &Limits) -> Result<Option<Item>, FramedError> {
        loop {
            match self.state {
                State::Handshake => return self.handshake(),
                State::Count => {
                    let Some(count) = self.number() else {
                        return Ok(None);
                    };
                    if count == 0 {
                        return Ok(Some(Item::Empty));
                    }
                    let limit = limits.frames;
                    if usize::try_from(count).map_or(true, |count| count > limit) {
                        return Err(LimitError::Frames { limit }.into());
                    }
                    self.state = State::Length { left: count };
                }
                State::Length { left } => {
                    let Some(len) = self.number() else {
                        return Ok(None);
                    };
                    let len = self.tally.check(u64::from(len), limits)?;
                    self.state = State::Body { left, len };
                }
                State::Body { left, len } => {
                    let Some(body) = self.intake.body(len) else {
                        return Ok(None);
                    };
                    let more = self.taken(left, len);
                    return Ok(Some(Item::Frame { more, body }));
                }
            }
        }
    }

    /// The first of so many chunks is there, of `len` bytes; whether others of the message follow.
    fn taken(&mut self, left: u32, len: usize) -> bool {
        let more = left > 1;
        self.tally.add(more, len);
        self.state = if more {
            let left = left.saturating_sub(1);
            State::Length { left }
        } else {
            State::Count
        };
        more
    }

    fn handshake(&mut self) -> Result<Option<Item>, FramedError> {
        let bytes = self.intake.bytes();
        if bytes.first().is_some_and(|byte| *byte != 0) {
            return Err(Foreign::guess(bytes).into());
        }
        let Some((len, rest)) = bytes.split_first_chunk() else {
            return Ok(None);
        };
        let len = u32::from_be_bytes(*len);
        let Some(size @ 1..) = u8::try_from(len).ok().map(usize::from) else {
            return Err(FramedError::IdentityLength(len));
        };
        let Some((identity, rest)) = rest.split_at_checked(size) else {
            return Ok(None);
        };
        let Some(&role) = rest.first() else {
            return Ok(None);
        };
        let role = Role::from_byte(role).ok_or(FramedError::Role(role))?;
        let identity = Identity::new(identity).ok_or(FramedError::IdentityLength(len))?;
        self.intake.skip(size.saturating_add(5));
        self.state = State::Count;
        Ok(Some(Item::Handshake { identity, role }))
    }

    /// Takes the next big-endian number.
    fn number(&mut self) -> Option<u32> {
        let bytes = self.intake.bytes().first_chunk()?;
        let number = u32::from_be_bytes(*bytes);
        self.intake.skip(4);
        Some(number)
    }
}

/// The first bytes of a client's connection.
pub fn hello(identity: &Identity, role: Role) -> Bytes {
    // An identity has 255 bytes at most.
    let len = u8::try_from(identity.as_bytes().len()).unwrap_or(u8::MAX);
    [&[0, 0, 0, len], identity.as_bytes(), &[role.byte()]]
        .concat()
        .into()
}

/// One message as chunks. Small chunks are merged into one segment, big ones are shared. Chunks
/// of 4 GiB and more cannot be expressed; the limits on nodes lie far below.
///
/// What this returns has to leave in one write where it is small: the clients' TTL process takes a
/// partial message for silence (wire spec, generation G19).
pub fn encode(message: &Message) -> Encoded {
    encode_all(std::slice::from_ref(message))
}

/// Several messages that belong together, to be written one after the other.
pub fn encode_all(messages: &[impl Parts]) -> Encoded {
    let number = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let mut gather = Gather::for_messages(messages, size_of::<u32>());
    for message in messages {
        gather.header().put_u32(number(message.parts().count()));
        for frame in message.parts() {
            gather.header().put_u32(number(frame.len()));
            gather.body(frame);
        }
    }
    gather.finish()
}
