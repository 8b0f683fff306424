//! Contradictions: values that are right alone, but not together.

use std::io::ErrorKind;
use std::path::Path;

use super::{
    error::ConfigError,
    load::Origins,
    show,
    tree::{Config, SessionConfig},
    units::MemoryLimit,
};

/// Whoever gives people the one password gives them the other.
pub(crate) const SAME_PASSWORDS: &str =
    "both passwords are the same: who may join would be admin; change one";

/// Connections that one user of the older clients needs.
const LINKS: usize = 4;

/// All contradictions in `config`, but none that involves a key in `wrong`: its value is not
/// what was written.
pub(super) fn contradictions(
    config: &Config,
    origins: &Origins,
    wrong: &[&'static str],
) -> Vec<ConfigError> {
    let Config { session, net, .. } = config;
    let rules: [(bool, &str, &[&'static str]); 8] = [
        (
            is_in_place_of_a_directory(&config.data_dir),
            "a file is there, or above it, where a directory has to be: name another",
            &["data_dir"],
        ),
        (
            session.server_password.is_some() && session.server_password == session.admin_password,
            SAME_PASSWORDS,
            &["session.server_password", "session.admin_password"],
        ),
        (
            node_exceeds_session(session),
            "one node may be larger than the whole session: lower max_node or raise max_session",
            &["session.max_node", "session.max_session"],
        ),
        (
            session.max_users.saturating_mul(LINKS) > net.max_connections,
            "every user may need four connections: lower max_users or raise max_connections",
            &["session.max_users", "net.max_connections"],
        ),
        (
            net.handshake_deadline > net.login_deadline,
            "the handshake is the first part of the log-in: lower handshake_deadline or raise \
             login_deadline",
            &["net.handshake_deadline", "net.login_deadline"],
        ),
        (
            net.max_unauthenticated > net.max_connections,
            "strangers may have more connections than there are: lower max_unauthenticated or \
             raise max_connections",
            &["net.max_unauthenticated", "net.max_connections"],
        ),
        (
            net.unauthenticated_message > net.unauthenticated_buffer,
            "a message has to fit into its buffer: lower unauthenticated_message or raise \
             unauthenticated_buffer",
            &["net.unauthenticated_message", "net.unauthenticated_buffer"],
        ),
        (
            net.unauthenticated_buffer > net.unauthenticated_total,
            "the buffer of one connection is part of the total: lower unauthenticated_buffer or \
             raise unauthenticated_total",
            &["net.unauthenticated_buffer", "net.unauthenticated_total"],
        ),
    ];
    rules
        .into_iter()
        .filter(|(broken, _, keys)| *broken && !keys.iter().any(|key| wrong.contains(key)))
        .map(|(_, problem, keys)| ConfigError::Contradiction {
            problem: problem.to_owned(),
            settings: keys
                .iter()
                .map(|key| show::setting(config, key, origins.of(key).clone()))
                .collect(),
        })
        .collect()
}

/// Whether something else is there, or above it.
fn is_in_place_of_a_directory(path: &Path) -> bool {
    match path.metadata() {
        Ok(there) => !there.is_dir(),
        Err(error) => error.kind() == ErrorKind::NotADirectory,
    }
}

/// Only where both were written down: the default of `max_node` gives way to a smaller session
/// ([`SessionConfig::limits`]), and what a share of the memory comes to is known at the start.
fn node_exceeds_session(session: &SessionConfig) -> bool {
    match session.max_session {
        MemoryLimit::Size(size) => {
            session.max_node > size && session.max_node != SessionConfig::default().max_node
        }
        MemoryLimit::Share(_) => false,
    }
}
