//! What the machine around the server does and wants: signals, a service manager, a container, the
//! program that started it. Used by [`run`](crate::run) and [`server`](crate::server).

pub(crate) mod attached;
pub(crate) mod container;
pub mod service;
pub(crate) mod signals;
