//! The transport of the newest clients on the base port: recognised, opened for each role, closed
//! for everything else, and a whole session over it.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use bytes::Bytes;
use common::client::{As, Client};
use common::link::{Link, Via, framed_hello};
use common::raw::{HERE, Raw, message};
use common::server::{Local, Ports};
use common::{identity, node, uuid, within};
use multi_user_server::config::{Clients, Era, Secret};
use multi_user_server::counters::Count;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request};
use multi_user_server::wire::command::{CommandLimits, Request};
use multi_user_server::wire::dialect;
use multi_user_server::wire::identity::Identity;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::NodeState;

/// What the newest package (0.10.3) calls itself.
const VERSION: &str = "0.10.2";

async fn local() -> Local {
    Local::start(|config| {
        config.net.handshake_deadline = std::time::Duration::from_millis(500);
        config.net.login_deadline = std::time::Duration::from_secs(2);
    })
    .await
}

async fn say(ports: &Ports, offset: usize, bytes: &[u8]) -> Raw {
    let mut raw = Raw::connect_from(HERE, ports.at(offset)).await;
    // The server may close it before all is sent.
    let _ = raw.send(bytes).await;
    raw
}

async fn command(ports: &Ports, identity: &Identity) -> Link {
    Link::framed(Via::Hand, ports.at(0), identity, b'C').await
}

async fn answer(link: &mut Link) -> OwnedAnswer {
    let message = within("an answer", link.recv()).await.unwrap();
    decode_answer(&message, &CommandLimits::default()).unwrap()
}

/// The next answer but users dicts, which name a pending user as well.
async fn beside_users(link: &mut Link) -> OwnedAnswer {
    loop {
        match answer(link).await {
            OwnedAnswer::Users(_) => {}
            other => return other,
        }
    }
}

/// Nodes of these clients carry no type.
fn untyped(id: u32, owner: &str, payload: &'static [u8]) -> NodeState {
    NodeState {
        kind: Bytes::new(),
        ..node(uuid(id), owner, payload)
    }
}

fn request(request: &Request) -> Message {
    let dialect = dialect::for_version(Some(VERSION)).unwrap();
    encode_request(dialect, "guest", request).remove(0)
}

/// The info request as the package sends it is answered, whatever length the identity has.
#[tokio::test]
async fn the_server_info_is_told_to_strangers() {
    let local = local().await;
    // As captured: count 3; type 14, "guest", "RQ_INFO".
    let wire = [
        &[0, 0, 0, 3, 0, 0, 0, 5][..],
        b"\x80\x04K\x0e.",
        &[0, 0, 0, 5],
        b"guest",
        &[0, 0, 0, 22],
        b"\x80\x04\x95\x0b\0\0\0\0\0\0\0\x8c\x07RQ_INFO\x94.",
    ]
    .concat();
    for identity in [vec![0; 16], vec![b'x'], vec![0xFF; 255]] {
        let mut link = command(&local.ports, &Identity::new(&identity).unwrap()).await;
        // Byte by byte is as good as at once.
        for byte in &wire {
            link.send_bytes(vec![*byte]);
        }
        let OwnedAnswer::Info { private, version } = answer(&mut link).await else {
            panic!("not the info");
        };
        assert!(!private);
        assert!(dialect::for_version(Some(&version)).is_ok(), "{version}");
    }
}

/// "private" says whether a server password is needed.
#[tokio::test]
async fn the_server_info_tells_of_a_password() {
    let local = Local::start(|config| {
        config.session.server_password = Some(Secret::new("sesame".to_owned()));
    })
    .await;
    let mut link = command(&local.ports, &identity()).await;
    link.send(request(&Request::Info));
    assert!(matches!(
        answer(&mut link).await,
        OwnedAnswer::Info { private: true, .. }
    ));
}

/// A heartbeat link beats before any login, each beat in one piece.
#[tokio::test]
async fn the_heartbeat_role_beats() {
    let local = local().await;
    let mut link = Link::framed(Via::Hand, local.ports.at(0), &identity(), b'T').await;
    // As captured.
    link.send_bytes(&b"\0\0\0\x01\0\0\0\x04INIT"[..]);
    for _ in 0..3 {
        let beat = within("a beat", link.recv()).await.unwrap();
        assert_eq!(beat, message([b"PING"]));
        link.send(message([b"PONG"]));
    }
}

/// Unknown roles, identities of no or too many bytes, and the wrong ports.
#[tokio::test]
async fn other_handshakes_are_closed() {
    let local = local().await;
    let ports = local.ports;
    let mut closed = Vec::new();
    for role in [b'c', b'X', 0, 0xFF] {
        closed.push(say(&ports, 0, &framed_hello(&[7; 16], role)).await);
    }
    closed.push(say(&ports, 0, &framed_hello(&[], b'C')).await);
    closed.push(say(&ports, 0, &framed_hello(&[7; 256], b'C')).await);
    closed.push(say(&ports, 0, b"\xFE\0\0\x10").await);
    for offset in 1..4 {
        for role in *b"CDT" {
            closed.push(say(&ports, offset, &framed_hello(&[7; 16], role)).await);
        }
    }
    // Half of one, and nothing more.
    let whole = framed_hello(&[7; 16], b'C');
    for cut in [1, 3, 4, 5, 20] {
        closed.push(say(&ports, 0, &whole[..cut]).await);
    }
    for raw in closed {
        assert_eq!(raw.closed().await, b"");
    }
    assert_eq!(local.server.counters().value(Count::Logins), 0);
    assert_eq!(local.server.counters().value(Count::Panics), 0);
}

/// The data and command links of strangers are closed when nobody logs in on them.
#[tokio::test]
async fn links_without_a_login_are_closed() {
    let local = local().await;
    let mut links = Vec::new();
    for role in *b"CD" {
        links.push(say(&local.ports, 0, &framed_hello(&[role; 16], role)).await);
    }
    for raw in links {
        assert_eq!(raw.closed().await, b"");
    }
}

/// Where this transport is switched off it is closed like any other.
#[tokio::test]
async fn the_transport_can_be_switched_off() {
    let local = Local::start(|config| {
        config.session.clients = Clients::of(&[Era::FourPorts, Era::ThreePorts]);
    })
    .await;
    let raw = say(&local.ports, 0, &framed_hello(&[7; 16], b'C')).await;
    assert_eq!(raw.closed().await, b"");
}

/// Messages with no chunk, with too many, and with one that is too long.
#[tokio::test]
async fn messages_of_strangers_are_bounded() {
    let local = local().await;
    for message in [
        &[0, 0, 0, 17][..],
        &[0xFF; 4],
        &[0, 0, 0, 1, 0, 0, 0x40, 1],
        &[0, 0, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF],
    ] {
        let hello = framed_hello(identity().as_bytes(), b'C');
        let raw = say(&local.ports, 0, &[&hello[..], message].concat()).await;
        assert_eq!(raw.closed().await, b"", "{message:?}");
    }
    // No chunk is no message: it does not end the link.
    let mut link = command(&local.ports, &identity()).await;
    link.send_bytes(vec![0; 40]);
    link.send(request(&Request::Info));
    assert!(matches!(answer(&mut link).await, OwnedAnswer::Info { .. }));
}

/// An identity that is at home on the other transport is not to be had on this one.
#[tokio::test]
async fn an_identity_belongs_to_one_transport() {
    let local = local().await;
    let mut alice = Client::enter(&local.ports, "0.9.11", Via::Hand, "alice", As::Admin).await;
    let hello = framed_hello(alice.identity.as_bytes(), b'C');
    let thief = say(&local.ports, 0, &hello).await;
    assert_eq!(thief.closed().await, b"");
    alice.upload(&[untyped(1, "alice", b"x")]).await;
    assert_eq!(alice.dismissed, None);
}

/// A session of two: upload, join, edits both ways, delete.
#[tokio::test]
async fn a_session_over_it_works() {
    let local = Local::start(|_| {}).await;
    let mut alice = Client::enter(&local.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    alice
        .upload(&[untyped(1, "alice", b"one"), untyped(2, "COMMON", b"two")])
        .await;
    let mut bob = Client::connect(&local.ports, VERSION, Via::Hand).await;
    assert_eq!(bob.log_in("bob", As::User).await, "RUNNING");
    bob.join().await;
    assert_eq!(bob.nodes, alice.nodes);
    bob.until("the users", |bob| {
        bob.users.contains("alice") && bob.users.contains("bob")
    })
    .await;
    alice.push(&untyped(1, "alice", b"one more"));
    bob.push(&untyped(3, "bob", b"three"));
    bob.until("alice's edit", |bob| {
        bob.nodes[&uuid(1)].payload == "one more"
    })
    .await;
    alice
        .until("bob's node", |alice| alice.nodes.contains_key(&uuid(3)))
        .await;
    alice.request(&Request::Delete(uuid(2)));
    for client in [&mut alice, &mut bob] {
        client
            .until("the delete", |client| !client.nodes.contains_key(&uuid(2)))
            .await;
    }
    assert_eq!(bob.refused_right(uuid(1), "bob").await, "alice");
    bob.close();
    alice
        .until("bob's leaving", |alice| !alice.users.contains("bob"))
        .await;
    assert_eq!(alice.nodes[&uuid(3)].owner, "COMMON");
}

/// A login is answered when the data link is there, and not before.
#[tokio::test]
async fn a_login_waits_for_the_data_link() {
    let local = Local::start(|_| {}).await;
    let who = identity();
    let dialect = dialect::for_version(Some(VERSION)).unwrap();
    let mut link = command(&local.ports, &who).await;
    let login = common::client::auth(dialect, VERSION, "alice", As::Admin);
    link.send(request(&Request::Auth(login)));
    // The info is asked for later and answered earlier.
    link.send(request(&Request::Info));
    let info = beside_users(&mut link).await;
    assert!(matches!(info, OwnedAnswer::Info { .. }), "{info:?}");
    let _data = Link::framed(Via::Hand, local.ports.at(0), &who, b'D').await;
    let text = beside_users(&mut link).await;
    assert_eq!(text, OwnedAnswer::Auth("LOBBY".into()));
}

/// Without a data link the login is refused in the end, and the name is free.
#[tokio::test]
async fn a_login_without_data_link_is_refused() {
    let local = local().await;
    let who = identity();
    let dialect = dialect::for_version(Some(VERSION)).unwrap();
    let mut link = command(&local.ports, &who).await;
    let ttl = Link::framed(Via::Hand, local.ports.at(0), &who, b'T').await;
    let beats = tokio::spawn(ttl.beat());
    let login = common::client::auth(dialect, VERSION, "alice", As::Admin);
    link.send(request(&Request::Auth(login)));
    let text = beside_users(&mut link).await;
    assert_eq!(
        text,
        OwnedAnswer::Auth("FAILED: data channel timeout".into())
    );
    let alice = Client::enter(&local.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    drop((alice, beats));
}

/// These clients never open a link again: who loses one is gone at once, and all of its other
/// links are closed, by which its heartbeat process notices.
#[tokio::test]
async fn whoever_loses_the_command_link_is_gone_at_once() {
    let local = local().await;
    let ports = local.ports;
    let mut alice = Client::enter(&ports, VERSION, Via::Hand, "alice", As::Admin).await;
    alice.upload(&[untyped(1, "alice", b"x")]).await;
    let mut bob = Client::enter(&ports, VERSION, Via::Hand, "bob", As::User).await;
    bob.join().await;
    alice
        .until("bob", |alice| alice.users.contains("bob"))
        .await;
    let other = command(&ports, &identity()).await;
    let lost = std::mem::replace(&mut bob.commands, other);
    drop(lost);
    let begin = std::time::Instant::now();
    alice
        .until("bob's leave", |alice| !alice.users.contains("bob"))
        .await;
    assert!(
        begin.elapsed() < std::time::Duration::from_secs(5),
        "a grace was given"
    );
    while within("the end of bob's data link", bob.data.recv())
        .await
        .is_some()
    {}
}

/// Of two links of one identity and role the newer one counts, and the older one is closed.
#[tokio::test]
async fn a_link_of_the_same_role_replaces_the_older_one() {
    let local = local().await;
    let who = identity();
    for role in *b"CDT" {
        let mut old = Link::framed(Via::Hand, local.ports.at(0), &who, role).await;
        let _new = Link::framed(Via::Hand, local.ports.at(0), &who, role).await;
        let closed = within("the end of the older link", async {
            while old.recv().await.is_some() {}
        });
        closed.await;
    }
    assert_eq!(local.server.counters().value(Count::ReplacedLinks), 3);
    let mut link = command(&local.ports, &who).await;
    link.send(request(&Request::Info));
    assert!(matches!(answer(&mut link).await, OwnedAnswer::Info { .. }));
}
