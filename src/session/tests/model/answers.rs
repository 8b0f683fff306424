//! What clients make of what they hear, and do next because of it.

use std::collections::BTreeSet;

use super::World;
use super::client::State;
use crate::ports::outbox::Lane;
use crate::session::tests::room::{answer, id, messages, number, updates};
use crate::wire::client::OwnedAnswer;
use crate::wire::command::Request;
use crate::wire::dialect::Transfer;
use crate::wire::message::Encoded;
use crate::wire::node::Update;
use crate::wire::pickle::Value;
use crate::wire::transport;

impl World {
    pub(super) fn receive(&mut self, client: usize, lane: Lane, bytes: &Encoded) {
        let me = &self.clients[client];
        if me.hostile || matches!(me.state, State::Gone(_)) {
            return;
        }
        let framed = me.line.0.framed;
        match lane {
            Lane::Command => {
                for message in messages(bytes, framed) {
                    let one = transport::encode(self.dialect.ports, &[message]);
                    let answer = answer(&one, framed);
                    self.note(format!("  {client} hears {answer:?}"));
                    self.answered(client, answer);
                }
            }
            Lane::Data => {
                for update in updates(self.dialect, bytes, framed) {
                    self.note(format!("  {client} gets {update:?}"));
                    self.arrived(client, update, false);
                }
            }
        }
    }

    fn answered(&mut self, client: usize, answer: OwnedAnswer) {
        let me = &mut self.clients[client];
        match (answer, me.state.clone()) {
            (OwnedAnswer::Auth(text), State::Auth) => {
                me.state = State::Lobby;
                match text.as_str() {
                    "LOBBY" if me.admin => self.offer(client),
                    "LOBBY" => {}
                    "RUNNING" => self.ask(client, Request::CatalogRequest),
                    _ => me.state = State::Gone(text),
                }
            }
            (OwnedAnswer::Users(users), state) => {
                let names: BTreeSet<String> = users
                    .as_dict()
                    .unwrap()
                    .iter()
                    .map(|(name, _)| name.as_str().unwrap().to_owned())
                    .collect();
                if state != State::Auth && !names.contains(&me.name) {
                    self.fail(client, "a users dict without oneself");
                }
                me.users = Some(names);
                me.metadata = users
                    .as_dict()
                    .unwrap()
                    .iter()
                    .filter_map(|(name, record)| {
                        let record = record.as_dict().unwrap();
                        let metadata = record.get("metadata")?.as_dict()?;
                        match metadata.get("frame_current")? {
                            Value::Int(n) => Some((name.as_str()?.to_owned(), *n)),
                            _ => None,
                        }
                    })
                    .collect();
            }
            (OwnedAnswer::Metadata { owner, data }, _) => {
                if let Some(Value::Int(n)) =
                    data.as_dict().and_then(|dict| dict.get("frame_current"))
                {
                    me.metadata.insert(owner.clone(), *n);
                }
                if !me
                    .users
                    .as_ref()
                    .is_some_and(|users| users.contains(&owner))
                {
                    self.fail(client, "metadata of somebody unknown");
                }
            }
            (OwnedAnswer::Catalog(_), State::Offering) => {
                // Blender waits for the answer to its offer, and is given a catalog again.
            }
            (OwnedAnswer::Catalog(ids), State::Lobby) => {
                let mut rest: Vec<u32> = ids.iter().map(|id| number(*id)).collect();
                let Some(awaited) = rest.pop() else {
                    self.fail(client, "an empty catalog");
                };
                me.state = State::Fetching { awaited, rest };
                self.ask(client, Request::Get(id(awaited)));
            }
            (OwnedAnswer::Set(node), State::Fetching { awaited, .. }) => {
                if number(node.id) != awaited {
                    self.fail(client, "another node than asked for");
                }
                self.arrived(client, Update::Node(node), true);
            }
            (OwnedAnswer::Removed, State::Fetching { .. }) => self.next(client),
            (OwnedAnswer::UploadAccepted, State::Offering) => self.upload(client),
            (OwnedAnswer::UploadRejected, State::Offering) => {
                me.state = State::Lobby;
                me.nodes.clear();
            }
            (OwnedAnswer::UploadDone, State::Offering) => me.state = State::Active,
            (OwnedAnswer::Delete(node), _) => me.forget(number(node)),
            (OwnedAnswer::Right { nodes, owner, .. }, _) => {
                for node in nodes {
                    if let Some(held) = me.nodes.get_mut(&number(node)) {
                        held.owner.clone_from(&owner);
                    }
                }
            }
            (OwnedAnswer::Disconnect { reason }, _) => me.state = State::Gone(reason),
            (answer, _) => self.fail(client, &format!("{answer:?} at the wrong time")),
        }
    }

    fn next(&mut self, client: usize) {
        let me = &mut self.clients[client];
        let State::Fetching { awaited, rest } = &mut me.state else {
            return;
        };
        if let Some(more) = rest.pop() {
            *awaited = more;
            self.ask(client, Request::Get(id(more)));
            return;
        }
        me.state = State::Active;
        let late = std::mem::take(&mut me.late);
        for update in late {
            self.arrived(client, update, false);
        }
        if self.dialect.join_done {
            self.ask(client, Request::JoinDone);
        }
    }

    fn arrived(&mut self, client: usize, update: Update, set: bool) {
        let queues = self.dialect.join_done;
        let by_data = self.dialect.join == Transfer::DataLink;
        let ruins = !self.dialect.echo_edits;
        let me = &mut self.clients[client];
        let of = match &update {
            Update::Node(node) => number(node.id),
            Update::Delta(delta) => number(delta.id),
        };
        match &me.state {
            State::Fetching { awaited, .. } if set || (by_data && of == *awaited) => {
                me.store(update, ruins).unwrap();
                self.next(client);
            }
            State::Fetching { .. } if queues => me.late.push(update),
            State::Active => {
                if let Err(what) = me.store(update, ruins) {
                    self.fail(client, what);
                }
            }
            _ => self.fail(client, "a node it cannot take"),
        }
    }
}
