//! What the subcommands answer, in words and as JSON.

use std::fmt::{self, Display};
use std::path::PathBuf;

use serde::Serialize;

use crate::admin::answer::{count, show_before, size};
use crate::backup::{Found, Made};
use crate::text::shown;

/// A session that is kept.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Kept {
    pub(super) session: String,
    /// `stopped`, `running`, or what is wrong.
    pub(super) state: String,
    pub(super) nodes: Option<usize>,
    pub(super) bytes: Option<u64>,
    pub(super) disk_bytes: Option<u64>,
    /// Version of the clients that wrote last, or which versions that may be.
    pub(super) clients: Option<String>,
    pub(super) backups: usize,
}

/// The sessions of a data directory.
#[derive(Serialize)]
pub(super) struct Listing {
    pub(super) sessions: Vec<Kept>,
}

/// A session with all there is of it.
#[derive(Serialize)]
pub(super) struct Shown {
    #[serde(flatten)]
    pub(super) kept: Kept,
    pub(super) directory: PathBuf,
    pub(super) backup_files: Vec<Found>,
}

/// A session came from a file.
#[derive(Serialize)]
pub(super) struct Imported {
    pub(super) imported: PathBuf,
    pub(super) nodes: usize,
    /// What was there before.
    pub(super) backup: Option<Made>,
    /// It was damaged, and is here now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) damaged: Option<PathBuf>,
}

/// A session that was damaged is empty.
#[derive(Serialize)]
pub(super) struct Emptied {
    pub(super) damaged: PathBuf,
}

/// What could be read of a damaged session is there again.
#[derive(Serialize)]
pub(super) struct Recovered {
    pub(super) recovered: usize,
    pub(super) lost: Vec<String>,
    /// Not fit for others, as they were found.
    pub(super) refused: Vec<String>,
    pub(super) searched: bool,
    pub(super) damaged: PathBuf,
}

impl Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.session, self.state)?;
        if let (Some(nodes), Some(bytes)) = (self.nodes, self.bytes) {
            write!(f, ": {}, {}", count(nodes, "node"), size(bytes))?;
        }
        if let Some(clients) = &self.clients {
            write!(f, ", clients' version {}", shown(clients))?;
        }
        write!(f, ", {}", count(self.backups, "backup"))
    }
}

impl Display for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for kept in &self.sessions {
            writeln!(f, "{kept}")?;
        }
        match self.sessions.is_empty() {
            true => writeln!(f, "There are no sessions."),
            false => Ok(()),
        }
    }
}

impl Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.kept)?;
        writeln!(f, "in {}", self.directory.display())?;
        if let Some(bytes) = self.kept.disk_bytes {
            writeln!(f, "{} on disk", size(bytes))?;
        }
        for found in &self.backup_files {
            writeln!(f, "  {:>10}  {}", size(found.bytes), found.path.display())?;
        }
        Ok(())
    }
}

impl Display for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = count(self.nodes, "node");
        writeln!(f, "{nodes} from {}", self.imported.display())?;
        show_before(f, self.backup.as_ref())?;
        match &self.damaged {
            Some(path) => writeln!(f, "The damaged session is in {}", path.display()),
            None => Ok(()),
        }
    }
}

impl Display for Emptied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let damaged = self.damaged.display();
        writeln!(
            f,
            "The session is empty. It was damaged, and is in {damaged}"
        )
    }
}

impl Display for Recovered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} recovered, {} lost",
            count(self.recovered, "node"),
            self.lost.len()
        )?;
        for lost in &self.lost {
            writeln!(f, "  lost: {lost}")?;
        }
        for refused in &self.refused {
            writeln!(
                f,
                "  refused, as other artists could not load it: {refused}"
            )?;
        }
        if self.searched {
            let what = "The index could not be read: nodes are as they were when last found, deleted \
                ones may be back, and others may be missing that are not listed.";
            writeln!(f, "{what}")?;
        }
        writeln!(f, "The damaged session is in {}", self.damaged.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::sessions::SessionError;

    #[test]
    fn one_node_is_one() {
        let text = |nodes| {
            let imported = Imported {
                imported: "one.db".into(),
                nodes,
                backup: None,
                damaged: None,
            };
            imported.to_string()
        };
        assert_eq!(text(1), "1 node from one.db\n");
        assert_eq!(text(2), "2 nodes from one.db\n");
        let recovered = Recovered {
            recovered: 1,
            lost: Vec::new(),
            refused: Vec::new(),
            searched: false,
            damaged: "aside".into(),
        };
        let recovered = recovered.to_string();
        assert!(
            recovered.starts_with("1 node recovered, 0 lost\n"),
            "{recovered}"
        );
        let occupied = SessionError::Occupied {
            name: "default".to_owned(),
            nodes: 1,
        };
        let occupied = occupied.to_string();
        assert!(
            occupied.starts_with("session default has 1 node: "),
            "{occupied}"
        );
    }
}
