//! Bytes as peers may send them, in reads of any size.

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

/// What a peer sent, in reads of these sizes over and over, up to what is wrong: messages, all else, and that.
/// Frame by frame, or as many as can be gathered at once.
fn read(
    bytes: &[u8],
    reads: &[usize],
    limits: &Limits,
    gathers: bool,
) -> (Vec<Message>, Vec<Item>, Option<String>) {
    let (mut decoder, mut assembler) = (Decoder::new(), Assembler::new());
    let (mut messages, mut others) = (Vec::new(), Vec::new());
    let mut rest = bytes;
    for size in reads.iter().cycle() {
        let size = (*size).min(rest.len());
        decoder.feed(&rest[..size]);
        rest = &rest[size..];
        loop {
            if gathers {
                match decoder.gather(&mut assembler, limits) {
                    Ok(Some(message)) => {
                        messages.push(message);
                        continue;
                    }
                    Ok(None) => {}
                    Err(error) => return (messages, others, Some(error.to_string())),
                }
            }
            match decoder.next(limits) {
                Ok(Some(Item::Frame { more, body })) => match assembler.push(more, body, limits) {
                    Ok(message) => messages.extend(message),
                    Err(error) => return (messages, others, Some(error.to_string())),
                },
                Ok(Some(item)) => others.push(item),
                Ok(None) => break,
                Err(error) => return (messages, others, Some(error.to_string())),
            }
        }
        assembler.settle();
        if rest.is_empty() {
            break;
        }
    }
    (messages, others, None)
}

proptest! {
    #[test]
    fn what_is_gathered_is_what_comes_frame_by_frame(
        messages in messages(),
        ping_after in prop::collection::vec(any::<bool>(), 5),
        reads in prop::collection::vec(prop_oneof![1..20_usize, 1..70_000_usize], 1..20),
        damage in prop_oneof![2 => Just(None), 1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)],
        limits in prop_oneof![
            Just(LIMITS),
            Just(TINY),
            Just(Limits { frame: 100_000, message: 9_000, frames: 2 }),
        ],
    ) {
        let mut bytes = hello();
        for (message, pings) in messages.iter().zip(ping_after) {
            bytes.extend(encode(message).segments().concat());
            if pings {
                bytes.extend(ping(1, b"x"));
            }
        }
        if let Some((at, byte)) = damage {
            *at.get_mut(&mut bytes) = byte;
        }
        let one_by_one = read(&bytes, &reads, &limits, false);
        prop_assert_eq!(read(&bytes, &reads, &limits, true), one_by_one);
    }

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
