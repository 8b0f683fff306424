//! Every key of the configuration and which values are right for it. The layers check each value
//! with it where it was written, so that all mistakes can be reported at once and with their
//! place; a test keeps the list in step with the [tree](super::tree).

use std::time::Duration;

use super::{
    clients,
    kind::{Kind, NO_LIMIT},
    units::ByteSize,
};

/// A key by its full name (`net.grace`) and what it takes.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
}

const TEN_MINUTES: Duration = Duration::from_secs(600);
const HOUR: Duration = Duration::from_secs(3600);
const KIB: ByteSize = ByteSize::kib(1);
const MANY: u64 = 1_000_000;

const fn key(name: &'static str, kind: Kind) -> Key {
    Key { name, kind }
}

/// All keys, in the order in which they are shown; those of a section are together.
#[rustfmt::skip]
pub(super) const KEYS: [Key; 75] = [
    key("bind", Kind::Addresses),
    key("port", Kind::Port),
    key("timeout", Kind::Millis(Duration::from_millis(100), TEN_MINUTES)),
    key("data_dir", Kind::Path),
    key("log.level", Kind::Filter),
    key("log.format", Kind::Choice(&["human", "json"])),
    key("log.file", Kind::OptionalPath),
    key("log.repeat", Kind::Duration(Duration::ZERO, HOUR)),
    key("session.name", Kind::Name),
    key("session.admin_password", Kind::Secret),
    key("session.admin_password_file", Kind::OptionalPath),
    key("session.server_password", Kind::Secret),
    key("session.server_password_file", Kind::OptionalPath),
    key("session.clients", Kind::Words(&clients::WORDS)),
    key("session.newer_clients", Kind::Choice(&["accept", "refuse"])),
    key("session.idle_version", Kind::OptionalVersion),
    key("session.upload", Kind::Choice(&["admin", "anyone"])),
    key("session.max_node", Kind::Size(KIB, NO_LIMIT)),
    key("session.max_nodes", Kind::Count(1, 1_000_000_000)),
    key("session.max_dependencies", Kind::Count(1, 10_000_000)),
    key("session.max_nesting", Kind::Count(16, 32_767)),
    key("session.max_values", Kind::Count(1024, 1_000_000_000)),
    key("session.extra_globals", Kind::Globals),
    key("session.max_session", Kind::Memory),
    key("session.max_users", Kind::Count(1, MANY)),
    key("session.when_empty", Kind::WhenEmpty),
    key("session.upload_stall", Kind::Duration(Duration::from_secs(1), HOUR)),
    key("session.metadata_max", Kind::Size(KIB, ByteSize::gib(1))),
    key("session.rights.in_flight", Kind::Duration(Duration::ZERO, TEN_MINUTES)),
    key("session.rights.max_early", Kind::Count(0, MANY)),
    key("durability.flush", Kind::Flush),
    key("backup.dir", Kind::OptionalPath),
    key("backup.interval", Kind::Interval),
    key("backup.on_leave", Kind::Switch),
    key("backup.on_stop", Kind::Switch),
    key("backup.mass_delete", Kind::Count(0, 99)),
    key("backup.keep_last", Kind::Count(1, MANY)),
    key("backup.keep_hourly", Kind::Count(0, MANY)),
    key("backup.keep_daily", Kind::Count(0, MANY)),
    key("net.handshake_deadline", Kind::Duration(Duration::from_millis(100), TEN_MINUTES)),
    key("net.login_deadline", Kind::Duration(Duration::from_millis(100), TEN_MINUTES)),
    key("net.write_deadline", Kind::Duration(Duration::from_secs(1), HOUR)),
    key("net.min_rate", Kind::Size(ByteSize::new(0), ByteSize::gib(1))),
    key("net.min_rate_window", Kind::Duration(Duration::from_secs(1), HOUR)),
    key("net.leave_delay", Kind::Duration(Duration::ZERO, Duration::from_secs(1))),
    key("net.grace", Kind::Duration(Duration::ZERO, TEN_MINUTES)),
    key("net.silence_floor", Kind::Duration(Duration::ZERO, TEN_MINUTES)),
    key("net.same_address", Kind::Choice(&["log", "require"])),
    // One user of the older clients needs four connections.
    key("net.max_connections", Kind::Count(4, MANY)),
    key("net.max_unauthenticated", Kind::Count(4, MANY)),
    key("net.max_per_address", Kind::Count(4, MANY)),
    key("net.max_unauthenticated_per_address", Kind::Count(4, MANY)),
    key("net.accepts_per_second", Kind::Count(1, MANY)),
    key("net.accepts_burst", Kind::Count(4, MANY)),
    key("net.accepts_per_address", Kind::Count(1, MANY)),
    key("net.accepts_per_address_burst", Kind::Count(4, MANY)),
    key("net.connections_per_minute", Kind::Count(1, MANY)),
    key("net.connections_burst", Kind::Count(4, MANY)),
    key("net.logins_per_minute", Kind::Count(1, MANY)),
    key("net.logins_burst", Kind::Count(1, MANY)),
    key("net.unauthenticated_message", Kind::Size(KIB, ByteSize::gib(1))),
    key("net.unauthenticated_frames", Kind::Count(8, MANY)),
    key("net.unauthenticated_answers", Kind::Size(KIB, ByteSize::gib(1))),
    key("net.unauthenticated_buffer", Kind::Size(KIB, ByteSize::gib(1))),
    key("net.unauthenticated_total", Kind::Size(ByteSize::kib(64), NO_LIMIT)),
    key("net.peer_queue", Kind::Size(ByteSize::kib(64), NO_LIMIT)),
    key("net.lag", Kind::Duration(Duration::ZERO, TEN_MINUTES)),
    key("net.send_buffer", Kind::Size(ByteSize::new(0), ByteSize::gib(1))),
    key("net.queued_changes", Kind::Size(KIB, NO_LIMIT)),
    key("net.inbound_in_flight", Kind::Size(ByteSize::kib(64), NO_LIMIT)),
    key("net.max_frames", Kind::Count(16, MANY)),
    key("net.max_command", Kind::Size(ByteSize::kib(64), ByteSize::gib(4))),
    key("runtime.worker_threads", Kind::Threads),
    key("runtime.attached", Kind::Switch),
    key("runtime.console", Kind::Switch),
];

/// The key of that full name.
pub(super) fn find(name: &str) -> Option<&'static Key> {
    KEYS.iter().find(|key| key.name == name)
}

/// Whether keys exist below that name.
pub(super) fn is_section(name: &str) -> bool {
    KEYS.iter().any(|key| {
        key.name
            .strip_prefix(name)
            .is_some_and(|below| below.starts_with('.'))
    })
}

/// The key that was probably meant by an unknown name.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    // A key in the wrong section is a likely mistake too.
    closest(name, KEYS.iter().map(|key| key.name), |known| {
        let in_place = strsim::damerau_levenshtein(known, name);
        in_place.min(strsim::damerau_levenshtein(leaf(known), leaf(name)) + 1)
    })
}

/// The section that was probably meant by an unknown name.
pub(super) fn nearest_section(name: &str) -> Option<&'static str> {
    let sections = KEYS
        .iter()
        .filter_map(|key| Some(key.name.rsplit_once('.')?.0));
    closest(name, sections, |known| {
        strsim::damerau_levenshtein(known, name)
    })
}

/// The known name with the least distance, unless even that is too far to be a slip.
fn closest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
    distance: impl Fn(&str) -> usize,
) -> Option<&'static str> {
    let (best, known) = known
        .map(|known| (distance(known), known))
        .min_by_key(|(d, _)| *d)?;
    (best <= (leaf(name).chars().count() / 3).max(1)).then_some(known)
}

fn leaf(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use figment::{
        Figment,
        providers::Serialized,
        value::{Dict, Value},
    };
    use proptest::prelude::*;

    use super::{super::tree::Config, *};

    fn leaves(prefix: &str, value: Value, into: &mut Vec<(String, Value)>) {
        match value {
            Value::Dict(_, table) => {
                for (name, value) in table {
                    let name = if prefix.is_empty() {
                        name
                    } else {
                        format!("{prefix}.{name}")
                    };
                    leaves(&name, value, into);
                }
            }
            value => into.push((prefix.to_owned(), value)),
        }
    }

    #[test]
    fn the_list_has_the_keys_of_the_tree_and_their_defaults_are_right() {
        let mut tree = Vec::new();
        leaves("", Value::serialize(Config::default()).unwrap(), &mut tree);
        for (name, value) in &tree {
            let key = find(name).unwrap_or_else(|| panic!("{name} is not in the list"));
            if !matches!(value, Value::Empty(..)) {
                assert_eq!(key.kind.check(value), Ok(()), "{name}");
            }
        }
        for key in &KEYS {
            assert!(
                tree.iter().any(|(name, _)| name == key.name),
                "{} is no key",
                key.name
            );
        }
        assert_eq!(tree.len(), KEYS.len(), "a key is there twice");
    }

    #[test]
    fn typos_find_their_key() {
        assert_eq!(nearest("prot"), Some("port"));
        assert_eq!(nearest("session.uplaod"), Some("session.upload"));
        assert_eq!(nearest("session_upload"), Some("session.upload"));
        assert_eq!(nearest("admin_password"), Some("session.admin_password"));
        assert_eq!(nearest("net.max_user"), Some("session.max_users"));
        assert_eq!(nearest("colour"), None);
        assert_eq!(nearest("x"), None);
        assert_eq!(nearest_section("sesion"), Some("session"));
        assert_eq!(nearest_section("session.right"), Some("session.rights"));
        assert_eq!(nearest_section("database"), None);
    }

    fn anything() -> impl Strategy<Value = Value> {
        let text = prop_oneof![
            any::<String>(),
            "[0-9]{1,20}(ms|s|m|h|d|%| ?[KMGT]i?B|B)?",
            "(0\\.0\\.0\\.0|::1?|auto|admin|anyone|human|json|log|require|info|WARNING|a=debug)",
        ];
        let leaf = prop_oneof![
            text.prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            (0..100_000_i64).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<bool>().prop_map(Value::from),
        ];
        leaf.prop_recursive(2, 6, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-z]", inner, 0..3)
                    .prop_map(|table| Value::from(table.into_iter().collect::<Dict>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_right_fits_the_tree(value in anything()) {
            for key in &KEYS {
                if key.kind.check(&value).is_ok() {
                    let figment = Figment::from(Serialized::defaults(Config::default()))
                        .merge(Serialized::default(key.name, &value));
                    prop_assert!(figment.extract::<Config>().is_ok(), "{} = {:?}", key.name, value);
                }
            }
        }

        #[test]
        fn texts_of_variables_fit_the_tree(text in "[0-9]{1,6}|[a-z0-9:.,=%]{0,12}|auto|TRUE|no") {
            for key in &KEYS {
                let value = key.kind.value_of(&text);
                if key.kind.check(&value).is_ok() {
                    let figment = Figment::from(Serialized::defaults(Config::default()))
                        .merge(Serialized::default(key.name, &value));
                    prop_assert!(figment.extract::<Config>().is_ok(), "{} = {:?}", key.name, value);
                }
            }
        }
    }
}
