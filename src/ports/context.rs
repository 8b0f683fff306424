//! What every task of the ports needs: limits, delays, and whom to tell.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::peer::{Peer, Registry};
use crate::beat::Beat;
use crate::config::{Config, GlobalName, SameAddress};
use crate::counters::Counters;
use crate::net::admission::Admission;
use crate::net::handshake::Offered;
use crate::session::Handle;
use crate::wire::command::CommandLimits;
use crate::wire::dialect::{Dialect, SetShape};
use crate::wire::limits::Limits;
use crate::wire::node::NodeLimits;
use crate::wire::pickle::Budget;
use crate::wire::role::Role;

/// Longest owner, type or user name on the wire, in bytes. (Names of users are held to less.)
const TEXT: usize = 1024;
/// Honest nodes come in one chunk (wire spec, chunk size).
const CHUNKS: u32 = 4;
/// What a message may have beside its payload: this, and so much for each dependency.
const ENVELOPE: usize = 1024 * 1024;
const DEPENDENCY: usize = 64;

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
    pub(crate) offered: Offered,
    /// One permit for each processor that does not carry the work: whoever has messages vetted on
    /// another processor holds one meanwhile.
    pub(crate) helpers: Arc<Semaphore>,
}

impl Context {
    /// Until when somebody must have logged in whose connection was opened then. While the session
    /// is being loaded nobody can: the time begins when it is there.
    pub(crate) fn login_deadline(&self, opened: Instant) -> Instant {
        let since = match self.session.loaded_at() {
            Some(loaded) => opened.max(loaded),
            None => Instant::now(),
        };
        since + self.timing.login_deadline
    }
}

/// How much peers may send.
#[derive(Debug)]
pub(crate) struct PortLimits {
    pub(crate) stranger: Limits,
    /// Bytes of answers that may wait for a stranger.
    pub(crate) stranger_answers: usize,
    user: Limits,
    /// Bytes of a message that carries no node.
    plain: usize,
    pub(crate) in_flight: usize,
    pub(crate) command: CommandLimits,
    /// What the content of a node may be like.
    pub(crate) content: Budget,
    /// What it may name besides the usual.
    pub(crate) extra_globals: Vec<GlobalName>,
}

/// How long peers may take.
#[derive(Debug)]
pub(crate) struct Timing {
    /// When links are pinged.
    pub(crate) beat: Beat,
    pub(crate) handshake_deadline: Duration,
    pub(crate) login_deadline: Duration,
    pub(crate) write_deadline: Duration,
    pub(crate) rate_window: Duration,
    rate: usize,
}

impl Timing {
    pub(crate) fn new(config: &Config) -> Self {
        Self {
            beat: Beat::of_process(),
            handshake_deadline: config.net.handshake_deadline,
            login_deadline: config.net.login_deadline,
            write_deadline: config.net.write_deadline,
            rate_window: config.net.min_rate_window,
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
        let most = dialect.and_then(Dialect::longest_frame);
        let user = Limits {
            // What one sends is what the others have to take.
            frame: self.user.frame.min(most.unwrap_or(usize::MAX)),
            ..self.user
        };
        let carries_nodes = match role {
            Role::Command => dialect.is_none_or(|dialect| dialect.set != SetShape::None),
            _ => true,
        };
        if carries_nodes {
            return user;
        }
        let frame = user.frame.min(self.plain);
        Limits {
            frame,
            message: frame,
            ..user
        }
    }

    /// Limits of a configuration; `max_node` is the longest payload of one node.
    pub(crate) fn new(config: &Config, max_node: usize) -> Self {
        let stranger = config.net.unauthenticated_message.as_usize();
        let frames = config.net.max_frames;
        let dependencies = config.session.max_dependencies;
        let envelope = dependencies
            .saturating_mul(DEPENDENCY)
            .saturating_add(ENVELOPE);
        let frame = max_node.saturating_add(envelope);
        Self {
            stranger: Limits {
                frame: stranger,
                message: stranger,
                frames: frames.min(config.net.unauthenticated_frames),
            },
            stranger_answers: config.net.unauthenticated_answers.as_usize(),
            user: Limits {
                frame,
                message: frame,
                frames,
            },
            plain: config.net.max_command.as_usize(),
            in_flight: config.net.inbound_in_flight.as_usize(),
            command: CommandLimits {
                nodes: config.session.max_nodes,
                items: config.session.max_nodes.saturating_mul(2),
                text: TEXT,
                node: NodeLimits {
                    payload: max_node,
                    dependencies,
                    name: TEXT,
                    chunks: CHUNKS,
                },
            },
            content: Budget::node(
                max_node,
                config.session.max_nesting,
                config.session.max_values,
            ),
            extra_globals: config.session.extra_globals.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::dialect;

    /// What one client may send, all others of its kind take.
    #[test]
    fn frames_are_no_longer_than_clients_take() {
        let limits = PortLimits::new(&Config::default(), 2 << 30);
        let most = |version| {
            let dialect = dialect::for_version(Some(version)).unwrap();
            limits.user(Role::Subscriber, Some(dialect)).frame
        };
        assert_eq!(most("0.10.2"), 512 << 20);
        assert!(most("0.9.11") > 2 << 30);
        let command = limits.user(Role::Command, dialect::for_version(Some("0.0.20")).ok());
        assert_eq!(command.frame, 64 << 20);
    }
}
