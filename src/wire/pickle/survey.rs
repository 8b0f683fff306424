//! A look over a value before the writer writes it.

use std::collections::HashMap;

use super::value::Value;

/// What a look over the whole value tells before it is written.
#[derive(Default)]
pub(super) struct Survey {
    /// Bytes the pickle will have at least.
    pub(super) bytes: usize,
    /// Those of them that are not in `bytes` to be shared.
    pub(super) copied: usize,
    /// Strings that occur more than once, by address, with room for their memo entry.
    pub(super) texts: HashMap<usize, Option<u32>>,
}

impl Survey {
    /// Looks at a value of which `bytes` longer than `share` are to be shared, until it has found
    /// that it takes more than `most` bytes.
    pub(super) fn of(value: &Value, share: usize, most: usize) -> Self {
        let mut survey = Self::default();
        // Whether it was seen again. A key of one byte is as short as what would refer to it.
        let mut seen: HashMap<usize, bool> = HashMap::new();
        let mut pending = vec![value];
        while let Some(value) = pending.pop() {
            let mut bytes = 2;
            let mut shared = 0;
            match value {
                Value::Str(text) => {
                    bytes = text.as_bytes().len().saturating_add(2);
                    if let Some(at) = text.shared_at().filter(|_| bytes > 3) {
                        seen.entry(at)
                            .and_modify(|again| *again = true)
                            .or_default();
                    }
                }
                Value::Bytes(data) | Value::ByteArray(data) => {
                    bytes = data.len().saturating_add(5);
                    if data.len() > share {
                        shared = data.len();
                    }
                }
                Value::List(items)
                | Value::Tuple(items)
                | Value::Set(items)
                | Value::FrozenSet(items)
                | Value::Opcode(items) => pending.extend(items.iter()),
                Value::Dict(dict) => {
                    pending.extend(dict.iter().flat_map(|(key, value)| [key, value]));
                }
                _ => {}
            }
            survey.bytes = survey.bytes.saturating_add(bytes);
            survey.copied = survey.copied.saturating_add(bytes.saturating_sub(shared));
            if survey.bytes > most {
                break;
            }
        }
        let again = seen.into_iter().filter(|(_, again)| *again);
        survey.texts = again.map(|(at, _)| (at, None)).collect();
        survey
    }
}
