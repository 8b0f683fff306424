//! A link whose other end is gone, while what it sent before has not been read.

use bytes::Bytes;
use tokio::io::{AsyncWriteExt, DuplexStream, duplex, split};

use super::*;
use crate::ports::Ports;
use crate::ports::linked::{HERE, connected, linked};
use crate::session::Event;
use crate::session::outlet::{Joins, Outlet};
use crate::wire::dialect;
use crate::wire::identity::NodeId;
use crate::wire::message::Encoded;
use crate::wire::node::{NodeState, Update, encode_node};

/// Nodes in all: more than the tasks between hold.
const NODES: usize = 200;

/// The data link of a user of 0.9.11, and the inbox of its role.
struct Linked {
    connection: Connection,
    opened: Opened<DuplexStream>,
    peer: Arc<Peer>,
    letters: mpsc::Receiver<Letter>,
    other: DuplexStream,
    _ports: Ports,
}

fn node() -> NodeState {
    NodeState {
        id: NodeId::new(b"12345678-0000-4000-8000-000000000000").unwrap(),
        owner: "COMMON".into(),
        kind: Bytes::new(),
        dependencies: Vec::new(),
        payload: Bytes::from_static(b"\x80\x04}."),
    }
}

fn open() -> Linked {
    let (ports, peer, _) = linked();
    let (inbox, letters) = mpsc::channel(1);
    let (other, io) = duplex(1 << 20);
    let (reader, writer) = split(io);
    let token = CancellationToken::new();
    let connection = Connection {
        offset: 1,
        context: ports.context.clone(),
        roles: Roles {
            command: inbox.clone(),
            subscriber: inbox.clone(),
            publisher: inbox.clone(),
            ttl: inbox,
            heartbeats: None,
        },
        permit: ports.context.admission.admit(HERE).unwrap(),
        link: Arc::new(Link::new(2, Role::Subscriber, HERE, false, token)),
    };
    let opened = Opened {
        role: Role::Subscriber,
        identity: Some(Identity::anonymous()),
        framed: false,
        answers_pings: false,
        greeted: false,
        decoder: connected(),
        reader,
        writer,
    };
    Linked {
        connection,
        opened,
        peer,
        letters,
        other,
        _ports: ports,
    }
}

/// Others edit while somebody leaves: what goes to whoever has closed the connection fails, and what
/// they pushed before they closed it counts all the same.
#[tokio::test]
async fn what_came_is_told_though_nothing_can_be_sent_any_more() {
    let mut linked = open();
    let dialect = dialect::for_version(Some("0.9.11")).unwrap();
    for _ in 0..NODES {
        let encoded = encode_node(dialect, node().as_ref());
        for segment in encoded.segments() {
            linked.other.write_all(segment).await.unwrap();
        }
    }
    drop(linked.other);
    let link = Arc::clone(&linked.connection.link);
    let connection = tokio::spawn(linked.connection.exchange(linked.opened));
    let (mut said, mut ended) = (0, None);
    while let Some(letter) = linked.letters.recv().await {
        match letter {
            Letter::Open { opened, .. } => {
                let peer = Arc::clone(&linked.peer);
                let predecessor = None;
                assert!(opened.send(Entered { peer, predecessor }).is_ok());
            }
            Letter::Said { mut events, .. } => {
                if said == 0 {
                    let edit = Encoded::of_one(Bytes::from_static(b"an edit"));
                    let (id, now) = (node().id, Instant::now());
                    linked.peer.data(id, Joins::Renews, &[], edit, now);
                    link.written_off.cancelled().await;
                }
                said += events.drain().filter(is_node).count();
            }
            Letter::Ended { end, .. } => {
                ended = Some(end);
                break;
            }
        }
    }
    connection.await.unwrap();
    assert_eq!((said, ended), (NODES, Some(End::Closed)));
}

fn is_node(event: &Event) -> bool {
    matches!(event, Event::Update { update: Update::Node(node), .. } if node.owner == "COMMON")
}
