//! Python pickles, read without ever running them.
//!
//! Clients describe everything in pickles: command payloads, dependencies, nodes, deltas. A real
//! unpickler imports and calls what a pickle names, so this module has its own: [`read()`] builds
//! [`Value`]s for the codecs in [`command`](super::command) and [`node`](super::node), [`scan()`]
//! checks a payload that is only passed on, and [`write()`] makes the pickles we send.
//!
//! Reader and scanner are two builders on one explicit stack machine, so they accept the same
//! pickles. (For plain data the scanner has a faster way, which tests compare with the machine.)
//! Nothing here recurses, resolves a name or calls anything; [`Budget`]s bound the work, and memory
//! follows the bytes received, never a length that was announced.

mod bigint;
mod budget;
mod builder;
mod calls;
mod cost;
mod cursor;
mod dict;
mod equal;
mod error;
mod fast;
mod globals;
mod items;
mod machine;
mod meta;
pub(crate) mod op;
#[cfg(test)]
mod programs;
mod read;
mod scan;
mod stack;
mod survey;
mod sweep;
#[cfg(test)]
mod tests;
mod text;
mod token;
mod value;
mod walk;
mod write;

pub use bigint::{BigInt, from_decimal};
pub use budget::Budget;
pub use cost::{Cost, budget_within, cost, cost_of_cost};
pub use dict::{Dict, Entries, KeySet};
pub use equal::{is_hashable, python_eq};
pub use error::PickleError;
pub use items::Items;

pub use read::{read, read_apart, read_plain};
pub use scan::{ScanPolicy, Scanned, Top, scan};
pub(super) use text::is_text;
pub use text::{NotText, Str};
pub(crate) use token::{Argument, argument, splice};
pub use value::{PyType, Value};
pub(super) use write::write_pieces;
pub use write::{Protocol, exceeds, write};
