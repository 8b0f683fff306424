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
use crate::wire::delta::is_plain;
use crate::wire::dialect::{Family, Live};
use crate::wire::identity::NodeId;
use crate::wire::node::Update;
use crate::wire::pickle::{Protocol, ScanPolicy, Top, read, scan, write};

/// A payload larger than this is looked into on a thread where it holds up nothing.
const LARGE: usize = 512 * 1024;

/// The event, or what takes its place if its payload is not fit for others.
pub(crate) async fn vet(mut event: Event, peer: &Arc<Peer>, context: &Context) -> Event {
    let Some(dialect) = peer.dialect() else {
        return event;
    };
    if dialect.family == Family::Marshal {
        return event;
    }
    let Some((node, payload, what)) = payload(&mut event) else {
        return event;
    };
    let policy = ScanPolicy {
        budget: context.limits.content,
        ..ScanPolicy::NODE
    };
    let changes = dialect.live != Live::Whole;
    let result = if payload.len() > LARGE {
        let given = payload.clone();
        let look = move || look_into(&given, what, changes, &policy);
        // A fault in the scan is no permission.
        let looked = tokio::task::spawn_blocking(look).await;
        looked.unwrap_or_else(|_| Err("a fault of this server".to_owned()))
    } else {
        look_into(payload, what, changes, &policy)
    };
    match result {
        Ok(looked) => {
            if let Some(rewritten) = looked.rewritten {
                *payload = rewritten;
            }
            if let Event::Update { plain, .. } = &mut event {
                *plain = looked.plain;
            }
            event
        }
        Err(problem) => {
            let what = format_args!("node {node}: {problem}");
            context
                .counters
                .refuse(Count::RefusedPayload, peer.identity(), what);
            Event::Unfit(node)
        }
    }
}

/// What a payload is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Node,
    Delta,
}

/// What is known of a payload.
struct Looked {
    /// What takes its place, if not everybody would understand it alike: artists have several
    /// ages of deepdiff in one session, and the newer ones refuse a type of the oldest; and a
    /// change of something that is in two places at once would be one of both to Python.
    rewritten: Option<Bytes>,
    /// Whether it is a delta that needs no look at the node.
    plain: bool,
}

fn look_into(
    payload: &Bytes,
    what: What,
    changes: bool,
    policy: &ScanPolicy<'_>,
) -> Result<Looked, String> {
    let scanned = scan(payload, policy).map_err(|error| error.to_string())?;
    match what {
        What::Node if scanned.persistent_id => {
            return Err("a node with a reference that clients cannot resolve".to_owned());
        }
        What::Delta if scanned.top != Top::Dict => return Err("a delta that is no dict".to_owned()),
        _ => {}
    }
    let rewrite = scanned.dated || (scanned.shared && changes);
    let mut looked = Looked {
        rewritten: None,
        plain: false,
    };
    if rewrite || what == What::Delta {
        // What names something the operator permits is not read, and stays as it is.
        if let Ok(value) = read(payload, &policy.budget) {
            looked.plain = what == What::Delta && is_plain(&value);
            looked.rewritten = rewrite.then(|| write(&value, Protocol::Four));
        }
    }
    Ok(looked)
}

/// The payload of an event, whose it is, and what.
fn payload(event: &mut Event) -> Option<(NodeId, &mut Bytes, What)> {
    match event {
        Event::Update {
            update: Update::Node(node),
            ..
        }
        | Event::Command(Command {
            request: Request::UploadSet(node),
            ..
        }) => Some((node.id, &mut node.payload, What::Node)),
        Event::Update {
            update: Update::Delta(delta),
            ..
        } => Some((delta.id, &mut delta.delta, What::Delta)),
        _ => None,
    }
}
