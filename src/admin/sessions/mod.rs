//! What is kept of sessions: `session list`, `show`, `export`, `import`, `restore`, `recover`,
//! `reset`. Called by the subcommand.
//!
//! The store of a session belongs to one process. If that is a running server, it is asked through
//! its socket; otherwise the store is opened here.

mod command;
mod error;
mod recover;
mod report;
mod sound;

use std::fmt::Display;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

pub use self::command::SessionCommand;
pub use self::error::SessionError;
use self::error::io_error;
pub use self::recover::{Interrupted, check_not_interrupted};
use self::report::{Emptied, Imported, Kept, Listing, Shown};
use self::sound::{Sound, whole};
use super::answer::Answer;
use crate::backup::{self, Reason};
use crate::config::{Config, available_memory, is_session_name};
use crate::session::{Snapshot, settings};
use crate::store::{self, Options, Store, StoreError};
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

/// Carries out a subcommand for the session of this name.
///
/// # Errors
/// Why it is not possible; nothing has changed then.
pub fn run(command: &SessionCommand, name: &str, config: &Config) -> Result<Done, SessionError> {
    check_name(name)?;
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

/// Whether a session may be called so: its files are.
///
/// # Errors
/// What it may be called.
pub fn check_name(name: &str) -> Result<(), SessionError> {
    match is_session_name(name) {
        true => Ok(()),
        false => Err(SessionError::Name(name.to_owned())),
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
