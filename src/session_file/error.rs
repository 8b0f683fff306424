//! What can be wrong with a file, and what to do then.

use std::io;

use crate::wire::command::FieldError;
use crate::wire::fit::Unfit;
use crate::wire::identity::NodeId;
use crate::wire::pickle::PickleError;

/// Why a file is not read to its end.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system said so.
    #[error("the file cannot be read: {0}")]
    Io(#[source] io::Error),
    /// It begins like nothing we know.
    #[error(
        "this is no session file: it is neither gzip nor a pickle; choose a .db file that the add-on or this server has saved"
    )]
    NoFile,
    /// The checksum is wrong, or what is in it cannot be unpacked.
    #[error("the file is damaged ({0}); take another copy of it")]
    Damaged(String),
    /// It ends in the middle.
    #[error(
        "the file ends too early: it was not saved or copied to its end; take another copy of it"
    )]
    Truncated,
    /// Something is behind the pickle.
    #[error(
        "something follows the end of the session, so the file is not as it was saved; take another copy of it"
    )]
    Trailing,
    /// It becomes larger than allowed.
    #[error("the file unpacks to more than the {limit} bytes allowed; if you trust it, allow more")]
    TooLarge {
        /// Bytes allowed.
        limit: u64,
    },
    /// There are more nodes in it than allowed.
    #[error("the file holds more than the {limit} nodes allowed; if you trust it, allow more")]
    TooManyNodes {
        /// Nodes allowed.
        limit: usize,
    },
    /// The pickle that is the file is none, or does what no session file does.
    #[error("this is no session file, or a damaged one: {0}")]
    Pickle(#[from] PickleError),
    /// The pickle is one, of something else.
    #[error("this is no session file, or a damaged one: {0}")]
    Shape(&'static str),
    /// A node is none, or not fit for others.
    #[error("node {number} of the file{}: {error}", named(.id.as_ref()))]
    Node {
        /// Its place in the file, from one.
        number: usize,
        /// Its uuid, if it has one.
        id: Option<NodeId>,
        /// What is wrong.
        #[source]
        error: NodeError,
    },
    /// A node is there twice.
    #[error(
        "node {id} is in the file twice, and which one is right cannot be told; no add-on saves such a file"
    )]
    Twice {
        /// Its uuid.
        id: NodeId,
    },
    /// Nodes depend on very many that are not there.
    #[error(
        "nodes depend on more than {limit} others that are not in the file; no add-on saves such a file"
    )]
    Missing {
        /// How many may be.
        limit: usize,
    },
}

fn named(id: Option<&NodeId>) -> String {
    id.map_or_else(String::new, |id| format!(" ({id})"))
}

/// What is wrong with a node of a file.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It is not made like one.
    #[error("it is not made like a node: {0}")]
    Shape(&'static str),
    /// One of its parts is not what it should be.
    #[error(transparent)]
    Field(#[from] FieldError),
    /// Its content would harm clients.
    #[error("its content is refused, as it would be from a client: {0}")]
    Unfit(#[from] Unfit),
    /// It is longer than a node may be.
    #[error("it is longer than the {limit} bytes a node may have")]
    TooLong {
        /// Bytes allowed.
        limit: usize,
    },
}

/// Why reading ended early.
#[derive(Debug, thiserror::Error)]
pub enum ReadError<E: std::error::Error + 'static> {
    /// The file is at fault.
    #[error(transparent)]
    File(#[from] FileError),
    /// Who takes the nodes does not go on.
    #[error(transparent)]
    Taker(E),
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError<E: std::error::Error + 'static> {
    /// The file system said so.
    #[error("the session file cannot be written: {0}")]
    Io(#[source] io::Error),
    /// Who gives the nodes could not.
    #[error(transparent)]
    Giver(E),
    /// The payload of a node is no pickle, or there are too many texts in all of them.
    #[error("node {id} cannot be put into a session file: {error}")]
    Node {
        /// Its uuid.
        id: NodeId,
        /// What is wrong.
        #[source]
        error: PickleError,
    },
}
