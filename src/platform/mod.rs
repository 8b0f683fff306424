//! What the machine around the server does and wants: signals, a service manager, a container, the
//! program that started it, how many files may be open. Used by [`run`](crate::run) and [`server`](crate::server).

pub(crate) mod attached;
pub(crate) mod container;
#[cfg(unix)]
pub(crate) mod files;
pub mod service;
pub(crate) mod signals;
