//! What backups are called: `SESSION_REASON_2026_11_23_18-05-00.db`, in UTC. The add-on ends the names
//! of its own session files like that.

use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Serialize;

use super::{Reason, unix_seconds};

/// What the name of a file ends with that the add-on opens.
pub(super) const ADD_ON: &str = "db";
/// What the name of one ends with that only this server reads.
pub(super) const OWN: &str = "musdb";
/// What a file ends with that is not finished.
pub(super) const UNFINISHED: &str = ".new";

/// A backup that is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Found {
    /// Its file's name.
    pub name: String,
    /// Where it is.
    pub path: PathBuf,
    /// Why it was made.
    pub reason: Reason,
    /// When: seconds since 1970.
    pub time: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// The name of a backup. `again` tells apart those made for the same reason within a second.
pub(super) fn name(
    session: &str,
    reason: Reason,
    time: SystemTime,
    again: u32,
    ending: &str,
) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    // 2026-11-23T18:05:00Z
    let (date, clock) = text.split_once('T').unwrap_or((&text, ""));
    let date = date.replace('-', "_");
    let clock = clock.trim_end_matches('Z').replace(':', "-");
    let again = match again {
        0 => String::new(),
        again => format!("_{}", again.saturating_add(1)),
    };
    format!("{session}_{}_{date}_{clock}{again}.{ending}", reason.word())
}

/// Why and when a backup of this name was made; `None` if it is none of this session's.
fn parse(session: &str, name: &str) -> Option<(Reason, u64)> {
    let rest = name.strip_prefix(session)?.strip_prefix('_')?;
    let (stem, ending) = rest.rsplit_once('.')?;
    if ending != ADD_ON && ending != OWN {
        return None;
    }
    let mut parts = stem.split('_');
    let reason = Reason::of(parts.next()?)?;
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let clock = parts.next()?.replace('-', ":");
    let time = humantime::parse_rfc3339(&format!("{year}-{month}-{day}T{clock}Z")).ok()?;
    let again = parts.next();
    let fits = again.is_none_or(|again| again.parse::<u32>().is_ok()) && parts.next().is_none();
    fits.then(|| (reason, unix_seconds(time)))
}

/// The backups of a session, the newest first. What else is in the directory is left alone.
///
/// # Errors
/// If the directory cannot be read; that it is missing is none.
pub fn list(directory: &Path, session: &str) -> io::Result<Vec<Found>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        if let Some((reason, time)) = parse(session, &name) {
            found.push(Found {
                path: entry.path(),
                name,
                reason,
                time,
                bytes: entry.metadata().map_or(0, |metadata| metadata.len()),
            });
        }
    }
    found.sort_by(|a, b| (b.time, &b.name).cmp(&(a.time, &a.name)));
    Ok(found)
}

/// The backup somebody means: `latest`, or a file's name or its beginning, or a path.
///
/// # Errors
/// Why there is none, and what to say instead.
pub fn find(directory: &Path, session: &str, which: &str) -> Result<PathBuf, String> {
    // Part of every name. Who asks for it meant something else.
    if which.trim().is_empty() {
        return Err("say which one: latest, a name or a part of it, or a path".to_owned());
    }
    let as_path = Path::new(which);
    if as_path.is_absolute() {
        return Ok(as_path.to_owned());
    }
    let all = list(directory, session)
        .map_err(|error| format!("can't list {}: {error}", directory.display()))?;
    let mut fitting = all
        .iter()
        .filter(|found| which == "latest" || found.name.contains(which));
    match (fitting.next(), fitting.next()) {
        (Some(newest), _) if which == "latest" => Ok(newest.path.clone()),
        (Some(found), None) => Ok(found.path.clone()),
        (Some(_), Some(_)) => {
            let exact = all.iter().find(|found| found.name == which);
            let several =
                || format!("several backups are called like {which:?}: say more of the name");
            exact.map(|found| found.path.clone()).ok_or_else(several)
        }
        (None, _) if which == "latest" => {
            Err(format!("there is no backup in {}", directory.display()))
        }
        (None, _) => Err(format!(
            "there is no backup {which:?} in {} (a path has to start with /)",
            directory.display()
        )),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn names_say_when_and_why() {
        let time = at(1_795_456_800);
        let plain = name("my_scene", Reason::Interval, time, 0, ADD_ON);
        assert_eq!(plain, "my_scene_interval_2026_11_23_18-00-00.db");
        for (again, ending) in [(0, ADD_ON), (1, OWN), (7, ADD_ON)] {
            for reason in Reason::ALL {
                let name = name("my_scene", reason, time, again, ending);
                assert_eq!(
                    parse("my_scene", &name),
                    Some((reason, 1_795_456_800)),
                    "{name}"
                );
            }
        }
        for other in [
            "my_scene.db",
            "my_scene_2026_11_23_18-00-00.db",
            "my_scene_interval_2026_11_23_18-00-00.db.new",
            "my_scene_interval_2026_13_23_18-00-00.db",
            "other_interval_2026_11_23_18-00-00.db",
        ] {
            assert_eq!(parse("my_scene", other), None, "{other}");
        }
    }

    #[test]
    fn backups_are_listed_and_found() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        assert_eq!(list(&dir.join("missing"), "s").unwrap(), []);
        let names = [
            name("s", Reason::Interval, at(1000), 0, ADD_ON),
            name("s", Reason::Stop, at(3000), 0, ADD_ON),
            name("s", Reason::Interval, at(2000), 0, OWN),
        ];
        for name in &names {
            std::fs::write(dir.join(name), "x").unwrap();
        }
        std::fs::write(dir.join("notes.txt"), "mine").unwrap();
        let found = list(dir, "s").unwrap();
        let order: Vec<_> = found.iter().map(|found| found.time).collect();
        assert_eq!(order, [3000, 2000, 1000]);
        assert_eq!(find(dir, "s", "latest"), Ok(dir.join(&names[1])));
        assert_eq!(find(dir, "s", &names[0]), Ok(dir.join(&names[0])));
        assert_eq!(find(dir, "s", "stop"), Ok(dir.join(&names[1])));
        assert_eq!(find(dir, "s", "/x/y.db"), Ok("/x/y.db".into()));
        for (wrong, why) in [
            ("interval", "several backups are called like \"interval\":"),
            ("nothing", "there is no backup \"nothing\" in "),
        ] {
            let said = find(dir, "s", wrong).unwrap_err();
            assert!(said.starts_with(why), "{said}");
        }
    }

    /// As a script says whose variable is not set.
    #[test]
    fn no_name_means_no_backup_not_even_the_only_one() {
        let directory = tempfile::tempdir().unwrap();
        let dir = directory.path();
        let only = name("s", Reason::Stop, at(1000), 0, ADD_ON);
        std::fs::write(dir.join(&only), "x").unwrap();
        assert_eq!(find(dir, "s", "stop"), Ok(dir.join(&only)));
        for nothing in ["", " "] {
            let said = find(dir, "s", nothing).unwrap_err();
            assert!(said.starts_with("say which one: "), "{said}");
        }
    }
}
