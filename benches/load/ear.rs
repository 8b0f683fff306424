//! What one client hears, and what all of them note of it.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::Future;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use memchr::memmem;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer};
use multi_user_server::wire::command::CommandLimits;
use multi_user_server::wire::identity::NodeId;
use tokio::sync::Notify;

use crate::link::Heads;
use crate::payload::{Purpose, Stamp};

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// What all clients share: a clock, and a bell that rings when anybody has heard something.
#[derive(Debug)]
pub(crate) struct Room {
    start: Instant,
    news: Notify,
    /// Whether what arrives is timed.
    pub(crate) timing: Cell<bool>,
    /// What is stamped before is not timed.
    pub(crate) since: Cell<u64>,
    /// Clients from this one on are not timed either: they may get what was sent before they came.
    pub(crate) newcomers: Cell<u16>,
    /// Microseconds from sending to arrival.
    pub(crate) delays: RefCell<Vec<u32>>,
}

impl Room {
    pub(crate) fn new() -> Rc<Self> {
        Rc::new(Self {
            start: Instant::now(),
            news: Notify::new(),
            timing: Cell::new(false),
            since: Cell::new(0),
            newcomers: Cell::new(u16::MAX),
            delays: RefCell::default(),
        })
    }

    /// Nanoseconds since the start.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap()
    }

    /// Times what is sent from now on.
    pub(crate) fn begin_timing(&self) {
        self.delays.borrow_mut().clear();
        self.since.set(self.now());
        self.timing.set(true);
    }

    /// Ends it; gives the delays in milliseconds, shortest first.
    pub(crate) fn end_timing(&self) -> Vec<f64> {
        self.timing.set(false);
        let mut delays = self.delays.take();
        delays.sort_unstable();
        delays
            .into_iter()
            .map(|micros| f64::from(micros) / 1e3)
            .collect()
    }

    fn time(&self, who: u16, stamp: &Stamp) {
        if self.timing.get() && stamp.at >= self.since.get() && who < self.newcomers.get() {
            let micros = (self.now() - stamp.at) / 1000;
            self.delays
                .borrow_mut()
                .push(u32::try_from(micros).unwrap_or(u32::MAX));
        }
    }

    /// Waits until something holds. What it depends on is what clients hear.
    pub(crate) async fn until(&self, what: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
        let waiting = async {
            while !holds() {
                self.news.notified().await;
            }
        };
        patiently(what, waiting).await
    }

    /// The same, for at most so long. Whether it came to hold.
    pub(crate) async fn within(&self, limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
        let waiting = async {
            while !holds() {
                self.news.notified().await;
            }
        };
        tokio::time::timeout(limit, waiting).await.is_ok()
    }
}

/// Waits for something that must happen.
pub(crate) async fn patiently<T>(what: &str, work: impl Future<Output = T>) -> Result<T> {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(done) => Ok(done),
        Err(_) => bail!("{what} did not come within {PATIENCE:?}"),
    }
}

/// One client's.
#[derive(Debug)]
pub(crate) struct Ear {
    pub(crate) room: Rc<Room>,
    /// Whose it is.
    index: u16,
    /// Whether it has joined: from then on answers are of no interest.
    pub(crate) working: Cell<bool>,
    pub(crate) answers: RefCell<VecDeque<OwnedAnswer>>,
    /// Nodes that came because they were asked for.
    pub(crate) fetched: Cell<u64>,
    pub(crate) awaited: Cell<Option<NodeId>>,
    header: Cell<Option<NodeId>>,
    /// Changes that others made.
    pub(crate) updates: Cell<u64>,
    /// When the last one came.
    pub(crate) last: Cell<u64>,
    /// The newest change of each node, as far as somebody wants to know.
    pub(crate) newest: RefCell<Option<HashMap<u32, u64>>>,
    views: RefCell<HashMap<u16, u64>>,
    /// Views of others.
    pub(crate) viewed: Cell<u64>,
    /// Which link was closed by the server.
    pub(crate) cut: Cell<Option<&'static str>>,
    pub(crate) stopped: Cell<bool>,
    /// Bytes per second that it reads of its data link.
    pub(crate) speed: Cell<f64>,
    pub(crate) resumed: Notify,
}

impl Ear {
    pub(crate) fn new(room: &Rc<Room>, index: u16) -> Rc<Self> {
        Rc::new(Self {
            room: Rc::clone(room),
            index,
            working: Cell::new(false),
            answers: RefCell::default(),
            fetched: Cell::new(0),
            awaited: Cell::new(None),
            header: Cell::new(None),
            updates: Cell::new(0),
            last: Cell::new(0),
            newest: RefCell::new(None),
            views: RefCell::default(),
            viewed: Cell::new(0),
            cut: Cell::new(None),
            stopped: Cell::new(false),
            speed: Cell::new(f64::INFINITY),
            resumed: Notify::new(),
        })
    }

    /// A link has ended.
    pub(crate) fn cut(&self, link: &'static str) {
        self.cut.set(Some(link));
        self.room.news.notify_waiters();
    }

    /// Something on the data link.
    pub(crate) fn on_data(&self, heads: &Heads) {
        // Four ports: a header, whose second frame is the uuid, and what belongs to it.
        if heads.count() == 6 {
            self.header.set(NodeId::new(heads.head(1)));
            return;
        }
        let awaited = self.awaited.get();
        if awaited.is_some() && self.header.take() == awaited {
            self.awaited.set(None);
            bump(&self.fetched);
            self.room.news.notify_waiters();
            return;
        }
        let Some(stamp) = Stamp::first(heads.last()) else {
            return;
        };
        if stamp.purpose == Purpose::Live as u16 {
            bump(&self.updates);
            self.last.set(self.room.now());
            self.room.time(self.index, &stamp);
            if let Some(newest) = &mut *self.newest.borrow_mut() {
                newest.insert(stamp.node, stamp.number);
            }
            self.room.news.notify_waiters();
        }
    }

    /// Something on the command link.
    pub(crate) fn on_command(&self, heads: &Heads) {
        if self.working.get() {
            // The update itself, or (four ports) a dict of all users with all their views.
            for stamp in Stamp::all(heads.last()) {
                if stamp.purpose == Purpose::View as u16 && stamp.sender != self.index {
                    self.on_view(&stamp);
                }
            }
            return;
        }
        let head = heads.last();
        let start = &head[..head.len().min(64)];
        if heads.len() > 1500
            && memmem::find(start, b"SET").is_some()
            && memmem::find(start, b"CATALOG").is_none()
        {
            bump(&self.fetched);
            self.room.news.notify_waiters();
        } else if let Some(message) = heads.whole()
            && let Ok(answer) = decode_answer(&message, &CommandLimits::default())
        {
            match answer {
                OwnedAnswer::Users(_) | OwnedAnswer::Metadata { .. } => {}
                OwnedAnswer::Set(_) | OwnedAnswer::Removed => bump(&self.fetched),
                answer => self.answers.borrow_mut().push_back(answer),
            }
            self.room.news.notify_waiters();
        }
    }

    fn on_view(&self, stamp: &Stamp) {
        let mut views = self.views.borrow_mut();
        let known = views.entry(stamp.sender).or_default();
        if stamp.number > *known {
            *known = stamp.number;
            bump(&self.viewed);
            self.room.time(self.index, stamp);
            self.room.news.notify_waiters();
        }
    }

    /// The next answer to the client's liking; others are forgotten.
    pub(crate) async fn answer<T>(
        &self,
        what: &str,
        mut find: impl FnMut(OwnedAnswer) -> Option<T>,
    ) -> Result<T> {
        let mut found = None;
        let mut gone = None;
        self.room
            .until(what, || {
                while let Some(answer) = self.answers.borrow_mut().pop_front() {
                    if let OwnedAnswer::Disconnect { reason } = &answer {
                        gone = Some(reason.clone());
                    }
                    found = find(answer);
                    if found.is_some() {
                        return true;
                    }
                }
                gone.is_some() || self.cut.get().is_some()
            })
            .await?;
        match found {
            Some(found) => Ok(found),
            None => bail!(
                "instead of {what} the end came: {:?} {:?}",
                gone,
                self.cut.get()
            ),
        }
    }
}

fn bump(count: &Cell<u64>) {
    count.set(count.get() + 1);
}
