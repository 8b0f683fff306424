//! What the session has to do with the disk: it says what changed, and hears what is safe.
//!
//! The session never waits for the disk. [`Keeping`] runs beside it in the actor: when something
//! has changed and the last batch is written, it takes the present state of all changed nodes, as
//! shared bytes, and hands it to the thread that owns the [`Store`](crate::store::Store). So
//! batches are states after prefixes of what happened; what changes twice between two of them is
//! written once; and a slow disk costs no memory but for what is being written. While an upload
//! arrives and nothing else is to be written, its nodes are handed over (`ahead`).

use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::outlet::Outlet;
use super::snapshot::{Author, Durability};
use super::state::{Phase, Session};
use crate::counters::{Count, Counters};
use crate::store::{Batch, Health, Kept, Task, Written};
use crate::wire::identity::NodeId;

/// How long to wait after the disk has failed.
const RETRY: Duration = Duration::from_secs(1);
/// How long at most after it has failed to take all there is, unless somebody waits for that: it is
/// twice as long each time.
const LONGEST_RETRY: Duration = Duration::from_secs(300);

impl<O: Outlet> Session<O> {
    /// Takes over what was kept, before anybody comes, and remembers from now on what changes.
    pub fn restore(&mut self, kept: Kept) {
        self.keeps = true;
        self.durability = Durability::Ok;
        for (id, stored) in kept.nodes {
            self.replicas.restore(id, stored);
        }
        self.replicas.watch(kept.sequence);
        self.author = Author::of(&kept.meta);
        if !self.replicas.is_empty() {
            self.phase = Phase::Active;
        }
    }

    /// What has changed since the last batch.
    pub fn take_batch(&mut self) -> Batch {
        Batch {
            sequence: self.replicas.sequence(),
            meta: self.meta(),
            nodes: self.replicas.take_changes(),
        }
    }

    /// Has the next batch have all there is.
    pub(super) fn retake_all(&mut self) {
        let aside = self.replicas.aside().map(|(id, _)| id);
        let all: Vec<_> = self.replicas.ids().chain(aside).collect();
        self.replicas.untake_changes(all);
    }
}

/// Somebody who waits for everything up to a change to be safe.
#[derive(Debug)]
struct Saving {
    sequence: u64,
    done: oneshot::Sender<Result<(), String>>,
}

/// The session's side of the store.
#[derive(Debug)]
pub(super) struct Keeping {
    tasks: mpsc::Sender<Task>,
    reports: mpsc::Receiver<Written>,
    within: Duration,
    /// When the next batch is due.
    due: Option<Instant>,
    /// The nodes of the batch that is being written, and its sequence.
    writing: Option<(u64, Vec<NodeId>)>,
    /// Something is being written that no batch has yet, or removed.
    ahead: bool,
    /// When something can be written that no batch has yet.
    ahead_due: Option<Instant>,
    /// Since when writing fails.
    trouble: Option<Instant>,
    /// What is on the disk is damaged: all there is is handed over next.
    whole: bool,
    /// How long to wait before that, and when it may be done for those who wait.
    pause: Duration,
    soonest: Option<Instant>,
    /// What is on the disk may be damaged although it takes what changes.
    health: Health,
    /// Whether all there is has been handed over because of that, and it did not help yet.
    mends: bool,
    /// When that was tried last, and how long to wait since then, unless somebody waits for it.
    mended: Option<Instant>,
    mend_pause: Duration,
    /// Who waits for everything to be safe.
    waiting: Vec<Saving>,
}

impl Keeping {
    pub(super) fn new(
        tasks: mpsc::Sender<Task>,
        reports: mpsc::Receiver<Written>,
        health: Health,
        within: Duration,
    ) -> Self {
        Self {
            tasks,
            reports,
            health,
            within,
            due: None,
            writing: None,
            ahead: false,
            ahead_due: None,
            trouble: None,
            whole: false,
            pause: RETRY,
            soonest: None,
            mends: false,
            mended: None,
            mend_pause: RETRY,
            waiting: Vec::new(),
        }
    }

    /// What the store says next.
    pub(super) async fn report(&mut self) -> Option<Written> {
        self.reports.recv().await
    }

    /// Whether every change is to be safe before anybody is told of it (and can be).
    pub(super) fn is_each(&self) -> bool {
        self.within.is_zero() && self.trouble.is_none()
    }

    /// Whether a batch is being written.
    pub(super) fn is_writing(&self) -> bool {
        self.writing.is_some()
    }

    /// Whether the store has something to do, and will say when it is done.
    pub(super) fn is_busy(&self) -> bool {
        self.writing.is_some() || self.ahead
    }

    /// When [`Self::step`] has something to do.
    pub(super) fn due(&self) -> Option<Instant> {
        let batch = self.due.filter(|_| self.writing.is_none());
        let may_be = !self.is_busy() && self.trouble.is_none();
        let ahead = self.ahead_due.filter(|_| may_be);
        batch.into_iter().chain(ahead).min()
    }

    /// Tells when everything up to here is safe, or that it cannot be.
    pub(super) fn save(&mut self, sequence: u64, done: oneshot::Sender<Result<(), String>>) {
        self.waiting.push(Saving { sequence, done });
    }

    /// Hands over a batch if one is due, or else what can be written ahead of one.
    pub(super) fn step<O: Outlet>(&mut self, session: &mut Session<O>, now: Instant) {
        self.write(session, now);
        if !self.is_busy() {
            let mut task = session.ahead.void();
            // A disk that takes no batches is left alone.
            if task.is_none() && self.trouble.is_none() {
                task = session.ahead.next(now);
            }
            if let Some(task) = task {
                // If the thread is gone, the next batch tells.
                self.ahead = self.tasks.try_send(task).is_ok();
            }
        }
        self.ahead_due = session.ahead.due();
    }

    /// Has all there is handed over if what is on the disk turned out to be damaged in passing: what changes is
    /// still kept, but none of it could be loaded.
    fn mend(&mut self, now: Instant) {
        let pause = match self.waiting.is_empty() {
            true => self.mend_pause,
            false => self.mend_pause.min(RETRY),
        };
        let is_free = self.trouble.is_none() && self.writing.is_none();
        let may_be = is_free && self.mended.is_none_or(|at| at + pause <= now);
        if !may_be || !self.health.is_damaged() {
            return;
        }
        if self.mends {
            self.mend_pause = self.mend_pause.saturating_mul(2).min(LONGEST_RETRY);
        } else {
            warn!(name: "store.damaged",
                "what is kept of the session cannot be read, and is going to be written anew");
            (self.mends, self.mend_pause) = (true, RETRY);
        }
        (self.whole, self.due, self.mended) = (true, Some(now), Some(now));
    }

    /// Whether what is on the disk could be loaded.
    fn verdict(&self) -> Result<(), String> {
        let why =
            "what is kept of the session is damaged and cannot be written anew (the log says why)";
        match self.health.is_damaged() {
            true => Err(why.to_owned()),
            false => Ok(()),
        }
    }

    fn write<O: Outlet>(&mut self, session: &mut Session<O>, now: Instant) {
        self.mend(now);
        if !session.replicas.has_changes() && !self.whole {
            if self.writing.is_none() {
                self.due = None;
                self.answer(u64::MAX, &self.verdict());
            }
            return;
        }
        // What changes while something is being written has waited when that is done.
        let due = self.due.get_or_insert(now + self.within);
        if session.is_settling() || !self.waiting.is_empty() {
            *due = self.soonest.unwrap_or(now).min(*due);
        }
        if now < *due || self.writing.is_some() {
            return;
        }
        self.due = None;
        if self.whole {
            session.retake_all();
        }
        let batch = session.take_batch();
        let nodes = batch.nodes.iter().map(|(id, _)| *id).collect();
        self.writing = Some((batch.sequence, nodes));
        let task = match self.whole {
            true => Task::Whole(batch),
            false => Task::Batch(batch),
        };
        if self.tasks.try_send(task).is_err() {
            let reason = "the thread that writes is gone".to_owned();
            self.failed(session, reason, now);
        }
    }

    /// What the store said. What the session does with it comes last: a fault there leaves what is
    /// known of the store as it is.
    pub(super) fn heard<O: Outlet>(
        &mut self,
        session: &mut Session<O>,
        report: Option<Written>,
        counters: &Counters,
        now: Instant,
    ) {
        if report.is_none() {
            self.ahead = false;
        }
        let gone = || Written::Failed("the thread that writes is gone".to_owned());
        match report.unwrap_or_else(gone) {
            Written::Ahead => self.ahead = false,
            Written::Safe => {
                let Some((sequence, _)) = self.writing.take() else {
                    return;
                };
                let was_whole = std::mem::take(&mut self.whole);
                (self.pause, self.soonest) = (RETRY, None);
                let is_damaged = self.health.is_damaged();
                if self.mends && !is_damaged {
                    // Should it happen again: each time a copy of the session stays behind.
                    (self.mends, self.mend_pause) = (false, LONGEST_RETRY);
                }
                if let Some(since) = self.trouble.take() {
                    let seconds = now.duration_since(since).as_secs();
                    session.durability = Durability::Ok;
                    info!(name: "store.recovered", seconds, "changes are kept again; nothing is missing");
                }
                // Who waits for what is damaged waits until it has been tried to mend that.
                if was_whole || !is_damaged {
                    self.answer(sequence, &self.verdict());
                }
                session.settled(sequence, now);
            }
            Written::Failed(reason) => {
                counters.add(Count::DiskFailures);
                self.failed(session, reason, now);
            }
            Written::Lost(reason) => {
                counters.add(Count::DiskFailures);
                if !self.whole {
                    warn!(name: "store.lost", %reason,
                        "what is kept of the session is damaged, and is going to be written anew");
                }
                self.failed(session, reason, now);
                self.whole = true;
                self.due = Some(now + self.pause);
                self.pause = self.pause.saturating_mul(2).min(LONGEST_RETRY);
            }
        }
    }

    /// The session goes on; what could not be written is tried again, with what changes until then.
    fn failed<O: Outlet>(&mut self, session: &mut Session<O>, reason: String, now: Instant) {
        let writing = self.writing.take().map(|(sequence, nodes)| {
            session.replicas.untake_changes(nodes);
            sequence
        });
        if self.trouble.is_none() {
            self.trouble = Some(now);
            session.durability = Durability::Degraded {
                since: SystemTime::now(),
                why: reason.clone(),
            };
            error!(name: "store.degraded", %reason,
                "changes cannot be written; the session goes on, and would be lost with the server");
        }
        self.due = Some(now + RETRY);
        self.soonest = self.due;
        self.answer(u64::MAX, &Err(reason));
        if let Some(sequence) = writing {
            session.settled(sequence, now);
        }
    }

    /// Answers those who wait for no more than this.
    fn answer(&mut self, sequence: u64, result: &Result<(), String>) {
        for saving in self
            .waiting
            .extract_if(.., |saving| saving.sequence <= sequence)
        {
            let _ = saving.done.send(result.clone());
        }
    }
}
