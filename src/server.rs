//! One server: its ports, its session, and its end.
//!
//! `run` (in [`crate`]) starts it from a configuration; tests hand in listeners of their own.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tracing::{info, warn};

use crate::admin::{Desk, sessions};
use crate::admin_password::{self, AdminPasswordError};
use crate::backup::{self, Backups, Policy};
use crate::config::{Clients, Config, Era, Flush, available_memory};
use crate::counters::Counters;
use crate::net::listen::{BindError, Listener, bind, find_dead};
use crate::platform::container;
use crate::platform::service::{self, ServiceError};
use crate::ports::{Peer, Ports};
use crate::session::{self, Handle, Outlet, Settings};
use crate::store::{self, Options, StoreError};

/// What users read when the server stops.
const STOPPING: &str = "the server is shutting down";
/// How long they may take to go when told so, and what they did last to be applied. Together with
/// [`CLOSING`] less than 5 s.
const LEAVING: Duration = Duration::from_secs(2);
/// How long connections may take to end.
const CLOSING: Duration = Duration::from_secs(2);
/// How long the disk or the last backup may take before it is said why the server is still there.
const PATIENCE: Duration = Duration::from_secs(1);
/// Backups the session may want before the first of them is begun.
const BACKUPS: usize = 4;

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// A port cannot be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Sockets that were handed over are of no use.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The system failed.
    #[error("the system refuses: {0}")]
    Io(#[from] io::Error),
    /// The session cannot be kept on the disk, or what was kept cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Somebody has been bringing back what is damaged, and was interrupted.
    #[error(transparent)]
    Interrupted(#[from] sessions::Interrupted),
    /// What was kept of the session cannot be loaded.
    #[error("{0}")]
    Load(String),
    /// A fault that could not be contained has ended the session.
    #[error(
        "the session ended because of a fault, which please report; the next start has what is on the disk"
    )]
    Ended,
    /// What artists did last is not on the disk.
    #[error("the last changes could not be written: {0}")]
    Save(String),
    /// The admin password cannot be kept.
    #[error(transparent)]
    AdminPassword(#[from] AdminPasswordError),
}

/// A running server.
#[derive(Debug)]
pub struct Server {
    ports: Ports,
    backups: Backups,
    desk: Desk<Arc<Peer>>,
    config: Config,
    counters: Arc<Counters>,
    addresses: Vec<SocketAddr>,
}

impl Server {
    /// Opens the configured ports, or takes those that the service manager holds open, and starts
    /// serving.
    ///
    /// # Errors
    ///
    /// If a port or the data directory cannot be used.
    pub async fn start(
        config: Config,
        heartbeats: Option<tokio::runtime::Handle>,
    ) -> Result<Self, StartError> {
        let mut listeners = service::sockets(config.port)?;
        if listeners.is_empty() {
            listeners = open(&config)?;
        }
        for (listener, _) in &listeners {
            find_dead(listener, config.net.dead_after());
        }
        Self::with_listeners(config, listeners, heartbeats)
    }

    /// Serves on these listeners; each comes with the distance of its port from the base port.
    ///
    /// # Errors
    ///
    /// If the data directory cannot be used.
    pub fn with_listeners<L: Listener>(
        mut config: Config,
        listeners: Vec<(L, u16)>,
        heartbeats: Option<tokio::runtime::Handle>,
    ) -> Result<Self, StartError> {
        if config.session.admin_password.is_none() {
            let password = admin_password::load_or_create(&config.data_dir)?;
            admin_password::check_differs(&config.data_dir, &password, &config.session)?;
            admin_password::announce(&config.data_dir, &password);
            config.session.admin_password = Some(password);
        }
        let mut shared_addresses = Vec::new();
        if container::is_here() {
            shared_addresses = container::shared_addresses();
            if let Some(danger) = container::volatile(&config.data_dir) {
                warn!(name: "server.volatile", "what is kept in {danger}");
            }
        }
        let limits = config.session.limits(available_memory());
        let settings = Settings::new(&config, limits.session.as_usize(), limits.node.as_usize());
        let counters = Arc::new(Counters::new(config.log.repeat));
        let kept = match config.durability.flush {
            Flush::Off => None,
            Flush::Within(within) => {
                let directory = config.data_dir.join("sessions").join(&config.session.name);
                sessions::check_not_interrupted(&directory)?;
                let keeper = store::start(&directory, Options::default())?;
                Some(session::Kept { keeper, within })
            }
        };
        let health = kept.as_ref().map(|kept| kept.keeper.health.clone());
        let (want, wanted) = mpsc::channel(BACKUPS);
        let session = session::spawn(settings.clone(), Arc::clone(&counters), kept, want);
        let from_file = backup::Limits::new(&config, settings.max_session, settings.content);
        let policy = Policy::new(&config, from_file);
        let backups = backup::start(policy, session.clone(), wanted);
        let desk = Desk::new(
            session.clone(),
            backups.clone(),
            Arc::clone(&counters),
            health.unwrap_or_default(),
            config.data_dir.clone(),
            settings.max_session,
        );
        let ports = Ports::start(
            &config,
            limits.node.as_usize(),
            session,
            Arc::clone(&counters),
            heartbeats,
            shared_addresses,
        );
        let mut addresses = Vec::with_capacity(listeners.len());
        for (listener, offset) in listeners {
            addresses.extend(listener.local_addr());
            ports.listen(listener, offset);
        }
        Ok(Self {
            ports,
            backups,
            desk,
            config,
            counters,
            addresses,
        })
    }

    /// Where it listens, in the order of the listeners: all ports of the first address, then
    /// those of the next.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// Says where the server is and which ports a router has to forward for whom.
    pub(crate) fn announce(&self) {
        announce(&self.config, &self.addresses);
    }

    /// Where orders are carried out.
    pub(crate) fn desk(&self) -> &Desk<Arc<Peer>> {
        &self.desk
    }

    /// Makes its backups.
    pub(crate) fn backups(&self) -> &Backups {
        &self.backups
    }

    /// Its session.
    pub(crate) fn session(&self) -> &session::Handle<Arc<Peer>> {
        self.ports.session()
    }

    /// What it has counted.
    pub fn counters(&self) -> &Counters {
        &self.counters
    }

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

/// Opens the ports of all addresses. Ports of the default addresses may be missing if the host
/// does not have their kind.
fn open(config: &Config) -> Result<Vec<(TcpListener, u16)>, StartError> {
    let mut listeners = Vec::new();
    for ip in &config.bind {
        let wanted: Vec<(IpAddr, u16)> = (0..config.session.clients.ports())
            .map(|offset| {
                let port = if config.port == 0 {
                    0
                } else {
                    config.port.saturating_add(offset)
                };
                (*ip, port)
            })
            .collect();
        match bind(&wanted, config.net.send_buffer.as_usize()) {
            Ok(bound) => listeners.extend(bound.into_iter().zip(0..)),
            Err(error @ (BindError::Nothing | BindError::NotHere(_) | BindError::Other { .. }))
                if config.may_be_missing(*ip) && config.bind.len() > 1 =>
            {
                warn!(name: "server.address_missing", address = %ip, %error, "not listening here");
            }
            Err(error) => return Err(error.into()),
        }
    }
    if listeners.is_empty() {
        return Err(BindError::Nothing.into());
    }
    Ok(listeners)
}

fn announce(config: &Config, addresses: &[SocketAddr]) {
    for address in addresses {
        info!(name: "server.listening", %address, "listening");
    }
    if config.bind.iter().all(IpAddr::is_ipv6) {
        warn!(name: "server.no_ipv4", "bind has no IPv4 address: no add-on can connect, since all of \
            them speak IPv4 only");
    }
    let p = config.port;
    if p != 0 {
        let wanted = forwarding(&config.session.clients, p).join(", ");
        info!(name: "server.forward", "to be reached from outside, forward TCP ports {wanted}");
    }
    if config.session.server_password.is_none() {
        let public = config.bind.iter().any(|ip| !ip.is_loopback());
        if public {
            warn!(name: "server.open", "no server password is set: everybody who reaches this \
                server can join");
        }
    }
}

/// The ports to forward, and for whom.
fn forwarding(clients: &Clients, p: u16) -> Vec<String> {
    let (two, three) = (p.saturating_add(2), p.saturating_add(3));
    let texts = [
        (
            Era::FourPorts,
            format!("{p}-{three} for add-ons up to 0.3 (replication up to 0.1.31)"),
        ),
        (
            Era::ThreePorts,
            format!("{p}-{two} for add-ons from 0.4 on (replication 0.1.33 to 0.9.11)"),
        ),
        (
            Era::OnePort,
            format!("{p} alone for the newest (replication from 0.9.12 on)"),
        ),
    ];
    let texts = texts.into_iter().filter(|(era, _)| clients.has(*era));
    texts.map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use tokio::time::Instant;

    use super::*;
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
