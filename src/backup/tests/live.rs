//! Backups of a session that runs, and other sessions that take its place, on a disk that does what
//! the test says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::sleep;

use super::{id, node};
use crate::backup::{Backups, Limits, Policy, Reason, SwapError, list, start, swap};
use crate::config::{Config, WhenEmpty};
use crate::counters::Counters;
use crate::ports::Peer;
use crate::session::{self, Handle, Settings, Snapshot, settings};
use crate::store::{self, Batch, Keeper, Stored, Task, Written};
use crate::wire::identity::NodeId;

const SPACE: usize = 1 << 20;

struct Live {
    session: Handle<Arc<Peer>>,
    backups: Backups,
    _data: tempfile::TempDir,
}

impl Live {
    /// A session of these nodes, whose disk takes the batches that `takes` likes.
    fn start(
        nodes: Vec<(NodeId, Stored)>,
        when_empty: WhenEmpty,
        takes: impl Fn(&Batch) -> bool + Send + 'static,
    ) -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut config = Config {
            data_dir: data.path().to_owned(),
            ..Config::default()
        };
        config.session.when_empty = when_empty;
        let (keeper, hand) = Keeper::by_hand();
        let (mut tasks, report) = (hand.tasks, hand.report);
        tokio::spawn(async move {
            while let Some(task) = tasks.recv().await {
                let written = match task {
                    Task::Batch(batch) if takes(&batch) => Written::Safe,
                    Task::Batch(_) => Written::Failed("it is full".to_owned()),
                    _ => Written::Ahead,
                };
                if report.send(written).await.is_err() {
                    return;
                }
            }
        });
        let kept = session::Kept {
            keeper,
            within: Duration::ZERO,
        };
        let was = store::Kept {
            nodes,
            ..store::Kept::default()
        };
        hand.loaded.send(Ok(was)).unwrap();
        let counters = Arc::new(Counters::new(Duration::ZERO));
        let (want, wanted) = mpsc::channel(1);
        let session = session::spawn(
            Settings::new(&config, SPACE, SPACE),
            counters,
            Some(kept),
            want,
        );
        let limits = Limits::new(&config, SPACE, settings::content(&config, SPACE));
        let backups = start(Policy::new(&config, limits), session.clone(), wanted);
        Self {
            session,
            backups,
            _data: data,
        }
    }

    async fn nodes(&self) -> usize {
        let count = self.session.ask(|session, _| session.node_count());
        count.await.unwrap()
    }

    fn reasons(&self) -> Vec<Reason> {
        let policy = self.backups.policy();
        let all = list(&policy.dir, &policy.session).unwrap();
        all.iter().map(|found| found.reason).collect()
    }
}

/// One node that can be read, and one that cannot and was changed since.
fn unreadable() -> Vec<(NodeId, Stored)> {
    let mut nodes = vec![node(1, "one"), node(2, "two")];
    nodes[1].1.base = Bytes::from_static(b"\x80\x04cnumpy\ndtype\n.");
    nodes[1].1.tail = vec![nodes[0].1.base.clone()];
    nodes
}

/// Otherwise such a session could never be replaced; but whoever does it is told what is lost.
#[tokio::test(start_paused = true)]
async fn who_resets_is_told_what_the_backup_lacks() {
    let live = Live::start(unreadable(), WhenEmpty::Keep, |_| true);
    let (session, backups) = (&live.session, &live.backups);
    let swapped = swap(session, backups, Reason::Reset, Snapshot::default(), "gone").await;
    let swapped = swapped.unwrap();
    assert_eq!(swapped.backup.unwrap().without_changes, [id(2)]);
    assert_eq!((swapped.nodes, swapped.unsaved), (0, None));
    assert_eq!(live.nodes().await, 0);
}

fn other(text: &str) -> Snapshot {
    Snapshot {
        nodes: vec![node(7, text)],
        ..Snapshot::default()
    }
}

/// What can be known before is known before anything is done.
#[tokio::test(start_paused = true)]
async fn what_cannot_be_done_is_not_begun() {
    let live = Live::start(vec![node(1, "one")], WhenEmpty::Keep, |_| false);
    let (session, backups) = (&live.session, &live.backups);
    let large = other(&"x".repeat(SPACE));
    let refused = swap(session, backups, Reason::Restore, large, "gone").await;
    assert!(matches!(refused, Err(SwapError::Replace(_))), "{refused:?}");
    // Something that the disk does not take.
    session
        .ask(|session, now| session.quarantine(id(1), now))
        .await;
    let refused = swap(session, backups, Reason::Restore, other("small"), "gone").await;
    let error = refused.unwrap_err().to_string();
    assert!(
        error.contains("not touched") && error.ends_with("it is full"),
        "{error}"
    );
    assert_eq!(live.reasons(), []);
    assert_eq!(
        session.ask(|session, _| session.aside_count()).await,
        Some(1)
    );
}

#[tokio::test(start_paused = true)]
async fn it_is_said_that_the_disk_does_not_take_the_other_one() {
    let takes = |batch: &Batch| batch.nodes.iter().all(|(_, stored)| stored.is_some());
    let live = Live::start(vec![node(1, "one")], WhenEmpty::Keep, takes);
    let (session, backups) = (&live.session, &live.backups);
    let swapped = swap(session, backups, Reason::Restore, other("small"), "gone").await;
    let swapped = swapped.unwrap();
    assert_eq!((swapped.nodes, live.nodes().await), (1, 1));
    assert_eq!(swapped.unsaved.as_deref(), Some("it is full"));
    assert_eq!(live.reasons(), [Reason::Restore]);
    let closed = session.ask(|session, _| session.is_closed()).await;
    assert_eq!(closed, Some(false));
}

/// Nobody is asked there, so nothing is lost.
#[tokio::test(start_paused = true)]
async fn what_a_backup_would_lack_is_not_reset_by_itself() {
    for (nodes, stay) in [(unreadable(), 2), (vec![node(1, "one")], 0)] {
        let after = WhenEmpty::ResetAfter(Duration::from_secs(1));
        let live = Live::start(nodes, after, |_| true);
        sleep(Duration::from_secs(2)).await;
        // Its turn is after the reset's.
        let _ = live.backups.make_first(Reason::Manual).await;
        assert!(live.reasons().contains(&Reason::Reset));
        assert_eq!(live.nodes().await, stay);
    }
}
