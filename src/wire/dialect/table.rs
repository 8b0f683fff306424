//! The rows, each its predecessor plus what changed.

use super::{
    Dialect, Family, Framing, Heartbeat, Live, MetadataFanOut, MissingNode, NodeFrames, Passwords,
    Ports, RightShape, SessionFile, SetShape, Transfer, UsersAtLogin, Version,
};
use crate::wire::pickle::Protocol;

/// All rows, ordered by version.
pub(super) static DIALECTS: [Dialect; 27] = [
    G1,
    G2_FIRST,
    G2,
    G3_ECHO,
    G3_EARLY,
    G3_PICKLE,
    G3,
    G4,
    G5_UNSAVED,
    G5_THREADED,
    G5,
    G6,
    G7,
    G6_HOTFIX,
    G8,
    G9,
    G10,
    G11,
    G12,
    G13,
    G14_DECODED,
    G14,
    G15,
    G16,
    G17,
    G18,
    G19,
];

const G1: Dialect = Dialect {
    generation: 1,
    first: Version::new(0, 0, 3),
    last: Version::new(0, 0, 10),
    ports: Ports::Four,
    commands: Framing::Named,
    node: NodeFrames::HeaderWithSender,
    live: Live::Whole,
    family: Family::Marshal,
    session_file: SessionFile::None,
    upload: Transfer::DataLink,
    join: Transfer::DataLink,
    set: SetShape::None,
    passwords: Passwords::One,
    sends_version: false,
    login_status: 6,
    users_at_login: UsersAtLogin::Never,
    active_status_on_done: false,
    join_done: false,
    echo_edits: false,
    metadata: MetadataFanOut::UsersDictToAll,
    right: RightShape::One,
    missing_node: MissingNode::LastKnown,
    heartbeat: Heartbeat::Echo50ms { ahead: 8 },
    slow_answers: true,
    pickle: Protocol::Three,
    withholds_login_until_data_link: false,
};

const G2_FIRST: Dialect = Dialect {
    generation: 2,
    first: Version::new(0, 0, 11),
    last: Version::new(0, 0, 11),
    sends_version: true,
    ..G1
};

const G2: Dialect = Dialect {
    first: Version::new(0, 0, 12),
    last: Version::new(0, 0, 21).alpha(3),
    heartbeat: Heartbeat::Echo50ms { ahead: 1 },
    ..G2_FIRST
};

// The alphas of 0.0.21 came to it in steps, and tried pickle for payloads for three days.
const G3_ECHO: Dialect = Dialect {
    generation: 3,
    first: Version::new(0, 0, 21).alpha(4),
    last: Version::new(0, 0, 21).alpha(8),
    login_status: 10,
    users_at_login: UsersAtLogin::BeforeAnswer,
    active_status_on_done: true,
    join_done: true,
    pickle: Protocol::Four,
    ..G2
};

const G3_EARLY: Dialect = Dialect {
    first: Version::new(0, 0, 21).alpha(9),
    last: Version::new(0, 0, 21).alpha(16),
    heartbeat: Heartbeat::EverySecond,
    ..G3_ECHO
};

const G3_PICKLE: Dialect = Dialect {
    first: Version::new(0, 0, 21).alpha(17),
    last: Version::new(0, 0, 21).alpha(19),
    family: Family::TypedPickle,
    ..G3_EARLY
};

const G3: Dialect = Dialect {
    first: Version::new(0, 0, 21).alpha(20),
    last: Version::new(0, 0, 21),
    ..G3_EARLY
};

const G4: Dialect = Dialect {
    generation: 4,
    first: Version::new(0, 1, 1),
    last: Version::new(0, 1, 20),
    family: Family::TypedPickle,
    ..G3
};

const G5_UNSAVED: Dialect = Dialect {
    generation: 5,
    first: Version::new(0, 1, 21),
    last: Version::new(0, 1, 24),
    upload: Transfer::Set,
    set: SetShape::TypedDict,
    ..G4
};

const G5_THREADED: Dialect = Dialect {
    first: Version::new(0, 1, 25),
    last: Version::new(0, 1, 26),
    session_file: SessionFile::Decoded,
    ..G5_UNSAVED
};

const G5: Dialect = Dialect {
    first: Version::new(0, 1, 30),
    last: Version::new(0, 1, 31),
    slow_answers: false,
    ..G5_THREADED
};

const G6: Dialect = Dialect {
    generation: 6,
    first: Version::new(0, 1, 33),
    last: Version::new(0, 1, 33),
    ports: Ports::Three,
    node: NodeFrames::Header,
    ..G5
};

const G7: Dialect = Dialect {
    generation: 7,
    first: Version::new(0, 1, 34),
    last: Version::new(0, 1, 35),
    join: Transfer::Set,
    ..G6
};

// 0.1.36 branched off 0.1.33 as a hot-fix and lacks what 0.1.34 brought.
const G6_HOTFIX: Dialect = Dialect {
    first: Version::new(0, 1, 36),
    last: Version::new(0, 1, 36),
    ..G6
};

const G8: Dialect = Dialect {
    generation: 8,
    first: Version::new(0, 1, 40),
    last: Version::new(0, 1, 40),
    live: Live::Delta,
    ..G7
};

const G9: Dialect = Dialect {
    generation: 9,
    first: Version::new(0, 1, 41),
    last: Version::new(0, 1, 41),
    echo_edits: true,
    metadata: MetadataFanOut::RelayToOthers,
    ..G8
};

const G10: Dialect = Dialect {
    generation: 10,
    first: Version::new(0, 1, 42),
    last: Version::new(0, 1, 42),
    node: NodeFrames::Typed,
    ..G9
};

const G11: Dialect = Dialect {
    generation: 11,
    first: Version::new(0, 2, 1),
    last: Version::new(0, 2, 1),
    node: NodeFrames::Untyped,
    family: Family::UntypedPickle,
    set: SetShape::Dict,
    ..G10
};

const G12: Dialect = Dialect {
    generation: 12,
    first: Version::new(0, 2, 2),
    last: Version::new(0, 2, 2),
    set: SetShape::List4,
    ..G11
};

const G13: Dialect = Dialect {
    generation: 13,
    first: Version::new(0, 2, 4),
    last: Version::new(0, 2, 4),
    set: SetShape::List5Int,
    ..G12
};

const G14_DECODED: Dialect = Dialect {
    generation: 14,
    first: Version::new(0, 3, 0),
    last: Version::new(0, 3, 0),
    commands: Framing::Numbered,
    set: SetShape::List5Bytes,
    ..G13
};

const G14: Dialect = Dialect {
    first: Version::new(0, 4, 0),
    last: Version::new(0, 6, 6),
    session_file: SessionFile::Chunks,
    ..G14_DECODED
};

const G15: Dialect = Dialect {
    generation: 15,
    first: Version::new(0, 7, 0),
    last: Version::new(0, 7, 3),
    node: NodeFrames::Objects,
    live: Live::NodeOrCommit,
    ..G14
};

const G16: Dialect = Dialect {
    generation: 16,
    first: Version::new(0, 8, 0),
    last: Version::new(0, 8, 3),
    right: RightShape::List,
    ..G15
};

const G17: Dialect = Dialect {
    generation: 17,
    first: Version::new(0, 9, 1),
    last: Version::new(0, 9, 5),
    passwords: Passwords::Two,
    ..G16
};

const G18: Dialect = Dialect {
    generation: 18,
    first: Version::new(0, 9, 6),
    last: Version::new(0, 9, 11),
    missing_node: MissingNode::RemovedMarker,
    ..G17
};

// Package 0.10.3 calls itself 0.10.2, so nobody ever sends 0.10.3; it is listed all the same.
const G19: Dialect = Dialect {
    generation: 19,
    first: Version::new(0, 9, 12),
    last: Version::new(0, 10, 3),
    ports: Ports::Framed,
    login_status: 11,
    users_at_login: UsersAtLogin::AfterAnswer,
    withholds_login_until_data_link: true,
    ..G18
};
