//! Writes a file, a node at a time.

use std::io::{self, Write};
use std::time::SystemTime;

use bytes::Bytes;
use flate2::{Compression, GzBuilder};

use super::about::About;
use super::error::WriteError;
use super::format::Format;
use super::pack::Packer;
use crate::wire::node::{NodeState, raw};
use crate::wire::pickle::{Budget, PickleError, Protocol, op, read, splice, write as pickle};

/// The operating system in the gzip header: none in particular.
const NO_SYSTEM: u8 = 255;

/// What was written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Nodes.
    pub nodes: usize,
    /// Bytes before compression.
    pub bytes: u64,
}

/// Writes a session. Holds one node at a time, whatever the session's size.
///
/// The nodes must be those of one session, of the format's family, with payloads that were found
/// fit, and none twice; see [`whole`](super::whole()) for those of a store. `out` need not be buffered; it is
/// flushed at the end, not synced.
///
/// # Errors
/// If it cannot be written, the iterator gives an error, or a payload is none. What was written
/// until then is no session file.
pub fn write<W: Write, E: std::error::Error + 'static>(
    out: W,
    format: Format,
    about: &About,
    nodes: impl Iterator<Item = Result<NodeState, E>>,
) -> Result<Written, WriteError<E>> {
    let since = about.saved.duration_since(SystemTime::UNIX_EPOCH);
    let since = since.map_or(0, |since| since.as_secs());
    let gzip = GzBuilder::new()
        .mtime(u32::try_from(since).unwrap_or_default())
        .operating_system(NO_SYSTEM)
        .comment(about.to_comment())
        .write(out, Compression::fast());
    let mut writer = Writer {
        gzip: Packer::new(gzip),
        format,
        memo: 0,
        small: Vec::new(),
        written: Written::default(),
    };
    writer.begin().map_err(WriteError::Io)?;
    for node in nodes {
        writer.node(&node.map_err(WriteError::Giver)?)?;
    }
    writer.end().map_err(WriteError::Io)
}

struct Writer<W: Write> {
    gzip: Packer<W>,
    format: Format,
    /// Entries in the memo of the pickle.
    memo: u32,
    /// What goes out before the next payload.
    small: Vec<u8>,
    written: Written,
}

impl<W: Write> Writer<W> {
    fn begin(&mut self) -> io::Result<()> {
        self.small.extend([op::PROTO, 4, op::EMPTY_DICT]);
        if let Format::Ours { marshal } = self.format {
            self.text(b"family");
            self.text(if marshal { b"marshal" } else { b"typed" });
            self.small.push(op::SETITEM);
        }
        self.text(b"nodes");
        self.small.push(op::EMPTY_LIST);
        self.pass()
    }

    fn node<E: std::error::Error>(&mut self, node: &NodeState) -> Result<(), WriteError<E>> {
        match self.format {
            Format::Chunks => {
                let mut chunks = raw::to_chunks(node);
                let [.., payload] = &mut chunks;
                *payload = portable(payload);
                self.chunks(&chunks).map_err(WriteError::Io)?;
            }
            Format::Ours { .. } => {
                let chunks = raw::to_typed_chunks(node);
                self.chunks(&chunks).map_err(WriteError::Io)?;
            }
            Format::Decoded { typed } => {
                let decoded = self.decoded(node, typed);
                decoded.map_err(|error| WriteError::Node { id: node.id, error })?;
                self.pass().map_err(WriteError::Io)?;
            }
        }
        self.written.nodes = self.written.nodes.saturating_add(1);
        Ok(())
    }

    /// A list of bytes, as an element of the list that is being written.
    fn chunks(&mut self, chunks: &[Bytes; 5]) -> io::Result<()> {
        self.small.extend([op::EMPTY_LIST, op::MARK]);
        for chunk in chunks {
            self.length(chunk.len());
            // Not gathered: it may be large.
            self.pass()?;
            self.gzip.write_all(chunk)?;
            self.count(chunk.len());
        }
        self.small.extend([op::APPENDS, op::APPEND]);
        self.pass()
    }

    /// A tuple of uuid and dict.
    fn decoded(&mut self, node: &NodeState, typed: bool) -> Result<(), PickleError> {
        self.text(node.id.as_bytes());
        self.small.extend([op::EMPTY_DICT, op::MARK]);
        self.text(b"owner");
        self.text(node.owner.as_bytes());
        if typed {
            self.text(b"str_type");
            self.text(&node.kind);
        }
        self.text(b"data");
        let payload = portable(&node.payload);
        if !matches!(payload.as_ref(), [op::PROTO, 3..=5, ..]) {
            // Its names would be read otherwise.
            return Err(PickleError::Protocol(2));
        }
        self.memo = splice(&payload, self.memo, &mut self.small)?;
        self.text(b"dependencies");
        self.small.extend([op::EMPTY_LIST, op::MARK]);
        for id in &node.dependencies {
            self.text(id.as_bytes());
        }
        self.small
            .extend([op::APPENDS, op::SETITEMS, op::TUPLE2, op::APPEND]);
        Ok(())
    }

    fn end(mut self) -> io::Result<Written> {
        self.small.push(op::SETITEM);
        if matches!(self.format, Format::Decoded { .. }) {
            self.text(b"users");
            self.small.extend([op::EMPTY_DICT, op::SETITEM]);
        }
        self.small.push(op::STOP);
        self.pass()?;
        self.gzip.finish()?.flush()?;
        Ok(self.written)
    }

    fn text(&mut self, text: &[u8]) {
        match u8::try_from(text.len()) {
            Ok(length) => self.small.extend([op::SHORT_BINUNICODE, length]),
            Err(_) => {
                self.small.push(op::BINUNICODE8);
                self.small.extend((text.len() as u64).to_le_bytes());
            }
        }
        self.small.extend(text);
    }

    /// What stands before so many `bytes`.
    fn length(&mut self, length: usize) {
        match (u8::try_from(length), u32::try_from(length)) {
            (Ok(length), _) => self.small.extend([op::SHORT_BINBYTES, length]),
            (_, Ok(length)) => {
                self.small.push(op::BINBYTES);
                self.small.extend(length.to_le_bytes());
            }
            _ => {
                self.small.push(op::BINBYTES8);
                self.small.extend((length as u64).to_le_bytes());
            }
        }
    }

    fn pass(&mut self) -> io::Result<()> {
        self.gzip.write_all(&self.small)?;
        self.count(self.small.len());
        self.small.clear();
        Ok(())
    }

    fn count(&mut self, bytes: usize) {
        self.written.bytes = self.written.bytes.saturating_add(bytes as u64);
    }
}

/// The payload as a pickle that every Python from 3.7 on reads, and which can be part of another
/// of protocol 4: clients on the newest Python say protocol 5, and below 3 names are read
/// otherwise. What names something the operator permits cannot be read, and stays as it is.
fn portable(payload: &Bytes) -> Bytes {
    match payload.as_ref() {
        [op::PROTO, 3 | 4, ..] => payload.clone(),
        _ => match read(payload, &Budget::NODE) {
            Ok(value) => pickle(&value, Protocol::Four),
            Err(_) => payload.clone(),
        },
    }
}
