//! The fields of an event as text: `name="value" number=3`, the message as it is. What `tracing_subscriber` writes by default,
//! but without the machinery for colours, which costs more than all the rest. Knows fields; refuses to know lines.

use std::error::Error;
use std::fmt;

use tracing::field::{Field, Visit};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

/// Writes fields.
pub(super) struct Fields;

impl<'w> FormatFields<'w> for Fields {
    fn format_fields<R: RecordFields>(&self, line: Writer<'w>, fields: R) -> fmt::Result {
        let mut writing = Writing { line, is_first: true, result: Ok(()) };
        fields.record(&mut writing);
        writing.result
    }
}

struct Writing<'w> {
    line: Writer<'w>,
    is_first: bool,
    result: fmt::Result,
}

impl Writing<'_> {
    fn one(&mut self, field: &Field, write: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        if self.result.is_ok() {
            self.result = self.named(field.name()).and_then(|()| write(&mut self.line));
        }
    }

    fn named(&mut self, name: &str) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.line.write_char(' ')?;
        }
        if name != MESSAGE {
            self.line.write_str(name.strip_prefix("r#").unwrap_or(name))?;
            self.line.write_char('=')?;
        }
        Ok(())
    }
}

const MESSAGE: &str = "message";

/// What stands in quotes as it is.
fn is_plain(octet: u8) -> bool {
    (octet == b' ' || octet.is_ascii_graphic()) && octet != b'"' && octet != b'\\'
}

impl Visit for Writing<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.one(field, |line| write!(line, "{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == MESSAGE {
            self.one(field, |line| line.write_str(value));
        } else if value.bytes().all(is_plain) {
            self.one(field, |line| {
                line.write_char('"')?;
                line.write_str(value)?;
                line.write_char('"')
            });
        } else {
            self.record_debug(field, &value);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        self.one(field, |line| {
            write!(line, "{value}")?;
            let Some(mut source) = value.source() else { return Ok(()) };
            write!(line, " {}.sources=[{source}", field.name())?;
            while let Some(next) = source.source() {
                write!(line, ", {next}")?;
                source = next;
            }
            line.write_char(']')
        });
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use std::io;

    use tracing_subscriber::fmt::format::DefaultFields;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::super::sink::Sink;
    use super::Fields;

    fn said<F>(fields: F) -> String
    where
        F: for<'w> tracing_subscriber::fmt::FormatFields<'w> + Send + Sync + 'static,
    {
        let sink = Sink::default();
        let writer = sink.clone();
        let layer = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .without_time()
            .fmt_fields(fields)
            .with_writer(move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let inner = io::Error::other("the cause");
            let outer = io::Error::other(Outer(inner));
            let error: &(dyn std::error::Error + 'static) = &outer;
            let none: Option<&str> = None;
            let span = tracing::info_span!("span", of = "it", number = 1);
            let _entered = span.enter();
            tracing::info!(
                plain = "a b",
                quoted = "a\"b\\c\n\u{1b}ä",
                number = -3,
                real = 0.25,
                yes = true,
                none,
                "hello"
            );
            tracing::warn!(error, shown = %"x y", debugged = ?Some("z"), big = u128::MAX, r#type = "t");
            tracing::warn!("a \"message\" with {} things", 3);
        });
        sink.text()
    }

    #[derive(Debug)]
    struct Outer(io::Error);

    impl std::fmt::Display for Outer {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("what failed")
        }
    }

    impl std::error::Error for Outer {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    /// All of it is what it would be by default.
    #[test]
    fn as_by_default() {
        let ours = said(Fields);
        assert!(ours.contains("plain=\"a b\"") && ours.contains(".sources=["), "{ours}");
        assert_eq!(ours, said(DefaultFields::new()));
    }
}
