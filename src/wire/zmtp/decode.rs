//! The reading side: bytes in, items out, limits first.

use bytes::BufMut;

use super::encode::{COMMAND, LONG, MORE};
use super::{Item, ZmtpError, command, greeting};
use crate::wire::intake::Intake;
use crate::wire::limits::{Limits, Tally};

/// Longest READY; libzmq's has about 60 bytes, other libraries add properties.
const READY_MAX: usize = 4096;

/// Longest command after READY: an ERROR with a reason of 255 bytes is the longest one known.
const COMMAND_MAX: usize = 1024;

/// Reads what one peer sends.
#[derive(Debug)]
pub struct Decoder {
    intake: Intake,
    state: State,
    tally: Tally,
    /// After an error nothing that follows can be trusted to begin where it seems to.
    failed: Option<ZmtpError>,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Greeting,
    /// Between frames.
    Header {
        ready: bool,
    },
    /// Within a frame whose length was checked.
    Body {
        ready: bool,
        header: Header,
    },
}

#[derive(Clone, Copy, Debug)]
struct Header {
    command: bool,
    more: bool,
    len: usize,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// A decoder that expects a greeting.
    pub fn new() -> Self {
        Self {
            intake: Intake::new(),
            state: State::Greeting,
            tally: Tally::default(),
            failed: None,
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
    pub fn next(&mut self, limits: &Limits) -> Result<Option<Item>, ZmtpError> {
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

    fn step(&mut self, limits: &Limits) -> Result<Option<Item>, ZmtpError> {
        let (ready, header) = match self.state {
            State::Greeting => {
                let greeting = greeting::parse(self.intake.bytes())?;
                if greeting.is_some() {
                    self.intake.skip(greeting::LEN);
                    self.state = State::Header { ready: false };
                }
                return Ok(greeting.map(Item::Greeting));
            }
            State::Header { ready } => {
                let Some(header) = self.header(ready, limits)? else {
                    return Ok(None);
                };
                self.state = State::Body { ready, header };
                (ready, header)
            }
            State::Body { ready, header } => (ready, header),
        };
        let Some(body) = self.intake.body(header.len) else {
            return Ok(None);
        };
        if header.command {
            let item = command::parse(&body, ready)?;
            let ready = ready || matches!(item, Item::Ready(_));
            self.state = State::Header { ready };
            return Ok(Some(item));
        }
        self.state = State::Header { ready };
        self.tally.add(header.more, header.len);
        Ok(Some(Item::Frame {
            more: header.more,
            body,
        }))
    }

    /// Takes the header of a frame, judging flags before the length has arrived and the length
    /// before any of the body has.
    fn header(&mut self, ready: bool, limits: &Limits) -> Result<Option<Header>, ZmtpError> {
        let Some((&flags, rest)) = self.intake.bytes().split_first() else {
            return Ok(None);
        };
        if flags & !(MORE | LONG | COMMAND) != 0 {
            return Err(ZmtpError::Flags(flags));
        }
        let (command, more) = (flags & COMMAND != 0, flags & MORE != 0);
        if command && more {
            return Err(ZmtpError::CommandWithMore);
        }
        if !command && !ready {
            return Err(ZmtpError::FrameBeforeReady);
        }
        let (len, size) = if flags & LONG != 0 {
            let len = rest.first_chunk().map(|bytes| u64::from_be_bytes(*bytes));
            (len, 9)
        } else {
            (rest.first().map(|byte| u64::from(*byte)), 2)
        };
        let Some(len) = len else {
            return Ok(None);
        };
        if i64::try_from(len).is_err() {
            return Err(ZmtpError::Length(len));
        }
        // libzmq schedules heartbeats frame by frame, so that commands may come within a message.
        let len = if command {
            let limit = if ready { COMMAND_MAX } else { READY_MAX };
            usize::try_from(len)
                .ok()
                .filter(|len| *len <= limit)
                .ok_or(ZmtpError::CommandLength { len, limit })?
        } else {
            self.tally.check(len, limits)?
        };
        self.intake.skip(size);
        Ok(Some(Header { command, more, len }))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::super::{SocketType, encode, ping, ready};
    use super::*;
    use crate::wire::limits::{Assembler, LimitError};
    use crate::wire::message::Message;

    const LIMITS: Limits = Limits {
        frame: 300_000,
        message: 500_000,
        frames: 8,
    };

    /// Small enough that random bytes could exceed them.
    const TINY: Limits = Limits {
        frame: 64,
        message: 100,
        frames: 8,
    };

    fn hello() -> Vec<u8> {
        let mut bytes = greeting::greeting().to_vec();
        bytes.extend(ready(SocketType::Dealer, Some(b"someone")));
        bytes
    }

    fn drain(decoder: &mut Decoder, limits: &Limits) -> Result<Vec<Item>, ZmtpError> {
        let mut items = Vec::new();
        while let Some(item) = decoder.next(limits)? {
            items.push(item);
        }
        Ok(items)
    }

    /// A decoder whose peer has introduced itself.
    fn connected() -> Decoder {
        let mut decoder = Decoder::new();
        decoder.feed(&hello());
        let items = drain(&mut decoder, &LIMITS).unwrap();
        assert!(matches!(items[..], [Item::Greeting(_), Item::Ready(_)]));
        decoder
    }

    fn after_hello(bytes: &[u8]) -> Result<Vec<Item>, ZmtpError> {
        let mut decoder = connected();
        decoder.feed(bytes);
        drain(&mut decoder, &LIMITS)
    }

    fn before_ready(bytes: &[u8]) -> Result<Vec<Item>, ZmtpError> {
        let mut decoder = Decoder::new();
        decoder.feed(&greeting::greeting());
        decoder.feed(bytes);
        drain(&mut decoder, &LIMITS)
    }

    #[test]
    fn reads_frames_with_heartbeats_between() {
        let items = after_hello(b"\x01\x01a\x04\x07\x04PING\0\0\x02\0\0\0\0\0\0\0\x02bc");
        let ping = Item::Ping {
            ttl: 0,
            context: Bytes::new(),
        };
        let frame = |more, body: &'static [u8]| Item::Frame {
            more,
            body: Bytes::from_static(body),
        };
        assert_eq!(
            items,
            Ok(vec![frame(true, b"a"), ping, frame(false, b"bc")])
        );
    }

    #[test]
    fn flags_are_judged_at_once() {
        assert_eq!(after_hello(&[8]), Err(ZmtpError::Flags(8)));
        assert_eq!(after_hello(&[5]), Err(ZmtpError::CommandWithMore));
        assert_eq!(before_ready(&[0]), Err(ZmtpError::FrameBeforeReady));
        assert_eq!(before_ready(&[1]), Err(ZmtpError::FrameBeforeReady));
    }

    #[test]
    fn monstrous_lengths_are_refused_at_the_header() {
        for len in [1_u64 << 40, 1 << 62] {
            let bytes = len.to_be_bytes();
            let frame = [&[2], bytes.as_slice()].concat();
            let command = [&[6], bytes.as_slice()].concat();
            let limit = LIMITS.frame;
            assert_eq!(
                after_hello(&frame),
                Err(LimitError::Frame { len, limit }.into())
            );
            let limit = COMMAND_MAX;
            assert_eq!(
                after_hello(&command),
                Err(ZmtpError::CommandLength { len, limit })
            );
            let limit = READY_MAX;
            assert_eq!(
                before_ready(&command),
                Err(ZmtpError::CommandLength { len, limit })
            );
            assert_eq!(before_ready(&frame), Err(ZmtpError::FrameBeforeReady));
        }
        let frame = [&[2], u64::MAX.to_be_bytes().as_slice()].concat();
        assert_eq!(after_hello(&frame), Err(ZmtpError::Length(u64::MAX)));
    }

    #[test]
    fn endless_frames_are_refused() {
        let limit = LIMITS.frames;
        assert_eq!(
            after_hello(&[1, 0].repeat(9)),
            Err(LimitError::Frames { limit }.into())
        );
    }

    #[test]
    fn a_message_too_long_is_refused_at_the_header() {
        let frame = [&[3, 0, 0, 0, 0, 0, 4, 0, 0], [0; 0x40000].as_slice()].concat();
        let mut bytes = frame.clone();
        bytes.extend(&frame[..9]);
        let error = LimitError::Message {
            len: 0x80000,
            limit: LIMITS.message,
        };
        assert_eq!(after_hello(&bytes), Err(error.into()));
    }

    #[test]
    fn limits_may_rise() {
        let small = Limits { frame: 4, ..LIMITS };
        let mut decoder = connected();
        decoder.feed(b"\x00\x04abcd\x00\x05abcde");
        assert!(matches!(decoder.next(&small), Ok(Some(_))));
        assert!(matches!(decoder.next(&LIMITS), Ok(Some(_))));
        decoder.feed(b"\x00\x05");
        let error = LimitError::Frame { len: 5, limit: 4 };
        assert_eq!(decoder.next(&small), Err(error.clone().into()));
        assert_eq!(decoder.next(&LIMITS), Err(error.into()));
    }

    #[test]
    fn a_stranger_makes_us_hold_little() {
        let mut decoder = Decoder::new();
        decoder.feed(&hello());
        let mut assembler = Assembler::new();
        // Messages as long as they may be, over and over, in reads as long as they may be.
        let mut bytes = Vec::new();
        for _ in 0..100 {
            bytes.extend([0x01, 100].iter().chain(&[0; 100]));
            bytes.extend([0x02, 0, 0, 0, 0, 0, 0, 0x38, 0].iter().chain(&[0; 0x3800]));
        }
        for read in bytes.chunks(20_000) {
            decoder.feed(read);
            while let Some(item) = decoder.next(&Limits::STRANGER).unwrap() {
                if let Item::Frame { more, body } = item {
                    assembler.push(more, body, &Limits::STRANGER).unwrap();
                }
            }
            assembler.settle();
            assert!(decoder.allocated() + assembler.held() <= 64 * 1024);
        }
    }

    fn messages() -> impl Strategy<Value = Vec<Message>> {
        let len = prop_oneof![
            8 => 0..600_usize,
            2 => 4000..10_000_usize,
            1 => 60_000..140_000_usize
        ];
        let frame = (len, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]));
        let message = prop::collection::vec(frame, 1..4).prop_map(Message::new);
        prop::collection::vec(message, 0..5)
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_messages(
            messages in messages(),
            reads in prop::collection::vec(prop_oneof![1..20_usize, 1..70_000_usize], 1..20),
        ) {
            let mut bytes = hello();
            for message in &messages {
                bytes.extend(encode(message).segments().concat());
                bytes.extend(ping(1, b"x"));
            }
            let (mut decoder, mut assembler) = (Decoder::new(), Assembler::new());
            let (mut got, mut pings) = (Vec::new(), Vec::new());
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
                        Item::Ping { context, .. } => pings.push(context),
                        _ => prop_assert!(got.is_empty()),
                    }
                }
                assembler.settle();
            }
            prop_assert_eq!(pings, vec![Bytes::from_static(b"x"); messages.len()]);
            prop_assert_eq!(got, messages);
            prop_assert_eq!(decoder.buffered(), 0);
            prop_assert_eq!(assembler.held(), 0);
        }

        #[test]
        fn random_bytes_neither_panic_nor_pile_up(
            start in 0..3_usize,
            reads in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..100), 1..10),
        ) {
            let mut decoder = Decoder::new();
            decoder.feed(&hello()[..[0, greeting::LEN, hello().len()][start]]);
            for read in &reads {
                decoder.feed(read);
                if drain(&mut decoder, &TINY).is_err() {
                    break;
                }
                prop_assert!(decoder.buffered() < READY_MAX);
            }
        }

        #[test]
        fn random_frames_neither_panic_nor_pile_up(
            frames in prop::collection::vec(
                (0..8_u8, prop::collection::vec(any::<u8>(), 0..40)), 1..50),
        ) {
            let mut decoder = connected();
            for (flags, body) in &frames {
                let mut bytes = Vec::new();
                super::super::encode::put_header(&mut bytes, flags & !LONG, body.len());
                bytes.extend(body);
                decoder.feed(&bytes);
                if drain(&mut decoder, &TINY).is_err() {
                    break;
                }
                prop_assert_eq!(decoder.buffered(), 0);
            }
        }
    }
}
