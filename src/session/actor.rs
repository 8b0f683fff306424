//! Runs the session: one task applies what the ports and the operator send, in order, and does
//! beside it what takes time (jobs on nodes, the disk) without waiting for it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::events::Events;
use super::folding::{self, Done};
use super::gate::Gate;
use super::guard::guarded;
use super::keeping::Keeping;
use super::outlet::Outlet;
use super::settings::Settings;
use super::snapshot::Wanted;
use super::state::Session;
use crate::counters::Counters;
use crate::memory::room::Room;
use crate::store::{Keeper, Written};

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
        events: Events,
        /// The connection's budget for what it has in flight; given back when they are applied.
        _paid: Option<OwnedSemaphorePermit>,
    },
    Close {
        reason: &'static str,
        done: oneshot::Sender<()>,
    },
    Ask(Question<O>),
    Save(oneshot::Sender<Result<(), String>>),
}

/// What the operator asks, and to whom it is answered.
type Question<O> = Box<dyn FnOnce(&mut Session<O>, Instant) + Send>;

/// Sends events to the session. Cheap to clone.
#[derive(Debug)]
pub struct Handle<O> {
    inbox: mpsc::Sender<Letter<O>>,
    user_count: watch::Receiver<usize>,
    loaded: watch::Receiver<Loaded>,
    /// Cancelled if the server ends while what was kept is still being loaded.
    given_up: CancellationToken,
    gate: Gate,
    room: Room,
}

/// How far the session is with what was kept of it.
#[derive(Clone, Debug)]
enum Loaded {
    NotYet,
    /// Since then it answers.
    Since(Instant),
    /// Why it never will.
    Never(String),
}

impl<O> Clone for Handle<O> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            user_count: self.user_count.clone(),
            loaded: self.loaded.clone(),
            given_up: self.given_up.clone(),
            gate: self.gate.clone(),
            room: self.room.clone(),
        }
    }
}

impl<O: Outlet> Handle<O> {
    /// Sends events of one peer, waiting while the inbox is full. `paid` is given back when they
    /// are applied. Events after the session's end vanish.
    pub async fn send(
        &self,
        peer: O,
        events: impl Into<Events>,
        paid: Option<OwnedSemaphorePermit>,
    ) {
        let events = events.into();
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

    /// Sends everybody away and lets nobody in; resolves when their Disconnects are queued.
    pub async fn close(&self, reason: &'static str) {
        let (done, applied) = oneshot::channel();
        let letter = Letter::Close { reason, done };
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

    /// Resolves when no change that has come so far is still being checked, or after this long.
    pub async fn idle(&self, at_most: Duration) {
        let idle = async {
            while self.ask(|session, _| session.is_idle()).await == Some(false) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let _ = timeout(at_most, idle).await;
    }

    /// Resolves when everything that has changed so far is safe on the disk.
    ///
    /// # Errors
    /// Why it is not.
    pub async fn save(&self) -> Result<(), String> {
        let ended = || Err("the session has ended".to_owned());
        let (done, saved) = oneshot::channel();
        if self.inbox.send(Letter::Save(done)).await.is_err() {
            return ended();
        }
        saved.await.unwrap_or_else(|_| ended())
    }

    /// Resolves when the session has ended by itself: because it could not be loaded, and why, or
    /// because of a fault.
    pub async fn ended(&self) -> Option<String> {
        self.inbox.closed().await;
        match &*self.loaded.borrow() {
            Loaded::Never(why) => Some(why.clone()),
            Loaded::NotYet | Loaded::Since(_) => None,
        }
    }

    /// Stops loading what was kept, if that is still going on: the session ends then, which costs
    /// nothing, since nobody could change anything yet. Returns whether it had been loaded.
    pub async fn give_up_loading(&self) -> bool {
        self.given_up.cancel();
        let mut loaded = self.loaded.clone();
        let known = loaded.wait_for(|loaded| !matches!(loaded, Loaded::NotYet));
        matches!(known.await.as_deref(), Ok(Loaded::Since(_)))
    }

    /// Since when it answers; `None` while it is being loaded.
    pub fn loaded_at(&self) -> Option<Instant> {
        match &*self.loaded.borrow() {
            Loaded::Since(at) => Some(*at),
            _ => None,
        }
    }

    /// Holds back what peers are told while it is closed.
    pub fn gate(&self) -> Gate {
        self.gate.clone()
    }

    /// Room in memory for looking into what arrives.
    pub(crate) fn room(&self) -> &Room {
        &self.room
    }

    /// How many users are logged in, as it changes.
    pub fn user_count(&self) -> watch::Receiver<usize> {
        self.user_count.clone()
    }
}

/// Where a session is kept, and how soon changes are to be safe there.
#[derive(Debug)]
pub struct Kept {
    /// The store.
    pub keeper: Keeper,
    /// At the latest after so long.
    pub within: Duration,
}

/// Starts a session, which goes on with what was kept of it. It ends when all handles are gone.
/// `backups` takes what the session wants saved before it is too late.
pub fn spawn<O: Outlet + Sync>(
    settings: Settings,
    counters: Arc<Counters>,
    kept: Option<Kept>,
    backups: mpsc::Sender<Wanted>,
) -> Handle<O> {
    let (inbox, letters) = mpsc::channel(INBOX);
    let (counted, user_count) = watch::channel(0);
    let (told, loaded) = watch::channel(Loaded::NotYet);
    let gate = Gate::default();
    let closing = gate.clone();
    let given_up = CancellationToken::new();
    let gives_up = given_up.clone();
    // Joiners wait for jobs: what arrives has room of its own.
    let arrivals = Room::new(settings.work / 2);
    tokio::spawn(async move {
        let room = Room::new(settings.work);
        let mut session = Session::new(settings, Arc::clone(&counters), Instant::now());
        let mut keeping = None;
        if let Some(Kept { keeper, within }) = kept {
            // Who comes meanwhile waits in the inbox.
            let kept = tokio::select! {
                kept = keeper.kept => kept,
                () = gives_up.cancelled() => {
                    told.send_replace(Loaded::Never("the server ends".to_owned()));
                    return;
                }
            };
            match kept {
                Ok(Ok(kept)) => session.restore(kept),
                Ok(Err(error)) => {
                    told.send_replace(Loaded::Never(error.to_string()));
                    return;
                }
                Err(_) => {
                    let why = "the thread that loads the session is gone".to_owned();
                    told.send_replace(Loaded::Never(why));
                    return;
                }
            }
            keeping = Some(Keeping::new(
                keeper.tasks,
                keeper.reports,
                keeper.health,
                within,
            ));
        }
        told.send_replace(Loaded::Since(Instant::now()));
        let ends = Ends {
            keeping,
            gate: closing,
            counters,
            user_count: counted,
            backups,
            room,
        };
        run(session, ends, letters).await;
    });
    Handle {
        inbox,
        user_count,
        loaded,
        given_up,
        gate,
        room: arrivals,
    }
}

/// What the actor woke up for.
enum Woken {
    Letters(usize),
    Done(Result<Done, JoinError>),
    /// `None`: the thread that writes is gone.
    Report(Option<Written>),
    Timer,
}

/// The other ends of the actor's channels, and what it counts with.
struct Ends {
    keeping: Option<Keeping>,
    gate: Gate,
    counters: Arc<Counters>,
    user_count: watch::Sender<usize>,
    backups: mpsc::Sender<Wanted>,
    /// Where jobs build what they need.
    room: Room,
}

async fn run<O: Outlet>(
    mut session: Session<O>,
    ends: Ends,
    mut letters: mpsc::Receiver<Letter<O>>,
) {
    let Ends {
        mut keeping,
        gate,
        counters,
        user_count,
        backups,
        room,
    } = ends;
    let mut batch = Vec::with_capacity(BATCH);
    let mut jobs = JoinSet::new();
    loop {
        while jobs.len() < JOBS
            && let Some(job) = guarded(&counters, || session.next_job(Instant::now())).flatten()
        {
            jobs.spawn(folding::work(job, room.clone()));
        }
        let timer = session.next_timer().unwrap_or_else(Instant::now);
        let due = keeping.as_ref().and_then(Keeping::due).unwrap_or(timer);
        let woken = tokio::select! {
            received = letters.recv_many(&mut batch, BATCH) => Woken::Letters(received),
            Some(done) = jobs.join_next() => Woken::Done(done.flatten()),
            report = report(keeping.as_mut()) => Woken::Report(report),
            () = sleep_until(timer.min(due)) => Woken::Timer,
        };
        // Where nobody may be told of a change before it is safe, nobody is told of anything
        // until what comes of this turn has been written.
        let each = keeping.as_ref().is_some_and(Keeping::is_each);
        if each {
            gate.close();
        }
        match woken {
            Woken::Letters(0) => return,
            Woken::Done(Ok(done)) => {
                guarded(&counters, || session.folded(done, Instant::now()));
            }
            Woken::Done(Err(error)) => {
                error!(name: "session.job_lost", %error, "work on a node was lost");
            }
            Woken::Report(report) => {
                if let Some(keeping) = &mut keeping {
                    guarded(&counters, || {
                        keeping.heard(&mut session, report, &counters, Instant::now());
                    });
                }
            }
            Woken::Letters(_) | Woken::Timer => {}
        }
        for letter in batch.drain(..) {
            match letter {
                Letter::Events {
                    peer,
                    mut events,
                    _paid,
                } => {
                    // They were read together; asking for the time for each would cost as much as
                    // many of them do.
                    let now = Instant::now();
                    for event in events.drain() {
                        guarded(&counters, || session.handle(&peer, event, now));
                    }
                }
                Letter::Close { reason, done } => {
                    guarded(&counters, || session.close(reason, Instant::now()));
                    let _ = done.send(());
                }
                Letter::Save(done) => match &mut keeping {
                    Some(keeping) => keeping.save(session.sequence(), done),
                    None => drop(done.send(Ok(()))),
                },
                Letter::Ask(question) => {
                    guarded(&counters, || question(&mut session, Instant::now()));
                }
            }
        }
        guarded(&counters, || session.tick(Instant::now()));
        if let Some((occasion, snapshot)) = session.take_wanted_backup()
            && backups.try_send((occasion, snapshot)).is_err()
        {
            warn!(name: "backup.busy", reason = occasion.word(),
                "other backups are being made: this one is left out");
        }
        if let Some(keeping) = &mut keeping {
            guarded(&counters, || {
                keeping.step(&mut session, Instant::now());
            });
            // The end of an upload brings what had to wait for it.
            while each && keeping.is_writing() {
                let report = keeping.report().await;
                guarded(&counters, || {
                    keeping.heard(&mut session, report, &counters, Instant::now());
                });
                guarded(&counters, || {
                    keeping.step(&mut session, Instant::now());
                });
            }
        }
        if each {
            gate.open();
        }
        let count = session.user_count();
        user_count.send_if_modified(|known| std::mem::replace(known, count) != count);
    }
}

/// What the store says of what it was given; never, if there is nothing.
async fn report(keeping: Option<&mut Keeping>) -> Option<Written> {
    match keeping {
        Some(keeping) if keeping.is_busy() => keeping.report().await,
        _ => std::future::pending().await,
    }
}
