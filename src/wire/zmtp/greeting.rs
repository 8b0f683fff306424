//! The 64 bytes with which both peers begin.

use super::{ZmtpError, printable};
use crate::wire::detect::Foreign;

/// Bytes of a greeting.
pub(super) const LEN: usize = 64;

const SIGNATURE: u8 = 0xFF;
const NULL: &[u8] = b"NULL";

/// What a peer's greeting says. That it is ZMTP 3 with the NULL mechanism was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// Major version of the protocol, 3 in every known peer.
    pub major: u8,
    /// Minor version: 0 before libzmq 4.3.3, 1 from there on.
    pub minor: u8,
    /// Whether the peer takes the server's part; means nothing with the NULL mechanism.
    pub as_server: bool,
}

/// Our greeting: ZMTP 3.1 (the version that knows heartbeats, and what libzmq says itself since
/// 4.3.3; older peers look at the major version only), NULL mechanism, not as server.
pub fn greeting() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    let start = [SIGNATURE, 0, 0, 0, 0, 0, 0, 0, 0, 0x7F, 3, 1];
    let said = start.iter().chain(NULL);
    for (place, byte) in bytes.iter_mut().zip(said) {
        *place = *byte;
    }
    bytes
}

/// Reads a greeting from the start of `bytes`; `None` if more are needed. Every field is judged as
/// soon as it is there, because peers that speak something else may not send 64 bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<Option<Greeting>, ZmtpError> {
    match bytes.first() {
        None => return Ok(None),
        Some(&SIGNATURE) => {}
        Some(_) => return Err(Foreign::guess(bytes).into()),
    }
    // Bytes 1 to 8 are free: libzmq puts a length there, for the oldest of its relatives. An even
    // byte 9 is how one of those looks.
    if bytes.get(9).is_some_and(|byte| byte & 1 == 0) {
        return Err(Foreign::Zmtp1.into());
    }
    if let Some(&major @ 0..3) = bytes.get(10) {
        return Err(ZmtpError::Version(major));
    }
    if let Some(mechanism) = bytes.get(12..32) {
        let end = mechanism.iter().rposition(|byte| *byte != 0);
        let name = end.and_then(|end| mechanism.get(..=end)).unwrap_or(&[]);
        if name != NULL {
            return Err(ZmtpError::Mechanism(printable(name)));
        }
    }
    let (Some(&major), Some(&minor), Some(&role), Some(_)) =
        (bytes.get(10), bytes.get(11), bytes.get(32), bytes.get(63))
    else {
        return Ok(None);
    };
    Ok(Some(Greeting {
        major,
        minor,
        as_server: role & 1 == 1,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As libzmq 4.3.5 sends it for a peer with an identity of 16 bytes.
    fn libzmq() -> Vec<u8> {
        let mut bytes = vec![0xFF, 0, 0, 0, 0, 0, 0, 0, 17, 0x7F, 3, 1];
        bytes.extend(b"NULL");
        bytes.resize(64, 0);
        bytes
    }

    #[test]
    fn reads_a_greeting_of_libzmq() {
        let expected = Greeting {
            major: 3,
            minor: 1,
            as_server: false,
        };
        for len in 0..64 {
            assert_eq!(parse(&libzmq()[..len]), Ok(None), "{len}");
        }
        assert_eq!(parse(&libzmq()), Ok(Some(expected)));
        assert_eq!(parse(&greeting()), Ok(Some(expected)));
    }

    #[test]
    fn refuses_older_protocols_early() {
        let mut bytes = libzmq();
        bytes[10] = 1;
        assert_eq!(parse(&bytes[..11]), Err(ZmtpError::Version(1)));
        bytes[9] = 0;
        assert_eq!(parse(&bytes[..10]), Err(Foreign::Zmtp1.into()));
    }

    #[test]
    fn refuses_other_mechanisms_early() {
        let mut bytes = libzmq();
        bytes[12..17].copy_from_slice(b"CURVE");
        let error = ZmtpError::Mechanism("CURVE".into());
        assert_eq!(parse(&bytes[..32]), Err(error));
        bytes[12..17].fill(0);
        assert_eq!(
            parse(&bytes[..32]),
            Err(ZmtpError::Mechanism(String::new()))
        );
    }

    #[test]
    fn names_other_protocols_at_the_first_byte() {
        assert_eq!(parse(&[0x16]), Err(Foreign::Tls.into()));
        assert_eq!(parse(b"GET /"), Err(Foreign::Http.into()));
        assert_eq!(parse(b"SSH-2.0"), Err(Foreign::Ssh.into()));
    }
}
