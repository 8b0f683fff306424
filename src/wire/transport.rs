//! Messages in the bytes of the transport that goes with a port layout.

use super::dialect::Ports;
use super::message::{Encoded, Parts};
use super::{framed, zmtp};

/// Encodes messages that are to be written one after the other.
pub fn encode(ports: Ports, messages: &[impl Parts]) -> Encoded {
    match ports {
        Ports::Four | Ports::Three => zmtp::encode_all(messages),
        Ports::Framed => framed::encode_all(messages),
    }
}
