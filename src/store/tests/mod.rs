//! A store that is written, ended, damaged and opened again.

mod damage;
mod faults;
mod forged;
mod kill;
pub(crate) mod memory;
mod renewal;
mod roundtrip;
mod space;
mod staged;
mod upgrade;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use rand::Rng;
use rand::rngs::StdRng;

use self::memory::MemoryDisk;
use super::{Batch, Claim, Meta, Options, Store, StoreError, Stored, Upcoming};
use crate::wire::dialect::Family;
use crate::wire::identity::NodeId;

const LARGE: usize = 3000;

type State = HashMap<NodeId, Stored>;

fn options() -> Options {
    Options {
        large: LARGE,
        segment: 4096,
        apart: 400,
    }
}

fn id(number: u64) -> NodeId {
    NodeId::new(format!("{number:036}").as_bytes()).unwrap()
}

fn meta(sequence: u64) -> Meta {
    Meta {
        family: Some(Family::UntypedPickle),
        version: Some(format!("0.9.{sequence}")),
        active: true,
    }
}

fn node(version: u64, base: &[u8]) -> Stored {
    Stored {
        place: version,
        owner: "COMMON".into(),
        kind: Bytes::from_static(b"Object"),
        dependencies: vec![id(1), id(2)],
        version,
        base: Bytes::copy_from_slice(base),
        tail_start: 0,
        tail: Vec::new(),
        aside: None,
    }
}

fn batch(sequence: u64, nodes: Vec<(NodeId, Option<Stored>)>) -> Batch {
    let meta = meta(sequence);
    Batch {
        sequence,
        meta,
        nodes,
    }
}

fn dir() -> &'static Path {
    Path::new("/data/sessions/main")
}

fn open(disk: &MemoryDisk) -> Result<Store, StoreError> {
    Store::open_on(Arc::new(disk.clone()), dir(), options(), true)
}

fn loaded(store: &mut Store) -> (State, Meta, u64) {
    let mut state = State::new();
    let (meta, sequence) = store
        .load(|id, stored| assert!(state.insert(id, stored).is_none()))
        .unwrap();
    (state, meta, sequence)
}

/// A session in which things happen.
#[derive(Clone, Debug, Default)]
struct Model {
    state: State,
    versions: u64,
    sequence: u64,
}

impl Model {
    /// The next batch: some nodes change.
    fn step(&mut self, random: &mut StdRng) -> Batch {
        self.sequence += 1;
        let mut changed = HashMap::new();
        for _ in 0..random.random_range(0..5) {
            let id = id(random.random_range(0..7));
            self.change(id, random);
            changed.insert(id, self.state.get(&id).cloned());
        }
        batch(self.sequence, changed.into_iter().collect())
    }

    fn change(&mut self, id: NodeId, random: &mut StdRng) {
        let bytes = |random: &mut StdRng| {
            let len = *[0, 10, 500, 2999, 3000, 9000]
                .get(random.random_range(0..6))
                .unwrap();
            Bytes::from(vec![random.random::<u8>(); len])
        };
        let Some(stored) = self.state.get_mut(&id) else {
            self.versions += 1;
            let base = bytes(random);
            self.state.insert(id, node(self.versions, &base));
            return;
        };
        match random.random_range(0..10) {
            0 => {
                self.state.remove(&id);
            }
            1 => {
                self.versions += 1;
                stored.version = self.versions;
                stored.base = bytes(random);
                stored.tail_start = 0;
                stored.tail.clear();
            }
            2 => stored.owner = format!("user{}", random.random::<u8>()).into(),
            3 => stored.dependencies.push(id),
            4 => stored.aside = Some(stored.dependencies.clone()),
            5 | 6 => {
                let folded = random.random_range(0..=stored.tail.len());
                stored.tail.drain(..folded);
                stored.tail_start += folded;
                if folded > 0 {
                    stored.base = bytes(random);
                }
            }
            _ => {
                for _ in 0..random.random_range(1..4) {
                    stored.tail.push(bytes(random));
                }
            }
        }
    }
}
