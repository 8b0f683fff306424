//! Looks into what users push before anybody else gets it.
//!
//! Clients unpickle nodes with everything Python has, so a node that names a function to call
//! would run it on every other artist's machine. What names anything outside a short list, or is
//! no pickle, goes no further. (Marshal, of the oldest generations, can name nothing.)

use std::sync::Arc;

use bytes::Bytes;

use super::context::Context;
use super::peer::Peer;
use crate::counters::Count;
use crate::session::Event;
use crate::session::outlet::Outlet;
use crate::wire::command::{Command, Request};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;
use crate::wire::node::Update;
use crate::wire::pickle::{PickleError, ScanPolicy, Scanned, scan};

/// A payload larger than this is looked into on a thread where it holds up nothing.
const LARGE: usize = 512 * 1024;

/// The event, or what takes its place if its payload is not fit for others.
pub(crate) async fn vet(event: Event, peer: &Arc<Peer>, context: &Context) -> Event {
    if peer
        .dialect()
        .is_none_or(|dialect| dialect.family == Family::Marshal)
    {
        return event;
    }
    let Some((node, payload, whole)) = payload(&event) else {
        return event;
    };
    let policy = ScanPolicy {
        budget: context.limits.content,
        ..ScanPolicy::NODE
    };
    let result = if payload.len() > LARGE {
        let scanned = tokio::task::spawn_blocking(move || scan(&payload, &policy)).await;
        // A fault in the scan is no permission.
        scanned.unwrap_or(Err(PickleError::Truncated { at: 0 }))
    } else {
        scan(&payload, &policy)
    };
    let problem = match result {
        Ok(Scanned {
            persistent_id: true,
            ..
        }) if whole => "a node with a reference that clients cannot resolve".to_owned(),
        Ok(_) => return event,
        Err(error) => error.to_string(),
    };
    let what = format_args!("node {node}: {problem}");
    context
        .counters
        .refuse(Count::RefusedPayload, peer.identity(), what);
    Event::Unfit(node)
}

/// The payload of an event, whose it is, and whether it is a whole node.
fn payload(event: &Event) -> Option<(NodeId, Bytes, bool)> {
    match event {
        Event::Update {
            update: Update::Node(node),
            ..
        }
        | Event::Command(Command {
            request: Request::UploadSet(node),
            ..
        }) => Some((node.id, node.payload.clone(), true)),
        Event::Update {
            update: Update::Delta(delta),
            ..
        } => Some((delta.id, delta.delta.clone(), false)),
        _ => None,
    }
}
