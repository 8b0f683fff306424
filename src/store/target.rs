//! Where nodes are written: rows to the log, large payloads to files of their own.
//!
//! `known` says what of a node is new, for a batch and for what is written ahead of one (`staged`).

use bytes::Bytes;

use super::content::{self, PayloadRow, State};
use super::known::Piece;
use super::log::Log;
use super::payloads::Payloads;
use super::row::Kind;
use super::segment::At;
use super::{StoreError, Stored};
use crate::wire::identity::NodeId;

/// Where nodes are written.
pub(super) struct Target<'s> {
    log: &'s mut Log,
    payloads: &'s mut Payloads,
    /// The batch.
    sequence: u64,
    /// Payloads of this size and larger have a file of their own.
    large: usize,
    /// Files that nothing refers to once it is written.
    pub(super) orphans: Vec<u64>,
}

impl<'s> Target<'s> {
    /// For a batch, of which nothing is written yet.
    pub(super) fn new(
        log: &'s mut Log,
        payloads: &'s mut Payloads,
        sequence: u64,
        large: usize,
    ) -> Self {
        Self {
            log,
            payloads,
            sequence,
            large,
            orphans: Vec::new(),
        }
    }

    pub(super) fn row(&mut self, row: &[&[u8]]) -> Result<At, StoreError> {
        let at = self.log.append(row)?;
        self.log.counts(at);
        Ok(at)
    }

    pub(super) fn links(&mut self, id: NodeId, stored: &Stored) -> Result<At, StoreError> {
        let aside = stored.aside.as_deref();
        let row = content::links(id, self.sequence, &stored.dependencies, aside);
        self.row(&[&row])
    }

    pub(super) fn base(&mut self, id: NodeId, stored: &Stored) -> Result<Piece, StoreError> {
        let state = (stored.version, stored.tail_start as u64);
        self.payload(Kind::Base, id, state, &stored.base)
    }

    pub(super) fn payload(
        &mut self,
        kind: Kind,
        id: NodeId,
        state: State,
        payload: &Bytes,
    ) -> Result<Piece, StoreError> {
        let bytes = payload.len() as u64;
        let (at, file) = if payload.len() < self.large {
            let row = PayloadRow::new(kind, id, state, payload);
            (self.row(&row.parts())?, None)
        } else {
            let number = match self.payloads.take_staged(kind, id, state, payload) {
                Some(number) => number,
                None => self.payloads.write(kind, id, state, payload)?,
            };
            let named = match kind {
                Kind::Delta => Kind::DeltaFile,
                _ => Kind::BaseFile,
            };
            let row = content::in_file(named, id, state, number, bytes);
            (self.row(&[&row])?, Some(number))
        };
        Ok(Piece { at, file, bytes })
    }

    /// All that is there of a node does not count any more. The row that says so needs no keeping.
    pub(super) fn void<'p>(
        &mut self,
        id: NodeId,
        rows: impl IntoIterator<Item = At>,
        pieces: impl IntoIterator<Item = &'p Piece>,
    ) -> Result<(), StoreError> {
        self.log.append(&[&content::gone(id)])?;
        self.gone(rows, pieces);
        Ok(())
    }

    /// These rows and payloads do not count any more.
    pub(super) fn gone<'p>(
        &mut self,
        rows: impl IntoIterator<Item = At>,
        pieces: impl IntoIterator<Item = &'p Piece>,
    ) {
        for row in rows {
            self.log.counts_no_more(row);
        }
        let files = pieces.into_iter().filter_map(|piece| piece.file);
        self.orphans.extend(files);
    }
}
