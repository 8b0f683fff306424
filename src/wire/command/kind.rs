//! The names and numbers of commands.

use bytes::Bytes;

use crate::wire::dialect::Framing;
use crate::wire::gather;
use crate::wire::message::Message;
use crate::wire::payload;
use crate::wire::pickle::{self, Protocol, Value};

/// The type of a command, in both directions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::wire) enum Kind {
    Delete,
    Right,
    Snapshot,
    ServerSnapshot,
    Auth,
    Disconnect,
    Kick,
    Users,
    Metadata,
    Info,
}

/// Kind, number (G14–G19), class name (G1–G13). Sources: wire spec, numbers and constants. The
/// info command has no class name, being younger than them.
const KINDS: [(Kind, u8, Option<&str>); 10] = [
    (Kind::Delete, 4, Some("RepDeleteCommand")),
    (Kind::Right, 5, Some("RepRightCommand")),
    (Kind::Snapshot, 7, Some("RepSnapshotCommand")),
    (Kind::ServerSnapshot, 8, Some("RepServerSnapshotCommand")),
    (Kind::Auth, 9, Some("RepAuthCommand")),
    (Kind::Disconnect, 10, Some("RepDisconnectCommand")),
    (Kind::Kick, 11, Some("RepKickCommand")),
    (Kind::Users, 12, Some("RepUpdateClientsState")),
    (Kind::Metadata, 13, Some("RepUpdateUserMetadata")),
    (Kind::Info, 14, None),
];

impl Kind {
    pub(super) fn numbered(frame: &Bytes) -> Option<Self> {
        let number = payload::int(frame)?;
        KINDS
            .iter()
            .find(|(_, known, _)| i64::from(*known) == number)
            .map(|(kind, ..)| *kind)
    }

    pub(super) fn named(frame: &[u8]) -> Option<Self> {
        KINDS
            .iter()
            .find(|(.., name)| name.is_some_and(|name| name.as_bytes() == frame))
            .map(|(kind, ..)| *kind)
    }

    /// A name for errors and logs.
    pub(in crate::wire) fn name(self) -> &'static str {
        match self {
            Self::Delete => "Delete",
            Self::Right => "Right",
            Self::Snapshot => "Snapshot",
            Self::ServerSnapshot => "ServerSnapshot",
            Self::Auth => "Auth",
            Self::Disconnect => "Disconnect",
            Self::Kick => "Kick",
            Self::Users => "UpdateClientsState",
            Self::Metadata => "UpdateUserMetadata",
            Self::Info => "RequestServerInfo",
        }
    }

    fn row(self) -> Option<&'static (Self, u8, Option<&'static str>)> {
        KINDS.iter().find(|(kind, ..)| *kind == self)
    }
}

/// A command's three frames, or `None` where this framing has no way to name it.
pub(in crate::wire) fn message(
    framing: Framing,
    protocol: Protocol,
    kind: Kind,
    owner: &str,
    value: &Value,
) -> Option<Message> {
    let (_, number, name) = kind.row()?;
    let owner = Bytes::copy_from_slice(owner.as_bytes());
    let frames = match framing {
        Framing::Named => vec![owner, Bytes::from_static(name.as_ref()?.as_bytes())],
        Framing::Numbered => vec![payload::pickled_int(*number, protocol), owner],
    };
    // A node in it may be large.
    let payload = pickle::write_pieces(value, protocol, gather::MERGE);
    Some(Message::with_last(frames, payload))
}
