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
    let len = prop_oneof![8 => 0..600_usize, 2 => 4000..10_000_usize, 1 => 60_000..140_000_usize];
    let frame = (len, any::<u8>()).prop_map(|(len, byte)| Bytes::from(vec![byte; len]));
    let message = prop::collection::vec(frame, 0..4).prop_map(Message::new);
    prop::collection::vec(message, 0..5)
}

/// What a peer sent, in reads of these sizes over and over, up to what is wrong: messages, all else, and that.
/// Chunk by chunk, or as many as can be gathered at once.
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

#[test]
fn short_chunks_are_gathered_up_to_the_end_of_a_message() {
    let message = Message::new(
        [b"a".as_slice(), b"", b"ccc"]
            .map(Bytes::from_static)
            .to_vec(),
    );
    let (mut decoder, mut assembler) = (Decoder::of_a_server(), Assembler::new());
    decoder.feed(
        &encode_all(&[message.clone(), message.clone()])
            .segments()
            .concat(),
    );
    for _ in 0..2 {
        let gathered = decoder.gather(&mut assembler, &LIMITS);
        assert_eq!(gathered, Ok(Some(message.clone())));
    }
    assert_eq!(decoder.gather(&mut assembler, &LIMITS), Ok(None));
}

proptest! {
    #[test]
    fn what_is_gathered_is_what_comes_chunk_by_chunk(
        messages in messages(),
        reads in prop::collection::vec(prop_oneof![1..20_usize, 1..70_000_usize], 1..20),
        damage in prop_oneof![2 => Just(None), 1 => (any::<prop::sample::Index>(), any::<u8>()).prop_map(Some)],
        limits in prop_oneof![
            Just(LIMITS),
            Just(TINY),
            Just(Limits { frame: 100_000, message: 9_000, frames: 2 }),
        ],
    ) {
        let mut bytes = HELLO.to_vec();
        bytes.extend(encode_all(&messages).segments().concat());
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
