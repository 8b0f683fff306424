//! The thread that owns the store: it loads what was kept, and writes what the session hands over.
//!
//! Started by the server; the session's actor holds the other end of its channels.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tracing::{info, warn};

use super::{Batch, Claim, Meta, Options, Store, StoreError, Stored, Upcoming};
use crate::wire::identity::NodeId;

/// How often and after what time a store that somebody has is tried again: who looks at what is kept
/// has it for a moment, another server for as long as it runs.
const LOOKS: u32 = 40;
const PAUSE: Duration = Duration::from_millis(50);

/// What was kept of a session.
#[derive(Debug, Default)]
pub struct Kept {
    /// What it was, apart from its nodes.
    pub meta: Meta,
    /// How many changes it had seen.
    pub sequence: u64,
    /// Its nodes, in no order.
    pub nodes: Vec<(NodeId, Stored)>,
}

/// What the store has to do.
#[derive(Debug)]
pub enum Task {
    /// Make this happen.
    Batch(Batch),
    /// The same, with all there is: if what is on the disk is damaged, this takes its place.
    Whole(Batch),
    /// Write these before the batch that will have them comes. Who hands over many at once has that
    /// batch wait for them all.
    Stage(Vec<Upcoming>),
    /// No batch will have what was written ahead and not used yet.
    Unstage,
}

/// What became of a task.
#[derive(Debug)]
pub enum Written {
    /// It was no batch, and nobody need know whether it succeeded.
    Ahead,
    /// It is on the disk.
    Safe,
    /// It is not, because of this.
    Failed(String),
    /// Nor is anything else going to be: what is on the disk is damaged, and all there is has to be
    /// handed over, or again.
    Lost(String),
}

/// Whether all that counts can be read where it has been looked at. Cheap to clone.
///
/// It is up to date by the time a task is answered.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<AtomicBool>);

impl Health {
    /// Something cannot: the session goes on, but could not be loaded at the next start.
    pub fn is_damaged(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    fn note(&self, store: &Store) {
        self.0.store(store.spoilt, Ordering::Relaxed);
    }

    #[cfg(test)]
    pub(crate) fn say(&self, is_damaged: bool) {
        self.0.store(is_damaged, Ordering::Relaxed);
    }
}

/// The session's end of the thread.
#[derive(Debug)]
pub struct Keeper {
    /// What was kept, once it is loaded.
    pub kept: oneshot::Receiver<Result<Kept, StoreError>>,
    /// Takes one batch at a time, and one task of another kind.
    pub tasks: mpsc::Sender<Task>,
    /// Answers each of them.
    pub reports: mpsc::Receiver<Written>,
    /// How the store is.
    pub health: Health,
}

/// What a test does in the place of the thread.
#[cfg(test)]
pub(crate) struct Hand {
    pub(crate) loaded: oneshot::Sender<Result<Kept, StoreError>>,
    pub(crate) tasks: mpsc::Receiver<Task>,
    pub(crate) report: mpsc::Sender<Written>,
}

#[cfg(test)]
impl Keeper {
    /// One without a thread.
    pub(crate) fn by_hand() -> (Self, Hand) {
        let (loaded, kept) = oneshot::channel();
        let (give, tasks) = mpsc::channel(1);
        let (report, reports) = mpsc::channel(1);
        let keeper = Self {
            kept,
            tasks: give,
            reports,
            health: Health::default(),
        };
        let hand = Hand {
            loaded,
            tasks,
            report,
        };
        (keeper, hand)
    }
}

/// Opens the store of a session and starts the thread. It ends, and gives the store free, when
/// nobody can hand over tasks any more.
///
/// # Errors
/// If the directory cannot be used, another server uses it, or a newer one wrote it.
pub fn start(directory: &Path, options: Options) -> Result<Keeper, StoreError> {
    // Reading it takes its time, and nobody is to wait for that.
    let mut looks = 0..LOOKS;
    let wait = || looks.next().map(|_| thread::sleep(PAUSE)).is_some();
    let claim = claimed(directory, &options, wait)?;
    let (loaded, kept) = oneshot::channel();
    // A batch can be handed over while something is being written ahead.
    let (tasks, mut handed_over) = mpsc::channel::<Task>(2);
    let (report, reports) = mpsc::channel(2);
    let health = Health::default();
    let noted = health.clone();
    let work = move || {
        let mut nodes = Vec::new();
        let mut bytes = 0usize;
        let result = claim.load(|id, stored| {
            bytes = bytes.saturating_add(stored.base.len());
            nodes.push((id, stored));
        });
        let (mut store, meta, sequence) = match result {
            Ok(loaded) => loaded,
            Err(error) => {
                let _ = loaded.send(Err(error));
                return;
            }
        };
        if !nodes.is_empty() {
            info!(name: "session.loaded", nodes = nodes.len(), bytes, "session loaded");
        }
        let kept = Kept {
            meta,
            sequence,
            nodes,
        };
        if loaded.send(Ok(kept)).is_err() {
            return;
        }
        while let Some(task) = next(&mut handed_over, &mut store, &noted) {
            let outcome = done(&mut store, task);
            noted.note(&store);
            if report.blocking_send(outcome).is_err() {
                break;
            }
        }
        // Of an upload that the end of the server has broken off.
        store.unstage();
    };
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(work)
        .map_err(StoreError::Thread)?;
    Ok(Keeper {
        kept,
        tasks,
        reports,
        health,
    })
}

/// Takes the store. While somebody else has it, that is tried again if `wait` has waited.
pub(super) fn claimed(
    directory: &Path,
    options: &Options,
    mut wait: impl FnMut() -> bool,
) -> Result<Claim, StoreError> {
    loop {
        match Claim::new(directory, options.clone()) {
            Err(StoreError::Locked { .. }) if wait() => {}
            claimed => return claimed,
        }
    }
}

pub(super) fn done(store: &mut Store, task: Task) -> Written {
    let is_whole = matches!(task, Task::Whole(_));
    // It still takes what changes: where it cannot be left behind, that is written to it as before.
    if let Task::Whole(batch) = &task
        && store.is_spoilt()
        && !store.can_be_read_after_all()
    {
        match store.renew(batch) {
            Ok(()) => return Written::Safe,
            Err(error) => {
                warn!(name: "store.renewal_failed", %error,
                    "what is kept of the session is still damaged; it cannot be written anew");
            }
        }
    }
    match task {
        Task::Batch(batch) | Task::Whole(batch) => match store.commit(&batch) {
            Ok(()) => Written::Safe,
            Err(StoreError::Damaged { .. }) if is_whole => match store.renew(&batch) {
                Ok(()) => Written::Safe,
                Err(error) => Written::Lost(error.to_string()),
            },
            Err(StoreError::Damaged { what, path }) => {
                Written::Lost(format!("{} is damaged ({what})", path.display()))
            }
            Err(error) => Written::Failed(error.to_string()),
        },
        Task::Stage(upcoming) => {
            store.stage(upcoming);
            Written::Ahead
        }
        Task::Unstage => {
            store.unstage();
            Written::Ahead
        }
    }
}

/// The next task. While there is none, space is given back, in short steps.
fn next(tasks: &mut mpsc::Receiver<Task>, store: &mut Store, health: &Health) -> Option<Task> {
    loop {
        match tasks.try_recv() {
            Ok(task) => return Some(task),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        // If that fails, the next batch does as well, and is heard of.
        let is_done = !store.is_wasteful() || store.tidy().is_err();
        health.note(store);
        if is_done {
            return tasks.blocking_recv();
        }
    }
}
