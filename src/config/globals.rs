//! Names beside the usual that nodes may use: what add-ons of one's own need, at one's own risk.

use std::{collections::BTreeSet, fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// A Python class or function by its full name, such as `numpy.core.multiarray.scalar`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct GlobalName {
    module: String,
    name: String,
}

/// Longest name, in bytes.
const MAX: usize = 200;

/// Modules, and packages of modules, with which a pickle can do anything to a computer. To permit
/// one of their names would hand everybody's machine to everybody in the session.
const MODULES: [&str; 44] = [
    "__builtin__",
    "__main__",
    "_codecs",
    "_io",
    "_operator",
    "_pickle",
    "_posixsubprocess",
    "_thread",
    "asyncio",
    "bdb",
    "bpy",
    "builtins",
    "code",
    "codecs",
    "commands",
    "copyreg",
    "ctypes",
    "distutils",
    "functools",
    "imp",
    "importlib",
    "io",
    "marshal",
    "multiprocessing",
    "nt",
    "operator",
    "os",
    "pathlib",
    "pdb",
    "pickle",
    "pip",
    "pkgutil",
    "posix",
    "pty",
    "runpy",
    "shutil",
    "site",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "timeit",
    "types",
    "webbrowser",
];

/// Names that are as bad in any module, since modules pass on what they import.
const NAMES: [&str; 8] = [
    "compile", "eval", "exec", "getattr", "load", "open", "popen", "system",
];

impl GlobalName {
    /// The module.
    #[must_use]
    pub fn module(&self) -> &str {
        &self.module
    }

    /// The name in it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl FromStr for GlobalName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let part = |part: &str| {
            let letter = |c: char| c.is_ascii_alphabetic() || c == '_';
            part.starts_with(letter) && part.chars().all(|c| letter(c) || c.is_ascii_digit())
        };
        let halves = text.rsplit_once('.');
        let Some((module, name)) = halves.filter(|_| text.split('.').all(part)) else {
            return Err(format!("{text:?} is no module with a name"));
        };
        if text.len() > MAX {
            return Err("a name is too long".to_owned());
        }
        // Anywhere in it: packages pass on the modules they import.
        let bad = module.split('.').any(|part| MODULES.contains(&part))
            || MODULES.contains(&name)
            || NAMES.contains(&name)
            || name.starts_with("__");
        if bad {
            return Err(format!(
                "with {text:?} everybody could run anything on everybody's computer"
            ));
        }
        Ok(Self {
            module: module.to_owned(),
            name: name.to_owned(),
        })
    }
}

/// Whether all of them are permissible, and different.
pub(super) fn check<'a>(list: impl Iterator<Item = &'a str>) -> Result<(), String> {
    let mut seen = BTreeSet::new();
    for text in list {
        if !seen.insert(text.parse::<GlobalName>()?) {
            return Err(format!("{text:?} is there twice"));
        }
    }
    Ok(())
}

impl fmt::Display for GlobalName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

impl TryFrom<String> for GlobalName {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<GlobalName> for String {
    fn from(name: GlobalName) -> Self {
        name.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_a_module() {
        let name: GlobalName = "numpy._core.multiarray.scalar".parse().unwrap();
        assert_eq!(
            (name.module(), name.name()),
            ("numpy._core.multiarray", "scalar")
        );
        assert_eq!(name.to_string(), "numpy._core.multiarray.scalar");
        for text in [
            "numpy.dtype",
            "mathutils.Vector",
            "collections.deque",
            "a.b1._c",
        ] {
            assert!(text.parse::<GlobalName>().is_ok(), "{text}");
        }
        let long = format!("a.{}", "x".repeat(200));
        for text in [
            "", "numpy", ".x", "x.", "a..b", "a b.c", "a.b\n", "ä.b", "1.b", "a.1", &long,
        ] {
            assert!(text.parse::<GlobalName>().is_err(), "{text}");
        }
    }

    #[test]
    fn what_would_run_anything_is_refused() {
        for text in [
            "os.system",
            "posix.system",
            "nt.system",
            "subprocess.Popen",
            "builtins.eval",
            "builtins.set",
            "__builtin__.eval",
            "sys.modules",
            "importlib.import_module",
            "importlib.util.spec_from_loader",
            "runpy.run_path",
            "shutil.rmtree",
            "socket.socket",
            "ctypes.CDLL",
            "pickle.loads",
            "numpy.os.system",
            "numpy.os",
            "a.load",
            "numpy.eval",
            "a.__import__",
        ] {
            let error = text.parse::<GlobalName>().unwrap_err();
            assert!(error.contains("run anything"), "{text}: {error}");
        }
    }
}
