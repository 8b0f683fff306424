//! The configuration as plain typed structs with their defaults: what every other module reads.
//! `config/server.toml` explains each key to the person who runs the server; a test keeps the
//! two in step.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    path::PathBuf,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    clients::Clients,
    globals::GlobalName,
    log_filter::LogFilter,
    net::NetConfig,
    periods::{Interval, WhenEmpty},
    secret::Secret,
    units::{self, ByteSize, Flush, MemoryLimit},
};

/// Everything that can be configured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Addresses to listen on, without duplicates, at least one. Beside `0.0.0.0` there is no other of
    /// IPv4, beside `::` no other of IPv6.
    /// See [`may_be_missing`](Self::may_be_missing) for the default's IPv6.
    pub bind: Vec<IpAddr>,
    /// The first port, *p*. Older clients use p to p+3, so at most 65532.
    /// 0 means any free ports (not consecutive: for tests only).
    pub port: u16,
    /// A user whose links are all silent for [`Config::silence`] is lost. 100 ms to 10 min.
    #[serde(with = "units::millis_or_duration")]
    pub timeout: Duration,
    /// Where sessions, backups and the generated admin password are kept.
    /// Absolute once [loaded](super::load()); the default depends on the environment.
    pub data_dir: PathBuf,
    /// What is logged, and how.
    pub log: LogConfig,
    /// The session: its passwords and bounds.
    pub session: SessionConfig,
    /// How changes come to the disk.
    pub durability: DurabilityConfig,
    /// Copies of the session that can be gone back to.
    pub backup: BackupConfig,
    /// Connections: deadlines, rates and what a stranger may use.
    pub net: NetConfig,
    /// Threads.
    pub runtime: RuntimeConfig,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            bind: DEFAULT_BIND.to_vec(),
            port: 5555,
            timeout: Duration::from_secs(2),
            data_dir: PathBuf::from("multi-user-data"),
            log: LogConfig::default(),
            session: SessionConfig::default(),
            durability: DurabilityConfig::default(),
            backup: BackupConfig::default(),
            net: NetConfig::default(),
            runtime: RuntimeConfig::default(),
        }
    }
}

/// Any IPv4 and any IPv6 address.
const DEFAULT_BIND: [IpAddr; 2] = [
    IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    IpAddr::V6(Ipv6Addr::UNSPECIFIED),
];

impl Config {
    /// Whether the server starts without this address when the host lacks its address family:
    /// only with the default list, as long as another address of it can be had. Addresses that
    /// somebody wrote down must all work. An address in use is always an error.
    #[must_use]
    pub fn may_be_missing(&self, address: IpAddr) -> bool {
        self.bind == DEFAULT_BIND && self.bind.contains(&address)
    }

    /// How long all links of a user may be silent until the user counts as lost:
    /// [`timeout`](Self::timeout), but at least [`NetConfig::silence_floor`].
    #[must_use]
    pub fn silence(&self) -> Duration {
        self.timeout.max(self.net.silence_floor)
    }
}

/// `[log]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// From which level on, or directives per module.
    pub level: LogFilter,
    /// Lines for people or JSON for collectors.
    pub format: LogFormat,
    /// A file that gets every line as well. It is opened anew on SIGHUP.
    pub file: Option<PathBuf>,
    /// What is refused, or worth noting, is logged so often per kind; all of it is counted.
    #[serde(with = "units::duration")]
    pub repeat: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            level: LogFilter::default(),
            format: LogFormat::Human,
            file: None,
            repeat: Duration::from_secs(1),
        }
    }
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// One readable line per event.
    Human,
    /// One JSON object per line.
    Json,
}

/// `[session]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionConfig {
    /// Names the session's folder in [`Config::data_dir`]: 1 to 64 letters, digits, `-`, `_`
    /// and `.`, starting with a letter or digit.
    pub name: String,
    /// Who knows it is admin. `None` once loaded: one has to be generated. Never empty.
    pub admin_password: Option<Secret>,
    /// The file it was read from. The password itself is in
    /// [`admin_password`](Self::admin_password) once loaded.
    pub admin_password_file: Option<PathBuf>,
    /// Who doesn't know it (or the admin password) stays out. `None`: everybody may join.
    /// Never empty.
    pub server_password: Option<Secret>,
    /// The file it was read from, as with the admin password.
    pub server_password_file: Option<PathBuf>,
    /// Which clients may join, and so which ports are opened.
    pub clients: Clients,
    /// What to do with clients newer than any this server knows.
    pub newer_clients: NewerClients,
    /// The version that clients are told of which ask what session this is while nobody is in it.
    /// `None`: the newest that could join the way they ask.
    pub idle_version: Option<String>,
    /// Who may fill an empty session.
    pub upload: Upload,
    /// Largest single node (state on the wire), at least 1 KiB. See [`Self::limits`].
    pub max_node: ByteSize,
    /// Most nodes in the session.
    pub max_nodes: usize,
    /// Most nodes one node may depend on.
    pub max_dependencies: usize,
    /// Levels of containers in a node's content. Clients fail on comparing some 200, and users nest
    /// a few dozen.
    pub max_nesting: usize,
    /// Values in a node's content, those referred to repeatedly counted each time.
    pub max_values: usize,
    /// Python names that nodes and deltas may use besides those all clients use. Whatever they
    /// stand for, everybody's Blender will run it.
    pub extra_globals: Vec<GlobalName>,
    /// Memory all nodes together may take; growth beyond is refused. See [`Self::limits`].
    pub max_session: MemoryLimit,
    /// Most users at once.
    pub max_users: usize,
    /// What becomes of the session when nobody is in it.
    pub when_empty: WhenEmpty,
    /// An upload without progress for so long is given up.
    #[serde(with = "units::duration")]
    pub upload_stall: Duration,
    /// Most metadata (cursor, selection, …) kept for one user.
    pub metadata_max: ByteSize,
    /// Who may change what, in the cases that depend on time.
    pub rights: RightsConfig,
}

impl Default for SessionConfig {
    fn default() -> Self {
        Self {
            name: "default".to_owned(),
            admin_password: None,
            admin_password_file: None,
            server_password: None,
            server_password_file: None,
            clients: Clients::default(),
            newer_clients: NewerClients::Accept,
            idle_version: None,
            upload: Upload::Admin,
            max_node: ByteSize::gib(2),
            max_nodes: 1_000_000,
            max_dependencies: 100_000,
            max_nesting: 128,
            max_values: 8_388_608,
            extra_globals: Vec::new(),
            max_session: MemoryLimit::Share(60),
            max_users: 512,
            when_empty: WhenEmpty::Keep,
            upload_stall: Duration::from_secs(30),
            metadata_max: ByteSize::mib(1),
            rights: RightsConfig::default(),
        }
    }
}

impl SessionConfig {
    /// The limits in bytes where the process may use `memory` in all
    /// (see [`available_memory`](super::available_memory)).
    #[must_use]
    pub fn limits(&self, memory: ByteSize) -> SessionLimits {
        let session = self.max_session.resolve(memory);
        SessionLimits {
            session,
            node: self.max_node.min(session),
        }
    }
}

/// What [`SessionConfig::max_session`] and [`SessionConfig::max_node`] come to on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionLimits {
    /// All nodes together.
    pub session: ByteSize,
    /// One node; never more than `session`.
    pub node: ByteSize,
}

/// `[durability]`
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DurabilityConfig {
    /// How soon changes are safe on the disk.
    pub flush: Flush,
}

impl Default for DurabilityConfig {
    fn default() -> Self {
        Self {
            flush: Flush::Within(Duration::from_millis(100)),
        }
    }
}

/// `[backup]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BackupConfig {
    /// Where backups go, one folder for each session. `None`: `backups` in [`Config::data_dir`].
    pub dir: Option<PathBuf>,
    /// How often one is made while the session changes.
    pub interval: Interval,
    /// One is made when the last user has left.
    pub on_leave: bool,
    /// One is made when the server ends.
    pub on_stop: bool,
    /// One is made when a user deletes more than so many percent of the nodes within ten seconds,
    /// with these nodes in it. 0: never.
    pub mass_delete: u8,
    /// So many are kept, the newest.
    pub keep_last: usize,
    /// And the last one of each hour, for so many hours that have one.
    pub keep_hourly: usize,
    /// And the last one of each day, for so many days that have one.
    pub keep_daily: usize,
}

impl Default for BackupConfig {
    fn default() -> Self {
        Self {
            dir: None,
            interval: Interval::Every(Duration::from_secs(30 * 60)),
            on_leave: true,
            on_stop: true,
            mass_delete: 20,
            keep_last: 8,
            keep_hourly: 24,
            keep_daily: 14,
        }
    }
}

/// What to do with clients newer than any this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NewerClients {
    /// Treat them like the newest it knows.
    Accept,
    /// Send them away.
    Refuse,
}

/// Who may fill an empty session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upload {
    /// Admins.
    Admin,
    /// The first user, admin or not.
    Anyone,
}

/// `[session.rights]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RightsConfig {
    /// How long after giving a node away its last owner's updates still count: bulk data may
    /// travel slower than the command that gave the node away.
    #[serde(with = "units::duration")]
    pub in_flight: Duration,
    /// Changes of owner kept per user for nodes that have not arrived yet.
    pub max_early: usize,
}

impl Default for RightsConfig {
    fn default() -> Self {
        Self {
            in_flight: Duration::from_secs(10),
            max_early: 10_000,
        }
    }
}

/// `[runtime]`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RuntimeConfig {
    /// Threads that carry the work.
    pub worker_threads: WorkerThreads,
    /// End when the last user has left, or the program that started this one has ended.
    pub attached: bool,
    /// Take orders from whoever started the server on a terminal.
    pub console: bool,
}

impl Default for RuntimeConfig {
    fn default() -> Self {
        Self {
            worker_threads: WorkerThreads::default(),
            attached: false,
            console: true,
        }
    }
}

/// How many threads carry the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged, expecting = "a number of threads, or \"auto\"")]
pub enum WorkerThreads {
    /// So many, 1 to 1024.
    Count(usize),
    /// One per processor this process may use.
    Auto(Auto),
}

impl Default for WorkerThreads {
    fn default() -> Self {
        Self::Count(1)
    }
}

impl WorkerThreads {
    /// The number of threads on this machine, at least 1.
    #[must_use]
    pub fn resolve(self) -> usize {
        match self {
            Self::Count(count) => count.max(1),
            Self::Auto(_) => std::thread::available_parallelism().map_or(1, Into::into),
        }
    }
}

/// The word `auto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Auto {
    /// As the machine suggests.
    Auto,
}
