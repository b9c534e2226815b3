//! How an event becomes a line.

use std::{
    fmt::{self, Write as _},
    time::SystemTime,
};

use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{Layer, layer::Context};

use super::writer::Queue;
use crate::{config::LogFormat, rfc3339, text::printable};

/// Renders events and queues them.
pub(super) struct Lines {
    format: LogFormat,
    /// The journal reads: it wants the priority before the line, and has the time itself.
    journal: bool,
    queue: Queue,
}

impl Lines {
    pub(super) fn new(format: LogFormat, journal: bool, queue: Queue) -> Self {
        Self {
            format,
            journal,
            queue,
        }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let metadata = event.metadata();
        let now = SystemTime::now();
        self.queue.push(match self.format {
            LogFormat::Text if self.journal => {
                let (level, target) = (*metadata.level(), metadata.target());
                format!("<{}>{}", priority(level), rest(level, target, &fields))
            }
            LogFormat::Text => text(now, *metadata.level(), metadata.target(), &fields),
            LogFormat::Json => json(now, *metadata.level(), metadata.target(), fields),
        });
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let shown = format!("{value:?}");
        match field.name() {
            "message" => self.message = shown,
            name => self.others.push((name, Value::String(shown))),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.message = value.to_owned(),
            name => self.others.push((name, Value::String(value.to_owned()))),
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.others.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.others.push((field.name(), value.into()));
    }
}

/// Priorities as sd-daemon(3) has them.
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}

fn text(now: SystemTime, level: Level, target: &str, fields: &Fields) -> String {
    format!(
        "{} {level:<5} {}",
        rfc3339::millis(now),
        rest(level, target, fields)
    )
}

/// The line without time and level.
fn rest(level: Level, target: &str, fields: &Fields) -> String {
    let mut line = printable(&fields.message);
    for (name, value) in &fields.others {
        // Writing to a string does not fail.
        let _ = match value.as_str() {
            Some(text) if is_plain(text) => write!(line, " {name}={text}"),
            Some(text) => write!(line, " {name}=\"{}\"", printable(text)),
            None => write!(line, " {name}={value}"),
        };
    }
    if level >= Level::DEBUG {
        let _ = write!(line, " ({target})");
    }
    line.push('\n');
    line
}

fn json(now: SystemTime, level: Level, target: &str, fields: Fields) -> String {
    let mut object = Map::new();
    object.insert("time".to_owned(), rfc3339::millis(now).into());
    object.insert(
        "level".to_owned(),
        level.as_str().to_ascii_lowercase().into(),
    );
    object.insert("target".to_owned(), target.into());
    object.insert("message".to_owned(), fields.message.into());
    for (name, value) in fields.others {
        object.insert(name.to_owned(), value);
    }
    format!("{}\n", Value::Object(object))
}

fn is_plain(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && byte != b'"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_value_stays_on_its_line_in_both_formats() {
        let fields = || Fields {
            message: "session closed: \n2026-01-01 ERROR forged".to_owned(),
            others: vec![
                ("reason", Value::String("\x1b[2J\r\nx".to_owned())),
                ("peer", "tor1".into()),
            ],
        };
        let line = text(SystemTime::UNIX_EPOCH, Level::INFO, "t", &fields());
        assert_eq!(
            line,
            "1970-01-01T00:00:00.000Z INFO  session closed: \\n2026-01-01 ERROR forged reason=\"\\u{1b}[2J\\r\\nx\" peer=tor1\n"
        );
        let line = json(SystemTime::UNIX_EPOCH, Level::INFO, "t", fields());
        assert_eq!(line.matches('\n').count(), 1);
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["reason"], "\x1b[2J\r\nx");
        assert_eq!(value["level"], "info");
    }
}
