//! Who may do what: pure decisions, asked by the session before it changes anything.

use std::time::Duration;

use tokio::time::Instant;

use super::replicas::{COMMON, Replica};

/// Longest user name in bytes.
pub(super) const NAME_MAX: usize = 128;

/// Names that mean something else on the wire.
const RESERVED: [&str; 4] = [COMMON, "server", "client", "guest"];

/// Whether a user may call itself so: 1 to 128 bytes, no control characters, none of the words
/// that mean something else on the wire (in any case).
pub(super) fn is_name(name: &str) -> bool {
    (1..=NAME_MAX).contains(&name.len())
        && !name.chars().any(char::is_control)
        && !name.trim().is_empty()
        && !is_reserved(name)
}

/// Whether it means something else on the wire, in any case.
pub(super) fn is_reserved(name: &str) -> bool {
    let name = name.trim();
    RESERVED.iter().any(|word| word.eq_ignore_ascii_case(name))
}

/// Whether a user may change or delete a node: nobody's, its own, or its own until a moment
/// before `began` (its bulk may travel slower than the command that gave the node away).
pub(super) fn may_change(
    replica: &Replica,
    user: &str,
    began: Instant,
    in_flight: Duration,
) -> bool {
    is_free_or_own(replica.owner(), user)
        || replica
            .former()
            .is_some_and(|(former, until)| former == user && began < until + in_flight)
}

/// Whether a user may give a node to somebody: nobody's, its own, or any as an admin.
pub(super) fn may_give(replica: &Replica, user: &str, admin: bool) -> bool {
    admin || is_free_or_own(replica.owner(), user)
}

/// The owner a new node gets: only oneself can be named.
pub(super) fn owner_of_new<'a>(claimed: &'a str, user: &str) -> &'a str {
    if claimed == user { claimed } else { COMMON }
}

fn is_free_or_own(owner: &str, user: &str) -> bool {
    owner == COMMON || owner == user
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_mean_something_else_are_refused() {
        for name in [
            "", " ", "COMMON", "common", "Server", "client", "GUEST ", "a\nb", "a\0",
        ] {
            assert!(!is_name(name), "{name:?}");
        }
        assert!(!is_name(&"x".repeat(129)));
        for name in ["COMMON", "common", "Server", "client", "GUEST "] {
            assert!(is_reserved(name), "{name:?}");
        }
        for name in ["bob", "Zoë", "名前", "commoner", &"x".repeat(128)] {
            assert!(!is_reserved(name), "{name:?}");
            assert!(is_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_new_node_belongs_to_nobody_or_its_sender() {
        assert_eq!(owner_of_new("bob", "bob"), "bob");
        assert_eq!(owner_of_new("eve", "bob"), COMMON);
        assert_eq!(owner_of_new(COMMON, "bob"), COMMON);
    }
}
