//! From frames to requests.

use bytes::Bytes;

use super::kind::Kind;
use super::{Auth, Command, CommandError, CommandLimits, Credentials, Request, set};
use crate::wire::dialect::{Framing, echoable};
use crate::wire::message::Message;
use crate::wire::payload::{self, FieldError};
use crate::wire::pickle::{Dict, Value};

/// A command's frames, told apart.
pub(in crate::wire) struct Parts<'a> {
    pub(in crate::wire) framing: Framing,
    pub(in crate::wire) kind: Kind,
    pub(in crate::wire) owner: String,
    pub(in crate::wire) payload: &'a Bytes,
}

/// Splits a command into its frames and finds out how it is framed: an owner text never starts
/// with the byte 80 that every pickled number starts with.
pub(in crate::wire) fn parts<'a>(
    message: &'a Message,
    limits: &CommandLimits,
) -> Result<Parts<'a>, CommandError> {
    let [first, second, payload] = message.frames() else {
        return Err(CommandError::Frames(message.frames().len()));
    };
    let (framing, kind, owner) = if first.first() == Some(&0x80) {
        (Framing::Numbered, Kind::numbered(first), second)
    } else {
        (Framing::Named, Kind::named(second), first)
    };
    let Some(kind) = kind else {
        return Err(CommandError::Kind(match framing {
            Framing::Named => echoable(&String::from_utf8_lossy(second)),
            Framing::Numbered => {
                payload::int(first).map_or_else(|| "?".to_owned(), |number| number.to_string())
            }
        }));
    };
    if owner.len() > limits.text {
        return Err(CommandError::Owner);
    }
    let owner = std::str::from_utf8(owner).map_err(|_| CommandError::Owner)?;
    Ok(Parts {
        framing,
        kind,
        owner: owner.to_owned(),
        payload,
    })
}

/// Reads a command of a client, of whatever generation: the framing and the shape of every
/// payload tell themselves apart.
///
/// # Errors
/// Not exactly three frames, an unknown type, one that only servers send, or a payload that is
/// not what the type demands.
pub fn decode(message: &Message, limits: &CommandLimits) -> Result<Command, CommandError> {
    let parts = parts(message, limits)?;
    let request = request(&parts, limits).map_err(|error| CommandError::Payload {
        kind: parts.kind.name(),
        error,
    })?;
    Ok(Command {
        framing: parts.framing,
        request: request.ok_or_else(|| CommandError::Direction(parts.kind.name()))?,
        owner: parts.owner,
    })
}

/// The request in a command's payload; `None` if only servers send this type.
pub(in crate::wire) fn request(
    parts: &Parts<'_>,
    limits: &CommandLimits,
) -> Result<Option<Request>, FieldError> {
    let value = match parts.kind {
        Kind::ServerSnapshot => payload::read(parts.payload, limits.items)?,
        // Nothing large is in it that anybody wants, and metadata is kept.
        _ => payload::read_apart(parts.payload, limits.items)?,
    };
    let name =
        |dict: &Dict, key, what| payload::text(payload::entry(dict, key, what)?, what, limits.text);
    Ok(Some(match parts.kind {
        Kind::Auth => Request::Auth(auth(dict(&value)?, limits)?),
        Kind::Snapshot => snapshot(dict(&value)?)?,
        Kind::ServerSnapshot => server_snapshot(&value, parts.payload.len(), limits)?,
        Kind::Delete => Request::Delete(payload::node_id(&value)?),
        Kind::Right => {
            let dict = dict(&value)?;
            let nodes = match payload::entry(dict, "uuid", "no uuid")? {
                one @ Value::Str(_) => vec![payload::node_id(one)?],
                list => payload::node_ids(list, "the list of nodes", limits.nodes)?,
            };
            let owner = name(dict, "owner", "the owner")?;
            Request::Right { nodes, owner }
        }
        Kind::Kick => Request::Kick {
            user: name(dict(&value)?, "user", "the user")?,
        },
        Kind::Disconnect => Request::Disconnect,
        Kind::Metadata => {
            dict(&value)?;
            Request::Metadata(value)
        }
        Kind::Info => Request::Info,
        Kind::Users => return Ok(None),
    }))
}

fn auth(dict: &Dict, limits: &CommandLimits) -> Result<Auth, FieldError> {
    let optional = |key, what| match dict.get(key) {
        None | Some(Value::None) => Ok(None),
        Some(value) => payload::text(value, what, limits.text).map(Some),
    };
    let kind = payload::entry(dict, "AUTH_TYPE", "no AUTH_TYPE")?;
    let name = payload::entry(dict, "AUTH_ID", "no AUTH_ID")?;
    let two = dict.get("S_PWD").is_some() || dict.get("A_PWD").is_some();
    Ok(Auth {
        admin: payload::text(kind, "AUTH_TYPE", limits.text)? == "ADMIN",
        name: payload::text(name, "AUTH_ID", limits.text)?,
        version: optional("VERSION", "VERSION")?,
        credentials: if two {
            Credentials::Two {
                server: optional("S_PWD", "S_PWD")?,
                admin: optional("A_PWD", "A_PWD")?,
            }
        } else {
            Credentials::One(optional("PWD", "PWD")?)
        },
    })
}

fn snapshot(dict: &Dict) -> Result<Request, FieldError> {
    match state(dict)? {
        "REQUEST_INIT" => Ok(Request::CatalogRequest),
        "GET" => payload::node_id(payload::entry(dict, "ID", "no ID")?).map(Request::Get),
        "DONE" => Ok(Request::JoinDone),
        _ => Err(FieldError::Shape("not a state a joiner sends")),
    }
}

fn server_snapshot(
    value: &Value,
    frame: usize,
    limits: &CommandLimits,
) -> Result<Request, FieldError> {
    // G1–G4 have a path that sends the bare text.
    if value.as_str() == Some("SNAPSHOT_END") {
        return Ok(Request::UploadEnd);
    }
    let dict = dict(value)?;
    match state(dict)? {
        "INIT" => {
            let nodes = payload::entry(dict, "NODES", "no NODES")?;
            let nodes = payload::node_ids(nodes, "the list of nodes", limits.nodes)?;
            Ok(Request::UploadInit { nodes })
        }
        "SET" => {
            let data = payload::entry(dict, "DATA", "no DATA")?;
            let mut node = set::decode(data, &limits.node)?;
            // The node must not keep more than itself in memory.
            if node.payload.len() < frame / 2 {
                node.payload = Bytes::copy_from_slice(&node.payload);
            }
            Ok(Request::UploadSet(node))
        }
        "END" => Ok(Request::UploadEnd),
        _ => Err(FieldError::Shape("not a state an uploader sends")),
    }
}

/// The `STATE` of a snapshot command.
pub(in crate::wire) fn state(dict: &Dict) -> Result<&str, FieldError> {
    payload::entry(dict, "STATE", "no STATE")?
        .as_str()
        .ok_or(FieldError::Shape("STATE is not a text"))
}

/// The payload as the dict it has to be.
pub(in crate::wire) fn dict(value: &Value) -> Result<&Dict, FieldError> {
    match value {
        Value::Dict(dict) => Ok(dict),
        _ => Err(FieldError::Shape("not a dict")),
    }
}
