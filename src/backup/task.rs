//! The task that makes the backups of one session, one at a time.
//!
//! Started by the server. It asks the session for a snapshot, which costs no payload's copy, and has
//! it written by a thread where it holds up nobody. What is asked for meanwhile waits.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot, watch};
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};
use tracing::{error, info, warn};

use super::trial;
use super::write::{self, Place, contents};
use super::{BackupError, Made, Policy, Reason};
use crate::config::{Interval, WhenEmpty};
use crate::session::snapshot::Wanted;
use crate::session::{Handle, Outlet, Snapshot};

/// Orders that may wait.
const INBOX: usize = 16;
/// Why those are sent away who come back while an abandoned session is emptied.
const ABANDONED: &str = "the session was empty for so long that it was reset";

/// How the last attempts went.
#[derive(Clone, Debug, Default, serde::Serialize)]
pub struct Status {
    /// The last backup.
    pub last: Option<Made>,
    /// When it was made.
    pub at: Option<SystemTime>,
    /// Why the attempt after it failed, if there was one.
    pub failed: Option<String>,
}

/// To make a backup.
struct Order {
    reason: Reason,
    when: When,
    done: oneshot::Sender<Result<Option<Made>, BackupError>>,
}

/// Which sessions a backup is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Always,
    /// Of those that have nodes. None is removed for it: another may take its place at once.
    First,
    /// Of those that have nodes, unless it is this state.
    IfNot(Option<u64>),
    /// Of those that are not what the last backup has.
    IfChanged,
}

/// Has backups made. Cheap to clone; the task ends with the last one.
#[derive(Clone, Debug)]
pub struct Backups {
    orders: mpsc::Sender<Order>,
    status: watch::Receiver<Status>,
    policy: Arc<Policy>,
    /// Who has it may put another session in the place of the present one.
    turn: Arc<Mutex<()>>,
}

impl Backups {
    /// Makes a backup.
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make(&self, reason: Reason) -> Result<Made, BackupError> {
        let made = self.order(reason, When::Always).await?;
        made.ok_or(BackupError::Ended)
    }

    /// Makes a backup while artists may go on, unless the session is empty. `None` then. What
    /// comes of it goes to [`Self::make_again`].
    ///
    /// # Errors
    /// Why there is none.
    pub async fn make_first(&self, reason: Reason) -> Result<Option<Made>, BackupError> {
        self.order(reason, When::First).await
    }

    /// Makes a backup in the place of the first one, if anything has changed since.
    ///
    /// # Errors
    /// Why there is none. The first one stays.
    pub async fn make_again(
        &self,
        reason: Reason,
        first: Option<Made>,
    ) -> Result<Option<Made>, BackupError> {
        let state = first.as_ref().and_then(|first| first.state);
        let Some(made) = self.order(reason, When::IfNot(state)).await? else {
            return Ok(first);
        };
        if let Some(first) = first {
            // If it stays, there is one backup more.
            let _ = tokio::task::spawn_blocking(move || std::fs::remove_file(first.path)).await;
        }
        Ok(Some(made))
    }

    /// The backup at the server's end, if one is configured.
    pub async fn make_last(&self) {
        if self.policy.on_stop {
            // What failed is in the log.
            let _ = self.order(Reason::Stop, When::IfChanged).await;
        }
    }

    /// Has one made in a while; what comes of it is in the log.
    #[cfg(unix)]
    pub(crate) fn make_soon(&self, reason: Reason) {
        let (done, _) = oneshot::channel();
        let order = Order {
            reason,
            when: When::Always,
            done,
        };
        if self.orders.try_send(order).is_err() {
            warn!(name: "backup.busy", "other backups are being made: this one is left out");
        }
    }

    async fn order(&self, reason: Reason, when: When) -> Result<Option<Made>, BackupError> {
        let (done, made) = oneshot::channel();
        let order = Order { reason, when, done };
        let sent = self.orders.send(order).await;
        sent.map_err(|_| BackupError::Ended)?;
        made.await.map_err(|_| BackupError::Ended)?
    }

    /// Waits until nobody else is putting another session in the place of the present one.
    pub(super) async fn turn(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// How the last attempts went.
    pub fn status(&self) -> Status {
        self.status.borrow().clone()
    }

    /// When they are made, and where.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// Starts the task. `wanted` is what the session asks for by itself.
pub fn start<O: Outlet + Sync>(
    policy: Policy,
    session: Handle<O>,
    wanted: mpsc::Receiver<Wanted>,
) -> Backups {
    let (orders, received) = mpsc::channel(INBOX);
    let (status, seen) = watch::channel(Status::default());
    let policy = Arc::new(policy);
    let task = Task {
        policy: Arc::clone(&policy),
        session,
        status,
        saved: None,
    };
    tokio::spawn(task.run(received, wanted));
    Backups {
        orders,
        status: seen,
        policy,
        turn: Arc::default(),
    }
}

struct Task<O> {
    policy: Arc<Policy>,
    session: Handle<O>,
    status: watch::Sender<Status>,
    /// The last backup: what tells its state from others, and its file.
    saved: Option<(u64, PathBuf)>,
}

/// Puts the folder in order and says so if it is of no use: whoever started the server is still there
/// then. Gives the newest backup, as [`write::tidy`] does.
fn begin(policy: &Policy) -> Option<(u64, PathBuf)> {
    let saved = write::tidy(&policy.dir, &policy.session);
    if policy.unasked
        && let Err(error) = trial::attempt(&policy.dir, &policy.session)
    {
        warn!(name: "backup.unusable", dir = %policy.dir.display(), %error, "no backup can be made in this \
            folder: mend that, or name another one in backup.dir");
    }
    saved
}

/// What the task woke up for.
enum Woken {
    Order(Order),
    Wanted(Wanted),
    Time,
    Users,
    Abandoned,
}

impl<O: Outlet + Sync> Task<O> {
    async fn run(mut self, mut orders: mpsc::Receiver<Order>, mut wanted: mpsc::Receiver<Wanted>) {
        let begin = {
            let policy = Arc::clone(&self.policy);
            tokio::task::spawn_blocking(move || begin(&policy))
        };
        self.saved = begin.await.ok().flatten();
        let mut users = self.session.user_count();
        let mut count = 0;
        let mut empty_since = Some(Instant::now());
        let period = match self.policy.interval {
            Interval::Every(period) => Some(period),
            Interval::Off => None,
        };
        let mut ticks = period.map(|period| interval_at(Instant::now() + period, period));
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        loop {
            let tick = async {
                match &mut ticks {
                    Some(ticks) => drop(ticks.tick().await),
                    None => std::future::pending().await,
                }
            };
            let abandoned = async {
                match (self.policy.when_empty, empty_since) {
                    (WhenEmpty::ResetAfter(after), Some(since)) => sleep_until(since + after).await,
                    _ => std::future::pending().await,
                }
            };
            let woken = tokio::select! {
                order = orders.recv() => match order {
                    Some(order) => Woken::Order(order),
                    None => return,
                },
                Some(wanted) = wanted.recv() => Woken::Wanted(wanted),
                () = tick => Woken::Time,
                changed = users.changed() => match changed {
                    Ok(()) => Woken::Users,
                    Err(_) => return,
                },
                () = abandoned => Woken::Abandoned,
            };
            match woken {
                Woken::Order(Order { reason, when, done }) => {
                    let made = self.make(reason, when).await;
                    let _ = done.send(made);
                }
                Woken::Wanted((occasion, snapshot)) => {
                    if self.is_news(&snapshot) {
                        // What failed is in the log.
                        let _ = self.write(occasion.into(), snapshot, true).await;
                    }
                }
                Woken::Time => drop(self.make(Reason::Interval, When::IfChanged).await),
                Woken::Users => {
                    let before = std::mem::replace(&mut count, *users.borrow_and_update());
                    if count > 0 {
                        empty_since = None;
                    } else if before > 0 {
                        empty_since = Some(Instant::now());
                        self.all_left().await;
                    }
                }
                Woken::Abandoned => {
                    empty_since = None;
                    self.reset().await;
                }
            }
        }
    }

    async fn make(&mut self, reason: Reason, when: When) -> Result<Option<Made>, BackupError> {
        let snapshot = self.session.ask(|session, _| session.snapshot()).await;
        let snapshot = snapshot.ok_or(BackupError::Ended)?;
        let wanted = match when {
            When::Always => true,
            When::First => !snapshot.is_empty(),
            When::IfNot(state) => !snapshot.is_empty() && Some(snapshot.fingerprint()) != state,
            When::IfChanged => self.is_news(&snapshot),
        };
        if !wanted {
            return Ok(None);
        }
        let removes = when != When::First;
        self.write(reason, snapshot, removes).await.map(Some)
    }

    /// Nobody is there any more, and nobody has sent them away to do something with the session.
    async fn all_left(&mut self) {
        let closed = self.session.ask(|session, _| session.is_closed()).await;
        if self.policy.on_leave && closed == Some(false) {
            // What failed is in the log.
            let _ = self.make(Reason::Left, When::IfChanged).await;
        }
    }

    /// Whether there is anything in it that is not in the last backup.
    fn is_news(&self, snapshot: &Snapshot) -> bool {
        let same = |(state, path): &(u64, PathBuf)| {
            // Somebody may have removed it.
            *state == snapshot.fingerprint() && path.exists()
        };
        !snapshot.is_empty() && !self.saved.as_ref().is_some_and(same)
    }

    /// Writes one; `removes` those of which there are too many then.
    async fn write(
        &mut self,
        reason: Reason,
        snapshot: Snapshot,
        removes: bool,
    ) -> Result<Made, BackupError> {
        let began = Instant::now();
        let policy = Arc::clone(&self.policy);
        let work = move || {
            let place = Place {
                dir: &policy.dir,
                session: &policy.session,
                content: policy.limits.content(),
            };
            let made = place.write(reason, contents(&snapshot))?;
            if removes {
                // Which there are too many of is known only now.
                policy.remove_surplus(&made.path);
            }
            Ok(made)
        };
        let made = tokio::task::spawn_blocking(work).await;
        let made = made.unwrap_or(Err(BackupError::Ended));
        match &made {
            Ok(made) => {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                info!(name: "backup.made", file = %made.path.display(), reason = reason.word(),
                    nodes = made.nodes, without_changes = made.without_changes.len(),
                    bytes = made.bytes, ms, "backup made");
                self.saved = made.state.map(|state| (state, made.path.clone()));
                self.status.send_replace(Status {
                    last: Some(made.clone()),
                    at: Some(SystemTime::now()),
                    failed: None,
                });
            }
            Err(error) => {
                error!(name: "backup.failed", reason = reason.word(), %error,
                    "no backup could be made");
                self.status
                    .send_modify(|status| status.failed = Some(error.to_string()));
            }
        }
        made
    }

    /// Empties a session nobody came back to, once there is a backup of it.
    async fn reset(&mut self) {
        let snapshot = self.session.ask(|session, _| session.snapshot()).await;
        let Some(snapshot) = snapshot else {
            return;
        };
        if snapshot.is_empty() {
            return;
        }
        let sequence = snapshot.sequence;
        // What the last backup has is not known if it was made before the start.
        let last = self.status.borrow().last.clone();
        let made = match last.filter(|_| !self.is_news(&snapshot)) {
            Some(made) => Ok(made),
            None => self.write(Reason::Reset, snapshot, true).await,
        };
        match made {
            // An operator may decide to lose them; nobody is asked here.
            Ok(made) if !made.without_changes.is_empty() => {
                let nodes = made.without_changes.len();
                warn!(name: "session.not_reset", nodes, "the session is not reset by itself: the \
                    backup has nodes without their last changes, which the server cannot read");
                return;
            }
            Ok(_) => {}
            Err(_) => {
                warn!(name: "session.not_reset", "the session is not reset without a backup of it");
                return;
            }
        }
        let emptied = self.session.ask(move |session, now| {
            if session.user_count() == 0 {
                let _ = session.replace(Snapshot::default(), Some(sequence), ABANDONED, now);
            }
        });
        emptied.await;
    }
}
