//! What every task of the ports needs: limits, delays, and whom to tell.

use std::sync::Arc;
use std::time::Duration;

use super::peer::{Peer, Registry};
use crate::config::{Config, SameAddress};
use crate::counters::Counters;
use crate::net::admission::Admission;
use crate::session::Handle;
use crate::wire::command::CommandLimits;
use crate::wire::dialect::{Dialect, SetShape};
use crate::wire::limits::Limits;
use crate::wire::node::NodeLimits;
use crate::wire::role::Role;

/// Most nodes one node may depend on.
const DEPENDENCIES: usize = 100_000;
/// Longest owner, type or user name on the wire, in bytes. (Names of users are held to less.)
const TEXT: usize = 1024;
/// Honest nodes come in one chunk (wire spec, chunk size).
const CHUNKS: u32 = 4;
/// Longest command that carries no nodes: an upload's list of a million of them.
const COMMAND: usize = 64 * 1024 * 1024;
/// What a message may have beside its payload.
const ENVELOPE: usize = 8 * 1024 * 1024;

/// Shared by all tasks of the ports; cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    pub(crate) session: Handle<Arc<Peer>>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) admission: Admission,
    pub(crate) counters: Arc<Counters>,
    pub(crate) limits: Arc<PortLimits>,
    pub(crate) timing: Arc<Timing>,
    pub(crate) same_address: SameAddress,
    pub(crate) framed: bool,
}

/// How much peers may send.
#[derive(Debug)]
pub(crate) struct PortLimits {
    pub(crate) stranger: Limits,
    user: Limits,
    pub(crate) in_flight: usize,
    pub(crate) command: CommandLimits,
}

/// How long peers may take.
#[derive(Debug)]
pub(crate) struct Timing {
    pub(crate) handshake_deadline: Duration,
    pub(crate) login_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) rate_window: Duration,
    rate: usize,
}

impl Timing {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            handshake_deadline: config.net.handshake_deadline,
            login_deadline: config.net.login_deadline,
            write_deadline: config.net.write_deadline,
            rate_window: crate::config::NetConfig::MIN_RATE_WINDOW,
            rate: config.net.min_rate.as_usize(),
        }
    }

    /// Bytes that must move within a rate window.
    pub(crate) fn rate_bytes(&self) -> usize {
        let seconds = usize::try_from(self.rate_window.as_secs()).unwrap_or(usize::MAX);
        self.rate.saturating_mul(seconds)
    }
}

impl PortLimits {
    /// What a user may send on a link. Commands are large only where they carry nodes.
    pub(crate) fn user(&self, role: Role, dialect: Option<&Dialect>) -> Limits {
        let carries_nodes = match role {
            Role::Command => dialect.is_none_or(|dialect| dialect.set != SetShape::None),
            _ => true,
        };
        if carries_nodes {
            return self.user;
        }
        let frame = self.user.frame.min(COMMAND);
        Limits {
            frame,
            message: frame,
            ..self.user
        }
    }

    /// Limits of a configuration; `max_node` is the longest payload of one node.
    pub(crate) fn new(config: &Config, max_node: usize) -> Self {
        let stranger = config.net.unauthenticated_message.as_usize();
        let frames = config.net.max_frames;
        let frame = max_node.saturating_add(ENVELOPE);
        Self {
            stranger: Limits {
                frame: stranger,
                message: stranger,
                frames: frames.min(16),
            },
            user: Limits {
                frame,
                message: frame,
                frames,
            },
            in_flight: config.net.inbound_in_flight.as_usize(),
            command: CommandLimits {
                nodes: config.session.max_nodes,
                items: config.session.max_nodes.saturating_mul(2),
                text: TEXT,
                node: NodeLimits {
                    payload: max_node,
                    dependencies: DEPENDENCIES,
                    name: TEXT,
                    chunks: CHUNKS,
                },
            },
        }
    }
}
