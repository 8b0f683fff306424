//! Memory for payloads, where the allocator's takes longer than what is done with it: straight from
//! the system (`pages`), or what others are done with (`spare`, `small`).
//!
//! And `room` for work that takes much of it for a moment.
//!
//! Used where payloads come in (`wire::intake`, `store`), and for what is written (`ports`).

pub(crate) mod pages;
pub(crate) mod room;
mod small;
pub(crate) mod spare;
