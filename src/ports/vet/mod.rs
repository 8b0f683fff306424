//! Looks into what users push before anybody else gets it.
//!
//! What is not fit for others ([`fit`](crate::wire::fit)) goes no further: its sender gets the node's true
//! state back. Each connection's reading task does that itself, for small messages at once; large ones
//! and those of many values are looked into on another thread.

mod look;
#[cfg(test)]
mod tests;

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use self::look::{cost_of_weighing, look_briefly, look_into, look_without_reading, weigh};
use super::context::Context;
use super::peer::Peer;
use crate::config::WorkerThreads;
use crate::counters::Count;
use crate::memory::spare;
use crate::session::Event;
use crate::session::events::Events;
use crate::session::outlet::Outlet;
use crate::wire::command::{Command, Request};
use crate::wire::dialect::Dialect;
use crate::wire::fit::{Looked, Part, Unfit, Weighed};
use crate::wire::identity::NodeId;
use crate::wire::intake::BIG;
use crate::wire::node::Update;

/// After one larger than this others get their turn: a read may bring hundreds, which together
/// would keep a thread for a tenth of a second.
const TURN: usize = 4 * 1024;
/// Messages with so many small values are worth another processor, where they come one after the other: to
/// look into them takes 30 µs, in which others are written to…
const MANY: usize = 12 * 1024;
/// …but not where this much time is between them: the way there and back takes 70 µs if nobody is awake.
const PAUSE: Duration = Duration::from_millis(2);
/// Bytes of a long string that count as a value.
const STRETCH: usize = 64;

/// Who may be asked to look into messages: the processors beyond those that carry the work.
pub(crate) fn helpers(workers: WorkerThreads) -> Arc<Semaphore> {
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    let helpers = processors.saturating_sub(workers.resolve());
    Arc::new(Semaphore::new(helpers.min(Semaphore::MAX_PERMITS)))
}

/// Looks into what comes on one connection.
pub(crate) struct Vetting {
    looker: Looker,
    /// What the last messages were like…
    last: Seen,
    /// …and when they had been looked into.
    done: Instant,
}

impl Vetting {
    /// For the connection of a peer.
    pub(crate) fn new(peer: Arc<Peer>, context: Context) -> Self {
        Self {
            looker: Looker { peer, context },
            last: Seen::default(),
            done: Instant::now(),
        }
    }

    /// Looks into all payloads. In the place of each that is not fit for others comes another event.
    pub(crate) async fn vet(&mut self, mut events: Events) -> Events {
        let live = |(_, payload, part): (_, &mut Bytes, _)| match part {
            // An upload is written to the disk meanwhile, which is what else processors have to do.
            Part::Set => 0,
            Part::Node | Part::Delta => payload.len(),
        };
        let payloads = events.iter_mut().filter_map(payload);
        let bytes = payloads.map(live).fold(0, usize::saturating_add);
        let (events, seen) = match self.helper(bytes) {
            Some(helper) => self.looker.elsewhere(events, helper).await,
            None => self.looker.here(events).await,
        };
        if seen.bytes > 0 {
            self.last = seen;
            self.done = Instant::now();
        }
        events
    }

    /// Somebody to look into so many bytes, if that is of use and somebody is free.
    fn helper(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        if !self.last.suggests_many(bytes) || self.done.elapsed() >= PAUSE {
            return None;
        }
        let helpers = Arc::clone(&self.looker.context.helpers);
        helpers.try_acquire_owned().ok()
    }
}

/// What messages were like that have been looked into.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Small values in them.
    values: usize,
    bytes: usize,
}

impl Seen {
    fn add(&mut self, values: usize, bytes: usize) {
        let small = values.saturating_sub(bytes / STRETCH);
        self.values = self.values.saturating_add(small);
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// Whether so many bytes of the same have many values.
    fn suggests_many(self, bytes: usize) -> bool {
        let values = self.values.saturating_mul(bytes);
        values.checked_div(self.bytes).unwrap_or(0) >= MANY
    }
}

/// Who looks, and for whom.
#[derive(Clone)]
struct Looker {
    peer: Arc<Peer>,
    context: Context,
}

impl Looker {
    /// Looks into all of them on this thread, unless one takes too long for that.
    async fn here(&self, mut events: Events) -> (Events, Seen) {
        let mut seen = Seen::default();
        let dialect = self.peer.dialect();
        for event in events.iter_mut() {
            let Some((payload, part, dialect)) = subject(event, dialect) else {
                continue;
            };
            let limits = &self.context.limits;
            let looked = match look_briefly(payload, part, dialect, limits) {
                Some(looked) => {
                    let rewritten = looked
                        .as_ref()
                        .is_ok_and(|looked| looked.rewritten.is_some());
                    if payload.len() > TURN || rewritten {
                        tokio::task::yield_now().await;
                    }
                    looked
                }
                None => self.at_length(payload.clone(), part, dialect).await,
            };
            self.conclude(event, looked, &mut seen);
        }
        (events, seen)
    }

    /// Looks into one on another thread; what has to be read, and is much, when there is room in memory.
    async fn at_length(
        &self,
        payload: Bytes,
        part: Part,
        dialect: &'static Dialect,
    ) -> Result<Looked, Unfit> {
        let limits = Arc::clone(&self.context.limits);
        let scan = {
            let (payload, limits) = (payload.clone(), Arc::clone(&limits));
            move || guarded(|| look_without_reading(&payload, part, dialect, &limits))
        };
        let scanned = tokio::task::spawn_blocking(scan).await;
        if let Some(looked) = scanned.unwrap_or(Err(Unfit::Fault))? {
            return Ok(looked);
        }
        let room = self.context.session.room();
        let weighing = cost_of_weighing(&payload, &limits, room.most());
        let weigh = move |most| match guarded(|| weigh(&payload, part, dialect, &limits, most)) {
            Ok(Weighed::Takes(bytes)) => Ok(((payload, part, dialect, limits), bytes)),
            Ok(Weighed::Looked(looked)) => Err(Ok(looked)),
            Err(unfit) => Err(Err(unfit)),
        };
        let looked = room.work(weighing, weigh, |(payload, part, dialect, limits)| {
            guarded(|| look_into(&payload, part, dialect, &limits))
        });
        looked.await.unwrap_or(Err(Unfit::Fault))
    }

    /// Looks into all of them on another thread, with the help of that.
    async fn elsewhere(&self, mut events: Events, helper: OwnedSemaphorePermit) -> (Events, Seen) {
        let looker = self.clone();
        let look = move || {
            let (mut seen, mut left) = (Seen::default(), Vec::new());
            let dialect = looker.peer.dialect();
            for (place, event) in events.iter_mut().enumerate() {
                let Some((payload, part, dialect)) = subject(event, dialect) else {
                    continue;
                };
                let limits = &looker.context.limits;
                match guarded(|| look_without_reading(payload, part, dialect, limits)).transpose() {
                    Some(looked) => looker.conclude(event, looked, &mut seen),
                    None => left.push(place),
                }
            }
            drop(helper);
            (events, seen, left)
        };
        let (mut events, mut seen, left) = match tokio::task::spawn_blocking(look).await {
            Ok(looked) => looked,
            // It ends the connection here as well: whoever pushed them must not believe that they went on.
            Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
            // The server ends.
            Err(_) => return Default::default(),
        };
        let dialect = self.peer.dialect();
        for place in left {
            if let Some(event) = events.iter_mut().nth(place)
                && let Some((payload, part, dialect)) = subject(event, dialect)
            {
                let looked = self.at_length(payload.clone(), part, dialect).await;
                self.conclude(event, looked, &mut seen);
            }
        }
        (events, seen)
    }

    /// Lets an event pass, or not.
    fn conclude(&self, event: &mut Event, looked: Result<Looked, Unfit>, seen: &mut Seen) {
        let Some((node, payload, _)) = payload(event) else {
            return;
        };
        match looked {
            Ok(looked) => {
                seen.add(looked.values, payload.len());
                match looked.rewritten {
                    Some(rewritten) => *payload = rewritten,
                    // It may be kept for long; the read buffer that it is in is to be used again.
                    None if payload.len() <= BIG => *payload = spare::copy(payload),
                    None => {}
                }
                if let Event::Update { plain, .. } = event {
                    *plain = looked.plain;
                }
            }
            Err(unfit) => {
                let what = format_args!("node {node}: {unfit}");
                let counters = &self.context.counters;
                counters.refuse(Count::RefusedPayload, self.peer.identity(), what);
                *event = Event::Unfit(node);
            }
        }
    }
}

/// What there is to look into, what it is part of, and how it is written. Who is not logged in, or is
/// leaving, has no dialect and nothing to push.
fn subject<'a>(
    event: &'a mut Event,
    dialect: Option<&'static Dialect>,
) -> Option<(&'a mut Bytes, Part, &'static Dialect)> {
    let Some(dialect) = dialect else {
        if let Some((node, ..)) = payload(event) {
            *event = Event::Unfit(node);
        }
        return None;
    };
    let (_, payload, part) = payload(event)?;
    Some((payload, part, dialect))
}

/// Looks into something. A fault in that is no permission.
fn guarded<T>(look: impl FnOnce() -> Result<T, Unfit>) -> Result<T, Unfit> {
    std::panic::catch_unwind(AssertUnwindSafe(look)).unwrap_or(Err(Unfit::Fault))
}

/// The payload of an event, whose it is, and what it is part of.
fn payload(event: &mut Event) -> Option<(NodeId, &mut Bytes, Part)> {
    match event {
        Event::Update {
            update: Update::Node(node),
            ..
        } => Some((node.id, &mut node.payload, Part::Node)),
        Event::Command(Command {
            request: Request::UploadSet(node),
            ..
        }) => Some((node.id, &mut node.payload, Part::Set)),
        Event::Update {
            update: Update::Delta(delta),
            ..
        } => Some((delta.id, &mut delta.delta, Part::Delta)),
        _ => None,
    }
}
