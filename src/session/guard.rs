//! Contains a fault of ours where it happens: it must not end the session for everybody. Used by the actor for each
//! of its steps, and where one step does several things that have nothing to do with each other.

use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::error;

use crate::counters::{Count, Counters};

/// Does part of the session's work. If it panics, that is counted, and there is no result.
pub(super) fn guarded<R>(counters: &Counters, work: impl FnOnce() -> R) -> Option<R> {
    let result = catch_unwind(AssertUnwindSafe(work));
    if result.is_err() {
        counters.add(Count::Panics);
        error!(name: "session.panic", "a fault in the session was contained; please report it");
    }
    result.ok()
}
