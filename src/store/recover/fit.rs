//! What of a node that a search has found may go on.

use bytes::Bytes;

use crate::store::Meta;
use crate::wire::dialect::{Family, Live, for_version};
use crate::wire::fit::{Part, look_into};
use crate::wire::pickle::ScanPolicy;

/// What marshal begins a dict with, and no pickle begins with: plain, or to be referred to.
const DICT: [u8; 2] = [b'{', b'{' | 0x80];

/// A payload, as it may go on to others; `None` if it may not.
pub(super) fn fit(
    meta: &Meta,
    part: Part,
    payload: Bytes,
    policy: &ScanPolicy<'_>,
) -> Option<Bytes> {
    let is_marshal = || payload.first().is_some_and(|byte| DICT.contains(byte));
    let family = meta.family.unwrap_or_else(|| match is_marshal() {
        true => Family::Marshal,
        false => Family::UntypedPickle,
    });
    let dialect = for_version(meta.version.as_deref()).ok();
    let dialect = dialect.filter(|dialect| dialect.family == family);
    let deltas = dialect.is_none_or(|dialect| dialect.live != Live::Whole);
    let looked = look_into(&payload, part, family, deltas, policy).ok()?;
    Some(looked.rewritten.unwrap_or(payload))
}
