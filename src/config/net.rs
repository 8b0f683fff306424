//! `[net]`: deadlines, rates and budgets of connections, read by the modules that own sockets.
//! The defaults let 128 artists join from one address and keep a flood of strangers below
//! 16 MiB and 256 connections.

use std::{num::NonZeroU32, time::Duration};

use serde::{Deserialize, Serialize};

use super::units::{self, ByteSize};

/// `[net]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetConfig {
    /// From accept to the end of the transport's greeting.
    #[serde(with = "units::duration")]
    pub handshake_deadline: Duration,
    /// From accept until the connection belongs to a logged-in user.
    #[serde(with = "units::duration")]
    pub login_deadline: Duration,
    /// A peer that takes no byte of what waits for it for so long is disconnected.
    #[serde(with = "units::duration")]
    pub write_deadline: Duration,
    /// Bytes per second, over [`Self::min_rate_window`], below which a transfer in progress
    /// counts as stalled.
    pub min_rate: ByteSize,
    /// The time over which [`Self::min_rate`] is measured.
    #[serde(with = "units::duration")]
    pub min_rate_window: Duration,
    /// A command link that ended cleanly frees its user's name after so long. 0 to 1 s.
    #[serde(with = "units::duration")]
    pub leave_delay: Duration,
    /// A link that was reset or vanished may come back within so long.
    #[serde(with = "units::duration")]
    pub grace: Duration,
    /// Least silence after which a user is lost, whatever [`Config::timeout`](super::Config)
    /// says: short timeouts lose users whenever a client is busy.
    #[serde(with = "units::duration")]
    pub silence_floor: Duration,
    /// What to do when the links of one user come from different addresses.
    pub same_address: SameAddress,
    /// Open connections in all.
    pub max_connections: usize,
    /// Open connections that belong to no logged-in user.
    pub max_unauthenticated: usize,
    /// Open connections from one address (IPv4-mapped IPv6 counts as IPv4).
    pub max_per_address: usize,
    /// Open connections from one address that belong to no logged-in user. One address must not
    /// take all the places there are for newcomers: at most three quarters of
    /// [`Self::max_unauthenticated`] count, see [`Self::unauthenticated_per_address`].
    pub max_unauthenticated_per_address: usize,
    /// New connections in all, per second, whoever they belong to.
    pub accepts_per_second: NonZeroU32,
    /// New connections in all at once.
    pub accepts_burst: NonZeroU32,
    /// New connections from one address, per second, whoever they belong to. libzmq tries again
    /// about seven times a second on each of its sockets.
    pub accepts_per_address: NonZeroU32,
    /// New connections from one address at once, whoever they belong to.
    pub accepts_per_address_burst: NonZeroU32,
    /// New connections from one address that belong to nobody known, per minute.
    pub connections_per_minute: NonZeroU32,
    /// New connections from one address that belong to nobody known, at once.
    pub connections_burst: NonZeroU32,
    /// Log-in attempts from one address, per minute.
    pub logins_per_minute: NonZeroU32,
    /// Log-in attempts from one address at once.
    pub logins_burst: NonZeroU32,
    /// Largest message before log-in.
    pub unauthenticated_message: ByteSize,
    /// Most frames of one message before log-in.
    pub unauthenticated_frames: usize,
    /// Bytes of answers that may wait for one identity before log-in.
    pub unauthenticated_answers: ByteSize,
    /// Bytes buffered for one connection before log-in.
    pub unauthenticated_buffer: ByteSize,
    /// Bytes buffered for all connections before log-in.
    pub unauthenticated_total: ByteSize,
    /// Bytes that may wait for one peer (a single larger message may, too).
    pub peer_queue: ByteSize,
    /// What has waited for one peer for so long gives way to newer states of the same node.
    #[serde(with = "units::duration")]
    pub lag: Duration,
    /// Bytes the system may hold for one connection beyond what is on its way (Linux), four times
    /// as many on a fast line; 0 leaves it to the system.
    pub send_buffer: ByteSize,
    /// Bytes of changes of one node that may wait for a peer that lags; more becomes one whole
    /// state.
    pub queued_changes: ByteSize,
    /// Bytes received from one connection and not yet dealt with.
    pub inbound_in_flight: ByteSize,
    /// Most frames of one message.
    pub max_frames: usize,
    /// Largest command that carries no node.
    pub max_command: ByteSize,
}

impl NetConfig {
    /// [`Self::max_unauthenticated_per_address`] as far as the other limits leave room for it.
    #[must_use]
    pub fn unauthenticated_per_address(&self) -> usize {
        let places = (self.max_unauthenticated / 4 * 3).max(1);
        self.max_unauthenticated_per_address
            .min(places)
            .min(self.max_per_address)
    }
}

impl NetConfig {
    /// A connection is broken if the peer's system acknowledges nothing of what was sent for so long, whatever
    /// else of that peer is alive. Who is there and takes nothing has had its
    /// [`write_deadline`](Self::write_deadline) by then, and is told so.
    pub fn dead_after(&self) -> Duration {
        self.write_deadline.saturating_add(Duration::from_secs(5))
    }
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            handshake_deadline: Duration::from_secs(5),
            login_deadline: Duration::from_secs(10),
            write_deadline: Duration::from_secs(30),
            min_rate: ByteSize::kib(4),
            min_rate_window: Duration::from_secs(30),
            leave_delay: Duration::from_millis(500),
            grace: Duration::from_secs(10),
            silence_floor: Duration::from_secs(5),
            same_address: SameAddress::Log,
            max_connections: 4096,
            max_unauthenticated: 1024,
            max_per_address: 2048,
            max_unauthenticated_per_address: 768,
            accepts_per_second: at_least_one(500),
            accepts_burst: at_least_one(4096),
            accepts_per_address: at_least_one(33),
            accepts_per_address_burst: at_least_one(2048),
            connections_per_minute: at_least_one(240),
            connections_burst: at_least_one(1024),
            logins_per_minute: at_least_one(30),
            logins_burst: at_least_one(512),
            unauthenticated_message: ByteSize::kib(16),
            unauthenticated_frames: 16,
            unauthenticated_answers: ByteSize::kib(16),
            unauthenticated_buffer: ByteSize::kib(64),
            unauthenticated_total: ByteSize::mib(16),
            peer_queue: ByteSize::mib(64),
            lag: Duration::from_millis(250),
            send_buffer: ByteSize::kib(256),
            queued_changes: ByteSize::kib(64),
            inbound_in_flight: ByteSize::mib(8),
            max_frames: 16_384,
            max_command: ByteSize::mib(64),
        }
    }
}

const fn at_least_one(n: u32) -> NonZeroU32 {
    match NonZeroU32::new(n) {
        Some(n) => n,
        None => NonZeroU32::MIN,
    }
}

/// What to do when the links of one user come from different addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SameAddress {
    /// Log and count it: large networks, VPNs and containers do this to honest users.
    Log,
    /// Refuse the link whose address differs.
    Require,
}
