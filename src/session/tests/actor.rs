//! Faults in the session's own task, and its end.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};

use super::room::{ADMIN_PASSWORD, Recorder, Room, admin_auth, auth, id, node, row};
use crate::config::{Config, Secret};
use crate::counters::{Count, Counters};
use crate::session::actor::{Handle, Kept, spawn};
use crate::session::{Event, Session, Settings};
use crate::store::{self, Keeper, Stored, Task, Written};
use crate::wire::command::{Command, Request};
use crate::wire::identity::NodeId;
use crate::wire::node::{NodeState, Update};
use crate::wire::pickle::{Dict, Protocol, Value, write};

const VERSION: &str = "0.9.11";

/// A running session, and who comes to it.
struct Running {
    session: Handle<Recorder>,
    counters: Arc<Counters>,
    alice: Recorder,
    bob: Recorder,
}

impl Running {
    fn new(kept: Option<Kept>) -> Self {
        Self::with(kept, |_| {})
    }

    fn with(kept: Option<Kept>, change: impl FnOnce(&mut Settings)) -> Self {
        let mut config = Config::default();
        config.session.admin_password = Some(Secret::new(ADMIN_PASSWORD));
        let mut settings = Settings::new(&config, 1 << 20, 1 << 20);
        change(&mut settings);
        let counters = Arc::new(Counters::default());
        let (backups, _) = mpsc::channel(1);
        let mut room = Room::new(VERSION);
        Self {
            session: spawn(settings, Arc::clone(&counters), kept, backups),
            counters,
            alice: room.stranger(),
            bob: room.stranger(),
        }
    }

    /// One whose nodes are kept, within a tenth of a second.
    fn on(keeper: Keeper) -> Self {
        let within = Duration::from_millis(100);
        Self::new(Some(Kept { keeper, within }))
    }

    /// Alice and Bob do.
    async fn log_in(&self) {
        for (peer, auth) in [
            (&self.alice, admin_auth("alice", VERSION)),
            (&self.bob, auth("bob", VERSION)),
        ] {
            self.event(peer, command(Request::Auth(auth))).await;
        }
    }

    /// They do, and Alice brings node 1.
    async fn begin(&self) {
        self.begin_with(vec![id(1)]).await;
    }

    /// She offers these, and brings node 1.
    async fn begin_with(&self, nodes: Vec<NodeId>) {
        self.log_in().await;
        let offer = command(Request::UploadInit { nodes });
        self.event(&self.alice, offer).await;
        // An answer that comes at once ends some clients.
        sleep(Duration::from_millis(200)).await;
        let bring = update(node(1, "COMMON", &[], "one"));
        self.event(&self.alice, bring).await;
    }

    async fn event(&self, peer: &Recorder, event: Event) {
        self.session.send(peer.clone(), vec![event], None).await;
    }

    fn panics(&self) -> u64 {
        self.counters.value(Count::Panics)
    }
}

fn command(request: Request) -> Event {
    Event::Command(Command {
        framing: row(VERSION).commands,
        owner: "anything".to_owned(),
        request,
    })
}

fn update(node: NodeState) -> Event {
    Event::Update {
        update: Update::Node(node),
        began: Instant::now(),
        plain: true,
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_what_the_disk_had_wait_is_contained() {
    let (keeper, mut hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    hand.loaded.send(Ok(store::Kept::default())).unwrap();
    running.begin().await;
    assert!(matches!(hand.tasks.recv().await, Some(Task::Batch(_))));
    running.bob.state().fails_at = Some("catalog 1");
    hand.report.send(Written::Safe).await.unwrap();
    running.session.save().await.unwrap();
    assert_eq!(running.panics(), 1);

    // What changes afterwards is kept as well.
    let change = update(node(1, "COMMON", &[], "other"));
    running.event(&running.alice, change).await;
    let disk = async {
        let Some(Task::Batch(batch)) = hand.tasks.recv().await else {
            panic!("no batch");
        };
        assert_eq!(batch.nodes.len(), 1);
        hand.report.send(Written::Safe).await.unwrap();
    };
    let (saved, ()) = tokio::join!(running.session.save(), disk);
    assert_eq!(saved, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_a_batch_is_handed_over_is_contained() {
    let (keeper, hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    hand.loaded.send(Ok(store::Kept::default())).unwrap();
    // It can't be, so that the upload is done at once.
    drop(hand.tasks);
    running.alice.state().fails_at = Some("done");
    running.begin().await;
    let gone = "the thread that writes is gone".to_owned();
    assert_eq!(running.session.save().await, Err(gone));
    assert_eq!(running.panics(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_fault_while_work_is_sought_is_contained() {
    let (keeper, hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    let edited = Stored {
        place: 1,
        owner: "COMMON".into(),
        kind: Bytes::new(),
        dependencies: Vec::new(),
        version: 1,
        base: Bytes::from_static(b"one"),
        tail_start: 0,
        tail: vec![Bytes::from_static(b"+more")],
        aside: None,
    };
    let kept = store::Kept {
        nodes: vec![(id(1), edited)],
        ..store::Kept::default()
    };
    hand.loaded.send(Ok(kept)).unwrap();
    running.log_in().await;
    running
        .event(&running.bob, command(Request::CatalogRequest))
        .await;
    running.bob.state().fails_at = Some("removed");
    // Bob waits for a folding that is of no use any more when it is to begin.
    let bob = running.bob.clone();
    let both = move |session: &mut Session<_>, now| {
        session.handle(&bob, command(Request::Get(id(1))), now);
        session.quarantine(id(1), now)
    };
    assert_eq!(running.session.ask(both).await, Some(true));
    assert!(running.session.ask(|_, _| ()).await.is_some());
    assert_eq!(running.panics(), 1);
}

/// Values take many times the bytes they come in.
#[tokio::test(start_paused = true)]
async fn what_takes_more_memory_than_there_is_is_not_looked_into() {
    let running = Running::with(None, |settings| settings.work = 4 << 20);
    running.begin().await;
    let list = |values: i64| {
        let list = Value::list((0..values).map(Value::Int));
        write(&Value::from(Dict::new().with("l", list)), Protocol::Four)
    };
    let payloads = [(2, list(100_000)), (3, list(10))];
    for (n, payload) in &payloads {
        let payload = payload.clone();
        let whole = NodeState {
            payload,
            ..node(*n, "COMMON", &[], "")
        };
        running.event(&running.alice, update(whole)).await;
    }
    let change = async |n, section: &str, path, what: Value, plain| {
        let delta = Dict::new().with(section, Dict::new().with(path, what));
        let delta = write(&Value::from(delta), Protocol::Four);
        let Update::Delta(mut update) = super::room::delta(n, &[], "") else {
            panic!("no delta");
        };
        update.delta = delta;
        let event = Event::Update {
            update: Update::Delta(update),
            began: Instant::now(),
            plain,
        };
        running.event(&running.alice, event).await;
        running.session.idle(Duration::from_secs(60)).await;
    };
    let state = async |n| {
        let tail = move |session: &mut Session<_>, _| {
            let replica = session.replicas.get(id(n)).unwrap();
            (replica.tail().len(), replica.is_unfoldable())
        };
        running.session.ask(tail).await.unwrap()
    };
    let removed = "iterable_item_removed";
    for n in [2, 3] {
        change(n, removed, "root['l'][0]", Value::Int(0), false).await;
    }
    assert_eq!(state(3).await, (1, false));
    assert_eq!(state(2).await, (0, false));
    assert_eq!(running.counters.value(Count::RefusedUpdate), 1);
    // What all apply alike goes on, so that nobody is kept from work.
    for values in 1..=3 {
        let new = Value::from(Dict::new().with("new_value", values));
        change(2, "values_changed", "root['l'][0]", new, true).await;
    }
    assert_eq!(state(2).await, (3, true));
    assert_eq!(running.counters.value(Count::RefusedUpdate), 1);
}

/// Even if it does not answer.
#[tokio::test(start_paused = true)]
async fn an_idle_session_is_waited_for_as_long_as_is_said() {
    let (keeper, _hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    let (most, began) = (Duration::from_secs(2), Instant::now());
    let waited = timeout(10 * most, running.session.idle(most)).await;
    assert_eq!((waited, began.elapsed()), (Ok(()), most));
}

#[tokio::test(start_paused = true)]
async fn a_session_that_could_not_be_loaded_says_so() {
    let (keeper, hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    drop(hand.loaded);
    let why = "the thread that loads the session is gone".to_owned();
    assert_eq!(running.session.ended().await, Some(why));
    assert_eq!(running.session.save().await, ended());
}

/// Whatever its task ended with.
#[test]
fn a_session_that_has_ended_has_saved_nothing() {
    let runtime = || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
    };
    let first = runtime();
    let running = first.block_on(async { Running::new(None) });
    drop(first);
    let saved = runtime().block_on(async {
        assert_eq!(running.session.ended().await, None);
        running.session.save().await
    });
    assert_eq!(saved, ended());
}

fn ended() -> Result<(), String> {
    Err("the session has ended".to_owned())
}

/// Where nobody is told of anything before it is safe: who works does not wait while all is written
/// anew, but again after that.
#[tokio::test(start_paused = true)]
async fn nobody_waits_for_a_store_that_is_written_anew() {
    let (keeper, mut hand) = Keeper::by_hand();
    let within = Duration::ZERO;
    let running = Running::new(Some(Kept { keeper, within }));
    hand.loaded.send(Ok(store::Kept::default())).unwrap();
    running.begin().await;
    assert!(matches!(hand.tasks.recv().await, Some(Task::Batch(_))));
    let answers = async || {
        let asked = running.session.ask(|_, _| ());
        timeout(Duration::from_millis(500), asked).await.is_ok()
    };
    assert!(!answers().await);
    let began = Instant::now();
    let lost = Written::Lost("it is damaged".to_owned());
    hand.report.send(lost).await.unwrap();
    let Some(Task::Whole(batch)) = hand.tasks.recv().await else {
        panic!("not all there is");
    };
    assert_eq!(batch.nodes.len(), 1);
    assert_eq!(began.elapsed().as_secs(), 1);
    assert!(answers().await);
    hand.report.send(Written::Safe).await.unwrap();
    running.session.save().await.unwrap();
    let change = update(node(1, "COMMON", &[], "other"));
    running.event(&running.alice, change).await;
    assert!(matches!(hand.tasks.recv().await, Some(Task::Batch(_))));
    assert!(!answers().await);
    hand.report.send(Written::Safe).await.unwrap();
    assert!(answers().await);
}

/// Though nothing else happens.
#[tokio::test(start_paused = true)]
async fn what_has_arrived_is_written_when_it_has_waited() {
    let (keeper, mut hand) = Keeper::by_hand();
    let running = Running::on(keeper);
    hand.loaded.send(Ok(store::Kept::default())).unwrap();
    running.begin_with(vec![id(1), id(2)]).await;
    let began = Instant::now();
    assert!(matches!(hand.tasks.recv().await, Some(Task::Stage(_))));
    let waited = began.elapsed().as_millis();
    assert!((250..260).contains(&waited), "{waited}");
}
