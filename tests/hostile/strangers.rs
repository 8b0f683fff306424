//! Well-formed transports with malformed or forbidden contents, by somebody who is not logged in.

use std::net::Ipv4Addr;

use bytes::Bytes;
use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request, encode_update};
use multi_user_server::wire::command::{CommandLimits, Request};
use multi_user_server::wire::dialect;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::Update;
use multi_user_server::wire::pickle::{Dict, Value};
use multi_user_server::wire::zmtp::SocketType;

use crate::common::client::{As, Client, auth, pickled};
use crate::common::link::Via;
use crate::common::raw::{ELSEWHERE, HERE, Raw, message};
use crate::common::server::Program;
use crate::common::team::{Team, VERSION, treasure};
use crate::common::{identity, node, uuid};
use crate::{SHORT, STRANGERS, deep_pickle, malware, memo_bomb, only_refusals, tuple_bomb};

/// Everything that is forbidden without a login.
fn forbidden() -> Vec<Request> {
    let own = node(uuid(500), "mallory", "mine");
    vec![
        Request::Kick {
            user: "alice".into(),
        },
        Request::Delete(treasure()),
        Request::Right {
            nodes: vec![treasure()],
            owner: "COMMON".into(),
        },
        Request::CatalogRequest,
        Request::Get(treasure()),
        Request::Get(uuid(501)),
        Request::JoinDone,
        Request::UploadInit {
            nodes: vec![own.id],
        },
        Request::UploadSet(own),
        Request::UploadEnd,
        Request::Metadata(Value::Dict(Dict::new().with("color", 1))),
        Request::Disconnect,
    ]
}

/// Without a login nothing is done, in any era's words; one is told so once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_done_without_a_login() {
    let team = Team::start(&SHORT).await;
    let (mut commands, mut nodes) = (Vec::new(), Vec::new());
    for version in ["0.0.20", VERSION, "0.9.11"] {
        let dialect = dialect::for_version(Some(version)).unwrap();
        let mut raw = Raw::dealer(team.ports.at(0)).await;
        for request in forbidden() {
            for message in encode_request(dialect, "alice", &request) {
                raw.say(&message).await.unwrap();
            }
        }
        commands.push(raw);
        // Nodes, with and without the port that is for them.
        let who = identity();
        let update = Update::Node(node(treasure(), "mallory", "stolen"));
        for offset in [1, 2] {
            let mut raw = if offset == 2 {
                Raw::push(team.ports.at(2)).await
            } else {
                Raw::dealer_from(ELSEWHERE, team.ports.at(1), &who).await
            };
            for message in encode_update(dialect, &who, &update) {
                let _ = raw.say(&message).await;
            }
            nodes.push(raw);
        }
    }
    for raw in commands {
        let told = raw.last_words().await;
        only_refusals(&told);
        assert_eq!(told.len(), 1, "{told:?}");
    }
    for raw in nodes {
        assert_eq!(raw.last_words().await, []);
    }
    team.judge(STRANGERS).await;
}

/// What is no command ends the connection, whatever it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_commands_end_the_connection() {
    let team = Team::start(&[]).await;
    let auth = pickled("x");
    let bombs = [
        deep_pickle(7000),
        memo_bomb(250),
        tuple_bomb(250),
        malware(),
        Bytes::new(),
        Bytes::from_static(b"."),
        Bytes::from_static(b"\x80\xFF."),
        Bytes::from_static(b"\x80\x03X\xFF\xFF\xFF\x7F"),
        // A bytes object of 2^62 bytes, a frame of 2^62, a memo index of 2^32 - 1.
        Bytes::from_static(b"\x80\x04\x8e\0\0\0\0\0\0\0\x40."),
        Bytes::from_static(b"\x80\x04\x95\0\0\0\0\0\0\0\x40}."),
        Bytes::from_static(b"\x80\x03}r\xFF\xFF\xFF\xFF."),
        // An integer of 2^31 - 1 bytes; a text; a list; None.
        Bytes::from_static(b"\x80\x03\x8b\xFF\xFF\xFF\x7F."),
        auth.clone(),
        Bytes::from_static(b"\x80\x03]."),
        Bytes::from_static(b"N."),
    ];
    let mut messages: Vec<Message> = vec![
        message([b""]),
        message([b"x"]),
        message([b"x", b"RepAuthCommand"]),
        message([b"x", b"RepAuthCommand", &auth, b"more"]),
        Message::new(vec![Bytes::from_static(b"x"); 16]),
        message([b"", b"", b""]),
        message([b"x", b"RepExecCommand", &auth]),
        message([b"x", b"os.system", &auth]),
        message([b"\xFF\xFE", b"RepAuthCommand", &auth]),
        message([b"\x80\x04K\xFF.", b"x", &auth]),
        message([b"\x80\x04K\x03.", b"x", &auth]),
        message([&malware(), b"x", &auth]),
    ];
    for bomb in &bombs {
        for kind in [
            &b"RepAuthCommand"[..],
            b"RepKickCommand",
            b"RepRightCommand",
        ] {
            messages.push(message([b"x", kind, bomb]));
        }
        messages.push(message([b"\x80\x04K\x09.", b"x", bomb]));
        messages.push(message([bomb, b"x", &auth]));
    }
    for message in &messages {
        let mut raw = Raw::dealer(team.ports.at(0)).await;
        raw.say(message).await.unwrap();
        assert_eq!(raw.last_words().await, [], "{message:?}");
    }
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("malformed_messages"), messages.len() as u64);
}

/// Heartbeats of two frames, of none, and of anything but the three words.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_heartbeats_are_ignored() {
    let team = Team::start(&[]).await;
    for offset in [2, 3] {
        let mut raw = Raw::dealer(team.ports.at(offset)).await;
        let odd = [
            message([b"INIT", b"again"]),
            message([b"PONG", b""]),
            message([b""]),
            message([b"PING"]),
            message([b"init"]),
            message([&[b'x'; 10_000]]),
        ];
        for message in &odd {
            raw.say(message).await.unwrap();
        }
        raw.say(&message([b"INIT"])).await.unwrap();
        // It is still there, and beats.
        let beat = crate::common::within("a beat", raw.recv()).await.unwrap();
        assert_eq!(beat, message([b"PING"]));
    }
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("malformed_messages"), 12);
}

/// Identities are taken from the links, not from words: strangers who share one get in each
/// other's way only.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_duplicate_identity_takes_over_from_itself_only() {
    let team = Team::start(&[]).await;
    let who = identity();
    let first = Raw::dealer_from(ELSEWHERE, team.ports.at(0), &who).await;
    let second = Raw::dealer_from(ELSEWHERE, team.ports.at(0), &who).await;
    assert_eq!(first.last_words().await, []);
    // The second one is as good as any: it can log in.
    let dialect = dialect::for_version(Some(VERSION)).unwrap();
    let mut second = second;
    let login = Request::Auth(auth(dialect, VERSION, "alice", As::User));
    for message in encode_request(dialect, "alice", &login) {
        second.say(&message).await.unwrap();
    }
    let answer = crate::common::within("an answer", second.recv())
        .await
        .unwrap();
    assert_eq!(
        decode_answer(&answer, &CommandLimits::default()).unwrap(),
        OwnedAnswer::Auth("FAILED: client already logged in".into())
    );
    // What names of servers, users and nodes look like are identities as well; they mean nothing.
    for odd in [
        &b"SERVER_PUSH"[..],
        b"alice",
        b"COMMON",
        b"\0",
        &[0xFF; 255],
    ] {
        let odd = multi_user_server::wire::identity::Identity::new(odd).unwrap();
        let mut raw = Raw::dealer_from(ELSEWHERE, team.ports.at(0), &odd).await;
        for message in encode_request(dialect, "alice", &Request::Delete(treasure())) {
            raw.say(&message).await.unwrap();
        }
        let told = crate::common::within("an answer", raw.recv())
            .await
            .unwrap();
        only_refusals(&[told]);
    }
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("replaced_links"), 1);
}

/// A client that comes back under its identity goes on where it was; nobody else sees it go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_that_comes_back_is_resumed() {
    let team = Team::start(&[]).await;
    let mut fay = Client::enter(&team.ports, VERSION, Via::Hand, "fay", As::User).await;
    fay.join().await;
    // Whoever loses a link before the server knows that all of the join arrived has to start over.
    team.program.logged("that fay has all nodes", |line| {
        (line["event"] == "user.up_to_date" && line["user"] == "fay").then_some(())
    });
    for _ in 0..3 {
        fay.reopen_commands(&team.ports, Via::Hand).await;
        fay.reopen_data(&team.ports, Via::Hand).await;
        // It is told what it may have missed, and can go on.
        assert_eq!(fay.refused_right(treasure(), "fay").await, "alice");
    }
    assert_eq!(fay.dismissed, None);
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("leaves"), 0);
    assert_eq!(counters.get("logins"), 5);
}

/// Strangers who hold all places that are for them keep out others like them, and no user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_come_back_while_strangers_hold_all_places() {
    let keys = [
        ("net.max_unauthenticated", "32"),
        ("net.login_deadline", "10m"),
    ];
    let team = Team::start(&keys).await;
    let mut fay = Client::enter(&team.ports, VERSION, Via::Hand, "fay", As::User).await;
    fay.join().await;
    team.program.logged("that fay has all nodes", |line| {
        (line["event"] == "user.up_to_date" && line["user"] == "fay").then_some(())
    });
    let mut strangers = Vec::new();
    loop {
        // One address alone does not get all of them.
        let from = Ipv4Addr::from([127, 0, 0, [3, 4][strangers.len() % 2]]);
        let mut raw = Raw::connect_from(from, team.ports.at(0)).await;
        let who = identity();
        if (raw.shake(SocketType::Dealer, Some(who.as_bytes())).await).is_err() {
            break;
        }
        strangers.push(raw);
    }
    for _ in 0..3 {
        fay.reopen_commands(&team.ports, Via::Hand).await;
        fay.reopen_data(&team.ports, Via::Hand).await;
        assert_eq!(fay.refused_right(treasure(), "fay").await, "alice");
    }
    assert_eq!(fay.dismissed, None);
    drop(strangers);
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("leaves"), 0);
}

/// Where users have to stay at one address, knowing an identity is not enough, not even to
/// disturb its user.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_identity_is_of_no_use_elsewhere_where_addresses_count() {
    let program = Program::start(&[("net.same_address", "require")]);
    let ports = program.ports;
    let mut alice = Client::enter(&ports, VERSION, Via::Hand, "alice", As::Admin).await;
    alice.upload(&[node(treasure(), "alice", "gold")]).await;
    for offset in [0, 1, 3] {
        let thief = Raw::dealer_from(ELSEWHERE, ports.at(offset), &alice.identity).await;
        let heard = thief.last_words().await;
        // The first PING goes out before anything is known of who is there.
        let harmless = [message([b"PING"])];
        let expected = if offset == 3 { &harmless[..] } else { &[] };
        assert_eq!(heard, expected, "port p+{offset}");
    }
    let mut thief = Raw::push(ports.at(2)).await;
    let update = Update::Node(node(treasure(), "alice", "stolen"));
    for message in encode_update(alice.dialect, &alice.identity, &update) {
        let _ = thief.say(&message).await;
    }
    assert_eq!(thief.last_words().await, []);
    // Alice's links are as they were: she is heard and answered.
    let mut bob = Client::enter(&ports, VERSION, Via::Hand, "bob", As::User).await;
    bob.join().await;
    assert_eq!(&bob.nodes[&treasure()].payload[..], b"gold");
    alice.push(&node(treasure(), "alice", "more gold"));
    bob.until("alice's edit", |bob| {
        bob.nodes[&treasure()].payload == "more gold"
    })
    .await;
    bob.push(&node(uuid(1), "bob", "hello"));
    alice
        .until("bob's node", |alice| alice.nodes.contains_key(&uuid(1)))
        .await;
    assert_eq!(alice.dismissed, None);
    let counters = program.counters();
    assert_eq!((counters.get("leaves"), counters.get("resumed")), (0, 0));
    // From where she is, she can come back.
    let again = Raw::dealer_from(HERE, ports.at(0), &alice.identity).await;
    alice.commands = crate::common::link::Link::pump(again, multi_user_server::wire::zmtp::encode);
    alice.request(&Request::Delete(treasure()));
    bob.until("alice's delete", |bob| !bob.nodes.contains_key(&treasure()))
        .await;
}
