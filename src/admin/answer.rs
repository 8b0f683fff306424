//! What an order is answered: `Display` are the words of it, and serialised it is JSON.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use super::stats::Stats;
use crate::backup::{Found, Made};
use crate::session::{Listed, UserInfo};
use crate::text::shown;
use crate::wire::identity::NodeId;

/// Nodes that are listed at once in words.
pub(crate) const LISTED: usize = 20;

/// The answer to an order that was carried out.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// Who is in the session.
    Users {
        /// All of them, by name.
        users: Vec<UserInfo>,
    },
    /// Somebody was removed.
    Kicked {
        /// Who.
        kicked: String,
    },
    /// A text was shown.
    Said {
        /// To how many.
        users: usize,
    },
    /// What the scene is made of.
    Nodes {
        /// Of all that fit.
        bytes: usize,
        /// The largest first.
        nodes: Vec<Listed>,
    },
    /// A node was set aside.
    Quarantined {
        /// Which.
        quarantined: NodeId,
    },
    /// A node was put back.
    Released {
        /// Which.
        released: NodeId,
    },
    /// Who owns how much.
    Owners {
        /// The one with the most bytes first.
        owners: Vec<Owned>,
    },
    /// Nodes were given to somebody.
    Given {
        /// How many.
        given: usize,
        /// To whom.
        owner: String,
    },
    /// Everything is on the disk.
    Saved {
        /// How many changes that were, since the session began.
        sequence: u64,
    },
    /// A backup was made.
    BackedUp(Made),
    /// The backups there are.
    Backups {
        /// The newest first.
        backups: Vec<Found>,
    },
    /// The session is another one now.
    Restored {
        /// From this file.
        restored: PathBuf,
        /// It has so many nodes.
        nodes: usize,
        /// What was there before.
        backup: Option<Made>,
        /// Why it is not on the disk yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        unsaved: Option<String>,
    },
    /// The session is empty.
    Reset {
        /// What was there before.
        backup: Option<Made>,
        /// Why that is not on the disk yet.
        #[serde(skip_serializing_if = "Option::is_none")]
        unsaved: Option<String>,
    },
    /// How the server is.
    Stats(Box<Stats>),
    /// The server ends.
    Stopping {
        /// In so many seconds.
        seconds: u64,
    },
    /// The session was written to a file.
    Exported {
        /// The file.
        exported: PathBuf,
        /// It has so many nodes.
        nodes: usize,
        /// So many are not in it, because they are set aside.
        aside: usize,
        /// These are in it without their last changes.
        without_changes: Vec<NodeId>,
        /// Bytes of the file.
        bytes: u64,
    },
}

impl Answer {
    /// A file was made.
    pub(super) fn exported(made: Made) -> Self {
        Self::Exported {
            exported: made.path,
            nodes: made.nodes,
            aside: made.aside,
            without_changes: made.without_changes,
            bytes: made.bytes,
        }
    }
}

/// What somebody owns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Owned {
    /// COMMON or a user's name.
    pub owner: String,
    /// How many nodes.
    pub nodes: usize,
    /// Their bytes.
    pub bytes: usize,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Users { users } => show_users(f, users),
            Self::Kicked { kicked } => {
                writeln!(f, "{} kicked from the session.", shown(kicked))
            }
            Self::Said { users } => writeln!(f, "Shown to {}.", count(*users, "user")),
            Self::Nodes { bytes, nodes } => show_nodes(f, *bytes, nodes),
            Self::Quarantined { quarantined } => writeln!(
                f,
                "{quarantined} is set aside: kept, and given to nobody. release {quarantined} puts \
                 it back."
            ),
            Self::Released { released } => writeln!(f, "{released} is back."),
            Self::Owners { owners } => show_owners(f, owners),
            Self::Given { given, owner } => {
                let owner = shown(owner);
                writeln!(f, "{} given to {owner}.", count(*given, "node"))
            }
            Self::Saved { .. } => writeln!(f, "Everything is on the disk."),
            Self::BackedUp(made) => show_made(f, made),
            Self::Backups { backups } => show_backups(f, backups),
            Self::Restored {
                restored,
                nodes,
                backup,
                unsaved,
            } => {
                let file = restored.display();
                writeln!(
                    f,
                    "The session is that of {file} now, with {}.",
                    count(*nodes, "node")
                )?;
                show_before(f, backup.as_ref())?;
                show_unsaved(f, unsaved.as_deref())
            }
            Self::Reset { backup, unsaved } => {
                writeln!(f, "The session is empty.")?;
                show_before(f, backup.as_ref())?;
                show_unsaved(f, unsaved.as_deref())
            }
            Self::Stats(stats) => stats.fmt(f),
            Self::Stopping { seconds: 0 } => writeln!(f, "The server ends."),
            Self::Stopping { seconds } => writeln!(f, "The server ends in {seconds} s."),
            Self::Exported {
                exported,
                nodes,
                aside,
                without_changes,
                bytes,
            } => {
                let (file, bytes) = (exported.display(), size(*bytes));
                writeln!(f, "{} in {file}, {bytes}.", count(*nodes, "node"))?;
                show_lacks(f, *aside, without_changes)
            }
        }
    }
}

fn show_users(f: &mut fmt::Formatter<'_>, users: &[UserInfo]) -> fmt::Result {
    writeln!(f, "{} online", count(users.len(), "user"))?;
    for user in users {
        let role = if user.admin { "admin" } else { "" };
        let latency = user.latency_ms;
        let latency = latency.map_or_else(|| "?".to_owned(), |latency| latency.to_string());
        let joining = if user.active { "" } else { " (joining)" };
        writeln!(f, "  {}({role}) - {latency} ms{joining}", shown(&user.name))?;
    }
    Ok(())
}

fn show_nodes(f: &mut fmt::Formatter<'_>, bytes: usize, nodes: &[Listed]) -> fmt::Result {
    writeln!(f, "{}, {}", count(nodes.len(), "node"), size(bytes as u64))?;
    for node in nodes.iter().take(LISTED) {
        let aside = if node.aside { ", set aside" } else { "" };
        writeln!(
            f,
            "  {} {:>10}  {}({}), needs {}{aside}",
            node.id,
            size(node.bytes as u64),
            shown(&node.kind),
            shown(&node.owner),
            node.dependencies
        )?;
    }
    match nodes.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more, smaller ones"),
    }
}

fn show_owners(f: &mut fmt::Formatter<'_>, owners: &[Owned]) -> fmt::Result {
    for owned in owners {
        let (nodes, bytes) = (count(owned.nodes, "node"), size(owned.bytes as u64));
        writeln!(f, "  {}: {nodes}, {bytes}", shown(&owned.owner))?;
    }
    match owners.is_empty() {
        true => writeln!(f, "There are no nodes."),
        false => Ok(()),
    }
}

fn show_made(f: &mut fmt::Formatter<'_>, made: &Made) -> fmt::Result {
    let (nodes, bytes) = (count(made.nodes, "node"), size(made.bytes));
    writeln!(f, "Backup of {nodes}, {bytes}: {}", made.path.display())?;
    show_lacks(f, made.aside, &made.without_changes)
}

/// What a file does not have.
fn show_lacks(f: &mut fmt::Formatter<'_>, aside: usize, without_changes: &[NodeId]) -> fmt::Result {
    if aside > 0 {
        writeln!(f, "{} set aside, and not in it.", count(aside, "node"))?;
    }
    if !without_changes.is_empty() {
        let nodes = count(without_changes.len(), "node");
        writeln!(
            f,
            "WITHOUT THE LAST CHANGES of {nodes}, which the server cannot read:"
        )?;
        for id in without_changes.iter().take(LISTED) {
            writeln!(f, "  {id}")?;
        }
    }
    match without_changes.len().saturating_sub(LISTED) {
        0 => Ok(()),
        more => writeln!(f, "  … and {more} more"),
    }
}

/// Where there is what another session has taken the place of.
pub(super) fn show_before(f: &mut fmt::Formatter<'_>, backup: Option<&Made>) -> fmt::Result {
    let Some(made) = backup else {
        return Ok(());
    };
    writeln!(f, "What was there before is in {}", made.path.display())?;
    // What is set aside is where it was.
    show_lacks(f, 0, &made.without_changes)
}

fn show_unsaved(f: &mut fmt::Formatter<'_>, why: Option<&str>) -> fmt::Result {
    match why {
        Some(why) => writeln!(
            f,
            "It is NOT ON THE DISK yet, and if the server ended now what was there before would be \
             back: {why}"
        ),
        None => Ok(()),
    }
}

fn show_backups(f: &mut fmt::Formatter<'_>, backups: &[Found]) -> fmt::Result {
    for found in backups {
        writeln!(f, "  {:>10}  {}", size(found.bytes), found.name)?;
    }
    match backups.is_empty() {
        true => writeln!(f, "There are no backups."),
        false => Ok(()),
    }
}

pub(super) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        number => format!("{number} {what}s"),
    }
}

pub(crate) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u64); 3] = [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    for (unit, one) in UNITS {
        if bytes >= one {
            return format!("{:.1} {unit}", bytes as f64 / one as f64);
        }
    }
    format!("{bytes} B")
}
