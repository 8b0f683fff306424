//! The session: who is there, which nodes exist, who owns what, and who is told what.
//!
//! [`Session`] is plain single-owner data with pure transitions; the modules beside it hold those
//! by subject: `login`, `upload`, `join`, `live`, `edits`, `folding`, `leave`, `quarantine`. This module runs it as an
//! actor: the ports send [`Event`]s through a [`Handle`], one task applies them in order. The
//! session never waits for a peer; what it says goes into the peers' [`outlet`]s.

mod authority;
mod edits;
pub mod event;
pub mod folding;
mod join;
mod leave;
mod live;
pub(crate) mod login;
pub mod operator;
pub mod outlet;
pub mod quarantine;
pub mod replicas;
pub mod settings;
mod state;
#[cfg(test)]
mod tests;
mod upload;
mod users;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tracing::error;

pub use self::event::Event;
pub use self::operator::{Listed, Present};
pub use self::outlet::Outlet;
pub use self::settings::Settings;
pub use self::state::Session;
use crate::counters::{Count, Counters};

/// Events that may wait for the session. Each connection's bytes in flight are bounded by a
/// budget of its own, so this only has to keep the session busy.
const INBOX: usize = 1024;
/// Events applied before timers get their turn.
const BATCH: usize = 256;
/// Nodes that are worked on at a time, off the session's task.
const JOBS: usize = 2;

/// What goes through the session's inbox.
enum Letter<O> {
    Events {
        peer: O,
        events: Vec<Event>,
        /// The connection's budget for what it has in flight; given back when they are applied.
        _paid: Option<OwnedSemaphorePermit>,
    },
    DismissAll {
        reason: String,
        done: oneshot::Sender<()>,
    },
    Ask(Question<O>),
}

/// What the operator asks, and to whom it is answered.
type Question<O> = Box<dyn FnOnce(&mut Session<O>, Instant) + Send>;

/// Sends events to the session. Cheap to clone.
#[derive(Debug)]
pub struct Handle<O> {
    inbox: mpsc::Sender<Letter<O>>,
    user_count: watch::Receiver<usize>,
}

impl<O> Clone for Handle<O> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            user_count: self.user_count.clone(),
        }
    }
}

impl<O: Outlet> Handle<O> {
    /// Sends events of one peer, waiting while the inbox is full. `paid` is given back when they
    /// are applied. Events after the session's end vanish.
    pub async fn send(&self, peer: O, events: Vec<Event>, paid: Option<OwnedSemaphorePermit>) {
        if events.is_empty() {
            return;
        }
        let letter = Letter::Events {
            peer,
            events,
            _paid: paid,
        };
        let _ = self.inbox.send(letter).await;
    }

    /// Sends everybody away; resolves when their Disconnects are queued.
    pub async fn dismiss_all(&self, reason: &str) {
        let (done, applied) = oneshot::channel();
        let letter = Letter::DismissAll {
            reason: reason.to_owned(),
            done,
        };
        if self.inbox.send(letter).await.is_ok() {
            let _ = applied.await;
        }
    }

    /// Asks something of the session, or has it do something, in its turn. `None` if the session
    /// has ended.
    pub async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Session<O>, Instant) -> R + Send + 'static,
    ) -> Option<R> {
        let (answer, answered) = oneshot::channel();
        let question: Question<O> = Box::new(move |session, now| {
            let _ = answer.send(question(session, now));
        });
        self.inbox.send(Letter::Ask(question)).await.ok()?;
        answered.await.ok()
    }

    /// How many users are logged in, as it changes.
    pub fn user_count(&self) -> watch::Receiver<usize> {
        self.user_count.clone()
    }
}

/// Starts a session. It ends when all handles are gone.
pub fn spawn<O: Outlet + Sync>(settings: Settings, counters: Arc<Counters>) -> Handle<O> {
    let (inbox, letters) = mpsc::channel(INBOX);
    let session = Session::new(settings, Arc::clone(&counters), Instant::now());
    let (counted, user_count) = watch::channel(0);
    tokio::spawn(run(session, letters, counters, counted));
    Handle { inbox, user_count }
}

async fn run<O: Outlet>(
    mut session: Session<O>,
    mut letters: mpsc::Receiver<Letter<O>>,
    counters: Arc<Counters>,
    user_count: watch::Sender<usize>,
) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut jobs = JoinSet::new();
    loop {
        while jobs.len() < JOBS
            && let Some(job) = session.next_job(Instant::now())
        {
            jobs.spawn_blocking(move || job.run());
        }
        let due = session.next_timer().unwrap_or_else(Instant::now);
        tokio::select! {
            received = letters.recv_many(&mut batch, BATCH) => {
                if received == 0 {
                    return;
                }
            }
            Some(done) = jobs.join_next() => match done {
                Ok(done) => guarded(&counters, || session.folded(done, Instant::now())),
                Err(error) => error!(name: "session.job_lost", %error, "a node's work was lost"),
            },
            () = sleep_until(due) => {}
        }
        for letter in batch.drain(..) {
            match letter {
                Letter::Events {
                    peer,
                    events,
                    _paid,
                } => {
                    for event in events {
                        let now = Instant::now();
                        guarded(&counters, || session.handle(&peer, event, now));
                    }
                }
                Letter::DismissAll { reason, done } => {
                    guarded(&counters, || session.dismiss_all(&reason, Instant::now()));
                    let _ = done.send(());
                }
                Letter::Ask(question) => {
                    guarded(&counters, || question(&mut session, Instant::now()));
                }
            }
        }
        guarded(&counters, || session.tick(Instant::now()));
        let count = session.user_count();
        user_count.send_if_modified(|known| std::mem::replace(known, count) != count);
    }
}

/// One event's panic must not end the session for everybody.
fn guarded(counters: &Counters, work: impl FnOnce()) {
    if std::panic::catch_unwind(AssertUnwindSafe(work)).is_err() {
        counters.add(Count::Panics);
        error!(name: "session.panic", "a fault in the session was contained; please report it");
    }
}
