//! The published wire generations as data: one row per range of client versions.
//!
//! The session picks a row from the version in the first login ([`for_version`]) and everything
//! that differs between clients is a trait of that row: the codecs ([`command`](super::command),
//! [`node`](super::node)) are driven by it, and the session asks it who gets which echo and when.
//! Each row is written as its predecessor plus what changed, so the table reads as a history.
//!
//! Where all clients can be treated alike there is no trait, though they differ: whoever says good-bye
//! is answered (clients up to 0.0.15 do, and wait for it), whoever asks for the server info is told
//! (they do from G17 on), and nothing live goes to those who are joining (0.7.0–0.7.2 end if a
//! Commit is among it).

mod table;
mod traits;
mod version;

use self::table::DIALECTS;
pub use self::traits::{
    Family, Framing, Heartbeat, Live, MetadataFanOut, MissingNode, NodeFrames, Passwords, Ports,
    RightShape, SessionFile, SetShape, Transfer, UsersAtLogin,
};
pub use self::version::{UnknownVersion, Version, echoable};
use super::pickle::Protocol;

/// How the clients of one range of versions speak. Sources: wire spec, master table and the
/// generation named at each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dialect {
    /// Number of the wire generation, 1 to 19. A generation may have several rows.
    pub generation: u8,
    /// First published version of the row.
    pub first: Version,
    /// Last published version of the row (inclusive).
    pub last: Version,
    /// Which ports the clients connect to (G1–G5, G6–G18, G19).
    pub ports: Ports,
    /// How a command names its type (G14 replaced names by numbers).
    pub commands: Framing,
    /// The frames of a data message.
    pub node: NodeFrames,
    /// What a live update carries.
    pub live: Live,
    /// Shape of node payloads; stored state is exchangeable inside one family only.
    pub family: Family,
    /// What the add-on saves and loads as a file.
    pub session_file: SessionFile,
    /// How the first client brings its nodes (G5 moved them to commands).
    pub upload: Transfer,
    /// How a late joiner gets its nodes (G7 moved them to commands).
    pub join: Transfer,
    /// Shape of `DATA` in a `SET`, in every direction where the generation uses one.
    pub set: SetShape,
    /// Whether a login carries one password field or two (G17).
    pub passwords: Passwords,
    /// Whether a login says its version (G2); a login without one is G1.
    pub sends_version: bool,
    /// `status` in the user record right after login: 6 (G1–G2), 10 (G3–G18), 11 (G19).
    pub login_status: i64,
    /// When a login makes the server send the users dict to everybody.
    pub users_at_login: UsersAtLogin,
    /// Whether a user's `status` becomes 2 when its join or upload is done, followed by the users
    /// dict to everybody (G3).
    pub active_status_on_done: bool,
    /// Whether a late joiner says `DONE` after its last node (G3), until when it queues live updates.
    /// Before, the server knows it is done when the whole catalog was asked for and sent, and any
    /// node but the awaited one is its end.
    pub join_done: bool,
    /// Whether the sender of a Delete or Right gets it back and only then applies it (G9). Before,
    /// senders have applied it already and must not get it.
    pub echo_edits: bool,
    /// What a metadata update makes the server send.
    pub metadata: MetadataFanOut,
    /// Whether a Right names one node or a list (G16).
    pub right: RightShape,
    /// What answers a `GET` for a node deleted meanwhile.
    pub missing_node: MissingNode,
    /// Who drives the TTL channel, and how fast.
    pub heartbeat: Heartbeat,
    /// Answers to a `ServerSnapshot` INIT must come 100 ms after it or later (0.0.3–0.1.26): these
    /// clients change state only after sending, in another thread than the one that receives.
    pub slow_answers: bool,
    /// Pickle protocol of what the server sends: 3 in G1–G2 (as their own servers on Python 3.7
    /// did), 4 from then on. Clients read either.
    pub pickle: Protocol,
    /// Whether the answer to an accepted login waits for the client's data link (G19).
    pub withholds_login_until_data_link: bool,
}

impl Dialect {
    /// Whether this version is one of the row's range, rather than mapped to it for want of a
    /// better one (see [`for_version`]).
    pub fn covers(&self, version: Version) -> bool {
        self.first <= version && version <= self.last
    }

    /// Whether clients push their data to a port of its own, over links that do not carry their
    /// identity (G1–G5).
    pub fn has_publisher_port(&self) -> bool {
        self.ports == Ports::Four
    }

    /// The longest frame its clients take, if there is one: the framed transport's close the
    /// connection on a chunk of more than 512 MiB (G19).
    pub fn longest_frame(&self) -> Option<usize> {
        (self.ports == Ports::Framed).then_some(512 << 20)
    }

    /// Whether payloads carry the type of the node beside them (G1–G10).
    pub fn typed_nodes(&self) -> bool {
        self.family != Family::UntypedPickle
    }
}

/// The row for the version text of a login.
///
/// No text is G1, the only generation that sends none. A version before the table gets the first
/// row; one between two rows (never published) the row before it; one after the table the last row
/// ([`Version::is_newer_than_known`] tells).
///
/// # Errors
/// The text is not a version.
pub fn for_version(text: Option<&str>) -> Result<&'static Dialect, UnknownVersion> {
    let Some(text) = text else {
        return Ok(oldest());
    };
    let version = Version::parse(text).ok_or_else(|| UnknownVersion(echoable(text)))?;
    Ok(dialects()
        .iter()
        .rev()
        .find(|row| row.first <= version)
        .unwrap_or_else(oldest))
}

/// The table, ordered by version.
pub fn dialects() -> &'static [Dialect] {
    &DIALECTS
}

/// The first row.
pub fn oldest() -> &'static Dialect {
    let [first, ..] = &DIALECTS;
    first
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every published version with its generation, one line per generation (wire spec,
    /// generations 1 and 4; the numbers never published are left out).
    const PUBLISHED: &[(u8, &str)] = &[
        (1, "0.0.3 0.0.4 0.0.5 0.0.6 0.0.7 0.0.8 0.0.9 0.0.10"),
        (
            2,
            "0.0.11 0.0.12 0.0.13 0.0.14 0.0.15 0.0.16 0.0.17 0.0.18 0.0.19 0.0.20",
        ),
        (2, "0.0.21a1 0.0.21a2 0.0.21a3"),
        (
            3,
            "0.0.21a4 0.0.21a5 0.0.21a6 0.0.21a7 0.0.21a8 0.0.21a9 0.0.21a10 0.0.21a11 0.0.21a12",
        ),
        (
            3,
            "0.0.21a13 0.0.21a14 0.0.21a15 0.0.21a16 0.0.21a17 0.0.21a18 0.0.21a19 0.0.21a20",
        ),
        (3, "0.0.21a21 0.0.21"),
        (
            4,
            "0.1.1 0.1.2 0.1.3 0.1.4 0.1.5 0.1.6 0.1.7 0.1.8 0.1.9 0.1.10 0.1.11 0.1.12 0.1.13",
        ),
        (4, "0.1.14 0.1.15 0.1.16 0.1.17 0.1.18 0.1.19 0.1.20"),
        (5, "0.1.21 0.1.22 0.1.23 0.1.24 0.1.25 0.1.26 0.1.30 0.1.31"),
        (6, "0.1.33 0.1.36"),
        (7, "0.1.34 0.1.35"),
        (8, "0.1.40"),
        (9, "0.1.41"),
        (10, "0.1.42"),
        (11, "0.2.1"),
        (12, "0.2.2"),
        (13, "0.2.4"),
        (
            14,
            "0.3.0 0.4.0 0.5.0 0.5.1 0.5.3 0.5.4 0.6.0 0.6.1 0.6.2 0.6.3 0.6.4 0.6.5 0.6.6",
        ),
        (15, "0.7.0 0.7.1 0.7.2 0.7.3"),
        (16, "0.8.0 0.8.1 0.8.2 0.8.3"),
        (17, "0.9.1 0.9.2 0.9.3 0.9.4 0.9.5"),
        (18, "0.9.6 0.9.7 0.9.8 0.9.9 0.9.10 0.9.11"),
        (19, "0.9.12 0.10.2 0.10.3"),
    ];

    fn row(text: &str) -> &'static Dialect {
        for_version(Some(text)).unwrap()
    }

    #[test]
    fn every_published_version_has_the_row_of_its_generation() {
        for (generation, versions) in PUBLISHED {
            for text in versions.split(' ') {
                let row = row(text);
                assert_eq!(row.generation, *generation, "{text}");
                assert!(row.covers(Version::parse(text).unwrap()), "{text}");
            }
        }
    }

    #[test]
    fn rows_are_ordered_and_do_not_overlap() {
        for row in dialects() {
            assert!(row.first <= row.last, "{row:?}");
        }
        for pair in dialects().windows(2) {
            assert!(
                pair[0].last < pair[1].first,
                "{} {}",
                pair[0].last,
                pair[1].first
            );
            assert_ne!(pair[0], pair[1]);
        }
    }

    #[test]
    fn versions_outside_the_table() {
        assert_eq!(for_version(None).unwrap().generation, 1);
        assert_eq!(row("0.0.1").generation, 1);
        assert_eq!(row("0.1.28").generation, 5);
        assert_eq!(row("0.9.0").generation, 16);
        assert!(!row("0.9.0").covers(Version::new(0, 9, 0)));
        assert_eq!(row("0.11.0").generation, 19);
        assert!(Version::new(0, 11, 0).is_newer_than_known());
        assert!(!Version::new(0, 10, 2).is_newer_than_known());
    }

    #[test]
    fn nonsense_is_an_error_with_a_harmless_text() {
        for text in [
            "",
            "1",
            "1.2",
            "a.b.c",
            "+1.2.3",
            "1.2.-3",
            "0.1.2 ",
            "0.1.2\n",
            "70000.0.0",
        ] {
            assert!(for_version(Some(text)).is_err(), "{text:?}");
        }
        let error = for_version(Some("<b>0:1\n2</b>")).unwrap_err();
        assert_eq!(error, UnknownVersion("b012b".to_owned()));
        assert_eq!(echoable(&"9".repeat(100)).len(), 32);
    }

    #[test]
    fn traits_that_differ_inside_a_generation() {
        assert!(!row("0.0.21a3").join_done && row("0.0.21a4").join_done);
        for (version, ahead) in [("0.0.11", 8), ("0.0.12", 1), ("0.0.21a8", 1)] {
            assert_eq!(row(version).heartbeat, Heartbeat::Echo50ms { ahead });
        }
        assert_eq!(row("0.0.21a9").heartbeat, Heartbeat::EverySecond);
        for (version, family) in [
            ("0.0.21a16", Family::Marshal),
            ("0.0.21a17", Family::TypedPickle),
            ("0.0.21a19", Family::TypedPickle),
            ("0.0.21a20", Family::Marshal),
        ] {
            assert_eq!(row(version).family, family, "{version}");
        }
        assert!(row("0.1.26").slow_answers && !row("0.1.30").slow_answers);
        for (version, file) in [
            ("0.1.24", SessionFile::None),
            ("0.1.25", SessionFile::Decoded),
            ("0.3.0", SessionFile::Decoded),
            ("0.4.0", SessionFile::Chunks),
        ] {
            assert_eq!(row(version).session_file, file, "{version}");
        }
        assert_eq!(row("0.1.33").join, Transfer::DataLink);
        assert_eq!(row("0.1.35").join, Transfer::Set);
        assert_eq!(row("0.1.36").join, Transfer::DataLink);
    }

    proptest! {
        #[test]
        fn arbitrary_texts_never_panic_and_echo_safely(text in ".{0,80}") {
            let _ = for_version(Some(&text));
            let echo = echoable(&text);
            prop_assert!(echo.len() <= 32);
            prop_assert!(echo.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.'));
        }

        #[test]
        fn versions_round_trip(numbers in any::<[u16; 4]>(), release in any::<bool>()) {
            let [major, minor, patch, alpha] = numbers;
            let version = Version::new(major, minor, patch);
            let version = if release { version } else { version.alpha(alpha) };
            prop_assert_eq!(Version::parse(&version.to_string()), Some(version));
            prop_assert!(version <= Version::new(major, minor, patch));
        }
    }
}
