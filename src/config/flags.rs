//! The flags of the [command line](crate::cli) that set keys of the configuration: its strongest
//! [layer](super::layers), which checks their values, too.

use std::path::PathBuf;

use clap::Args;

use super::secret::Secret;

/// Settings from the command line; absent ones leave the word to weaker layers.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Settings")]
pub struct Flags {
    /// Configuration file [env: MULTI_USER_CONFIG] [default: ./multi-user-server.toml, or else
    /// /etc/multi-user-server/config.toml, if there is one]
    #[arg(long, value_name = "FILE", global = true)]
    pub config: Option<PathBuf>,

    /// IP address to listen on; may be repeated [env: MULTI_USER_BIND] [default: 0.0.0.0 and ::]
    #[arg(long, value_name = "ADDRESS", global = true)]
    pub bind: Vec<String>,

    /// First port; up to three above it are used too [env: MULTI_USER_PORT] [default: 5555]
    #[arg(
        short,
        long,
        value_name = "PORT",
        global = true,
        allow_hyphen_values = true
    )]
    pub port: Option<String>,

    /// Silence after which a user is lost: "2s", or a number of milliseconds
    /// [env: MULTI_USER_TIMEOUT] [default: 2s]
    #[arg(
        short,
        long,
        value_name = "DURATION",
        global = true,
        allow_hyphen_values = true
    )]
    pub timeout: Option<String>,

    /// Password that makes a user admin; other users of this machine can see it here, a file is
    /// better [env: MULTI_USER_SESSION__ADMIN_PASSWORD] [default: generated at the first start]
    #[arg(
        long,
        visible_alias = "password",
        value_name = "PASSWORD",
        global = true,
        allow_hyphen_values = true
    )]
    pub admin_password: Option<Secret>,

    /// File that holds the admin password [env: MULTI_USER_SESSION__ADMIN_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    pub admin_password_file: Option<String>,

    /// Password needed to join; '' or None for none; other users of this machine can see it
    /// here, a file is better [env: MULTI_USER_SESSION__SERVER_PASSWORD] [default: none]
    #[arg(
        long,
        value_name = "PASSWORD",
        global = true,
        allow_hyphen_values = true
    )]
    pub server_password: Option<Secret>,

    /// File that holds the server password [env: MULTI_USER_SESSION__SERVER_PASSWORD_FILE]
    #[arg(long, value_name = "FILE", global = true)]
    pub server_password_file: Option<String>,

    /// Directory for sessions and backups [env: MULTI_USER_DATA_DIR] [default: $STATE_DIRECTORY,
    /// or else $XDG_DATA_HOME/multi-user-server, or else ~/.local/share/multi-user-server, or else
    /// ./multi-user-data]
    #[arg(long, value_name = "DIR", global = true)]
    pub data_dir: Option<String>,

    /// error, warn, info, debug or trace, or directives such as
    /// "info,multi_user_server::net=debug" [env: MULTI_USER_LOG__LEVEL] [default: info]
    #[arg(short, long, value_name = "LEVEL", global = true)]
    pub log_level: Option<String>,

    /// File that gets every log line as well [env: MULTI_USER_LOG__FILE] [default: none]
    #[arg(long, value_name = "FILE", global = true)]
    pub log_file: Option<String>,

    /// human or json [env: MULTI_USER_LOG__FORMAT] [default: human]
    #[arg(long, value_name = "FORMAT", global = true)]
    pub log_format: Option<String>,

    /// End when the last user has left or the program that started this one has ended
    /// [env: MULTI_USER_RUNTIME__ATTACHED]
    #[arg(long, global = true)]
    pub attached: bool,
}

impl Flags {
    /// The settings that were given: flag, key, texts (more than one only for a list).
    pub(crate) fn settings(&self) -> Vec<(&'static str, &'static str, Vec<&str>)> {
        let admin = self.admin_password.as_ref().map(Secret::reveal);
        let server = self.server_password.as_ref().map(Secret::reveal);
        let single = [
            ("--port", "port", self.port.as_deref()),
            ("--timeout", "timeout", self.timeout.as_deref()),
            ("--admin-password", "session.admin_password", admin),
            (
                "--admin-password-file",
                "session.admin_password_file",
                self.admin_password_file.as_deref(),
            ),
            ("--server-password", "session.server_password", server),
            (
                "--server-password-file",
                "session.server_password_file",
                self.server_password_file.as_deref(),
            ),
            ("--data-dir", "data_dir", self.data_dir.as_deref()),
            ("--log-level", "log.level", self.log_level.as_deref()),
            ("--log-file", "log.file", self.log_file.as_deref()),
            ("--log-format", "log.format", self.log_format.as_deref()),
            (
                "--attached",
                "runtime.attached",
                self.attached.then_some("true"),
            ),
        ];
        let mut given = Vec::new();
        if !self.bind.is_empty() {
            given.push((
                "--bind",
                "bind",
                self.bind.iter().map(String::as_str).collect(),
            ));
        }
        let single = single.into_iter();
        given.extend(single.filter_map(|(flag, key, text)| Some((flag, key, vec![text?]))));
        given
    }
}
