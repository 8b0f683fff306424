//! Much of what is allowed in small amounts.

use std::net::Ipv4Addr;

use multi_user_server::wire::client::{OwnedAnswer, decode_answer, encode_request};
use multi_user_server::wire::command::{CommandLimits, Request};
use multi_user_server::wire::dialect;

use crate::STRANGERS;
use crate::common::client::{As, Client, auth};
use crate::common::link::Via;
use crate::common::raw::{ELSEWHERE, Raw};
use crate::common::server::{ADMIN, open_files};
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

/// A link for each role under thousands of identities, as many at a time as there can be: users come
/// in meanwhile, and nothing is left of those who have gone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn identities_are_not_collected() {
    /// The first half fills what the allocator keeps for itself.
    const IDENTITIES: usize = 4000;
    const TOGETHER: usize = 500;
    /// MiB that the links of so many may take.
    const LINKS: u64 = 64;
    /// Bytes that may be left of each of the second half: less than what the server knows of one.
    const LEFT: u64 = 512;
    let keys = [
        ("net.max_unauthenticated", "3500"),
        ("net.max_unauthenticated_per_address", "2500"),
        ("net.max_per_address", "3000"),
        ("net.accepts_burst", "100000"),
        ("net.accepts_per_address_burst", "100000"),
        ("net.connections_burst", "100000"),
        ("net.login_deadline", "10m"),
    ];
    let team = Team::start(&keys).await;
    // The team's own links need some descriptors here, and its server's files there.
    let links = team
        .program
        .open_files()
        .min(open_files(std::process::id()))
        - 200;
    let together = TOGETHER.min(usize::try_from(links / 4).unwrap());
    let mut gone = 0;
    let mut before = None;
    while gone < IDENTITIES {
        let mut wave = Vec::new();
        // Each from an address of its own: one has not so many ports.
        let from = Ipv4Addr::from(u32::from(ELSEWHERE) + u32::try_from(gone).unwrap());
        for _ in 0..together {
            let who = identity();
            let dealer = |offset| Raw::dealer_from(from, team.ports.at(offset), &who);
            let push = Raw::push_from(from, team.ports.at(2));
            let (command, subscriber, publisher, ttl) =
                tokio::join!(dealer(0), dealer(1), push, dealer(3));
            wave.extend([command, subscriber, publisher, ttl]);
        }
        let mut newcomer = Client::enter(&team.ports, VERSION, Via::Crate, "ivan", As::User).await;
        newcomer.join().await;
        newcomer.close();
        for raw in wave {
            raw.hung_up().await;
        }
        gone += together;
        if gone >= IDENTITIES / 2 && before.is_none() {
            before = Some((team.program.memory().0, gone));
        }
    }
    let (before, then) = before.unwrap();
    let left = team.program.memory().0.saturating_sub(before);
    let more = u64::try_from(gone - then).unwrap();
    assert!(left <= more * LEFT, "{left} bytes are left of {more}");
    let counters = team.judge(LINKS).await;
    assert_eq!(counters.get("refused_connections"), 0);
    assert_eq!(counters.get("late_connections"), 0);
}
