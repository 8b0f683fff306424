//! The transports against what real clients and the reference server put on the wire.
//!
//! Each line of a corpus file is one direction of one recorded connection: its number, the port's
//! offset, the direction, how many messages the recorder saw, and the bytes in hex. A stream must
//! decode to its end and be the same bytes when it is encoded again.

#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "tests"
)]

use std::path::Path;

use multi_user_server::wire::detect::{Transport, detect};
use multi_user_server::wire::limits::{Assembler, Limits};
use multi_user_server::wire::message::Message;
use multi_user_server::wire::zmtp::SocketType;
use multi_user_server::wire::{framed, zmtp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zeromq::prelude::*;

const LIMITS: Limits = Limits {
    frame: 1 << 20,
    message: 1 << 20,
    frames: 8,
};

struct Stream {
    port: u16,
    from_client: bool,
    messages: usize,
    bytes: Vec<u8>,
}

fn corpus(name: &str) -> Vec<Stream> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/corpus")
        .join(name);
    let text = std::fs::read_to_string(path).unwrap();
    let streams: Vec<_> = text
        .lines()
        .map(|line| {
            let fields: Vec<_> = line.split(' ').collect();
            let bytes = (0..fields[4].len()).step_by(2);
            Stream {
                port: fields[1].parse().unwrap(),
                from_client: fields[2] == "c2s",
                messages: fields[3].parse().unwrap(),
                bytes: bytes
                    .map(|at| u8::from_str_radix(&fields[4][at..at + 2], 16).unwrap())
                    .collect(),
            }
        })
        .collect();
    assert!(streams.len() >= 16, "{name}");
    streams
}

/// Reads a ZMTP stream byte by byte; what its peer said about itself, and its messages.
fn read_zmtp(bytes: &[u8]) -> (zmtp::Greeting, zmtp::Ready, Vec<Message>) {
    let (mut decoder, mut assembler) = (zmtp::Decoder::new(), Assembler::new());
    let (mut greeting, mut ready, mut messages) = (None, None, Vec::new());
    for byte in bytes {
        decoder.feed(&[*byte]);
        while let Some(item) = decoder.next(&LIMITS).unwrap() {
            match item {
                zmtp::Item::Greeting(item) => greeting = Some(item),
                zmtp::Item::Ready(item) => ready = Some(item),
                zmtp::Item::Frame { more, body } => {
                    messages.extend(assembler.push(more, body, &LIMITS).unwrap());
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!((decoder.buffered(), assembler.held()), (0, 0));
    (greeting.unwrap(), ready.unwrap(), messages)
}

fn check_zmtp(name: &str, push: Option<u16>) {
    for stream in corpus(name) {
        assert_eq!(detect(&stream.bytes), Ok(Some(Transport::Zmtp)));
        let (greeting, ready, messages) = read_zmtp(&stream.bytes);
        assert_eq!((greeting.major, greeting.as_server), (3, false));
        assert!(greeting.minor <= 1);
        let expected = match (push == Some(stream.port), stream.from_client) {
            (false, true) => SocketType::Dealer,
            (false, false) => SocketType::Router,
            (true, true) => SocketType::Push,
            (true, false) => SocketType::Pull,
        };
        assert_eq!(ready.socket_type, expected);
        let identity = ready.identity.as_ref().map(|identity| identity.as_bytes());
        match expected {
            SocketType::Dealer => assert_eq!(identity.unwrap().len(), 16),
            SocketType::Router => assert!(identity.is_none_or(|id| id.starts_with(b"SERVER_"))),
            _ => assert_eq!(identity, None),
        }
        assert_eq!(messages.len(), stream.messages);
        let (hello, traffic) = stream.bytes[64..].split_at(2 + usize::from(stream.bytes[65]));
        assert_eq!(zmtp::encode_all(&messages).segments().concat(), traffic);
        // libzmq writes an empty identity where a ROUTER has none; we write none.
        if expected != SocketType::Router || identity.is_some() {
            assert_eq!(zmtp::ready(expected, identity), hello);
        }
    }
}

#[test]
fn zmtp_of_g1() {
    check_zmtp("zmtp/0.0.3.txt", Some(2));
}

#[test]
fn zmtp_of_g5() {
    check_zmtp("zmtp/0.1.26.txt", Some(2));
}

#[test]
fn zmtp_of_g18() {
    check_zmtp("zmtp/0.9.11.txt", None);
}

fn check_framed(name: &str) {
    for stream in corpus(name) {
        let (mut decoder, mut assembler) = (framed::Decoder::new(), Assembler::new());
        let mut messages = Vec::new();
        let mut again = Vec::new();
        if stream.from_client {
            assert_eq!(detect(&stream.bytes), Ok(Some(Transport::Framed)));
        } else {
            // The server's side has no handshake.
            decoder.feed(b"\0\0\0\x01sC");
            assert!(decoder.next(&LIMITS).unwrap().is_some());
        }
        for byte in &stream.bytes {
            decoder.feed(&[*byte]);
            while let Some(item) = decoder.next(&LIMITS).unwrap() {
                match item {
                    framed::Item::Handshake { identity, .. } => {
                        assert_eq!(identity.as_bytes().len(), 16);
                        again.extend(&stream.bytes[..21]);
                    }
                    framed::Item::Frame { more, body } => {
                        messages.extend(assembler.push(more, body, &LIMITS).unwrap());
                    }
                    framed::Item::Empty => panic!("an empty message"),
                }
            }
        }
        assert_eq!((decoder.buffered(), assembler.held()), (0, 0));
        assert_eq!(messages.len(), stream.messages);
        again.extend(framed::encode_all(&messages).segments().concat());
        assert_eq!(again, stream.bytes);
    }
}

#[test]
fn framed_of_0_9_12() {
    check_framed("framed/0.9.12.txt");
}

#[test]
fn framed_of_0_10_3() {
    check_framed("framed/0.10.3.txt");
}

/// The next message of a socket, past the greeting and READY; PINGs are not expected.
async fn receive(
    stream: &mut tokio::net::TcpStream,
    decoder: &mut zmtp::Decoder,
    assembler: &mut Assembler,
) -> Message {
    loop {
        while let Some(item) = decoder.next(&LIMITS).unwrap() {
            if let zmtp::Item::Frame { more, body } = item
                && let Some(message) = assembler.push(more, body, &LIMITS).unwrap()
            {
                return message;
            }
        }
        assembler.settle();
        let read = stream.read_buf(&mut decoder.space()).await.unwrap();
        assert_ne!(read, 0, "the peer hung up");
    }
}

#[tokio::test]
async fn an_implementation_of_others_gets_its_messages_back() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("tcp://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(&zmtp::greeting()).await.unwrap();
        let ready = zmtp::ready(SocketType::Router, Some(b"SERVER_COMMAND"));
        stream.write_all(&ready).await.unwrap();
        let (mut decoder, mut assembler) = (zmtp::Decoder::new(), Assembler::new());
        for _ in 0..2 {
            let message = receive(&mut stream, &mut decoder, &mut assembler).await;
            for segment in zmtp::encode(&message).segments() {
                stream.write_all(segment).await.unwrap();
            }
        }
        // Open until the peer has read everything.
        assert_eq!(stream.read_buf(&mut decoder.space()).await.unwrap(), 0);
    });
    let mut dealer = zeromq::DealerSocket::new();
    dealer.connect(&endpoint).await.unwrap();
    for sizes in [[3, 0, 300], [1, 700_000, 5000]] {
        let frames: Vec<bytes::Bytes> = sizes.iter().map(|size| vec![7_u8; *size].into()).collect();
        let message = zeromq::ZmqMessage::try_from(frames).unwrap();
        dealer.send(message.clone()).await.unwrap();
        let back = dealer.recv().await.unwrap();
        assert_eq!(back.into_vec(), message.into_vec());
    }
    drop(dealer);
    server.await.unwrap();
}
