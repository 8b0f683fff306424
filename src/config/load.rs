//! Loading: finds the configuration file, lays the layers over each other, reads password files
//! and completes what depends on the environment. Called by `main` once at the start.

use std::{
    collections::BTreeMap,
    env, fs, io,
    path::{Path, PathBuf},
};

use figment::{
    Figment,
    providers::Serialized,
    value::{Empty, Tag, Value},
};

use super::{
    error::{ConfigError, ConfigErrors, Origin},
    flags::Flags,
    keys::KEYS,
    kind::Kind,
    layers::{self, CONFIG_VARIABLE, CONTAINER_VARIABLE, Given, Layer},
    passwords,
    tree::Config,
    validate,
};

/// Looked for in the current directory.
const LOCAL_FILE: &str = "multi-user-server.toml";
/// Looked for when there is none in the current directory.
const SYSTEM_FILE: &str = "/etc/multi-user-server/config.toml";

/// Where the image has its volume.
const CONTAINER_DATA: &str = "/data";

/// A configuration, and where it comes from. `Display` is what `print-config` prints.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The configuration. Paths are absolute; passwords from files are in it.
    pub config: Config,
    /// Where each value comes from.
    pub origins: Origins,
    /// The files that were read: the configuration file, if there is one, and password files.
    pub sources: Vec<PathBuf>,
}

impl Loaded {
    /// The [sources](Self::sources) in words.
    #[must_use]
    pub fn files(&self) -> String {
        let files = self.sources.iter().map(|path| path.display().to_string());
        let files = files.collect::<Vec<_>>().join(", ");
        if files.is_empty() {
            "no configuration file".to_owned()
        } else {
            files
        }
    }
}

/// Where the value of each key comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Origins(BTreeMap<&'static str, Origin>);

impl Origins {
    /// Where the value of the key with that full name (`net.grace`) comes from.
    #[must_use]
    pub fn of(&self, key: &str) -> &Origin {
        self.0.get(key).unwrap_or(&Origin::Default)
    }

    /// The keys that don't have their fixed default, and where their values come from.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, &Origin)> {
        self.0.iter().map(|(key, origin)| (*key, origin))
    }
}

/// Loads the configuration of this process: defaults < file < environment < flags.
///
/// # Errors
/// All mistakes at once.
pub fn load(flags: &Flags) -> Result<Loaded, ConfigErrors> {
    let text = |text: std::ffi::OsString| text.to_string_lossy().into_owned();
    let variables = env::vars_os().map(|(name, value)| (text(name), text(value)));
    let cwd = env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
    load_with(flags, variables, &cwd)
}

/// [`load`] with the environment and the (absolute) current directory handed in.
///
/// # Errors
/// All mistakes at once.
pub fn load_with(
    flags: &Flags,
    env: impl Iterator<Item = (String, String)>,
    cwd: &Path,
) -> Result<Loaded, ConfigErrors> {
    let env: BTreeMap<String, String> = env.collect();
    let mut errors = Vec::new();
    let mut sources = Vec::new();

    let mut layers = Vec::new();
    match find_file(flags, &env, cwd, Path::new(SYSTEM_FILE)) {
        Ok(Some((path, text))) => {
            layers.push(layers::from_toml(&path, &text));
            sources.push(path);
        }
        Ok(None) => {}
        Err(error) => errors.push(error),
    }
    layers.push(layers::from_container(&env, cwd));
    layers.push(layers::from_environment(&env, cwd));
    layers.push(layers::from_flags(flags, cwd));

    let mut wrong = Vec::new();
    for layer in &mut layers {
        errors.append(&mut layer.errors);
        wrong.append(&mut layer.wrong);
        make_paths_absolute(layer, cwd);
        passwords::settle_forms(layer, &mut errors);
    }

    let mut values = data_dir_default(&env, cwd);
    for layer in layers {
        passwords::give_way(&mut values, &layer);
        values.extend(layer.values);
    }
    passwords::read_files(&mut values, &mut sources, &mut errors);
    drop_empty(&mut values);

    let config = match extract(&values) {
        Ok(config) => config,
        // The checks of single keys are stricter than the types, so this is a bug; a test
        // feeds both with anything.
        Err(error) => {
            errors.push(error);
            return Err(ConfigErrors::new(errors));
        }
    };
    let origins = values.into_iter().map(|(key, given)| (key, given.origin));
    let origins = Origins(origins.collect());
    errors.extend(validate::contradictions(&config, &origins, &wrong));
    if errors.is_empty() {
        Ok(Loaded {
            config,
            origins,
            sources,
        })
    } else {
        Err(ConfigErrors::new(errors))
    }
}

/// The configuration file and its text: the one that was named, or else the first that exists.
fn find_file(
    flags: &Flags,
    env: &BTreeMap<String, String>,
    cwd: &Path,
    system: &Path,
) -> Result<Option<(PathBuf, String)>, ConfigError> {
    let flag = flags
        .config
        .as_ref()
        .map(|path| (path.clone(), Origin::Flag { flag: "--config" }));
    let named = flag.or_else(|| {
        let path = env.get(CONFIG_VARIABLE).filter(|path| !path.is_empty())?;
        let variable = CONFIG_VARIABLE.to_owned();
        Some((PathBuf::from(path), Origin::Environment { variable }))
    });
    let read = |path: &Path, by: Option<Origin>| {
        let path = cwd.join(path);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some((path, text))),
            Err(error) if by.is_none() && error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(ConfigError::Unreadable {
                path,
                by,
                why: error.to_string(),
            }),
        }
    };
    match named {
        Some((path, by)) => read(&path, Some(by)),
        None => match read(Path::new(LOCAL_FILE), None)? {
            Some(found) => Ok(Some(found)),
            None => read(system, None),
        },
    }
}

/// Paths in a file are relative to the file, those of variables and flags to where the program
/// was started.
fn make_paths_absolute(layer: &mut Layer, cwd: &Path) {
    let base = cwd.join(&layer.base);
    for key in KEYS.iter().filter(|key| key.kind.is_path()) {
        if let Some(given) = layer.values.get_mut(key.name)
            && let Some(path) = given.value.as_str().filter(|path| !path.is_empty())
        {
            given.value = absolute(&base, path);
        }
    }
}

/// What is optional and set to nothing is not set.
fn drop_empty(values: &mut BTreeMap<&'static str, Given>) {
    for key in KEYS.iter() {
        if matches!(key.kind, Kind::OptionalPath | Kind::OptionalVersion)
            && let Some(given) = values.get_mut(key.name)
            && given.value.as_str() == Some("")
        {
            given.value = Value::Empty(Tag::Default, Empty::None);
        }
    }
}

fn absolute(base: &Path, path: &str) -> Value {
    Value::from(base.join(path).to_string_lossy().into_owned())
}

/// Where data goes if nobody says.
fn data_dir_default(env: &BTreeMap<String, String>, cwd: &Path) -> BTreeMap<&'static str, Given> {
    // systemd names several directories with colons between; the first is ours.
    let first = |text: &str| text.split(':').next().unwrap_or_default().to_owned();
    let home = [
        ("STATE_DIRECTORY", ""),
        ("XDG_DATA_HOME", "multi-user-server"),
        ("HOME", ".local/share/multi-user-server"),
    ];
    let found = home.into_iter().find_map(|(variable, below)| {
        let text = env.get(variable)?;
        let dir = if variable == "STATE_DIRECTORY" {
            first(text)
        } else {
            text.clone()
        };
        // Relative ones are to be ignored (XDG base directory specification); a service
        // without a home has "/".
        (Path::new(&dir).is_absolute() && dir != "/").then(|| {
            (
                Path::new(&dir).join(below),
                Origin::DefaultFrom { variable },
            )
        })
    });
    let container = layers::in_container(env).then(|| {
        let variable = CONTAINER_VARIABLE;
        (
            PathBuf::from(CONTAINER_DATA),
            Origin::DefaultFrom { variable },
        )
    });
    let (path, origin) = container
        .or(found)
        .unwrap_or_else(|| (cwd.join(Config::default().data_dir), Origin::Default));
    let value = Value::from(
        path.components()
            .collect::<PathBuf>()
            .to_string_lossy()
            .into_owned(),
    );
    BTreeMap::from([("data_dir", Given { value, origin })])
}

/// The tree from the defaults and `values`.
fn extract(values: &BTreeMap<&'static str, Given>) -> Result<Config, ConfigError> {
    let mut figment = Figment::from(Serialized::defaults(Config::default()));
    for (key, given) in values {
        figment = figment.merge(Serialized::default(key, &given.value));
    }
    figment.extract().map_err(|error: figment::Error| {
        let origin = values
            .get(error.path.join(".").as_str())
            .map(|given| given.origin.clone());
        ConfigError::BadValue {
            at: origin.unwrap_or(Origin::Default),
            found: format!("the value of {}", error.path.join(".")),
            problem: Some(error.kind.to_string()),
            expected: "another value".to_owned(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_system_file_is_read_when_nothing_nearer_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let (cwd, system) = (dir.path().join("cwd"), dir.path().join("config.toml"));
        fs::create_dir(&cwd).unwrap();
        let find = || {
            let found = find_file(&Flags::default(), &BTreeMap::new(), &cwd, &system).unwrap();
            found.map(|(path, text)| (path.strip_prefix(dir.path()).unwrap().to_owned(), text))
        };
        assert_eq!(find(), None);
        fs::write(&system, "port = 1").unwrap();
        assert_eq!(find(), Some(("config.toml".into(), "port = 1".to_owned())));
        fs::write(cwd.join(LOCAL_FILE), "port = 2").unwrap();
        assert_eq!(
            find(),
            Some((Path::new("cwd").join(LOCAL_FILE), "port = 2".to_owned()))
        );
    }
}
