//! Command frames: what peers tell each other about the connection itself.

use bytes::{BufMut, Bytes, BytesMut};

use super::encode::{COMMAND, put_header};
use super::{Item, ZmtpError, printable};
use crate::wire::identity::Identity;

/// Longest context a heartbeat may carry.
const CONTEXT_MAX: usize = 16;

/// What a peer says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ready {
    /// The type of its socket.
    pub socket_type: SocketType,
    /// Its identity, if it gave one. libzmq sends it for DEALER, REQ and ROUTER sockets only.
    pub identity: Option<Identity>,
}

/// Socket types of ZeroMQ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are ZeroMQ's")]
pub enum SocketType {
    Dealer,
    Router,
    Push,
    Pull,
    Pub,
    Sub,
    Xpub,
    Xsub,
    Req,
    Rep,
    Pair,
}

impl SocketType {
    const ALL: [Self; 11] = [
        Self::Dealer,
        Self::Router,
        Self::Push,
        Self::Pull,
        Self::Pub,
        Self::Sub,
        Self::Xpub,
        Self::Xsub,
        Self::Req,
        Self::Rep,
        Self::Pair,
    ];

    /// Its name on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dealer => "DEALER",
            Self::Router => "ROUTER",
            Self::Push => "PUSH",
            Self::Pull => "PULL",
            Self::Pub => "PUB",
            Self::Sub => "SUB",
            Self::Xpub => "XPUB",
            Self::Xsub => "XSUB",
            Self::Req => "REQ",
            Self::Rep => "REP",
            Self::Pair => "PAIR",
        }
    }

    fn from_name(name: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.name().as_bytes() == name)
    }
}

/// Our READY command. The reference server gives its ROUTER sockets identities; no client needs
/// them.
pub fn ready(socket_type: SocketType, identity: Option<&[u8]>) -> Bytes {
    let mut body = BytesMut::new();
    put_property(&mut body, b"Socket-Type", socket_type.name().as_bytes());
    if let Some(identity) = identity {
        put_property(&mut body, b"Identity", identity);
    }
    command(b"READY", &body)
}

/// A heartbeat. `ttl` is in tenths of a second, 0 for none; of `context` at most 16 bytes are sent.
pub fn ping(ttl: u16, context: &[u8]) -> Bytes {
    let mut body = BytesMut::new();
    body.put_u16(ttl);
    body.put_slice(context.get(..CONTEXT_MAX).unwrap_or(context));
    command(b"PING", &body)
}

/// The answer to a heartbeat with this context.
pub fn pong(context: &[u8]) -> Bytes {
    command(b"PONG", context.get(..CONTEXT_MAX).unwrap_or(context))
}

/// Reads the body of a command frame. READY is needed first and forbidden later.
pub(super) fn parse(body: &Bytes, is_ready: bool) -> Result<Item, ZmtpError> {
    let mut reader = Reader(body);
    let name = reader.short().ok_or(ZmtpError::Command {
        name: "without a name",
        what: "it is too short",
    })?;
    let rest = body.slice_ref(reader.0);
    match name {
        b"ERROR" => error(&rest),
        b"READY" if !is_ready => metadata(&rest).map(Item::Ready),
        b"READY" => Err(ZmtpError::Order(printable(name))),
        _ if !is_ready => Err(ZmtpError::Order(printable(name))),
        b"PING" => heartbeat(&rest),
        b"PONG" => Ok(Item::Pong {
            context: context(&rest, "PONG")?,
        }),
        _ => Ok(Item::OtherCommand(printable(name))),
    }
}

fn error(body: &[u8]) -> Result<Item, ZmtpError> {
    let reason = Reader(body).short().ok_or(ZmtpError::Command {
        name: "ERROR",
        what: "its reason is cut short",
    })?;
    Ok(Item::Error(printable(reason)))
}

fn heartbeat(body: &Bytes) -> Result<Item, ZmtpError> {
    let (ttl, rest) = body.split_first_chunk::<2>().ok_or(ZmtpError::Command {
        name: "PING",
        what: "it lacks its time to live",
    })?;
    Ok(Item::Ping {
        ttl: u16::from_be_bytes(*ttl),
        context: context(rest, "PING")?,
    })
}

/// Copied, as it is tiny and would keep a whole read buffer alive.
fn context(context: &[u8], name: &'static str) -> Result<Bytes, ZmtpError> {
    if context.len() > CONTEXT_MAX {
        let what = "its context is longer than 16 bytes";
        return Err(ZmtpError::Command { name, what });
    }
    Ok(Bytes::copy_from_slice(context))
}

/// Reads the properties of a READY command; those we have no use for are skipped.
fn metadata(body: &[u8]) -> Result<Ready, ZmtpError> {
    let malformed = |what| ZmtpError::Command {
        name: "READY",
        what,
    };
    let mut socket_type = None;
    let mut identity = None;
    let mut reader = Reader(body);
    while !reader.0.is_empty() {
        let name = reader
            .short()
            .ok_or_else(|| malformed("a property's name is cut short"))?;
        let value = reader
            .long()
            .ok_or_else(|| malformed("a property's value is cut short"))?;
        if name.eq_ignore_ascii_case(b"Socket-Type") {
            let kind = SocketType::from_name(value)
                .ok_or_else(|| malformed("its socket type is unknown"))?;
            if socket_type.replace(kind).is_some() {
                return Err(malformed("it has two socket types"));
            }
        } else if name.eq_ignore_ascii_case(b"Identity") && !value.is_empty() {
            let value = Identity::new(value)
                .ok_or_else(|| malformed("its identity is longer than 255 bytes"))?;
            if identity.replace(value).is_some() {
                return Err(malformed("it has two identities"));
            }
        }
    }
    Ok(Ready {
        socket_type: socket_type.ok_or_else(|| malformed("it lacks a socket type"))?,
        identity,
    })
}

/// Takes pieces off the front of a slice.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// A piece after its length in one byte.
    fn short(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first()?;
        let (piece, rest) = rest.split_at_checked(usize::from(*len))?;
        self.0 = rest;
        Some(piece)
    }

    /// A piece after its length in four bytes.
    fn long(&mut self) -> Option<&'a [u8]> {
        let (len, rest) = self.0.split_first_chunk()?;
        let len = usize::try_from(u32::from_be_bytes(*len)).ok()?;
        let (piece, rest) = rest.split_at_checked(len)?;
        self.0 = rest;
        Some(piece)
    }
}

fn put_property(body: &mut BytesMut, name: &[u8], value: &[u8]) {
    body.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    body.put_slice(name);
    body.put_u32(u32::try_from(value.len()).unwrap_or(u32::MAX));
    body.put_slice(value);
}

fn command(name: &[u8], body: &[u8]) -> Bytes {
    let len = body.len().saturating_add(name.len()).saturating_add(1);
    let mut frame = BytesMut::with_capacity(len.saturating_add(9));
    put_header(&mut frame, COMMAND, len);
    frame.put_u8(u8::try_from(name.len()).unwrap_or(u8::MAX));
    frame.put_slice(name);
    frame.put_slice(body);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(body: &[u8], is_ready: bool) -> Result<Item, ZmtpError> {
        super::parse(&Bytes::copy_from_slice(body), is_ready)
    }

    fn malformed(name: &'static str, what: &'static str) -> Result<Item, ZmtpError> {
        Err(ZmtpError::Command { name, what })
    }

    #[test]
    fn writes_ready_as_libzmq_does() {
        let expected = b"\x04\x37\x05READY\x0bSocket-Type\x00\x00\x00\x06ROUTER\
            \x08Identity\x00\x00\x00\x0eSERVER_COMMAND";
        let ready = ready(SocketType::Router, Some(b"SERVER_COMMAND"));
        assert_eq!(ready, expected.as_slice());
    }

    #[test]
    fn reads_ready() {
        let body = b"\x05READY\x0bsocket-type\0\0\0\x04PUSH\x01X\0\0\0\x02yz\x08Identity\0\0\0\0";
        let ready = Ready {
            socket_type: SocketType::Push,
            identity: None,
        };
        assert_eq!(parse(body, false), Ok(Item::Ready(ready)));
        // The identity may begin with a zero byte.
        let body = b"\x05READY\x08Identity\0\0\0\x02\0a\x0bSocket-Type\0\0\0\x06DEALER";
        let ready = Ready {
            socket_type: SocketType::Dealer,
            identity: Identity::new(b"\0a"),
        };
        assert_eq!(parse(body, false), Ok(Item::Ready(ready)));
    }

    #[test]
    fn refuses_bad_ready() {
        let long = [b"\x05READY\x08Identity\0\0\x01\0".as_slice(), &[1; 256]].concat();
        let kind = b"\x0bSocket-Type\0\0\0\x06DEALER".as_slice();
        let cases: [(&[u8], &str); 6] = [
            (b"\x05READY", "it lacks a socket type"),
            (
                b"\x05READY\x0bSocket-Type\0\0\0\x03FOO",
                "its socket type is unknown",
            ),
            (
                b"\x05READY\x0bSocket-Type\xff\xff\xff\xffDEALER",
                "a property's value is cut short",
            ),
            (b"\x05READY\x0bSock", "a property's name is cut short"),
            (
                &[b"\x05READY", kind, kind].concat(),
                "it has two socket types",
            ),
            (&long, "its identity is longer than 255 bytes"),
        ];
        for (body, what) in cases {
            assert_eq!(parse(body, false), malformed("READY", what));
        }
    }

    #[test]
    fn commands_keep_their_order() {
        let order = |name: &str| Err(ZmtpError::Order(name.into()));
        assert_eq!(parse(b"\x04PING\0\0", false), order("PING"));
        assert_eq!(parse(b"\x05HELLO", false), order("HELLO"));
        assert_eq!(parse(b"\x05READY", true), order("READY"));
        assert_eq!(
            parse(b"\x05ERROR\x02no", false),
            Ok(Item::Error("no".into()))
        );
        let other = Ok(Item::OtherCommand("SUB\\x00".into()));
        assert_eq!(parse(b"\x04SUB\0abc", true), other);
    }

    #[test]
    fn heartbeats() {
        let (ttl, context) = (0x0102, Bytes::from_static(b"abc"));
        let item = Item::Ping { ttl, context };
        assert_eq!(parse(b"\x04PING\x01\x02abc", true), Ok(item));
        assert_eq!(
            ping(0x0102, b"abc"),
            b"\x04\x0a\x04PING\x01\x02abc".as_slice()
        );
        assert_eq!(pong(b"abc"), b"\x04\x08\x04PONGabc".as_slice());
        let long = "its context is longer than 16 bytes";
        assert_eq!(
            parse(b"\x04PING\0\x0012345678901234567", true),
            malformed("PING", long)
        );
        assert_eq!(
            parse(b"\x04PONG12345678901234567", true),
            malformed("PONG", long)
        );
        assert_eq!(
            parse(b"\x04PING\0", true),
            malformed("PING", "it lacks its time to live")
        );
    }

    #[test]
    fn nameless_commands_are_refused() {
        for body in [b"".as_slice(), b"\x05READ"] {
            assert_eq!(
                parse(body, true),
                malformed("without a name", "it is too short")
            );
        }
    }
}
