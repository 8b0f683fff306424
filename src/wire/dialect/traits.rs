//! In what dialects differ: one type per question.

/// The ports of a session, as offsets from its base port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ports {
    /// Command, subscriber (data down), publisher (data up), TTL (G1–G5).
    Four,
    /// Command, data both ways, TTL (G6–G18).
    Three,
    /// One TCP port with its own framing and a role byte per link (G19).
    Framed,
}

/// How a command message names its type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// Owner, class name, payload (G1–G13).
    Named,
    /// Pickled number, owner, payload (G14–G19).
    Numbered,
}

/// The frames of a data message as the client sees them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeFrames {
    /// Header of six frames (sender, uuid, owner, type, chunk count, dependencies), then chunk
    /// messages (G1–G5).
    HeaderWithSender,
    /// The same without the sender: five frames, then chunk messages (G6–G9).
    Header,
    /// One message: uuid, owner, type, dependencies, payload (G10).
    Typed,
    /// One message: uuid, owner, dependencies, payload (G11–G14).
    Untyped,
    /// A Commit (number 1, uuid, dependencies, delta) or a Node (number 2, uuid, owner,
    /// dependencies, payload) (G15–G19).
    Objects,
}

/// What a live update carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Live {
    /// The whole payload, always (G1–G7).
    Whole,
    /// A delta, always; whole state is one that replaces the root (G8–G14).
    Delta,
    /// A Node or a Commit (G15–G19).
    NodeOrCommit,
}

/// Families of generations whose nodes have the same shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// Python marshal, type name beside it (G1–G3, but for 0.0.21a17–a19).
    Marshal,
    /// Pickle, type name beside it (G4–G10, and those alphas).
    TypedPickle,
    /// Pickle that contains its type (G11–G19).
    UntypedPickle,
}

impl Family {
    /// The versions of clients that write so, in words.
    pub fn clients(self) -> &'static str {
        match self {
            Self::Marshal => "0.0.3 to 0.0.21",
            Self::TypedPickle => "0.1.1 to 0.1.42",
            Self::UntypedPickle => "0.2.1 or newer",
        }
    }
}

/// The file in which the add-on saves a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionFile {
    /// There is none (up to 0.1.24).
    None,
    /// What the payloads mean, as Python's own values (0.1.25–0.3.0).
    Decoded,
    /// The nodes as they travel (0.4.0 and later).
    Chunks,
}

/// Over which link nodes travel during an upload or a join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transfer {
    /// As data messages, like live updates.
    DataLink,
    /// As `SET` commands.
    Set,
}

/// Shape of `DATA` in a `SET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SetShape {
    /// No `SET` in this generation (G1–G4).
    None,
    /// Dict of owner, uuid, dependencies, type, data, all bytes (G5–G10).
    TypedDict,
    /// The same without type (G11).
    Dict,
    /// List of uuid, owner, dependencies, data (G12).
    List4,
    /// The same after an int 2 (G13).
    List5Int,
    /// The same after a pickled 2 (G14–G19).
    List5Bytes,
}

/// The password fields of a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Passwords {
    /// `PWD` (G1–G16).
    One,
    /// `S_PWD` and `A_PWD` (G17–G19).
    Two,
}

/// When a login makes the server send the users dict to everybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum UsersAtLogin {
    /// Not at all: it comes with the next tick (G1–G2).
    Never,
    /// Before the login is answered, also when it is refused (G3–G18).
    BeforeAnswer,
    /// After the login was answered, also when it is refused (G19).
    AfterAnswer,
}

/// What a metadata update makes the server send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetadataFanOut {
    /// The users dict to everybody, the sender included (G1–G8).
    UsersDictToAll,
    /// The update itself to the others, with the user's name as owner (G9–G19).
    RelayToOthers,
}

/// Whether a Right names one node or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RightShape {
    /// One uuid as str (G1–G15); a list crashes these clients.
    One,
    /// A list of uuids, possibly empty (G16–G19); a str has no effect on these clients.
    List,
}

/// What answers a `GET` for a node that was deleted since the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MissingNode {
    /// Its last content, followed by a Delete once the join is done (G1–G17).
    LastKnown,
    /// `SET` with `b'removed'` (G18–G19).
    RemovedMarker,
}

/// How the TTL channel is timed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Heartbeat {
    /// The server answers every frame with a `PING` at once, the client paces it to 50 ms (G1–G2,
    /// and 0.0.21a4–a8).
    Echo50ms {
        /// How many it is to have before it. One does; but up to 0.0.11 a client takes any word of its own
        /// program for the silence of the server if no PING is there at that moment, and ends.
        ahead: usize,
    },
    /// The server sends a `PING` when a second has passed without frame or `PING` (G3–G19,
    /// from 0.0.21a9 on).
    EverySecond,
}
