//! `DATA` of a `SET`: one node inside a command, in the shapes of G5 to G19.

use bytes::Bytes;

use crate::wire::dialect::{Dialect, SetShape};
use crate::wire::identity::NodeId;
use crate::wire::node::{NodeLimits, NodeState};
use crate::wire::payload::{self, Empty, FieldError};
use crate::wire::pickle::Value;

/// The number of a Node, which the lists of G13 and later begin with.
const NODE: u8 = 2;

/// Reads `DATA` of any shape; each tells itself apart.
pub(in crate::wire) fn decode(data: &Value, limits: &NodeLimits) -> Result<NodeState, FieldError> {
    if let Value::Dict(dict) = data {
        let part = |key| payload::entry(dict, key, "a key is missing in DATA");
        let kind = dict.get("type").map_or(Ok(Bytes::new()), bytes)?;
        return node(
            [
                part("uuid")?,
                part("owner")?,
                part("dependencies")?,
                part("data")?,
            ],
            kind,
            limits,
        );
    }
    let Value::List(items) = data else {
        return Err(FieldError::Shape("DATA is neither dict nor list"));
    };
    match &**items {
        [id, owner, dependencies, data] => {
            node([id, owner, dependencies, data], Bytes::new(), limits)
        }
        [number, id, owner, dependencies, data] if is_node(number) => {
            node([id, owner, dependencies, data], Bytes::new(), limits)
        }
        _ => Err(FieldError::Shape("DATA does not list a node")),
    }
}

/// `DATA` in the shape of a dialect. Dialects without `SET` (G1–G4) get that of G5.
pub(in crate::wire) fn encode(dialect: &Dialect, node: &NodeState) -> Value {
    let protocol = dialect.pickle;
    let id = Value::Bytes(Bytes::copy_from_slice(node.id.as_bytes()));
    let owner = Value::Bytes(Bytes::copy_from_slice(node.owner.as_bytes()));
    let dependencies = payload::pickled_dependencies(&node.dependencies, protocol, Empty::List);
    let dependencies = Value::Bytes(dependencies);
    let kind = Value::Bytes(node.kind.clone());
    let data = Value::Bytes(node.payload.clone());
    match dialect.set {
        SetShape::None | SetShape::TypedDict => payload::dict([
            ("owner", owner),
            ("uuid", id),
            ("dependencies", dependencies),
            ("type", kind),
            ("data", data),
        ]),
        SetShape::Dict => payload::dict([
            ("owner", owner),
            ("uuid", id),
            ("dependencies", dependencies),
            ("data", data),
        ]),
        SetShape::List4 => Value::list([id, owner, dependencies, data]),
        SetShape::List5Int => {
            Value::list([Value::Int(i64::from(NODE)), id, owner, dependencies, data])
        }
        SetShape::List5Bytes => Value::list([
            Value::Bytes(payload::pickled_int(NODE, protocol)),
            id,
            owner,
            dependencies,
            data,
        ]),
    }
}

fn node(
    [id, owner, dependencies, data]: [&Value; 4],
    kind: Bytes,
    limits: &NodeLimits,
) -> Result<NodeState, FieldError> {
    let payload = bytes(data)?;
    if payload.is_empty() {
        return Err(FieldError::Shape("the node's data is empty"));
    }
    if payload.len() > limits.payload {
        return Err(FieldError::TooLong {
            what: "the node's data",
            limit: limits.payload,
        });
    }
    let owner = bytes(owner)?;
    if owner.len().max(kind.len()) > limits.name {
        return Err(FieldError::TooLong {
            what: "the node's owner or type",
            limit: limits.name,
        });
    }
    let owner = std::str::from_utf8(&owner)
        .map_err(|_| FieldError::Shape("the node's owner is not UTF-8"))?;
    if std::str::from_utf8(&kind).is_err() {
        return Err(FieldError::Shape("the node's type is not UTF-8"));
    }
    Ok(NodeState {
        id: NodeId::new(&bytes(id)?).ok_or(FieldError::Shape("the node's uuid is none"))?,
        owner: owner.into(),
        kind: Bytes::copy_from_slice(&kind),
        dependencies: payload::dependencies(&bytes(dependencies)?, limits.dependencies)?,
        payload,
    })
}

fn bytes(value: &Value) -> Result<Bytes, FieldError> {
    match value {
        Value::Bytes(bytes) => Ok(bytes.clone()),
        _ => Err(FieldError::Shape("expected bytes inside DATA")),
    }
}

fn is_node(number: &Value) -> bool {
    match number {
        Value::Int(number) => *number == i64::from(NODE),
        Value::Bytes(pickled) => payload::int(pickled) == Some(i64::from(NODE)),
        _ => false,
    }
}
