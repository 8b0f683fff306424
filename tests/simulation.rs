//! The whole server (ports and session) with scripted clients in a simulated network: links in
//! memory with delays, cut and resumed at random moments, in paused time.
//!
//! A seed decides every delay, edit and cut. It is printed when something is wrong; run it again
//! with `SIMULATION_SEED=…`. (The runtime's own choices between what is ready at the same moment
//! are not seeded.)

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use multi_user_server::config::{Config, Flush, Secret};
use multi_user_server::counters::Count;
use multi_user_server::net::listen::Listener;
use multi_user_server::server::Server;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request, encode_update};
use multi_user_server::wire::command::{Auth, CommandLimits, Credentials, Request};
use multi_user_server::wire::dialect::{self, Dialect, Family, Passwords, Ports, Transfer};
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::limits::{Assembler, Limits};
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{NodeLimits, NodeState, Reassembler, Update};
use multi_user_server::wire::zmtp::{self, SocketType};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, split};
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until};

/// Longest way of a byte in one direction, in milliseconds.
const DELAY: u64 = 40;

/// The server's end of a link: tells a cut from a good end.
#[derive(Debug)]
struct Wire {
    inner: DuplexStream,
    cut: Arc<AtomicBool>,
}

impl Wire {
    fn reset() -> io::Error {
        io::ErrorKind::ConnectionReset.into()
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.inner).poll_read(cx, buf);
        let end = buf.filled().len() == before;
        match poll {
            Poll::Ready(Ok(())) if end && self.cut.load(Ordering::Relaxed) => {
                Poll::Ready(Err(Self::reset()))
            }
            poll => poll,
        }
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// A port in memory.
#[derive(Debug)]
struct Port(UnboundedReceiver<(Wire, SocketAddr)>);

impl Listener for Port {
    type Io = Wire;

    async fn accept(&mut self) -> io::Result<(Wire, SocketAddr)> {
        match self.0.recv().await {
            Some(accepted) => Ok(accepted),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(SocketAddr::from(([127, 0, 0, 1], 5555)))
    }
}

type Cuts = HashMap<(u8, u16), (Arc<AtomicBool>, JoinHandle<()>)>;

/// The network between the clients and the ports.
#[derive(Clone, Debug)]
struct Net {
    ports: Arc<Vec<UnboundedSender<(Wire, SocketAddr)>>>,
    links: Arc<Mutex<Cuts>>,
    rng: Arc<Mutex<StdRng>>,
}

impl Net {
    fn new(seed: u64) -> (Self, Vec<(Port, u16)>) {
        let (mut ports, mut listeners) = (Vec::new(), Vec::new());
        for offset in 0..4 {
            let (port, accepted) = mpsc::unbounded_channel();
            ports.push(port);
            listeners.push((Port(accepted), offset));
        }
        let net = Self {
            ports: Arc::new(ports),
            links: Arc::default(),
            rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))),
        };
        (net, listeners)
    }

    fn random(&self, range: std::ops::Range<u64>) -> u64 {
        self.rng.lock().unwrap().random_range(range)
    }

    fn connect(&self, client: u8, offset: u16) -> DuplexStream {
        let (ours, far) = tokio::io::duplex(1 << 16);
        let (near, theirs) = tokio::io::duplex(1 << 16);
        let cut = Arc::new(AtomicBool::new(false));
        let net = self.clone();
        let relay = tokio::spawn(async move {
            let (far_read, far_write) = split(far);
            let (near_read, near_write) = split(near);
            tokio::join!(
                carry(far_read, near_write, net.clone()),
                carry(near_read, far_write, net)
            );
        });
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, client)), 40_000);
        let wire = Wire {
            inner: theirs,
            cut: Arc::clone(&cut),
        };
        self.ports[usize::from(offset)]
            .send((wire, address))
            .unwrap();
        self.links
            .lock()
            .unwrap()
            .insert((client, offset), (cut, relay));
        ours
    }

    /// Cuts a link; what is under way is gone.
    fn cut(&self, client: u8, offset: u16) {
        if let Some((cut, relay)) = self.links.lock().unwrap().remove(&(client, offset)) {
            cut.store(true, Ordering::Relaxed);
            relay.abort();
        }
    }
}

/// One direction of a link.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, net: Net) {
    let (line, mut under_way) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let take = async move {
        let mut last = Instant::now();
        let mut buffer = vec![0; 4096];
        while let Ok(read @ 1..) = from.read(&mut buffer).await {
            let due = Instant::now() + Duration::from_millis(net.random(1..DELAY));
            last = due.max(last);
            let _ = line.send((last, buffer[..read].to_vec()));
        }
    };
    let give = async move {
        while let Some((due, bytes)) = under_way.recv().await {
            sleep_until(due).await;
            if to.write_all(&bytes).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(take, give);
}

/// One socket of a client, which connects again by itself as libzmq does. Ends when nothing can
/// be sent over it any more.
async fn socket(
    net: Net,
    (client, offset): (u8, u16),
    kind: SocketType,
    identity: Identity,
    mut outgoing: UnboundedReceiver<Message>,
    inbox: UnboundedSender<(u16, Message)>,
) {
    let limits = Limits {
        frame: 1 << 20,
        message: 1 << 20,
        frames: 64,
    };
    loop {
        let (mut reader, mut writer) = split(net.connect(client, offset));
        let named = (kind == SocketType::Dealer).then_some(identity.as_bytes());
        let _ = writer.write_all(&zmtp::greeting()).await;
        let _ = writer.write_all(&zmtp::ready(kind, named)).await;
        let mut decoder = zmtp::Decoder::new();
        let mut assembler = Assembler::new();
        'connected: loop {
            while let Some(item) = decoder.next(&limits).unwrap() {
                if let zmtp::Item::Frame { more, body } = item
                    && let Some(message) = assembler.push(more, body, &limits).unwrap()
                {
                    let _ = inbox.send((offset, message));
                }
            }
            tokio::select! {
                biased;
                message = outgoing.recv() => {
                    let Some(message) = message else { return };
                    for segment in zmtp::encode(&message).segments() {
                        if writer.write_all(segment).await.is_err() {
                            break 'connected;
                        }
                    }
                }
                read = async { reader.read_buf(&mut decoder.space()).await } => {
                    if !matches!(read, Ok(1..)) {
                        break 'connected;
                    }
                }
            }
        }
        sleep(Duration::from_millis(net.random(50..300))).await;
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Held {
    owner: String,
    data: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Stage {
    Auth,
    Lobby,
    Offering,
    Fetching(u32, Vec<u32>),
    Active,
    Gone(String),
}

/// What the test sees of an artist.
#[derive(Debug)]
struct Scene {
    stage: Stage,
    nodes: BTreeMap<u32, Held>,
    users: Vec<String>,
}

/// An artist at an old client: edits, and obeys what it is told.
struct Artist {
    name: String,
    admin: bool,
    dialect: &'static Dialect,
    identity: Identity,
    net: Net,
    scene: Arc<Mutex<Scene>>,
    links: HashMap<u16, UnboundedSender<Message>>,
    late: Vec<NodeState>,
    /// Edits still to be made, and whether commands are among them.
    edits: u32,
    commands: bool,
    serial: u32,
}

fn id(n: u32) -> NodeId {
    NodeId::new(format!("00000000-0000-4000-9000-{n:012}").as_bytes()).unwrap()
}

fn number(id: NodeId) -> u32 {
    id.as_str()[24..].parse().unwrap()
}

fn state(dialect: &Dialect, n: u32, held: &Held) -> NodeState {
    NodeState {
        id: id(n),
        owner: held.owner.as_str().into(),
        kind: Bytes::from_static(b"BlObject"),
        dependencies: Vec::new(),
        payload: dumped(dialect, &held.data),
    }
}

/// A text in what the family takes for a node: the server reads it only to judge it.
fn dumped(dialect: &Dialect, text: &str) -> Bytes {
    use multi_user_server::wire::pickle::{Dict, Protocol, Value, write};
    if dialect.family == Family::Marshal {
        let length = u32::try_from(text.len()).unwrap().to_le_bytes();
        return [MARSHALLED, &length, text.as_bytes(), b"0"].concat().into();
    }
    write(&Value::Dict(Dict::new().with("name", text)), Protocol::Four)
}

/// What stands before a text, and its length, that is in a dict in marshal.
const MARSHALLED: &[u8] = b"{z\x04nameu";

fn text(payload: &Bytes) -> String {
    use multi_user_server::wire::pickle::{Budget, read};
    if payload.starts_with(MARSHALLED) {
        let text = payload.slice(MARSHALLED.len() + 4..payload.len() - 1);
        return String::from_utf8(text.into()).unwrap();
    }
    let value = read(payload, &Budget::NODE).unwrap();
    let dict = value.as_dict().unwrap();
    dict.get("name").unwrap().as_str().unwrap().to_owned()
}

struct Plan {
    number: u8,
    name: &'static str,
    admin: bool,
    edits: u32,
    commands: bool,
}

/// Starts an artist; what the test may look at.
fn enter(net: &Net, version: &str, plan: &Plan) -> Arc<Mutex<Scene>> {
    let dialect = dialect::for_version(Some(version)).unwrap();
    let identity = Identity::new(&[plan.number; 16]).unwrap();
    let scene = Arc::new(Mutex::new(Scene {
        stage: Stage::Auth,
        nodes: BTreeMap::new(),
        users: Vec::new(),
    }));
    let sockets: &[(u16, SocketType)] = if dialect.ports == Ports::Four {
        &[
            (0, SocketType::Dealer),
            (1, SocketType::Dealer),
            (2, SocketType::Push),
            (3, SocketType::Dealer),
        ]
    } else {
        &[
            (0, SocketType::Dealer),
            (1, SocketType::Dealer),
            (2, SocketType::Dealer),
        ]
    };
    let (inbox, messages) = mpsc::unbounded_channel();
    let mut links = HashMap::new();
    for (offset, kind) in sockets {
        let (link, outgoing) = mpsc::unbounded_channel();
        links.insert(*offset, link);
        let at = (plan.number, *offset);
        tokio::spawn(socket(
            net.clone(),
            at,
            *kind,
            identity.clone(),
            outgoing,
            inbox.clone(),
        ));
    }
    let artist = Artist {
        name: plan.name.to_owned(),
        admin: plan.admin,
        dialect,
        identity,
        net: net.clone(),
        scene: Arc::clone(&scene),
        links,
        late: Vec::new(),
        edits: plan.edits,
        commands: plan.commands,
        serial: u32::from(plan.number) * 10_000,
    };
    tokio::spawn(artist.work(version.to_owned(), messages));
    scene
}

impl Artist {
    fn ttl(&self) -> u16 {
        if self.dialect.ports == Ports::Four {
            3
        } else {
            2
        }
    }

    fn send(&self, offset: u16, messages: Vec<Message>) {
        for message in messages {
            let _ = self.links[&offset].send(message);
        }
    }

    fn ask(&self, request: &Request) {
        self.send(0, encode_request(self.dialect, &self.name, request));
    }

    fn push(&self, node: NodeState) {
        let offset = if self.dialect.has_publisher_port() {
            2
        } else {
            1
        };
        let update = Update::Node(node);
        self.send(offset, encode_update(self.dialect, &self.identity, &update));
    }

    async fn work(mut self, version: String, mut inbox: UnboundedReceiver<(u16, Message)>) {
        let password = self.admin.then(|| "sesame".to_owned());
        self.send(
            self.ttl(),
            vec![Message::new(vec![Bytes::from_static(b"INIT")])],
        );
        self.ask(&Request::Auth(Auth {
            admin: self.admin,
            name: self.name.clone(),
            version: Some(version),
            credentials: match self.dialect.passwords {
                Passwords::One => Credentials::One(password),
                Passwords::Two => Credentials::Two {
                    server: None,
                    admin: password,
                },
            },
        }));
        let mut reassembler = Reassembler::new();
        let mut next = Instant::now();
        loop {
            tokio::select! {
                biased;
                message = inbox.recv() => {
                    let Some((offset, mut message)) = message else { return };
                    if offset == self.ttl() {
                        self.send(offset, vec![Message::new(vec![Bytes::from_static(b"PONG")])]);
                    } else if offset == 0 {
                        let answer = decode_answer(&message, &CommandLimits::default()).unwrap();
                        self.answered(answer);
                    } else {
                        // A link that was cut between a header and its chunk starts anew.
                        if message.frames().len() > 1 && !reassembler.expects_header() {
                            reassembler = Reassembler::new();
                        }
                        let update = reassembler
                            .push(self.dialect, &mut message, &NodeLimits::default())
                            .unwrap();
                        match update {
                            Some(Update::Node(node)) => self.arrived(node, false),
                            Some(Update::Delta(_)) => panic!("nobody sent a delta"),
                            None => {}
                        }
                    }
                }
                () = sleep_until(next) => {
                    next = Instant::now() + Duration::from_millis(self.net.random(1..60));
                    self.create_or_edit();
                }
            }
            if matches!(self.stage(), Stage::Gone(_)) {
                return;
            }
        }
    }

    fn stage(&self) -> Stage {
        self.scene.lock().unwrap().stage.clone()
    }

    fn set(&self, stage: Stage) {
        self.scene.lock().unwrap().stage = stage;
    }

    fn answered(&mut self, answer: OwnedAnswer) {
        match (answer, self.stage()) {
            (OwnedAnswer::Auth(text), Stage::Auth) => {
                self.set(Stage::Lobby);
                match text.as_str() {
                    "RUNNING" => self.ask(&Request::CatalogRequest),
                    "LOBBY" if self.admin => self.offer(),
                    "LOBBY" => {}
                    _ => self.set(Stage::Gone(text)),
                }
            }
            (OwnedAnswer::Users(users), _) => {
                let names = users.as_dict().unwrap().iter();
                self.scene.lock().unwrap().users = names
                    .map(|(name, _)| name.as_str().unwrap().to_owned())
                    .collect();
            }
            (OwnedAnswer::Catalog(nodes), Stage::Lobby) => {
                let mut rest: Vec<u32> = nodes.iter().map(|id| number(*id)).collect();
                let first = rest.pop().expect("an empty catalog");
                self.set(Stage::Fetching(first, rest));
                self.ask(&Request::Get(id(first)));
            }
            (OwnedAnswer::Set(node), Stage::Fetching(awaited, _)) => {
                assert_eq!(number(node.id), awaited);
                self.arrived(node, true);
            }
            (OwnedAnswer::Removed, Stage::Fetching(..)) => self.fetch_next(),
            (OwnedAnswer::UploadAccepted, Stage::Offering) => {
                let nodes = self.scene.lock().unwrap().nodes.clone();
                for (n, held) in nodes {
                    match self.dialect.upload {
                        Transfer::Set => {
                            self.ask(&Request::UploadSet(state(self.dialect, n, &held)))
                        }
                        Transfer::DataLink => self.push(state(self.dialect, n, &held)),
                    }
                }
                self.ask(&Request::UploadEnd);
            }
            (OwnedAnswer::UploadDone, Stage::Offering) => self.set(Stage::Active),
            (OwnedAnswer::Delete(node), _) => {
                self.scene.lock().unwrap().nodes.remove(&number(node));
            }
            (OwnedAnswer::Right { nodes, owner, .. }, _) => {
                let mut scene = self.scene.lock().unwrap();
                for node in nodes {
                    if let Some(held) = scene.nodes.get_mut(&number(node)) {
                        held.owner.clone_from(&owner);
                    }
                }
            }
            (OwnedAnswer::Disconnect { reason }, _) => self.set(Stage::Gone(reason)),
            (answer, stage) => panic!("{}: {answer:?} while {stage:?}", self.name),
        }
    }

    fn offer(&self) {
        let mut scene = self.scene.lock().unwrap();
        scene.stage = Stage::Offering;
        for n in 1..=12 {
            let held = Held {
                owner: "COMMON".into(),
                data: format!("node {n}"),
            };
            scene.nodes.insert(n, held);
        }
        let nodes = scene.nodes.keys().map(|n| id(*n)).collect();
        drop(scene);
        self.ask(&Request::UploadInit { nodes });
    }

    fn store(&self, node: NodeState) {
        let mut scene = self.scene.lock().unwrap();
        let data = text(&node.payload);
        let held = scene.nodes.entry(number(node.id)).or_insert_with(|| Held {
            owner: node.owner.into(),
            data: String::new(),
        });
        held.data = data;
    }

    fn arrived(&mut self, node: NodeState, set: bool) {
        match self.stage() {
            Stage::Fetching(awaited, _)
                if set
                    || (number(node.id) == awaited && self.dialect.join == Transfer::DataLink) =>
            {
                self.store(node);
                self.fetch_next();
            }
            Stage::Fetching(..) if self.dialect.join_done => self.late.push(node),
            Stage::Active => self.store(node),
            stage => panic!("{}: node {} while {stage:?}", self.name, node.id),
        }
    }

    fn fetch_next(&mut self) {
        let Stage::Fetching(_, mut rest) = self.stage() else {
            return;
        };
        if let Some(next) = rest.pop() {
            self.set(Stage::Fetching(next, rest));
            return self.ask(&Request::Get(id(next)));
        }
        self.set(Stage::Active);
        for node in std::mem::take(&mut self.late) {
            self.store(node);
        }
        if self.dialect.join_done {
            self.ask(&Request::JoinDone);
        }
    }

    fn create_or_edit(&mut self) {
        if self.stage() != Stage::Active || self.edits == 0 {
            return;
        }
        self.edits -= 1;
        self.serial += 1;
        let mut scene = self.scene.lock().unwrap();
        let mine: Vec<u32> = scene
            .nodes
            .iter()
            .filter(|(_, held)| held.owner == "COMMON" || held.owner == self.name)
            .map(|(n, _)| *n)
            .collect();
        let what = self.net.random(0..20);
        let pick = self.net.random(0..mine.len().max(1) as u64) as usize;
        let Some(n) = mine.get(pick).copied().filter(|_| what != 0) else {
            let held = Held {
                owner: "COMMON".into(),
                data: format!("new {}", self.serial),
            };
            scene.nodes.insert(self.serial, held.clone());
            drop(scene);
            return self.push(state(self.dialect, self.serial, &held));
        };
        if self.commands && what == 1 && scene.nodes.len() > 4 {
            if !self.dialect.echo_edits {
                scene.nodes.remove(&n);
            }
            drop(scene);
            return self.ask(&Request::Delete(id(n)));
        }
        if self.commands && what < 5 {
            let owner = if what == 2 { "COMMON" } else { &self.name }.to_owned();
            if !self.dialect.echo_edits {
                scene.nodes.get_mut(&n).unwrap().owner.clone_from(&owner);
            }
            drop(scene);
            let nodes = vec![id(n)];
            return self.ask(&Request::Right { nodes, owner });
        }
        let held = scene.nodes.get_mut(&n).unwrap();
        held.data = format!("{} {}", self.name, self.serial);
        let node = state(self.dialect, n, held);
        drop(scene);
        self.push(node);
    }
}

/// One session: two edit with everything they have, two on lines that are cut now and then, and
/// one who joins in the middle of it. Afterwards all have the same.
async fn simulate(version: &'static str, seed: u64) {
    let (net, listeners) = Net::new(seed);
    let data = tempfile::tempdir().unwrap();
    let mut config = Config {
        data_dir: data.path().to_owned(),
        ..Config::default()
    };
    // The disk is no part of it.
    config.durability.flush = Flush::Off;
    config.session.admin_password = Some(Secret::new("sesame"));
    let server = Server::with_listeners(config, listeners, None).unwrap();

    // Over a link that is cut its own edits would be lost unnoticed, as with libzmq; where pushes
    // have a link of their own the others can be cut all the same.
    let edits_over_cut_lines = if net.ports_of(version) == Ports::Four {
        120
    } else {
        0
    };
    let plan = |number, name, admin, edits, commands| Plan {
        number,
        name,
        admin,
        edits,
        commands,
    };
    let mut scenes = vec![(
        "alice",
        enter(&net, version, &plan(1, "alice", true, 150, true)),
    )];
    sleep(Duration::from_millis(1500)).await;
    scenes.push((
        "bob",
        enter(&net, version, &plan(2, "bob", false, 150, true)),
    ));
    for (number, name) in [(3, "carol"), (4, "dave")] {
        let plan = plan(number, name, false, edits_over_cut_lines, false);
        scenes.push((name, enter(&net, version, &plan)));
    }
    sleep(Duration::from_millis(3000)).await;
    for round in 0..6 {
        sleep(Duration::from_millis(net.random(100..1500))).await;
        let client = 3 + u8::from(net.random(0..2) == 1);
        let what = net.random(0..3);
        if what != 1 {
            net.cut(client, 1);
        }
        if what != 0 {
            net.cut(client, 0);
        }
        if round == 2 {
            let plan = plan(5, "eve", false, 30, true);
            scenes.push(("eve", enter(&net, version, &plan)));
        }
    }
    sleep(Duration::from_secs(30)).await;
    let late = enter(&net, version, &plan(6, "zoe", false, 0, false));
    sleep(Duration::from_secs(5)).await;

    let truth = late.lock().unwrap().nodes.clone();
    assert_eq!(late.lock().unwrap().stage, Stage::Active);
    assert!(truth.len() > 3);
    for (name, scene) in &scenes {
        let scene = scene.lock().unwrap();
        assert_eq!(scene.stage, Stage::Active, "{name}");
        assert_eq!(scene.users.len(), 6, "{name}: {:?}", scene.users);
        for n in truth.keys().chain(scene.nodes.keys()) {
            assert_eq!(scene.nodes.get(n), truth.get(n), "{name}: node {n}");
        }
    }
    let counters = server.counters();
    for count in [Count::Panics, Count::Leaves, Count::MalformedMessages] {
        assert_eq!(counters.value(count), 0, "{}", count.name());
    }
    assert!(counters.value(Count::Resumed) > 0, "{}", counters.to_json());
    server.stop().await.unwrap();
    for (name, scene) in &scenes {
        let stage = scene.lock().unwrap().stage.clone();
        assert!(
            matches!(stage, Stage::Gone(_)),
            "{name} was not told: {stage:?}"
        );
    }
}

impl Net {
    fn ports_of(&self, version: &str) -> Ports {
        dialect::for_version(Some(version)).unwrap().ports
    }
}

fn run(version: &'static str) {
    let only = std::env::var("SIMULATION_SEED").ok();
    let seeds = match only.and_then(|seed| seed.parse().ok()) {
        Some(seed) => seed..seed + 1,
        None => {
            let clock = std::time::UNIX_EPOCH.elapsed().unwrap();
            let first = u64::from(clock.subsec_nanos());
            first..first + 2
        }
    };
    for seed in seeds {
        let outcome = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .start_paused(true)
                .build()
                .unwrap();
            runtime.block_on(simulate(version, seed));
        })
        .join();
        assert!(
            outcome.is_ok(),
            "{version} fails with SIMULATION_SEED={seed}"
        );
    }
}

#[test]
fn g2_clients_on_lines_that_are_cut_end_with_the_same() {
    run("0.0.20");
}

#[test]
fn g5_clients_on_lines_that_are_cut_end_with_the_same() {
    run("0.1.31");
}

#[test]
fn g18_clients_on_lines_that_are_cut_end_with_the_same() {
    run("0.9.11");
}
