//! What a user does who is logged in and means no good.

use bytes::Bytes;
use multi_user_server::counters::Count;
use multi_user_server::wire::client::{OwnedAnswer, encode_request, encode_update};
use multi_user_server::wire::command::Request;
use multi_user_server::wire::identity::NodeId;
use multi_user_server::wire::message::Message;
use multi_user_server::wire::node::{NodeState, Update};
use multi_user_server::wire::pickle::{Protocol, Value, write};

use crate::common::client::{As, Client, Heard, pickled};
use crate::common::link::{Link, Via};
use crate::common::raw::message;
use crate::common::server::Local;
use crate::common::team::{Team, VERSION, treasure};
use crate::common::{identity, node, uuid, within};
use crate::{PICKLES, SHORT, STRANGERS, deep_pickle, malware, memo_bomb, tuple_bomb};

async fn mallory(team: &Team) -> Client {
    let mut mallory =
        Client::enter(&team.ports, VERSION, Via::Elsewhere, "mallory", As::User).await;
    mallory.join().await;
    mallory
}

/// Users who send what is no command are not cut off (others of their version may do so by
/// mistake), but nothing comes of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_commands_of_users_are_ignored() {
    let team = Team::start(&[]).await;
    let mut mallory = mallory(&team).await;
    let bombs = [
        deep_pickle(10_000),
        memo_bomb(250),
        tuple_bomb(250),
        malware(),
        pickled("no dict"),
        Bytes::from_static(b"N."),
        Bytes::new(),
    ];
    let kinds = [
        "RepAuthCommand",
        "RepDeleteCommand",
        "RepRightCommand",
        "RepSnapshotCommand",
        "RepServerSnapshotCommand",
        "RepKickCommand",
        "RepUpdateUserMetadata",
        "RepUpdateClientsState",
        "RepConfigCommand",
        "RepNoCommand",
    ];
    let mut sent = 0;
    for kind in kinds {
        for bomb in &bombs {
            mallory
                .commands
                .send(message([b"mallory", kind.as_bytes(), bomb]));
            sent += 1;
        }
    }
    for kind in ["RepAuthCommand", "RepUpdateUserMetadata"] {
        mallory.commands.send(message([
            b"mallory",
            kind.as_bytes(),
            &deep_pickle(1_000_000),
        ]));
        sent += 1;
    }
    for frames in [1, 2, 4, 100] {
        let frame = Bytes::from_static(b"RepKickCommand");
        mallory.commands.send(Message::new(vec![frame; frames]));
        sent += 1;
    }
    // All that has been dealt with when this is answered.
    assert_eq!(mallory.refused_right(treasure(), "mallory").await, "alice");
    assert_eq!(mallory.dismissed, None);
    let counters = team.judge(PICKLES).await;
    // SNAPSHOT_END is the only text that is one; "no dict" is none, nor is an id.
    assert_eq!(counters.get("malformed_messages"), sent);
}

/// A dict that is a bomb by its memo, where dicts are expected.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metadata_does_not_explode() {
    let team = Team::start(&[]).await;
    let mut mallory = mallory(&team).await;
    for bomb in [
        memo_bomb(30),
        tuple_bomb(30),
        memo_bomb(15),
        deep_pickle(100_000),
    ] {
        // {'color': bomb}, the bomb without its protocol and end.
        let inner = &bomb[2..bomb.len() - 1];
        let pickle = [&b"\x80\x03}X\x05\0\0\0color"[..], inner, b"s."].concat();
        for _ in 0..5 {
            mallory
                .commands
                .send(message([b"mallory", b"RepUpdateUserMetadata", &pickle]));
        }
    }
    // And one that is just large: a MiB is the limit.
    let text = "x".repeat(600_000);
    for key in ["a", "b", "c"] {
        let dict = multi_user_server::wire::pickle::Dict::new().with(key, text.as_str());
        let pickle = write(&Value::Dict(dict), Protocol::Three);
        mallory
            .commands
            .send(message([b"mallory", b"RepUpdateUserMetadata", &pickle]));
    }
    assert_eq!(mallory.refused_right(treasure(), "mallory").await, "alice");
    let counters = team.judge(PICKLES).await;
    assert!(counters.get("refused_metadata") >= 2);
}

/// What users may not do is not done, and they are told how things are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn users_cannot_do_what_is_for_others() {
    let team = Team::start(&[]).await;
    let mut mallory = mallory(&team).await;
    mallory.request(&Request::Kick {
        user: "alice".into(),
    });
    mallory.request(&Request::Kick {
        user: "nobody".into(),
    });
    mallory.request(&Request::Delete(treasure()));
    mallory
        .wait("the treasure's return", |heard| match heard {
            Heard::Update(Update::Node(node)) => {
                (node.id == treasure() && node.owner == "alice").then_some(())
            }
            _ => None,
        })
        .await;
    for owner in ["mallory", "COMMON", "nobody", "bob"] {
        assert_eq!(mallory.refused_right(treasure(), owner).await, "alice");
    }
    mallory.push(&node(treasure(), "mallory", "stolen"));
    mallory.push(&node(treasure(), "alice", "stolen"));
    // A push that is refused is answered with how it is.
    mallory
        .wait("the treasure's state", |heard| match heard {
            Heard::Update(Update::Node(node)) => {
                (node.id == treasure()).then_some(node.payload.len())
            }
            _ => None,
        })
        .await;
    // Names in commands prove nothing.
    for owner in ["alice", "server", ""] {
        let delete = Request::Delete(treasure());
        for message in encode_request(mallory.dialect, owner, &delete) {
            let mut frames = message.into_frames();
            frames[0] = Bytes::copy_from_slice(owner.as_bytes());
            mallory.commands.send(Message::new(frames));
        }
    }
    assert_eq!(mallory.refused_right(treasure(), "mallory").await, "alice");
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("refused_kicks"), 2);
    assert!(counters.get("refused_deletes") >= 3);
    assert_eq!(counters.get("refused_updates"), 2);
    assert_eq!(counters.get("refused_rights"), 5);
    assert_eq!(counters.get("leaves"), 0);
}

/// Nodes that would run something, crash who loads them, or are none: the sender gets the true
/// state back, and nobody else gets anything. Large ones are looked into on another thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payloads_that_would_do_harm_go_nowhere() {
    let team = Team::start(&[]).await;
    let mut mallory = mallory(&team).await;
    let large = [&b"\x80\x04}\x8c\x01xB\0\0\x10\0"[..], &[7; 1 << 20], b"s0"].concat();
    let payloads = [
        malware(),
        pickled("no dict"),
        [&large, &malware()[..]].concat().into(),
        deep_pickle(10_000),
        memo_bomb(250),
        // Pickled twice.
        Bytes::from_static(b"\x80\x04C\x1ecos\nsystem\n(S'touch owned'\ntR.."),
        // In marshal: not what this version speaks.
        Bytes::from_static(b"{0"),
        Bytes::from_static(b"\x80\x04N."),
    ];
    let count = payloads.len() as u64;
    for payload in payloads {
        let crafted = NodeState {
            payload,
            ..node(treasure(), "alice", "")
        };
        let set = Request::UploadSet(crafted.clone());
        for message in encode_request(mallory.dialect, "mallory", &set) {
            mallory.commands.send(message);
        }
        let update = Update::Node(crafted);
        for message in encode_update(mallory.dialect, &mallory.identity, &update) {
            mallory.publish(message);
        }
        mallory
            .wait("the treasure's state", |heard| match heard {
                Heard::Update(Update::Node(node)) => (node.id == treasure()).then_some(()),
                _ => None,
            })
            .await;
    }
    // One who did this may go on.
    assert_eq!(mallory.refused_right(treasure(), "mallory").await, "alice");
    let counters = team.judge(PICKLES).await;
    assert_eq!(counters.get("refused_payloads"), 2 * count);
    assert_eq!(counters.get("leaves"), 0);
}

/// The same among nodes of many values that come in a row, into which another processor looks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_among_many_values_goes_nowhere() {
    let local = Local::start(|_| {}).await;
    let mut alice = Client::enter(&local.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    alice.upload(&[node(uuid(0), "alice", "x")]).await;
    let mut mallory = Client::enter(&local.ports, VERSION, Via::Hand, "mallory", As::User).await;
    mallory.join().await;
    // {'a': [1, 1, …], 'b': …}
    let ones = b"K\x01".repeat(12_000);
    let dict = |value: &[u8]| {
        let before = b"\x80\x04}(\x8c\x01a](".as_slice();
        [before, &ones, b"e\x8c\x01b", value, b"u."].concat()
    };
    let (fit, unfit) = (dict(b"N"), dict(b"cos\nsystem\nX\x05\0\0\0owned\x85R"));
    let is_fit = |n: &u32| !n.is_multiple_of(7);
    // The last one is fit: when it is there, those before it have been looked into.
    let pushed = 1..401;
    assert!(is_fit(&400));
    for n in pushed.clone() {
        let payload = if is_fit(&n) { &fit } else { &unfit };
        let update = Update::Node(node(uuid(n), "mallory", payload.clone()));
        for message in encode_update(mallory.dialect, &mallory.identity, &update) {
            mallory.publish(message);
        }
    }
    let arrive: Vec<_> = pushed.clone().filter(is_fit).map(uuid).collect();
    alice
        .until("all that is fit", |alice| {
            arrive.iter().all(|id| alice.nodes.contains_key(id))
        })
        .await;
    assert_eq!(alice.nodes.len(), 1 + arrive.len());
    assert!(arrive.iter().all(|id| alice.nodes[id].payload == fit));
    let refused = local.server.counters().value(Count::RefusedPayload);
    assert_eq!(refused, pushed.count() as u64 - arrive.len() as u64);
}

/// Joins and uploads out of turn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transfers_out_of_turn_change_nothing() {
    let team = Team::start(&[]).await;
    let mut mallory = mallory(&team).await;
    let own = node(uuid(500), "mallory", "mine");
    for _ in 0..2 {
        for request in [
            Request::UploadInit {
                nodes: vec![own.id, treasure()],
            },
            Request::UploadSet(own.clone()),
            Request::UploadSet(node(treasure(), "mallory", "stolen")),
            Request::UploadEnd,
            Request::CatalogRequest,
            Request::Get(treasure()),
            Request::Get(uuid(501)),
            Request::JoinDone,
        ] {
            mallory.request(&request);
        }
    }
    assert_eq!(mallory.refused_right(treasure(), "mallory").await, "alice");
    // From the lobby of a running session an offer is answered, with a no; then a catalog comes.
    let mut eve = Client::enter(&team.ports, VERSION, Via::Elsewhere, "eve", As::User).await;
    eve.request(&Request::Get(treasure()));
    eve.request(&Request::UploadInit {
        nodes: vec![own.id],
    });
    eve.answered("a refusal", |answer| {
        matches!(answer, OwnedAnswer::UploadRejected).then_some(())
    })
    .await;
    eve.answered("a catalog", |answer| {
        matches!(answer, OwnedAnswer::Catalog(_)).then_some(())
    })
    .await;
    // What is not in the catalog, and what was given already, is not given.
    for id in [uuid(501), treasure(), treasure(), uuid(502)] {
        eve.request(&Request::Get(id));
    }
    eve.until("the treasure", |eve| eve.nodes.contains_key(&treasure()))
        .await;
    assert_eq!(eve.refused_right(treasure(), "eve").await, "alice");
    let counters = team.judge(STRANGERS).await;
    assert!(counters.get("refused_uploads") >= 5);
    assert!(counters.get("refused_commands") >= 10);
}

/// A SET that was not announced, that comes twice, or after the end; the upload is what was
/// announced.
#[tokio::test]
async fn an_upload_is_what_was_announced() {
    let local = Local::start(|_| {}).await;
    let mut alice = Client::enter(&local.ports, VERSION, Via::Hand, "alice", As::Admin).await;
    let mut bob = Client::enter(&local.ports, VERSION, Via::Hand, "bob", As::User).await;
    let nodes: Vec<_> = (0..3).map(|n| node(uuid(n), "alice", "x")).collect();
    // Before any offer.
    alice.request(&Request::UploadSet(nodes[0].clone()));
    alice.request(&Request::UploadEnd);
    alice.offer(&nodes).await;
    // Not the one who uploads.
    bob.request(&Request::UploadSet(node(uuid(0), "bob", "forged")));
    bob.request(&Request::UploadEnd);
    bob.request(&Request::UploadInit {
        nodes: vec![uuid(7)],
    });
    bob.answered("a refusal", |answer| {
        matches!(answer, OwnedAnswer::UploadRejected).then_some(())
    })
    .await;
    for node in [
        nodes[0].clone(),
        nodes[0].clone(),
        node(uuid(9), "alice", "not announced"),
        nodes[1].clone(),
    ] {
        alice.request(&Request::UploadSet(node));
    }
    alice.request(&Request::UploadEnd);
    alice.request(&Request::UploadSet(nodes[2].clone()));
    alice
        .answered("the end of the upload", |answer| {
            matches!(answer, OwnedAnswer::UploadDone).then_some(())
        })
        .await;
    alice.request(&Request::UploadSet(nodes[2].clone()));
    alice.request(&Request::UploadEnd);
    let catalog = bob
        .answered("the catalog", |answer| match answer {
            OwnedAnswer::Catalog(nodes) => Some(nodes.clone()),
            _ => None,
        })
        .await;
    assert_eq!(catalog, [uuid(0), uuid(1), uuid(2)]);
    let mut carol = Client::enter(&local.ports, VERSION, Via::Hand, "carol", As::User).await;
    carol.join().await;
    assert!(carol.nodes.values().all(|node| node.payload == "x"));
    assert_eq!(carol.nodes.len(), 3);
}

/// A connection for nodes belongs to whom its first header names; another name ends it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_cannot_name_others() {
    let team = Team::start(&SHORT).await;
    let mut mallory = mallory(&team).await;
    let mine = node(uuid(500), "mallory", "mine");
    // Somebody unknown: not even the first node is taken.
    let mut nobody = Link::push(Via::Elsewhere, team.ports.at(2), &identity()).await;
    for message in multi_user_server::wire::client::encode_update(
        mallory.dialect,
        &identity(),
        &Update::Node(mine.clone()),
    ) {
        nobody.send(message);
    }
    assert_eq!(within("the end of the link", nobody.recv()).await, None);
    // Somebody else after oneself.
    mallory.push_as(&identity(), &node(uuid(4), "mallory", "stolen"));
    mallory.push(&node(treasure(), "mallory", "stolen"));
    let publisher = mallory.publisher.as_mut().unwrap();
    // The connection ends; whose it was from the first header on.
    assert_eq!(within("the end of the link", publisher.recv()).await, None);
    team.judge(STRANGERS).await;
}

/// Dependencies and chunk counts are pickles too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pickles_in_headers_do_no_harm() {
    let team = Team::start(&[]).await;
    let mut number = 0;
    let mut header = |count: &[u8], dependencies: &[u8]| {
        number += 1;
        (
            uuid(600 + number),
            Bytes::copy_from_slice(count),
            Bytes::copy_from_slice(dependencies),
        )
    };
    let one = b"\x80\x03K\x01.";
    let none = b"\x80\x03N.";
    let mut headers: Vec<(NodeId, Bytes, Bytes)> = Vec::new();
    for bomb in [
        deep_pickle(1_000_000),
        memo_bomb(250),
        tuple_bomb(250),
        malware(),
        pickled("one"),
        Bytes::new(),
    ] {
        headers.push(header(&bomb, none));
        headers.push(header(one, &bomb));
    }
    // Chunks: none, too many, less than none, 2^62.
    for count in [
        &b"\x80\x03K\x00."[..],
        b"\x80\x03K\xFF.",
        b"\x80\x03J\xFF\xFF\xFF\xFF.",
        b"\x80\x03\x8a\x08\0\0\0\0\0\0\0\x40.",
    ] {
        headers.push(header(count, none));
    }
    let mut mallory = mallory(&team).await;
    let sent = 2 * headers.len() as u64;
    for (id, count, dependencies) in headers {
        let header = Message::new(vec![
            Bytes::copy_from_slice(mallory.identity.as_bytes()),
            Bytes::copy_from_slice(id.as_bytes()),
            Bytes::from_static(b"COMMON"),
            Bytes::from_static(b"BlObject"),
            count,
            dependencies,
        ]);
        mallory.publish(header);
        // It cannot be told that this belonged to it.
        mallory.publish(message([b"chunk"]));
    }
    // What is well made is taken as ever, and all that was before it is dealt with then.
    mallory.push(&node(treasure(), "mallory", "stolen"));
    mallory
        .wait("the treasure's state", |heard| match heard {
            Heard::Update(Update::Node(node)) => (node.id == treasure()).then_some(()),
            _ => None,
        })
        .await;
    let counters = team.judge(PICKLES).await;
    assert_eq!(counters.get("malformed_messages"), sent);
    assert_eq!(counters.get("refused_updates"), 1);
}
