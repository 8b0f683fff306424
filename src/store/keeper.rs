//! The thread that owns the store: it loads what was kept, and writes what the session hands over.
//!
//! Started by the server; the session's actor holds the other end of its channels.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{mpsc, oneshot};
use tracing::info;

use super::{Batch, Claim, Meta, Options, Store, StoreError, Stored};
use crate::wire::identity::NodeId;

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

/// What became of a batch.
#[derive(Debug)]
pub enum Written {
    /// It is on the disk.
    Safe,
    /// It is not, because of this.
    Failed(String),
}

/// Whether all that counts can be read where it has been looked at. Cheap to clone.
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
}

/// The session's end of the thread.
#[derive(Debug)]
pub struct Keeper {
    /// What was kept, once it is loaded.
    pub kept: oneshot::Receiver<Result<Kept, StoreError>>,
    /// Takes one batch at a time.
    pub batches: mpsc::Sender<Batch>,
    /// Answers each of them.
    pub reports: mpsc::Receiver<Written>,
    /// How the store is.
    pub health: Health,
}

/// Opens the store of a session and starts the thread. It ends, and gives the store free, when
/// nobody can hand over batches any more.
///
/// # Errors
/// If the directory cannot be used, another server uses it, or a newer one wrote it.
pub fn start(directory: &Path, options: Options) -> Result<Keeper, StoreError> {
    // Reading it takes its time, and nobody is to wait for that.
    let claim = Claim::new(directory, options)?;
    let (loaded, kept) = oneshot::channel();
    let (batches, mut handed_over) = mpsc::channel::<Batch>(1);
    let (report, reports) = mpsc::channel(1);
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
        while let Some(batch) = next(&mut handed_over, &mut store, &noted) {
            let outcome = match store.commit(&batch) {
                Ok(()) => Written::Safe,
                Err(error) => Written::Failed(error.to_string()),
            };
            noted.note(&store);
            if report.blocking_send(outcome).is_err() {
                return;
            }
        }
    };
    thread::Builder::new()
        .name("store".to_owned())
        .spawn(work)
        .map_err(StoreError::Thread)?;
    Ok(Keeper {
        kept,
        batches,
        reports,
        health,
    })
}

/// The next batch. While there is none, space is given back, in short steps.
fn next(batches: &mut mpsc::Receiver<Batch>, store: &mut Store, health: &Health) -> Option<Batch> {
    loop {
        match batches.try_recv() {
            Ok(batch) => return Some(batch),
            Err(TryRecvError::Disconnected) => return None,
            Err(TryRecvError::Empty) => {}
        }
        // If that fails, the next batch does as well, and is heard of.
        let is_done = !store.is_wasteful() || store.tidy().is_err();
        health.note(store);
        if is_done {
            return batches.blocking_recv();
        }
    }
}
