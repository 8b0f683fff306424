//! The single steps of a node's way, each by itself: what a change of the code does to them.
//!
//!     cargo bench --bench micro [-- NAME]
//!
//! For a name that begins like one of the functions here, only those are run.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "no program for others"
)]

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::BytesCount;
use multi_user_server::config::{Config, Secret};
use multi_user_server::counters::Counters;
use multi_user_server::ports::outbox::{Batch, Lane, Outbox};
use multi_user_server::session::gate::Gate;
use multi_user_server::session::outlet::{Edit, Joins, Slot, Taken};
use multi_user_server::session::{Event, Outlet, Session, Settings};
use multi_user_server::wire::command::{Auth, Command, Credentials, Request};
use multi_user_server::wire::delta;
use multi_user_server::wire::dialect::{self, Dialect, Framing};
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::limits::{Assembler, Limits};
use multi_user_server::wire::message::{Encoded, Message};
use multi_user_server::wire::node::{NodeState, Update};
use multi_user_server::wire::pickle::{
    self, Budget, Dict, Protocol, ScanPolicy, Value, read, scan,
};
use multi_user_server::wire::role::Role;
use multi_user_server::wire::zmtp::{self, SocketType};
use tokio::time::Instant;

const SIZES: [usize; 3] = [256, 4 << 10, 64 << 10];
const LIMITS: Limits = Limits {
    frame: 1 << 30,
    message: 1 << 30,
    frames: 1 << 10,
};
const USERS: usize = 8;

fn main() {
    divan::main();
}

/// A node of one long `bytes`.
fn opaque(size: usize) -> Bytes {
    let data = Value::bytes(vec![7; size]);
    pickle::write(&Dict::new().with("data", data).into(), Protocol::Four)
}

/// One of many small values.
fn nested(size: usize) -> Value {
    let socket = |n: usize| {
        Dict::new()
            .with("name", format!("socket {n:05}"))
            .with("location", Value::list([n as f64, 1.5, 0.25]))
            .with("default_value", n as f64)
    };
    let sockets = Value::list((0..size / 90).map(socket));
    Dict::new().with("sockets", sockets).with("step", 0).into()
}

fn uuid(n: usize) -> NodeId {
    NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

fn newest_with_zmtp() -> &'static Dialect {
    dialect::for_version(Some("0.9.11")).unwrap()
}

fn node(id: NodeId, payload: Bytes) -> NodeState {
    NodeState {
        id,
        owner: "COMMON".into(),
        kind: Bytes::new(),
        dependencies: Vec::new(),
        payload,
    }
}

fn message(size: usize) -> Message {
    let mut messages = multi_user_server::wire::node::node_messages(
        newest_with_zmtp(),
        &node(uuid(0), opaque(size)),
    );
    messages.remove(0)
}

#[divan::bench(args = SIZES)]
fn zmtp_encode(bencher: Bencher, size: usize) {
    let message = message(size);
    bencher.bench(|| zmtp::encode(&message));
}

/// A read's worth of messages.
#[divan::bench(args = SIZES)]
fn zmtp_decode(bencher: Bencher, size: usize) {
    let mut bytes = Vec::new();
    let count = (64 << 10) / size;
    for _ in 0..count {
        for segment in zmtp::encode(&message(size)).segments() {
            bytes.extend_from_slice(segment);
        }
    }
    let fresh = || {
        let mut decoder = zmtp::Decoder::new();
        decoder.feed(&zmtp::greeting());
        decoder.feed(&zmtp::ready(SocketType::Router, None));
        while decoder.next(&LIMITS).unwrap().is_some() {}
        (decoder, Assembler::new())
    };
    bencher
        .counter(BytesCount::new(bytes.len()))
        .with_inputs(fresh)
        .bench_values(|(mut decoder, mut assembler)| {
            decoder.feed(&bytes);
            let mut seen = 0;
            while let Some(item) = decoder.next(&LIMITS).unwrap() {
                if let zmtp::Item::Frame { more, body } = item {
                    seen += usize::from(assembler.push(more, body, &LIMITS).unwrap().is_some());
                }
            }
            assert_eq!(seen, count);
        });
}

#[divan::bench(args = SIZES)]
fn pickle_scan_opaque(bencher: Bencher, size: usize) {
    let payload = opaque(size);
    bencher
        .counter(BytesCount::new(payload.len()))
        .bench(|| scan(&payload, &ScanPolicy::NODE).unwrap());
}

#[divan::bench(args = SIZES)]
fn pickle_scan_nested(bencher: Bencher, size: usize) {
    let payload = pickle::write(&nested(size), Protocol::Four);
    bencher
        .counter(BytesCount::new(payload.len()))
        .bench(|| scan(&payload, &ScanPolicy::NODE).unwrap());
}

#[divan::bench(args = SIZES)]
fn pickle_read_nested(bencher: Bencher, size: usize) {
    let payload = pickle::write(&nested(size), Protocol::Four);
    bencher
        .counter(BytesCount::new(payload.len()))
        .bench(|| read(&payload, &Budget::NODE).unwrap());
}

#[divan::bench(args = SIZES)]
fn pickle_write_nested(bencher: Bencher, size: usize) {
    let value = nested(size);
    bencher.bench(|| pickle::write(&value, Protocol::Four));
}

/// Ten small changes of a node.
#[divan::bench(args = SIZES)]
fn delta_fold(bencher: Bencher, size: usize) {
    let base = pickle::write(&nested(size), Protocol::Four);
    let deltas: Vec<_> = (0..10)
        .map(|n| {
            let change = Dict::new().with("new_value", n);
            let changes = Dict::new().with("root['step']", change);
            let delta = Dict::new().with("values_changed", changes);
            pickle::write(&delta.into(), Protocol::Four)
        })
        .collect();
    bencher.bench(|| {
        let folded = delta::fold(&base, &deltas, &Budget::NODE).unwrap();
        assert_eq!((folded.left_out, folded.left), (0, 0));
        folded
    });
}

/// A change of one of a hundred nodes, for seven others.
#[divan::bench(args = SIZES)]
fn session_apply(bencher: Bencher, size: usize) {
    let (mut session, peers) = room();
    let payload = opaque(size);
    let mut n = 0;
    let fresh = || {
        n += 1;
        Event::Update {
            update: Update::Node(node(uuid(n % 100), payload.clone())),
            began: Instant::now(),
            plain: false,
        }
    };
    bencher
        .with_inputs(fresh)
        .bench_local_values(|event| session.handle(&peers[0], event, Instant::now()));
}

/// A peer's round trip.
fn window() -> Duration {
    Duration::from_millis(500)
}

/// A new state, which takes the place of one that waits behind a hundred others.
#[divan::bench(args = SIZES)]
fn queue_conflate(bencher: Bencher, size: usize) {
    let outbox = Outbox::new(64 << 20, Duration::ZERO, Gate::default());
    let state = zmtp::encode(&message(size));
    let now = Instant::now();
    for n in 0..100 {
        outbox.data(uuid(n), Joins::Renews, &[], state.clone(), now, window);
    }
    let mut n = 0;
    bencher
        .with_inputs(|| {
            n += 1;
            (uuid(n % 100), state.clone())
        })
        .bench_local_values(|(id, state)| outbox.data(id, Joins::Renews, &[], state, now, window));
}

/// A batch of a hundred nodes' states: queued, taken, written.
#[divan::bench(args = SIZES)]
fn queue_batch_of_100(bencher: Bencher, size: usize) {
    let outbox = Outbox::new(64 << 20, Duration::ZERO, Gate::default());
    let state = zmtp::encode(&message(size));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let ids: Vec<_> = (0..100).map(uuid).collect();
    let mut batch = Batch::default();
    bencher.bench_local(|| {
        let now = Instant::now();
        for id in &ids {
            outbox.data(*id, Joins::Renews, &[], state.clone(), now, window);
        }
        runtime.block_on(outbox.next(Lane::Data, usize::MAX, &mut batch));
        outbox.written(Lane::Data, &batch, Instant::now(), Duration::ZERO)
    });
}

/// A view update, for seven others.
#[divan::bench]
fn session_metadata(bencher: Bencher) {
    let (mut session, peers) = room();
    let row = || Value::list((0..4).map(|n| f64::from(n) * 0.7));
    let view = Value::from(Dict::new().with("view_matrix", Value::list((0..4).map(|_| row()))));
    let mut now = Instant::now();
    bencher.bench_local(|| {
        // Not faster than all of it is told.
        now += Duration::from_millis(1);
        ask_at(
            &mut session,
            &peers[0],
            Request::Metadata(view.clone()),
            now,
        );
    });
}

/// A session whose users have joined.
fn room() -> (Session<Nowhere>, Vec<Nowhere>) {
    let mut config = Config::default();
    config.session.admin_password = Some(Secret::new("admin"));
    let settings = Settings::new(&config, 1 << 30, 1 << 30);
    let counters = Arc::new(Counters::new(Duration::from_secs(1)));
    let mut session = Session::new(settings, counters, Instant::now());
    let peers: Vec<_> = (0..USERS)
        .map(|n| Nowhere(Identity::new(&[u8::try_from(n).unwrap(); 16]).unwrap()))
        .collect();
    for (n, peer) in peers.iter().enumerate() {
        let auth = Auth {
            admin: n == 0,
            name: format!("user {n}"),
            version: Some("0.9.11".to_owned()),
            credentials: Credentials::Two {
                server: None,
                admin: (n == 0).then(|| "admin".to_owned()),
            },
        };
        ask(&mut session, peer, Request::Auth(auth));
        if n == 0 {
            let nodes = vec![uuid(0)];
            ask(&mut session, peer, Request::UploadInit { nodes });
            ask(
                &mut session,
                peer,
                Request::UploadSet(node(uuid(0), opaque(256))),
            );
            ask(&mut session, peer, Request::UploadEnd);
        } else {
            ask(&mut session, peer, Request::CatalogRequest);
            ask(&mut session, peer, Request::Get(uuid(0)));
            ask(&mut session, peer, Request::JoinDone);
        }
    }
    assert_eq!((session.user_count(), session.node_count()), (USERS, 1));
    (session, peers)
}

fn ask(session: &mut Session<Nowhere>, peer: &Nowhere, request: Request) {
    ask_at(session, peer, request, Instant::now());
}

fn ask_at(session: &mut Session<Nowhere>, peer: &Nowhere, request: Request, now: Instant) {
    let command = Command {
        framing: Framing::Numbered,
        owner: "somebody".to_owned(),
        request,
    };
    session.handle(peer, Event::Command(command), now);
}

/// A peer that takes everything at once.
#[derive(Clone, Debug)]
struct Nowhere(Identity);

impl Outlet for Nowhere {
    fn identity(&self) -> &Identity {
        &self.0
    }
    fn address(&self) -> Option<IpAddr> {
        None
    }
    fn is_framed(&self) -> bool {
        false
    }
    fn log_in(&self, _: &'static Dialect) {}
    fn log_out(&self) {}
    fn start_over(&self) {}
    fn command(&self, _: Slot, bytes: Encoded) {
        divan::black_box(bytes);
    }
    fn edit(&self, _: NodeId, _: Edit, bytes: Encoded) {
        divan::black_box(bytes);
    }
    fn data(&self, _: NodeId, _: Joins, _: &[NodeId], bytes: Encoded, _: Instant) -> Taken {
        Taken::Queued(divan::black_box(bytes).len())
    }
    fn has_room(&self) -> bool {
        true
    }
    fn is_overfull(&self) -> bool {
        false
    }
    fn holds_metadata(&self, _: &str) -> bool {
        false
    }
    fn forget_metadata(&self, _: &str) {}
    fn take_back(&self) -> Vec<NodeId> {
        Vec::new()
    }
    fn hold(&self, _: bool) {}
    fn unseen(&self, _: NodeId, _: Instant) -> bool {
        false
    }
    fn arrived(&self, _: NodeId) -> bool {
        true
    }
    fn unseen_whole(&self, _: NodeId, _: Instant) -> bool {
        false
    }
    fn unseen_right(&self, _: NodeId, _: Instant) -> bool {
        false
    }
    fn sent_since(&self, _: Instant) -> Vec<NodeId> {
        Vec::new()
    }
    fn remembers(&self, _: Instant) -> bool {
        true
    }
    fn prune(&self, _: Instant) {}
    fn is_linked(&self, _: Role) -> bool {
        true
    }
    fn was_linked(&self, _: Role) -> bool {
        true
    }
    fn last_heard(&self) -> Instant {
        Instant::now()
    }
    fn last_bulk(&self) -> Instant {
        Instant::now()
    }
    fn busy_since(&self) -> Instant {
        Instant::now()
    }
    fn has_no_data(&self) -> bool {
        true
    }
    fn round_trip(&self) -> Option<Duration> {
        None
    }
    fn window(&self) -> Duration {
        Duration::from_millis(100)
    }
}
