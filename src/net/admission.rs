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
//! memory budget, which [`Permit::hold`] keeps. From then on, and until a while after the last link
//! of that kind from there, places are kept for its source, which strangers cannot take: users whose
//! lines break come back, however many strangers wait. Passwords are tried at the pace of
//! [`Admission::login_attempt`]. A timer calls [`Admission::sweep`] about once a minute.
//!
//! Behind some container networks all clients share one address. Where that is known, limits that
//! are otherwise per address count per identity there, and places only in all; where it is not,
//! everybody shares the limits per source, which is why those leave room for a whole team.

mod homes;
mod places;

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use thiserror::Error;

use self::places::{Count, Place, Places};
use super::rates::{Global, Keyed, Rate};
use super::source::Source;

/// The limits.
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
    /// Connections on which nobody is logged in of one source from which users have links, besides
    /// as many as those links, and all of that besides [`Self::strangers`].
    pub home_places: usize,
    /// How long these places are kept after the last of those links ended.
    pub home_kept: Duration,
    /// Bytes buffered for one connection on which nobody is logged in.
    pub stranger_memory: usize,
    /// Bytes buffered for all connections on which nobody is logged in; as much again for those in
    /// places kept for users.
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
    /// Addresses that many clients share.
    pub shared: Vec<IpAddr>,
    /// Attempts to log in from those, all together.
    pub shared_logins: Rate,
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
    shared_logins: Global,
    /// Turns identities into sources; an attacker does not know how.
    hasher: RandomState,
    /// Whether it was said that a shared address is in use.
    told: AtomicBool,
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
            shared_logins: Global::new(config.shared_logins),
            hasher: RandomState::new(),
            told: AtomicBool::new(false),
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
        let is_shared = shared.is_shared(address);
        let own = if is_shared {
            Count::default()
        } else {
            places.sources.get(&source).copied().unwrap_or_default()
        };
        if places.all.connections >= config.connections {
            return Err(Refusal::Connections);
        }
        if own.connections >= config.source_connections {
            return Err(Refusal::SourceConnections);
        }
        if own.strangers >= config.source_strangers {
            return Err(Refusal::SourceStrangers);
        }
        // Behind an address that everybody shares, strangers could take them.
        let is_kept =
            !is_shared && (places.homes).has_place(&source, config.home_places, config.home_kept);
        if !is_kept && places.all.strangers >= config.strangers {
            return Err(Refusal::Strangers);
        }
        // Who is refused for its own pace takes nothing from others. That is known only of sources that are
        // remembered, and which are is for the rate of all to bound.
        let is_loud = places.is_loud(&source);
        let too_fast = || !is_shared && !shared.source_accepts.allows(&source);
        if is_loud && too_fast() {
            return Err(Refusal::SourceAccepts);
        }
        // A flood from elsewhere keeps no user out either.
        if !is_kept && !shared.accepts.allows() {
            return Err(Refusal::Accepts);
        }
        if !is_loud && too_fast() {
            places.note_loud(source);
            return Err(Refusal::SourceAccepts);
        }
        let place = if is_kept {
            Place::Kept
        } else {
            Place::Stranger
        };
        places.enter(source, place);
        Ok(Permit {
            shared: Arc::clone(shared),
            source,
            is_shared,
            place,
            stranger: Mutex::new(Some(0)),
        })
    }

    /// Counts an attempt of this identity to log in.
    ///
    /// # Errors
    ///
    /// If there were too many from this address; the attempt should be refused, whatever its
    /// password is.
    pub fn login_attempt(&self, address: IpAddr, identity: &[u8]) -> Result<(), Refusal> {
        let shared = &self.shared;
        let allowed = if shared.is_shared(address) {
            shared.source_logins.allows(&shared.source_of(identity))
                && shared.shared_logins.allows()
        } else {
            shared.source_logins.allows(&Source::of(address))
        };
        if allowed {
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
        let mut places = self.shared.places();
        places.sources.shrink_to_fit();
        places.forget_loud();
        places.homes.sweep(self.shared.config.home_kept);
    }
}

/// The places of one connection, which are free again when it is dropped.
#[derive(Debug)]
pub struct Permit {
    shared: Arc<Shared>,
    source: Source,
    /// Its address is not its own.
    is_shared: bool,
    /// What it has while nobody is logged in.
    place: Place,
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
    pub fn identify(&self, identity: &[u8], known: bool) -> Result<(), Refusal> {
        let source = if self.is_shared {
            self.shared.source_of(identity)
        } else {
            self.source
        };
        if known || self.shared.source_newcomers.allows(&source) {
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
        let all = places.memory(self.place);
        let memory = all.saturating_sub(*held).saturating_add(bytes);
        if bytes > *held && memory > config.strangers_memory {
            return Err(Refusal::StrangersMemory);
        }
        *all = memory;
        *held = bytes;
        Ok(())
    }

    /// Says that the connection's identity is logged in: it is no stranger any more.
    pub fn promote(&self) {
        let Some(held) = lock(&self.stranger).take() else {
            return;
        };
        let mut places = self.shared.places();
        places.settle(&self.source, self.place, held);
        places
            .homes
            .link(self.source, self.shared.config.connections);
    }

    /// The source it counts for.
    pub fn source(&self) -> Source {
        self.source
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let stranger = lock(&self.stranger).take();
        let mut places = self.shared.places();
        match stranger {
            Some(held) => places.settle(&self.source, self.place, held),
            None => places.homes.unlink(&self.source),
        }
        places.leave(&self.source);
    }
}

impl Shared {
    /// Whether many clients share this address. Says so when the first of them comes.
    fn is_shared(&self, address: IpAddr) -> bool {
        let is_shared = self.config.shared.contains(&address.to_canonical());
        if is_shared && !address.is_loopback() && !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(name: "net.shared_address", %address, "clients appear under an address \
                of the container's network: limits per address count per identity there");
        }
        is_shared
    }

    fn source_of(&self, identity: &[u8]) -> Source {
        Source::of_identity(self.hasher.hash_one(identity))
    }

    fn places(&self) -> MutexGuard<'_, Places> {
        lock(&self.places)
    }
}

/// A panic elsewhere must not end admission: the counts stay right, as no code in between panics.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
