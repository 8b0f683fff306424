//! A team works while others misbehave in every way we can think of. Whatever they do: everybody's
//! edits keep arriving in time, memory stays bounded, nobody is sent away, and the attackers get
//! nothing (see [`common::team`]).

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;
#[path = "hostile/floods.rs"]
mod floods;
#[path = "hostile/strangers.rs"]
mod strangers;
#[path = "hostile/transport.rs"]
mod transport;
#[path = "hostile/users.rs"]
mod users;

use bytes::Bytes;
use common::raw::Raw;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer};
use multi_user_server::wire::command::CommandLimits;
use multi_user_server::wire::message::Message;

/// MiB by which the program may grow while attackers take what strangers may have at most: their
/// 16 MiB, and what the team's work and the allocator need.
const STRANGERS: u64 = 40;

/// Deadlines for strangers, for tests that wait for them.
const SHORT: [(&str, &str); 2] = [
    ("net.handshake_deadline", "1s"),
    ("net.login_deadline", "2s"),
];

/// MiB by which it may grow while users send it what the reader of pickles has to refuse: for each
/// byte received it may hold a value, within a budget.
const PICKLES: u64 = 128;

/// A pickle that is nested a million lists deep: 2 MB that a recursive reader dies of.
fn deep_pickle(depth: usize) -> Bytes {
    let mut pickle = vec![0x80, 3];
    pickle.extend(std::iter::repeat_n(b']', depth));
    pickle.extend(std::iter::repeat_n(b'a', depth - 1));
    pickle.push(b'.');
    pickle.into()
}

/// A pickle whose memo makes it `2^levels` values in a few bytes: each list holds the one before
/// twice.
fn memo_bomb(levels: u8) -> Bytes {
    let mut pickle = vec![0x80, 3, b']', b'q', 0];
    for level in 1..=levels {
        // ] (the list), its predecessor twice from the memo, as one more entry of the memo.
        pickle.extend([
            b']',
            b'q',
            level,
            b'(',
            b'h',
            level - 1,
            b'h',
            level - 1,
            b'e',
        ]);
    }
    pickle.push(b'.');
    pickle.into()
}

/// The same as text: each one is the one before, twice, by a memo of tuples.
fn tuple_bomb(levels: u8) -> Bytes {
    let mut pickle = vec![0x80, 3, b')', b'q', 0];
    for level in 1..=levels {
        pickle.extend([b'h', level - 1, b'h', level - 1, 0x86, b'q', level]);
    }
    pickle.push(b'.');
    pickle.into()
}

/// A payload that calls what it names as soon as a real unpickler reads it.
fn malware() -> Bytes {
    Bytes::from_static(b"cos\nsystem\n(S'touch owned'\ntR.")
}

/// Checks that somebody who is not logged in was told nothing but that, and refusals.
fn only_refusals(messages: &[Message]) {
    for message in messages {
        let answer = decode_answer(message, &CommandLimits::default()).unwrap();
        match answer {
            OwnedAnswer::Auth(text) => assert!(text.starts_with("FAILED: "), "{text}"),
            OwnedAnswer::Disconnect { .. } => {}
            other => panic!("a stranger was told {other:?}"),
        }
    }
}

/// Waits until the server has ended all of these.
async fn all_closed(connections: Vec<Raw>) {
    for connection in connections {
        connection.closed().await;
    }
}
