//! What can be typed at the console, and how answers look. The words are those of the original
//! server's shell.

use crate::session::Present;
use crate::text::shown;

/// The words, for help and completion, with what they do.
pub(super) const WORDS: [(&str, &str); 4] = [
    ("users", "who is in the session, with round trips"),
    ("kick", "kick NAME: remove a user"),
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
        ("exit" | "quit", "") => Order::Exit,
        ("help" | "?", _) => Order::Help,
        _ => Order::Unknown(line),
    }
}

/// The answer to `help`.
pub(super) fn help() -> String {
    let mut text = String::new();
    for (word, what) in WORDS {
        text.push_str(&format!("  {word:8}{what}\n"));
    }
    text.push_str("  Ctrl+D  close this console; the server goes on\n");
    text
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

/// Where the word to be completed starts in the line, and what it may become: an order, or the
/// name of somebody present.
pub(super) fn complete(line: &str, present: &[Present]) -> (usize, Vec<String>) {
    if let Some(name) = line.strip_prefix("kick ") {
        let start = line.len().saturating_sub(name.len());
        let names = present.iter().map(|user| user.name.as_str());
        let fitting = names.filter(|known| known.starts_with(name));
        return (start, fitting.map(str::to_owned).collect());
    }
    let fitting = WORDS.iter().filter(|(word, _)| word.starts_with(line));
    let words = fitting.map(|(word, _)| match *word {
        "kick" => "kick ".to_owned(),
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
        assert_eq!(complete("k", &present()), (0, vec!["kick ".to_owned()]));
        assert_eq!(complete("", &present()).1.len(), WORDS.len());
        assert_eq!(
            complete("kick Al", &present()),
            (5, vec!["Al Bundy".to_owned()])
        );
        assert_eq!(complete("kick x", &present()), (5, Vec::new()));
        assert_eq!(complete("nothing", &present()), (0, Vec::new()));
    }

    #[test]
    fn kicks_are_answered() {
        assert_eq!(kicked("bob", true), "bob kicked from the session.\n");
        assert_eq!(kicked("bob", false), "Can't kick bob, user not found.\n");
        assert_eq!(kicked("", false), "kick whom? kick NAME\n");
    }
}
