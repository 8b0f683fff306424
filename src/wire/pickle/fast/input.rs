//! Steps over the bytes of a pickle, for `look`.

use crate::wire::pickle::op;

/// How many numbers this begins with, and what follows them.
#[inline(always)]
pub(super) fn numbers(rest: &[u8]) -> (usize, &[u8]) {
    let mut after = rest;
    let mut count = 0_usize;
    loop {
        after = match after {
            [op::BINFLOAT, _, _, _, _, _, _, _, _, after @ ..]
            | [op::BININT, _, _, _, _, after @ ..]
            | [op::BININT2, _, _, after @ ..]
            | [op::BININT1, _, after @ ..] => after,
            _ => return (count, after),
        };
        count = count.wrapping_add(1);
    }
}

/// So many bytes as the four bytes before them say, and what follows.
pub(super) fn block4(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, after) = rest.split_first_chunk()?;
    after.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}
