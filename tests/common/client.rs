//! A client as the packages of a version are: its links, its requests, and what it knows of the
//! session, kept from whatever the server says.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request, encode_update};
use multi_user_server::wire::command::{Auth, CommandLimits, Credentials, Request};
use multi_user_server::wire::dialect::{
    self, Dialect, Family, Passwords, Ports as Layout, Transfer,
};
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{NodeLimits, NodeState, Reassembler, Update};
use multi_user_server::wire::pickle::Value;
use tokio::task::JoinSet;

use super::link::{Link, Via};
use super::server::{ADMIN, Ports};
use super::{identity, within};

/// How one logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum As<'a> {
    /// With no password.
    User,
    /// With the tests' admin password.
    Admin,
    /// With something in the password field.
    Password(&'a str),
}

/// Something that came from the server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Heard {
    Answer(OwnedAnswer),
    Update(Update),
    /// The command link is closed.
    CommandsEnded,
    /// The data link is closed.
    NodesEnded,
}

/// A scripted client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) identity: Identity,
    pub(crate) dialect: &'static Dialect,
    pub(crate) version: &'static str,
    pub(crate) name: String,
    pub(crate) commands: Link,
    pub(crate) data: Link,
    pub(crate) publisher: Option<Link>,
    heartbeat: JoinSet<()>,
    reassembler: Reassembler,
    ended: (bool, bool),
    /// All nodes it was told of, as they are now.
    pub(crate) nodes: BTreeMap<NodeId, NodeState>,
    /// The names in the last users dict.
    pub(crate) users: BTreeSet<String>,
    /// Why it was sent away.
    pub(crate) dismissed: Option<String>,
}

impl Client {
    /// Opens all links of a client of this version.
    pub(crate) async fn connect(ports: &Ports, version: &'static str, via: Via) -> Self {
        Self::connect_as(ports, version, via, identity()).await
    }

    /// The same under a given identity.
    pub(crate) async fn connect_as(
        ports: &Ports,
        version: &'static str,
        via: Via,
        identity: Identity,
    ) -> Self {
        let dialect = dialect::for_version(Some(version)).unwrap();
        let framed = |role| Link::framed(via, ports.at(0), &identity, role);
        let dealer = |offset| Link::dealer(via, ports.at(offset), &identity);
        let (commands, data, publisher, ttl) = match dialect.ports {
            Layout::Four => (
                dealer(0).await,
                dealer(1).await,
                Some(Link::push(via, ports.at(2), &identity).await),
                dealer(3).await,
            ),
            Layout::Three => (dealer(0).await, dealer(1).await, None, dealer(2).await),
            Layout::Framed => (
                framed(b'C').await,
                framed(b'D').await,
                None,
                framed(b'T').await,
            ),
        };
        let mut heartbeat = JoinSet::new();
        heartbeat.spawn(ttl.beat());
        Self {
            identity,
            dialect,
            version,
            name: String::new(),
            commands,
            data,
            publisher,
            heartbeat,
            reassembler: Reassembler::new(),
            ended: (false, false),
            nodes: BTreeMap::new(),
            users: BTreeSet::new(),
            dismissed: None,
        }
    }

    /// Connects, logs in, and is let in.
    pub(crate) async fn enter(
        ports: &Ports,
        version: &'static str,
        via: Via,
        name: &str,
        how: As<'_>,
    ) -> Self {
        let mut client = Self::connect(ports, version, via).await;
        let answer = client.log_in(name, how).await;
        assert!(!answer.contains("FAILED"), "{name}: {answer}");
        client
    }

    /// Logs in; gives the answer's text.
    pub(crate) async fn log_in(&mut self, name: &str, how: As<'_>) -> String {
        name.clone_into(&mut self.name);
        self.request(&Request::Auth(auth(self.dialect, self.version, name, how)));
        self.answered("the answer to a login", |answer| match answer {
            OwnedAnswer::Auth(text) => Some(text.clone()),
            _ => None,
        })
        .await
    }

    /// Brings the first nodes.
    pub(crate) async fn upload(&mut self, nodes: &[NodeState]) {
        self.offer(nodes).await;
        for node in nodes {
            match self.dialect.upload {
                Transfer::DataLink => self.push(node),
                _ => self.request(&Request::UploadSet(node.clone())),
            }
        }
        self.request(&Request::UploadEnd);
        self.answered("the end of an upload", |answer| {
            matches!(answer, OwnedAnswer::UploadDone).then_some(())
        })
        .await;
        for node in nodes {
            self.nodes.insert(node.id, node.clone());
        }
    }

    /// Offers nodes and is accepted.
    pub(crate) async fn offer(&mut self, nodes: &[NodeState]) {
        let nodes = nodes.iter().map(|node| node.id).collect();
        self.request(&Request::UploadInit { nodes });
        self.answered("the answer to an offer", |answer| match answer {
            OwnedAnswer::UploadAccepted => Some(()),
            OwnedAnswer::UploadRejected => panic!("the offer was rejected"),
            _ => None,
        })
        .await;
    }

    /// Fetches all nodes, as a late joiner does.
    pub(crate) async fn join(&mut self) {
        self.fetch().await;
        if self.dialect.join_done {
            self.request(&Request::JoinDone);
        }
    }

    /// Fetches all nodes and does not say that it is done.
    pub(crate) async fn fetch(&mut self) {
        self.request(&Request::CatalogRequest);
        let mut catalog = self
            .answered("the catalog", |answer| match answer {
                OwnedAnswer::Catalog(nodes) => Some(nodes.clone()),
                _ => None,
            })
            .await;
        while let Some(id) = catalog.pop() {
            self.request(&Request::Get(id));
            self.wait("a requested node", |heard| match heard {
                Heard::Update(Update::Node(node)) => (node.id == id).then_some(()),
                Heard::Answer(OwnedAnswer::Set(node)) => (node.id == id).then_some(()),
                Heard::Answer(OwnedAnswer::Removed) => Some(()),
                _ => None,
            })
            .await;
        }
    }

    /// Sends a command in its own name.
    pub(crate) fn request(&self, request: &Request) {
        let request = match request {
            Request::UploadSet(node) => &Request::UploadSet(as_sent(self.dialect, node)),
            request => request,
        };
        for message in encode_request(self.dialect, &self.name, request) {
            self.commands.send(message);
        }
    }

    /// Pushes a node's whole state.
    pub(crate) fn push(&self, node: &NodeState) {
        self.push_as(&self.identity, node);
    }

    /// The same, with this sender in the header.
    pub(crate) fn push_as(&self, sender: &Identity, node: &NodeState) {
        for message in encode_update(
            self.dialect,
            sender,
            &Update::Node(as_sent(self.dialect, node)),
        ) {
            self.publish(message);
        }
    }

    /// Sends a message where nodes go.
    pub(crate) fn publish(&self, message: Message) {
        self.publisher.as_ref().unwrap_or(&self.data).send(message);
    }

    /// The next thing the server says. What it means for the nodes and users is noted.
    pub(crate) async fn hear(&mut self) -> Heard {
        loop {
            let heard = tokio::select! {
                message = self.commands.recv(), if !self.ended.0 => match message {
                    Some(message) => {
                        let answer = decode_answer(&message, &CommandLimits::default());
                        Heard::Answer(answer.unwrap())
                    }
                    None => {
                        self.ended.0 = true;
                        Heard::CommandsEnded
                    }
                },
                message = self.data.recv(), if !self.ended.1 => match message {
                    Some(mut message) => {
                        let limits = NodeLimits::default();
                        let update = self.reassembler.push(self.dialect, &mut message, &limits);
                        match update.unwrap() {
                            Some(update) => Heard::Update(update),
                            None => continue,
                        }
                    }
                    None => {
                        self.ended.1 = true;
                        Heard::NodesEnded
                    }
                },
                else => std::future::pending().await,
            };
            let heard = plain(heard);
            self.note(&heard);
            return heard;
        }
    }

    fn note(&mut self, heard: &Heard) {
        match heard {
            Heard::Update(Update::Node(node)) | Heard::Answer(OwnedAnswer::Set(node)) => {
                let owner = self.nodes.get(&node.id).map(|node| node.owner.clone());
                let known = self.nodes.entry(node.id).or_insert_with(|| node.clone());
                *known = node.clone();
                // Only a Right changes the owner of what is known.
                if let Some(owner) = owner {
                    known.owner = owner;
                }
            }
            Heard::Answer(OwnedAnswer::Delete(id)) => {
                self.nodes.remove(id);
            }
            Heard::Answer(OwnedAnswer::Right { nodes, owner, .. }) => {
                for id in nodes {
                    if let Some(node) = self.nodes.get_mut(id) {
                        node.owner = owner.as_str().into();
                    }
                }
            }
            Heard::Answer(OwnedAnswer::Users(Value::Dict(users))) => {
                self.users = users
                    .iter()
                    .filter_map(|(name, _)| name.as_str().map(str::to_owned))
                    .collect();
            }
            Heard::Answer(OwnedAnswer::Disconnect { reason }) => {
                self.dismissed = Some(reason.clone());
            }
            _ => {}
        }
    }

    /// Hears the server out until `find` finds what must come.
    pub(crate) async fn wait<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(&Heard) -> Option<T>,
    ) -> T {
        let what = format!("{what} (for {})", self.name);
        within(&what, async {
            loop {
                let heard = self.hear().await;
                if let Some(found) = find(&heard) {
                    return found;
                }
                if let Heard::Answer(OwnedAnswer::Disconnect { reason }) = &heard {
                    panic!("{what}: sent away instead: {reason}");
                }
                assert!(heard != Heard::CommandsEnded, "{what}: cut off instead");
            }
        })
        .await
    }

    /// Hears the server out until an answer is what must come.
    pub(crate) async fn answered<T>(
        &mut self,
        what: &str,
        mut find: impl FnMut(&OwnedAnswer) -> Option<T>,
    ) -> T {
        self.wait(what, |heard| match heard {
            Heard::Answer(answer) => find(answer),
            _ => None,
        })
        .await
    }

    /// Hears the server out until what is known is as it must be.
    pub(crate) async fn until(&mut self, what: &str, holds: impl Fn(&Self) -> bool) {
        let label = format!("{what} (for {})", self.name);
        within(&label, async {
            while !holds(self) {
                self.hear().await;
            }
        })
        .await;
    }

    /// Asks for a node of somebody else's, and gives the owner that the server names in answer. All
    /// that was sent on the command link before is dealt with then.
    pub(crate) async fn refused_right(&mut self, node: NodeId, owner: &str) -> String {
        self.request(&Request::Right {
            nodes: vec![node],
            owner: owner.to_owned(),
        });
        self.answered("the answer to a right", |answer| match answer {
            OwnedAnswer::Right { nodes, owner, .. } if nodes.contains(&node) => Some(owner.clone()),
            _ => None,
        })
        .await
    }

    /// Whether the server has closed the command link.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.ended.0
    }

    /// Opens the command link once more, as clients do when it broke (of generations before the
    /// newest).
    pub(crate) async fn reopen_commands(&mut self, ports: &Ports, via: Via) {
        self.commands = Link::dealer(via, ports.at(0), &self.identity).await;
        self.ended.0 = false;
    }

    /// The same with the data link. What the old one brought of a node is gone with it.
    pub(crate) async fn reopen_data(&mut self, ports: &Ports, via: Via) {
        self.data = Link::dealer(via, ports.at(1), &self.identity).await;
        self.reassembler = Reassembler::new();
        self.ended.1 = false;
    }

    /// Closes all links at once.
    pub(crate) fn close(self) {}
}

/// A login as clients of a dialect send it.
pub(crate) fn auth(dialect: &Dialect, version: &str, name: &str, how: As<'_>) -> Auth {
    let password = match how {
        As::User => None,
        As::Admin => Some(ADMIN.to_owned()),
        As::Password(text) => Some(text.to_owned()),
    };
    Auth {
        admin: how != As::User,
        name: name.to_owned(),
        version: dialect.sends_version.then(|| version.to_owned()),
        credentials: match dialect.passwords {
            Passwords::One => Credentials::One(password),
            Passwords::Two => Credentials::Two {
                server: Some(String::new()),
                admin: password,
            },
        },
    }
}

/// A text as a pickle of the oldest protocol that has lengths, made by hand.
pub(crate) fn pickled(text: &str) -> Bytes {
    let len = u32::try_from(text.len()).unwrap();
    [&b"\x80\x03X"[..], &len.to_le_bytes(), text.as_bytes(), b"."]
        .concat()
        .into()
}

/// What stands in front of the bytes that tests use as payloads, and their length: a dict of them,
/// as a pickle and in marshal.
const PICKLED: &[u8] = b"\x80\x04}\x8c\x04dataB";
const MARSHALLED: &[u8] = b"{z\x04datas";

/// The node with its payload as clients send it: a dict, which is looked into on the way.
fn as_sent(dialect: &Dialect, node: &NodeState) -> NodeState {
    let length = u32::try_from(node.payload.len()).unwrap().to_le_bytes();
    let (before, after) = match dialect.family {
        Family::Marshal => (MARSHALLED, &b"0"[..]),
        _ => (PICKLED, &b"s."[..]),
    };
    let payload = [before, &length, &node.payload, after].concat();
    NodeState {
        payload: payload.into(),
        ..node.clone()
    }
}

/// What was heard with payloads as tests have them.
fn plain(heard: Heard) -> Heard {
    let unpickled = |mut node: NodeState| {
        for (before, after) in [(PICKLED, 2), (MARSHALLED, 1)] {
            if node.payload.starts_with(before) {
                let inside = before.len() + 4..node.payload.len() - after;
                node.payload = node.payload.slice(inside);
                break;
            }
        }
        node
    };
    match heard {
        Heard::Update(Update::Node(node)) => Heard::Update(Update::Node(unpickled(node))),
        Heard::Answer(OwnedAnswer::Set(node)) => Heard::Answer(OwnedAnswer::Set(unpickled(node))),
        heard => heard,
    }
}
