//! What the evidence of a probe means: which server it is, which ports are missing, who can join.
//!
//! [`Report::new`] is a pure function of the [`Evidence`]. [`Display`](std::fmt::Display) has the
//! words for people, [`Report::to_json`] the keys for programs.

use std::net::IpAddr;
use std::time::Duration;

use serde::Serialize;

use super::{Check, Evidence, Trouble, words};
use crate::config::{Clients as Wanted, Era};

/// The result of a probe.
///
/// As JSON it is one object with these keys. A key is never left out; what is not known is `null`.
/// More keys may be added, none will change its meaning.
///
/// ```json
/// {
///   "host": "example.org",          // as it was asked for
///   "address": "203.0.113.5",       // where that led to
///   "port": 5555,                   // the first port
///   "verdict": "partly",            // "reachable", "partly" or "nothing"
///   "exit_status": 1,               // 0, 1 or 3
///   "server": "all",                // which clients it is made for: "all", "four-ports",
///                                   // "three-ports", "one-port" or "unknown"
///   "session": {                    // null if the server does not say
///     "version": "0.9.11",          // of the clients that are in; if nobody is, of the server
///     "private": true               // whether a password is needed to join
///   },
///   "ports": [{                     // the first port and the three above it
///     "port": 5557,
///     "needed": true,               // whether the server's clients need it
///     "answers": false,             // whether it answers all that is needed
///     "roles": ["publisher"],       // as what it answers, of "command", "subscriber",
///                                   // "publisher" and "ttl"
///     "framed": false,              // whether it takes the transport of clients from 0.9.12 on
///     "connect_ms": 0.21,           // how long TCP took to connect
///     "round_trip_ms": null,        // how long the info or the heartbeat took, if any came
///     "trouble": "dropped",         // null, "refused", "dropped", "unreachable", "silent",
///                                   // "hung-up", "foreign", "broken", "other-socket",
///                                   // "other-port" or "mute"
///     "hint": "nothing answers: …"  // the trouble in words, and what to do; null without
///   }],
///   "clients": [{                   // the three ages of clients
///     "addon": "0.0.3 to 0.3.0",
///     "replication": "0.0.3 to 0.1.31",
///     "ports": [5555, 5556, 5557, 5558],
///     "served": true,               // whether the server is made for them; null if unknown
///     "reachable": false,           // whether all of their ports answer, over IPv4
///     "missing": [5557]             // those that don't
///   }]
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The host as it was asked for.
    pub host: String,
    /// Its address.
    pub address: String,
    /// The first port.
    pub port: u16,
    /// All in all.
    pub verdict: Verdict,
    /// The verdict as the program's exit status.
    pub exit_status: u8,
    /// Whose clients it is made for.
    pub server: Server,
    /// What it says of itself.
    pub session: Option<Session>,
    /// What was found at each port.
    pub ports: Vec<Port>,
    /// Which clients can join.
    pub clients: Vec<Clients>,
}

/// All in all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// All ports that are needed answer as they should.
    Reachable,
    /// Some don't.
    Partly,
    /// There is no session server, or no way to it.
    Nothing,
}

impl Verdict {
    /// The program's exit status.
    pub fn exit_status(self) -> u8 {
        match self {
            Self::Reachable => 0,
            Self::Partly => 1,
            Self::Nothing => 3,
        }
    }
}

/// Which clients a server is made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// All of them: this program.
    All,
    /// Those up to 0.1.31: their own server.
    FourPorts,
    /// Those from 0.1.33 to 0.9.11: their own server.
    ThreePorts,
    /// Those from 0.9.12 on: their own server.
    OnePort,
    /// Too little answers to tell.
    Unknown,
}

/// What a server says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Session {
    /// The clients' version.
    pub version: String,
    /// Whether a password is needed to join.
    pub private: bool,
}

/// What was found at one port.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Port {
    /// The port.
    pub port: u16,
    /// Whether the server's clients need it.
    pub needed: bool,
    /// Whether it answers all that is needed.
    pub answers: bool,
    /// As what it answers.
    pub roles: Vec<&'static str>,
    /// Whether it takes the transport of the newest clients.
    pub framed: bool,
    /// How long TCP took to connect, in milliseconds.
    pub connect_ms: Option<f64>,
    /// How long the server info or the heartbeat took, in milliseconds.
    pub round_trip_ms: Option<f64>,
    /// What is wrong, as a word for programs.
    pub trouble: Option<&'static str>,
    /// What is wrong, and what to do.
    pub hint: Option<String>,
}

/// One age of clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Clients {
    /// Their versions of the add-on.
    pub addon: &'static str,
    /// Their versions of its network package.
    pub replication: &'static str,
    /// The ports they need.
    pub ports: Vec<u16>,
    /// Whether the server is made for them.
    pub served: Option<bool>,
    /// Whether all their ports answer, over IPv4, which alone they use.
    pub reachable: bool,
    /// The ports that don't.
    pub missing: Vec<u16>,
}

impl Report {
    /// Draws the conclusions.
    pub fn new(evidence: &Evidence) -> Self {
        let likely = recognise(evidence);
        let needed = needed(likely, &evidence.wanted);
        // While the first port does not answer it may be another one, and the others others, too.
        let server = match evidence.command.is_ok() || evidence.framed.is_ok() {
            true => likely,
            false => Server::Unknown,
        };
        let ports: Vec<Port> = (0..4)
            .map(|offset| port(evidence, &needed, offset))
            .collect();
        let verdict = if !checks(evidence)
            .iter()
            .any(|(_, check)| is_a_servers(check))
        {
            Verdict::Nothing
        } else if ports.iter().all(|port| port.answers || !port.needed) {
            Verdict::Reachable
        } else {
            Verdict::Partly
        };
        Self {
            host: evidence.host.clone(),
            address: evidence.first.ip().to_string(),
            port: evidence.first.port(),
            verdict,
            exit_status: verdict.exit_status(),
            server,
            session: evidence.info.as_ref().map(|info| Session {
                version: info.version.clone(),
                private: info.private,
            }),
            ports,
            clients: clients(evidence, server),
        }
    }

    /// One JSON object, in one line; its keys are listed [above](Report).
    pub fn to_json(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// What a check is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Distance of the port from the first.
    offset: u16,
    /// What the port is there.
    role: &'static str,
    framed: bool,
}

const COMMAND: Place = place(0, "command");
const FRAMED: Place = Place {
    framed: true,
    ..COMMAND
};
const SUBSCRIBER: Place = place(1, "subscriber");
const PUBLISHER: Place = place(2, "publisher");
const THIRD_TTL: Place = place(2, "ttl");
const FOURTH_TTL: Place = place(3, "ttl");

const fn place(offset: u16, role: &'static str) -> Place {
    Place {
        offset,
        role,
        framed: false,
    }
}

/// An age of clients.
struct Age {
    addon: &'static str,
    replication: &'static str,
    era: Era,
    /// Their own server.
    own: Server,
    ports: u16,
    /// Where they connect to.
    places: &'static [Place],
}

const AGES: [Age; 3] = [
    Age {
        addon: "0.0.3 to 0.3.0",
        replication: "0.0.3 to 0.1.31",
        era: Era::FourPorts,
        own: Server::FourPorts,
        ports: 4,
        places: &[COMMAND, SUBSCRIBER, PUBLISHER, FOURTH_TTL],
    },
    Age {
        addon: "0.4.0 to today",
        replication: "0.1.33 to 0.9.11",
        era: Era::ThreePorts,
        own: Server::ThreePorts,
        ports: 3,
        places: &[COMMAND, SUBSCRIBER, THIRD_TTL],
    },
    Age {
        addon: "newest builds",
        replication: "0.9.12 and later",
        era: Era::OnePort,
        own: Server::OnePort,
        ports: 1,
        places: &[FRAMED],
    },
];

/// Whether the port is what it was taken for, even if it doesn't answer.
fn took(check: &Check) -> bool {
    matches!(check, Ok(_) | Err(Trouble::Mute))
}

/// Whether the port is one of a session server's, be it another one.
fn is_a_servers(check: &Check) -> bool {
    took(check) || matches!(check, Err(Trouble::OtherPort))
}

/// Tells servers apart by what they take: only this one takes a PUSH and a heartbeat on p+2, or
/// both transports on p.
fn recognise(evidence: &Evidence) -> Server {
    if took(&evidence.command) && took(&evidence.framed) {
        return Server::All;
    }
    match (took(&evidence.publisher), took(&evidence.third_ttl)) {
        (true, true) => Server::All,
        (true, false) => Server::FourPorts,
        (false, true) => Server::ThreePorts,
        (false, false) if took(&evidence.framed) => Server::OnePort,
        (false, false) => Server::Unknown,
    }
}

/// What a server has to answer. One for several kinds of clients is there for those wanted.
fn needed(server: Server, wanted: &Wanted) -> Vec<Place> {
    let several = matches!(server, Server::All | Server::Unknown);
    let ages = AGES.iter().filter(|age| {
        if several {
            wanted.has(age.era)
        } else {
            age.own == server
        }
    });
    let mut places = Vec::new();
    for place in ages.flat_map(|age| age.places) {
        if !places.contains(place) {
            places.push(*place);
        }
    }
    places
}

fn checks(evidence: &Evidence) -> [(Place, &Check); 6] {
    [
        (COMMAND, &evidence.command),
        (FRAMED, &evidence.framed),
        (SUBSCRIBER, &evidence.subscriber),
        (PUBLISHER, &evidence.publisher),
        (THIRD_TTL, &evidence.third_ttl),
        (FOURTH_TTL, &evidence.fourth_ttl),
    ]
}

fn port(evidence: &Evidence, needed: &[Place], offset: u16) -> Port {
    let number = evidence.first.port().saturating_add(offset);
    let here = || {
        let all = checks(evidence).into_iter();
        all.filter(move |(place, _)| place.offset == offset)
    };
    let good = || here().filter_map(|(place, check)| Some((place, check.as_ref().ok()?)));
    let is_needed = needed.iter().any(|place| place.offset == offset);
    let wrong = here()
        .filter(|(place, _)| needed.contains(place))
        .find_map(|(_, check)| check.as_ref().err());
    let mut roles: Vec<_> = good().map(|(place, _)| place.role).collect();
    roles.dedup();
    let connect = good().map(|(_, answer)| answer.connect).min();
    let round_trip = good().filter_map(|(_, answer)| answer.round_trip).min();
    let near = evidence.first.ip().is_loopback();
    Port {
        port: number,
        needed: is_needed,
        answers: wrong.is_none() && !roles.is_empty(),
        roles,
        framed: good().any(|(place, _)| place.framed),
        connect_ms: connect.map(millis),
        round_trip_ms: round_trip.map(millis),
        trouble: wrong.map(words::name),
        hint: wrong.map(|trouble| match trouble {
            // Whoever hangs up on one transport and takes the other can be reached.
            Trouble::HungUp if good().next().is_some() => words::HALF.to_owned(),
            trouble => words::hint(trouble, number, near),
        }),
    }
}

fn clients(evidence: &Evidence, server: Server) -> Vec<Clients> {
    let nth = |offset: u16| evidence.first.port().saturating_add(offset);
    let is_their_way = is_clients_way(evidence.first.ip());
    AGES.iter()
        .map(|age| {
            let missing: Vec<u16> = checks(evidence)
                .iter()
                .filter(|(place, check)| age.places.contains(place) && check.is_err())
                .map(|(place, _)| nth(place.offset))
                .collect();
            Clients {
                addon: age.addon,
                replication: age.replication,
                ports: (0..age.ports).map(nth).collect(),
                served: match server {
                    Server::Unknown => None,
                    // It may be configured without the newest clients' transport.
                    Server::All => Some(age.own != Server::OnePort || took(&evidence.framed)),
                    own => Some(age.own == own),
                },
                reachable: missing.is_empty() && is_their_way,
                missing,
            }
        })
        .collect()
}

/// Whether clients could take it: all of them open IPv4 sockets.
fn is_clients_way(address: IpAddr) -> bool {
    address.to_canonical().is_ipv4()
}

/// Milliseconds with two decimals.
fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 100_000.0).round() / 100.0
}
