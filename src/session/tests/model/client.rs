//! What a client knows, and what it makes of nodes and deltas.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use tokio::time::Instant;

use super::line::Line;
use crate::session::tests::room::{self, id, number};
use crate::wire::node::{Delta, NodeState, Update};

/// A node as a client has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) owner: String,
    pub(super) dependencies: Vec<u32>,
    pub(super) data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Auth,
    Lobby,
    Offering,
    Fetching { awaited: u32, rest: Vec<u32> },
    Active,
    Gone(String),
}

/// One client, honest or not.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) name: String,
    pub(super) admin: bool,
    pub(super) hostile: bool,
    pub(super) line: Line,
    pub(super) state: State,
    pub(super) nodes: BTreeMap<u32, Held>,
    /// What it had once, and can bring back.
    pub(super) gone: BTreeMap<u32, Held>,
    pub(super) users: Option<BTreeSet<String>>,
    pub(super) late: Vec<Update>,
    /// What it knows of the others' metadata.
    pub(super) metadata: BTreeMap<String, i64>,
    /// When the last frame in each direction of each link arrives.
    pub(super) ways: [Instant; 4],
    pub(super) writing: [bool; 2],
    /// How often each link down has broken, and whether it is gone at the moment.
    pub(super) breaks: [u32; 2],
    pub(super) down: [bool; 2],
}

impl Client {
    pub(super) fn forget(&mut self, n: u32) {
        if let Some(held) = self.nodes.remove(&n) {
            self.gone.insert(n, held);
            for held in self.nodes.values_mut() {
                held.dependencies.retain(|dependency| *dependency != n);
            }
        }
    }

    /// `ruins`: where clients delete at once, not on the server's word, a delta may come after (G8).
    pub(super) fn store(&mut self, update: Update, ruins: bool) -> Result<(), &'static str> {
        match update {
            Update::Node(node) => {
                let dependencies = node.dependencies.iter().map(|n| number(*n)).collect();
                let data = text(&node.payload);
                let owner = match self.nodes.get(&number(node.id)) {
                    Some(held) => held.owner.clone(),
                    None => node.owner.into(),
                };
                let held = Held {
                    owner,
                    dependencies,
                    data,
                };
                self.nodes.insert(number(node.id), held);
            }
            Update::Delta(delta) => {
                let whole = replaced(&delta.delta);
                let edits = delta.delta.starts_with(b"e") && !delta.delta.starts_with(b"evil");
                if let (Some(owner), Entry::Vacant(place)) =
                    (&delta.owner, self.nodes.entry(number(delta.id)))
                    && (whole.is_some() || !edits || ruins)
                {
                    // G8–G14 make a node of whatever comes first.
                    place.insert(Held {
                        owner: owner.as_str().into(),
                        dependencies: Vec::new(),
                        data: String::new(),
                    });
                }
                let held = self.nodes.get_mut(&number(delta.id));
                let held = held.ok_or("a delta for a node it does not have")?;
                held.dependencies = delta.dependencies.iter().map(|n| number(*n)).collect();
                if let Some(whole) = whole {
                    held.data = whole;
                    return Ok(());
                }
                let text = std::str::from_utf8(&delta.delta).unwrap();
                if held.data.contains(text) && text.starts_with('e') && !text.starts_with("evil") {
                    return Err("the same delta twice");
                }
                held.data += text;
            }
        }
        Ok(())
    }
}

impl Held {
    /// A change of it. (Only messages of G8–G14 name the owner; the others' leave it out.)
    pub(super) fn delta(&self, n: u32, text: &str) -> Delta {
        Delta {
            id: id(n),
            owner: Some(self.owner.as_str().into()),
            kind: bytes::Bytes::from_static(b"BlObject"),
            dependencies: self.dependencies.iter().map(|n| id(*n)).collect(),
            delta: text.to_owned().into(),
        }
    }

    pub(super) fn state(&self, n: u32) -> NodeState {
        let dependencies: Vec<String> = self.dependencies.iter().map(u32::to_string).collect();
        debug_assert!(dependencies.len() < 10);
        room::node(n, &self.owner, &self.dependencies, &self.data)
    }
}

/// A payload as text. What a node is before its first delta is a pickle, and no text.
pub(super) fn text(payload: &[u8]) -> String {
    match std::str::from_utf8(payload) {
        Ok(text) => text.to_owned(),
        Err(_) => String::new(),
    }
}

/// What a delta replaces everything by, if that is what it does (G8–G14).
fn replaced(delta: &bytes::Bytes) -> Option<String> {
    const PREFIX: &[u8] = b"}\x8c\x0evalues_changed}\x8c\x04root}\x8c\x09new_value";
    let at = delta
        .windows(PREFIX.len())
        .position(|part| part == PREFIX)?;
    let body = delta[at + PREFIX.len()..].strip_suffix(b"sss.").unwrap();
    // With a header it was a pickle.
    Some(if at == 0 { text(body) } else { String::new() })
}
