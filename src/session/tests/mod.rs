//! Tests of the session's transitions, from what the wire spec and the authority matrix demand, and
//! of the task that runs it.
//!
//! [`room`] plays a session whose peers record what they are told, as short lines; [`model`]
//! plays whole clients on lines with delays for the property test.

mod actor;
mod buried;
mod creation;
mod edits;
mod folding;
mod join;
mod keeping;
mod leave;
mod live;
mod login;
mod model;
mod property;
mod quarantine;
mod resume;
mod room;
mod upload;
mod whole;
