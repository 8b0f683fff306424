//! What a user has said of itself so far, all in all, and what that counts.

use tokio::time::Instant;

use crate::wire::pickle::{Dict, Value};

/// Entries it may have; clients have some dozens.
const ENTRIES: usize = 1024;
/// What each value counts besides its bytes: what it takes in memory, and no less than what it takes
/// on the wire, however it is written.
const EACH: usize = 16;
/// The same for what some protocols write as the call of a class they name.
const CALLED: usize = 48;

/// The entries of all updates. What they count is kept with them, as updates are small and many: one
/// takes as long as it is large, whatever else is there.
#[derive(Debug, Default)]
pub(in crate::session) struct Metadata {
    entries: Dict,
    weight: usize,
    /// What the others have yet to be told of it, if anything.
    news: Option<Dict>,
    /// Until when they are told nothing more.
    rest: Option<Instant>,
}

impl Metadata {
    /// Takes an update over, as a whole. `false` if there would be too many entries, or if they would
    /// count more than `most`.
    pub(super) fn merge(&mut self, update: &Dict, most: usize) -> bool {
        // For the dict itself.
        let most = most.saturating_sub(EACH);
        if update.len() > ENTRIES {
            return false;
        }
        let (mut more, mut entries) = (0usize, self.entries.len());
        for (key, value) in update {
            more = more.saturating_add(weigh(value, most));
            if self.entries.get_key(key).is_none() {
                entries = entries.saturating_add(1);
                more = more.saturating_add(weigh(key, most));
            }
            if entries > ENTRIES || more > most {
                return false;
            }
        }
        // What makes place may be larger than the update, but then it was paid for when it came, and
        // goes with it: an update that does not fit is the larger one.
        let less = update
            .iter()
            .filter_map(|(key, _)| self.entries.get_key(key))
            .map(|value| weigh(value, usize::MAX))
            .fold(0, usize::saturating_add);
        let weight = self.weight.saturating_sub(less).saturating_add(more);
        if weight > most {
            return false;
        }
        for (key, value) in update {
            self.entries.insert(key.clone(), value.clone());
        }
        self.weight = weight;
        true
    }

    /// Notes what the others have yet to be told. Whether there was nothing else.
    pub(super) fn add_news(&mut self, update: Dict) -> bool {
        let Some(news) = &mut self.news else {
            self.news = Some(update);
            return true;
        };
        for (key, value) in &update {
            news.insert(key.clone(), value.clone());
        }
        false
    }

    /// What they have yet to be told, which they are now.
    pub(super) fn take_news(&mut self) -> Option<Dict> {
        self.news.take()
    }

    /// They are told nothing more until then.
    pub(super) fn rest(&mut self, until: Instant) {
        self.rest = Some(until);
    }

    /// Until when they are told nothing, if that is not over.
    pub(super) fn rests(&self, now: Instant) -> Option<Instant> {
        self.rest.filter(|until| *until > now)
    }

    /// The value under a key.
    pub(in crate::session) fn get(&self, key: &str) -> Option<&Value> {
        self.entries.get(key)
    }

    /// All of it. To be dropped before the next update, which would copy the entries otherwise.
    pub(in crate::session) fn to_value(&self) -> Value {
        Value::Dict(self.entries.clone())
    }
}

/// What a value counts. What has more than `most` is looked at no further: a value that occurs many
/// times counts each time, so there may be much more than was received.
fn weigh(value: &Value, most: usize) -> usize {
    let mut weight = 0usize;
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let (each, bytes) = match value {
            Value::Str(text) => (EACH, text.as_bytes().len()),
            Value::Bytes(bytes) => (EACH, bytes.len()),
            Value::ByteArray(bytes) => (CALLED, bytes.len()),
            Value::BigInt(big) => (EACH, big.as_bytes().len()),
            Value::Set(_) | Value::FrozenSet(_) | Value::Opcode(_) | Value::Type(_) => (CALLED, 0),
            _ => (EACH, 0),
        };
        weight = weight.saturating_add(each).saturating_add(bytes);
        let inside = match value {
            Value::List(items)
            | Value::Tuple(items)
            | Value::Set(items)
            | Value::FrozenSet(items)
            | Value::Opcode(items) => items.len(),
            Value::Dict(dict) => dict.len(),
            _ => 0,
        };
        if weight.saturating_add(inside.saturating_mul(EACH)) > most {
            return usize::MAX;
        }
        value.push_inside(&mut pending);
    }
    weight
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::wire::pickle::{Protocol, from_decimal, write};

    /// Whatever may come, of texts that are shared.
    fn value() -> impl Strategy<Value = Value> {
        let texts = ["", "x", "ab", "key", &"long".repeat(70)].map(Value::str);
        let atoms = prop_oneof![
            Just(Value::None),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::Int),
            "[1-9][0-9]{20,399}".prop_map(|digits| from_decimal(&digits).unwrap()),
            any::<f64>().prop_map(Value::Float),
            prop::sample::select(texts.to_vec()),
            vec(any::<u8>(), 0..300).prop_map(|bytes| Value::Bytes(bytes.into())),
            vec(any::<u8>(), 0..300).prop_map(|bytes| Value::ByteArray(bytes.into())),
        ];
        atoms.prop_recursive(3, 60, 8, |inner| {
            let items = || vec(inner.clone(), 0..8);
            prop_oneof![
                items().prop_map(|items| Value::List(items.into())),
                items().prop_map(|items| Value::Tuple(items.into())),
                items().prop_map(|items| Value::Set(items.into())),
                items().prop_map(|items| Value::FrozenSet(items.into())),
                vec((key(), inner.clone()), 0..8)
                    .prop_map(|entries| Value::Dict(entries.into_iter().collect())),
            ]
        })
    }

    /// Few, so that they meet, and some that Python takes for the same.
    fn key() -> impl Strategy<Value = Value> {
        let keys = ["a", "b", "key"].map(Value::str).into_iter();
        let large = from_decimal("1180591620717411303424").unwrap();
        let float = Value::Float(2f64.powi(70));
        let numbers = [Value::Bool(true), Value::Int(1), large, float];
        prop::sample::select(keys.chain(numbers).collect::<Vec<_>>())
    }

    fn updates() -> impl Strategy<Value = Vec<Dict>> {
        vec(vec((key(), value()), 0..6).prop_map(Dict::from_iter), 0..12)
    }

    fn bytes(value: &Value) -> usize {
        let of = |protocol| write(value, protocol).len();
        of(Protocol::Three).max(of(Protocol::Four))
    }

    proptest! {
        /// It never drifts, is never less than what goes over the line, and never beyond the limit;
        /// what is refused leaves no trace.
        #[test]
        fn what_it_counts_is_what_is_there(updates in updates(), most in EACH..6000) {
            let mut metadata = Metadata::default();
            let mut expected = Dict::new();
            for update in updates {
                let mut merged = expected.clone();
                for (key, value) in &update {
                    merged.insert(key.clone(), value.clone());
                }
                let weight = weigh(&Value::Dict(merged.clone()), usize::MAX);
                let fits = metadata.merge(&update, most);
                prop_assert_eq!(fits, weight <= most);
                if fits {
                    expected = merged;
                }
                let all = metadata.to_value();
                prop_assert_eq!(&all, &Value::Dict(expected.clone()));
                let weight = weigh(&all, usize::MAX);
                prop_assert_eq!(metadata.weight + EACH, weight);
                prop_assert!(bytes(&all) <= weight);
            }
        }

        #[test]
        fn a_value_counts_no_less_than_its_bytes(value in value(), most in 0..2000usize) {
            let weight = weigh(&value, usize::MAX);
            prop_assert!(bytes(&value) <= weight);
            let expected = if weight > most { usize::MAX } else { weight };
            prop_assert_eq!(weigh(&value, most), expected);
        }
    }

    #[test]
    fn long_containers_count_no_less_than_their_bytes() {
        let list = Value::list(vec![Value::None; 5000]);
        let dict = (0..5000).map(|key| (key, Value::None)).collect();
        for value in [list, Value::Dict(dict)] {
            assert!(bytes(&value) <= weigh(&value, usize::MAX));
        }
    }

    #[test]
    fn there_are_not_many_entries() {
        let entries = |from: i64, to: i64| (from..to).map(|key| (key, Value::None)).collect();
        let mut metadata = Metadata::default();
        assert!(!metadata.merge(&entries(0, 1025), usize::MAX));
        assert!(metadata.merge(&entries(0, 1000), usize::MAX));
        assert!(!metadata.merge(&entries(1000, 1025), usize::MAX));
        assert!(metadata.merge(&entries(1000, 1024), usize::MAX));
        assert!(metadata.merge(&entries(0, 1024), usize::MAX));
        assert_eq!(metadata.to_value(), Value::Dict(entries(0, 1024)));
    }

    /// A few bytes that are 2^60 values when they are written.
    #[test]
    fn what_occurs_many_times_counts_each_time() {
        let twice = |inner: Value| Value::list([inner.clone(), inner]);
        let huge = (0..60).fold(Value::None, |inner, _| twice(inner));
        let update = Dict::new().with("a", 1).with("b", huge);
        let mut metadata = Metadata::default();
        assert!(!metadata.merge(&update, 1 << 20));
        assert_eq!(metadata.to_value(), Value::Dict(Dict::new()));
    }
}
