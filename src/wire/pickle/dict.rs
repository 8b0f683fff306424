//! Python dicts: insertion order, and Python's idea of equal keys.

use std::{
    collections::BTreeSet,
    hash::{Hash, Hasher},
    sync::Arc,
};

use indexmap::{Equivalent, IndexMap, IndexSet, map::Slice};

use super::{bigint::BigInt, value::Value, walk};

/// A Python dict. Keeps the order of insertion; as in Python `True`, `1` and `1.0` are one key,
/// and storing under a key that is there replaces the value but neither key nor place.
/// (Unlike Python's, two NaN of the same bits are one key.) Clones share the entries.
#[derive(Clone, Default)]
pub struct Dict(
    /// `None` is empty, as in [`Items`](super::Items).
    Option<Arc<IndexMap<Key, Value>>>,
);

impl Dict {
    /// An empty dict.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty dict with room for so many entries.
    pub(super) fn with_capacity(entries: usize) -> Self {
        Self((entries > 0).then(|| Arc::new(IndexMap::with_capacity(entries))))
    }

    /// The dict with one more entry, to write dicts in one expression.
    #[must_use]
    pub fn with(mut self, key: impl Into<Value>, value: impl Into<Value>) -> Self {
        self.insert(key, value);
        self
    }

    /// Stores a value; gives back the one it replaces.
    pub fn insert(&mut self, key: impl Into<Value>, value: impl Into<Value>) -> Option<Value> {
        self.to_mut().insert(Key(key.into()), value.into())
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.len())
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The value under a text key.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.as_ref()?.get(&TextKey(key))
    }

    /// The value under a text key, to change it.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut Value> {
        Arc::make_mut(self.0.as_mut()?).get_mut(&TextKey(key))
    }

    /// Takes the entry of a text key out; the others keep their order.
    pub fn remove(&mut self, key: &str) -> Option<Value> {
        Arc::make_mut(self.0.as_mut()?).shift_remove(&TextKey(key))
    }

    /// The value under any key.
    pub fn get_key(&self, key: &Value) -> Option<&Value> {
        self.0.as_ref()?.get(&AnyKey(key))
    }

    /// The value under any key, to change it.
    pub fn get_key_mut(&mut self, key: &Value) -> Option<&mut Value> {
        Arc::make_mut(self.0.as_mut()?).get_mut(&AnyKey(key))
    }

    /// Takes the entry of any key out; the others keep their order.
    pub fn remove_key(&mut self, key: &Value) -> Option<Value> {
        Arc::make_mut(self.0.as_mut()?).shift_remove(&AnyKey(key))
    }

    /// Which of the entries has this key, counted in their order.
    pub fn place_of(&self, key: &Value) -> Option<usize> {
        self.0.as_ref()?.get_index_of(&AnyKey(key))
    }

    /// Takes the entries at these places out, at once; the others keep their order.
    pub fn remove_at(&mut self, places: &BTreeSet<usize>) {
        let Some(entries) = &mut self.0 else {
            return;
        };
        let entries = Arc::make_mut(entries);
        if let (1, Some(place)) = (places.len(), places.first()) {
            entries.shift_remove_index(*place);
            return;
        }
        let (mut places, mut at) = (places.iter().peekable(), 0..);
        let mut goes = || {
            at.next()
                .is_some_and(|at| places.next_if_eq(&&at).is_some())
        };
        entries.retain(|_, _| !goes());
    }

    /// The entries in order.
    pub fn iter(&self) -> Entries<'_> {
        Entries(self.entries().iter())
    }

    /// Keys and values as a list of pairs; copies them (not what is in them) if they are shared.
    pub fn into_vec(mut self) -> Vec<(Value, Value)> {
        let entries = self.0.take().map(Arc::unwrap_or_clone);
        let entries = entries.into_iter().flatten();
        entries.map(|(key, value)| (key.0, value)).collect()
    }

    /// Entries there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |entries| entries.capacity())
    }

    /// Whether both are one and the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }

    /// Takes keys and values out if nobody else has them and if some have values inside.
    pub(super) fn take_unshared(&mut self) -> Option<Vec<Value>> {
        let entries = Arc::into_inner(self.0.take()?)?;
        let nested = entries
            .iter()
            .any(|(key, value)| key.0.is_container() || value.is_container());
        nested.then(|| {
            let entries = entries.into_iter();
            entries.flat_map(|(key, value)| [key.0, value]).collect()
        })
    }

    fn to_mut(&mut self) -> &mut IndexMap<Key, Value> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    fn entries(&self) -> &Slice<Key, Value> {
        self.0
            .as_ref()
            .map_or(Slice::new(), |entries| entries.as_slice())
    }
}

/// The entries of a [`Dict`] in order.
#[derive(Clone, Debug)]
pub struct Entries<'a>(indexmap::map::Iter<'a, Key, Value>);

impl<'a> Iterator for Entries<'a> {
    type Item = (&'a Value, &'a Value);

    fn next(&mut self) -> Option<Self::Item> {
        self.0.next().map(|(key, value)| (&key.0, value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for Entries<'_> {}

impl Drop for Dict {
    fn drop(&mut self) {
        if let Some(values) = self.take_unshared() {
            walk::dismantle(values);
        }
    }
}

impl<'a> IntoIterator for &'a Dict {
    type Item = (&'a Value, &'a Value);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl<K: Into<Value>, V: Into<Value>> FromIterator<(K, V)> for Dict {
    fn from_iter<T: IntoIterator<Item = (K, V)>>(entries: T) -> Self {
        let mut dict = Self::new();
        for (key, value) in entries {
            dict.insert(key, value);
        }
        dict
    }
}

/// A key as Python compares it.
#[derive(Clone, Debug)]
struct Key(Value);

/// The elements of a set as Python tells them apart.
#[derive(Clone, Debug)]
pub struct KeySet(IndexSet<Key>);

impl KeySet {
    /// `None` if there are sets among them, which are not compared here.
    pub fn of(items: &[Value]) -> Option<Self> {
        items
            .iter()
            .all(is_key)
            .then(|| Self(items.iter().cloned().map(Key).collect()))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = &Value> {
        self.0.iter().map(|key| &key.0)
    }

    /// Whether an equal element is there.
    pub fn contains(&self, value: &Value) -> bool {
        self.0.contains(&AnyKey(value))
    }
}

/// Whether a value can be a key here (NaN, which equals nothing, cannot).
fn is_key(value: &Value) -> bool {
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        match value {
            Value::Tuple(items) => pending.extend(items.iter()),
            Value::Float(float) if float.is_nan() => return false,
            Value::None
            | Value::Bool(_)
            | Value::Int(_)
            | Value::BigInt(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Bytes(_)
            | Value::Type(_) => {}
            _ => return false,
        }
    }
    true
}

/// Whether both are numbers that Python calls equal.
pub(super) fn same_number(one: &Value, two: &Value) -> bool {
    match (Number::of(one), Number::of(two)) {
        (Some(one), Some(two)) => one == two && !is_nan(&one),
        _ => false,
    }
}

fn is_nan(number: &Number) -> bool {
    matches!(number, Number::Float(bits) if f64::from_bits(*bits).is_nan())
}

/// Looks up any value without owning it.
struct AnyKey<'a>(&'a Value);

/// Looks up a text without making a value of it.
struct TextKey<'a>(&'a str);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        same_key(&self.0, &other.0)
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_key(&self.0, state);
    }
}

impl Hash for AnyKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_key(self.0, state);
    }
}

impl Equivalent<Key> for AnyKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        same_key(self.0, &key.0)
    }
}

impl Hash for TextKey<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        hash_text(self.0.as_bytes(), state);
    }
}

impl Equivalent<Key> for TextKey<'_> {
    fn equivalent(&self, key: &Key) -> bool {
        matches!(&key.0, Value::Str(text) if text.as_bytes() == self.0.as_bytes())
    }
}

/// A number as Python compares it: by value, whatever its type.
#[derive(Hash, PartialEq)]
enum Number {
    Int(i64),
    Big(BigInt),
    /// The bits of a float that is no integer.
    Float(u64),
}

impl Number {
    fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Bool(bool) => Some(Self::Int(i64::from(*bool))),
            Value::Int(int) => Some(Self::Int(*int)),
            Value::BigInt(big) => Some(Self::Big(big.clone())),
            Value::Float(float) => Some(Self::of_float(*float)),
            _ => None,
        }
    }

    fn of_float(float: f64) -> Self {
        // i64 as a float: its bounds are exact, and the upper one is already too large.
        const BOUND: f64 = 9_223_372_036_854_775_808.0;
        if float.fract() == 0.0 && (-BOUND..BOUND).contains(&float) {
            return Self::Int(float as i64);
        }
        BigInt::from_float(float).map_or_else(|| Self::Float(float.to_bits()), Self::Big)
    }
}

fn hash_text(text: &[u8], state: &mut impl Hasher) {
    state.write_u8(1);
    state.write(text);
    // No other text continues this one: 0xff is in no UTF-8.
    state.write_u8(0xff);
}

fn hash_key(key: &Value, state: &mut impl Hasher) {
    let mut pending = Vec::new();
    let mut next = Some(key);
    while let Some(value) = next {
        match value {
            Value::Str(text) => hash_text(text.as_bytes(), state),
            Value::Bytes(bytes) => bytes.hash(state),
            Value::Tuple(items) => {
                state.write_usize(items.len());
                pending.extend(items.iter().rev());
            }
            Value::Type(_) => state.write_u8(3),
            // Unhashable in Python, but a dict of ours must not break on it.
            other => match Number::of(other) {
                Some(number) => number.hash(state),
                None => state.write_u8(4),
            },
        }
        next = pending.pop();
    }
}

fn same_key(one: &Value, two: &Value) -> bool {
    let mut pending = Vec::new();
    let mut next = Some((one, two));
    while let Some((one, two)) = next {
        let same = match (one, two) {
            (Value::Str(one), Value::Str(two)) => one == two,
            (Value::Tuple(one), Value::Tuple(two)) => {
                pending.extend(one.iter().zip(two));
                one.len() == two.len()
            }
            _ => match (Number::of(one), Number::of(two)) {
                (Some(one), Some(two)) => one == two,
                _ => one == two,
            },
        };
        if !same {
            return false;
        }
        next = pending.pop();
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(dict: &Dict) -> Vec<&Value> {
        dict.iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn keeps_order_and_replaces_in_place() {
        let mut dict = Dict::new().with("b", 1).with("a", 2).with("c", 3);
        assert_eq!(dict.insert("b", 4), Some(Value::Int(1)));
        assert_eq!(dict.get("b"), Some(&Value::Int(4)));
        assert_eq!(dict.get("x"), None);
        assert_eq!(dict.remove("a"), Some(Value::Int(2)));
        assert_eq!(keys(&dict), [&Value::from("b"), &Value::from("c")]);
    }

    #[test]
    fn several_go_at_once() {
        let all = Dict::new().with("b", 1).with("a", 2).with("c", 3);
        assert_eq!(all.place_of(&"c".into()), Some(2));
        assert_eq!(all.place_of(&"x".into()), None);
        for (places, left) in [
            (vec![], "bac"),
            (vec![1], "bc"),
            (vec![0, 2], "a"),
            (vec![0, 1, 2], ""),
            (vec![7], "bac"),
        ] {
            let mut dict = all.clone();
            dict.remove_at(&places.iter().copied().collect());
            let keys: String = keys(&dict).iter().filter_map(|key| key.as_str()).collect();
            assert_eq!(keys, left);
            let found = ["a", "b", "c"].map(|key| dict.get(key).is_some());
            assert_eq!(found, ["a", "b", "c"].map(|key| left.contains(key)));
        }
        let mut none = Dict::new();
        none.remove_at(&BTreeSet::from([0, 1]));
        assert!(none.is_empty() && all.len() == 3);
    }

    #[test]
    fn numbers_that_python_calls_equal_are_one_key() {
        let mut dict = Dict::new().with(true, "x").with(1, "y").with(1.0, "z");
        assert_eq!(dict.len(), 1);
        assert_eq!(keys(&dict), [&Value::Bool(true)]);
        assert_eq!(dict.get_key(&Value::Int(1)), Some(&Value::from("z")));

        dict.insert(0, "zero");
        dict.insert(-0.0, "minus zero");
        dict.insert("1", "text");
        dict.insert(Value::Bytes("1".into()), "bytes");
        assert_eq!(dict.len(), 4);

        let tuple = |number: Value| Value::Tuple(vec![Value::from("t"), number].into());
        dict.insert(tuple(Value::Int(2)), "tuple");
        assert!(dict.get_key(&tuple(Value::Float(2.0))).is_some());
        assert!(dict.get_key(&tuple(Value::Float(2.5))).is_none());
        assert!(dict.remove_key(&tuple(Value::Int(2))).is_some());
    }

    #[test]
    fn clones_are_independent() {
        let one = Dict::new().with("a", 1);
        let mut two = one.clone();
        two.insert("a", 2);
        *two.get_mut("a").unwrap() = Value::Int(3);
        assert_eq!(one.get("a"), Some(&Value::Int(1)));
        assert_eq!(two.get("a"), Some(&Value::Int(3)));
    }
}
