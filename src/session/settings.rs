//! What the session takes from the configuration.

use std::time::Duration;

use crate::beat::Beat;
use crate::config::{Clients, Config, NewerClients, Secret, Upload};
use crate::wire::dialect::Ports;
use crate::wire::pickle::Budget;
use crate::wire::role::Role;

/// Passwords, limits and delays of a session.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Who knows it is admin.
    pub admin_password: Option<Secret>,
    /// Who does not know it stays out.
    pub server_password: Option<Secret>,
    /// Who may bring the first nodes.
    pub upload: Upload,
    /// Bytes of all nodes together.
    pub max_session: usize,
    /// Number of nodes.
    pub max_nodes: usize,
    /// Rights kept per user for nodes that have not arrived.
    pub max_early_rights: usize,
    /// Bytes of one node's deltas that may wait for a user.
    pub queued_changes: usize,
    /// Bytes of a node's deltas that are kept beside its whole state, if that is small.
    pub tail_bytes: usize,
    /// Number of a node's deltas that are kept beside its whole state.
    pub tail_deltas: usize,
    /// Bytes of updates that may wait for nodes that are worked on.
    pub waiting_bytes: usize,
    /// What the content of a node may be like.
    pub content: Budget,
    /// Bytes of memory for jobs on nodes, all that are under way together; half as much is for what
    /// arrives.
    pub work: usize,
    /// Percent of the nodes one user may delete within seconds without a backup being made; 0 for
    /// any.
    pub mass_delete: usize,
    /// Number of users.
    pub max_users: usize,
    /// Bytes of one user's metadata.
    pub max_metadata: usize,
    /// A transfer without progress for so long is given up.
    pub stall: Duration,
    /// How long the last owner's updates count after it gave a node away.
    pub in_flight: Duration,
    /// From the clean end of a command link to the user's leaving.
    pub leave_delay: Duration,
    /// From the loss of a command link to the user's leaving.
    pub grace: Duration,
    /// From the last byte on any link to the user's leaving.
    pub silence: Duration,
    /// From the moment at which something was written to a link that is dead to the end of that link, at most.
    pub dead_after: Duration,
    /// From the login to the last link a user needs.
    pub login_deadline: Duration,
    /// Which clients may join.
    pub clients: Clients,
    /// What to do with clients newer than any known.
    pub newer_clients: NewerClients,
    /// The version the server info names while nobody is present, if one is configured.
    pub idle_version: Option<String>,
    /// The ports people have to forward begin here.
    pub base_port: u16,
    /// When the session looks around itself.
    pub beat: Beat,
}

impl Settings {
    /// The settings of a configuration, with the limits in bytes of all nodes and of one resolved.
    pub fn new(config: &Config, max_session: usize, max_node: usize) -> Self {
        let session = &config.session;
        Self {
            admin_password: session.admin_password.clone(),
            server_password: session.server_password.clone(),
            upload: session.upload,
            max_session,
            max_nodes: session.max_nodes,
            max_early_rights: session.rights.max_early,
            queued_changes: config.net.queued_changes.as_usize(),
            tail_bytes: 1 << 20,
            tail_deltas: 256,
            waiting_bytes: 64 << 20,
            content: content(config, max_node),
            work: work(max_session),
            mass_delete: usize::from(config.backup.mass_delete),
            max_users: session.max_users,
            max_metadata: session.metadata_max.as_usize(),
            stall: session.upload_stall,
            in_flight: session.rights.in_flight,
            leave_delay: config.net.leave_delay,
            grace: config.net.grace,
            silence: config.silence(),
            dead_after: config.net.dead_after(),
            login_deadline: config.net.login_deadline,
            clients: session.clients.clone(),
            newer_clients: session.newer_clients,
            idle_version: session.idle_version.clone(),
            base_port: config.port,
            beat: Beat::of_process(),
        }
    }

    /// How long it has to be remembered what was written: until a link that has swallowed it ends, and for as long
    /// as another may take its place after that.
    pub fn keep(&self) -> Duration {
        const SLACK: Duration = Duration::from_secs(5);
        let dead_after = self.dead_after.max(self.silence);
        dead_after.saturating_add(self.grace).saturating_add(SLACK)
    }

    /// The port on which a role is reached.
    pub fn port(&self, role: Role, ports: Ports) -> u16 {
        self.base_port.saturating_add(role.port_offset(ports))
    }

    /// Why somebody is sent away whose link for a role never came.
    pub fn unreachable(&self, role: Role, ports: Ports) -> String {
        let port = self.port(role, ports);
        format!("port {port} ({role}) cannot be reached, is it forwarded and open?")
    }
}

/// Bytes of memory for looking into nodes and changes, beside so many for the session itself.
fn work(max_session: usize) -> usize {
    const LEAST: usize = 128 << 20;
    (max_session / 6).max(LEAST)
}

/// What the content of a node may be like, of so many bytes.
pub fn content(config: &Config, max_node: usize) -> Budget {
    let session = &config.session;
    Budget::node(max_node, session.max_nesting, session.max_values)
}
