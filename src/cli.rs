//! The command line. Parsed by `main`; the flags become the strongest layer of the
//! [configuration](crate::config), which also checks their values, so that a wrong flag is
//! reported together with wrong keys and variables.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::admin::Order;
use crate::admin::sessions::SessionCommand;
use crate::config::{Era, Flags, parse_millis_or_duration};
use crate::probe::Address;

/// Dedicated server for collaborative Blender sessions with the multi-user add-on.
///
/// Flags are stronger than environment variables, those are stronger than the configuration
/// file, and that is stronger than the defaults. Each key of the file has a variable:
/// net.grace is MULTI_USER_NET__GRACE.
#[derive(Clone, Debug, Default, Parser)]
#[command(version, max_term_width = 100, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do; to serve if nothing is said.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Settings.
    #[command(flatten)]
    pub flags: Flags,
}

/// What the program is to do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Run the server (the default)
    #[default]
    Serve,
    /// Check the configuration: print "ok" and the files it was read from, or all mistakes
    ///
    /// Ends with status 2 if there are mistakes.
    CheckConfig,
    /// Print the configuration in effect as TOML, with where each value comes from
    ///
    /// Passwords are not shown.
    PrintConfig,
    /// Show the admin password, or change the one that was generated
    ///
    /// One that is configured (by a flag, a variable or the configuration file) is changed where
    /// it is configured.
    AdminPassword(AdminPasswordArgs),
    /// Tell whether a session server can be reached and joined, seen from here
    ///
    /// Looks at the first port and the three above it, of this server or of the add-on's own. A
    /// session that is going on is not disturbed: nothing is done but what anybody may.
    #[command(after_help = "\
Exit status:
  0  all ports that are needed answer as they should
  1  some do not
  2  mistakes in the command line or configuration, or the name is unknown
  3  there is no session server, or no way to it")]
    Probe(ProbeArgs),
    /// Have the running server do something: who is there, kick, backup, stop, …
    ///
    /// Works on the machine of the server, for the user who runs it, through a socket in the data
    /// directory; in a container as "podman exec NAME /multi-user-server ctl …".
    #[cfg(unix)]
    Ctl(CtlArgs),
    /// Look at what is kept of sessions, copy it to and from session files, bring it back
    ///
    /// For a server that runs as well as for one that does not. Session files are those of the
    /// add-on (.db): what is exported opens in Blender, and what Blender has saved can be imported
    /// and hosted.
    Session(SessionArgs),
    /// Print a script that completes flags and subcommands in a shell
    Completions {
        /// Which shell
        shell: Shell,
    },
    /// Print the manual page
    Man,
}

pub use clap_complete::Shell;

/// What `admin-password` is to do besides showing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Args)]
pub struct AdminPasswordArgs {
    /// Read another one from standard input
    #[arg(long)]
    pub set: bool,
    /// Generate another one
    #[arg(long, conflicts_with = "set")]
    pub new: bool,
}

/// What the running server is to do.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct CtlArgs {
    /// Print one JSON object instead of words
    #[arg(long, global = true)]
    pub json: bool,

    /// The session of the server that is meant [default: session.name of the configuration]
    #[arg(long, value_name = "NAME", global = true)]
    pub session: Option<String>,

    /// What to do
    #[command(subcommand)]
    pub order: Order,
}

/// What to do with a session that is kept on the disk.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct SessionArgs {
    /// Print one JSON object instead of words
    #[arg(long, global = true)]
    pub json: bool,

    /// The session's name [default: session.name of the configuration]
    #[arg(long, value_name = "NAME", global = true)]
    pub name: Option<String>,

    /// What to do
    #[command(subcommand)]
    pub command: SessionCommand,
}

/// Whom to probe, and how to tell.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
pub struct ProbeArgs {
    /// Name or IP address of the server (IPv6 in brackets), and its first port if that is not the
    /// configured one [default: this machine, where the configuration has it listen]
    #[arg(value_name = "HOST[:PORT]")]
    pub address: Option<Address>,

    /// The clients whose ports have to answer [default: those of session.clients]
    #[arg(long, value_name = "CLIENTS", value_delimiter = ',')]
    pub clients: Vec<Era>,

    /// How long to wait for answers at most, all ports together: "3s", or a number of milliseconds
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = wait)]
    pub wait: Duration,

    /// Print one JSON object instead of words
    #[arg(long)]
    pub json: bool,

    /// Print nothing: the exit status tells
    #[arg(short, long, conflicts_with = "json")]
    pub quiet: bool,
}

fn wait(text: &str) -> Result<Duration, String> {
    match parse_millis_or_duration(text) {
        Ok(wait) if !wait.is_zero() && wait <= LONGEST_WAIT => Ok(wait),
        _ => Err(
            "expected a duration such as \"3s\" or a number of milliseconds, from 1ms to 10m"
                .to_owned(),
        ),
    }
}

const LONGEST_WAIT: Duration = Duration::from_secs(600);

/// The original's short flags, which are words behind a single dash, and what they are here.
const SHORT_WORDS: [(&str, &str); 4] = [
    ("-pwd", "--admin-password"),
    ("-apwd", "--admin-password"),
    ("-spwd", "--server-password"),
    ("-lf", "--log-file"),
];

/// The arguments with the original's short words (`-pwd`, `-apwd`, `-spwd`, `-lf`) written out,
/// alone or as in `-pwd=…`.
pub fn expand(arguments: impl IntoIterator<Item = OsString>) -> Vec<OsString> {
    let written_out = |argument: OsString| {
        let Some(text) = argument.to_str() else {
            return argument;
        };
        let (word, value) = match text.split_once('=') {
            Some((word, value)) => (word, Some(value)),
            None => (text, None),
        };
        match SHORT_WORDS.iter().find(|(short, _)| *short == word) {
            Some((_, long)) => value.map_or_else(|| long.into(), |v| format!("{long}={v}").into()),
            None => argument,
        }
    };
    arguments.into_iter().map(written_out).collect()
}
