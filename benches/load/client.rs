//! A client of one of the three generations that count: logs in, brings the scene or fetches it, and
//! keeps its heartbeat, as the packages do, but looks at nothing that it need not look at.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use multi_user_server::wire::client::{OwnedAnswer, encode_request};
use multi_user_server::wire::command::{Auth, Credentials, Request};
use multi_user_server::wire::dialect::{self, Dialect, Heartbeat, Passwords, Ports, Transfer};
use multi_user_server::wire::framed;
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::role::Role;
use multi_user_server::wire::zmtp::SocketType;
use rand::TryRngCore;
use tokio::task::JoinSet;

use crate::ear::{Ear, Room};
use crate::foreign;
use crate::link::{self, Framing, Heads, Reader, Sender};
use crate::payload::{Content, Purpose, Stamp, Template, uuid};

/// Short pushes are written together until they are so much, as libzmq does.
const TOGETHER: usize = 8 << 10;

/// Longest frame that is kept whole on the command link before the client works: a long catalog.
const CATALOG: usize = 8 << 20;
/// The same afterwards, where there are dicts of all users' views (four ports), and elsewhere.
const USERS: usize = 256 << 10;
const NOTHING: usize = 2 << 10;
/// Clients with four ports send this often.
const PACE: Duration = Duration::from_millis(50);

/// The server that is measured.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) port: u16,
    pub(crate) dialect: &'static Dialect,
    pub(crate) version: &'static str,
    pub(crate) password: String,
    /// Whether it only forwards: no login, no nodes, no heartbeat.
    pub(crate) bare: bool,
    /// Whether data go through the `zeromq` crate.
    pub(crate) foreign: bool,
}

impl Target {
    /// A server of the generation with these ports.
    pub(crate) fn new(ports: Ports, port: u16) -> Self {
        let version = match ports {
            Ports::Four => "0.0.20",
            Ports::Three => "0.9.11",
            Ports::Framed => "0.10.2",
        };
        Self {
            port,
            dialect: dialect::for_version(Some(version)).unwrap(),
            version,
            password: "admin".to_owned(),
            bare: false,
            foreign: false,
        }
    }

    fn address(&self, role: Role) -> SocketAddr {
        let port = self.port + role.port_offset(self.dialect.ports);
        (Ipv4Addr::LOCALHOST, port).into()
    }

    /// The bytes in front of frames of a role.
    pub(crate) fn framing(&self, role: Role) -> Framing {
        match (self.dialect.ports, role) {
            (Ports::Framed, Role::Command) => Framing::Chunks(framed::Role::Command),
            (Ports::Framed, Role::Ttl) => Framing::Chunks(framed::Role::Ttl),
            (Ports::Framed, _) => Framing::Chunks(framed::Role::Data),
            (_, Role::Publisher) => Framing::Zmtp(SocketType::Push),
            _ => Framing::Zmtp(SocketType::Dealer),
        }
    }
}

/// Where a client's nodes go.
#[derive(Debug)]
enum Up {
    Own(Sender),
    Foreign(foreign::Sender),
}

/// One client. Dropped, its links are closed.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) index: u16,
    pub(crate) ear: Rc<Ear>,
    target: Rc<Target>,
    name: String,
    identity: Identity,
    commands: Sender,
    up: Up,
    /// Short pushes that have not been written.
    waiting: RefCell<Vec<u8>>,
    keep: Rc<Cell<usize>>,
    sent: Cell<u64>,
    _tasks: JoinSet<()>,
}

impl Client {
    /// Connects all links.
    pub(crate) async fn connect(target: &Rc<Target>, room: &Rc<Room>, index: u16) -> Result<Self> {
        let mut bytes = [0; 16];
        rand::rngs::OsRng.try_fill_bytes(&mut bytes).unwrap();
        let identity = Identity::new(&bytes).unwrap();
        let ear = Ear::new(room, index);
        let mut tasks = JoinSet::new();
        let link =
            async |role| link::connect(target.address(role), target.framing(role), &identity).await;
        let (commands, reader) = link(Role::Command).await?;
        let keep = reader.keep();
        keep.set(CATALOG);
        tasks.spawn_local(listen(reader, Rc::clone(&ear), "command", Ear::on_command));
        let hello = target.bare.then_some("hello");
        let up = if target.foreign {
            let addresses = (
                target.address(Role::Subscriber),
                (target.dialect.ports == Ports::Four).then(|| target.address(Role::Publisher)),
            );
            Up::Foreign(foreign::connect(addresses, &identity, &ear, &mut tasks, hello).await?)
        } else {
            let (mut data, reader) = link(Role::Subscriber).await?;
            tasks.spawn_local(listen(reader, Rc::clone(&ear), "data", Ear::on_data));
            if let Some(hello) = hello {
                data.send(&one(hello)).await?;
            }
            if target.dialect.ports == Ports::Four {
                let (publisher, reader) = link(Role::Publisher).await?;
                tasks.spawn_local(listen(reader, Rc::clone(&ear), "publisher", |_, _| {}));
                data = publisher;
            }
            Up::Own(data)
        };
        if let Some(hello) = hello {
            commands.send(&one(hello)).await?;
        } else {
            let (ttl, reader) = link(Role::Ttl).await?;
            tasks.spawn_local(beat(ttl, reader, target.dialect.heartbeat));
        }
        Ok(Self {
            index,
            ear,
            target: Rc::clone(target),
            name: format!("user{index:04}"),
            identity,
            commands,
            up,
            waiting: RefCell::default(),
            keep,
            sent: Cell::new(0),
            _tasks: tasks,
        })
    }

    /// Logs in. The first client is admin.
    pub(crate) async fn log_in(&self) -> Result<()> {
        let admin = self.index == 0;
        let password = admin.then(|| self.target.password.clone());
        let dialect = self.target.dialect;
        self.request(&Request::Auth(Auth {
            admin,
            name: self.name.clone(),
            version: dialect
                .sends_version
                .then(|| self.target.version.to_owned()),
            credentials: match dialect.passwords {
                Passwords::One => Credentials::One(password),
                Passwords::Two => Credentials::Two {
                    server: Some(String::new()),
                    admin: password,
                },
            },
        }))
        .await?;
        let answer = self
            .ear
            .answer("the answer to a login", |answer| match answer {
                OwnedAnswer::Auth(text) => Some(text),
                _ => None,
            });
        let text = answer.await?;
        ensure!(!text.contains("FAILED"), "{}: {text}", self.name);
        Ok(())
    }

    /// Brings the first nodes.
    pub(crate) async fn upload(&self, count: u32, size: usize) -> Result<()> {
        let nodes = (0..count).map(uuid).collect();
        self.request(&Request::UploadInit { nodes }).await?;
        self.ear
            .answer("the answer to an offer", |answer| match answer {
                OwnedAnswer::UploadAccepted => Some(()),
                _ => None,
            })
            .await?;
        let as_data = self.target.dialect.upload == Transfer::DataLink;
        let mut node = if as_data {
            self.template(Content::Opaque, size)
        } else {
            let framing = self.target.framing(Role::Command);
            Template::upload(self.target.dialect, framing, Content::Opaque, size)
        };
        for n in 0..count {
            let stamp = self.stamp(Purpose::Upload, n);
            if as_data {
                self.write(node.filled(&stamp)).await?;
            } else {
                self.commands.write(&node.filled(&stamp)).await?;
            }
        }
        self.request(&Request::UploadEnd).await?;
        self.ear
            .answer("the end of an upload", |answer| {
                matches!(answer, OwnedAnswer::UploadDone).then_some(())
            })
            .await?;
        self.work();
        Ok(())
    }

    /// Fetches all nodes, one after the other, as clients do; over a line that takes so long there and
    /// back.
    pub(crate) async fn join(&self, distance: Duration) -> Result<()> {
        self.request(&Request::CatalogRequest).await?;
        let catalog = self.ear.answer("the catalog", |answer| match answer {
            OwnedAnswer::Catalog(nodes) => Some(nodes),
            _ => None,
        });
        for node in catalog.await?.into_iter().rev() {
            let fetched = self.ear.fetched.get();
            if self.target.dialect.join == Transfer::DataLink {
                self.ear.awaited.set(Some(node));
            }
            if !distance.is_zero() {
                tokio::time::sleep(distance).await;
            }
            self.request(&Request::Get(node)).await?;
            let ear = &self.ear;
            ear.room
                .until("a node that was asked for", || {
                    ear.fetched.get() > fetched || ear.cut.get().is_some()
                })
                .await?;
            if let Some(link) = ear.cut.get() {
                bail!("{} lost its {link} link while joining", self.name);
            }
        }
        if self.target.dialect.join_done {
            self.request(&Request::JoinDone).await?;
        }
        self.work();
        Ok(())
    }

    fn work(&self) {
        self.ear.working.set(true);
        let users = self.target.dialect.ports == Ports::Four;
        self.keep.set(if users { USERS } else { NOTHING });
    }

    /// There is nothing to join.
    pub(crate) fn work_at_once(&self) {
        self.work();
    }

    async fn request(&self, request: &Request) -> Result<()> {
        for message in encode_request(self.target.dialect, &self.name, request) {
            self.commands.send(&message).await?;
        }
        Ok(())
    }

    /// A change of a node by this client.
    pub(crate) fn template(&self, content: Content, size: usize) -> Template {
        let framing = self.target.framing(Role::Publisher);
        Template::update(self.target.dialect, framing, &self.identity, content, size)
    }

    /// A view update by this client.
    pub(crate) fn view(&self) -> Template {
        let framing = self.target.framing(Role::Command);
        Template::view(self.target.dialect, framing, &self.name)
    }

    fn stamp(&self, purpose: Purpose, node: u32) -> Stamp {
        let number = self.sent.get() + 1;
        self.sent.set(number);
        Stamp {
            purpose: purpose as u16,
            sender: self.index,
            node,
            number,
            at: self.ear.room.now(),
        }
    }

    /// Pushes a change of a node. Gives its number.
    pub(crate) async fn push(&self, change: &mut Template, node: u32) -> Result<u64> {
        let stamp = self.stamp(Purpose::Live, node);
        self.write(change.filled(&stamp)).await?;
        Ok(stamp.number)
    }

    /// The same, but short ones are written together, as libzmq does: the last of them with the
    /// next ones, or by [`flush`](Self::flush).
    pub(crate) async fn push_soon(&self, change: &mut Template, node: u32) -> Result<()> {
        let stamp = self.stamp(Purpose::Live, node);
        let parts = change.filled(&stamp);
        if parts.iter().map(|part| part.len()).sum::<usize>() >= TOGETHER {
            self.flush().await?;
            return self.write(parts).await;
        }
        let waiting = {
            let mut waiting = self.waiting.borrow_mut();
            parts
                .iter()
                .for_each(|part| waiting.extend_from_slice(part));
            waiting.len()
        };
        match waiting >= TOGETHER {
            true => self.flush().await,
            false => Ok(()),
        }
    }

    /// Writes what waits to be.
    pub(crate) async fn flush(&self) -> Result<()> {
        let mut waiting = self.waiting.take();
        self.write([&waiting, &[]]).await?;
        waiting.clear();
        self.waiting.replace(waiting);
        Ok(())
    }

    /// Looks elsewhere.
    pub(crate) async fn look(&self, view: &mut Template) -> Result<()> {
        let stamp = self.stamp(Purpose::View, 0);
        Ok(self.commands.write(&view.filled(&stamp)).await?)
    }

    async fn write(&self, parts: [&[u8]; 2]) -> Result<()> {
        match &self.up {
            Up::Own(sender) => sender.write(&parts).await?,
            Up::Foreign(sender) => sender.write(parts).await?,
        }
        Ok(())
    }

    /// Reads no more of what comes on the data link.
    pub(crate) fn stop_reading(&self) {
        self.ear.stopped.set(true);
    }

    /// Reads so many bytes per second of what comes on the data link.
    pub(crate) fn read_slowly(&self, speed: f64) {
        self.ear.speed.set(speed);
    }

    /// Reads on.
    pub(crate) fn read_on(&self) {
        self.ear.speed.set(f64::INFINITY);
        self.ear.stopped.set(false);
        self.ear.resumed.notify_waiters();
    }
}

async fn listen(mut reader: Reader, ear: Rc<Ear>, link: &'static str, on: fn(&Ear, &Heads)) {
    loop {
        if link == "data" && ear.stopped.get() {
            ear.resumed.notified().await;
        }
        let Ok(heads) = reader.next().await else {
            return ear.cut(link);
        };
        on(&ear, heads);
        if link == "data" && ear.speed.get().is_finite() {
            let pause = heads.len() as f64 / ear.speed.get();
            tokio::time::sleep(Duration::from_secs_f64(pause)).await;
        }
    }
}

async fn beat(sender: Sender, mut reader: Reader, heartbeat: Heartbeat) {
    let beating = async {
        sender.send(&one("INIT")).await?;
        loop {
            reader.next().await?;
            if matches!(heartbeat, Heartbeat::Echo50ms { .. }) {
                tokio::time::sleep(PACE).await;
            }
            sender.send(&one("PONG")).await?;
        }
    };
    let _: io::Result<()> = beating.await;
}

fn one(text: &'static str) -> Message {
    Message::new(vec![Bytes::from_static(text.as_bytes())])
}
