//! The words of the heartbeat channel (wire spec, TTL): one frame each.
//!
//! A client begins with `INIT`, and answers each `PING` of the server with a `PONG`.

use bytes::Bytes;

use super::dialect::Ports;
use super::message::Message;
use super::transport;

/// What a client begins with.
pub const INIT: &[u8] = b"INIT";
/// What the server says, so that clients do not end themselves.
pub const PING: &[u8] = b"PING";
/// What clients answer.
pub const PONG: &[u8] = b"PONG";

/// A PING in the bytes of a transport.
pub fn ping(framed: bool) -> Bytes {
    let ports = if framed { Ports::Framed } else { Ports::Four };
    let message = Message::new(vec![Bytes::from_static(PING)]);
    let encoded = transport::encode(ports, &[message]);
    encoded.segments().concat().into()
}
