//! Diagnostics on standard error: text for people, text for systemd's journal, or JSON.
//!
//! Knows: how an event becomes one line, whatever is in it, and who is at the other end of standard error. Refuses to
//! know: what is worth saying. Standard output belongs to results and is never written here.
//!
//! Spans for a collector of traces go past all this: what is said here is filtered by itself, and is the same with and without
//! them.

mod fields;
mod lines;
#[cfg(test)]
mod sink;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::io::{IsTerminal, stderr};
use std::sync::{Mutex, OnceLock, PoisonError};

use common::api::LogLine;
use common::shown::is_deceptive;
use tracing::field::{Field, Visit};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::Registry;
use tracing_subscriber::filter::{FilterExt, LevelFilter, filter_fn};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::time::{FormatTime, SystemTime};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields, MakeWriter};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::reload;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

pub use self::lines::flush;
use crate::clock;
use crate::config::{Loaded, LogFormat, Logging, Source};
use crate::traces;

/// Libraries that say at finer levels what they sign, and how: signatures are secrets for as long as they are valid.
const SIGNERS: [&str; 6] =
    ["aws_config", "aws_credential_types", "aws_runtime", "aws_sdk_s3", "aws_sigv4", "aws_smithy_runtime"];

/// Why there are no diagnostics.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoggingError {
    /// A filter that the configuration would not have let through.
    #[error("the log filter is not valid")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// `init` was called before in this process.
    #[error("diagnostics are already set up")]
    Twice(#[from] TryInitError),
    /// The filter can't be replaced: there are no diagnostics any more.
    #[error("the log filter can't be replaced")]
    Gone(#[from] reload::Error),
}

/// Puts another filter in the place of that of the running subscriber.
type Refilter = Box<dyn Fn(EnvFilter) -> Result<(), reload::Error> + Send + Sync>;

/// That of the process, once its diagnostics are set up.
static REFILTER: OnceLock<Refilter> = OnceLock::new();

/// What makes the spans that go to a collector.
#[cfg(feature = "otlp")]
pub type Tracer = opentelemetry_sdk::trace::SdkTracer;
/// Nothing does in this program.
#[cfg(not(feature = "otlp"))]
pub type Tracer = std::convert::Infallible;

/// Sets up diagnostics for the whole process, and makes a panic one ERROR line (with the usual report after it if
/// RUST_BACKTRACE asks for one). With a tracer, spans of traces are made besides.
///
/// # Errors
/// [`LoggingError`]; neither happens to a process that calls this once with a loaded configuration.
pub fn init(logging: &Logging, tracer: Option<Tracer>) -> Result<(), LoggingError> {
    let filter = filter_of(logging)?;
    let refilter = match logging.format {
        LogFormat::Json => {
            let (subscriber, refilter) = json_subscriber(filter, lines::Stderr);
            start(subscriber, tracer)?;
            refilter
        }
        LogFormat::Text => {
            let (subscriber, refilter) = text_subscriber(filter, Style::of_stderr(logging), lines::Stderr);
            start(subscriber, tracer)?;
            refilter
        }
    };
    // Only the first call comes here.
    lines::gather();
    let _first = REFILTER.set(refilter);
    let usual_report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let location = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(location, "panic: {}", panic.payload_as_str().unwrap_or("without a message"));
        if Backtrace::capture().status() == BacktraceStatus::Captured {
            usual_report(panic);
        }
    }));
    Ok(())
}

/// Makes a subscriber that of the process. Without a tracer nothing asks for the spans of traces.
fn start<S>(subscriber: S, tracer: Option<Tracer>) -> Result<(), TryInitError>
where
    S: Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static,
{
    match tracer {
        None => subscriber.try_init(),
        #[cfg(feature = "otlp")]
        Some(tracer) => {
            let is_trace = |metadata: &tracing::Metadata<'_>| metadata.is_span() && metadata.target() == traces::TARGET;
            let layer = tracing_opentelemetry::layer()
                .with_tracer(tracer)
                .with_location(false)
                .with_threads(false)
                .with_target(false)
                .with_tracked_inactivity(false)
                .with_context_activation(false)
                .with_filter(filter_fn(is_trace).with_max_level_hint(LevelFilter::INFO));
            subscriber.with(layer).try_init()
        }
        #[cfg(not(feature = "otlp"))]
        Some(none) => match none {},
    }
}

/// Goes on with the filter of these settings; nothing else of them.
///
/// # Errors
/// [`LoggingError`]: the filter before it stays.
pub fn set_filter(logging: &Logging) -> Result<(), LoggingError> {
    let filter = filter_of(logging)?;
    match REFILTER.get() {
        Some(refilter) => Ok(refilter(filter)?),
        None => Ok(()),
    }
}

fn filter_of(logging: &Logging) -> Result<EnvFilter, LoggingError> {
    let mut filter = EnvFilter::try_new(&logging.filter)?;
    for target in SIGNERS {
        filter = filter.add_directive(format!("{target}=warn").parse()?);
    }
    Ok(filter)
}

/// Octets of most lines.
const LINE_OCTETS: usize = 384;
/// Lines that are kept for the console.
const NEWEST_MAX: usize = 50;
/// Characters of such a line.
const NEWEST_CHARS_MAX: usize = 300;

static NEWEST: Mutex<VecDeque<LogLine>> = Mutex::new(VecDeque::new());

/// The newest lines, oldest first, from INFO on and as far as the filter lets them through.
pub fn newest() -> Vec<LogLine> {
    NEWEST.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
}

/// Keeps the newest lines.
struct Newest;

impl<S: Subscriber> Layer<S> for Newest {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let level = *event.metadata().level();
        // Requests have figures of their own, and would leave no room for anything else.
        if level > Level::INFO || (level == Level::INFO && is_of_request(event.metadata())) {
            return;
        }
        let mut said = Said::default();
        event.record(&mut said);
        let text: String = (said.message + &said.fields).chars().take(NEWEST_CHARS_MAX).collect();
        let level = level.as_str().to_ascii_lowercase();
        let line = LogLine { at: clock::rfc3339(clock::now_ms()), level, text };
        let mut newest = NEWEST.lock().unwrap_or_else(PoisonError::into_inner);
        if newest.len() == NEWEST_MAX {
            newest.pop_front();
        }
        newest.push_back(line);
    }
}

/// Whether something is said of one request.
fn is_of_request(metadata: &tracing::Metadata<'_>) -> bool {
    metadata.fields().field("request_id").is_some()
}

/// What an event says, its message first.
#[derive(Default)]
struct Said {
    message: String,
    fields: String,
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        // Writing to a text can't fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value}"),
            name => write!(self.fields, " {name}={value}"),
        };
    }
}

/// Says what the configuration had to say, and which settings differ from their defaults, secrets masked.
pub fn report(loaded: &Loaded) {
    report_warnings(loaded);
    for notice in &loaded.notices {
        tracing::info!("{notice}");
    }
    let rows = loaded.rows();
    let changed: Vec<String> = rows
        .iter()
        .filter(|row| row.source != Source::Default)
        .map(|row| format!("{}={} ({})", row.name, row.value, row.source))
        .collect();
    if changed.is_empty() {
        tracing::info!("all settings have their defaults");
    } else {
        tracing::info!("settings: {}; all others have their defaults", changed.join(", "));
    }
}

/// The warnings alone, for commands that end at once.
pub fn report_warnings(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

/// How a line of text begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// Time and level, the level in colour or not.
    Stamped { color: bool },
    /// `<N>`, the priority that journald takes off again (sd-daemon(3)); the journal knows the time itself.
    Journal,
}

impl Style {
    fn of_stderr(logging: &Logging) -> Self {
        // The variable is inherited by children whose standard error leads elsewhere; systemd.exec(5) says to compare.
        let is_journal = |stream| rustix::fs::fstat(stderr()).is_ok_and(|stat| (stat.st_dev, stat.st_ino) == stream);
        if logging.journal_stream.is_some_and(is_journal) {
            Self::Journal
        } else {
            Self::Stamped { color: logging.color && stderr().is_terminal() }
        }
    }
}

fn text_subscriber<W>(
    filter: EnvFilter,
    style: Style,
    writer: W,
) -> (impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static, Refilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(writer)
        .with_ansi(false)
        .fmt_fields(fields::Fields)
        .event_format(OneLine(style));
    filtered(lines, filter)
}

fn json_subscriber<W>(
    filter: EnvFilter,
    writer: W,
) -> (impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static, Refilter)
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).json().flatten_event(true).with_span_list(false);
    filtered(lines, filter)
}

/// Lines, and the newest of them for the console, of what the filter lets through; never of traces. The filter is that of
/// these alone.
fn filtered<L>(
    lines: L,
    filter: EnvFilter,
) -> (impl Subscriber + for<'a> LookupSpan<'a> + Send + Sync + 'static, Refilter)
where
    L: Layer<Registry> + Send + Sync + 'static,
{
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let is_no_trace = |metadata: &tracing::Metadata<'_>| metadata.target() != traces::TARGET;
    let is_no_trace = filter_fn(is_no_trace).with_max_level_hint(LevelFilter::TRACE);
    let filter = FilterExt::<Registry>::and(filter, is_no_trace);
    let subscriber = tracing_subscriber::registry().with(lines.and_then(Newest).with_filter(filter));
    (subscriber, Box::new(move |filter| handle.reload(filter)))
}

/// An event as one line of text. Control characters in it are escaped: a value that a client chose must not be able to
/// begin a line of its own, nor to steer a terminal.
struct OneLine(Style);

impl<S, N> FormatEvent<S, N> for OneLine
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, context: &FmtContext<'_, S, N>, mut line: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let metadata = event.metadata();
        match self.0 {
            Style::Journal => write!(line, "<{}>", priority(*metadata.level()))?,
            Style::Stamped { color } => {
                SystemTime.format_time(&mut line)?;
                let (on, off) = if color { (color_of(*metadata.level()), "\u{1b}[0m") } else { ("", "") };
                write!(line, " {on}{:>5}{off} ", metadata.level())?;
            }
        }
        let mut text = String::with_capacity(LINE_OCTETS);
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            text.push_str(span.name());
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>().filter(|fields| !fields.is_empty()) {
                write!(text, "{{{fields}}}")?;
            }
            text.push_str(": ");
        }
        write!(text, "{}: ", metadata.target())?;
        context.format_fields(Writer::new(&mut text), event)?;
        let mut rest = text.as_str();
        if rest.bytes().all(is_plain) {
            line.write_str(rest)?;
            return line.write_char('\n');
        }
        while let Some((at, control)) = rest.char_indices().find(|(_at, c)| is_deceptive(*c)) {
            write!(line, "{}{}", &rest[..at], control.escape_default())?;
            rest = &rest[at + control.len_utf8()..];
        }
        line.write_str(rest)?;
        line.write_char('\n')
    }
}

/// Whether an octet is a character of ASCII that can be seen, or a space, as nearly every line is made of.
const fn is_plain(octet: u8) -> bool {
    octet >= 0x20 && octet < 0x7f
}

/// syslog(3)'s numbers.
const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

const fn color_of(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\u{1b}[31m",
        Level::WARN => "\u{1b}[33m",
        Level::INFO => "\u{1b}[32m",
        Level::DEBUG | Level::TRACE => "\u{1b}[2m",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test may panic")]

    use tracing_subscriber::EnvFilter;

    use super::sink::Sink;
    use super::{Style, json_subscriber, text_subscriber};

    fn speak() {
        let span = tracing::info_span!("request", id = "a\nb");
        let _entered = span.enter();
        tracing::warn!(name = %"evil\n<0>daemon: forged\u{1b}[2J", bytes = 3, "hello");
        tracing::debug!("not said");
    }

    fn text(style: Style) -> String {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, _refilter) = text_subscriber(EnvFilter::new("info"), style, move || writer.clone());
        tracing::subscriber::with_default(subscriber, speak);
        sink.text()
    }

    /// Another filter holds at once, and nothing but it changes.
    #[test]
    fn filters_are_replaced() {
        let sink = Sink::default();
        let writer = sink.clone();
        let style = Style::Stamped { color: false };
        let (subscriber, refilter) = text_subscriber(EnvFilter::new("info"), style, move || writer.clone());
        tracing::subscriber::with_default(subscriber, || {
            speak();
            refilter(EnvFilter::new("debug")).unwrap();
            speak();
            refilter(EnvFilter::new("error")).unwrap();
            speak();
        });
        assert_eq!((sink.text().matches("hello").count(), sink.text().matches("not said").count()), (2, 1));
    }

    /// The journal gets a priority and no time; whatever is in the values, it stays one line without control characters.
    #[test]
    fn journal_lines_have_priorities() {
        let text = text(Style::Journal);
        assert!(text.starts_with("<4>request{id=\"a\\nb\"}: daemon::logging::tests: hello "), "{text}");
        assert!(text.contains("forged") && text.contains("bytes=3"), "{text}");
        assert_eq!(text.matches(char::is_control).collect::<Vec<_>>(), ["\n"], "{text}");
    }

    #[test]
    fn terminal_lines_have_times() {
        let plain = text(Style::Stamped { color: false });
        assert!(
            plain[..4].bytes().all(|octet| octet.is_ascii_digit()) && plain.contains("Z  WARN request{"),
            "{plain}"
        );
        assert_eq!(plain.matches(char::is_control).count(), 1);
        let colored = text(Style::Stamped { color: true });
        assert!(colored.contains(" \u{1b}[33m WARN\u{1b}[0m request{"), "{colored}");
    }

    #[test]
    fn json_lines_are_objects() {
        let sink = Sink::default();
        let writer = sink.clone();
        let (subscriber, _refilter) = json_subscriber(EnvFilter::new("info"), move || writer.clone());
        tracing::subscriber::with_default(subscriber, speak);
        let text = sink.text();
        assert_eq!(text.lines().count(), 1);
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "hello");
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["bytes"], 3);
        assert_eq!(line["span"]["id"], "a\nb");
        assert!(line["timestamp"].as_str().unwrap().ends_with('Z'));
    }
}
