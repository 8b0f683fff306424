//! Carries orders out: asks the session, has backups made, ends the server.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::info;

use super::answer::{Answer, Owned};
use super::exchange;
use super::order::Order;
use super::stats::{BackupStats, DurabilityStats, Stats};
use crate::backup::{self, Backups, Reason, Swapped, unix_seconds};
use crate::counters::Counters;
use crate::session::snapshot::Durability;
use crate::session::{Handle, Listed, Outlet, Session, Snapshot};
use crate::store::Health;
use crate::text::shown;
use crate::wire::identity::NodeId;

/// The session answers at once, or is being loaded.
const PATIENCE: Duration = Duration::from_secs(5);
const NO_ANSWER: &str = "the session does not answer; it may still be loaded, try again";
const NOTHING_KEPT: &str = "nothing is kept on the disk: durability.flush is \"off\" (backup and session \
    export make files)";
/// What users read who are sent away so that another session can take the place of theirs.
const RESTORED: &str = "the session was put back to an earlier state, please join again";
const RESET: &str = "the session was reset, please join again";

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
            Order::Nodes { which } => {
                let fits = move |node: &Listed| {
                    node.owner == which || node.id.as_str().starts_with(&which)
                };
                let mut nodes = self.nodes().await?;
                nodes.retain(fits);
                let bytes = nodes.iter().map(|node| node.bytes).sum();
                Ok(Answer::Nodes { bytes, nodes })
            }
            Order::Quarantine { node } => {
                let id = self.find_node(&node, false).await?;
                match self.ask(move |s, now| s.quarantine(id, now)).await? {
                    true => Ok(Answer::Quarantined { quarantined: id }),
                    false => Err(format!("{id} is gone already")),
                }
            }
            Order::Release { node } => {
                let id = self.find_node(&node, true).await?;
                match self.ask(move |s, now| s.release(id, now)).await? {
                    Ok(()) => Ok(Answer::Released { released: id }),
                    Err(error) => Err(format!("{id} {error}")),
                }
            }
            Order::Rights { which, owner } => match (which, owner) {
                (Some(which), Some(owner)) => self.give(which, owner).await,
                _ => self.owners().await,
            },
            Order::Save => {
                let is_kept =
                    |session: &mut Session<O>, _| *session.durability() != Durability::Off;
                if !self.ask(is_kept).await? {
                    return Err(NOTHING_KEPT.to_owned());
                }
                self.session.save().await?;
                let sequence = self.ask(|session, _| session.sequence()).await?;
                Ok(Answer::Saved { sequence })
            }
            Order::Backup => {
                let made = self.backups.make(Reason::Manual).await;
                Ok(Answer::BackedUp(made.map_err(|error| error.to_string())?))
            }
            Order::Restore { backup: None, .. } => self.list_backups().await,
            Order::Restore {
                backup: Some(which),
                through,
            } => self.restore(which, through).await,
            Order::Reset => {
                let swapped = self.swap(Reason::Reset, Snapshot::default(), RESET).await?;
                Ok(Answer::Reset {
                    backup: swapped.backup,
                    unsaved: swapped.unsaved,
                })
            }
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

    pub(crate) async fn nodes(&self) -> Result<Vec<Listed>, String> {
        self.ask(|session, _| session.nodes()).await
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

    /// The one node whose uuid begins like this, among those that are set aside or those that are
    /// not.
    async fn find_node(&self, which: &str, aside: bool) -> Result<NodeId, String> {
        find_node(&self.nodes().await?, which, aside)
    }

    async fn owners(&self) -> Result<Answer, String> {
        let mut owners: BTreeMap<String, (usize, usize)> = BTreeMap::new();
        for node in self.nodes().await? {
            let owned = owners.entry(node.owner).or_default();
            owned.0 = owned.0.saturating_add(1);
            owned.1 = owned.1.saturating_add(node.bytes);
        }
        let mut owners: Vec<_> = owners
            .into_iter()
            .map(|(owner, (nodes, bytes))| Owned {
                owner,
                nodes,
                bytes,
            })
            .collect();
        owners.sort_by_key(|owned| std::cmp::Reverse(owned.bytes));
        Ok(Answer::Owners { owners })
    }

    async fn give(&self, which: String, owner: String) -> Result<Answer, String> {
        let nodes = self.nodes().await?;
        let mut given: Vec<_> = nodes
            .iter()
            .filter(|node| !node.aside && node.owner == which)
            .map(|node| node.id)
            .collect();
        if given.is_empty() {
            let is_node = |node: &Listed| !node.aside && node.id.as_str().starts_with(&which);
            if !which.is_empty() && !nodes.iter().any(is_node) {
                let which = shown(&which);
                return Err(format!(
                    "{which} owns nothing, and no node's uuid begins with it"
                ));
            }
            given.push(find_node(&nodes, &which, false)?);
        }
        let to = owner.clone();
        let result = self.ask(move |s, now| s.assign(&given, &to, now)).await?;
        Ok(Answer::Given {
            given: result?,
            owner,
        })
    }

    async fn list_backups(&self) -> Result<Answer, String> {
        let policy = self.backups.policy().clone();
        let listed = tokio::task::spawn_blocking(move || {
            backup::list(&policy.dir, &policy.session)
                .map_err(|error| format!("can't list {}: {error}", policy.dir.display()))
        });
        let backups = listed.await.map_err(|error| error.to_string())??;
        Ok(Answer::Backups { backups })
    }

    async fn restore(&self, which: String, through: Option<String>) -> Result<Answer, String> {
        let policy = self.backups.policy().clone();
        let exchanged = self.exchanged(through)?;
        let read = tokio::task::spawn_blocking(move || {
            let Some(there) = exchanged else {
                let path = backup::find(&policy.dir, &policy.session, &which)?;
                let snapshot = backup::read_file(&path, &policy.limits)?;
                return Ok::<_, String>((path, snapshot));
            };
            // Whoever ordered knows it by its own name.
            let named = |error: String| error.replace(&there.display().to_string(), &which);
            let snapshot = backup::read_file(&there, &policy.limits).map_err(named)?;
            Ok((PathBuf::from(which), snapshot))
        });
        let (restored, snapshot) = read.await.map_err(|error| error.to_string())??;
        let swapped = self.swap(Reason::Restore, snapshot, RESTORED).await?;
        Ok(Answer::Restored {
            restored,
            nodes: swapped.nodes,
            backup: swapped.backup,
            unsaved: swapped.unsaved,
        })
    }

    async fn swap(
        &self,
        reason: Reason,
        other: Snapshot,
        message: &'static str,
    ) -> Result<Swapped, String> {
        let swapped = backup::swap(&self.session, &self.backups, reason, other, message).await;
        swapped.map_err(|error| error.to_string())
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

    /// Where a file is that was put into the data directory, or is to be fetched there.
    fn exchanged(&self, through: Option<String>) -> Result<Option<PathBuf>, String> {
        let session = &self.backups.policy().session;
        let place = |name: String| {
            let place = exchange::place(&self.data_dir, session, &name);
            place.ok_or_else(|| format!("{} is not exchanged", shown(&name)))
        };
        through.map(place).transpose()
    }

    async fn export(&self, path: PathBuf, through: Option<String>) -> Result<Answer, String> {
        let there = self.exchanged(through)?.unwrap_or_else(|| path.clone());
        let snapshot = self.ask(|session, _| session.snapshot()).await?;
        let policy = self.backups.policy().clone();
        let written = tokio::task::spawn_blocking(move || {
            let contents = backup::contents(&snapshot);
            backup::write_file(&there, &policy.session, policy.limits.content(), contents)
        });
        let made = written.await.map_err(|error| error.to_string())?;
        let made = made.map_err(|error| error.to_string())?;
        Ok(Answer::exported(backup::Made { path, ..made }))
    }
}

/// The one node whose uuid begins like this.
pub(super) fn find_node(all: &[Listed], which: &str, aside: bool) -> Result<NodeId, String> {
    let mut fitting = all
        .iter()
        .filter(|node| node.aside == aside && node.id.as_str().starts_with(which));
    match (which, fitting.next(), fitting.next()) {
        ("", _, _) => Err("which one? Its uuid, or the beginning of it (see nodes)".to_owned()),
        (_, Some(node), None) => Ok(node.id),
        (_, None, _) if aside => Err(format!("no node {} is set aside", shown(which))),
        (_, None, _) => Err(format!("there is no node {}", shown(which))),
        _ => Err(format!("several nodes begin with {}", shown(which))),
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;
    use crate::backup::{Limits, Policy};
    use crate::config::Config;
    use crate::ports::Peer;
    use crate::session::{self, Settings, settings};
    use crate::store::{self, Keeper};

    /// What is not answered before somebody is told to try again is never done.
    #[tokio::test(start_paused = true)]
    async fn who_is_told_to_try_again_finds_nothing_done() {
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
        let desk = Desk::new(
            session,
            backups,
            counters,
            Health::default(),
            config.data_dir,
            1 << 20,
        );

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
