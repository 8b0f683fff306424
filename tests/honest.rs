//! What honest clients do that is easily taken for something else.

// The helpers beside the tests are tests too.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::time::Duration;

use common::client::{As, Client};
use common::link::Via;
use common::server::Local;
use common::{node, uuid};
use multi_user_server::counters::Count;
use multi_user_server::wire::command::Request;
use multi_user_server::wire::node::NodeState;

/// The node of the tests, without the type that clients since 0.2.1 do not send.
fn edited(client: &Client, payload: String) -> NodeState {
    let mut node = node(uuid(1), "COMMON", payload);
    if !client.dialect.typed_nodes() {
        node.kind.clear();
    }
    node
}

async fn pair(local: &Local, version: &'static str) -> (Client, Client) {
    let mut alice = Client::enter(&local.ports, version, Via::Hand, "alice", As::Admin).await;
    alice.upload(&[edited(&alice, "old".to_owned())]).await;
    let bob = Client::enter(&local.ports, version, Via::Hand, "bob", As::User).await;
    (alice, bob)
}

/// Nodes and commands have links of their own: a joiner's first edit may come before its DONE.
#[tokio::test]
async fn an_edit_that_overtakes_the_done_counts() {
    for version in ["0.1.26", "0.9.11", "0.10.2"] {
        let local = Local::start(|_| {}).await;
        let (mut alice, mut bob) = pair(&local, version).await;
        bob.fetch().await;
        bob.push(&edited(&bob, "new".to_owned()));
        alice
            .until("bob's edit", |alice| alice.nodes[&uuid(1)].payload == "new")
            .await;
        bob.request(&Request::JoinDone);
        bob.request(&Request::Right {
            nodes: vec![uuid(1)],
            owner: "bob".to_owned(),
        });
        alice
            .until("bob's right", |alice| alice.nodes[&uuid(1)].owner == "bob")
            .await;
        assert_eq!(local.server.counters().value(Count::RefusedCommand), 0);
    }
}

/// Somebody who moves an object for a while, right after another has changed it, is not thrown back to its
/// own earlier positions again and again.
async fn edit_steadily(version: &'static str, pace: Duration) {
    const EDITS: u64 = 20;
    let local = Local::start(|_| {}).await;
    let (mut alice, mut bob) = pair(&local, version).await;
    bob.join().await;
    alice.push(&edited(&alice, "alice's".to_owned()));
    bob.until("alice's edit", |bob| {
        bob.nodes[&uuid(1)].payload == "alice's"
    })
    .await;
    let mut pace = tokio::time::interval(pace);
    for n in 1..=EDITS {
        pace.tick().await;
        bob.push(&edited(&bob, n.to_string()));
    }
    alice
        .until("bob's last edit", |alice| {
            alice.nodes[&uuid(1)].payload == EDITS.to_string()
        })
        .await;
    let converged = local.server.counters().value(Count::Converged);
    assert!(
        converged <= 1,
        "{version}: {converged} of {EDITS} edits came back"
    );
}

#[tokio::test]
async fn a_steady_editor_does_not_get_its_own_edits_back() {
    tokio::join!(
        edit_steadily("0.1.26", Duration::from_millis(40)),
        edit_steadily("0.1.26", Duration::from_millis(150)),
        edit_steadily("0.9.11", Duration::from_millis(150)),
        edit_steadily("0.10.2", Duration::from_millis(300)),
    );
}
