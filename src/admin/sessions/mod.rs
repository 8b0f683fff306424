//! What is kept of sessions: `session list`, `show`, `export`, `import`, `restore`, `recover`,
//! `reset`. Called by the subcommand.
//!
//! The store of a session belongs to one process. If that is a running server, it is asked through
//! its socket; otherwise the store is opened here.

mod command;
mod report;
mod sound;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

pub use self::command::SessionCommand;
use self::report::{Emptied, Imported, Kept, Listing, Recovered, Shown};
use self::sound::{Sound, whole};
use super::answer::Answer;
use crate::backup::{self, BackupError, Reason, unix_seconds};
use crate::config::{Config, available_memory, is_session_name};
use crate::session::{Snapshot, settings};
use crate::store::disk::rename_for_good;
use crate::store::{self, Options, Store, StoreError, SystemDisk};
use crate::text::shown;
use crate::wire::pickle::Budget;

/// What was done, or is there.
#[derive(Clone, Debug, PartialEq)]
pub struct Done {
    /// In words.
    pub text: String,
    /// As JSON.
    pub data: Value,
}

impl Done {
    fn new(done: &(impl Serialize + Display)) -> Self {
        Self {
            text: done.to_string(),
            data: serde_json::to_value(done).unwrap_or_default(),
        }
    }
}

#[cfg(unix)]
impl From<super::client::Answered> for Done {
    fn from(answered: super::client::Answered) -> Self {
        let (text, data) = (answered.text, answered.data);
        Self { text, data }
    }
}

/// Why it is not done.
#[derive(Debug, Error)]
pub enum SessionError {
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The file or backup cannot be used.
    #[error("{0}")]
    File(String),
    /// No backup could be made of what is there.
    #[error("the session is not touched: {0}")]
    Backup(#[from] BackupError),
    /// There is something that would be lost.
    #[error(
        "session {name} has {nodes} nodes: say --replace to put another one in its place (it is \
         saved as a backup before), or choose another --name"
    )]
    Occupied {
        /// The session's name.
        name: String,
        /// What it has.
        nodes: usize,
    },
    /// The server that has it was asked.
    #[cfg(unix)]
    #[error(transparent)]
    Server(#[from] super::client::ClientError),
    /// A server has it, and this cannot be done then.
    #[error("session {name} is in use by a running server: stop it first")]
    InUse {
        /// The session's name.
        name: String,
    },
    /// The file system refuses.
    #[error("can't {what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// With what.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
}

fn io_error(what: &'static str, path: &Path, source: io::Error) -> SessionError {
    SessionError::Io {
        what,
        path: path.to_owned(),
        source,
    }
}

/// Gives a session's folder another name, for good.
fn rename(from: &Path, to: &Path) -> Result<(), SessionError> {
    let renamed = rename_for_good(&SystemDisk, from, to);
    renamed.map_err(|error| io_error("rename", from, error))
}

/// `session recover` did not come to its end.
#[derive(Debug, Error)]
#[error(
    "\"session recover\" was ended before it was done: run it again (what it has saved is in {})",
    .0.display()
)]
pub struct Interrupted(PathBuf);

/// Whether what is in a session's folder, which may be nothing, is all there is of it.
///
/// # Errors
/// If it was being recovered.
pub fn check_not_interrupted(dir: &Path) -> Result<(), Interrupted> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let recovering = dir.with_file_name(format!(".{name}.recovering"));
    match recovering.exists() && !dir.exists() {
        true => Err(Interrupted(recovering)),
        false => Ok(()),
    }
}

/// Carries out a subcommand for the session of this name.
///
/// # Errors
/// Why it is not possible; nothing has changed then.
pub fn run(command: &SessionCommand, name: &str, config: &Config) -> Result<Done, SessionError> {
    if !is_session_name(name) {
        let rule = "a session's name has 1 to 64 letters, digits, -, _ and .";
        return Err(SessionError::File(format!("{}: {rule}", shown(name))));
    }
    let here = Here::new(name, config);
    match command {
        SessionCommand::List => list(config),
        SessionCommand::Show => here.show(),
        SessionCommand::Export { file } => here.export(file),
        SessionCommand::Import { file, replace } => here.import(file, *replace),
        SessionCommand::Restore { backup } => {
            let found = backup::find(&here.backups, name, backup);
            here.import(&found.map_err(SessionError::File)?, true)
        }
        SessionCommand::Recover => here.recover(),
        SessionCommand::Reset => here.reset(),
    }
}

/// One session's places.
struct Here<'a> {
    name: &'a str,
    dir: PathBuf,
    backups: PathBuf,
    #[cfg(unix)]
    data_dir: &'a Path,
    content: Budget,
    limits: backup::Limits,
}

/// All sessions of a data directory.
fn list(config: &Config) -> Result<Done, SessionError> {
    let dir = config.data_dir.join("sessions");
    let mut names = Vec::new();
    match std::fs::read_dir(&dir) {
        Ok(entries) => {
            for entry in entries {
                let entry = entry.map_err(|error| io_error("list", &dir, error))?;
                let name = entry.file_name().into_string();
                names.extend(name.ok().filter(|name| is_session_name(name)));
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(io_error("list", &dir, error)),
    }
    #[cfg(unix)]
    names.extend(super::client::running(&config.data_dir));
    names.sort();
    names.dedup();
    let sessions = names.iter().map(|name| Here::new(name, config).kept());
    let sessions = sessions.collect();
    Ok(Done::new(&Listing { sessions }))
}

impl<'a> Here<'a> {
    fn new(name: &'a str, config: &'a Config) -> Self {
        let limits = config.session.limits(available_memory());
        let content = settings::content(config, limits.node.as_usize());
        Self {
            name,
            dir: config.data_dir.join("sessions").join(name),
            backups: backup::directory(config, name),
            #[cfg(unix)]
            data_dir: &config.data_dir,
            content,
            limits: backup::Limits::new(config, limits.session.as_usize(), content),
        }
    }

    /// The store, if no server has it. `None` if one has.
    fn store(&self) -> Result<Option<Store>, SessionError> {
        // One that keeps nothing on the disk has no need of the store.
        #[cfg(unix)]
        if super::client::is_running(self.data_dir, self.name) {
            return Ok(None);
        }
        match Store::open_existing(&self.dir, Options::default()) {
            Ok(store) => Ok(Some(store)),
            Err(StoreError::Locked { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The store, if no server has it and all of it can be read.
    fn sound_store(&self) -> Result<Option<Sound>, SessionError> {
        let store = self.store()?;
        Ok(store.map(Sound::check).transpose()?)
    }

    fn kept(&self) -> Kept {
        let backups = backup::list(&self.backups, self.name).map_or(0, |all| all.len());
        let nothing = |state| Kept {
            session: self.name.to_owned(),
            state,
            nodes: None,
            bytes: None,
            disk_bytes: None,
            clients: None,
            backups,
        };
        match self.store() {
            Ok(None) => self.running(nothing("running".to_owned())),
            Err(error) => nothing(error.to_string()),
            Ok(Some(store)) => {
                let summary = store.summary();
                Kept {
                    nodes: Some(summary.nodes),
                    bytes: Some(summary.live_bytes),
                    disk_bytes: Some(summary.disk_bytes),
                    clients: clients(&summary.meta),
                    ..nothing("stopped".to_owned())
                }
            }
        }
    }

    /// What the server that has it says of it. If it says nothing, because it is still loading, no
    /// more is known.
    fn running(&self, nothing: Kept) -> Kept {
        #[cfg(unix)]
        if let Ok(stats) = self.ask(&super::Order::Stats) {
            let number = |key| stats.data.get(key).and_then(Value::as_u64);
            let clients = stats.data.get("clients").and_then(Value::as_str);
            return Kept {
                nodes: number("nodes").and_then(|nodes| usize::try_from(nodes).ok()),
                bytes: number("bytes"),
                clients: clients.map(str::to_owned),
                ..nothing
            };
        }
        nothing
    }

    fn show(&self) -> Result<Done, SessionError> {
        // What is wrong with it is an error here, and part of the list there.
        self.store()?;
        let files = backup::list(&self.backups, self.name);
        let files = files.map_err(|error| io_error("list", &self.backups, error))?;
        Ok(Done::new(&Shown {
            kept: self.kept(),
            directory: self.dir.clone(),
            backup_files: files,
        }))
    }

    fn export(&self, file: &Path) -> Result<Done, SessionError> {
        let file = std::path::absolute(file).map_err(|error| io_error("find", file, error))?;
        let Some(store) = self.store()? else {
            #[cfg(unix)]
            return Ok(super::client::export(self.data_dir, self.name, &file)?.into());
            #[cfg(not(unix))]
            return Err(self.in_use());
        };
        let summary = store.summary();
        let made = backup::write_file(&file, self.name, self.content, whole(&store, &summary))?;
        Ok(Done::new(&Answer::exported(made)))
    }

    /// A backup of what is in the store, if there is anything.
    fn back_up(&self, sound: &Sound, reason: Reason) -> Result<Option<backup::Made>, SessionError> {
        if sound.present() == 0 {
            return Ok(None);
        }
        let place = backup::Place {
            dir: &self.backups,
            session: self.name,
            content: self.content,
        };
        let summary = sound.store.summary();
        let made = place.write(reason, whole(&sound.store, &summary))?;
        Ok(Some(made))
    }

    fn import(&self, file: &Path, replace: bool) -> Result<Done, SessionError> {
        let file = std::path::absolute(file).map_err(|error| io_error("find", file, error))?;
        let (sound, is_damaged) = match self.sound_store() {
            Ok(Some(sound)) if sound.present() > 0 && !replace => {
                let (name, nodes) = (self.name.to_owned(), sound.present());
                return Err(SessionError::Occupied { name, nodes });
            }
            Ok(Some(sound)) => (Some(sound), false),
            Err(SessionError::Store(StoreError::Missing { .. })) => (None, false),
            Ok(None) => return self.import_running(&file, replace),
            Err(SessionError::Store(StoreError::Damaged { .. })) if replace => (None, true),
            Err(error) => return Err(error),
        };
        let other = backup::read_file(&file, &self.limits).map_err(SessionError::File)?;
        // Not before: what cannot be read makes no session.
        let damaged = is_damaged.then(|| self.set_aside()).transpose()?;
        let mut sound = match sound {
            Some(sound) => sound,
            None => Sound::check(Store::open(&self.dir, Options::default())?)?,
        };
        let backup = self.back_up(&sound, Reason::Restore)?;
        let nodes = sound.put(other)?;
        Ok(Done::new(&Imported {
            imported: file,
            nodes,
            backup,
            damaged,
        }))
    }

    /// Has the server that runs the session import the file.
    fn import_running(&self, file: &Path, replace: bool) -> Result<Done, SessionError> {
        #[cfg(unix)]
        {
            let stats = self.ask(&super::Order::Stats)?;
            let nodes = stats.data.get("nodes").and_then(Value::as_u64).unwrap_or(0);
            let nodes = usize::try_from(nodes).unwrap_or(usize::MAX);
            if nodes > 0 && !replace {
                let name = self.name.to_owned();
                return Err(SessionError::Occupied { name, nodes });
            }
            let file = file.display().to_string();
            Ok(super::client::restore(self.data_dir, self.name, &file)?.into())
        }
        #[cfg(not(unix))]
        {
            let _ = (file, replace);
            Err(self.in_use())
        }
    }

    fn reset(&self) -> Result<Done, SessionError> {
        let mut sound = match self.sound_store() {
            Ok(Some(sound)) => sound,
            #[cfg(unix)]
            Ok(None) => return self.ask(&super::Order::Reset),
            #[cfg(not(unix))]
            Ok(None) => return Err(self.in_use()),
            Err(SessionError::Store(StoreError::Damaged { .. })) => {
                let damaged = self.set_aside()?;
                return Ok(Done::new(&Emptied { damaged }));
            }
            Err(error) => return Err(error),
        };
        let backup = self.back_up(&sound, Reason::Reset)?;
        sound.put(Snapshot::default())?;
        Ok(Done::new(&Answer::Reset {
            backup,
            unsaved: None,
        }))
    }

    fn recover(&self) -> Result<Done, SessionError> {
        let new = self.beside("recovering");
        if new.exists() && !self.dir.exists() {
            // An earlier attempt was ended when all was done but the last step.
            rename(&new, &self.dir)?;
        }
        match self.sound_store() {
            Ok(Some(_)) => {
                let text = format!("session {} is not damaged\n", self.name);
                let data = serde_json::json!({ "damaged": false });
                return Ok(Done { text, data });
            }
            Ok(None) => return Err(self.in_use()),
            Err(SessionError::Store(StoreError::Damaged { .. })) => {}
            Err(error) => return Err(error),
        }
        if new.exists() {
            // Of an attempt that was ended.
            std::fs::remove_dir_all(&new).map_err(|error| io_error("remove", &new, error))?;
        }
        let report = self
            .limits
            .with_policy(|policy| store::recover(&self.dir, &new, policy))?;
        let damaged = self.set_aside()?;
        rename(&new, &self.dir)?;
        Ok(Done::new(&Recovered {
            recovered: report.nodes,
            lost: report.lost.iter().map(ToString::to_string).collect(),
            refused: report.refused.iter().map(ToString::to_string).collect(),
            searched: report.searched,
            damaged,
        }))
    }

    /// Gives the damaged session's folder another name, under which it stays.
    fn set_aside(&self) -> Result<PathBuf, SessionError> {
        let mut number = unix_seconds(SystemTime::now());
        let damaged = loop {
            let damaged = self.beside(&format!("damaged-{number}"));
            if !damaged.exists() {
                break damaged;
            }
            number = number.saturating_add(1);
        };
        rename(&self.dir, &damaged)?;
        Ok(damaged)
    }

    fn beside(&self, what: &str) -> PathBuf {
        // No session is called so.
        self.dir.with_file_name(format!(".{}.{what}", self.name))
    }

    fn in_use(&self) -> SessionError {
        SessionError::InUse {
            name: self.name.to_owned(),
        }
    }

    #[cfg(unix)]
    fn ask(&self, order: &super::Order) -> Result<Done, SessionError> {
        Ok(super::client::order(self.data_dir, self.name, order)?.into())
    }
}

/// Which clients a session is for.
fn clients(meta: &store::Meta) -> Option<String> {
    let version = meta.version.clone();
    version.or_else(|| meta.family.map(|family| family.clients().to_owned()))
}
