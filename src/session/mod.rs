//! The session: who is there, which nodes exist, who owns what, and who is told what.
//!
//! [`Session`] is plain single-owner data with pure transitions; the modules beside it hold those
//! by subject: `login`, `upload`, `join`, `live`, `relay`, `metadata`, `edits`, `folding`,
//! `leave`, `quarantine`, `wipe`. `actor` runs it: the ports send [`Event`]s through a [`Handle`], one task
//! applies them in order. The session never waits for a peer; what it says goes into the peers'
//! [`outlet`]s. Nor does it wait for the disk (`keeping`).

mod actor;
mod ahead;
mod authority;
mod behind;
mod buried;
mod creation;
mod edits;
pub mod event;
pub mod events;
pub mod folding;
pub mod gate;
mod guard;
mod join;
mod keeping;
mod leave;
mod live;
pub(crate) mod login;
mod metadata;
pub(crate) mod needs;
mod notice;
pub mod operator;
pub mod outlet;
pub mod quarantine;
mod relay;
pub mod replicas;
pub mod settings;
pub mod snapshot;
mod state;
#[cfg(test)]
mod tests;
mod upload;
mod users;
mod wipe;

pub use self::actor::{Handle, Kept, spawn};
pub use self::event::Event;
pub use self::operator::{Listed, UserInfo};
pub use self::outlet::Outlet;
pub use self::settings::Settings;
pub use self::snapshot::Snapshot;
pub use self::state::Session;
