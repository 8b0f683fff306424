//! What is looked into or folded next, and what waits for that.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use tokio::time::Instant;

use crate::session::live::Push;
use crate::wire::identity::{Identity, NodeId};

/// What is under way, and what waits for it.
#[derive(Debug, Default)]
pub(in crate::session) struct Folds {
    /// How many sessions there were before this one.
    pub(super) age: u64,
    pub(super) running: HashMap<NodeId, Running>,
    /// Deltas to be looked into, of each user first come, first served. The users take turns: one
    /// who sends many makes nobody else wait for all of them.
    checks: VecDeque<(Identity, VecDeque<NodeId>)>,
    /// Nodes to be folded, in order.
    pub(super) wanted: VecDeque<NodeId>,
    pub(super) is_wanted: HashSet<NodeId>,
    /// Checks and foldings take turns, too: joiners wait for foldings.
    pub(super) fold_next: bool,
    /// What waits for nodes that are looked into, in order.
    pub(super) waiting: HashMap<NodeId, VecDeque<Turn>>,
    /// Bytes of each user's updates that wait or are looked into.
    bytes: HashMap<Identity, usize>,
    /// Nodes with a tail, and when it last grew; the longest ago first.
    pub(super) grown: BTreeSet<(Instant, NodeId)>,
    grown_at: HashMap<NodeId, Instant>,
}

#[derive(Debug)]
pub(super) enum Running {
    Check(Box<Push>),
    Fold,
}

/// What waits for its turn.
#[derive(Debug)]
pub(super) enum Turn {
    Push(Box<Push>),
    /// An update of this user's was refused. What is true of the node then is what it is told.
    Refused(Identity),
}

impl Folds {
    /// Gives up all that is under way or waits: it is about another session.
    pub(in crate::session) fn forget(&mut self) {
        *self = Self {
            age: self.age.wrapping_add(1),
            ..Self::default()
        };
    }

    pub(super) fn wait(&mut self, push: Push, first: bool) {
        self.charge(&push);
        let queue = self.waiting.entry(push.id()).or_default();
        if first {
            queue.push_front(Turn::Push(Box::new(push)));
        } else {
            queue.push_back(Turn::Push(Box::new(push)));
        }
    }

    /// Has a user wait to be told what is true of a node, once between two updates.
    pub(super) fn wait_refused(&mut self, id: NodeId, who: &Identity) {
        let queue = self.waiting.entry(id).or_default();
        let mut last = queue.iter().rev().map_while(|turn| match turn {
            Turn::Refused(who) => Some(who),
            Turn::Push(_) => None,
        });
        if !last.any(|waits| waits == who) {
            queue.push_back(Turn::Refused(who.clone()));
        }
    }

    pub(super) fn next_waiting(&mut self, id: NodeId) -> Option<Turn> {
        let queue = self.waiting.get_mut(&id)?;
        let turn = queue.pop_front();
        if queue.is_empty() {
            self.waiting.remove(&id);
        }
        let turn = turn?;
        if let Turn::Push(push) = &turn {
            self.discharge(push);
        }
        Some(turn)
    }

    pub(super) fn check(&mut self, push: Push) {
        self.charge(&push);
        let (who, id) = (push.who.clone(), push.id());
        self.running.insert(id, Running::Check(Box::new(push)));
        match self.checks.iter_mut().find(|(user, _)| *user == who) {
            Some((_, nodes)) => nodes.push_back(id),
            None => self.checks.push_back((who, VecDeque::from([id]))),
        }
    }

    /// The node whose check comes next.
    pub(super) fn next_check(&mut self) -> Option<NodeId> {
        let (who, mut nodes) = self.checks.pop_front()?;
        let id = nodes.pop_front();
        if !nodes.is_empty() {
            self.checks.push_back((who, nodes));
        }
        id
    }

    /// The node whose folding comes next.
    pub(super) fn next_fold(&mut self) -> Option<NodeId> {
        for _ in 0..self.wanted.len() {
            let id = self.wanted.pop_front()?;
            if !self.running.contains_key(&id) {
                self.is_wanted.remove(&id);
                return Some(id);
            }
            self.wanted.push_back(id);
        }
        None
    }

    /// Takes what is under way for a node out.
    pub(super) fn end(&mut self, id: NodeId) -> Option<Running> {
        let running = self.running.remove(&id);
        if let Some(Running::Check(push)) = &running {
            self.discharge(push);
        }
        running
    }

    fn charge(&mut self, push: &Push) {
        let bytes = self.bytes.entry(push.who.clone()).or_default();
        *bytes = bytes.saturating_add(push.cost());
    }

    fn discharge(&mut self, push: &Push) {
        if let Some(bytes) = self.bytes.get_mut(&push.who) {
            *bytes = bytes.saturating_sub(push.cost());
            if *bytes == 0 {
                self.bytes.remove(&push.who);
            }
        }
    }

    /// Whether a user has so much waiting that this is too much.
    pub(super) fn is_full(&self, push: &Push, most: usize) -> bool {
        let bytes = self.bytes.get(&push.who);
        bytes.is_some_and(|bytes| bytes.saturating_add(push.cost()) > most)
    }

    pub(super) fn note_grown(&mut self, id: NodeId, now: Instant) {
        self.forget_grown(id);
        self.grown_at.insert(id, now);
        self.grown.insert((now, id));
    }

    pub(super) fn forget_grown(&mut self, id: NodeId) {
        if let Some(at) = self.grown_at.remove(&id) {
            self.grown.remove(&(at, id));
        }
    }

    /// Whether nothing is under way or waits.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        let idle = self.running.is_empty() && self.checks.is_empty();
        idle && self.waiting.is_empty() && self.bytes.is_empty()
    }
}
