//! What can be typed at the console, and how answers look. The words are those of the original
//! server's shell.

use crate::session::quarantine::ReleaseError;
use crate::session::{Listed, Present};
use crate::text::shown;
use crate::wire::identity::NodeId;

/// Nodes that are listed at once.
const LISTED: usize = 20;

/// The words, for help and completion, with what they do.
pub(super) const WORDS: [(&str, &str); 7] = [
    ("users", "who is in the session, with round trips"),
    ("kick", "kick NAME: remove a user"),
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
        "exit",
        "tell everybody and end the server (Ctrl+C does the same)",
    ),
    ("help", "this list"),
];

/// What was typed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order<'a> {
    Nothing,
    Users,
    /// The rest of the line is the name: names may have blanks in them.
    Kick(&'a str),
    /// Of this owner, or with a uuid that begins so.
    Nodes(&'a str),
    /// The beginning of a uuid, as are those of `Release`.
    Quarantine(&'a str),
    Release(&'a str),
    Exit,
    Help,
    Unknown(&'a str),
}

/// Understands a line.
pub(super) fn understand(line: &str) -> Order<'_> {
    let line = line.trim();
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (word, rest.trim_start()) {
        ("", _) => Order::Nothing,
        ("users", "") => Order::Users,
        ("kick", name) => Order::Kick(name),
        ("nodes", which) => Order::Nodes(which),
        ("quarantine", which) => Order::Quarantine(which),
        ("release", which) => Order::Release(which),
        ("exit" | "quit", "") => Order::Exit,
        ("help" | "?", _) => Order::Help,
        _ => Order::Unknown(line),
    }
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

/// The answer to `nodes`.
pub(super) fn nodes(all: &[Listed], which: &str) -> String {
    let wanted = |node: &&Listed| node.owner == which || node.id.as_str().starts_with(which);
    let wanted: Vec<_> = all.iter().filter(wanted).collect();
    let bytes: usize = wanted.iter().map(|node| node.bytes).sum();
    let mut text = format!("{} nodes, {}\n", wanted.len(), size(bytes));
    for node in wanted.iter().take(LISTED) {
        let aside = if node.aside { ", set aside" } else { "" };
        text.push_str(&format!(
            "  {} {:>10}  {}({}), needs {}{aside}\n",
            node.id,
            size(node.bytes),
            shown(&node.kind),
            shown(&node.owner),
            node.dependencies
        ));
    }
    if let Some(more) = wanted.len().checked_sub(LISTED).filter(|more| *more > 0) {
        text.push_str(&format!("  … and {more} more, smaller ones\n"));
    }
    text
}

/// The one node whose uuid begins like this, among those that are set aside or those that are not.
pub(super) fn find_node(all: &[Listed], which: &str, aside: bool) -> Result<NodeId, String> {
    let mut fitting = all
        .iter()
        .filter(|node| node.aside == aside && node.id.as_str().starts_with(which));
    match (which, fitting.next(), fitting.next()) {
        ("", _, _) => Err("which one? Its uuid, or the beginning of it (see nodes)\n".to_owned()),
        (_, Some(node), None) => Ok(node.id),
        (_, None, _) if aside => Err(format!("No node {} is set aside.\n", shown(which))),
        (_, None, _) => Err(format!("There is no node {}.\n", shown(which))),
        _ => Err(format!("Several nodes begin with {}.\n", shown(which))),
    }
}

/// The answer to `quarantine`.
pub(super) fn quarantined(id: NodeId, done: bool) -> String {
    match done {
        true => {
            format!("{id} is set aside: kept, and given to nobody. release {id} puts it back.\n")
        }
        false => format!("{id} is gone already.\n"),
    }
}

/// The answer to `release`.
pub(super) fn released(id: NodeId, result: Result<(), ReleaseError>) -> String {
    match result {
        Ok(()) => format!("{id} is back.\n"),
        Err(error) => format!("{id} {error}.\n"),
    }
}

fn size(bytes: usize) -> String {
    const UNITS: [(&str, usize); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, one) in UNITS {
        if bytes >= one {
            return format!("{:.1} {unit}", bytes as f64 / one as f64);
        }
    }
    format!("{bytes} B")
}

/// The answer to `users`.
pub(super) fn users(present: &[Present]) -> String {
    let mut text = match present.len() {
        1 => "1 user online\n".to_owned(),
        count => format!("{count} users online\n"),
    };
    for user in present {
        let role = if user.admin { "admin" } else { "" };
        let latency = user
            .latency_ms
            .map_or_else(|| "?".to_owned(), |latency| latency.to_string());
        let joining = if user.active { "" } else { " (joining)" };
        let name = shown(&user.name);
        text.push_str(&format!("  {name}({role}) - {latency} ms{joining}\n"));
    }
    text
}

/// The answer to `kick`.
pub(super) fn kicked(name: &str, found: bool) -> String {
    let shown = shown(name);
    match (name, found) {
        ("", _) => "kick whom? kick NAME\n".to_owned(),
        (_, true) => format!("{shown} kicked from the session.\n"),
        (_, false) => format!("Can't kick {shown}, user not found.\n"),
    }
}

/// Where the word to be completed starts in the line, and what it may become: an order, the name of
/// somebody present, or a node.
pub(super) fn complete(
    line: &str,
    present: &[Present],
    nodes: impl FnOnce() -> Vec<Listed>,
) -> (usize, Vec<String>) {
    for (order, aside) in [("quarantine ", false), ("release ", true)] {
        if let Some(beginning) = line.strip_prefix(order) {
            let start = line.len().saturating_sub(beginning.len());
            let nodes = nodes().into_iter().filter(|node| node.aside == aside);
            let ids = nodes.map(|node| node.id.to_string());
            let fitting = ids.filter(|id| id.starts_with(beginning));
            return (start, fitting.take(LISTED).collect());
        }
    }
    if let Some(name) = line.strip_prefix("kick ") {
        let start = line.len().saturating_sub(name.len());
        let names = present.iter().map(|user| user.name.as_str());
        let fitting = names.filter(|known| known.starts_with(name));
        return (start, fitting.map(str::to_owned).collect());
    }
    let fitting = WORDS.iter().filter(|(word, _)| word.starts_with(line));
    let words = fitting.map(|(word, _)| match *word {
        word @ ("kick" | "quarantine" | "release") => format!("{word} "),
        word => word.to_owned(),
    });
    (0, words.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn present() -> [Present; 3] {
        let user = |name: &str, admin, latency_ms| Present {
            name: name.to_owned(),
            admin,
            latency_ms,
            active: latency_ms.is_some(),
        };
        [
            user("alice", true, Some(12)),
            user("Al Bundy", false, Some(30)),
            user("eve\n\u{1b}[2J", false, None),
        ]
    }

    #[test]
    fn lines_are_understood_as_the_original_shell_does() {
        assert_eq!(understand("  "), Order::Nothing);
        assert_eq!(understand(" users "), Order::Users);
        assert_eq!(understand("kick Al Bundy"), Order::Kick("Al Bundy"));
        assert_eq!(understand("kick"), Order::Kick(""));
        assert_eq!(understand("nodes"), Order::Nodes(""));
        assert_eq!(understand("quarantine 01ab"), Order::Quarantine("01ab"));
        assert_eq!(understand("release 01ab "), Order::Release("01ab"));
        assert_eq!(understand("exit"), Order::Exit);
        assert_eq!(understand("?"), Order::Help);
        assert_eq!(understand("help kick"), Order::Help);
        assert_eq!(understand("exit now"), Order::Unknown("exit now"));
        assert_eq!(understand("kik al"), Order::Unknown("kik al"));
    }

    #[test]
    fn users_are_listed_and_cannot_paint_the_terminal() {
        let text = users(&present());
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "3 users online");
        assert_eq!(lines[1], "  alice(admin) - 12 ms");
        assert_eq!(lines[2], "  Al Bundy() - 30 ms");
        assert!(lines[3].ends_with("() - ? ms (joining)"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text:?}");
        assert_eq!(users(&[]), "0 users online\n");
    }

    #[test]
    fn completion_knows_orders_and_names() {
        assert_eq!(
            complete("k", &present(), Vec::new),
            (0, vec!["kick ".to_owned()])
        );
        assert_eq!(complete("", &present(), Vec::new).1.len(), WORDS.len());
        assert_eq!(
            complete("kick Al", &present(), Vec::new),
            (5, vec!["Al Bundy".to_owned()])
        );
        assert_eq!(complete("kick x", &present(), Vec::new), (5, Vec::new()));
        assert_eq!(complete("nothing", &present(), Vec::new), (0, Vec::new()));
    }

    fn listed(n: u32, bytes: usize, aside: bool) -> Listed {
        let id = format!("{n:08}-0000-4000-8000-000000000000");
        Listed {
            id: NodeId::new(id.as_bytes()).unwrap(),
            owner: "COMMON".to_owned(),
            kind: "BlMesh\u{1b}".to_owned(),
            bytes,
            dependencies: 2,
            aside,
        }
    }

    #[test]
    fn nodes_are_listed_and_found() {
        let mut all = vec![listed(1, 3 << 20, true)];
        all.extend((2..30).map(|n| listed(n, 1000, false)));
        let text = nodes(&all, "");
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "29 nodes, 3.0 MiB");
        assert!(lines[1].ends_with("(COMMON), needs 2, set aside"), "{text}");
        assert_eq!(lines[21], "  … and 9 more, smaller ones");
        assert!(!text.contains('\u{1b}'));
        assert!(nodes(&all, "COMMON").starts_with("29 nodes"));
        assert!(nodes(&all, "bob").starts_with("0 nodes"));

        assert_eq!(find_node(&all, "00000005", false), Ok(all[4].id));
        assert_eq!(find_node(&all, "00000001", true), Ok(all[0].id));
        for (which, aside) in [
            ("", false),
            ("00000001", false),
            ("0000", false),
            ("x", true),
        ] {
            assert!(find_node(&all, which, aside).is_err(), "{which}");
        }
        let (start, ids) = complete("release 0", &[], || all.clone());
        assert_eq!((start, ids), (8, vec![all[0].id.to_string()]));
    }

    #[test]
    fn kicks_are_answered() {
        assert_eq!(kicked("bob", true), "bob kicked from the session.\n");
        assert_eq!(kicked("bob", false), "Can't kick bob, user not found.\n");
        assert_eq!(kicked("", false), "kick whom? kick NAME\n");
    }
}
