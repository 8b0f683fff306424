//! A dedicated server for collaborative Blender sessions: clients of the *multi-user* add-on
//! connect, the server keeps the master copy of the scene's nodes, relays every change and knows
//! who may change what.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod counters;
pub mod net;
pub mod session;
mod text;
pub mod wire;
