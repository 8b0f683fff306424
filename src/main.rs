//! The `multi-user-server` program.

fn main() {}
