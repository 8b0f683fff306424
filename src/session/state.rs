//! The session itself: plain data and transitions, without tasks, sockets or clocks.
//!
//! The actor feeds it one [`Event`] at a time with the present moment; it changes its state and
//! pushes what is to be said into the peers' [`Outlet`]s. Everything that is due later is a
//! [`Timer`]. The transitions live in the modules beside this one, by what they are about.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::ahead::Ahead;
use super::buried::Buried;
use super::event::Event;
use super::folding::Folds;
use super::live::{OVERTAKEN, Push};
use super::notice::Notice;
use super::outlet::{Outlet, Repeat, Slot};
use super::replicas::Replicas;
use super::settings::Settings;
use super::snapshot::{Author, Durability, Wanted};
use super::upload::Upload;
use super::users::Users;
use super::wipe::Wipes;
use crate::beat::SECOND;
use crate::counters::{Count, Counters};
use crate::wire::command::{self, Answer, Request};
use crate::wire::dialect::{Dialect, Live};
use crate::wire::identity::{Identity, NodeId};
use crate::wire::message::{Encoded, Message};
use crate::wire::transport;

/// How long the users dict rests for each byte that went out (4 ns: 250 MB/s), for all that users tell
/// of themselves. It is sent whole, to everybody, for each of them: that grows with the cube of
/// their number.
pub(super) const USERS_REST: Duration = Duration::from_nanos(4);

/// The state of one session.
#[derive(Debug)]
pub struct Session<O> {
    pub(super) settings: Settings,
    pub(super) counters: Arc<Counters>,
    pub(super) phase: Phase,
    /// How those present speak, and the version they all have. `None` while nobody is there.
    pub(super) present: Option<Present>,
    /// How the nodes were written, as long as there are any.
    pub(super) author: Option<Author>,
    pub(super) replicas: Replicas,
    pub(super) users: Users<O>,
    pub(super) users_changed: bool,
    users_soon: bool,
    /// Until when the users dict rests after it went out by itself.
    users_rest: Option<Instant>,
    /// Whether its nodes are kept on a disk.
    pub(super) keeps: bool,
    /// What of an upload may be written before it is complete.
    pub(super) ahead: Ahead,
    /// Nodes and deltas that are brought together elsewhere.
    pub(super) folds: Folds,
    /// Deleted nodes that are still of use.
    pub(super) buried: Buried,
    /// What was deleted just now, and by whom.
    pub(super) wipes: Wipes,
    /// A backup that should be made before it is too late.
    pub(super) wanted_backup: Option<Wanted>,
    /// What the operator has everybody told.
    pub(super) notice: Option<Notice>,
    /// Why nobody is let in.
    pub(super) closed: Option<&'static str>,
    /// How what changes gets to the disk.
    pub(super) durability: Durability,
    timers: BinaryHeap<Reverse<(Instant, u64, Timer)>>,
    timer_count: u64,
}

/// What those present have in common.
#[derive(Clone, Debug)]
pub(super) struct Present {
    pub(super) dialect: &'static Dialect,
    /// The version text they all sent; `None` for clients that send none.
    pub(super) version: Option<String>,
}

/// Whether there is something to join (wire spec, server state machine).
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of it")]
pub(super) enum Phase {
    /// WAITING: nobody has brought nodes yet.
    Waiting,
    /// SRV_SYNC: somebody is bringing them.
    Uploading(Upload),
    /// ACTIVE: joiners are given the nodes.
    Active,
}

/// Something that is due at a moment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// Look after everything that has no timer.
    Tick,
    /// Answer an upload offer.
    AnswerOffer(Identity),
    /// Confirm a good-bye.
    Goodbye(Identity),
    /// The command link has been gone for as long as it may be.
    Cut(Identity),
    /// The data link has been gone for as long as it may be.
    DataCut(Identity),
    /// The last node of a join may have arrived.
    LastNode(Identity, NodeId),
    /// The users dict has changed.
    Users,
    /// What a user tells of itself has changed.
    Metadata(Identity),
    /// No login came over a link that came up again.
    Resume(Identity),
    /// A login waits for its data link no longer.
    DataLink(Identity),
    /// An artist who edited at the same time as another may have paused.
    Converge(Identity, NodeId),
    /// Send again what may have been overtaken.
    Settle(Identity, NodeId, bool),
    /// A node was sent again a round trip ago, as something it needs was deleted.
    Renew(Identity, NodeId),
}

impl<O: Outlet> Session<O> {
    /// An empty session.
    pub fn new(settings: Settings, counters: Arc<Counters>, now: Instant) -> Self {
        let mut session = Self {
            settings,
            counters,
            phase: Phase::Waiting,
            present: None,
            author: None,
            replicas: Replicas::default(),
            users: Users::default(),
            users_changed: false,
            users_soon: false,
            users_rest: None,
            keeps: false,
            ahead: Ahead::default(),
            folds: Folds::default(),
            buried: Buried::default(),
            wipes: Wipes::default(),
            wanted_backup: None,
            notice: None,
            closed: None,
            durability: Durability::Off,
            timers: BinaryHeap::new(),
            timer_count: 0,
        };
        session.tick_later(now);
        session
    }

    /// Something happened at a peer.
    pub fn handle(&mut self, peer: &O, event: Event, now: Instant) {
        match event {
            Event::Command(command) => self.command(peer, command, now),
            Event::Update {
                update,
                began,
                plain,
            } => {
                let push = Push {
                    who: peer.identity().clone(),
                    update,
                    began,
                    plain,
                    blank: None,
                };
                self.update(push, now);
            }
            Event::Unfit(node) => self.unfit(peer.identity(), node, now),
            Event::Linked { role } => self.linked(peer.identity(), role, now),
            Event::Unlinked { role, end } => self.unlinked(peer.identity(), role, end, now),
            Event::Drained => self.catch_up(peer.identity(), now),
            Event::Crossed(Repeat { node, data }) => {
                if self.users.get(peer.identity()).is_some() {
                    let due = now + peer.window();
                    self.at(due, Timer::Settle(peer.identity().clone(), node, data));
                }
            }
        }
    }

    fn command(&mut self, peer: &O, command: command::Command, now: Instant) {
        let who = peer.identity();
        match command.request {
            Request::Auth(auth) => return self.log_in(peer, auth, command.framing, now),
            Request::Info => return self.tell_info(peer, command.framing),
            _ => {}
        }
        if self.users.get(who).is_none() {
            self.counters
                .refuse(Count::RefusedStranger, who, "a command without login");
            return;
        }
        self.resume_now(who, now);
        match command.request {
            Request::CatalogRequest => self.want_catalog(who, now),
            Request::Get(node) => self.get(who, node, now),
            Request::JoinDone => self.join_done(who, now),
            Request::UploadInit { nodes } => self.offer(who, nodes, now),
            Request::UploadSet(node) => self.upload_set(who, node, now),
            Request::UploadEnd => self.upload_end(who, now),
            Request::Delete(node) => self.delete(who, node, now),
            Request::Right { nodes, owner } => self.right(who, &nodes, &owner, now),
            Request::Kick { user } => self.kick(who, &user, now),
            Request::Disconnect => self.goodbye(who, now),
            Request::Metadata(data) => self.metadata(who, data, now),
            Request::Auth(_) | Request::Info => {}
        }
    }

    /// Whether edits are deltas, which have to find what they build on (G8 on).
    pub(super) fn has_deltas(&self) -> bool {
        self.dialect()
            .is_some_and(|dialect| dialect.live != Live::Whole)
    }

    /// The moment at which [`Self::tick`] wants to be called.
    pub fn next_timer(&self) -> Option<Instant> {
        self.timers.peek().map(|Reverse((due, _, _))| *due)
    }

    /// Does what is due.
    pub fn tick(&mut self, now: Instant) {
        while self.next_timer().is_some_and(|due| due <= now) {
            let Some(Reverse((_, _, timer))) = self.timers.pop() else {
                return;
            };
            match timer {
                Timer::Tick => {
                    // First, so that a fault cannot stop the clock.
                    self.tick_later(now);
                    self.look_around(now);
                }
                Timer::AnswerOffer(who) => self.answer_offer(&who, now),
                Timer::Goodbye(who) => self.say_goodbye(&who, now),
                Timer::Cut(who) => self.cut(&who, now),
                Timer::DataCut(who) => self.data_cut(&who, now),
                Timer::LastNode(who, last) => self.last_node(&who, last, now),
                Timer::Users => {
                    self.users_soon = false;
                    let bytes = u32::try_from(self.tell_users()).unwrap_or(u32::MAX);
                    self.users_rest = Some(now + USERS_REST * bytes);
                }
                Timer::Metadata(who) => self.relay_metadata(&who, now),
                Timer::Resume(who) => self.resume(&who, now),
                Timer::Converge(who, node) => self.converge(&who, node, now),
                Timer::DataLink(who) => self.data_link_late(&who, now),
                Timer::Settle(who, node, data) => self.settle(&who, node, data, now),
                Timer::Renew(who, node) => self.renew_again(&who, node, now),
            }
        }
    }

    pub(super) fn at(&mut self, due: Instant, timer: Timer) {
        self.timer_count = self.timer_count.wrapping_add(1);
        self.timers.push(Reverse((due, self.timer_count, timer)));
    }

    /// About once per second the session looks after what has no moment of its own.
    fn tick_later(&mut self, now: Instant) {
        let due = self.settings.beat.last(now + SECOND);
        self.at(due, Timer::Tick);
    }

    fn look_around(&mut self, now: Instant) {
        self.find_lost(now);
        self.find_stalled(now);
        self.refresh_latencies();
        self.renew_notice(now);
        if self.users_changed {
            self.tell_users();
        }
        self.forget(now);
        self.fold_idle(now);
        self.wipes.forget(now);
        let behind: Vec<_> = self
            .users
            .iter()
            .filter(|(_, user)| !user.behind.is_empty())
            .map(|(id, _)| id.clone())
            .collect();
        for who in behind {
            self.catch_up(&who, now);
        }
    }

    /// Forgets what was sent and deleted so long ago that nothing under way can refer to it.
    fn forget(&mut self, now: Instant) {
        let keep = self.settings.keep();
        let mut oldest = past(now, self.settings.in_flight);
        for (_, user) in self.users.iter_mut() {
            let busy = past(user.outlet.busy_since(), user.outlet.window());
            user.restored.retain(|_, at| busy < *at + OVERTAKEN);
            user.outlet.prune(busy.min(past(now, keep)));
            oldest = oldest.min(busy);
        }
        self.replicas.forget_graves(oldest);
    }

    /// Sends everybody the users dict: at once if the last one was long enough ago for its size,
    /// otherwise in a moment, together with what else changes until then.
    pub(super) fn tell_users_soon(&mut self, now: Instant) {
        self.users_changed = true;
        if std::mem::replace(&mut self.users_soon, true) {
            return;
        }
        let next = self.users_rest.map_or(now, |rest| rest.max(now));
        self.at(next, Timer::Users);
    }

    /// Sends everybody the users dict. Returns the bytes of all of them.
    pub(super) fn tell_users(&mut self) -> usize {
        self.users_changed = false;
        if self.notice.is_some() {
            return self.tell_users_with_notice();
        }
        let value = self.users.to_value();
        let Some(bytes) = self.encode(&Answer::Users(&value)) else {
            return 0;
        };
        for (_, user) in self.users.iter() {
            user.outlet.command(Slot::Users, bytes.clone());
        }
        bytes.len().saturating_mul(self.users.len())
    }

    /// An answer in the bytes of those present; `None` while nobody is there.
    pub(super) fn encode(&self, answer: &Answer<'_>) -> Option<Encoded> {
        let dialect = self.present.as_ref()?.dialect;
        Some(encode(dialect, &command::encode(dialect, answer)))
    }

    /// Answers one user.
    pub(super) fn answer(&self, who: &Identity, answer: &Answer<'_>) {
        if let (Some(user), Some(bytes)) = (self.users.get(who), self.encode(answer)) {
            user.outlet.command(Slot::Plain, bytes);
        }
    }

    /// How those present speak.
    pub(super) fn dialect(&self) -> Option<&'static Dialect> {
        self.present.as_ref().map(|present| present.dialect)
    }

    /// How many users there are.
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many nodes there are.
    pub fn node_count(&self) -> usize {
        self.replicas.len()
    }
}

/// Messages in the bytes of a dialect's transport.
pub(super) fn encode(dialect: &Dialect, messages: &[Message]) -> Encoded {
    transport::encode(dialect.ports, messages)
}

/// The moment so long ago, or the earliest there is: outside of Linux clocks don't go back beyond
/// the machine's start, and what was heard since then is not older than that.
pub(super) fn past(now: Instant, ago: Duration) -> Instant {
    if let Some(then) = now.checked_sub(ago) {
        return then;
    }
    let (mut earliest, mut step) = (now, ago / 2);
    while !step.is_zero() {
        earliest = earliest.checked_sub(step).unwrap_or(earliest);
        step /= 2;
    }
    earliest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_longer_ago_than_a_clock_can_say_was_at_its_beginning() {
        let now = Instant::now();
        let second = Duration::from_secs(1);
        assert_eq!(past(now, second), now - second);
        let beginning = past(now, Duration::MAX);
        assert!(beginning < now);
        assert_eq!(beginning.checked_sub(Duration::from_micros(1)), None);
        let earlier = past(beginning, second);
        assert!(beginning - earlier < Duration::from_micros(1));
    }
}
