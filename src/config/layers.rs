//! The layers of the configuration, each with its values checked where they were written: a
//! TOML file, environment variables, flags. [`load`](super::load()) lays them over each other.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use figment::{
    Provider,
    providers::{Format, Toml},
    value::{Dict, Value},
};

use super::{
    error::{ConfigError, Origin},
    flags::Flags,
    keys::{self, Key},
    kind::Kind,
    show,
};

/// Every variable of ours starts with this.
const PREFIX: &str = "MULTI_USER_";

/// The variable that names the configuration file: no key of the file itself.
pub(super) const CONFIG_VARIABLE: &str = "MULTI_USER_CONFIG";

/// Set in container images: there the short variables of the original's image count as well.
pub(crate) const CONTAINER_VARIABLE: &str = "MULTI_USER_CONTAINER";

/// The variables of the images people know (lower case; capitals and dashes do as well), and the
/// keys they set.
const SHORT_VARIABLES: [(&str, &str); 8] = [
    ("port", "port"),
    ("password", "session.admin_password"),
    ("admin_password", "session.admin_password"),
    ("server_password", "session.server_password"),
    ("timeout", "timeout"),
    ("log_level", "log.level"),
    ("log_file", "log.file"),
    ("data_dir", "data_dir"),
];

/// One value, and where it was written.
#[derive(Clone, Debug)]
pub(super) struct Given {
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// The values of one layer by the full name of their keys, all of them right for their keys.
#[derive(Debug, Default)]
pub(super) struct Layer {
    pub(super) values: BTreeMap<&'static str, Given>,
    /// Keys whose values were wrong.
    pub(super) wrong: Vec<&'static str>,
    pub(super) errors: Vec<ConfigError>,
    /// What relative paths in this layer are relative to.
    pub(super) base: PathBuf,
}

/// The text of a configuration file.
pub(super) fn from_toml(path: &Path, text: &str) -> Layer {
    let base = path
        .parent()
        .map_or_else(|| PathBuf::from("/"), Path::to_owned);
    let mut layer = Layer {
        base,
        ..Layer::default()
    };
    // Windows' editors put a byte order mark first.
    let text = text.trim_start_matches('\u{feff}');
    match Toml::string(text).data() {
        Ok(profiles) => profiles
            .into_values()
            .for_each(|dict| layer.add_table(path, "", dict)),
        Err(error) => layer.errors.push(ConfigError::Syntax {
            path: path.to_owned(),
            message: without_excerpt(&error.to_string()),
        }),
    }
    layer
}

/// The environment's `MULTI_USER_…` variables. Empty ones count as not set: that is how compose
/// files and unit files spell "not set", and it must not open a session that has a password.
pub(super) fn from_environment(variables: &BTreeMap<String, String>, cwd: &Path) -> Layer {
    let mut layer = Layer {
        base: cwd.to_owned(),
        ..Layer::default()
    };
    for (variable, text) in variables {
        let Some(rest) = variable.strip_prefix(PREFIX) else {
            continue;
        };
        let no_key = [CONFIG_VARIABLE, CONTAINER_VARIABLE].contains(&variable.as_str());
        if text.is_empty() || no_key || is_injected(rest) {
            continue;
        }
        let origin = Origin::Environment {
            variable: variable.clone(),
        };
        let name = rest.to_lowercase().replace("__", ".");
        let Some(key) = keys::find(&name) else {
            let nearest = keys::nearest(&name).map(variable_of);
            layer.errors.push(ConfigError::Unknown {
                at: origin,
                nearest,
            });
            continue;
        };
        if let Some(first) = layer.values.get(key.name) {
            let first = first.origin.clone();
            layer.errors.push(ConfigError::Twice {
                first,
                second: origin,
            });
            continue;
        }
        layer.add(key, key.kind.value_of(text), origin);
    }
    layer
}

/// The short variables, in a container only: elsewhere a `PORT` or `TIMEOUT` is somebody else's.
/// Weaker than the variables with our prefix.
pub(super) fn from_container(variables: &BTreeMap<String, String>, cwd: &Path) -> Layer {
    let mut layer = Layer {
        base: cwd.to_owned(),
        ..Layer::default()
    };
    if !in_container(variables) {
        return layer;
    }
    for (variable, text) in variables {
        let name = variable.to_lowercase().replace('-', "_");
        let short = SHORT_VARIABLES.iter().find(|(short, _)| *short == name);
        let Some(key) = short.and_then(|(_, key)| keys::find(key)) else {
            continue;
        };
        if text.is_empty() {
            continue;
        }
        let value = key.kind.value_of(text);
        let origin = Origin::Environment {
            variable: variable.clone(),
        };
        match layer.values.get(key.name) {
            // `PORT` and `port` with one value are no mistake.
            Some(first) if first.value == value => {}
            Some(first) => layer.errors.push(ConfigError::Twice {
                first: first.origin.clone(),
                second: origin,
            }),
            None => layer.add(key, value, origin),
        }
    }
    layer
}

/// Whether this is a container made of our image.
pub(super) fn in_container(variables: &BTreeMap<String, String>) -> bool {
    variables
        .get(CONTAINER_VARIABLE)
        .is_some_and(|text| !text.is_empty() && text != "0")
}

/// The flags.
pub(super) fn from_flags(flags: &Flags, cwd: &Path) -> Layer {
    let mut layer = Layer {
        base: cwd.to_owned(),
        ..Layer::default()
    };
    for (flag, name, texts) in flags.settings() {
        let Some(key) = keys::find(name) else {
            continue;
        };
        layer.add(
            key,
            key.kind.value_of(&texts.join(",")),
            Origin::Flag { flag },
        );
    }
    layer
}

/// The environment variable of a key.
pub(super) fn variable_of(key: &str) -> String {
    format!("{PREFIX}{}", key.replace('.', "__").to_uppercase())
}

impl Layer {
    /// Adds the keys of a table that is at `prefix` (empty, or with a dot at its end).
    ///
    /// Recursion is as deep as sections are: unknown tables aren't entered.
    fn add_table(&mut self, path: &Path, prefix: &str, table: Dict) {
        for (name, value) in table {
            let name = format!("{prefix}{name}");
            let at = || Origin::File {
                path: path.to_owned(),
                key: name.clone(),
            };
            match (keys::find(&name), value) {
                (Some(key), value) => self.add(key, value, at()),
                (None, Value::Dict(_, table)) if keys::is_section(&name) => {
                    self.add_table(path, &format!("{name}."), table);
                }
                (None, _) if keys::is_section(&name) => {
                    self.errors.push(ConfigError::NotASection {
                        at: at(),
                        section: name,
                    });
                }
                (None, value) => {
                    let nearest = match value {
                        Value::Dict(..) => keys::nearest_section(&name),
                        _ => keys::nearest(&name),
                    };
                    let nearest = nearest.map(str::to_owned);
                    self.errors.push(ConfigError::Unknown { at: at(), nearest });
                }
            }
        }
    }

    fn add(&mut self, key: &'static Key, value: Value, origin: Origin) {
        match key.kind.check(&value) {
            Ok(()) => {
                self.values.insert(key.name, Given { value, origin });
            }
            Err(problem) => {
                self.wrong.push(key.name);
                let expected = match origin {
                    Origin::Environment { .. } | Origin::Flag { .. } => key.kind.expected_in_text(),
                    _ => key.kind.to_string(),
                };
                self.errors.push(ConfigError::BadValue {
                    at: origin,
                    found: match key.kind {
                        Kind::Secret => "this password can't be used".to_owned(),
                        _ => show::shortened(&value),
                    },
                    problem,
                    expected,
                });
            }
        }
    }
}

/// Whether an orchestrator put the variable there for a service that is called like this
/// program (`MULTI_USER_SERVER_PORT_5555_TCP`, …). No key of ours looks like this.
fn is_injected(rest: &str) -> bool {
    let rest = rest.strip_prefix("SERVER_").unwrap_or(rest);
    rest.starts_with("SERVICE_")
        || rest
            .strip_prefix("PORT_")
            .is_some_and(|port| port.starts_with(|c: char| c.is_ascii_digit()))
}

/// A TOML error without the line it quotes, which may hold a password.
fn without_excerpt(message: &str) -> String {
    let is_excerpt = |line: &str| {
        line.trim_start()
            .trim_start_matches(|c: char| c.is_ascii_digit())
            .trim()
            .starts_with('|')
    };
    let lines = message
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty());
    let message = lines
        .filter(|line| !is_excerpt(line))
        .collect::<Vec<_>>()
        .join(", ");
    message.trim_start_matches("TOML parse error ").to_owned()
}
