//! What the system tells the process: stop, make a backup, write the counters to
//! the log, open its file anew.

use std::io;

use crate::backup::Backups;
use crate::counters::Counters;

/// Waits for a reason to stop; meanwhile answers requests for a backup and for the
/// counters. That the terminal is
/// gone is such a reason where there was one; otherwise the same signal asks for a new log file.
///
/// # Errors
///
/// If the system refuses to tell.
#[cfg(unix)]
pub(crate) async fn wait_for_stop(counters: &Counters, backups: &Backups) -> io::Result<()> {
    use std::io::IsTerminal;

    use tokio::signal::unix::{SignalKind, signal};
    use tracing::{info, warn};

    use crate::backup::Reason;
    use crate::log;

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut save = signal(SignalKind::user_defined1())?;
    let mut report = signal(SignalKind::user_defined2())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let on_terminal = io::stdin().is_terminal();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
            _ = save.recv() => backups.make_soon(Reason::Signal),
            _ = report.recv() => {
                info!(name: "server.counters", counters = %counters.to_json(), "counters");
            }
            _ = hangup.recv() => match log::reopen() {
                // Whoever started it closed the window.
                _ if on_terminal => return Ok(()),
                Ok(()) => info!(name: "log.reopened", "the log file is opened anew"),
                Err(error) => warn!(name: "log.not_reopened", %error, "the old log file stays"),
            },
        }
    }
}

/// Waits for a reason to stop.
///
/// # Errors
///
/// If the system refuses to tell.
#[cfg(not(unix))]
pub(crate) async fn wait_for_stop(_: &Counters, _: &Backups) -> io::Result<()> {
    tokio::signal::ctrl_c().await
}
