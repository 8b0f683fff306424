//! Files in which nodes are what they are to Python, not pickles of it. Strings are shared between
//! nodes, and anything may be, so such a file is read as a whole.

use bytes::Bytes;

use super::error::{FileError, NodeError};
use super::node;
use super::read::Limits;
use crate::wire::command::FieldError;
use crate::wire::dialect::Family;
use crate::wire::fit::Unfit;
use crate::wire::identity::NodeId;
use crate::wire::node::NodeState;
use crate::wire::pickle::{Budget, Dict, Protocol, Value, exceeds, read_plain, write};

/// Levels around a node's data: dict, list, tuple, dict.
const LEVELS: usize = 4;

/// The nodes of a file.
#[derive(Debug)]
pub(super) struct Decoded {
    nodes: std::vec::IntoIter<Value>,
    number: usize,
    /// What the first node is.
    typed: Option<bool>,
}

impl Decoded {
    /// Reads a file.
    pub(super) fn read(whole: Vec<u8>, limits: &Limits<'_>) -> Result<Self, FileError> {
        let content = limits.policy.budget;
        let budget = Budget {
            bytes: whole.len(),
            depth: content.depth.saturating_add(LEVELS),
            items: limits.values,
            memo: limits.values,
            stack: content.stack,
        };
        let top = read_plain(&Bytes::from(whole), &budget)?;
        let top = top.as_dict().ok_or(FileError::Shape("it is no dict"))?;
        let nodes = top
            .get("nodes")
            .ok_or(FileError::Shape("it has no nodes"))?;
        let Value::List(nodes) = nodes.clone() else {
            return Err(FileError::Shape("its nodes are no list"));
        };
        Ok(Self {
            nodes: nodes.into_vec().into_iter(),
            number: 0,
            typed: None,
        })
    }

    /// Whether nodes have a type beside them; `None` before the first one.
    pub(super) fn typed(&self) -> Option<bool> {
        self.typed
    }

    /// The next node.
    pub(super) fn next(&mut self, limits: &Limits<'_>) -> Option<Result<NodeState, FileError>> {
        let value = self.nodes.next()?;
        self.number = self.number.saturating_add(1);
        let number = self.number;
        let id = value.as_sequence().and_then(|parts| match parts {
            [id, ..] => NodeId::new(id.as_str()?.as_bytes()),
            _ => None,
        });
        let node = self.node(&value, id, limits);
        Some(node.map_err(|error| FileError::Node { number, id, error }))
    }

    fn node(
        &mut self,
        value: &Value,
        id: Option<NodeId>,
        limits: &Limits<'_>,
    ) -> Result<NodeState, NodeError> {
        let Some([_, Value::Dict(parts)]) = value.as_sequence() else {
            return Err(NodeError::Shape("a pair of uuid and dict is expected"));
        };
        let id = id.ok_or(NodeError::Shape("its uuid is none"))?;
        let typed = parts.get("str_type").is_some();
        if *self.typed.get_or_insert(typed) != typed {
            return Err(NodeError::Shape(
                "some nodes have a type and some have none",
            ));
        }
        let owner = text(parts, "owner", limits)?;
        if owner.is_empty() {
            return Err(NodeError::Shape("its owner is empty"));
        }
        let kind = if typed {
            text(parts, "str_type", limits)?
        } else {
            String::new()
        };
        let data = parts.get("data");
        let data = data.ok_or(NodeError::Shape("it has no data"))?;
        if !matches!(data, Value::Dict(_) | Value::None) {
            return Err(Unfit::NoDict.into());
        }
        let limit = limits.node.payload;
        // What is shared is written out each time.
        if exceeds(data, limit) {
            return Err(NodeError::TooLong { limit });
        }
        let payload = write(data, Protocol::Four);
        if payload.len() > limit {
            return Err(NodeError::TooLong { limit });
        }
        let node = NodeState {
            id,
            owner: owner.into(),
            kind: kind.into(),
            dependencies: dependencies(parts, limits)?,
            payload,
        };
        // Which versions of the typed ones know nodes without data the file does not say.
        let family = if typed {
            Family::TypedPickle
        } else {
            Family::UntypedPickle
        };
        node::fit(node, family, true, limits)
    }
}

fn text(parts: &Dict, key: &'static str, limits: &Limits<'_>) -> Result<String, NodeError> {
    let text = parts.get(key).and_then(Value::as_str);
    let text = text.ok_or(NodeError::Shape("its owner or type is no text"))?;
    let limit = limits.node.name;
    if text.len() > limit {
        let what = "the node's owner or type";
        return Err(FieldError::TooLong { what, limit }.into());
    }
    Ok(text.to_owned())
}

fn dependencies(parts: &Dict, limits: &Limits<'_>) -> Result<Vec<NodeId>, NodeError> {
    let items = match parts.get("dependencies") {
        None | Some(Value::None) => return Ok(Vec::new()),
        Some(value) => value.as_sequence(),
    };
    let wrong = NodeError::Shape("its dependencies are no list of uuids");
    let Some(items) = items else {
        return Err(wrong);
    };
    let limit = limits.node.dependencies;
    if items.len() > limit {
        let what = "dependencies";
        return Err(FieldError::TooLong { what, limit }.into());
    }
    let ids = items
        .iter()
        .map(|item| NodeId::new(item.as_str()?.as_bytes()));
    ids.collect::<Option<_>>().ok_or(wrong)
}
