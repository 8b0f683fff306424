//! Scripts of this folder as long-lived processes, and values on their lines of text.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    thread,
};

use bytes::Bytes;
use multi_user_server::wire::pickle::{Budget, Protocol, Value, read, write};

/// Makes the environments that are missing.
pub(crate) fn make_environments() {
    let output = Command::new("python3").arg(script("venvs.py")).output();
    let output = output.unwrap_or_else(|error| panic!("python3 is needed for this test: {error}"));
    let said = [output.stdout, output.stderr].concat();
    assert!(
        output.status.success(),
        "deepdiff can't be installed: {}",
        String::from_utf8_lossy(&said)
    );
}

/// A script that answers each line with one.
pub(crate) struct Helper {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Helper {
    /// Starts a script of this folder with the deepdiff of a version.
    pub(crate) fn start(version: &str, name: &str, args: &[String]) -> Self {
        let mut child = Command::new(interpreter(version))
            .arg(script(name))
            .args(args)
            // What is made of sets is the same each time.
            .env("PYTHONHASHSEED", "0")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let input = child.stdin.take().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        Self {
            child,
            input,
            output,
        }
    }

    /// What a script says unasked.
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        assert!(line.ends_with('\n'), "a script ended early: {line}");
        line.pop();
        line
    }

    /// Asks, and waits for all answers.
    pub(crate) fn ask(&mut self, lines: &[String]) -> Vec<String> {
        let Self { input, output, .. } = self;
        // Both pipes hold less than what goes through them.
        thread::scope(|scope| {
            scope.spawn(move || {
                for line in lines {
                    input.write_all(format!("{line}\n").as_bytes()).unwrap();
                }
            });
            let answers: Vec<_> = output
                .lines()
                .take(lines.len())
                .map(Result::unwrap)
                .collect();
            assert_eq!(answers.len(), lines.len(), "a script ended early");
            answers
        })
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn script(name: &str) -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/delta");
    tests.join(name)
}

fn interpreter(version: &str) -> PathBuf {
    let target = || Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deepdiff");
    let parent = env::var_os("DEEPDIFF_VENVS").map_or_else(target, PathBuf::from);
    parent.join(version).join("bin/python")
}

fn bytes(hex: &str) -> Bytes {
    let digit = |byte: u8| (byte as char).to_digit(16).unwrap() as u8;
    let pairs = hex.as_bytes().chunks(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// The value that Python packed.
pub(crate) fn value(hex: &str) -> Value {
    read(&bytes(hex), &Budget::NODE).unwrap_or_else(|error| panic!("{error}: {hex}"))
}

/// A value as Python unpacks it.
pub(crate) fn hex(value: &Value) -> String {
    let digit = |digit: u8| char::from_digit(digit.into(), 16).unwrap();
    let pickle = write(value, Protocol::Four);
    pickle
        .iter()
        .flat_map(|byte| [digit(byte >> 4), digit(byte & 15)])
        .collect()
}
