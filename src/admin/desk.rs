//! Carries orders out: asks the session, has backups made, ends the server. Those about `nodes`, and
//! about what is `kept`, are in modules of their own.

mod kept;
mod nodes;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::answer::Answer;
use super::exchange;
use super::order::Order;
use super::stats::{BackupStats, DurabilityStats, Stats};
use crate::backup::{Backups, unix_seconds};
use crate::counters::Counters;
use crate::session::{Handle, Outlet, Session};
use crate::store::Health;
use crate::text::shown;

/// The session answers at once, or is being loaded.
const PATIENCE: Duration = Duration::from_secs(5);
const NO_ANSWER: &str = "the session does not answer; it may still be loaded, try again";

/// Where orders are carried out. Cheap to clone.
#[derive(Debug)]
pub(crate) struct Desk<O> {
    session: Handle<O>,
    backups: Backups,
    counters: Arc<Counters>,
    health: Health,
    data_dir: PathBuf,
    /// When the server is to end.
    stop: watch::Sender<Option<Instant>>,
    max_bytes: usize,
    started: Instant,
}

impl<O> Clone for Desk<O> {
    fn clone(&self) -> Self {
        Self {
            session: self.session.clone(),
            backups: self.backups.clone(),
            counters: Arc::clone(&self.counters),
            health: self.health.clone(),
            data_dir: self.data_dir.clone(),
            stop: self.stop.clone(),
            max_bytes: self.max_bytes,
            started: self.started,
        }
    }
}

impl<O: Outlet + Sync> Desk<O> {
    pub(crate) fn new(
        session: Handle<O>,
        backups: Backups,
        counters: Arc<Counters>,
        health: Health,
        data_dir: PathBuf,
        max_bytes: usize,
    ) -> Self {
        exchange::tidy(&data_dir, &backups.policy().session);
        Self {
            session,
            backups,
            counters,
            health,
            data_dir,
            stop: watch::Sender::new(None),
            max_bytes,
            started: Instant::now(),
        }
    }

    /// Carries out an order.
    ///
    /// # Errors
    /// Why it was not, in words for whoever gave it.
    pub(crate) async fn perform(&self, order: Order) -> Result<Answer, String> {
        match order {
            Order::Users => {
                let users = self.ask(|session, _| session.user_infos()).await?;
                Ok(Answer::Users { users })
            }
            Order::Kick { name } => self.kick(name).await,
            Order::Say { text } => self.say(text.join(" ")).await,
            Order::Nodes { which } => self.list_nodes(which).await,
            Order::Quarantine { node } => self.quarantine(&node).await,
            Order::Release { node } => self.release(&node).await,
            Order::Rights { which, owner } => match (which, owner) {
                (Some(which), Some(owner)) => self.give(which, owner).await,
                _ => self.owners().await,
            },
            Order::Save => self.save().await,
            Order::Backup => self.back_up().await,
            Order::Restore { backup: None, .. } => self.list_backups().await,
            Order::Restore {
                backup: Some(which),
                through,
            } => self.restore(which, through).await,
            Order::Reset => self.reset().await,
            Order::Stats => self.stats().await,
            Order::Stop { notice } => self.stop(notice.unwrap_or_default()).await,
            Order::Export { path, through } => self.export(path, through).await,
        }
    }

    /// Waits until somebody has ordered the server to end, and the notice is over.
    pub(crate) async fn wait_for_stop(&self) {
        let mut stop = self.stop.subscribe();
        loop {
            let due = *stop.borrow_and_update();
            let due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = due => return,
                // Its sender is ours.
                _ = stop.changed() => {}
            }
        }
    }

    async fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Session<O>, Instant) -> R + Send + 'static,
    ) -> Result<R, String> {
        // Whoever is told to try again does, and would have it done twice: so the question is asked
        // or given up, whichever comes first.
        let taken = Arc::new(AtomicBool::new(false));
        let asked = {
            let taken = Arc::clone(&taken);
            self.session.ask(move |session, now| {
                let given_up = taken.swap(true, Ordering::Relaxed);
                (!given_up).then(|| question(session, now))
            })
        };
        tokio::pin!(asked);
        let answer = match timeout(PATIENCE, &mut asked).await {
            Ok(answer) => answer,
            Err(_) if taken.swap(true, Ordering::Relaxed) => asked.await,
            Err(_) => None,
        };
        answer.flatten().ok_or_else(|| NO_ANSWER.to_owned())
    }

    async fn kick(&self, name: String) -> Result<Answer, String> {
        let kicked = name.clone();
        match self.ask(move |s, now| s.remove(&name, now)).await? {
            true => Ok(Answer::Kicked { kicked }),
            false => Err(format!("can't kick {}, user not found", shown(&kicked))),
        }
    }

    async fn say(&self, text: String) -> Result<Answer, String> {
        let users = self
            .ask(move |session, now| session.say(&text, now))
            .await?;
        Ok(Answer::Said { users: users? })
    }

    async fn stats(&self) -> Result<Answer, String> {
        let (max_bytes, started) = (self.max_bytes, self.started);
        let name = self.backups.policy().session.clone();
        let status = self.backups.status();
        let backup = BackupStats {
            last: status.last.map(|made| made.path),
            at: status.at.map(unix_seconds),
            failed: status.failed,
        };
        let counters = self.counters.to_json();
        let damaged = self.health.is_damaged();
        let stats = self.ask(move |session, now| Stats {
            server: env!("CARGO_PKG_VERSION"),
            uptime: now.duration_since(started).as_secs(),
            session: name,
            clients: session.version().map(str::to_owned),
            users: session.user_count(),
            nodes: session.node_count(),
            aside: session.aside_count(),
            bytes: session.bytes(),
            max_bytes,
            sequence: session.sequence(),
            durability: DurabilityStats::of(session.durability(), damaged),
            backup,
            counters,
        });
        Ok(Answer::Stats(Box::new(stats.await?)))
    }

    async fn stop(&self, notice: Duration) -> Result<Answer, String> {
        let seconds = notice.as_secs();
        info!(name: "operator.stop", seconds, "the operator ends the server");
        if !notice.is_zero() {
            let text = format!("the server ends in {}", humantime::format_duration(notice));
            // They are told again when it ends.
            let _ = self.say(text).await;
        }
        self.stop.send_replace(Some(Instant::now() + notice));
        Ok(Answer::Stopping { seconds })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::backup::{self, Limits, Policy};
    use crate::config::Config;
    use crate::ports::Peer;
    use crate::session::{self, Settings, settings};
    use crate::store::{self, Keeper};

    /// A desk whose session is being loaded, for as long as nobody lends a hand.
    pub(crate) fn at_work() -> (Desk<Arc<Peer>>, store::Hand, tempfile::TempDir) {
        let data = tempfile::tempdir().unwrap();
        let config = Config {
            data_dir: data.path().to_owned(),
            ..Config::default()
        };
        let counters = Arc::new(Counters::new(Duration::ZERO));
        let (keeper, hand) = Keeper::by_hand();
        let kept = session::Kept {
            keeper,
            within: Duration::ZERO,
        };
        let (want, wanted) = mpsc::channel(1);
        let settings = Settings::new(&config, 1 << 20, 1 << 20);
        let session =
            session::spawn::<Arc<Peer>>(settings, Arc::clone(&counters), Some(kept), want);
        let limits = Limits::new(&config, 1 << 20, settings::content(&config, 1 << 20));
        let backups = backup::start(Policy::new(&config, limits), session.clone(), wanted);
        let health = Health::default();
        let desk = Desk::new(session, backups, counters, health, config.data_dir, 1 << 20);
        (desk, hand, data)
    }

    /// What is not answered before somebody is told to try again is never done.
    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_try_again_finds_nothing_done() {
        let (desk, hand, _data) = at_work();
        let (done, was_done) = std::sync::mpsc::channel();
        let again = done.clone();
        let refused = desk.ask(move |_, _| done.send("too late")).await;
        assert_eq!(refused.unwrap_err(), NO_ANSWER);
        hand.loaded.send(Ok(store::Kept::default())).unwrap();
        desk.ask(move |_, _| again.send("in time"))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(was_done.iter().collect::<Vec<_>>(), ["in time"]);
    }
}
