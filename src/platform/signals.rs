//! What the system tells the process: stop, make a backup, write the counters to
//! the log, open its file anew.

use std::io;

#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::backup::Backups;
use crate::counters::Counters;

/// What the system says from now on.
#[cfg(unix)]
pub(crate) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    save: Signal,
    report: Signal,
    hangup: Signal,
}

#[cfg(unix)]
impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            save: signal(SignalKind::user_defined1())?,
            report: signal(SignalKind::user_defined2())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for a reason to stop; meanwhile answers requests for a backup and for the counters.
    /// That the terminal is gone is such a reason where there was one; otherwise the same signal
    /// asks for a new log file.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub(crate) async fn wait_for_stop(
        mut self,
        counters: &Counters,
        backups: &Backups,
    ) -> io::Result<()> {
        use std::io::IsTerminal;

        use tracing::{info, warn};

        use crate::backup::Reason;
        use crate::log;

        let on_terminal = io::stdin().is_terminal();
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return Ok(()),
                _ = self.interrupt.recv() => return Ok(()),
                _ = self.save.recv() => backups.make_soon(Reason::Signal),
                _ = self.report.recv() => {
                    info!(name: "server.counters", counters = %counters.to_json(), "counters");
                }
                _ = self.hangup.recv() => {
                    if on_terminal {
                        // Whoever started it closed the window.
                        return Ok(());
                    }
                    // Its disk may hang, and the next signal is not to wait for that.
                    drop(tokio::task::spawn_blocking(|| match log::reopen() {
                        Ok(()) => info!(name: "log.reopened", "the log file is opened anew"),
                        Err(error) => {
                            warn!(name: "log.not_reopened", %error, "the old log file stays");
                        }
                    }));
                }
            }
        }
    }
}

/// Waits until the process is told to stop. What came before the first poll does not count: who
/// starts the server through another program has that told once and twice at the same time.
#[cfg(unix)]
pub(crate) async fn another() {
    let signals = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    );
    let (Ok(mut terminate), Ok(mut interrupt)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

/// What the system says.
#[cfg(not(unix))]
pub(crate) struct Signals;

#[cfg(not(unix))]
impl Signals {
    /// There is nothing to prepare.
    ///
    /// # Errors
    ///
    /// None.
    pub(crate) fn listen() -> io::Result<Self> {
        Ok(Self)
    }

    /// Waits for a reason to stop.
    ///
    /// # Errors
    ///
    /// If the system refuses to tell.
    pub(crate) async fn wait_for_stop(self, _: &Counters, _: &Backups) -> io::Result<()> {
        tokio::signal::ctrl_c().await
    }
}

/// Waits until the process is told to stop.
#[cfg(not(unix))]
pub(crate) async fn another() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending().await
    }
}
