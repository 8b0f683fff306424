//! Passwords of the configuration: given as text or as a file, or not at all.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use figment::value::{Empty, Tag, Value};

use super::{
    error::{ConfigError, Setting},
    layers::{Given, Layer},
    secret::{MAX_PASSWORD, NO_PASSWORD, check_password, without_mark},
};

/// What both forms of a password are called.
struct Password {
    text: &'static str,
    file: &'static str,
}

const ADMIN: Password = Password {
    text: "session.admin_password",
    file: "session.admin_password_file",
};
const SERVER: Password = Password {
    text: "session.server_password",
    file: "session.server_password_file",
};

/// Puts the two forms of each password in a layer in order: at most one stays, and what means
/// "none" becomes an empty value.
pub(super) fn settle_forms(layer: &mut Layer, errors: &mut Vec<ConfigError>) {
    if text_of(layer.values.get(SERVER.text)) == Some(NO_PASSWORD) {
        set(&mut layer.values, SERVER.text, "");
    }
    if text_of(layer.values.get(ADMIN.text)) == Some(NO_PASSWORD)
        && let Some(given) = layer.values.remove(ADMIN.text)
    {
        errors.push(ConfigError::BadValue {
            at: given.origin,
            found: "this password can't be used".to_owned(),
            problem: Some(format!(
                "clients without a password may send {NO_PASSWORD:?}"
            )),
            expected: "another text, or \"\" to have one generated".to_owned(),
        });
    }
    for password in [ADMIN, SERVER] {
        let full = |key| text_of(layer.values.get(key)).map(|text: &str| !text.is_empty());
        match (full(password.text), full(password.file)) {
            (Some(true), Some(true)) => {
                let settings = [password.text, password.file]
                    .into_iter()
                    .filter_map(|key| {
                        let origin = layer.values.get(key)?.origin.clone();
                        Some(Setting {
                            key,
                            value: "…".to_owned(),
                            origin,
                        })
                    });
                errors.push(ConfigError::Contradiction {
                    problem: "a password is given as text and as a file: keep one".to_owned(),
                    settings: settings.collect(),
                });
                // Left out, or it would be reported once more when it is read.
                layer.values.remove(password.file);
            }
            (Some(true), Some(false)) => {
                layer.values.remove(password.file);
            }
            (Some(false), Some(_)) => {
                layer.values.remove(password.text);
            }
            _ => {}
        }
    }
}

/// Removes the passwords from `values` that `layer`, which is stronger, gives in the other form.
pub(super) fn give_way(values: &mut BTreeMap<&'static str, Given>, layer: &Layer) {
    for password in [ADMIN, SERVER] {
        for (one, other) in [
            (password.text, password.file),
            (password.file, password.text),
        ] {
            if layer.values.contains_key(one) {
                values.remove(other);
            }
        }
    }
}

/// Reads the password files and makes what means "none" an empty value.
pub(super) fn read_files(
    values: &mut BTreeMap<&'static str, Given>,
    sources: &mut Vec<PathBuf>,
    errors: &mut Vec<ConfigError>,
) {
    for password in [ADMIN, SERVER] {
        for key in [password.text, password.file] {
            if text_of(values.get(key)) == Some("")
                && let Some(given) = values.get_mut(key)
            {
                given.value = Value::Empty(Tag::Default, Empty::None);
            }
        }
        let Some(given) = values.get(password.file).cloned() else {
            continue;
        };
        let Some(path) = given.value.as_str().map(PathBuf::from) else {
            continue;
        };
        match read_file(&path) {
            Ok(text) => {
                let value = Value::from(text);
                values.insert(
                    password.text,
                    Given {
                        value,
                        origin: given.origin,
                    },
                );
                sources.push(path);
            }
            Err(why) => errors.push(ConfigError::PasswordFile {
                at: given.origin,
                path,
                why,
            }),
        }
    }
}

/// The password in a file: its text without the line break at its end, and the mark at its beginning.
fn read_file(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    // Bounded, for a path may name anything; with room for mark and line break and for one byte more.
    let limit = MAX_PASSWORD.saturating_add(6);
    File::open(path)
        .and_then(|file| {
            file.take(u64::try_from(limit).unwrap_or(u64::MAX))
                .read_to_end(&mut bytes)
        })
        .map_err(|error: io::Error| error.to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())?;
    let text = without_mark(&text);
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text == NO_PASSWORD {
        return Err(format!(
            "clients without a password may send {NO_PASSWORD:?}: take another"
        ));
    }
    check_password(text)?;
    Ok(text.to_owned())
}

fn text_of(given: Option<&Given>) -> Option<&str> {
    given.and_then(|given| given.value.as_str())
}

fn set(values: &mut BTreeMap<&'static str, Given>, key: &'static str, text: &str) {
    if let Some(given) = values.get_mut(key) {
        given.value = Value::from(text);
    }
}
