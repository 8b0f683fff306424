//! What is told of users. What they say of themselves (cursor, selection, frame) is merged per user, and
//! told to the others the way their generation expects it; how far away they are is measured.

mod merged;

use std::sync::Arc;

use tokio::time::Instant;

pub(super) use self::merged::Metadata;
use super::outlet::{Outlet, Slot};
use super::state::{Session, Timer, USERS_REST};
use crate::counters::Count;
use crate::wire::command::Answer;
use crate::wire::dialect::MetadataFanOut;
use crate::wire::identity::Identity;
use crate::wire::message::Encoded;
use crate::wire::pickle::Value;

/// Writing one byte of what a user tells takes about as long as sending so many.
const WRITING: usize = 4;

impl<O: Outlet> Session<O> {
    /// Merges a user's metadata and tells the others.
    pub(super) fn metadata(&mut self, who: &Identity, data: Value, now: Instant) {
        let Some(dialect) = self.dialect() else {
            return;
        };
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let Value::Dict(update) = data else { return };
        if !user.metadata.merge(&update, self.settings.max_metadata) {
            self.counters
                .refuse(Count::RefusedMetadata, who, "metadata beyond the limit");
            return;
        }
        match dialect.metadata {
            MetadataFanOut::UsersDictToAll => self.tell_users_soon(now),
            MetadataFanOut::RelayToOthers => {
                // Otherwise that is seen to already.
                if user.metadata.add_news(update) {
                    match user.metadata.rests(now) {
                        Some(due) => self.at(due, Timer::Metadata(who.clone())),
                        None => self.relay_metadata(who, now),
                    }
                }
            }
        }
    }

    /// Tells the others what is new of a user. After that it rests for as long as all these bytes take,
    /// and what is new meanwhile goes together: a few bytes of a user may be many for the others.
    pub(super) fn relay_metadata(&mut self, who: &Identity, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let Some(news) = user.metadata.take_news().map(Value::Dict) else {
            return;
        };
        let name = Arc::clone(&user.name);
        let all = user.metadata.to_value();
        let encode = |data| self.encode(&Answer::Metadata { owner: &name, data });
        let Some(news) = encode(&news) else {
            return;
        };
        let replaces = self
            .users
            .iter()
            .any(|(id, other)| id != who && other.outlet.holds_metadata(&name));
        // What is queued is replaced, so the new one has to hold all of it.
        let full = if replaces { encode(&all) } else { None };
        let written = news
            .len()
            .saturating_add(full.as_ref().map_or(0, Encoded::len));
        let mut told = written.saturating_mul(WRITING);
        for other in self.users.others_mut(who) {
            let bytes = match &full {
                Some(full) if other.outlet.holds_metadata(&name) => full,
                _ => &news,
            };
            let slot = Slot::Metadata(Arc::clone(&name));
            told = told.saturating_add(bytes.len());
            other.outlet.command(slot, bytes.clone());
        }
        if let Some(user) = self.users.get_mut(who) {
            let bytes = u32::try_from(told).unwrap_or(u32::MAX);
            user.metadata.rest(now + USERS_REST * bytes);
        }
    }

    /// Takes over the round trips measured since the last tick.
    pub(super) fn refresh_latencies(&mut self) {
        for (_, user) in self.users.iter_mut() {
            let Some(round_trip) = user.outlet.round_trip() else {
                continue;
            };
            let latency = i64::try_from(round_trip.as_millis()).unwrap_or(i64::MAX);
            // Jitter is no news: everybody would get the whole dict every second.
            let moved = (latency - user.latency).abs();
            if moved > 5.max(user.latency / 4) {
                user.latency = latency;
                self.users_changed = true;
            }
        }
    }
}
