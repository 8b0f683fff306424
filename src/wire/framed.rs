//! The transport of generation G19: length-prefixed chunks over plain TCP.
//!
//! A client opens three connections to one port and says on each, once and without being
//! answered, its identity and which role the connection has. Then both sides send messages: the
//! number of chunks, and each chunk after its length, all as big-endian `u32`. `net` drives
//! [`Decoder`] as it drives the one of [`zmtp`](super::zmtp) and writes what [`encode`] returns.

use bytes::{BufMut, Bytes};
use thiserror::Error;

use super::detect::Foreign;
use super::gather::Gather;
use super::identity::Identity;
use super::intake::Intake;
use super::limits::{LimitError, Limits, Tally};
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
                    let more = left > 1;
                    self.tally.add(more, len);
                    self.state = if more {
                        let left = left.saturating_sub(1);
                        State::Length { left }
                    } else {
                        State::Count
                    };
                    return Ok(Some(Item::Frame { more, body }));
                }
            }
        }
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::wire::limits::Assembler;

    const LIMITS: Limits = Limits {
        frame: 300_000,
        message: 500_000,
        frames: 8,
    };

    /// A TTL connection's first bytes, with an identity of three bytes.
    const HELLO: &[u8] = b"\0\0\0\x03abcT";

    /// Small enough that random bytes could exceed them.
    const TINY: Limits = Limits {
        frame: 64,
        message: 100,
        frames: 8,
    };

    fn drain(decoder: &mut Decoder, limits: &Limits) -> Result<Vec<Item>, FramedError> {
        let mut items = Vec::new();
        while let Some(item) = decoder.next(limits)? {
            items.push(item);
        }
        Ok(items)
    }

    fn decode(bytes: &[u8]) -> Result<Vec<Item>, FramedError> {
        let mut decoder = Decoder::new();
        decoder.feed(bytes);
        drain(&mut decoder, &LIMITS)
    }

    fn after_hello(bytes: &[u8]) -> Result<Vec<Item>, FramedError> {
        decode(&[HELLO, bytes].concat())
    }

    #[test]
    fn reads_its_own_hello_and_a_server_s_messages_without_one() {
        for role in [Role::Command, Role::Data, Role::Ttl] {
            let identity = Identity::new(b"abc").unwrap();
            let items = decode(&hello(&identity, role)).unwrap();
            assert_eq!(items, [Item::Handshake { identity, role }]);
        }
        let mut decoder = Decoder::of_a_server();
        decoder.feed(b"\0\0\0\x01\0\0\0\x04PING");
        let ping = Item::Frame {
            more: false,
            body: Bytes::from_static(b"PING"),
        };
        assert_eq!(drain(&mut decoder, &LIMITS), Ok(vec![ping]));
    }

    #[test]
    fn reads_a_handshake_and_messages() {
        let bytes = b"\0\0\0\x01\0\0\0\x04INIT\0\0\0\0\0\0\0\x02\0\0\0\0\0\0\0\x01x";
        let frame = |more, body: &'static [u8]| Item::Frame {
            more,
            body: Bytes::from_static(body),
        };
        let expected = vec![
            Item::Handshake {
                identity: Identity::new(b"abc").unwrap(),
                role: Role::Ttl,
            },
            frame(false, b"INIT"),
            Item::Empty,
            frame(true, b""),
            frame(false, b"x"),
        ];
        assert_eq!(after_hello(bytes), Ok(expected));
    }

    #[test]
    fn refuses_bad_handshakes() {
        let length = |len| Err(FramedError::IdentityLength(len));
        assert_eq!(decode(b"\0\0\0\0"), length(0));
        assert_eq!(decode(b"\0\0\x01\0"), length(256));
        assert_eq!(decode(b"\0\xff\xff\xff"), length(0x00FF_FFFF));
        assert_eq!(decode(b"\x16\x03"), Err(Foreign::Tls.into()));
        assert_eq!(decode(b"\0\0\0\x01aX"), Err(FramedError::Role(b'X')));
        assert_eq!(
            decode(&[b"\0\0\0\xff".as_slice(), &[0; 255]].concat()),
            Ok(vec![])
        );
    }

    #[test]
    fn announcements_beyond_the_limits_are_refused_at_once() {
        let error = |error: LimitError| Err(error.into());
        let limit = 8;
        assert_eq!(
            after_hello(b"\0\0\0\x09"),
            error(LimitError::Frames { limit })
        );
        assert_eq!(
            after_hello(b"\xff\xff\xff\xff"),
            error(LimitError::Frames { limit })
        );
        let (len, limit) = (0x4000_0000, LIMITS.frame);
        assert_eq!(
            after_hello(b"\0\0\0\x01\x40\0\0\0"),
            error(LimitError::Frame { len, limit })
        );
        let chunk = [&[0, 4, 0, 0], [0; 0x40000].as_slice()].concat();
        let two = [b"\0\0\0\x02", chunk.as_slice(), &chunk[..4]].concat();
        let (len, limit) = (0x80000, LIMITS.message);
        assert_eq!(after_hello(&two), error(LimitError::Message { len, limit }));
    }

    #[test]
    fn encodes_into_one_write() {
        let ping = Message::new(vec![Bytes::from_static(b"PING")]);
        let encoded = encode(&ping);
        assert_eq!(encoded.segments(), [b"\0\0\0\x01\0\0\0\x04PING".as_slice()]);
        let empty = encode(&Message::default());
        assert_eq!(empty.segments(), [b"\0\0\0\0".as_slice()]);
    }

    #[test]
    fn a_chunk_in_pieces_is_one_chunk() {
        let pieces = [vec![1; 3], vec![2; 5000], vec![3; 2]].map(Bytes::from);
        let a = Bytes::from_static(b"a");
        let message = Message::with_last(vec![a.clone()], pieces.to_vec());
        let whole = Message::new(message.clone().into_frames());
        assert_eq!(whole.frames(), [a, pieces.concat().into()]);
        let encoded = encode(&message);
        assert_eq!(encoded.segments()[1].as_ptr(), pieces[1].as_ptr());
        assert_eq!(
            encoded.segments().concat(),
            encode(&whole).segments().concat()
        );
    }

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let len =
            prop_oneof![8 => 0..600_usize, 2 => 4000..10_000_usize, 1 => 60_000..140_000_usize];
        let frame = (len, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]));
        let message = prop::collection::vec(frame, 0..4).prop_map(Message::new);
        prop::collection::vec(message, 0..5)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            messages in messages(),
            reads in prop::collection::vec(prop_oneof![1..20_usize, 1..70_000_usize], 1..20),
        ) {
            let mut bytes = HELLO.to_vec();
            bytes.extend(encode_all(&messages).segments().concat());
            let (mut decoder, mut assembler) = (Decoder::new(), Assembler::new());
            let mut got = Vec::new();
            let mut rest = bytes.as_slice();
            let mut sizes = reads.iter().cycle();
            while !rest.is_empty() {
                let size = (*sizes.next().unwrap()).min(rest.len());
                decoder.feed(&rest[..size]);
                rest = &rest[size..];
                for item in drain(&mut decoder, &LIMITS).unwrap() {
                    match item {
                        Item::Frame { more, body } => {
                            got.extend(assembler.push(more, body, &LIMITS).unwrap());
                        }
                        Item::Empty => got.push(Message::default()),
                        Item::Handshake { .. } => prop_assert!(got.is_empty()),
                    }
                }
                assembler.settle();
            }
            prop_assert_eq!(got, messages);
            prop_assert_eq!(decoder.buffered(), 0);
        }

        #[test]
        fn random_bytes_neither_panic_nor_pile_up(
            hello in any::<bool>(),
            reads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..10),
        ) {
            let mut decoder = Decoder::new();
            if hello {
                decoder.feed(HELLO);
            }
            for read in &reads {
                decoder.feed(read);
                if drain(&mut decoder, &TINY).is_err() {
                    break;
                }
                prop_assert!(decoder.buffered() < 4 + 255 + 1);
            }
        }

        #[test]
        fn random_numbers_neither_panic_nor_pile_up(
            numbers in prop::collection::vec(0..10_u32, 1..300),
        ) {
            let mut decoder = Decoder::new();
            decoder.feed(HELLO);
            for number in &numbers {
                decoder.feed(&number.to_be_bytes());
                if drain(&mut decoder, &TINY).is_err() {
                    break;
                }
                prop_assert!(decoder.buffered() < TINY.frame);
            }
        }
    }
}
