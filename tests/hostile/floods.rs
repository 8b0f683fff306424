//! Much of what is allowed in small amounts.

use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request};
use multi_user_server::wire::command::{CommandLimits, Request};
use multi_user_server::wire::dialect;

use crate::STRANGERS;
use crate::common::client::{As, Client, auth};
use crate::common::link::{Link, Via};
use crate::common::raw::{ELSEWHERE, Raw};
use crate::common::server::ADMIN;
use crate::common::team::{Team, VERSION};
use crate::common::{identity, node, uuid, within};

/// Passwords are tried at a pace: after a while even the right one is of no use, at that address.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn guessing_passwords_is_slow() {
    let keys = [("net.logins_burst", "50"), ("net.logins_per_minute", "1")];
    let team = Team::start(&keys).await;
    let mut refused = Vec::new();
    for version in ["0.0.20", VERSION, "0.9.11"] {
        let dialect = dialect::for_version(Some(version)).unwrap();
        let mut raw = Raw::dealer(team.ports.at(0)).await;
        for n in 0..100 {
            let guess = format!("guess {n}");
            let login = Request::Auth(auth(dialect, version, "mallory", As::Password(&guess)));
            for message in encode_request(dialect, "mallory", &login) {
                raw.say(&message).await.unwrap();
            }
            let answer = within("an answer", raw.recv()).await.unwrap();
            match decode_answer(&answer, &CommandLimits::default()).unwrap() {
                OwnedAnswer::Auth(text) => refused.push(text),
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(refused.iter().all(|text| text.starts_with("FAILED: ")));
    let wrong = refused.iter().filter(|text| text.contains("wrong")).count();
    assert_eq!(wrong, 50);
    let mut late = Client::connect(&team.ports, VERSION, Via::Elsewhere).await;
    let answer = late.log_in("mallory", As::Password(ADMIN)).await;
    assert!(answer.starts_with("FAILED: too many"), "{answer}");
    let counters = team.judge(STRANGERS).await;
    assert_eq!(counters.get("refused_logins"), 301);
}

/// Somebody who reads nothing while 200 MB pass costs no more than the queue that is allowed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_never_reads_costs_its_queue() {
    const MIB: usize = 1 << 20;
    const NODES: u32 = 8;
    let keys = [
        ("net.peer_queue", "8 MiB"),
        ("net.inbound_in_flight", "4 MiB"),
    ];
    let team = Team::start(&keys).await;
    // Logged in and with all nodes, but its data link reads nothing more.
    let mut deaf = Client::enter(&team.ports, VERSION, Via::Elsewhere, "deaf", As::User).await;
    deaf.join().await;
    let stuck = Raw::dealer_from(ELSEWHERE, team.ports.at(1), &deaf.identity).await;
    let mut grace = Client::enter(&team.ports, VERSION, Via::Crate, "grace", As::User).await;
    grace.join().await;
    let mut heidi = Client::enter(&team.ports, VERSION, Via::Crate, "heidi", As::User).await;
    heidi.join().await;
    for round in 0..25u8 {
        for n in 0..NODES {
            grace.push(&node(uuid(700 + n), "COMMON", vec![round; MIB]));
        }
        // Not faster than somebody who does read.
        heidi
            .until("a round of nodes", |heidi| {
                (0..NODES).all(|n| {
                    heidi
                        .nodes
                        .get(&uuid(700 + n))
                        .is_some_and(|node| node.payload[0] == round)
                })
            })
            .await;
    }
    for n in 0..NODES {
        grace.request(&Request::Delete(uuid(700 + n)));
    }
    heidi
        .until("the deletes", |heidi| {
            (0..NODES).all(|n| !heidi.nodes.contains_key(&uuid(700 + n)))
        })
        .await;
    drop(stuck);
    // 8 MiB of nodes, 8 of queue, 4 in flight twice, buffers of sockets that are large.
    team.judge(96).await;
}

/// Connections that come and go as fast as they can.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_connections_passes() {
    let team = Team::start(&[]).await;
    for n in 0..1000 {
        drop(Raw::saying(team.ports.at(n % 4), &[0xFF, 0, 0]).await);
    }
    let mut newcomer = Client::enter(&team.ports, VERSION, Via::Crate, "ivan", As::User).await;
    newcomer.join().await;
    newcomer.close();
    let counters = team.judge(STRANGERS).await;
    assert!(counters.get("connections") >= 1000);
}

/// A link for each role under thousands of identities.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_are_not_collected() {
    let keys = [("net.connections_burst", "100000")];
    let team = Team::start(&keys).await;
    for _ in 0..200 {
        let link = Link::dealer(Via::Elsewhere, team.ports.at(0), &identity()).await;
        drop(link);
    }
    team.judge(STRANGERS).await;
}
