//! Traces: what a collector gets and what it never gets, whom a request belongs to, and that no collector, however it
//! behaves, is felt by anybody else.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use common::role::Role;
use serde_json::Value;
use tests::daemon::Daemon;
use tests::hooks::Reply;
use tests::http::Client;
use tests::multipart::Form;
use tests::otlp::{Collector, Span};
use tests::samples;
use tests::tls::{Authority, Fault, Front, HERE};
use tests::wait;

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const PARENT: &str = "b7ad6b7169203331";
/// What is said where a collector fails.
const FAILING: &str = "the collector doesn't take spans";
/// The end of a process waits so long for a collector.
const FLUSH: Duration = Duration::from_secs(2);

fn traceparent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

fn daemon(collector: &Collector, settings: &[(&str, &str)]) -> Daemon {
    let url = collector.url();
    Daemon::with(&[&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())], settings].concat())
}

fn metric(client: &Client, name: &str) -> u64 {
    let page = String::from_utf8(client.get("/metrics").expect(200).body).unwrap();
    let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
    line.unwrap_or_else(|| panic!("{name} in {page}")).parse().unwrap()
}

fn request_lines(daemon: &Daemon) -> Vec<Value> {
    let lines = daemon.stderr().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    lines.filter(|line| line["message"] == "request").collect()
}

fn is_upload(span: &Span) -> bool {
    span.name == "POST /models"
}

/// An upload is a span below the one that the client names, with its steps below it and within its time; the log has the same
/// trace. What was asked for by name, and by whom, is in none of it.
#[test]
fn requests_and_their_steps() {
    let collector = Collector::start();
    let settings = [
        ("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20of-the-collector,x-tenant=7"),
        ("OTEL_SERVICE_NAME", "models"),
        ("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test,service.name=not-this"),
    ];
    let mut daemon = daemon(&collector, &settings);
    daemon.ledger().add_secret("of-the-collector");
    let user = daemon.user("marguerite", Role::Contributor);
    let form = Form::new().text("name", "hush/swordfish").file("weights.safetensors", &samples::safetensors(1));
    let sent = user.request("POST", "/models").header("traceparent", &traceparent("01")).form(form);
    sent.header("User-Agent", "tests/1").header("X-Request-Id", "of-the-test").send().expect(201);
    user.get("/models/hush%2Fswordfish").expect(200);
    user.get("/models/hush%2Fnobody").problem("not-found");
    user.get("/nowhere/swordfish").problem("not-found");

    let span = collector.wait_for("the upload", is_upload);
    assert_eq!((span.trace.as_str(), span.parent.as_str(), span.kind, span.status), (TRACE, PARENT, 2, 0));
    for (name, value) in [
        ("http.request.method", "POST"),
        ("http.route", "/models"),
        ("http.response.status_code", "201"),
        ("url.scheme", "http"),
        ("server.address", "127.0.0.1"),
        ("client.address", "127.0.0.1"),
        ("user_agent.original", "tests/1"),
        ("mreg.request_id", "of-the-test"),
    ] {
        assert_eq!(span.need(name), value, "{name}");
    }
    assert_eq!(span.need("server.port"), daemon.address().port().to_string());
    assert_eq!(span.resource["service.name"], "models");
    assert_eq!(span.resource["deployment.environment.name"], "test");
    let version = span.resource["service.version"].clone();
    assert!(version.starts_with(|first: char| first.is_ascii_digit()), "{version}");

    for step in ["stage", "inspect", "keep", "commit"] {
        let step = collector.wait_for(step, |span| span.name == step && span.trace == TRACE);
        assert_eq!((step.parent.as_str(), step.kind), (span.id.as_str(), 1), "{step:?}");
        let (began, ended) = step.time;
        assert!(span.time.0 <= began && began <= ended && ended <= span.time.1, "{step:?} in {span:?}");
    }
    let read = collector.wait_for("the reading", |span| {
        span.attributes.get("http.route").is_some_and(|route| route.starts_with("/models/{"))
            && span.need("http.response.status_code") == "404"
    });
    assert!(read.parent.is_empty() && read.trace != TRACE && read.status == 0, "{read:?}");
    assert!(read.name.starts_with("GET /models/{"), "{read:?}");
    let nowhere = collector.wait_for("no route", |span| span.name == "GET");
    assert!(!nowhere.attributes.contains_key("http.route"), "{nowhere:?}");

    let line = wait::until("the upload's line", || {
        request_lines(&daemon).into_iter().find(|line| line["request_id"] == "of-the-test")
    });
    assert_eq!((&line["trace_id"], line.get("span")), (&TRACE.into(), None), "{line}");
    // Counted once the answer is there.
    wait::until_true("they are counted", || metric(&daemon.admin(), "mreg_traces_spans_sent_total") >= 5);
    assert_eq!(metric(&daemon.admin(), "mreg_traces_spans_dropped_total"), 0);

    daemon.stop();
    let secrets = daemon.ledger().secrets();
    for message in collector.messages() {
        assert_eq!((message.target.as_str(), message.need("content-type")), ("/v1/traces", "application/x-protobuf"));
        assert_eq!((message.need("authorization"), message.need("x-tenant")), ("Bearer of-the-collector", "7"));
        let text = String::from_utf8_lossy(&message.body).into_owned();
        for untold in
            ["swordfish", "marguerite", "weights", "hush"].into_iter().chain(secrets.iter().map(String::as_str))
        {
            assert!(!text.contains(untold), "{untold} in {text}");
        }
    }
}

/// A trace that is not named to the letter is none; one that its caller doesn't record isn't recorded here, unless all are.
#[test]
fn whom_a_request_belongs_to() {
    let collector = Collector::start();
    let mut first = daemon(&collector, &[]);
    let asked = |daemon: &Daemon, id: &str, parent: &str| {
        let request = daemon.client().request("GET", "/livez").header("traceparent", parent);
        request.header("X-Request-Id", id).send().expect(200);
    };
    asked(&first, "odd", &traceparent("01").to_uppercase());
    asked(&first, "unsampled", &traceparent("00"));
    asked(&first, "right", &traceparent("01"));
    let of =
        |id: &str| collector.wait_for(id, |span| span.attributes.get("mreg.request_id").is_some_and(|it| it == id));
    assert_eq!(of("right").trace, TRACE);
    assert!(of("odd").parent.is_empty() && of("odd").trace != TRACE);
    first.stop();
    let is_unsampled = |span: &Span| span.attributes.get("mreg.request_id").is_some_and(|id| id == "unsampled");
    assert!(!collector.spans().iter().any(is_unsampled));

    let (all, none) = (Collector::start(), Collector::start());
    let mut all_on = daemon(&all, &[("OTEL_TRACES_SAMPLER", "always_on")]);
    asked(&all_on, "unsampled", &traceparent("00"));
    all_on.stop();
    assert!(all.spans().iter().any(is_unsampled));
    let none_settings = [("OTEL_TRACES_SAMPLER", "traceidratio"), ("OTEL_TRACES_SAMPLER_ARG", "0")];
    let mut none_on = daemon(&none, &none_settings);
    asked(&none_on, "right", &traceparent("01"));
    none_on.stop();
    assert_eq!(none.spans(), []);
}

/// Spans are made whatever the log says, and are never in it: neither as lines nor before them.
#[test]
fn the_log_is_the_same() {
    let collector = Collector::start();
    let settings = [("MREG_LOG_LEVEL", "error"), ("MREG_LOG_FORMAT", "text")];
    let mut quiet = daemon(&collector, &settings);
    quiet.client().get("/livez").expect(200);
    quiet.stop();
    assert!(collector.spans().iter().any(|span| span.name == "GET /livez"));
    assert_eq!(quiet.stderr(), [""; 0]);

    let mut loud = daemon(&collector, &[("MREG_LOG_LEVEL", "trace")]);
    let admin = loud.admin();
    admin.upload("m", "model.safetensors", &samples::safetensors(1));
    let said = wait::until("lines", || Some(request_lines(&loud)).filter(|lines| lines.len() >= 2));
    assert!(said.iter().all(|line| line.get("span").is_none() && line["trace_id"].is_string()), "{said:?}");
    let all = loud.stderr().join("\n");
    assert!(!all.contains("mreg::trace") && !all.contains("otel."), "{all}");
    loud.stop();
}

/// Without an address, or switched off, nothing is sent and nothing said.
#[test]
fn off_is_off() {
    let collector = Collector::start();
    for mut daemon in [daemon(&collector, &[("OTEL_SDK_DISABLED", "true")]), Daemon::start()] {
        daemon.admin().upload("m", "model.safetensors", &samples::safetensors(1));
        let lines = wait::until("a line", || Some(request_lines(&daemon)).filter(|lines| !lines.is_empty()));
        assert!(lines.iter().all(|line| line.get("trace_id").is_none()), "{lines:?}");
        assert_eq!(metric(&daemon.admin(), "mreg_traces_spans_dropped_total"), 0);
        daemon.stop();
    }
    assert!(collector.messages().is_empty());
}

/// A collector that isn't there is told of once; nobody waits for it, neither requests nor the end.
#[test]
fn nobody_waits_for_a_dead_collector() {
    let gone = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut daemon = Daemon::with(&[("OTEL_EXPORTER_OTLP_ENDPOINT", &format!("http://{gone}"))]);
    daemon.expect_line(FAILING);
    daemon.expect_line("didn't take the last spans in time");
    unfelt(&mut daemon);
}

/// The same of one that takes all and never answers, with more spans than can wait.
#[test]
fn nobody_waits_for_a_slow_collector() {
    let slow = Collector::answering(|_before| Reply::Never);
    let mut daemon = daemon(&slow, &[("OTEL_EXPORTER_OTLP_TIMEOUT", "1000")]);
    daemon.expect_line(FAILING);
    daemon.expect_line("didn't take the last spans in time");
    unfelt(&mut daemon);
}

/// Requests are answered as ever while spans are lost and counted, and the end is bounded.
fn unfelt(daemon: &mut Daemon) {
    let client = daemon.client();
    let mut took = Vec::new();
    wait::until_true("spans are dropped", || {
        let began = Instant::now();
        client.get("/livez").expect(200);
        took.push(began.elapsed());
        metric(&daemon.admin(), "mreg_traces_spans_dropped_total") > 0
    });
    // What a request takes that waits for the collector: then all would. One of many may have met a busy machine.
    let slow = took.iter().filter(|took| **took >= Duration::from_millis(900)).count();
    assert!(slow <= took.len() / 20, "{slow} of {}: {:?}", took.len(), took.iter().max());
    let began = Instant::now();
    daemon.stop();
    let took = began.elapsed();
    // Besides, the stop itself has its time.
    assert!(took < FLUSH + Duration::from_secs(3), "{took:?}");
    let told = daemon.stderr().iter().filter(|line| line.contains(FAILING)).count();
    assert_eq!(told, 1);
}

/// One that fails and comes back: both are told, once. It can't send anybody elsewhere.
#[test]
fn a_collector_comes_back() {
    let elsewhere = Collector::start();
    let away = format!("location: {}/v1/traces", elsewhere.url());
    let collector = Collector::answering(move |before| match before {
        0 => Reply::With(307, away.clone()),
        _later => Reply::Status(200),
    });
    let mut daemon = daemon(&collector, &[]);
    daemon.expect_line(FAILING);
    let client = daemon.client();
    let said = |daemon: &Daemon, part: &str| daemon.stderr().iter().filter(|line| line.contains(part)).count();
    wait::until_true("it is told that it is back", || {
        client.get("/livez").expect(200);
        said(&daemon, "the collector takes spans again") == 1
    });
    assert_eq!(said(&daemon, FAILING), 1);
    assert!(daemon.stderr().iter().any(|line| line.contains("it answered 307")));
    daemon.stop();
    assert!(elsewhere.messages().is_empty() && collector.messages().len() > 1);
}

/// In TLS, to whom the file's authorities vouch for and nobody else.
#[test]
fn collectors_in_tls() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let collector = Collector::start();
    let front = Front::start(&authority.pair(&HERE, Fault::None), collector.receiver().address());
    let endpoint = format!("{}/otlp", front.url());
    let traces = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", endpoint.as_str());
    let mut wrong = Daemon::with(&[traces, ("OTEL_EXPORTER_OTLP_CERTIFICATE", &other.path())]);
    wrong.expect_line(FAILING);
    wait::until_true("it is refused", || {
        wrong.client().get("/livez").expect(200);
        wrong.stderr().iter().any(|line| line.contains(FAILING))
    });
    wrong.stop();
    assert!(collector.messages().is_empty());
    let mut right = Daemon::with(&[traces, ("OTEL_EXPORTER_OTLP_CERTIFICATE", &authority.path())]);
    right.client().get("/livez").expect(200);
    right.stop();
    assert!(collector.messages().iter().all(|message| message.target == "/otlp"));
    assert!(collector.spans().iter().any(|span| span.name == "GET /livez"));
}

/// Each wrong value is told with its name, secrets never; authorities that can't be read end the start.
#[test]
fn wrong_settings() {
    let wrong = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "collector:4317"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "hunter2"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_RESOURCE_ATTRIBUTES", "nothing"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_TRACES_SAMPLER_ARG", "2"),
        ("OTEL_SDK_DISABLED", "perhaps"),
    ];
    let daemon = Daemon::prepared(&wrong);
    let output = daemon.run(&["config", "check"], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(!output.status.success() && !said.contains("hunter2"), "{said}");
    for (name, _value) in wrong {
        assert!(said.contains(name), "{name} in {said}");
    }
    let unread =
        [("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1"), ("OTEL_EXPORTER_OTLP_CERTIFICATE", "/nowhere/ca.pem")];
    let output = Daemon::prepared(&unread).run(&[] as &[&str], "");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && said.contains("/nowhere/ca.pem"), "{said}");
}
