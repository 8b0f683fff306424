//! What can be typed at the console. The words are those of the original server's shell, and those of
//! `ctl`.

use std::time::Duration;

use crate::admin::Order;
use crate::admin::order::notice;
use crate::session::{Listed, UserInfo};

/// Nodes offered for completion.
const OFFERED: usize = 20;

/// The words, for help and completion, with what they do.
pub(super) const WORDS: [(&str, &str); 15] = [
    ("users", "who is in the session, with round trips"),
    ("kick", "kick NAME: remove a user"),
    ("say", "say TEXT: show everybody a text"),
    (
        "nodes",
        "nodes [OWNER, or UUID's beginning]: what the scene is made of, the largest first",
    ),
    (
        "quarantine",
        "quarantine UUID: set a node aside that nobody can load; it is kept",
    ),
    (
        "release",
        "release UUID: put a node back that was set aside",
    ),
    (
        "rights",
        "who owns how much; rights UUID|OWNER NEW-OWNER: give nodes to a user, or COMMON",
    ),
    ("save", "wait until everything is safe on the disk"),
    ("backup", "make a backup"),
    (
        "restore",
        "the backups there are; restore NAME|latest: go back to one",
    ),
    ("reset", "empty the session, for another scene"),
    ("stats", "how the server is"),
    (
        "stop",
        "stop [60s]: tell everybody, and end the server then",
    ),
    (
        "exit",
        "tell everybody and end the server (Ctrl+C does the same)",
    ),
    ("help", "this list"),
];

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line<'a> {
    Nothing,
    Order(Order),
    Exit,
    Help,
    /// An order that lacks something, and what.
    Incomplete(&'static str),
    Unknown(&'a str),
}

/// Understands a line.
pub(super) fn understand(line: &str) -> Line<'_> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim_start();
    let text = || rest.to_owned();
    Line::Order(match (word, rest) {
        ("", _) => return Line::Nothing,
        ("exit" | "quit", "") => return Line::Exit,
        ("help" | "?", _) => return Line::Help,
        ("users", "") => Order::Users,
        ("kick", "") => return Line::Incomplete("kick whom? kick NAME"),
        // The rest of the line: names may have blanks in them.
        ("kick", _) => Order::Kick { name: text() },
        ("say", "") => return Line::Incomplete("say what? say TEXT"),
        ("say", _) => Order::Say { text: vec![text()] },
        ("nodes", _) => Order::Nodes { which: text() },
        ("quarantine", _) => Order::Quarantine { node: text() },
        ("release", _) => Order::Release { node: text() },
        ("rights", "") => Order::Rights {
            which: None,
            owner: None,
        },
        ("rights", _) => match rest.split_once(char::is_whitespace) {
            Some((which, owner)) => Order::Rights {
                which: Some(which.to_owned()),
                owner: Some(owner.trim_start().to_owned()),
            },
            None => return Line::Incomplete("to whom? rights UUID|OWNER NEW-OWNER"),
        },
        ("save", "") => Order::Save,
        ("backup", "") => Order::Backup,
        ("restore", "") => Order::Restore {
            backup: None,
            through: None,
        },
        ("restore", _) => Order::Restore {
            backup: Some(text()),
            through: None,
        },
        ("reset", "") => Order::Reset,
        ("stats", "") => Order::Stats,
        ("stop", "") => Order::Stop { notice: None },
        ("stop", _) => match notice(after_flag(rest)) {
            Ok(notice) => Order::Stop {
                notice: Some(notice).filter(|notice| *notice > Duration::ZERO),
            },
            Err(_) => return Line::Incomplete("when? stop, or for instance stop 60s"),
        },
        _ => return Line::Unknown(line),
    })
}

/// The notice with or without `--notice` before it, as it is written for `ctl`.
fn after_flag(text: &str) -> &str {
    let after = text.strip_prefix("--notice");
    let after = after.and_then(|after| after.strip_prefix([' ', '=']));
    after.map_or(text, str::trim_start)
}

/// The answer to `help`.
pub(super) fn help() -> String {
    let mut text = String::new();
    for (word, what) in WORDS {
        text.push_str(&format!("  {word:12}{what}\n"));
    }
    text.push_str("  Ctrl+D      close this console; the server goes on\n");
    text
}

/// Where the word to be completed starts in the line, and what it may become: an order, the name of
/// somebody present, or a node.
pub(super) fn complete(
    line: &str,
    present: impl FnOnce() -> Vec<UserInfo>,
    nodes: impl FnOnce() -> Vec<Listed>,
) -> (usize, Vec<String>) {
    for (order, aside) in [("quarantine ", false), ("release ", true)] {
        if let Some(beginning) = line.strip_prefix(order) {
            let start = line.len().saturating_sub(beginning.len());
            let nodes = nodes().into_iter().filter(|node| node.aside == aside);
            let ids = nodes.map(|node| node.id.to_string());
            let fitting = ids.filter(|id| id.starts_with(beginning));
            return (start, fitting.take(OFFERED).collect());
        }
    }
    if let Some(name) = line.strip_prefix("kick ") {
        let start = line.len().saturating_sub(name.len());
        let names = present().into_iter().map(|user| user.name);
        return (
            start,
            names.filter(|known| known.starts_with(name)).collect(),
        );
    }
    let fitting = WORDS.iter().filter(|(word, _)| word.starts_with(line));
    let words = fitting.map(|(word, _)| match *word {
        word @ ("kick" | "say" | "quarantine" | "release") => format!("{word} "),
        word => word.to_owned(),
    });
    (0, words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::identity::NodeId;

    fn present() -> Vec<UserInfo> {
        let user = |name: &str| UserInfo {
            name: name.to_owned(),
            admin: false,
            latency_ms: None,
            active: false,
        };
        ["alice", "Al Bundy"].map(user).to_vec()
    }

    #[test]
    fn lines_are_understood_as_the_original_shell_does() {
        let kick = |name: &str| {
            Line::Order(Order::Kick {
                name: name.to_owned(),
            })
        };
        assert_eq!(understand("  "), Line::Nothing);
        assert_eq!(understand(" users "), Line::Order(Order::Users));
        assert_eq!(understand("kick Al Bundy"), kick("Al Bundy"));
        assert!(matches!(understand("kick"), Line::Incomplete(_)));
        assert_eq!(understand("exit"), Line::Exit);
        assert_eq!(understand("?"), Line::Help);
        assert_eq!(understand("help kick"), Line::Help);
        assert_eq!(understand("exit now"), Line::Unknown("exit now"));
        assert_eq!(understand("kik al"), Line::Unknown("kik al"));
    }

    #[test]
    fn the_other_orders_are_understood() {
        let some = |text: &str| Some(text.to_owned());
        for (line, order) in [
            (
                "nodes",
                Order::Nodes {
                    which: String::new(),
                },
            ),
            (
                "release 01ab ",
                Order::Release {
                    node: "01ab".to_owned(),
                },
            ),
            (
                "say  hello  there",
                Order::Say {
                    text: vec!["hello  there".to_owned()],
                },
            ),
            (
                "restore latest",
                Order::Restore {
                    backup: some("latest"),
                    through: None,
                },
            ),
            (
                "rights bob Al Bundy",
                Order::Rights {
                    which: some("bob"),
                    owner: some("Al Bundy"),
                },
            ),
            ("stop", Order::Stop { notice: None }),
            (
                "stop 90s",
                Order::Stop {
                    notice: Some(Duration::from_secs(90)),
                },
            ),
        ] {
            assert_eq!(understand(line), Line::Order(order), "{line}");
        }
        let notice = Some(Duration::from_secs(90));
        for line in ["stop --notice 90s", "stop --notice=90s"] {
            assert_eq!(
                understand(line),
                Line::Order(Order::Stop { notice }),
                "{line}"
            );
        }
        for line in ["say", "rights bob", "stop soon", "stop --notice"] {
            assert!(matches!(understand(line), Line::Incomplete(_)), "{line}");
        }
    }

    #[test]
    fn help_names_what_is_understood() {
        for (word, _) in WORDS {
            assert!(!matches!(understand(word), Line::Unknown(_)), "{word}");
            assert!(help().contains(word));
        }
    }

    #[test]
    fn completion_knows_orders_names_and_nodes() {
        let complete =
            |line| super::complete(line, present, || vec![listed(1, true), listed(2, false)]);
        assert_eq!(complete("k"), (0, vec!["kick ".to_owned()]));
        assert_eq!(complete("").1.len(), WORDS.len());
        assert_eq!(complete("kick Al"), (5, vec!["Al Bundy".to_owned()]));
        assert_eq!(complete("kick x"), (5, Vec::new()));
        assert_eq!(complete("nothing"), (0, Vec::new()));
        let id = listed(1, true).id.to_string();
        assert_eq!(complete("release 0"), (8, vec![id]));
    }

    fn listed(n: u32, aside: bool) -> Listed {
        let id = format!("{n:08}-0000-4000-8000-000000000000");
        Listed {
            id: NodeId::new(id.as_bytes()).unwrap(),
            owner: "COMMON".to_owned(),
            kind: String::new(),
            bytes: 1,
            dependencies: 2,
            aside,
        }
    }
}
