//! Links that break and come back.

use std::time::Duration;

use super::client::State;
use super::{Happening, World, lane_index};
use crate::ports::outbox::Lane;
use crate::session::event::{End, Event};
use crate::session::outlet::Outlet;
use crate::wire::role::Role;

impl World {
    /// A link breaks: what is on its way down is lost. The client opens it anew after a while, and
    /// goes on with what it has.
    pub(in crate::session::tests) fn break_link(&mut self, client: usize, lane: Lane, millis: u64) {
        let me = &mut self.clients[client];
        let index = lane_index(lane);
        // Where nobody says that a join is done, it counts as done when its last node was written: this peer
        // tells of nothing that it has read.
        let can = match me.state {
            State::Active => true,
            State::Auth | State::Gone(_) => false,
            _ => self.dialect.join_done,
        };
        if me.hostile || !can || me.down[index] {
            return;
        }
        me.down[index] = true;
        me.breaks[index] += 1;
        let line = me.line.clone();
        self.note(format!("{client} loses its {lane:?} link"));
        let (role, end) = (role(lane), End::Broken);
        self.session
            .handle(&line, Event::Unlinked { role, end }, self.now);
        let due = self.now + Duration::from_millis(millis);
        self.at(due, Happening::Back(client, lane));
    }

    pub(super) fn come_back(&mut self, client: usize, lane: Lane) {
        self.note(format!("{client} has its {lane:?} link back"));
        let me = &mut self.clients[client];
        me.down[lane_index(lane)] = false;
        let line = me.line.clone();
        if line.0.dialect.lock().unwrap().is_none() {
            // Why it was sent away is lost. Whatever it does now, it is told that it is not there.
            me.state = State::Gone("not logged in".to_owned());
            return;
        }
        if lane == Lane::Data {
            line.0.outbox.start_receipts_over();
        }
        line.hold(true);
        let role = role(lane);
        self.session.handle(&line, Event::Linked { role }, self.now);
    }

    /// A line takes nothing for a while.
    pub(in crate::session::tests) fn stall(&mut self, client: usize, lane: Lane, millis: u64) {
        let me = &mut self.clients[client];
        let index = lane_index(lane);
        if me.writing[index] || me.down[index] {
            return;
        }
        me.writing[index] = true;
        let due = self.now + Duration::from_millis(millis);
        self.at(due, Happening::Free(client, lane));
    }

    /// The name of somebody who has gone.
    pub(in crate::session::tests) fn gone_name(&self) -> Option<String> {
        let taken = |name: &str| {
            self.clients
                .iter()
                .any(|c| c.name == name && !matches!(c.state, State::Gone(_)))
        };
        self.clients
            .iter()
            .find(|c| matches!(c.state, State::Gone(_)) && !taken(&c.name))
            .map(|c| c.name.clone())
    }
}

fn role(lane: Lane) -> Role {
    match lane {
        Lane::Command => Role::Command,
        Lane::Data => Role::Subscriber,
    }
}
