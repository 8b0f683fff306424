//! One server: its ports, its session, and its end.
//!
//! `run` (in [`crate`]) starts it from a configuration; tests hand in listeners of their own. How it ends
//! is in `stop`, what it listens on in `places`.

mod places;
mod stop;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use thiserror::Error;
use tokio::sync::mpsc;
use tracing::warn;

use crate::admin::{Desk, sessions};
use crate::admin_password::{self, AdminPasswordError};
use crate::backup::{self, Backups, Policy};
use crate::config::{Config, Flush, available_memory};
use crate::counters::Counters;
use crate::net::listen::{BindError, Listener, find_dead};
use crate::platform::container;
use crate::platform::service::{self, ServiceError};
use crate::ports::{Peer, Ports};
use crate::session::{self, Settings};
use crate::store::{self, Options, StoreError};

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
            listeners = places::open(&config)?;
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
        places::announce(&self.config, &self.addresses);
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
}
