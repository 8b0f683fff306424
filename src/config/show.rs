//! The configuration as text: what `print-config` prints, and values as errors show them.

use std::fmt::{self, Write};

use figment::value::{Num, Value};

use super::{
    error::{Origin, Setting},
    keys::{KEYS, Key},
    kind::{Kind, whole},
    load::Loaded,
    tree::Config,
};

/// Longest value an error repeats, in characters.
const SHORT: usize = 60;

impl fmt::Display for Loaded {
    /// The configuration in effect as TOML, each value with where it comes from. What is not set
    /// and what is secret is commented out, so that the whole can serve as a configuration file
    /// (with passwords from elsewhere).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tree = tree(&self.config);
        let mut section = "";
        for key in &KEYS {
            let (above, leaf) = key.name.rsplit_once('.').unwrap_or(("", key.name));
            if above != section {
                write!(f, "\n[{above}]\n")?;
                section = above;
            }
            let value = tree.find_ref(key.name);
            let hidden = matches!(key.kind, Kind::Secret) || value.is_none_or(is_unset);
            let comment = if hidden { "# " } else { "" };
            let origin = self.origins.of(key.name);
            writeln!(
                f,
                "{comment}{leaf} = {} # {origin}{}",
                shown(value),
                remark(key, value, origin)
            )?;
        }
        Ok(())
    }
}

/// What the value alone doesn't tell.
fn remark(key: &Key, value: Option<&Value>, origin: &Origin) -> &'static str {
    match key.name {
        "session.admin_password" if value.is_none_or(is_unset) => ": generated at the first start",
        "port" if value.and_then(whole) == Some(0) => ": any free ports",
        _ if value.is_none_or(is_unset) && *origin == Origin::Default => ": none",
        _ => "",
    }
}

/// A key of `config` as an error shows it.
pub(super) fn setting(config: &Config, key: &'static str, origin: Origin) -> Setting {
    Setting {
        key,
        value: shown(tree(config).find_ref(key)),
        origin,
    }
}

/// A value in TOML, cut where it is long.
pub(super) fn shortened(value: &Value) -> String {
    let text = toml(value);
    match text.char_indices().nth(SHORT) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// The tree as values, secrets masked.
fn tree(config: &Config) -> Value {
    // Serializing plain structs can't fail; should it, everything shows as not set.
    Value::serialize(config).unwrap_or_else(|_| Value::from(""))
}

fn is_unset(value: &Value) -> bool {
    matches!(value, Value::Empty(..))
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "\"\"".to_owned(), toml)
}

/// A value in TOML.
fn toml(value: &Value) -> String {
    match value {
        Value::String(_, text) => quoted(text),
        Value::Char(_, character) => quoted(&character.to_string()),
        Value::Bool(_, switch) => switch.to_string(),
        Value::Num(_, Num::F32(number)) => number.to_string(),
        Value::Num(_, Num::F64(number)) => number.to_string(),
        Value::Num(..) => whole(value).map_or_else(String::new, |number| number.to_string()),
        Value::Empty(..) => "\"\"".to_owned(),
        Value::Dict(..) => "a table".to_owned(),
        Value::Array(_, items) => {
            format!(
                "[{}]",
                items.iter().map(toml).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                // Writing to a String can't fail.
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
