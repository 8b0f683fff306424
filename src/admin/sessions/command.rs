//! What `session` can do, as it is said on the [command line](crate::cli).

use std::path::PathBuf;

use clap::Subcommand;

/// What to do with a session that is kept on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum SessionCommand {
    /// List the sessions in the data directory
    List,
    /// Tell what is in a session, and which backups there are of it
    Show,
    /// Write a session to a file that Blender opens
    Export {
        /// The file, which must not exist; the add-on wants it to end with .db
        file: PathBuf,
    },
    /// Make a session of a file that was saved in Blender, or exported
    Import {
        /// The file
        file: PathBuf,
        /// Also if there is a session already; it is saved as a backup before
        #[arg(long)]
        replace: bool,
    },
    /// Go back to a backup; what is there is saved as a backup before
    Restore {
        /// "latest", or its name or a part of it
        #[arg(default_value = "latest")]
        backup: String,
    },
    /// Save what can be read of a damaged session; the damaged one stays beside it
    Recover,
    /// Empty a session; what is there is saved as a backup before
    Reset,
}
