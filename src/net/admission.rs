//! Who may connect, and what they may take before they are known.
//!
//! A connection is judged twice, because a rate that stops a flood would also stop a team whose
//! links all come back after a network failure, and a limiter cannot give a token back:
//!
//! 1. The accept loop calls [`Admission::admit`] for every connection. It counts places, for all
//!    connections, for those of strangers (nobody is logged in on them), and for each source; and
//!    it stops only floods, with rates far above what reconnecting clients need.
//! 2. The connection calls [`Permit::identify`] when its handshake has named an identity. Links
//!    of identities the server knows already pass; others are held to a finer rate per source.
//!
//! A [`Permit`] holds the connection's places and gives them back when it is dropped. Once its
//! identity is logged in, [`Permit::promote`] takes it out of the strangers' count and of their
//! memory budget, which [`Permit::hold`] keeps. Passwords are tried at the pace of
//! [`Admission::login_attempt`]. A timer calls [`Admission::sweep`] about once a minute.
//!
//! Behind some container networks all clients share one address: then everybody shares the limits
//! per source, which is why those leave room for a whole team.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use thiserror::Error;

use super::rates::{Global, Keyed, Rate};
use super::source::Source;

/// The limits. The defaults suit a server that is open to the internet and has some dozens of
/// users, perhaps all behind one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdmissionConfig {
    /// Connections in all. A user has three or four.
    pub connections: usize,
    /// Connections on which nobody is logged in.
    pub strangers: usize,
    /// Connections of one source.
    pub source_connections: usize,
    /// Connections of one source on which nobody is logged in.
    pub source_strangers: usize,
    /// Bytes buffered for one connection on which nobody is logged in.
    pub stranger_memory: usize,
    /// Bytes buffered for all connections on which nobody is logged in.
    pub strangers_memory: usize,
    /// New connections in all. Bounds how many sources are remembered between two sweeps.
    pub accepts: Rate,
    /// New connections of one source, whoever is behind them. libzmq tries again about seven
    /// times a second on each of its sockets.
    pub source_accepts: Rate,
    /// New connections of one source with identities that are not known.
    pub source_newcomers: Rate,
    /// Attempts to log in of one source.
    pub source_logins: Rate,
}

impl Default for AdmissionConfig {
    fn default() -> Self {
        Self {
            connections: 2048,
            strangers: 256,
            source_connections: 256,
            source_strangers: 64,
            stranger_memory: 64 * 1024,
            strangers_memory: 16 * 1024 * 1024,
            accepts: Rate::new(1000, 2),
            source_accepts: Rate::new(256, 30),
            source_newcomers: Rate::new(128, 500),
            source_logins: Rate::new(60, 2000),
        }
    }
}

/// Why a connection, or what it asked for, was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// All connections are taken.
    #[error("too many connections")]
    Connections,
    /// All connections for strangers are taken.
    #[error("too many connections on which nobody is logged in")]
    Strangers,
    /// The source has all connections it may have.
    #[error("too many connections from this address")]
    SourceConnections,
    /// The source has all connections for strangers it may have.
    #[error("too many connections from this address on which nobody is logged in")]
    SourceStrangers,
    /// Connections arrive too fast.
    #[error("connections arrive too fast")]
    Accepts,
    /// Connections of this source arrive too fast.
    #[error("connections from this address arrive too fast")]
    SourceAccepts,
    /// Newcomers of this source arrive too fast.
    #[error("new clients from this address arrive too fast")]
    SourceNewcomers,
    /// This source tries to log in too often.
    #[error("too many attempts to log in from this address")]
    SourceLogins,
    /// The connection sent too much before anybody logged in on it.
    #[error("too much data before logging in")]
    StrangerMemory,
    /// All connections on which nobody is logged in have sent too much together.
    #[error("too much data on connections on which nobody is logged in")]
    StrangersMemory,
}

impl Refusal {
    /// A stable name for logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connections => "connections",
            Self::Strangers => "strangers",
            Self::SourceConnections => "source_connections",
            Self::SourceStrangers => "source_strangers",
            Self::Accepts => "accepts",
            Self::SourceAccepts => "source_accepts",
            Self::SourceNewcomers => "source_newcomers",
            Self::SourceLogins => "source_logins",
            Self::StrangerMemory => "stranger_memory",
            Self::StrangersMemory => "strangers_memory",
        }
    }
}

/// Decides who may connect. Clones share everything.
#[derive(Clone, Debug)]
pub struct Admission {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: AdmissionConfig,
    places: Mutex<Places>,
    accepts: Global,
    source_accepts: Keyed,
    source_newcomers: Keyed,
    source_logins: Keyed,
}

/// What is taken at present.
#[derive(Debug, Default)]
struct Places {
    all: Count,
    /// Only sources with connections are in here.
    sources: HashMap<Source, Count>,
    /// Bytes buffered for strangers.
    memory: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    connections: usize,
    strangers: usize,
}

impl Admission {
    /// Nobody is connected yet.
    pub fn new(config: AdmissionConfig) -> Self {
        let shared = Shared {
            places: Mutex::default(),
            accepts: Global::new(config.accepts),
            source_accepts: Keyed::new(config.source_accepts),
            source_newcomers: Keyed::new(config.source_newcomers),
            source_logins: Keyed::new(config.source_logins),
            config,
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Judges a connection that was just accepted; it counts until the permit is dropped.
    ///
    /// # Errors
    ///
    /// If there is no place left, or connections come too fast. The connection should be closed
    /// without a word.
    pub fn admit(&self, address: IpAddr) -> Result<Permit, Refusal> {
        let source = Source::of(address);
        let shared = &self.shared;
        let config = &shared.config;
        let mut places = shared.places();
        let own = places.sources.get(&source).copied().unwrap_or_default();
        if places.all.connections >= config.connections {
            return Err(Refusal::Connections);
        }
        if own.connections >= config.source_connections {
            return Err(Refusal::SourceConnections);
        }
        if own.strangers >= config.source_strangers {
            return Err(Refusal::SourceStrangers);
        }
        if places.all.strangers >= config.strangers {
            return Err(Refusal::Strangers);
        }
        if !shared.accepts.allows() {
            return Err(Refusal::Accepts);
        }
        if !shared.source_accepts.allows(&source) {
            return Err(Refusal::SourceAccepts);
        }
        places.all.enter();
        places.sources.entry(source).or_default().enter();
        Ok(Permit {
            shared: Arc::clone(shared),
            source,
            stranger: Mutex::new(Some(0)),
        })
    }

    /// Counts an attempt to log in.
    ///
    /// # Errors
    ///
    /// If there were too many from this address; the attempt should be refused, whatever its
    /// password is.
    pub fn login_attempt(&self, address: IpAddr) -> Result<(), Refusal> {
        if self.shared.source_logins.allows(&Source::of(address)) {
            Ok(())
        } else {
            Err(Refusal::SourceLogins)
        }
    }

    /// Forgets sources that have done nothing for a while. To be called about once a minute.
    pub fn sweep(&self) {
        self.shared.source_accepts.sweep();
        self.shared.source_newcomers.sweep();
        self.shared.source_logins.sweep();
        self.shared.places().sources.shrink_to_fit();
    }

    /// What is taken at present, for status and metrics.
    pub fn usage(&self) -> Usage {
        let shared = &self.shared;
        let places = shared.places();
        Usage {
            connections: places.all.connections,
            strangers: places.all.strangers,
            strangers_memory: places.memory,
            sources: places.sources.len(),
            remembered: shared
                .source_accepts
                .len()
                .max(shared.source_newcomers.len())
                .max(shared.source_logins.len()),
        }
    }
}

/// What is taken at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Connections.
    pub connections: usize,
    /// Connections on which nobody is logged in.
    pub strangers: usize,
    /// Bytes buffered for those.
    pub strangers_memory: usize,
    /// Sources with connections.
    pub sources: usize,
    /// Sources that a rate limit remembers, in the limit that remembers most.
    pub remembered: usize,
}

/// The places of one connection, which are free again when it is dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    source: Source,
    /// Bytes buffered while nobody is logged in; `None` once somebody is. Locked before `places`.
    stranger: Mutex<Option<usize>>,
}

impl Permit {
    /// Judges the connection once more, when its identity is there. `known` says that the server
    /// has met the identity: another link of it is open, or it is logged in or has just been.
    ///
    /// # Errors
    ///
    /// If newcomers arrive too fast from this address; the connection should be closed.
    pub fn identify(&self, known: bool) -> Result<(), Refusal> {
        if known || self.shared.source_newcomers.allows(&self.source) {
            Ok(())
        } else {
            Err(Refusal::SourceNewcomers)
        }
    }

    /// Says how many bytes are buffered for the connection now. Means nothing once promoted.
    ///
    /// # Errors
    ///
    /// If that is too much for a stranger, or for all strangers together; the connection should be
    /// closed.
    pub fn hold(&self, bytes: usize) -> Result<(), Refusal> {
        let mut stranger = lock(&self.stranger);
        let Some(held) = stranger.as_mut() else {
            return Ok(());
        };
        if *held == bytes {
            return Ok(());
        }
        let config = &self.shared.config;
        if bytes > config.stranger_memory {
            return Err(Refusal::StrangerMemory);
        }
        let mut places = self.shared.places();
        let memory = places.memory.saturating_sub(*held).saturating_add(bytes);
        if bytes > *held && memory > config.strangers_memory {
            return Err(Refusal::StrangersMemory);
        }
        places.memory = memory;
        *held = bytes;
        Ok(())
    }

    /// Says that the connection's identity is logged in: it is no stranger any more.
    pub fn promote(&self) {
        let Some(held) = lock(&self.stranger).take() else {
            return;
        };
        let mut places = self.shared.places();
        places.memory = places.memory.saturating_sub(held);
        places.all.promote();
        if let Some(own) = places.sources.get_mut(&self.source) {
            own.promote();
        }
    }

    /// The source it counts for.
    pub fn source(&self) -> Source {
        self.source
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.promote();
        let mut places = self.shared.places();
        places.all.leave();
        if let Some(own) = places.sources.get_mut(&self.source) {
            own.leave();
            if own.connections == 0 {
                places.sources.remove(&self.source);
            }
        }
    }
}

impl Shared {
    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }
}

impl Count {
    fn enter(&mut self) {
        self.connections = self.connections.saturating_add(1);
        self.strangers = self.strangers.saturating_add(1);
    }

    fn promote(&mut self) {
        self.strangers = self.strangers.saturating_sub(1);
    }

    fn leave(&mut self) {
        self.connections = self.connections.saturating_sub(1);
    }
}

/// A panic elsewhere must not end admission: the counts stay right, as no code in between panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv6Addr;
    use std::time::Duration;

    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn small() -> AdmissionConfig {
        AdmissionConfig {
            connections: 6,
            strangers: 4,
            source_connections: 3,
            source_strangers: 2,
            stranger_memory: 100,
            strangers_memory: 150,
            ..AdmissionConfig::default()
        }
    }

    fn refusal(result: Result<Permit, Refusal>) -> Option<Refusal> {
        result.err()
    }

    #[tokio::test(start_paused = true)]
    async fn places_of_a_source_are_counted_and_given_back() {
        let admission = Admission::new(small());
        let first = admission.admit(address("192.0.2.1")).unwrap();
        let second = admission.admit(address("::ffff:192.0.2.1")).unwrap();
        let third = admission.admit(address("192.0.2.1"));
        assert_eq!(refusal(third), Some(Refusal::SourceStrangers));
        first.promote();
        first.promote();
        let third = admission.admit(address("192.0.2.1")).unwrap();
        third.promote();
        let fourth = admission.admit(address("192.0.2.1"));
        assert_eq!(refusal(fourth), Some(Refusal::SourceConnections));
        drop(first);
        second.promote();
        let fourth = admission.admit(address("192.0.2.1"));
        assert_eq!(admission.usage().strangers, 1);
        drop((second, third, fourth));
        let usage = admission.usage();
        assert_eq!(
            (usage.connections, usage.strangers, usage.sources),
            (0, 0, 0)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn places_in_all_are_counted() {
        let admission = Admission::new(small());
        let admit = |host: u8| admission.admit(IpAddr::from([192, 0, 2, host]));
        let permits: Vec<_> = (0..4).map(|host| admit(host).unwrap()).collect();
        assert_eq!(refusal(admit(4)), Some(Refusal::Strangers));
        permits.iter().for_each(Permit::promote);
        let more = (admit(5).unwrap(), admit(6).unwrap());
        assert_eq!(refusal(admit(7)), Some(Refusal::Connections));
        drop(more);
        assert!(admit(7).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn memory_of_strangers_is_counted() {
        let admission = Admission::new(small());
        let first = admission.admit(address("192.0.2.1")).unwrap();
        let second = admission.admit(address("192.0.2.2")).unwrap();
        assert_eq!(first.hold(101), Err(Refusal::StrangerMemory));
        assert_eq!(first.hold(100), Ok(()));
        assert_eq!(second.hold(51), Err(Refusal::StrangersMemory));
        assert_eq!(second.hold(50), Ok(()));
        assert_eq!(first.hold(20), Ok(()));
        assert_eq!(admission.usage().strangers_memory, 70);
        first.promote();
        assert_eq!(first.hold(1_000_000), Ok(()));
        assert_eq!(admission.usage().strangers_memory, 50);
        drop(second);
        assert_eq!(admission.usage().strangers_memory, 0);
    }

    #[tokio::test(start_paused = true)]
    async fn floods_are_stopped_and_forgiven() {
        let admission = Admission::new(AdmissionConfig {
            accepts: Rate::new(5, 1000),
            source_accepts: Rate::new(3, 2000),
            ..AdmissionConfig::default()
        });
        let admit = |host: u8| refusal(admission.admit(IpAddr::from([192, 0, 2, host])));
        assert_eq!([admit(1), admit(1), admit(1)], [None; 3]);
        assert_eq!(admit(1), Some(Refusal::SourceAccepts));
        assert_eq!(admit(2), None);
        assert_eq!(admit(3), Some(Refusal::Accepts));
        tokio::time::advance(Duration::from_millis(2001)).await;
        assert_eq!(admit(1), None);
        assert_eq!(admit(1), Some(Refusal::SourceAccepts));
    }

    #[tokio::test(start_paused = true)]
    async fn known_identities_are_no_newcomers() {
        let admission = Admission::new(AdmissionConfig {
            source_newcomers: Rate::new(2, 1000),
            ..AdmissionConfig::default()
        });
        let permit = admission.admit(address("192.0.2.1")).unwrap();
        for _ in 0..10 {
            assert_eq!(permit.identify(true), Ok(()));
        }
        assert_eq!(permit.identify(false), Ok(()));
        assert_eq!(permit.identify(false), Ok(()));
        assert_eq!(permit.identify(false), Err(Refusal::SourceNewcomers));
        assert_eq!(permit.identify(true), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn passwords_are_tried_slowly_and_sources_forgotten() {
        let admission = Admission::new(AdmissionConfig {
            source_logins: Rate::new(2, 1000),
            ..AdmissionConfig::default()
        });
        let network: Vec<_> = (1..4_u128)
            .map(|host| address("2001:db8::").with(host))
            .collect();
        let attempt = |at: usize| admission.login_attempt(network[at]);
        assert_eq!((attempt(0), attempt(1)), (Ok(()), Ok(())));
        assert_eq!(attempt(2), Err(Refusal::SourceLogins));
        assert_eq!(admission.usage().remembered, 1);
        tokio::time::advance(Duration::from_secs(60)).await;
        admission.sweep();
        assert_eq!(admission.usage().remembered, 0);
        assert_eq!(attempt(2), Ok(()));
    }

    trait With {
        fn with(self, host: u128) -> Self;
    }

    impl With for IpAddr {
        fn with(self, host: u128) -> Self {
            match self {
                Self::V6(network) => Ipv6Addr::from_bits(network.to_bits() | host).into(),
                Self::V4(_) => self,
            }
        }
    }
}
