//! Log output: human lines or JSON on standard error, and in a file if one is configured, with
//! stable event names. `main` starts it; `signals` has the file opened anew.
//!
//! Threads of its own write what is logged, for the disk, or who reads standard error, may take their
//! time. A line for the screen goes through the file's thread, if there is one: what was
//! seen on the screen is in the file, and what the screen does not take is in the file as well.

mod file;
mod queue;

use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber, warn};
use tracing_subscriber::fmt::format::{FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{self as lines, FmtContext, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::{LookupSpan, Registry};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use self::file::{LogFile, Turn};
use self::queue::Queue;
use crate::config::{LogConfig, LogFormat};

/// How long the end of the process may wait for what has been logged.
const AT_THE_END: Duration = Duration::from_secs(1);

/// The file of the log: there is one log in a process.
static FILE: OnceLock<LogFile> = OnceLock::new();

/// What is written there, and on the screen.
static QUEUES: OnceLock<Queues> = OnceLock::new();

/// Takes a line to the terminal; `false` if it can't.
type Printer = Box<dyn FnMut(String) -> bool + Send>;

/// While somebody types, lines go around what is being typed.
static PRINTING: Mutex<Printing> = Mutex::new(Printing {
    printer: None,
    changes: 0,
});

/// What prints lines.
struct Printing {
    /// `None` also while it prints.
    printer: Option<Printer>,
    /// How often it was replaced.
    changes: u64,
}

fn printing() -> MutexGuard<'static, Printing> {
    PRINTING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has lines for standard error printed by this, as long as it can. Waits for nothing: the one before
/// may be printing, and a terminal may never take that.
pub(crate) fn print_through(printer: Option<Printer>) {
    let mut printing = printing();
    printing.changes = printing.changes.wrapping_add(1);
    printing.printer = printer;
}

/// Writes a line on standard error, or on the terminal somebody types on. Called by one thread.
fn show(line: &[u8]) {
    let mut held = printing();
    let (printer, changes) = (held.printer.take(), held.changes);
    drop(held);
    if let Some(mut print) = printer
        && print(String::from_utf8_lossy(line).into_owned())
    {
        let mut held = printing();
        if held.changes == changes {
            held.printer = Some(print);
        }
        return;
    }
    // A closed one leaves nobody to tell.
    let _ = io::stderr().write_all(line);
}

/// Writes a line to the file. That this fails, and that it does no more, is logged as everything is: it
/// is seen at least on the screen.
fn keep(file: &LogFile, line: &[u8]) {
    match file.write(line) {
        None => {}
        Some(Turn::Fails(error)) => {
            warn!(name: "log.not_written", file = %file.path().display(), %error, "the log file cannot \
                be written; lines are missing there until it can");
        }
        Some(Turn::Works(lines)) => {
            warn!(name: "log.left_out", place = "file", lines, "the log file can be written again; \
                lines are missing there");
        }
    }
}

/// Where a line goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    File,
    Screen,
}

/// The lines that wait.
#[derive(Debug)]
struct Queues {
    /// For the file, and those for the screen that wait for them.
    file: Option<Queue<(Place, Vec<u8>)>>,
    screen: Queue<Vec<u8>>,
}

impl Queues {
    fn start(file: Option<&'static LogFile>) -> io::Result<Self> {
        let left_out = |place: &'static str| {
            move |lines: u64| {
                warn!(name: "log.left_out", place, lines, "lines of the log were left out: they came \
                    faster than they could be written");
            }
        };
        let screen = Queue::start(
            "log-screen",
            |line: Vec<u8>| show(&line),
            left_out("screen"),
        )?;
        let shown = screen.clone();
        let file = file.map(|file| {
            let write = move |(place, line): (Place, Vec<u8>)| match place {
                Place::File => keep(file, &line),
                Place::Screen => shown.push(line),
            };
            Queue::start("log-file", write, left_out("file"))
        });
        let file = file.transpose()?;
        Ok(Self { file, screen })
    }

    fn push(&self, place: Place, line: Vec<u8>) {
        match &self.file {
            Some(file) => file.push((place, line)),
            None => self.screen.push(line),
        }
    }
}

/// What the library writes lines with, each at once.
#[derive(Clone, Copy, Debug)]
struct Line<'a> {
    queues: &'a Queues,
    place: Place,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.queues.push(self.place, bytes.to_vec());
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Installs the log for the whole process. A second call changes nothing.
///
/// # Errors
///
/// If the configured file cannot be opened, or the system has no threads.
pub fn init(config: &LogConfig) -> io::Result<()> {
    let file = match &config.file {
        None => None,
        Some(path) => {
            let file = LogFile::open(path)?;
            Some(FILE.get_or_init(|| file))
        }
    };
    let queues = match QUEUES.get() {
        Some(queues) => queues,
        None => {
            let queues = Queues::start(file)?;
            QUEUES.get_or_init(|| queues)
        }
    };
    let writer = |place| move || Line { queues, place };
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|text| !text.is_empty());
    let colours = io::stderr().is_terminal() && !unwanted;
    // The file first: what was seen on the screen is in the file.
    let file = file.map(|_| layer(config.format, writer(Place::File), false));
    let screen = layer(config.format, writer(Place::Screen), colours);
    let layers: Vec<_> = file.into_iter().chain([screen]).collect();
    // Fails only if a log is installed already, as in tests.
    let _ = tracing_subscriber::registry()
        .with(config.level.env_filter())
        .with(layers)
        .try_init();
    Ok(())
}

/// Waits until all that was logged is written, but not long: whether it is.
pub fn flush() -> bool {
    QUEUES.get().is_none_or(|queues| {
        let file = queues.file.as_ref();
        file.is_none_or(|file| file.flush(AT_THE_END)) && queues.screen.flush(AT_THE_END)
    })
}

/// Opens the file of the log anew, if there is one: the old one may have been moved away.
///
/// # Errors
///
/// If it cannot be opened; the old one stays in use then.
#[cfg(unix)]
pub(crate) fn reopen() -> io::Result<()> {
    FILE.get().map_or(Ok(()), LogFile::reopen)
}

type Boxed = Box<dyn Layer<tracing_subscriber::layer::Layered<EnvFilter, Registry>> + Send + Sync>;

fn layer<W>(format: LogFormat, writer: W, colours: bool) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let layer = lines::layer()
        .with_writer(writer)
        .with_ansi(colours)
        .with_target(false)
        // A full disk is not to double every line on standard error.
        .log_internal_errors(false);
    match format {
        LogFormat::Human => Box::new(layer),
        LogFormat::Json => Box::new(layer.event_format(Json)),
    }
}

/// An object per line: `timestamp`, `level`, `event` (the stable name), `message`, and the
/// event's own fields. The library's format leaves out the name.
struct Json;

impl<S, N> FormatEvent<S, N> for Json
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut timestamp = String::new();
        SystemTime.format_time(&mut Writer::new(&mut timestamp))?;
        let metadata = event.metadata();
        let mut line = Object(Map::new());
        line.put("timestamp", timestamp);
        line.put("level", metadata.level().as_str());
        // Events without a name are called after their place in the source, which is not stable.
        if !metadata.name().starts_with("event ") {
            line.put("event", metadata.name());
        }
        event.record(&mut line);
        writeln!(writer, "{}", Value::Object(line.0))
    }
}

/// Fields whose text is JSON itself, never of a client's making.
const STRUCTURED: &[&str] = &["counters"];

struct Object(Map<String, Value>);

impl Object {
    /// Fields do not take the place of what describes the event.
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.entry(key).or_insert_with(|| value.into());
    }
}

impl Visit for Object {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        let value = STRUCTURED
            .contains(&field.name())
            .then(|| serde_json::from_str(&text).ok())
            .flatten()
            .unwrap_or(Value::String(text));
        self.put(field.name(), value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value);
    }
}

#[cfg(test)]
mod tests {
    use tracing::{info, warn};

    use super::*;

    #[test]
    fn a_json_line_has_the_stable_name_and_the_fields() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let log = tracing_subscriber::fmt()
            .with_writer(Mutex::new(file.reopen().unwrap()))
            .event_format(Json)
            .finish();
        tracing::subscriber::with_default(log, || {
            info!(name: "user.joined", user = "Zoë \"Z\"\n", admin = true, peers = 3, "logged in");
            info!(name: "server.counters", counters = %serde_json::json!({"kicks": 1}), "counters");
            warn!(level = "odd", place = %"here", "without a name");
        });
        let text = std::fs::read_to_string(file.path()).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        let [first, counters, second] = &lines[..] else {
            panic!("{text}");
        };
        let keys: Vec<&str> = first.as_object().unwrap().keys().map(|k| &**k).collect();
        assert_eq!(
            keys,
            [
                "timestamp",
                "level",
                "event",
                "message",
                "user",
                "admin",
                "peers"
            ]
        );
        assert_eq!(first["event"], "user.joined");
        assert_eq!(first["message"], "logged in");
        assert_eq!(first["user"], "Zoë \"Z\"\n");
        assert_eq!(
            (&first["admin"], &first["peers"]),
            (&true.into(), &3.into())
        );
        assert_eq!(counters["counters"]["kicks"], 1);
        assert_eq!(second["level"], "WARN");
        assert_eq!(second["place"], "here");
        assert!(second.get("event").is_none());
    }
}
