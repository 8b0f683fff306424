//! The configuration: plain typed structs with their defaults, and how they are loaded.
//!
//! Four layers, the later ones stronger: defaults, a TOML file, `MULTI_USER_…` environment
//! variables (`net.grace` is `MULTI_USER_NET__GRACE`), flags. All mistakes are reported at once,
//! each with its place and with what would be right. `main` [loads](load()) it; every other module
//! reads [`Config`].

mod clients;
mod error;
mod flags;
mod globals;
mod keys;
mod kind;
mod layers;
mod load;
mod log_filter;
mod memory;
mod net;
mod passwords;
mod periods;
mod secret;
mod show;
mod tree;
mod units;
mod validate;

pub use clients::{Clients, Era};
pub use error::{ConfigError, ConfigErrors, Origin, Setting};
pub use flags::Flags;
pub use globals::GlobalName;
pub(crate) use kind::{SESSION_NAME, is_session_name};
pub(crate) use layers::CONTAINER_VARIABLE;
pub use load::{Loaded, Origins, load, load_with};
pub use log_filter::{LogFilter, LogFilterError};
pub use memory::available_memory;
pub use net::{NetConfig, SameAddress};
pub use periods::{Interval, WhenEmpty};
pub use secret::{Secret, check_admin_password, without_mark};
pub use tree::{
    Auto, BackupConfig, Config, DurabilityConfig, LogConfig, LogFormat, NewerClients, RightsConfig,
    RuntimeConfig, SessionConfig, SessionLimits, Upload, WorkerThreads,
};
pub use units::{
    ByteSize, Flush, MemoryLimit, UnitError, parse_duration, parse_millis_or_duration,
};
pub(crate) use validate::SAME_PASSWORDS;
