//! The way of finished spans to the collector: a bounded queue, and a thread of its own with a runtime of its own that sends
//! batches. Knows what is dropped and says so; refuses to know what spans mean.
//!
//! Whoever ends a span puts it into the queue and goes on: if the queue is full, the span is dropped and counted. Nothing here
//! can hold a request up, and the end of the process waits for at most [`FLUSH_TIMEOUT`].

use std::fmt;
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc as blocking;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use common::tls::TrustError;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry::{Context, KeyValue};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::{OTelSdkError, OTelSdkResult};
use opentelemetry_sdk::trace::{
    Sampler, SdkTracer, SdkTracerProvider, Span, SpanData, SpanExporter as _, SpanProcessor,
};
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

use super::client::Client;
use super::{DROPPED, ON, SENT};
use crate::config::traces::{self, SERVICE_NAME, TracesConfig};

/// Finished spans that wait.
const QUEUE_MAX: usize = 2048;
/// Spans of one message.
const BATCH_MAX: usize = 512;
/// How long a span waits for others to go with.
const BATCH_WAIT: Duration = Duration::from_secs(1);
/// How long the end of the process waits for what is queued.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Why there are no traces, though they were asked for.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum TracesError {
    /// The collector can't be trusted.
    #[error(transparent)]
    Trust(#[from] TrustError),
    /// The library refuses.
    #[error("spans can't be written")]
    Exporter(#[from] ExporterBuildError),
    /// The thread can't be started.
    #[error("a thread can't be started")]
    Thread(#[from] io::Error),
}

/// What makes spans and sends them, until it is closed.
pub struct Traces {
    provider: SdkTracerProvider,
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

/// Begins to send, if there is somewhere to send to. Once in a process.
///
/// # Errors
/// [`TracesError`].
pub fn open(config: &TracesConfig) -> Result<Option<Traces>, TracesError> {
    let Some(address) = config.address() else { return Ok(None) };
    let client = Client::new(config, &address)?;
    let mut exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(client.clone())
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(address.to_string())
        .with_timeout(config.patience())
        .build()?;
    let resource = resource(config);
    exporter.set_resource(&resource);
    let queue = Queue::start(exporter, client)?;
    let provider = SdkTracerProvider::builder()
        .with_sampler(sampler(config))
        .with_resource(resource)
        .with_span_processor(queue)
        .build();
    ON.store(true, Ordering::Relaxed);
    Ok(Some(Traces { provider }))
}

impl Traces {
    /// What makes the spans.
    pub fn tracer(&self) -> SdkTracer {
        self.provider.tracer(SERVICE_NAME)
    }

    /// Sends what is queued, for as long as there is time.
    pub fn close(self) {
        if self.provider.shutdown_with_timeout(FLUSH_TIMEOUT).is_err() {
            tracing::warn!("the collector didn't take the last spans in time; they are dropped");
        }
    }
}

fn resource(config: &TracesConfig) -> Resource {
    let pairs = config.resource.as_deref().and_then(|text| traces::pairs(text).ok()).unwrap_or_default();
    let named = config.service_name.as_ref().map(|name| KeyValue::new("service.name", name.clone()));
    // The later of two of the same name holds.
    let attributes = [
        KeyValue::new("service.name", SERVICE_NAME),
        KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        KeyValue::new("telemetry.sdk.language", "rust"),
        KeyValue::new("telemetry.sdk.name", "opentelemetry"),
    ];
    let attributes = attributes.into_iter().chain(pairs.into_iter().map(|(name, value)| KeyValue::new(name, value)));
    Resource::builder_empty().with_attributes(attributes.chain(named)).build()
}

fn sampler(config: &TracesConfig) -> Sampler {
    // It was checked when it was read.
    let share = || Sampler::TraceIdRatioBased(traces::ratio(&config.sampler_arg).unwrap_or(1.0));
    let below = |root: Sampler| Sampler::ParentBased(Box::new(root));
    match config.sampler {
        traces::Sampler::AlwaysOn => Sampler::AlwaysOn,
        traces::Sampler::AlwaysOff => Sampler::AlwaysOff,
        traces::Sampler::Ratio => share(),
        traces::Sampler::ParentOrOn => below(Sampler::AlwaysOn),
        traces::Sampler::ParentOrOff => below(Sampler::AlwaysOff),
        traces::Sampler::ParentOrRatio => below(share()),
    }
}

/// Where finished spans go.
#[derive(Debug)]
struct Queue {
    spans: mpsc::Sender<SpanData>,
    /// Asks the thread to end, and is told when it has.
    end: Mutex<Option<(oneshot::Sender<()>, blocking::Receiver<()>)>>,
}

impl Queue {
    fn start(exporter: SpanExporter, client: Client) -> io::Result<Self> {
        let (spans, queued) = mpsc::channel(QUEUE_MAX);
        let (end, ending) = oneshot::channel();
        let (ended, has_ended) = blocking::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("mregd-traces".to_owned()).spawn(move || {
            runtime.block_on(Sending { exporter, client, is_failing: false }.run(queued, ending));
            // Nobody may be waiting any more.
            let _heard = ended.send(());
        })?;
        Ok(Self { spans, end: Mutex::new(Some((end, has_ended))) })
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _span: &mut Span, _context: &Context) {}

    fn on_end(&self, span: SpanData) {
        if span.span_context.is_sampled() && self.spans.try_send(span).is_err() {
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        // Nobody asks: spans go within `BATCH_WAIT`, or at the end.
        Ok(())
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        let Some((end, has_ended)) = self.end.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return Err(OTelSdkError::AlreadyShutdown);
        };
        // If the thread is gone, so is what was queued.
        let _asked = end.send(());
        has_ended.recv_timeout(timeout).map_err(|_late| OTelSdkError::Timeout(timeout))
    }
}

/// The thread's work.
struct Sending {
    exporter: SpanExporter,
    client: Client,
    is_failing: bool,
}

impl Sending {
    async fn run(mut self, mut queued: mpsc::Receiver<SpanData>, mut ending: oneshot::Receiver<()>) {
        loop {
            let first = tokio::select! {
                first = queued.recv() => first,
                _asked = &mut ending => break,
            };
            let Some(first) = first else { return };
            let mut batch = vec![first];
            let is_ending = {
                let mut wait = std::pin::pin!(tokio::time::sleep(BATCH_WAIT));
                loop {
                    if batch.len() == BATCH_MAX {
                        break false;
                    }
                    tokio::select! {
                        biased;
                        _asked = &mut ending => break true,
                        () = &mut wait => break false,
                        Some(span) = queued.recv() => batch.push(span),
                    }
                }
            };
            self.send(batch).await;
            if is_ending {
                break;
            }
        }
        queued.close();
        loop {
            let mut batch = Vec::new();
            if queued.recv_many(&mut batch, BATCH_MAX).await == 0 {
                return;
            }
            self.send(batch).await;
        }
    }

    /// A collector that fails is told of once, and once that it is back.
    async fn send(&mut self, batch: Vec<SpanData>) {
        let spans = batch.len() as u64;
        match self.exporter.export(batch).await {
            Ok(()) => {
                SENT.fetch_add(spans, Ordering::Relaxed);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(_in_the_words_of_the_library) => {
                DROPPED.fetch_add(spans, Ordering::Relaxed);
                if !std::mem::replace(&mut self.is_failing, true) {
                    let why = self.client.trouble();
                    tracing::warn!(why, "the collector doesn't take spans; they are dropped until it does");
                }
            }
        }
    }
}
