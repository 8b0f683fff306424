//! A team at work: four clients that edit one session of the real program at a steady pace, each
//! a node of its own, and time what they get from each other. Whatever is done to the server
//! meanwhile, [`Team::judge`] says whether the team has felt it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use multi_user_server::wire::identity::NodeId;
use multi_user_server::wire::node::{NodeState, Update};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinHandle;

use super::client::{As, Client, Heard};
use super::link::Via;
use super::server::{Counters, Ports, Program};
use super::{node, uuid, within};

/// What the team's clients are: the last of those with four ports and threads.
pub(crate) const VERSION: &str = "0.1.26";
/// How many work.
const EDITORS: usize = 4;
const NAMES: [&str; EDITORS] = ["alice", "bob", "carol", "dave"];
/// Pause between two edits of one of them.
const PACE: Duration = Duration::from_millis(40);
/// Bytes of an edit.
const SIZE: usize = 2000;
/// Edits each has to get from each other before and during whatever is done to them.
const ENOUGH: u64 = 20;
/// What 99 of 100 edits may take from one to another, in an unoptimised program on a machine that
/// is busy with other tests.
const P99: Duration = Duration::from_millis(1500);

/// A node that belongs to alice.
pub(crate) fn treasure() -> NodeId {
    uuid(100)
}

/// The program and the team that uses it.
#[derive(Debug)]
pub(crate) struct Team {
    pub(crate) program: Program,
    pub(crate) ports: Ports,
    editors: Vec<JoinHandle<Report>>,
    shared: Arc<Shared>,
    memory: u64,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    /// Edits made by each.
    sent: [AtomicU64; EDITORS],
    /// The last edit of each that each has got.
    got: [[AtomicU64; EDITORS]; EDITORS],
    stop: AtomicBool,
    /// Passed when nobody edits any more.
    stopped: Barrier,
    progress: Notify,
}

#[derive(Debug)]
struct Report {
    client: Client,
    delays: Vec<Duration>,
}

impl Team {
    /// Starts the program with these keys, brings a few nodes, and begins to work.
    pub(crate) async fn start(keys: &[(&str, &str)]) -> Self {
        let program = Program::start(keys);
        let ports = program.ports;
        let mut clients = Vec::new();
        for (i, name) in NAMES.into_iter().enumerate() {
            let how = if i == 0 { As::Admin } else { As::User };
            let mut client = Client::enter(&ports, VERSION, Via::Crate, name, how).await;
            if i == 0 {
                client.upload(&first_nodes()).await;
            } else {
                client.join().await;
            }
            clients.push(client);
        }
        let shared = Arc::new(Shared {
            start: Instant::now(),
            sent: Default::default(),
            got: Default::default(),
            stop: AtomicBool::new(false),
            stopped: Barrier::new(EDITORS),
            progress: Notify::new(),
        });
        let editors = clients
            .into_iter()
            .enumerate()
            .map(|(i, client)| tokio::spawn(edit(i, client, Arc::clone(&shared))))
            .collect();
        let mut team = Self {
            program,
            ports,
            editors,
            shared,
            memory: 0,
        };
        team.progress().await;
        team.memory = team.program.memory().0;
        team
    }

    /// Waits until everybody has got a good number of further edits from everybody.
    pub(crate) async fn progress(&self) {
        let shared = &self.shared;
        let goals: Vec<u64> = shared
            .sent
            .iter()
            .map(|n| n.load(Ordering::Relaxed) + ENOUGH)
            .collect();
        within("the team's getting on", async {
            loop {
                let news = shared.progress.notified();
                let reached = pairs()
                    .all(|(from, to)| shared.got[to][from].load(Ordering::Relaxed) >= goals[from]);
                if reached {
                    return;
                }
                news.await;
            }
        })
        .await;
    }

    /// Ends the work and checks that everybody got everything in time, that nobody was sent away,
    /// that memory grew by less than `growth` MiB, and that the session holds exactly what the
    /// team made. Gives the counters as they were before the check.
    pub(crate) async fn judge(mut self, growth: u64) -> Counters {
        self.progress().await;
        self.shared.stop.store(true, Ordering::Relaxed);
        let mut delays = Vec::new();
        let mut clients = Vec::new();
        for editor in std::mem::take(&mut self.editors) {
            let report = within("the end of an editor's work", editor).await.unwrap();
            delays.extend(report.delays);
            clients.push(report.client);
        }
        let (_, peak) = self.program.memory();
        let grown = peak.saturating_sub(self.memory) >> 20;
        assert!(grown < growth, "memory grew by {grown} MiB, not {growth}");
        delays.sort_unstable();
        let p99 = delays[delays.len() * 99 / 100];
        assert!(p99 < P99, "p99 is {p99:?} of {} edits", delays.len());
        println!(
            "p99 {p99:?} of {} edits, memory + {grown} MiB",
            delays.len()
        );
        let counters = self.program.counters();
        assert_eq!(counters.get("panics"), 0);
        let mut expected = summary(first_nodes().iter());
        for (i, sent) in self.shared.sent.iter().enumerate() {
            let last = edited(i, sent.load(Ordering::Relaxed), Duration::ZERO);
            expected.extend(summary([&last]));
        }
        for client in &clients {
            assert_eq!(client.dismissed, None, "{}", client.name);
            assert_eq!(
                summary(client.nodes.values()),
                expected,
                "as {} knows them",
                client.name
            );
        }
        let mut joiner = Client::enter(&self.ports, VERSION, Via::Crate, "erin", As::User).await;
        joiner.join().await;
        assert_eq!(
            summary(joiner.nodes.values()),
            expected,
            "what a joiner gets"
        );
        joiner
            .until("the users dict", |client| client.users.contains("erin"))
            .await;
        for name in NAMES {
            assert!(joiner.users.contains(name), "{name} is gone");
        }
        counters
    }
}

fn first_nodes() -> Vec<NodeState> {
    let mut nodes: Vec<_> = (0..EDITORS).map(|i| edited(i, 0, Duration::ZERO)).collect();
    nodes.push(node(treasure(), NAMES[0], vec![7; SIZE]));
    nodes
}

/// The n-th edit of an editor's node, made at a moment.
fn edited(editor: usize, n: u64, at: Duration) -> NodeState {
    let mut payload = vec![0; SIZE];
    payload[..8].copy_from_slice(&n.to_be_bytes());
    let micros = u64::try_from(at.as_micros()).unwrap();
    payload[8..16].copy_from_slice(&micros.to_be_bytes());
    node(uuid(u32::try_from(editor).unwrap()), "COMMON", payload)
}

fn read(node: &NodeState) -> Option<(usize, u64, Duration)> {
    let editor = (0..EDITORS).find(|i| uuid(u32::try_from(*i).unwrap()) == node.id)?;
    let number = |at: usize| u64::from_be_bytes(node.payload[at..at + 8].try_into().unwrap());
    Some((editor, number(0), Duration::from_micros(number(8))))
}

/// What tells one state of the team's nodes from another.
fn summary<'a>(
    nodes: impl IntoIterator<Item = &'a NodeState>,
) -> BTreeMap<NodeId, (String, usize, Option<u64>)> {
    nodes
        .into_iter()
        .map(|node| {
            let edit = read(node).map(|(_, n, _)| n);
            (node.id, (node.owner.to_string(), node.payload.len(), edit))
        })
        .collect()
}

fn pairs() -> impl Iterator<Item = (usize, usize)> {
    (0..EDITORS).flat_map(|a| (0..EDITORS).filter(move |b| *b != a).map(move |b| (a, b)))
}

async fn edit(me: usize, mut client: Client, shared: Arc<Shared>) -> Report {
    let mut delays = Vec::new();
    let mut pace = tokio::time::interval(PACE);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while client.dismissed.is_none() && !shared.stop.load(Ordering::Relaxed) {
        tokio::select! {
            biased;
            heard = client.hear() => shared.note(me, &heard, &mut delays),
            _ = pace.tick() => {
                let n = shared.sent[me].fetch_add(1, Ordering::Relaxed) + 1;
                let node = edited(me, n, shared.start.elapsed());
                client.push(&node);
                client.nodes.insert(node.id, node);
            }
        }
    }
    shared.stopped.wait().await;
    // The last edit of everybody, one's own among them: an older state of it may have come back.
    let last: Vec<_> = (0..EDITORS)
        .map(|i| edited(i, shared.sent[i].load(Ordering::Relaxed), Duration::ZERO))
        .collect();
    let last = summary(&last);
    while client.dismissed.is_none()
        && !last
            .iter()
            .all(|(id, edit)| summary(client.nodes.get(id)).get(id) == Some(edit))
    {
        let heard = client.hear().await;
        shared.note(me, &heard, &mut delays);
    }
    Report { client, delays }
}

impl Shared {
    fn note(&self, me: usize, heard: &Heard, delays: &mut Vec<Duration>) {
        if let Heard::Update(Update::Node(node)) = heard
            && let Some((from, n, at)) = read(node)
            && from != me
        {
            let last = self.got[me][from].swap(n, Ordering::Relaxed);
            assert!(n >= last, "edit {n} after {last}");
            if n > last {
                delays.push(self.start.elapsed().saturating_sub(at));
            }
            self.progress.notify_waiters();
        }
    }
}
