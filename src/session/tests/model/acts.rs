//! What artists do, and those who mean harm.

use rand::Rng;

use super::client::{Held, State};
use super::{Happening, World};
use crate::session::event::Event;
use crate::session::tests::room::{id, number};
use crate::wire::command::Request;
use crate::wire::dialect::{Live, RightShape, Transfer};
use crate::wire::identity::NodeId;
use crate::wire::node::Update;
use crate::wire::pickle::{Dict, Value};

impl World {
    pub(super) fn offer(&mut self, client: usize) {
        let me = &mut self.clients[client];
        me.state = State::Offering;
        let base = 100 * (u32::try_from(client).unwrap() + 1);
        me.nodes = (base..base + 4)
            .map(|n| {
                let held = Held {
                    owner: if n % 2 == 0 { "COMMON" } else { &me.name }.to_owned(),
                    dependencies: (n > base).then_some(n - 1).into_iter().collect(),
                    data: format!("n{n};"),
                };
                (n, held)
            })
            .collect();
        let nodes = me.nodes.keys().map(|n| id(*n)).collect();
        self.ask(client, Request::UploadInit { nodes });
    }

    pub(super) fn upload(&mut self, client: usize) {
        let nodes = self.clients[client].nodes.clone();
        for (n, held) in nodes {
            let node = held.state(n);
            match self.dialect.upload {
                Transfer::Set => self.ask(client, Request::UploadSet(node)),
                Transfer::DataLink => self.push(client, Update::Node(node)),
            }
        }
        self.ask(client, Request::UploadEnd);
    }

    /// One thing an artist (or an attacker) does. `choice` decides what, if it can be done.
    pub(in crate::session::tests) fn act(&mut self, client: usize, choice: u32) {
        if self.clients[client].hostile {
            return self.attack(client, choice);
        }
        let me = &self.clients[client];
        if me.state != State::Active {
            return;
        }
        let mine: Vec<u32> = me
            .nodes
            .iter()
            .filter(|(_, held)| held.owner == "COMMON" || held.owner == me.name)
            .map(|(n, _)| *n)
            .collect();
        let pick = mine
            .get(self.rng.random_range(0..mine.len().max(1)))
            .copied();
        let echo = self.dialect.echo_edits;
        match (choice % 10, pick) {
            (0, _) => self.create(client),
            (1, Some(n)) => {
                if !echo {
                    self.clients[client].forget(n);
                }
                self.ask(client, Request::Delete(id(n)));
            }
            (2..=4, Some(n)) => {
                let me = &self.clients[client];
                let owner = match self.rng.random_range(0..4) {
                    0 => "COMMON".to_owned(),
                    1 => self.clients[0].name.clone(),
                    _ => me.name.clone(),
                };
                let mut nodes = vec![n];
                if self.dialect.right == RightShape::List {
                    nodes.extend(&self.clients[client].nodes[&n].dependencies);
                }
                if !echo {
                    let held = self.clients[client].nodes.get_mut(&n).unwrap();
                    held.owner.clone_from(&owner);
                }
                let nodes = nodes.into_iter().map(id).collect();
                self.ask(client, Request::Right { nodes, owner });
            }
            (5, _) => {
                self.serial += 1;
                let serial = i64::try_from(self.serial).unwrap();
                let data = Dict::new().with("frame_current", serial);
                self.ask(client, Request::Metadata(Value::Dict(data)));
            }
            (_, Some(n)) => self.edit(client, n, choice),
            _ => self.create(client),
        }
    }

    /// An admin kicks somebody.
    pub(in crate::session::tests) fn kick(&mut self, client: usize, victim: usize) {
        if self.clients[client].state == State::Active && !self.clients[victim].hostile {
            let user = self.clients[victim].name.clone();
            self.ask(client, Request::Kick { user });
        }
    }

    /// An edit of which nobody else must know.
    pub(in crate::session::tests) fn unfit(&mut self, client: usize, choice: u32) {
        let me = &mut self.clients[client];
        if me.hostile || me.state != State::Active || me.nodes.is_empty() {
            return;
        }
        let keys: Vec<u32> = me.nodes.keys().copied().collect();
        let n = keys[choice as usize % keys.len()];
        me.nodes.get_mut(&n).unwrap().data += "unfit;";
        self.note(format!("{client} pushes something unfit of {n}"));
        let due = self.arrival(client, 3);
        let event = Box::new(Event::Unfit(id(n)));
        self.at(due, Happening::Up(client, event));
    }

    /// Brings a node back that was deleted.
    pub(in crate::session::tests) fn undo(&mut self, client: usize, choice: u32) {
        let me = &mut self.clients[client];
        if me.hostile || me.state != State::Active {
            return;
        }
        let gone: Vec<u32> = me.gone.keys().copied().collect();
        let gone: Vec<u32> = gone
            .into_iter()
            .filter(|n| !me.nodes.contains_key(n))
            .collect();
        if gone.is_empty() {
            return;
        }
        let n = gone[choice as usize % gone.len()];
        let mut held = me.gone[&n].clone();
        held.dependencies.retain(|d| me.nodes.contains_key(d));
        held.owner = if choice.is_multiple_of(2) {
            "COMMON"
        } else {
            &me.name
        }
        .to_owned();
        self.serial += 1;
        held.data = format!("n{n}u{};", self.serial);
        self.back.insert(n);
        self.bring(client, n, held);
    }

    /// What the operator does.
    pub(in crate::session::tests) fn operate(&mut self, choice: u32) {
        let (what, which) = (choice % 5, choice as usize / 5);
        let all: Vec<NodeId> = self.session.replicas.ids().collect();
        let aside: Vec<NodeId> = self.session.replicas.aside().map(|(id, _)| id).collect();
        let owner = ["COMMON", "u0", "u1", "u2"][which % 4];
        let from = if matches!(what, 2 | 3) { aside } else { all };
        if from.is_empty() {
            return;
        }
        let node = from[which % from.len()];
        let did = match what {
            0 | 1 => format!("sets aside: {}", self.session.quarantine(node, self.now)),
            2 | 3 => {
                self.back.insert(number(node));
                format!("releases: {:?}", self.session.release(node, self.now))
            }
            _ => {
                let done = self.session.assign(&[node], owner, self.now);
                format!("gives to {owner}: {done:?}")
            }
        };
        self.note(format!("the operator, {}, {did}", number(node)));
    }

    fn create(&mut self, client: usize) {
        self.serial += 1;
        let n = 10_000 + u32::try_from(self.serial).unwrap();
        let me = &mut self.clients[client];
        let known: Vec<u32> = me.nodes.keys().copied().collect();
        let held = Held {
            owner: if self.serial.is_multiple_of(2) {
                "COMMON"
            } else {
                &me.name
            }
            .to_owned(),
            dependencies: known.into_iter().rev().take(1).collect(),
            data: format!("n{n};"),
        };
        self.bring(client, n, held);
    }

    /// Makes a node.
    fn bring(&mut self, client: usize, n: u32, held: Held) {
        self.clients[client].nodes.insert(n, held.clone());
        let update = if self.dialect.live == Live::Delta {
            Update::Delta(held.delta(n, &held.data))
        } else {
            Update::Node(held.state(n))
        };
        self.push(client, update);
    }

    fn edit(&mut self, client: usize, n: u32, choice: u32) {
        self.serial += 1;
        let text = format!("e{};", self.serial);
        let deltas = match self.dialect.live {
            Live::Whole => false,
            Live::Delta => true,
            Live::NodeOrCommit => !choice.is_multiple_of(3),
        };
        let held = self.clients[client].nodes.get_mut(&n).unwrap();
        let update = if deltas {
            held.data += &text;
            Update::Delta(held.delta(n, &text))
        } else {
            held.data = text;
            Update::Node(held.state(n))
        };
        self.push(client, update);
    }

    /// Anything at all, most of it forbidden or senseless.
    fn attack(&mut self, client: usize, choice: u32) {
        let all: Vec<NodeId> = self.session.replicas.ids().collect();
        let node = if all.is_empty() || choice.is_multiple_of(7) {
            id(choice % 5 + 1)
        } else {
            all[choice as usize % all.len()]
        };
        let n = number(node);
        let held = Held {
            owner: ["COMMON", "u0", "u1", "evil"][choice as usize % 4].to_owned(),
            dependencies: vec![n, 1, 77],
            data: format!("evil{choice};"),
        };
        let nodes = vec![node, id(1), id(2)];
        let owner = held.owner.clone();
        let request = match self.rng.random_range(0..14) {
            0 => Request::CatalogRequest,
            1 => Request::Get(node),
            2 => Request::JoinDone,
            3 => Request::UploadInit { nodes },
            4 => Request::UploadSet(held.state(n)),
            5 => Request::UploadEnd,
            6 => Request::Delete(node),
            7 | 8 => Request::Right { nodes, owner },
            9 => Request::Kick { user: owner },
            10 => Request::Metadata(Value::Dict(Dict::new().with("a", i64::from(choice)))),
            11 if self.dialect.live == Live::NodeOrCommit => {
                return self.push(client, Update::Delta(held.delta(n, &held.data)));
            }
            _ if self.dialect.live == Live::Delta => {
                return self.push(client, Update::Delta(held.delta(n, &held.data)));
            }
            _ => return self.push(client, Update::Node(held.state(n))),
        };
        self.ask(client, request);
    }

    /// Closes Blender. What was sent before may be lost or not; here it arrives.
    pub(in crate::session::tests) fn close(&mut self, client: usize) {
        if matches!(self.clients[client].state, State::Gone(_)) {
            return;
        }
        self.clients[client].state = State::Gone("closed".to_owned());
        self.note(format!("{client} closes"));
        let due = self.clients[client].ways.iter().max().copied().unwrap();
        self.at(due, Happening::Close(client));
    }
}
