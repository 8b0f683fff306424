//! Which transport a new connection speaks, told by its first bytes.
//!
//! The newest clients share one port with everybody else, and scanners speak TLS, HTTP and SSH to
//! any port that is open to the world: `net` asks here before it picks a decoder, and logs the
//! answer when there is none to pick.

use thiserror::Error;

/// The transports clients use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// ZeroMQ's protocol, of generations G1 to G18.
    Zmtp,
    /// Length-prefixed chunks, of generation G19.
    Framed,
}

/// A peer speaks neither transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Foreign {
    /// The first bytes of TLS: a handshake, or an alert in answer to something else.
    #[error("the peer speaks TLS, which this port does not")]
    Tls,
    /// The first bytes of an HTTP request, or of an answer.
    #[error("the peer speaks HTTP, which this port does not")]
    Http,
    /// The first bytes of an SSH banner.
    #[error("the peer speaks SSH, which this port does not")]
    Ssh,
    /// A peer of ZeroMQ before version 3, which begins with its identity.
    #[error("the peer speaks the protocol of ZeroMQ 2; ZeroMQ 4 or newer is needed")]
    Zmtp1,
    /// Something else that begins with this byte.
    #[error("the peer speaks an unknown protocol (its first byte is 0x{0:02x})")]
    Unknown(u8),
}

impl Foreign {
    /// The likeliest name for a protocol that begins with these bytes.
    pub fn guess(first: &[u8]) -> Self {
        let begins = |start: &[u8]| first.iter().zip(start).all(|(a, b)| a == b);
        match first {
            [0x15 | 0x16] | [0x15 | 0x16, 0x03, ..] => Self::Tls,
            [0x01, 0x00, ..] => Self::Zmtp1,
            [] => Self::Unknown(0),
            _ if HTTP.iter().any(|method| begins(method)) => Self::Http,
            _ if begins(b"SSH-") => Self::Ssh,
            [byte, ..] => Self::Unknown(*byte),
        }
    }
}

/// The transport of a peer that began with `first`, or `None` if more bytes are needed to tell (at
/// most four are).
///
/// # Errors
///
/// As soon as no client begins like this, with the protocol it looks like.
pub fn detect(first: &[u8]) -> Result<Option<Transport>, Foreign> {
    match first {
        [0xFF, ..] => Ok(Some(Transport::Zmtp)),
        // An identity of 1 to 255 bytes, its length in big-endian order.
        [0, 0, 0, 1..=255, ..] => Ok(Some(Transport::Framed)),
        [] | [0] | [0, 0] | [0, 0, 0] => Ok(None),
        _ => Err(Foreign::guess(first)),
    }
}

const HTTP: [&[u8]; 9] = [
    b"GET ", b"POST", b"HEAD", b"PUT ", b"OPTI", b"CONN", b"DELE", b"PRI ", b"HTTP",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_both_transports() {
        assert_eq!(detect(&[0xFF]), Ok(Some(Transport::Zmtp)));
        assert_eq!(detect(&[0xFF, 0, 0, 0]), Ok(Some(Transport::Zmtp)));
        assert_eq!(detect(&[0, 0, 0, 16, 9]), Ok(Some(Transport::Framed)));
        assert_eq!(detect(&[0, 0, 0, 255]), Ok(Some(Transport::Framed)));
        for len in 0..4 {
            assert_eq!(detect(&[0, 0, 0, 16][..len]), Ok(None));
        }
    }

    #[test]
    fn names_what_strangers_speak() {
        let cases: [(&[u8], Foreign); 14] = [
            (&[0x16], Foreign::Tls),
            (&[0x16, 3, 1, 2], Foreign::Tls),
            (&[0x15, 3, 3, 0], Foreign::Tls),
            (&[0x16, 4], Foreign::Unknown(0x16)),
            (b"GET / HTTP/1.1", Foreign::Http),
            (b"G", Foreign::Http),
            (b"OPTIONS /", Foreign::Http),
            (b"HTTP/1.1 400 ", Foreign::Http),
            (b"SSH-2.0-x", Foreign::Ssh),
            (b"\x01\x00", Foreign::Zmtp1),
            (b"\x01\x01", Foreign::Unknown(1)),
            (&[0, 0, 0, 0], Foreign::Unknown(0)),
            (&[0, 0, 1, 0], Foreign::Unknown(0)),
            (b"hello", Foreign::Unknown(b'h')),
        ];
        for (first, expected) in cases {
            assert_eq!(detect(first), Err(expected), "{first:?}");
        }
    }
}
