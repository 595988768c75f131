//! What is counted of the requests, and the Prometheus text of it. Knows names, labels and buckets; refuses to know
//! where the gauges that others keep come from: they are given at each rendering. Label values come from closed sets
//! (templates, methods, status codes), so clients can't make the page grow.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use common::api::RequestKind;
use metrics::{Counter, Histogram, Key, Label, Level, Metadata, Recorder, Unit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};

use super::recent::Recent;

/// Route label of a request that matched no route.
pub const UNMATCHED: &str = "unmatched";

/// Upper bounds of the duration histogram, seconds: from a cached read to a large upload.
const DURATION_BUCKETS_S: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0];

/// The request rate is over so many seconds.
const RATE_WINDOW_S: u64 = 60;

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

/// Counts since start.
pub struct Metrics {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    series: RwLock<HashMap<(&'static str, &'static str, u16), Series>>,
    started: Instant,
    requests: AtomicU64,
    requests_open: Arc<AtomicUsize>,
    tasks_open: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    turned: [AtomicU64; 5],
    /// Requests per second of the last minute: the second, and how many there were in it.
    seconds: Vec<(AtomicU64, AtomicU64)>,
    recent: Recent,
}

/// Who was turned away or cut, besides requests that found no place (`server/flight.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// A connection, for there were too many.
    Full,
    /// A connection, for there were too many of its address.
    Crowded,
    /// A connection on which nothing was asked, for another.
    GaveWay,
    /// A connection of HTTP/2, for the reader of a stream took nothing.
    Stalled,
    /// A request that is to be recorded, for the log is behind.
    LogBehind,
}

/// The instruments of one method, route and status.
struct Series {
    requests: Counter,
    duration: Histogram,
    sent: Counter,
}

impl Series {
    fn note(&self, took: Duration, sent_bytes: u64) {
        self.requests.increment(1);
        self.duration.record(took.as_secs_f64());
        self.sent.increment(sent_bytes);
    }
}

/// A number that others keep.
pub struct Gauge {
    /// Metric name, without the prefix; with labels, if it has any. What differs in labels only stands together.
    pub name: &'static str,
    /// `gauge` or `counter`.
    pub kind: &'static str,
    /// What it is.
    pub help: &'static str,
    /// Its value.
    pub value: f64,
}

/// Something that is open, and counted until it is dropped.
pub struct Held(Arc<AtomicUsize>);

impl Held {
    fn one(of: &Arc<AtomicUsize>) -> Self {
        of.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(of))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// Nothing counted yet.
    pub fn new() -> Self {
        let recorder =
            PrometheusBuilder::new().set_buckets(&DURATION_BUCKETS_S).expect("there are buckets").build_recorder();
        let handle = recorder.handle();
        recorder.describe_counter(
            "mreg_http_requests_total".into(),
            Some(Unit::Count),
            "Requests answered, by method, route template and status (499: the client left first).".into(),
        );
        recorder.describe_histogram(
            "mreg_http_request_duration_seconds".into(),
            Some(Unit::Seconds),
            "From the request's head to the last octet of the answer.".into(),
        );
        recorder.describe_counter(
            "mreg_http_response_bytes_total".into(),
            Some(Unit::Bytes),
            "Octets of answers' bodies.".into(),
        );
        Self {
            recorder,
            handle,
            series: RwLock::default(),
            started: Instant::now(),
            requests: AtomicU64::new(0),
            requests_open: Arc::default(),
            tasks_open: Arc::default(),
            connections: Arc::default(),
            turned: Default::default(),
            seconds: (0..RATE_WINDOW_S).map(|_| Default::default()).collect(),
            recent: Recent::default(),
        }
    }

    /// A request has ended.
    pub fn request(&self, method: &'static str, template: &'static str, status: u16, took: Duration, sent_bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let second = self.started.elapsed().as_secs();
        let (of, count) = &self.seconds[usize::try_from(second % RATE_WINDOW_S).unwrap_or(0)];
        // Two threads at the turn of a second may lose a few: it is a rate, not an account.
        if of.swap(second, Ordering::Relaxed) != second {
            count.store(0, Ordering::Relaxed);
        }
        count.fetch_add(1, Ordering::Relaxed);
        self.recent.note(second, method, template, status, took);

        let key = (method, template, status);
        if let Some(series) = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return series.note(took, sent_bytes);
        }
        let series = self.new_series(method, template, status);
        series.note(took, sent_bytes);
        // Of two that were made at once the second is dropped: both count for the same.
        self.series.write().unwrap_or_else(PoisonError::into_inner).entry(key).or_insert(series);
    }

    fn new_series(&self, method: &'static str, template: &'static str, status: u16) -> Series {
        let labels = || {
            vec![
                Label::from_static_parts("method", method),
                Label::from_static_parts("route", template),
                Label::new("status", status.to_string()),
            ]
        };
        Series {
            requests: self.recorder.register_counter(&Key::from_parts("mreg_http_requests_total", labels()), &METADATA),
            duration: self.recorder.register_histogram(
                // Without status: latency by outcome would multiply the page for little.
                &Key::from_parts("mreg_http_request_duration_seconds", labels()[..2].to_vec()),
                &METADATA,
            ),
            sent: self.recorder.register_counter(
                &Key::from_parts("mreg_http_response_bytes_total", labels()[..2].to_vec()),
                &METADATA,
            ),
        }
    }

    /// A request begins.
    pub fn request_opened(&self) -> Held {
        Held::one(&self.requests_open)
    }

    /// A change begins, in a task that its client can't end.
    pub fn task_opened(&self) -> Held {
        Held::one(&self.tasks_open)
    }

    /// A connection begins.
    pub fn connection_opened(&self) -> Held {
        Held::one(&self.connections)
    }

    /// Somebody was turned away or cut.
    pub fn turned(&self, turned: Turned) {
        self.turned[turned as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How many were, since start.
    pub fn turned_total(&self, turned: Turned) -> u64 {
        self.turned[turned as usize].load(Ordering::Relaxed)
    }

    /// Requests answered since start.
    pub fn requests_total(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }

    /// Changes being made, those included whose client has left.
    pub fn tasks_open(&self) -> usize {
        self.tasks_open.load(Ordering::Relaxed)
    }

    /// Requests being answered.
    pub fn requests_open(&self) -> usize {
        self.requests_open.load(Ordering::Relaxed)
    }

    /// Connections open now.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// Requests in 1000 seconds at the rate of the last minute.
    pub fn requests_per_1000_seconds(&self) -> u64 {
        let now = self.started.elapsed().as_secs();
        // The running second is incomplete and left out.
        let from = now.saturating_sub(RATE_WINDOW_S - 1);
        let in_window = |(of, count): &(AtomicU64, AtomicU64)| {
            let of = of.load(Ordering::Relaxed);
            if (from..now).contains(&of) { count.load(Ordering::Relaxed) } else { 0 }
        };
        let count: u64 = self.seconds.iter().map(in_window).sum();
        count * 1000 / (now - from).max(1)
    }

    /// How each kind of request fared in the last five minutes.
    pub fn kinds(&self) -> Vec<RequestKind> {
        self.recent.kinds(self.started.elapsed().as_secs())
    }

    /// Folds what histograms gathered; without it they grow. To be called every few seconds.
    pub fn upkeep(&self) {
        self.handle.run_upkeep();
    }

    /// The Prometheus text: what is counted here, and these gauges.
    pub fn render(&self, gauges: &[Gauge]) -> String {
        let mut text = self.handle.render();
        let here = [
            Gauge {
                name: "http_requests_open",
                kind: "gauge",
                help: "Requests being answered.",
                value: self.requests_open() as f64,
            },
            Gauge {
                name: "http_connections",
                kind: "gauge",
                help: "Connections open now.",
                value: self.connections() as f64,
            },
            Gauge {
                name: "http_connections_refused_total",
                kind: "counter",
                help: "Connections that came when all were in use, or all that their address may have.",
                value: (self.turned_total(Turned::Full) + self.turned_total(Turned::Crowded)) as f64,
            },
            Gauge {
                name: "http_connections_gave_way_total",
                kind: "counter",
                help: "Idle connections that were closed to make room for others.",
                value: self.turned_total(Turned::GaveWay) as f64,
            },
            Gauge {
                name: "http_connections_stalled_total",
                kind: "counter",
                help: "Connections of HTTP/2 that were cut, for the reader of a stream took nothing.",
                value: self.turned_total(Turned::Stalled) as f64,
            },
        ];
        let mut before = "";
        for Gauge { name, kind, help, value } in here.iter().chain(gauges) {
            // Process metrics have a name that all of Prometheus' exporters share.
            let prefix = if name.starts_with("process_") { "" } else { "mreg_" };
            let metric = name.split('{').next().unwrap_or(name);
            // The format has help and type once for each name, however many labels follow.
            if metric != before {
                let _ = writeln!(text, "\n# HELP {prefix}{metric} {help}\n# TYPE {prefix}{metric} {kind}");
            }
            let _ = writeln!(text, "{prefix}{name} {value}");
            before = metric;
        }
        text
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Gauge, Metrics};

    /// Requests show up under their labels, and gauges with help and type.
    #[test]
    fn page() {
        let metrics = Metrics::new();
        metrics.request("GET", "/models/{id}", 200, Duration::from_millis(3), 10);
        metrics.request("GET", "/models/{id}", 404, Duration::from_millis(3), 5);
        metrics.upkeep();
        let text = metrics.render(&[Gauge { name: "log_size", kind: "gauge", help: "Entries.", value: 7.0 }]);
        for line in [
            r#"mreg_http_requests_total{method="GET",route="/models/{id}",status="404"} 1"#,
            r#"mreg_http_request_duration_seconds_count{method="GET",route="/models/{id}"} 2"#,
            r#"mreg_http_request_duration_seconds_bucket{method="GET",route="/models/{id}",le="0.005"} 2"#,
            r#"mreg_http_response_bytes_total{method="GET",route="/models/{id}"} 15"#,
            "# TYPE mreg_log_size gauge",
            "mreg_log_size 7",
            "mreg_http_connections 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
        assert_eq!(metrics.requests_total(), 2);
    }

    /// What is open is counted until it is dropped.
    #[test]
    fn open() {
        let metrics = Metrics::new();
        let (request, connection) = (metrics.request_opened(), metrics.connection_opened());
        assert_eq!((metrics.requests_open(), metrics.connections()), (1, 1));
        drop((request, connection));
        assert_eq!((metrics.requests_open(), metrics.connections()), (0, 0));
    }
}
