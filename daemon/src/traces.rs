//! Traces: spans of requests and of their costly steps, for an OpenTelemetry collector. Knows what spans are called and what
//! is said in them; refuses to know how they are sent (`traces/export.rs`, `traces/client.rs`) and what the log says, which is
//! the same with and without them.
//!
//! Spans are those of `tracing`, under a target of their own that the log never shows. Without a collector nothing asks for
//! that target, so each place where one would be made costs a comparison. Said are templates of routes, numbers and ids;
//! never a path, a name of a model or a user, or anything secret.

#[cfg(feature = "otlp")]
mod client;
#[cfg(feature = "otlp")]
mod export;
mod parent;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::HeaderMap;
use tracing::Span;
use tracing::field::Empty;

#[cfg(feature = "otlp")]
pub use self::export::{Traces, TracesError, open};

/// The target of all spans, and of nothing else.
pub const TARGET: &str = "mreg::trace";

/// Whether there is a collector.
static ON: AtomicBool = AtomicBool::new(false);
/// Spans that a collector took.
static SENT: AtomicU64 = AtomicU64::new(0);
/// Spans that no collector got: the queue was full, or it didn't take them.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// Whether spans are made.
pub fn are_on() -> bool {
    ON.load(Ordering::Relaxed)
}

/// Spans that a collector took since start, and those that were dropped.
pub fn counts() -> (u64, u64) {
    (SENT.load(Ordering::Relaxed), DROPPED.load(Ordering::Relaxed))
}

/// What is known of a request when it begins.
pub(crate) struct Asked<'a> {
    /// From a closed set.
    pub(crate) method: &'static str,
    pub(crate) scheme: &'static str,
    /// The host that was asked for, and its port.
    pub(crate) host: Option<(&'a str, Option<u16>)>,
    /// As it may be written down.
    pub(crate) ip: Option<&'a str>,
    pub(crate) user_agent: Option<&'a str>,
    pub(crate) request_id: &'a str,
}

/// The span of a request; below the one that the request says it belongs to. By the semantic conventions for HTTP.
pub(crate) fn request(asked: &Asked<'_>, headers: &HeaderMap) -> Span {
    let span = tracing::info_span!(
        target: TARGET,
        parent: None,
        "request",
        "otel.name" = asked.method,
        "otel.kind" = "server",
        "otel.status_code" = Empty,
        "http.request.method" = if asked.method == "other" { "_OTHER" } else { asked.method },
        "http.route" = Empty,
        "http.response.status_code" = Empty,
        "http.response.body.size" = Empty,
        "error.type" = Empty,
        "url.scheme" = asked.scheme,
        "server.address" = asked.host.map(|(host, _port)| host),
        "server.port" = asked.host.and_then(|(_host, port)| port),
        "client.address" = asked.ip,
        "user_agent.original" = asked.user_agent,
        "mreg.request_id" = asked.request_id,
        "mreg.cut" = Empty,
    );
    adopt(&span, headers);
    span
}

/// The request's route is known; to be said before any step begins, which settles the name.
pub(crate) fn routed(span: &Span, method: &str, template: &'static str) {
    if !span.is_none() {
        span.record("http.route", template);
        span.record("otel.name", format!("{method} {template}"));
    }
}

/// The request has ended, with this status if it was answered. The span lasts until now.
pub(crate) fn answered(span: &Span, status: Option<u16>, sent_bytes: u64, is_cut: bool) {
    if span.is_none() {
        return;
    }
    let _until_now = span.enter();
    span.record("http.response.body.size", sent_bytes);
    if let Some(status) = status {
        span.record("http.response.status_code", status);
        // What a client did wrong is no error of this server.
        if status >= 500 {
            span.record("otel.status_code", "error");
            span.record("error.type", status.to_string());
        }
    }
    if is_cut {
        span.record("mreg.cut", true);
    }
}

/// A costly part of a request. None where there is no request: upkeep has figures of its own.
macro_rules! step {
    ($name:literal) => {{
        if $crate::traces::are_on() && !::tracing::Span::current().is_none() {
            ::tracing::info_span!(target: "mreg::trace", $name)
        } else {
            ::tracing::Span::none()
        }
    }};
}
pub(crate) use step;

/// The span that blocking work goes on in.
pub(crate) fn current() -> Span {
    if are_on() { Span::current() } else { Span::none() }
}

/// The trace that a span belongs to, in hexadecimal digits.
#[cfg(feature = "otlp")]
pub(crate) fn trace_id(span: &Span) -> Option<String> {
    use opentelemetry::trace::TraceContextExt as _;
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    if span.is_none() {
        return None;
    }
    let context = span.context();
    let id = context.span().span_context().trace_id();
    (id != opentelemetry::TraceId::INVALID).then(|| id.to_string())
}

/// There are none in this program.
#[cfg(not(feature = "otlp"))]
pub(crate) fn trace_id(_span: &Span) -> Option<String> {
    None
}

/// Puts a span below the one that the request names.
#[cfg(feature = "otlp")]
fn adopt(span: &Span, headers: &HeaderMap) {
    use opentelemetry::trace::{SpanContext, TraceContextExt as _, TraceState};
    use opentelemetry::{Context, SpanId, TraceFlags, TraceId};
    use tracing_opentelemetry::OpenTelemetrySpanExt as _;

    let Some(parent) = parent::of(headers) else { return };
    let context = SpanContext::new(
        TraceId::from_bytes(parent.trace),
        SpanId::from_bytes(parent.span),
        if parent.is_sampled { TraceFlags::SAMPLED } else { TraceFlags::default() },
        true,
        TraceState::default(),
    );
    // It fails only for a span that has begun or that nobody asked for.
    let _adopted = span.set_parent(Context::new().with_remote_span_context(context));
}

#[cfg(not(feature = "otlp"))]
fn adopt(_span: &Span, headers: &HeaderMap) {
    let _nobody_asks = parent::of(headers);
}
