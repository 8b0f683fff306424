//! On which thread messages are looked into.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use tokio::time::advance;

use crate::ports::Ports;
use crate::ports::linked::linked;
use crate::ports::vet::*;
use crate::wire::dialect::Framing;
use crate::wire::node::{Delta, NodeState};

const DICT: &[u8] = b"\x80\x04}.";
/// With one list in two places.
const TWICE: &[u8] = b"\x80\x04}\x94(\x8c\x01a]\x94K\x01a\x8c\x01bh\x01u.";

/// A user who pushes nodes, where so many may help.
fn vetting(helpers: usize) -> (Vetting, Ports) {
    let (ports, peer, _) = linked();
    let mut context = ports.context.clone();
    context.helpers = Arc::new(Semaphore::new(helpers));
    (Vetting::new(peer, context), ports)
}

/// Runs a test where there is one other thread, and no time passes by itself.
fn run(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime
        .enable_all()
        .start_paused(true)
        .max_blocking_threads(1);
    runtime.build().unwrap().block_on(test);
}

fn node(payload: impl Into<Bytes>) -> NodeState {
    NodeState {
        id: NodeId::new(b"00000000-0000-4000-8000-000000000000").unwrap(),
        owner: "COMMON".into(),
        kind: Bytes::new(),
        dependencies: Vec::new(),
        payload: payload.into(),
    }
}

fn update(update: Update) -> Event {
    Event::Update {
        update,
        began: Instant::now(),
        plain: false,
    }
}

fn push(payload: impl Into<Bytes>) -> Event {
    update(Update::Node(node(payload)))
}

fn set(payload: impl Into<Bytes>) -> Event {
    Event::Command(Command {
        framing: Framing::Named,
        owner: String::new(),
        request: Request::UploadSet(node(payload)),
    })
}

fn delta(delta: impl Into<Bytes>) -> Event {
    let NodeState { id, kind, .. } = node(DICT);
    update(Update::Delta(Delta {
        id,
        owner: None,
        kind,
        dependencies: Vec::new(),
        delta: delta.into(),
    }))
}

fn events(list: impl IntoIterator<Item = Event>) -> Events {
    Events::from(list.into_iter().collect::<Vec<_>>())
}

/// `{'a': [1, 1, …]}`, no longer than what is looked into without a break.
fn dense() -> Vec<u8> {
    let ones = b"K\x01".repeat(TURN / 2 - 8);
    [b"\x80\x04}\x8c\x01a](", &ones[..], b"es."].concat()
}

/// The same of so many values that they are read elsewhere.
fn many() -> Vec<u8> {
    let ones = b"K\x01".repeat(super::super::look::READ);
    [b"\x80\x04}\x8c\x01a](", &ones[..], b"es."].concat()
}

/// The same of one string of bytes.
fn opaque() -> Vec<u8> {
    let bytes = [7; TURN - 32];
    let length = u32::try_from(bytes.len()).unwrap().to_le_bytes();
    [b"\x80\x04}\x8c\x01aB", &length[..], &bytes, b"s."].concat()
}

impl Vetting {
    /// Looks into 32 of them. Whether another thread had to be waited for.
    async fn waits(&mut self, event: impl Fn() -> Event) -> bool {
        let mut vet = pin!(self.vet(events((0..32).map(|_| event()))));
        // The other thread has something else to do first.
        let (go_on, waits) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || waits.recv());
        let first = poll_fn(|task| Poll::Ready(vet.as_mut().poll(task))).await;
        let waits = first.is_pending();
        go_on.send(()).unwrap();
        busy.await.unwrap().unwrap();
        let mut events = match first {
            Poll::Ready(events) => events,
            Poll::Pending => vet.await,
        };
        let fit = |event: &Event| !matches!(event, Event::Unfit(_));
        assert_eq!(events.drain().filter(fit).count(), 32);
        waits
    }
}

#[test]
fn many_values_in_a_row_are_left_to_another_thread() {
    run(async {
        let (mut vetting, _ports) = vetting(1);
        // Only then it is known what they are like.
        assert!(!vetting.waits(|| push(dense())).await);
        assert!(vetting.waits(|| push(dense())).await);
        assert!(vetting.waits(|| push(dense())).await);
        assert_eq!(vetting.looker.context.helpers.available_permits(), 1);
        // What holds no values does not forget it.
        assert!(!vetting.waits(|| Event::Drained).await);
        assert!(vetting.waits(|| push(dense())).await);
        // Nobody is awake any longer.
        advance(PAUSE).await;
        assert!(!vetting.waits(|| push(dense())).await);
        assert!(vetting.waits(|| push(dense())).await);
    });
}

#[test]
fn who_has_no_helper_looks_alone() {
    run(async {
        let (mut vetting, _ports) = vetting(0);
        for _ in 0..3 {
            assert!(!vetting.waits(|| push(dense())).await);
        }
        let helpers = Arc::new(Semaphore::new(1));
        vetting.looker.context.helpers = Arc::clone(&helpers);
        let busy = helpers.try_acquire().unwrap();
        assert!(!vetting.waits(|| push(dense())).await);
        drop(busy);
        assert!(vetting.waits(|| push(dense())).await);
    });
}

#[test]
fn neither_long_strings_nor_uploads_are() {
    run(async {
        let (mut vetting, _ports) = vetting(1);
        for _ in 0..3 {
            assert!(!vetting.waits(|| push(opaque())).await);
        }
        for _ in 0..3 {
            assert!(!vetting.waits(|| set(dense())).await);
        }
        assert!(vetting.waits(|| push(dense())).await);
    });
}

/// Their length is nothing to go through.
#[test]
fn long_strings_are_not_many_values() {
    let mut seen = Seen::default();
    assert!(!seen.suggests_many(usize::MAX));
    let long = 1 << 20;
    seen.add(long / STRETCH + 9, long);
    assert!(!seen.suggests_many(16 * long));
    seen.add(long / STRETCH + MANY, long);
    assert!(!seen.suggests_many(long));
    assert!(seen.suggests_many(2 * long));
}

#[test]
fn helpers_are_processors_that_do_not_carry_the_work() {
    let all = std::thread::available_parallelism().unwrap().get();
    for workers in 1..=all + 1 {
        let free = helpers(WorkerThreads::Count(workers)).available_permits();
        assert_eq!(free, all.saturating_sub(workers));
    }
    let auto = WorkerThreads::Auto(crate::config::Auto::Auto);
    assert_eq!(helpers(auto).available_permits(), 0);
}

#[tokio::test]
async fn it_is_the_same_wherever_it_is_looked_into() {
    let (vetting, _ports) = vetting(1);
    let looker = &vetting.looker;
    let began = Instant::now();
    let list = || {
        let plain = b"\x80\x04}\x8c\x0evalues_changed}\x8c\x09root['a']}\x8c\x09new_valueK\x01sss.";
        let mut list = vec![
            push(DICT),
            push(b"\x80\x04cos\nsystem\n.".as_slice()),
            Event::Drained,
            push(TWICE),
            set(TWICE),
            set(b"\x80\x04N.".as_slice()),
            push(b"\x80\x04N.".as_slice()),
            delta(plain.as_slice()),
            delta(TWICE),
            push(b"".as_slice()),
            push(dense()),
            push(b"\x80\x04".as_slice()),
            delta(many()),
        ];
        for event in &mut list {
            if let Event::Update { began: at, .. } = event {
                *at = began;
            }
        }
        events(list)
    };
    let both = async || {
        let (here, seen) = looker.here(list()).await;
        let helpers = Arc::clone(&looker.context.helpers);
        let helper = helpers.acquire_owned().await.unwrap();
        let (elsewhere, also) = looker.elsewhere(list(), helper).await;
        assert_eq!(format!("{here:?}"), format!("{elsewhere:?}"));
        assert_eq!(seen, also);
        here
    };
    let mut events = both().await;
    let unfit: Vec<_> = events
        .drain()
        .map(|event| matches!(event, Event::Unfit(_)))
        .collect();
    let mut expected = [false; 13];
    for place in [1, 6, 9, 11] {
        expected[place] = true;
    }
    assert_eq!(unfit, expected);
    // Who leaves has nothing to push.
    looker.peer.log_out();
    let mut events = both().await;
    let passed = events
        .drain()
        .filter(|event| !matches!(event, Event::Unfit(_)));
    assert!(matches!(passed.collect::<Vec<_>>()[..], [Event::Drained]));
}
