//! What the links of a client are for, and on which port each is reached.

use std::fmt;

use super::dialect::Ports;

/// What a link is for. The newest clients' role bytes C, D and T are the first, second and last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Commands, both ways.
    Command,
    /// Nodes to the client; in later generations from the client, too.
    Subscriber,
    /// Nodes from the client (four-port generations).
    Publisher,
    /// Heartbeats.
    Ttl,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 4] = [Self::Command, Self::Subscriber, Self::Publisher, Self::Ttl];

    /// Distance of its port from the base port (wire spec, master table).
    pub fn port_offset(self, ports: Ports) -> u16 {
        match (ports, self) {
            (Ports::Framed, _) | (_, Self::Command) => 0,
            (_, Self::Subscriber) => 1,
            (_, Self::Publisher) | (Ports::Three, Self::Ttl) => 2,
            (Ports::Four, Self::Ttl) => 3,
        }
    }

    /// Position in arrays that hold something for each role.
    pub fn index(self) -> usize {
        match self {
            Self::Command => 0,
            Self::Subscriber => 1,
            Self::Publisher => 2,
            Self::Ttl => 3,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Command => "command",
            Self::Subscriber => "subscriber",
            Self::Publisher => "publisher",
            Self::Ttl => "ttl",
        })
    }
}
