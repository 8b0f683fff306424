//! What the system tells the process: stop, and write the counters to the log.

use std::io;

use tracing::info;

use crate::counters::Counters;

/// Waits for a reason to stop; meanwhile answers requests for the counters.
///
/// # Errors
///
/// If the system refuses to tell.
#[cfg(unix)]
pub(crate) async fn wait_for_stop(counters: &Counters) -> io::Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut report = signal(SignalKind::user_defined2())?;
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = report.recv() => {
                info!(name: "server.counters", counters = %counters.to_json(), "counters");
            }
        }
    }
}

/// Waits for a reason to stop.
///
/// # Errors
///
/// If the system refuses to tell.
#[cfg(not(unix))]
pub(crate) async fn wait_for_stop(_: &Counters) -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
