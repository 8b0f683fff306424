//! Reads a file: nodes come out one after the other, fit for others, or the file is refused.

use std::collections::HashSet;
use std::io::Read;

use bytes::Bytes;

use super::about::About;
use super::decoded::Decoded;
use super::error::{FileError, ReadError};
use super::format::Format;
use super::input::Input;
use super::machine::{Machine, Most, Outcome};
use super::node;
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;
use crate::wire::node::{NodeLimits, NodeState};
use crate::wire::pickle::ScanPolicy;

/// What a node may have beside its payload: this, and so much for each dependency.
const ENVELOPE: usize = 64 * 1024;
const DEPENDENCY: usize = 64;

/// How much a file may hold. Memory is taken for what is there, not for what is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// Bytes when unpacked. What is read of a file of [`Format::Decoded`] is in memory as a whole.
    pub bytes: u64,
    /// Nodes.
    pub nodes: usize,
    /// Values in all nodes of a file of [`Format::Decoded`] together; each takes some fifty bytes.
    pub values: usize,
    /// Size of each node.
    pub node: NodeLimits,
    /// Content of each node, and what it may name: as for what clients push.
    pub policy: ScanPolicy<'a>,
}

impl Default for Limits<'_> {
    fn default() -> Self {
        Self {
            bytes: 8 << 30,
            nodes: 1 << 18,
            values: 1 << 25,
            node: NodeLimits::default(),
            policy: ScanPolicy::NODE,
        }
    }
}

/// What a file was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Its shape; says the family. `None` if there are no nodes.
    pub format: Option<Format>,
    /// Version of the client the session was for, if the file says one that loads such files.
    pub version: Option<String>,
    /// How many nodes were given.
    pub nodes: usize,
    /// How many of them were registered but never filled, in Python `None`. Clients up to 0.1.36
    /// know no such nodes.
    pub without_data: usize,
    /// Nodes that others depend on, but which are not there, in the order of their uuids.
    pub missing: Vec<NodeId>,
    /// Bytes when unpacked.
    pub bytes: u64,
}

/// A session file that is to be read.
///
/// Some things are let pass, because the add-on lets them pass and clients push the like in
/// sessions: nodes that depend on missing ones (they are counted in the [`Summary`]), on themselves or
/// in circles, in any order; files of several gzip members, and pickles without gzip. A node that is
/// there twice is refused, although the add-on would take the later data with the earlier owner.
pub struct Reader<R: Read> {
    input: Input<R>,
    about: Option<About>,
}

impl<R: Read> Reader<R> {
    /// Begins to read. The file need not be buffered.
    ///
    /// # Errors
    /// If it is no session file at all.
    pub fn open(input: R) -> Result<Self, FileError> {
        let (input, about) = Input::open(input)?;
        Ok(Self { input, about })
    }

    /// What the file says of itself, if this server wrote it. Nothing in it is certain.
    pub fn about(&self) -> Option<&About> {
        self.about.as_ref()
    }

    /// Gives all nodes in the order of the file. What was given is to be dropped if an error
    /// follows: the end may be missing, or the checksum be wrong.
    ///
    /// # Errors
    /// If the file is not wholly right, or `each` gives an error.
    pub fn read<E: std::error::Error + 'static>(
        mut self,
        limits: &Limits<'_>,
        each: impl FnMut(NodeState) -> Result<(), E>,
    ) -> Result<Summary, ReadError<E>> {
        self.input.limit(limits.bytes);
        let mut taker = Taker {
            limits,
            each,
            seen: HashSet::new(),
            missing: HashSet::new(),
            without_data: 0,
        };
        let most = Most {
            stack: limits.policy.budget.stack,
            node: limits
                .node
                .dependencies
                .saturating_mul(DEPENDENCY)
                .saturating_add(ENVELOPE)
                .saturating_add(limits.node.payload),
        };
        let machine = Machine::new(&mut self.input, most, |chunks, marshal| {
            taker.chunks(chunks, marshal)
        });
        let (outcome, marshal) = machine.run()?;
        let format = match outcome {
            Outcome::Done => match marshal {
                _ if taker.seen.is_empty() => None,
                Some(marshal) => Some(Format::Ours { marshal }),
                None => Some(Format::Chunks),
            },
            Outcome::Decoded => {
                let whole = self.input.whole()?;
                let whole = whole.ok_or(FileError::Shape("its nodes come late"))?;
                let mut decoded = Decoded::read(whole, limits)?;
                while let Some(node) = decoded.next(limits) {
                    taker.take(node?)?;
                }
                decoded.typed().map(|typed| Format::Decoded { typed })
            }
        };
        let mut missing: Vec<_> = taker.missing.into_iter().collect();
        missing.sort_unstable();
        let client = self.about.and_then(|about| about.client);
        let version = client.filter(|client| format.is_some_and(|format| loads(client, format)));
        Ok(Summary {
            format,
            version,
            nodes: taker.seen.len(),
            without_data: taker.without_data,
            missing,
            bytes: self.input.taken(),
        })
    }
}

/// Whether clients of a version load files of a format.
fn loads(client: &str, format: Format) -> bool {
    let dialect = crate::wire::dialect::for_version(Some(client));
    dialect.is_ok_and(|dialect| Format::of(dialect.family, Some(client)) == format)
}

impl Summary {
    /// How its nodes are written. `None` if there are none.
    pub fn family(&self) -> Option<Family> {
        self.format.map(Format::family)
    }
}

/// Checks what concerns several nodes, and gives them on.
struct Taker<'l, 'a, F> {
    limits: &'l Limits<'a>,
    each: F,
    seen: HashSet<NodeId>,
    /// Nodes that are needed and have not come.
    missing: HashSet<NodeId>,
    without_data: usize,
}

impl<F> Taker<'_, '_, F> {
    fn chunks<E>(&mut self, chunks: [Bytes; 5], marshal: Option<bool>) -> Result<(), ReadError<E>>
    where
        E: std::error::Error + 'static,
        F: FnMut(NodeState) -> Result<(), E>,
    {
        self.check_count()?;
        let node = node::from_chunks(chunks, marshal, self.limits);
        let number = self.seen.len().saturating_add(1);
        self.take(node.map_err(|(id, error)| FileError::Node { number, id, error })?)
    }

    fn check_count(&self) -> Result<(), FileError> {
        let limit = self.limits.nodes;
        if self.seen.len() >= limit {
            return Err(FileError::TooManyNodes { limit });
        }
        Ok(())
    }

    fn take<E>(&mut self, node: NodeState) -> Result<(), ReadError<E>>
    where
        E: std::error::Error + 'static,
        F: FnMut(NodeState) -> Result<(), E>,
    {
        self.check_count()?;
        let id = node.id;
        if !self.seen.insert(id) {
            return Err(FileError::Twice { id }.into());
        }
        self.missing.remove(&id);
        let seen = &self.seen;
        let missing = node.dependencies.iter().filter(|id| !seen.contains(*id));
        self.missing.extend(missing);
        let limit = self.limits.nodes;
        if self.missing.len() > limit {
            return Err(FileError::Missing { limit }.into());
        }
        if node::is_without_data(&node) {
            self.without_data = self.without_data.saturating_add(1);
        }
        (self.each)(node).map_err(ReadError::Taker)
    }
}
