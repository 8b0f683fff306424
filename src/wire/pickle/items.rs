//! The elements of lists, tuples and sets.

use std::{ops::Deref, sync::Arc};

use super::{value::Value, walk};

/// Values in order. Clones share them: a clone costs the same however deep the values are nested.
#[derive(Clone, Default)]
pub struct Items(
    /// `None` is empty: it needs no memory, and lets `drop` take the list out.
    Option<Arc<Vec<Value>>>,
);

impl Items {
    /// The values, to change them; copies them (not what is in them) if they are shared.
    pub fn to_mut(&mut self) -> &mut Vec<Value> {
        Arc::make_mut(self.0.get_or_insert_default())
    }

    /// The values, owned; copies them (not what is in them) if they are shared.
    pub fn into_vec(mut self) -> Vec<Value> {
        self.0.take().map(Arc::unwrap_or_clone).unwrap_or_default()
    }

    /// Values there is room for.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.0.as_ref().map_or(0, |values| values.capacity())
    }

    /// Whether both are one and the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(two)) => Arc::ptr_eq(one, two),
            _ => false,
        }
    }

    /// Takes the values out if nobody else has them.
    pub(super) fn take_unshared(&mut self) -> Option<Vec<Value>> {
        Arc::into_inner(self.0.take()?)
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        if let Some(values) = self.take_unshared() {
            walk::dismantle(values);
        }
    }
}

impl Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        self.0.as_ref().map_or(&[], |values| values.as_slice())
    }
}

impl From<Vec<Value>> for Items {
    fn from(values: Vec<Value>) -> Self {
        Self((!values.is_empty()).then(|| Arc::new(values)))
    }
}

impl FromIterator<Value> for Items {
    fn from_iter<T: IntoIterator<Item = Value>>(values: T) -> Self {
        Self::from(Vec::from_iter(values))
    }
}

impl<'a> IntoIterator for &'a Items {
    type Item = &'a Value;
    type IntoIter = std::slice::Iter<'a, Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl IntoIterator for Items {
    type Item = Value;
    type IntoIter = std::vec::IntoIter<Value>;

    fn into_iter(self) -> Self::IntoIter {
        self.into_vec().into_iter()
    }
}
