//! Leaving, in every way: good-bye, a closed link, silence, a kick; and links that come back.
//!
//! Whatever the way, the user's nodes return to nobody and the others are told at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tracing::info;

use super::event::End;
use super::outlet::{FRESH_LOGIN, Outlet, Slot};
use super::replicas::COMMON;
use super::state::{Phase, Session, Timer, past};
use super::users::{Missing, Stage};
use crate::counters::Count;
use crate::text::shown;
use crate::wire::command::Answer;
use crate::wire::identity::Identity;
use crate::wire::role::Role;

/// How long a leaving client of 0.0.15 or older takes to expect the answer.
const GOODBYE: Duration = Duration::from_millis(100);

/// What somebody is told who cannot go on after a break.
const LOST_WHILE_JOINING: &str = "the connection was lost while joining, join again";

impl<O: Outlet> Session<O> {
    /// Removes a user and frees what it owned. Says nothing to the user itself.
    pub(super) fn leave(&mut self, who: &Identity, why: &str, now: Instant) {
        if matches!(&self.phase, Phase::Uploading(upload) if upload.uploader == *who) {
            self.lose_uploader(who, now);
        }
        let Some(user) = self.users.remove(who) else {
            return;
        };
        info!(name: "user.left", user = %shown(&user.name), peer = %who, reason = why, "user left");
        self.counters.add(Count::Leaves);
        user.outlet.log_out();
        let owned = self.replicas.owned_by(&user.name);
        let common: Arc<str> = COMMON.into();
        for id in &owned {
            self.replicas.give(*id, &common, now);
        }
        self.relay_right(who, "server", &owned);
        for (_, other) in self.users.iter() {
            other.outlet.forget_metadata(&user.name);
        }
        self.tell_users();
        if self.users.is_empty() {
            self.present = None;
        }
        self.reopen_if_barren();
    }

    /// With no node and nobody who could make one, those who wait for a first node would wait for
    /// ever: somebody has to bring some again.
    pub(super) fn reopen_if_barren(&mut self) {
        let barren = matches!(self.phase, Phase::Active)
            && self.replicas.is_empty()
            && !self
                .users
                .iter()
                .any(|(_, user)| matches!(user.stage, Stage::Active | Stage::Fetching(_)));
        if barren {
            self.phase = Phase::Waiting;
        }
    }

    /// Sends a user away with a reason, and removes it.
    pub(super) fn dismiss(&mut self, who: &Identity, reason: &str, now: Instant) {
        self.answer(who, &Answer::Disconnect { reason });
        self.leave(who, reason, now);
    }

    /// Sends everybody away.
    pub fn dismiss_all(&mut self, reason: &str, now: Instant) {
        let everybody: Vec<_> = self.users.iter().map(|(id, _)| id.clone()).collect();
        for who in everybody {
            self.dismiss(&who, reason, now);
        }
    }

    /// An admin removes somebody.
    pub(super) fn kick(&mut self, who: &Identity, name: &str, now: Instant) {
        let admin = self.users.get(who).is_some_and(|user| user.admin);
        if !admin {
            self.counters.refuse(
                Count::RefusedKick,
                who,
                "a kick by somebody who is not admin",
            );
            return;
        }
        match self.users.named(name).cloned() {
            Some(target) => {
                self.counters
                    .note(Count::Kicks, who, format_args!("kicks '{}'", shown(name)));
                self.dismiss(&target, "kicked by admin", now);
            }
            None => self
                .counters
                .refuse(Count::RefusedKick, who, "a kick of nobody"),
        }
    }

    /// A client of 0.0.15 or older says good-bye and waits for the answer.
    pub(super) fn goodbye(&mut self, who: &Identity, now: Instant) {
        self.at(now + GOODBYE, Timer::Goodbye(who.clone()));
    }

    pub(super) fn say_goodbye(&mut self, who: &Identity, now: Instant) {
        self.dismiss(who, "ended by user", now);
    }

    /// A link ended. Only the command link tells that somebody leaves: a good end frees the name
    /// shortly, anything else when the grace has passed.
    pub(super) fn unlinked(&mut self, who: &Identity, role: Role, end: End, now: Instant) {
        let settings = &self.settings;
        let (leave_delay, grace) = (settings.leave_delay, settings.grace);
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        match (role, end) {
            (_, End::Stalled) => self.dismiss(who, "the connection is too slow", now),
            (_, End::Misused) => self.dismiss(who, "the connection broke the protocol", now),
            (Role::Command, _) => {
                // The newest clients never open a link again.
                let end = if user.outlet.is_framed() {
                    End::Closed
                } else {
                    end
                };
                user.cut = Some((now, end));
                let wait = if end == End::Closed {
                    leave_delay
                } else {
                    grace
                };
                self.at(now + wait, Timer::Cut(who.clone()));
            }
            (Role::Subscriber, _) if user.outlet.is_framed() => {
                self.dismiss(who, "the data connection was lost, join again", now);
            }
            (Role::Subscriber, _) => {
                user.data_cut = Some(now);
                self.at(now + grace, Timer::DataCut(who.clone()));
            }
            _ => {}
        }
    }

    /// A data link has been gone for as long as it may be.
    pub(super) fn data_cut(&mut self, who: &Identity, now: Instant) {
        let gone = self.users.get(who).and_then(|user| user.data_cut);
        if let (Some(at), Some(dialect)) = (gone, self.dialect())
            && now >= at + self.settings.grace
        {
            let reason = self.settings.unreachable(Role::Subscriber, dialect.ports);
            self.dismiss(who, &reason, now);
        }
    }

    pub(super) fn cut(&mut self, who: &Identity, now: Instant) {
        let settings = &self.settings;
        let Some((at, end)) = self.users.get(who).and_then(|user| user.cut) else {
            return;
        };
        let wait = if end == End::Closed {
            settings.leave_delay
        } else {
            settings.grace
        };
        if now >= at + wait {
            self.leave(who, "connection closed", now);
        }
    }

    /// A link came up. For somebody logged in it goes on where the old one ended, unless a login
    /// comes over it.
    pub(super) fn linked(&mut self, who: &Identity, role: Role, now: Instant) {
        if role == Role::Subscriber {
            self.data_link_came(who);
        }
        let dead_after = self.settings.dead_after;
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let ended = match role {
            Role::Ttl | Role::Publisher => return,
            Role::Command => user.cut.take().map(|(at, _)| at),
            Role::Subscriber => {
                let ended = user.data_cut.take();
                if user.outlet.sent_since(user.since).is_empty() {
                    // The first one of this login: nothing can have been lost.
                    return user.outlet.hold(user.resuming);
                }
                ended
            }
        };
        // What went to the old one while it was dead already.
        let ended = ended.unwrap_or(now);
        let lost_since = past(ended, dead_after).max(user.since);
        if role == Role::Command {
            let may_be_lost = |at| (lost_since..=ended).contains(&at);
            user.lacks_answer |= user.answered.is_some_and(may_be_lost);
        }
        user.lost_since = Some(user.lost_since.map_or(lost_since, |at| at.min(lost_since)));
        user.resuming = true;
        user.resumes = Some(now + FRESH_LOGIN);
        user.outlet.hold(true);
        self.at(now + FRESH_LOGIN, Timer::Resume(who.clone()));
    }

    /// So long after the last link that came up no login has come over any.
    pub(super) fn resume(&mut self, who: &Identity, now: Instant) {
        let user = self.users.get(who);
        if user.is_some_and(|user| user.resumes.is_some_and(|due| due <= now)) {
            self.resume_now(who, now);
        }
    }

    /// No login came, so the client goes on with what it has: everything that went to it of late
    /// is sent again as whole state. How much of what was written before the cut got there, the
    /// system does not tell.
    pub(super) fn resume_now(&mut self, who: &Identity, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        if !std::mem::take(&mut user.resuming) {
            return;
        }
        let lost_since = user.lost_since.take().unwrap_or(now);
        if !user.outlet.remembers(lost_since) {
            return self.join_again(who, "the connection was lost for too long, join again", now);
        }
        match user.stage {
            // None of them can be given twice.
            _ if std::mem::take(&mut user.lacks_answer) && user.answered.is_some() => {
                return self.join_again(who, LOST_WHILE_JOINING, now);
            }
            Stage::Active => self.mark_what_may_be_lost(who, now),
            Stage::Lobby if !user.wants_catalog => {}
            _ => {
                // A node or an answer of the transfer may be gone for good.
                return self.join_again(who, LOST_WHILE_JOINING, now);
            }
        }
        self.tell_users_anew(who);
        self.catch_up(who, now);
        if let Some(user) = self.users.get(who) {
            user.outlet.hold(false);
        }
    }

    /// Sends somebody away who goes on with a login of which something is lost.
    fn join_again(&mut self, who: &Identity, reason: &str, now: Instant) {
        if let Some(user) = self.users.get(who) {
            // It is the same client, and may be told at once; but nothing that builds on what is lost.
            user.outlet.take_back();
            for (_, other) in self.users.iter() {
                user.outlet.forget_metadata(&other.name);
            }
            user.outlet.hold(false);
        }
        self.dismiss(who, reason, now);
    }

    /// What was sent of late is owed again, and what is queued as well: it may build on that. Until
    /// this is done nothing must leave.
    fn mark_what_may_be_lost(&mut self, who: &Identity, now: Instant) {
        let Some(user) = self.users.get_mut(who) else {
            return;
        };
        let what = "a link came back: sending again what may be lost";
        self.counters.note(Count::Resumed, who, what);
        let mut deleted = Vec::new();
        let mut nodes = user.outlet.sent_since(user.since);
        nodes.extend(user.outlet.take_back());
        for id in nodes {
            if self.replicas.contains(id) {
                let behind = user.behind.entry(id);
                behind.data = Some(Missing::Whole);
                behind.right = true;
            } else {
                deleted.push(id);
            }
        }
        for id in deleted {
            self.send_delete(who, id, now);
        }
    }

    /// Puts the present users dict in the place of all that is queued about users: clients end on
    /// metadata of somebody of whom no dict has told them, and the last one may be lost.
    fn tell_users_anew(&self, who: &Identity) {
        let value = self.users.to_value();
        let (Some(user), Some(bytes)) = (self.users.get(who), self.encode(&Answer::Users(&value)))
        else {
            return;
        };
        for (_, other) in self.users.iter() {
            user.outlet.forget_metadata(&other.name);
        }
        user.outlet.command(Slot::Users, bytes);
    }

    /// Users who are silent on all links, who never opened one they need, or who take nothing.
    pub(super) fn find_lost(&mut self, now: Instant) {
        let silent = past(now, self.settings.silence);
        let deadline = self.settings.login_deadline;
        let Some(dialect) = self.dialect() else {
            return;
        };
        let mut lost = Vec::new();
        for (who, user) in self.users.iter() {
            if user.outlet.last_heard() < silent {
                lost.push((who.clone(), "connection lost".to_owned()));
            } else if user.outlet.is_overfull() {
                lost.push((who.clone(), "the connection is too slow".to_owned()));
            } else if now > user.since + deadline && user.cut.is_none() && !user.withheld {
                let missing = [Role::Subscriber, Role::Ttl]
                    .into_iter()
                    .find(|role| !user.outlet.was_linked(*role));
                if let Some(role) = missing {
                    lost.push((who.clone(), self.settings.unreachable(role, dialect.ports)));
                }
            }
        }
        for (who, reason) in lost {
            self.dismiss(&who, &reason, now);
        }
    }
}
