//! What of each node is on disk, kept in memory: a batch says how nodes are, and only what is new
//! of them is written.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};

use bytes::Bytes;
use redb::ReadableTable;

use super::index::{Index, Tables, View};
use super::row::{self, Head, Home, Links};
use super::{Meta, StoreError, Stored, THE_SESSION};
use crate::wire::identity::NodeId;

/// A node as it is on disk.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) head: Head,
    /// Hash of its links, which may be many.
    links: u64,
    /// Keys of its deltas.
    tail: Vec<u64>,
}

/// All nodes on disk.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: HashMap<NodeId, Known>,
    hasher: RandomState,
    /// Key of the last delta.
    last: u64,
}

/// What is to be written of one node.
#[derive(Debug)]
pub(super) struct Change<'b> {
    id: NodeId,
    /// `None`: it is to be deleted.
    to: Option<To<'b>>,
    /// Where its base is on disk.
    was: Option<Home>,
    /// Keys of deltas that go.
    gone: Vec<u64>,
}

#[derive(Debug)]
struct To<'b> {
    stored: &'b Stored,
    sequence: u64,
    head: Head,
    is_new_head: bool,
    is_new_base: bool,
    links: u64,
    is_new_links: bool,
    /// Keys of the deltas that come: those at the end of the tail.
    come: Vec<u64>,
}

impl Nodes {
    /// Learns from the index what is there.
    pub(super) fn scan(index: &Index) -> Result<Self, StoreError> {
        let view = index.view()?;
        let mut nodes = Self::default();
        for row in view.heads.iter().map_err(|e| index.read_error(e))? {
            let (key, row) = row.map_err(|e| index.read_error(e))?;
            let id = NodeId::new(key.value());
            let id = id.ok_or_else(|| index.damaged("a node has no name"))?;
            let head = Head::read(row.value(), id)
                .ok_or_else(|| index.damaged(format!("the row of node {id} is broken")))?;
            let links = read_links(index, &view, id)?;
            let links = nodes.hash(&links.dependencies, links.aside.as_deref());
            let tail = Vec::new();
            nodes.nodes.insert(id, Known { head, links, tail });
        }
        read_deltas(index, &view, |key, id, version, number, _| {
            let known = nodes.nodes.get_mut(&id).filter(|known| {
                let next = known
                    .head
                    .tail_start
                    .saturating_add(known.tail.len() as u64);
                (known.head.version, next) == (version, number)
            });
            known?.tail.push(key);
            nodes.last = key;
            Some(())
        })?;
        Ok(nodes)
    }

    /// All of them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (NodeId, &Known)> {
        self.nodes.iter().map(|(id, known)| (*id, known))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.nodes.len()
    }

    /// The files in which bases are.
    pub(super) fn files(&self) -> HashSet<u64> {
        let homes = self.nodes.values().map(|known| known.head.home);
        homes.filter_map(Home::file).collect()
    }

    fn hash(&self, dependencies: &[NodeId], aside: Option<&[NodeId]>) -> u64 {
        self.hasher.hash_one((dependencies, aside))
    }

    /// What is to be written so that a node is like this. Keys of new deltas are used up even if
    /// that fails.
    pub(super) fn change<'b>(
        &mut self,
        id: NodeId,
        stored: Option<&'b Stored>,
        sequence: u64,
    ) -> Change<'b> {
        let known = self.nodes.get(&id);
        let was = known.map(|known| known.head.home);
        let all = || known.map(|known| known.tail.clone()).unwrap_or_default();
        let Some(stored) = stored else {
            let gone = all();
            return Change {
                id,
                to: None,
                was,
                gone,
            };
        };
        let tail_start = stored.tail_start as u64;
        let same_state = known.filter(|known| known.head.version == stored.version);
        // Deltas that were folded into the base go, those after them stay.
        let kept = same_state.and_then(|known| {
            let folded = tail_start.checked_sub(known.head.tail_start)?;
            let folded = usize::try_from(folded).ok()?;
            let staying = known.tail.len().checked_sub(folded)?;
            (staying <= stored.tail.len()).then_some((known.tail.get(..folded)?, staying))
        });
        let (gone, staying) = match kept {
            Some((folded, staying)) => (folded.to_vec(), staying),
            None => (all(), 0),
        };
        let is_new_base =
            kept.is_none() || same_state.is_none_or(|known| known.head.tail_start != tail_start);
        let head = Head {
            sequence,
            place: stored.place,
            version: stored.version,
            tail_start,
            home: match was {
                Some(home) if !is_new_base => home,
                _ => Home::Row,
            },
            owner: stored.owner.clone(),
            kind: stored.kind.clone(),
        };
        let links = self.hash(&stored.dependencies, stored.aside.as_deref());
        let is_new_links = known.is_none_or(|known| known.links != links);
        let is_new_head = is_new_base || known.is_none_or(|known| !known.head.says_the_same(&head));
        let first = self.last.saturating_add(1);
        let coming = stored.tail.len().saturating_sub(staying);
        self.last = self.last.saturating_add(coming as u64);
        let to = To {
            stored,
            sequence,
            head,
            is_new_head,
            is_new_base,
            links,
            is_new_links,
            come: (first..=self.last).collect(),
        };
        Change {
            id,
            to: Some(to),
            was,
            gone,
        }
    }

    /// Remembers what has been written. Returns the file that nothing refers to any more.
    pub(super) fn apply(&mut self, change: Change<'_>) -> Option<u64> {
        let is = change.to.as_ref().map(|to| to.head.home);
        match change.to {
            None => {
                self.nodes.remove(&change.id);
            }
            Some(to) => {
                let known = self.nodes.remove(&change.id);
                let mut tail = known.map(|known| known.tail).unwrap_or_default();
                tail.drain(..change.gone.len().min(tail.len()));
                tail.extend(to.come);
                let (head, links) = (to.head, to.links);
                self.nodes.insert(change.id, Known { head, links, tail });
            }
        }
        change.was.filter(|was| Some(*was) != is)?.file()
    }
}

impl<'b> Change<'b> {
    /// The node.
    pub(super) fn id(&self) -> NodeId {
        self.id
    }

    /// The base that is to be written to a file, and which state it is.
    pub(super) fn large_base(&self, large: usize) -> Option<((u64, u64), &'b Bytes)> {
        let to = self.to.as_ref()?;
        let is_large = to.is_new_base && to.stored.base.len() >= large;
        is_large.then_some(((to.head.version, to.head.tail_start), &to.stored.base))
    }

    /// It has been written to the file of this number.
    pub(super) fn put_in(&mut self, number: u64) {
        if let Some(to) = &mut self.to {
            to.head.home = Home::File(number);
        }
    }

    /// The file that has been written for this.
    pub(super) fn new_file(&self) -> Option<u64> {
        let to = self.to.as_ref().filter(|to| to.is_new_base)?;
        to.head.home.file()
    }

    /// Writes the rows.
    pub(super) fn write(&self, tables: &mut Tables<'_>) -> Result<(), redb::Error> {
        let key = self.id.as_bytes();
        for number in &self.gone {
            tables.deltas.remove(number)?;
        }
        let Some(to) = &self.to else {
            if let Some(was) = self.was {
                tables.heads.remove(key)?;
                tables.links.remove(key)?;
                if was == Home::Row {
                    tables.bases.remove(key)?;
                }
            }
            return Ok(());
        };
        if to.is_new_base {
            if to.head.home == Home::Row {
                let (version, tail_start) = (to.head.version, to.head.tail_start);
                let row = row::base(self.id, version, tail_start, &to.stored.base);
                tables.bases.insert(key, &*row)?;
            } else if self.was == Some(Home::Row) {
                tables.bases.remove(key)?;
            }
        }
        if to.is_new_links {
            let row = row::links(self.id, to.stored, to.sequence);
            tables.links.insert(key, &*row)?;
        }
        if to.is_new_head {
            tables.heads.insert(key, &*to.head.row(self.id))?;
        }
        let staying = to.stored.tail.len().saturating_sub(to.come.len());
        let numbers = to.head.tail_start.saturating_add(staying as u64)..;
        let coming = to.stored.tail.iter().skip(staying);
        for ((key, number), delta) in to.come.iter().zip(numbers).zip(coming) {
            let row = row::delta(self.id, to.head.version, number, delta);
            tables.deltas.insert(key, &*row)?;
        }
        Ok(())
    }
}

/// The deltas of all nodes. [`Nodes::scan`] has seen that none is missing.
pub(super) fn read_tails(
    index: &Index,
    view: &View,
) -> Result<HashMap<NodeId, Vec<Bytes>>, StoreError> {
    let mut tails = HashMap::<_, Vec<_>>::new();
    read_deltas(index, view, |_, id, _, _, delta| {
        let tail = tails.entry(id).or_default();
        tail.push(Bytes::copy_from_slice(delta));
        Some(())
    })?;
    Ok(tails)
}

fn read_deltas(
    index: &Index,
    view: &View,
    mut each: impl FnMut(u64, NodeId, u64, u64, &[u8]) -> Option<()>,
) -> Result<(), StoreError> {
    for row in view.deltas.iter().map_err(|e| index.read_error(e))? {
        let (key, row) = row.map_err(|e| index.read_error(e))?;
        let delta = row::read_delta(row.value());
        let taken = delta
            .and_then(|(id, version, number, delta)| each(key.value(), id, version, number, delta));
        taken.ok_or_else(|| index.damaged(format!("delta {} is broken", key.value())))?;
    }
    Ok(())
}

pub(super) fn read_links(index: &Index, view: &View, id: NodeId) -> Result<Links, StoreError> {
    let row = view.links.get(id.as_bytes());
    let row = row.map_err(|e| index.read_error(e))?;
    let links = row.and_then(|row| row::read_links(row.value(), id));
    links.ok_or_else(|| index.damaged(format!("what node {id} needs is broken")))
}

pub(super) fn read_base(
    index: &Index,
    view: &View,
    id: NodeId,
    state: (u64, u64),
) -> Result<Bytes, StoreError> {
    let row = view.bases.get(id.as_bytes());
    let row = row.map_err(|e| index.read_error(e))?;
    let base = row.and_then(|row| {
        let (version, tail_start, payload) = row::read_base(row.value(), id)?;
        ((version, tail_start) == state).then(|| Bytes::copy_from_slice(payload))
    });
    base.ok_or_else(|| index.damaged(format!("the content of node {id} is broken")))
}

pub(super) fn read_session(index: &Index, view: &View) -> Result<(Meta, u64), StoreError> {
    let row = view.session.get(THE_SESSION);
    let row = row.map_err(|e| index.read_error(e))?;
    let session = row.and_then(|row| row::read_session(row.value()));
    session.ok_or_else(|| index.damaged("the row of the session is broken"))
}
