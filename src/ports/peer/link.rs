//! One connection of a peer, as the tasks that read and write it share it.

use std::net::IpAddr;
use std::sync::OnceLock;

use tokio_util::sync::CancellationToken;

use crate::session::event::End;
use crate::wire::role::Role;

/// One connection of a peer, as its tasks share it.
#[derive(Debug)]
pub(crate) struct Link {
    /// Number of the connection, for logs.
    pub(crate) id: u64,
    pub(crate) role: Role,
    pub(crate) address: IpAddr,
    /// Whether the peer answers heartbeats of the transport.
    pub(crate) answers_pings: bool,
    /// Ends both of its tasks.
    pub(crate) cancel: CancellationToken,
    /// Cancelled when its writer has stopped, so that a successor may write, and its reader reads no
    /// more than what has come.
    pub(crate) written_off: CancellationToken,
    end: OnceLock<End>,
}

impl Link {
    pub(crate) fn new(
        id: u64,
        role: Role,
        address: IpAddr,
        answers_pings: bool,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            id,
            role,
            address,
            answers_pings,
            cancel,
            written_off: CancellationToken::new(),
            end: OnceLock::new(),
        }
    }

    /// Ends the link for this reason; the first one given counts.
    pub(crate) fn finish(&self, end: End) {
        let _ = self.end.set(end);
        self.cancel.cancel();
    }

    /// Nothing can be written for this reason. Of a peer that is gone there may be something to read
    /// still: who leaves while others edit has what goes to them refused, but not what they pushed.
    pub(crate) fn unwritable(&self, end: End) {
        if end != End::Broken {
            self.finish(end);
        }
    }

    /// Why it ended.
    pub(crate) fn end(&self) -> End {
        self.end.get().copied().unwrap_or(End::Broken)
    }
}
