//! How a server ends: in good order, but not for ever.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use super::{Server, StartError};
use crate::session::{Handle, Outlet};

/// What users read when the server stops.
const STOPPING: &str = "the server is shutting down";
/// How long they may take to go when told so, and what they did last to be applied. Together with
/// [`CLOSING`] less than 5 s.
const LEAVING: Duration = Duration::from_secs(2);
/// How long connections may take to end.
const CLOSING: Duration = Duration::from_secs(2);
/// How long the disk or the last backup may take before it is said why the server is still there.
const PATIENCE: Duration = Duration::from_secs(1);

impl Server {
    /// Takes nobody new, tells everybody, has all on the disk, and makes a last backup. That takes
    /// less than 5 seconds, but for what the disk and the backup take.
    ///
    /// # Errors
    ///
    /// If the last changes could not be written to the disk.
    pub async fn stop(self) -> Result<(), StartError> {
        self.stop_before(std::future::pending()).await
    }

    /// The same; but when `hurried` is done it ends without what the disk or the backup still takes.
    /// Before these are waited for it is not looked at.
    ///
    /// # Errors
    ///
    /// The same, and if the disk was not waited for.
    pub(crate) async fn stop_before(
        self,
        hurried: impl Future<Output = ()>,
    ) -> Result<(), StartError> {
        info!(name: "server.stopping", "stopping");
        self.ports.stop_accepting();
        let left = if self.ports.session().give_up_loading().await {
            self.leave(hurried).await
        } else {
            info!(name: "server.not_loaded", "the session was still being loaded: it is as it was");
            Ok(())
        };
        info!(name: "server.stopped", "stopped");
        left
    }

    /// Sends everybody away and saves what they did.
    async fn leave(self, hurried: impl Future<Output = ()>) -> Result<(), StartError> {
        let mut hurried = pin!(hurried);
        let session = self.ports.session();
        send_away(session, || self.ports.has_peers()).await;
        let saved = match save(session, hurried.as_mut()).await {
            Some(saved) => {
                self.last_backup(hurried).await;
                saved
            }
            None => Err("told once more to end, the server did not wait for the disk".to_owned()),
        };
        if timeout(CLOSING, self.ports.close()).await.is_err() {
            warn!(name: "server.forced", "connections did not end in time");
        }
        saved.map_err(StartError::Save)
    }

    async fn last_backup(&self, hurried: impl Future<Output = ()>) {
        let patient = async {
            sleep(PATIENCE).await;
            info!(name: "server.last_backup", "a last backup is being made; Ctrl+C or SIGTERM once \
                more ends without it");
            std::future::pending().await
        };
        tokio::select! {
            () = self.backups.make_last() => {}
            () = hurried => {
                warn!(name: "server.no_last_backup", "no last backup is made; the session is kept");
            }
            () = patient => {}
        }
    }
}

/// Tells everybody to go, and gives them and what they did last a moment.
async fn send_away<O: Outlet>(session: &Handle<O>, has_peers: impl Fn() -> bool) {
    let leaving = async {
        session.close(STOPPING).await;
        let gone = async {
            while has_peers() {
                sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::join!(gone, session.idle(LEAVING));
    };
    // Who stays longer is cut off, and a session that hangs has told nobody.
    let _ = timeout(LEAVING, leaving).await;
}

/// Has everything on the disk, however long it takes. `None` if `hurried` is done before; it is not
/// looked at until the disk has taken a while.
async fn save<O: Outlet>(
    session: &Handle<O>,
    hurried: impl Future<Output = ()>,
) -> Option<Result<(), String>> {
    let mut saved = pin!(session.save());
    if let Ok(saved) = timeout(PATIENCE, saved.as_mut()).await {
        return Some(saved);
    }
    warn!(name: "server.saving", "the disk has not taken the last changes yet; Ctrl+C or SIGTERM once \
        more ends without them");
    tokio::select! {
        saved = saved => Some(saved),
        () = hurried => {
            warn!(name: "server.unsaved", "the last changes are not waited for");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::sync::Arc;

    use tokio::sync::mpsc;
    use tokio::time::Instant;

    use super::*;
    use crate::config::Config;
    use crate::ports::Peer;
    use crate::session::{self, Settings};
    use crate::store::Keeper;

    const LONG: Duration = Duration::from_secs(3600);

    /// A session that waits for the disk, and what keeps it waiting.
    fn hanging() -> (Handle<Arc<Peer>>, impl Sized) {
        let (keeper, hand) = Keeper::by_hand();
        let within = Duration::ZERO;
        let kept = Some(session::Kept { keeper, within });
        let settings = Settings::new(&Config::default(), 1 << 20, 1 << 20);
        let (backups, _) = mpsc::channel(1);
        (
            session::spawn(settings, Arc::default(), kept, backups),
            hand,
        )
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_delays_the_end_beyond_its_deadline() {
        let (session, _disk) = hanging();
        let began = Instant::now();
        let left = timeout(LONG, send_away(&session, || true)).await;
        assert!(left.is_ok(), "no end");
        assert_eq!(began.elapsed(), LEAVING);
    }

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_is_waited_for_until_somebody_is_in_a_hurry() {
        let (session, _disk) = hanging();
        assert!(timeout(LONG, save(&session, pending())).await.is_err());
        // What is told twice at the same time does not count.
        let began = Instant::now();
        assert_eq!(save(&session, ready(())).await, None);
        assert_eq!(began.elapsed(), PATIENCE);
    }
}
