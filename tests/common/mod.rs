//! Support for tests that run the server: the program itself ([`server`]), scripted clients of
//! every transport ([`client`]), bare connections that say whatever they like ([`raw`]), and a team
//! at work whose messages are timed while others misbehave ([`team`]), and a small [`scene`].
//!
//! Everything that is awaited has a deadline ([`within`]); nothing sleeps to let time pass.

#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test support, of which each test program uses a part"
)]

pub(crate) mod client;
pub(crate) mod link;
pub(crate) mod raw;
pub(crate) mod scene;
pub(crate) mod server;
pub(crate) mod team;

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use multi_user_server::wire::identity::{Identity, NodeId};
use multi_user_server::wire::limits::Limits;
use multi_user_server::wire::node::NodeState;
use rand::TryRngCore;

/// How long anything that must happen may take on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(40);

/// Waits for something that must happen.
pub(crate) async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, work).await {
        Ok(result) => result,
        Err(_) => panic!("{what} did not happen within {PATIENCE:?}"),
    }
}

/// What test peers take from the server.
pub(crate) const ANYTHING: Limits = Limits {
    frame: 1 << 30,
    message: 1 << 30,
    frames: 1 << 16,
};

/// An identity like those of real clients: 16 bytes by chance.
pub(crate) fn identity() -> Identity {
    let mut bytes = [0; 16];
    rand::rngs::OsRng.try_fill_bytes(&mut bytes).unwrap();
    Identity::new(&bytes).unwrap()
}

/// The uuid of the n-th node.
pub(crate) fn uuid(n: u32) -> NodeId {
    NodeId::new(format!("{n:08x}-0000-4000-8000-000000000000").as_bytes()).unwrap()
}

/// A node as clients of G1 to G10 make it.
pub(crate) fn node(id: NodeId, owner: &str, payload: impl Into<Bytes>) -> NodeState {
    NodeState {
        id,
        owner: owner.into(),
        kind: Bytes::from_static(b"BlObject"),
        dependencies: Vec::new(),
        payload: payload.into(),
    }
}
