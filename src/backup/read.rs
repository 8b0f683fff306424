//! Reads a session file as a session that can take the place of the present one.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use crate::config::{Config, GlobalName};
use crate::session::Snapshot;
use crate::session_file::{self, Reader};
use crate::store::{Meta, Stored};
use crate::wire::identity::NodeId;
use crate::wire::node::{NodeLimits, NodeState};
use crate::wire::pickle::{Budget, ScanPolicy};

/// What a value takes in memory, with room for what is made of it. They may take as much as the session:
/// of what clients save in such files nearly all is long strings and arrays, each one value.
const VALUE: usize = 64;
/// So many values take little anywhere.
const FEW: usize = 1 << 20;

/// How much a session file may hold: as much as the session.
#[derive(Clone, Debug)]
pub struct Limits {
    bytes: usize,
    nodes: usize,
    dependencies: usize,
    content: Budget,
    extra_globals: Vec<GlobalName>,
}

impl Limits {
    /// Those of a configuration, with the bytes of all nodes, and the content of each.
    pub fn new(config: &Config, bytes: usize, content: Budget) -> Self {
        Self {
            bytes,
            nodes: config.session.max_nodes,
            dependencies: config.session.max_dependencies,
            content,
            extra_globals: config.session.extra_globals.clone(),
        }
    }

    /// What a node may be like.
    pub fn content(&self) -> Budget {
        self.content
    }

    /// What a node may name, and how much of everything it may have.
    pub(crate) fn with_policy<T>(&self, look: impl FnOnce(&ScanPolicy<'_>) -> T) -> T {
        let extra = self.extra_globals.iter();
        let extra: Vec<_> = extra
            .map(|global| (global.module(), global.name()))
            .collect();
        look(&ScanPolicy {
            budget: self.content,
            extra_globals: &extra,
        })
    }
}

/// Reads a session file, in which nobody owns anything any more.
///
/// # Errors
/// What is wrong with the file, and what to do then.
pub fn read_file(path: &Path, limits: &Limits) -> Result<Snapshot, String> {
    limits.with_policy(|policy| read_within(path, limits, *policy))
}

fn read_within(path: &Path, limits: &Limits, policy: ScanPolicy<'_>) -> Result<Snapshot, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| wrong(&error))?;
    let reader = Reader::open(file).map_err(|error| wrong(&error))?;
    let within = session_file::Limits {
        bytes: limits.bytes as u64,
        nodes: limits.nodes,
        node: NodeLimits {
            payload: limits.content.bytes,
            dependencies: limits.dependencies,
            ..NodeLimits::default()
        },
        policy,
        values: (limits.bytes / VALUE).max(FEW),
    };
    let mut nodes: Vec<(NodeId, Stored)> = Vec::new();
    let read = reader.read(&within, |node| {
        let place = nodes.len() as u64;
        nodes.push((node.id, stored(node, place)));
        Ok::<_, std::convert::Infallible>(())
    });
    let summary = read.map_err(|error| wrong(&error))?;
    Ok(Snapshot {
        sequence: 0,
        meta: Meta {
            family: summary.format.map(session_file::Format::family),
            version: summary.version,
            active: !nodes.is_empty(),
        },
        nodes,
    })
}

fn stored(node: NodeState, place: u64) -> Stored {
    Stored {
        place,
        owner: Arc::from(crate::session::replicas::COMMON),
        kind: node.kind,
        dependencies: node.dependencies,
        version: place,
        base: node.payload,
        tail_start: 0,
        tail: Vec::new(),
        aside: None,
    }
}
