//! The clients' side of the codec: requests to frames, answers from frames.
//!
//! For whoever plays a client: the `probe` command and the test peers. The server itself never
//! calls this.

use super::command::{
    self, Answer, Auth, CommandError, CommandLimits, Credentials, FieldError, Kind, REMOVED,
    Request,
};
use super::dialect::{Dialect, RightShape};
use super::identity::{Identity, NodeId};
use super::message::Message;
use super::node::{self, NodeState, Update};
use super::payload;
use super::pickle::{Dict, Value};

/// An answer of the server, owned. The variants are those of [`Answer`].
#[derive(Clone, Debug, PartialEq)]
#[expect(
    missing_docs,
    reason = "each is described at the variant of the same name in `Answer`"
)]
pub enum OwnedAnswer {
    Auth(String),
    Users(Value),
    Metadata {
        owner: String,
        data: Value,
    },
    Catalog(Vec<NodeId>),
    Set(NodeState),
    Removed,
    UploadAccepted,
    UploadRejected,
    UploadDone,
    Delete(NodeId),
    Right {
        by: String,
        nodes: Vec<NodeId>,
        owner: String,
    },
    Disconnect {
        reason: String,
    },
    Info {
        private: bool,
        version: String,
    },
}

impl OwnedAnswer {
    /// The same, borrowed: what the server encodes.
    pub fn borrow(&self) -> Answer<'_> {
        match self {
            Self::Auth(text) => Answer::Auth(text),
            Self::Users(users) => Answer::Users(users),
            Self::Metadata { owner, data } => Answer::Metadata { owner, data },
            Self::Catalog(nodes) => Answer::Catalog(nodes),
            Self::Set(node) => Answer::Set(node),
            Self::Removed => Answer::Removed,
            Self::UploadAccepted => Answer::UploadAccepted,
            Self::UploadRejected => Answer::UploadRejected,
            Self::UploadDone => Answer::UploadDone,
            Self::Delete(node) => Answer::Delete(*node),
            Self::Right { by, nodes, owner } => Answer::Right { by, nodes, owner },
            Self::Disconnect { reason } => Answer::Disconnect { reason },
            Self::Info { private, version } => Answer::Info {
                private: *private,
                version,
            },
        }
    }
}

/// A request as a client of this dialect sends it, in the name of `owner` where the client uses
/// its user's name (it says `server` when it uploads, `client` when it deletes or leaves, `guest`
/// when it asks for the info). Usually one message: one per node for a Right before G16, none for
/// an info request before G17.
pub fn encode_request(dialect: &Dialect, owner: &str, request: &Request) -> Vec<Message> {
    let send = |kind, owner: &str, value: &Value| {
        command::message(dialect.commands, dialect.pickle, kind, owner, value)
            .into_iter()
            .collect::<Vec<_>>()
    };
    let upload = |value: &Value| send(Kind::ServerSnapshot, "server", value);
    match request {
        Request::Auth(auth) => send(Kind::Auth, owner, &login(auth)),
        Request::CatalogRequest => send(Kind::Snapshot, owner, &command::state("REQUEST_INIT")),
        Request::Get(node) => send(
            Kind::Snapshot,
            owner,
            &payload::dict([("STATE", Value::str("GET")), ("ID", payload::id(node))]),
        ),
        Request::JoinDone => send(Kind::Snapshot, owner, &command::state("DONE")),
        Request::UploadInit { nodes } => upload(&payload::dict([
            ("STATE", Value::str("INIT")),
            (
                "SIZE",
                Value::Int(i64::try_from(nodes.len()).unwrap_or(i64::MAX)),
            ),
            ("NODES", payload::id_list(nodes)),
        ])),
        Request::UploadSet(node) => upload(&command::set_data(command::encode_set(dialect, node))),
        Request::UploadEnd => upload(&command::state("END")),
        Request::Delete(node) => send(Kind::Delete, "client", &payload::id(node)),
        Request::Right { nodes, owner: new } => match dialect.right {
            RightShape::One => nodes
                .iter()
                .flat_map(|id| send(Kind::Right, owner, &command::right(payload::id(id), new)))
                .collect(),
            RightShape::List => send(
                Kind::Right,
                owner,
                &command::right(payload::id_list(nodes), new),
            ),
        },
        Request::Kick { user } => send(
            Kind::Kick,
            owner,
            &payload::dict([("user", Value::str(user.as_str()))]),
        ),
        Request::Disconnect => send(Kind::Disconnect, "client", &Value::None),
        Request::Metadata(data) => send(Kind::Metadata, owner, data),
        Request::Info => send(Kind::Info, "guest", &Value::str("RQ_INFO")),
    }
}

/// An update as a client of this dialect sends it up its data link.
pub fn encode_update(dialect: &Dialect, sender: &Identity, update: &Update) -> Vec<Message> {
    match update {
        Update::Node(node) => node::node_from(dialect, sender.as_bytes(), node),
        Update::Delta(delta) => node::delta_from(dialect, sender.as_bytes(), delta),
    }
}

/// Reads a command message of the server.
///
/// # Errors
/// As for [`command::decode`]: frames, type or payload are not those of an answer.
pub fn decode_answer(
    message: &Message,
    limits: &CommandLimits,
) -> Result<OwnedAnswer, CommandError> {
    let parts = command::parts(message, limits)?;
    let kind = parts.kind;
    answer(&parts, limits)
        .map_err(|error| CommandError::Payload {
            kind: kind.name(),
            error,
        })?
        .ok_or_else(|| CommandError::Direction(kind.name()))
}

fn answer(
    parts: &command::Parts<'_>,
    limits: &CommandLimits,
) -> Result<Option<OwnedAnswer>, FieldError> {
    let value = payload::read(parts.payload, limits.items)?;
    let text = |value: &Value, what| payload::text(value, what, limits.text);
    Ok(Some(match parts.kind {
        Kind::Auth => OwnedAnswer::Auth(text(&value, "the answer")?),
        Kind::Users => {
            command::dict(&value)?;
            OwnedAnswer::Users(value)
        }
        Kind::Metadata => {
            command::dict(&value)?;
            OwnedAnswer::Metadata {
                owner: parts.owner.clone(),
                data: value,
            }
        }
        Kind::Snapshot => snapshot(&value, limits)?,
        Kind::ServerSnapshot => match command::state_of(command::dict(&value)?)? {
            "ACCEPTED" => OwnedAnswer::UploadAccepted,
            "REJECTED" => OwnedAnswer::UploadRejected,
            "DONE" => OwnedAnswer::UploadDone,
            _ => return Err(FieldError::Shape("not a state the server answers")),
        },
        // Relayed requests: the same payload in both directions.
        Kind::Delete | Kind::Right => match command::request(parts, limits)? {
            Some(Request::Delete(node)) => OwnedAnswer::Delete(node),
            Some(Request::Right { nodes, owner }) => OwnedAnswer::Right {
                by: parts.owner.clone(),
                nodes,
                owner,
            },
            _ => return Ok(None),
        },
        Kind::Disconnect => OwnedAnswer::Disconnect {
            reason: text(
                payload::entry(command::dict(&value)?, "reason", "no reason")?,
                "the reason",
            )?,
        },
        Kind::Info => {
            let dict = command::dict(&value)?;
            let private = match payload::entry(dict, "private", "no private")? {
                Value::Bool(private) => *private,
                _ => return Err(FieldError::Shape("private is not a bool")),
            };
            let version = text(
                payload::entry(dict, "version", "no version")?,
                "the version",
            )?;
            OwnedAnswer::Info { private, version }
        }
        Kind::Kick => return Ok(None),
    }))
}

fn snapshot(value: &Value, limits: &CommandLimits) -> Result<OwnedAnswer, FieldError> {
    let dict = command::dict(value)?;
    match command::state_of(dict)? {
        "INIT" => {
            let nodes = payload::entry(dict, "CATALOG", "no CATALOG")?;
            payload::node_ids(nodes, "the catalog", limits.nodes).map(OwnedAnswer::Catalog)
        }
        "SET" => match payload::entry(dict, "DATA", "no DATA")? {
            Value::Bytes(marker) if *marker == REMOVED => Ok(OwnedAnswer::Removed),
            data => command::decode_set(data, &limits.node).map(OwnedAnswer::Set),
        },
        _ => Err(FieldError::Shape("not a state the server answers")),
    }
}

fn login(auth: &Auth) -> Value {
    let optional = |text: &Option<String>| text.as_deref().map_or(Value::None, Value::str);
    let dict = Dict::new()
        .with("AUTH_TYPE", if auth.admin { "ADMIN" } else { "CLIENT" })
        .with("AUTH_ID", auth.name.as_str());
    let dict = match &auth.credentials {
        Credentials::One(password) => dict.with("PWD", optional(password)),
        Credentials::Two { server, admin } => dict
            .with("S_PWD", optional(server))
            .with("A_PWD", optional(admin)),
    };
    Value::Dict(match &auth.version {
        Some(version) => dict.with("VERSION", version.as_str()),
        None => dict,
    })
}
