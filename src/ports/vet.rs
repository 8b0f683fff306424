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
use crate::wire::pickle::{PickleError, Protocol, ScanPolicy, Scanned, read, scan, write};

/// A payload larger than this is looked into on a thread where it holds up nothing.
const LARGE: usize = 512 * 1024;

/// The event, or what takes its place if its payload is not fit for others.
pub(crate) async fn vet(mut event: Event, peer: &Arc<Peer>, context: &Context) -> Event {
    if peer
        .dialect()
        .is_none_or(|dialect| dialect.family == Family::Marshal)
    {
        return event;
    }
    let Some((node, payload, whole)) = payload(&mut event) else {
        return event;
    };
    let policy = ScanPolicy {
        budget: context.limits.content,
        ..ScanPolicy::NODE
    };
    let result = if payload.len() > LARGE {
        let given = payload.clone();
        let looked = tokio::task::spawn_blocking(move || look_into(&given, &policy)).await;
        // A fault in the scan is no permission.
        looked.unwrap_or(Err(PickleError::Truncated { at: 0 }))
    } else {
        look_into(payload, &policy)
    };
    let problem = match result {
        Ok(Looked { scanned, .. }) if whole && scanned.persistent_id => {
            "a node with a reference that clients cannot resolve".to_owned()
        }
        Ok(Looked { plain, .. }) => {
            if let Some(plain) = plain {
                *payload = plain;
            }
            return event;
        }
        Err(error) => error.to_string(),
    };
    let what = format_args!("node {node}: {problem}");
    context
        .counters
        .refuse(Count::RefusedPayload, peer.identity(), what);
    Event::Unfit(node)
}

/// What is known of a payload.
struct Looked {
    scanned: Scanned,
    /// What everybody can read in its stead, if not everybody can read it: artists have several
    /// ages of deepdiff in one session, and the newer ones refuse a type of the oldest.
    plain: Option<Bytes>,
}

fn look_into(payload: &Bytes, policy: &ScanPolicy<'_>) -> Result<Looked, PickleError> {
    let scanned = scan(payload, policy)?;
    let plain = if scanned.dated {
        Some(write(&read(payload, &policy.budget)?, Protocol::Four))
    } else {
        None
    };
    Ok(Looked { scanned, plain })
}

/// The payload of an event, whose it is, and whether it is a whole node.
fn payload(event: &mut Event) -> Option<(NodeId, &mut Bytes, bool)> {
    match event {
        Event::Update {
            update: Update::Node(node),
            ..
        }
        | Event::Command(Command {
            request: Request::UploadSet(node),
            ..
        }) => Some((node.id, &mut node.payload, true)),
        Event::Update {
            update: Update::Delta(delta),
            ..
        } => Some((delta.id, &mut delta.delta, false)),
        _ => None,
    }
}
