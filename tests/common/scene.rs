//! A small scene on the program: who brings it, who joins it, and what is found then.

use multi_user_server::wire::node::NodeState;

use super::client::{As, Client};
use super::link::Via;
use super::server::Program;
use super::{node, uuid};

/// The n-th node, as this client makes it.
pub(crate) fn made(client: &Client, n: u32, payload: &str) -> NodeState {
    let mut node = node(uuid(n), "COMMON", payload.to_owned());
    if !client.dialect.typed_nodes() {
        node.kind.clear();
    }
    node
}

/// Alice, who is admin and has brought two nodes: "two" needs "one".
pub(crate) async fn host(program: &Program, version: &'static str) -> Client {
    let ports = &program.ports;
    let mut alice = Client::enter(ports, version, Via::Hand, "alice", As::Admin).await;
    let mut nodes = [made(&alice, 1, "one"), made(&alice, 2, "two")];
    nodes[1].dependencies = vec![uuid(1)];
    alice.upload(&nodes).await;
    alice
}

/// Somebody who has joined.
pub(crate) async fn joined(program: &Program, version: &'static str, name: &str) -> Client {
    let mut client = Client::enter(&program.ports, version, Via::Hand, name, As::User).await;
    client.join().await;
    client
}

/// What the nodes hold.
pub(crate) fn payloads(client: &Client) -> Vec<String> {
    let nodes = client.nodes.values();
    nodes
        .map(|node| String::from_utf8_lossy(&node.payload).into_owned())
        .collect()
}
