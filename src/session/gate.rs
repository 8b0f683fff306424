//! Holds back what peers are told until what it rests on is safe on the disk
//! (`durability.flush = "0"`). The session's actor closes and opens it; the outboxes look at it.

use std::sync::Arc;

use tokio::sync::watch;

/// Open or closed; clones are the same gate.
#[derive(Clone, Debug)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Default for Gate {
    /// Open.
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(true)))
    }
}

impl Gate {
    /// Nothing queued from now on goes out.
    pub(crate) fn close(&self) {
        self.0.send_replace(false);
    }

    /// Everything goes out again.
    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    /// Whether it is closed.
    pub(crate) fn is_closed(&self) -> bool {
        !*self.0.borrow()
    }

    /// Waits until it is open.
    pub(crate) async fn opened(&self) {
        // The sender is ours, so it cannot be gone.
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
