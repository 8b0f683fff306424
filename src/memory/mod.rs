//! Memory for payloads, where the allocator's takes longer than what is done with it: straight from
//! the system (`pages`), or what others are done with (`spare`, `small`).
//!
//! Used where payloads come in (`wire::intake`, `store`), and for what is written (`ports`).

pub(crate) mod pages;
mod small;
pub(crate) mod spare;
