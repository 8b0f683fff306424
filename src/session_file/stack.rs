//! The stack and the memo of the machine that goes through a file.

use std::collections::HashMap;

use bytes::Bytes;

use super::error::FileError;
use crate::wire::pickle::PickleError;

/// Entries that may be in the memo, apart from those of nodes.
const MEMO: usize = 1 << 20;

/// What is on the stack.
#[derive(Clone, Debug)]
pub(super) enum Item {
    Mark,
    /// The dict that is the file.
    Top,
    /// The list of nodes.
    Nodes,
    /// A node.
    Chunks(Vec<Bytes>),
    /// A short text.
    Text(Bytes),
    Bytes(Bytes),
    /// Anything else.
    Other,
}

/// What waits to be put into something, and what may be referred to.
#[derive(Debug)]
pub(super) struct Stack {
    items: Vec<Item>,
    /// Items there may be.
    most: usize,
    /// How many of the items are marks.
    marks: usize,
    /// Entries of the memo, those left out of it included.
    entries: usize,
    /// What may be referred to. Of nodes that is nearly nothing, or they would all stay in memory:
    /// every chunk is made anew, except that Python has each of the shortest `bytes` only once.
    memo: HashMap<usize, Item>,
}

impl Stack {
    pub(super) fn new(most: usize) -> Self {
        Self {
            items: Vec::new(),
            most,
            marks: 0,
            entries: 0,
            memo: HashMap::new(),
        }
    }

    pub(super) fn items(&self) -> &[Item] {
        &self.items
    }

    pub(super) fn len(&self) -> usize {
        self.items.len()
    }

    pub(super) fn marks(&self) -> usize {
        self.marks
    }

    pub(super) fn last_mut(&mut self) -> Option<&mut Item> {
        self.items.last_mut()
    }

    pub(super) fn push(&mut self, item: Item) -> Result<(), FileError> {
        if self.items.len() >= self.most {
            return Err(too_many("stack entries", self.most));
        }
        if let Item::Mark = item {
            self.marks = self.marks.saturating_add(1);
        }
        self.items.push(item);
        Ok(())
    }

    pub(super) fn pop(&mut self) -> Result<Item, FileError> {
        match self.items.pop() {
            None | Some(Item::Mark | Item::Top) => Err(NOT_THERE),
            Some(item) => Ok(item),
        }
    }

    /// What is above the last mark.
    pub(super) fn pop_mark(&mut self) -> Result<Vec<Item>, FileError> {
        let mut items = self.items.iter();
        let mark = items.rposition(|item| matches!(item, Item::Mark));
        let mark = mark.ok_or(NOT_THERE)?;
        let items = self.items.drain(mark.saturating_add(1)..).collect();
        self.items.pop();
        self.marks = self.marks.saturating_sub(1);
        Ok(items)
    }

    /// Makes one thing of the last `count`.
    pub(super) fn merge(&mut self, count: usize) -> Result<(), FileError> {
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(self.pop()?);
        }
        self.become_other(&items)
    }

    /// Puts something that nobody needs in the place of these.
    pub(super) fn become_other(&mut self, items: &[Item]) -> Result<(), FileError> {
        is_other(items)?;
        self.push(Item::Other)
    }

    /// Puts these into what nobody needs.
    pub(super) fn drop_into(&mut self, items: &[Item]) -> Result<(), FileError> {
        is_other(items)?;
        match self.items.last() {
            Some(Item::Other) => Ok(()),
            _ => Err(NOT_TOGETHER),
        }
    }

    /// Gives the last item the next place in the memo. `bytes` longer than that cannot be referred
    /// to.
    pub(super) fn memoize(&mut self, longest: usize) -> Result<(), FileError> {
        let item = match self.items.last() {
            None | Some(Item::Mark) => return Err(NOT_THERE),
            Some(Item::Text(text)) => Some(Item::Text(text.clone())),
            Some(Item::Bytes(bytes)) if bytes.len() <= longest => Some(Item::Bytes(bytes.clone())),
            Some(Item::Other) => Some(Item::Other),
            Some(_) => None,
        };
        if let Some(item) = item {
            if self.memo.len() >= MEMO {
                return Err(too_many("memo entries", MEMO));
            }
            self.memo.insert(self.entries, item);
        }
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }

    /// Where the next entry of the memo goes.
    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    /// Pushes an entry of the memo, of which there are more.
    pub(super) fn get(&mut self, index: usize) -> Result<(), FileError> {
        let item = self.memo.get(&index).cloned();
        self.push(item.ok_or(FileError::Shape(
            "it refers back to a node or to large data",
        ))?)
    }
}

const NOT_THERE: FileError = FileError::Shape("it takes what is not there");
const NOT_TOGETHER: FileError = FileError::Shape("its parts do not belong together");

#[cold]
fn too_many(what: &'static str, max: usize) -> FileError {
    PickleError::Budget { what, max }.into()
}

/// Whether none of these is part of what matters.
pub(super) fn is_other(items: &[Item]) -> Result<(), FileError> {
    let mut items = items.iter();
    if items.all(|item| matches!(item, Item::Text(_) | Item::Bytes(_) | Item::Other)) {
        Ok(())
    } else {
        Err(NOT_TOGETHER)
    }
}
