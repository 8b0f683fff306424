//! Backups of a session that runs, and other sessions that take its place, on a disk that does what
//! the test says.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::{id, node};
use crate::backup::{Backups, Limits, Policy, Reason, list, start, swap};
use crate::config::{Config, WhenEmpty};
use crate::counters::Counters;
use crate::ports::Peer;
use crate::session::{self, Handle, Settings, Snapshot, settings};
use crate::store::{self, Batch, Keeper, Stored, Written};
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
        let (loaded, kept) = oneshot::channel();
        let (batches, mut handed_over) = mpsc::channel(1);
        let (report, reports) = mpsc::channel(1);
        tokio::spawn(async move {
            while let Some(batch) = handed_over.recv().await {
                let written = match takes(&batch) {
                    true => Written::Safe,
                    false => Written::Failed("it is full".to_owned()),
                };
                if report.send(written).await.is_err() {
                    return;
                }
            }
        });
        let kept = session::Kept {
            keeper: Keeper {
                kept,
                batches,
                reports,
            },
            within: Duration::ZERO,
        };
        let was = store::Kept {
            nodes,
            ..store::Kept::default()
        };
        loaded.send(Ok(was)).unwrap();
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
    let made = swap(session, backups, Reason::Reset, Snapshot::default(), "gone").await;
    assert_eq!(made.unwrap().unwrap().without_changes, [id(2)]);
    assert_eq!(live.nodes().await, 0);
}

/// Nobody is asked there, so nothing is lost.
#[tokio::test(start_paused = true)]
async fn what_a_backup_would_lack_is_not_reset_by_itself() {
    for (nodes, stay) in [(unreadable(), 2), (vec![node(1, "one")], 0)] {
        let after = WhenEmpty::ResetAfter(Duration::from_secs(1));
        let live = Live::start(nodes, after, |_| true);
        sleep(Duration::from_secs(2)).await;
        // Its turn is after the reset's.
        let _ = live.backups.make_if_any(Reason::Manual).await;
        assert!(live.reasons().contains(&Reason::Reset));
        assert_eq!(live.nodes().await, stay);
    }
}
