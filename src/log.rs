//! Log output: human lines or JSON on standard error, with stable event names.

use std::fmt;
use std::io::{self, IsTerminal};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::FmtContext;
use tracing_subscriber::fmt::format::{FmtSpan, FormatEvent, FormatFields, Writer};
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::registry::LookupSpan;

use crate::config::{LogConfig, LogFormat};

/// Installs the log for the whole process. A second call changes nothing.
pub fn init(config: &LogConfig) {
    let builder = tracing_subscriber::fmt()
        .with_env_filter(config.level.env_filter())
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    // Fails only if a log is installed already, as in tests.
    let _ = match config.format {
        LogFormat::Human => builder.try_init(),
        LogFormat::Json => builder.event_format(Json).try_init(),
    };
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
        let mut line = Line(Map::new());
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

struct Line(Map<String, Value>);

impl Line {
    /// Fields do not take the place of what describes the event.
    fn put(&mut self, key: &str, value: impl Into<Value>) {
        self.0.entry(key).or_insert_with(|| value.into());
    }
}

impl Visit for Line {
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
    use std::sync::Mutex;

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
