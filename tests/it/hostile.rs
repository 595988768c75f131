//! Random requests against the real daemon: whatever is sent, it answers, with no 5xx and no hang.

use common::role::Role;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::Value;
use tests::daemon::Daemon;
use tests::http::{Client, Connection};
use tests::multipart::{BOUNDARY, Form};
use tests::{oracle, samples, wait};

/// Runs so many random cases; the seed is fixed, so that a failure repeats.
fn cases<S: Strategy>(strategy: S, count: u32, mut run: impl FnMut(S::Value)) {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    for _ in 0..count {
        run(strategy.new_tree(&mut runner).unwrap().current());
    }
}

/// One connection for many requests, opened anew when the daemon closes it.
struct Kept<'c> {
    client: &'c Client,
    connection: Option<Connection>,
}

impl Kept<'_> {
    fn send(&mut self, method: &str, octets: &[u8]) -> u16 {
        let connection = self.connection.get_or_insert_with(|| self.client.connect());
        connection.write(octets).expect("an open connection takes a request");
        let response = connection.read_response(method).unwrap_or_else(|error| {
            panic!("{error} after {}", String::from_utf8_lossy(&octets[..octets.len().min(2000)]))
        });
        assert!(
            response.status < 500,
            "{} {} after {}",
            response.status,
            response.text(),
            String::from_utf8_lossy(&octets[..octets.len().min(2000)])
        );
        if response.header("connection") == Some("close") {
            self.connection = None;
        }
        response.status
    }
}

/// Text that parsers stumble over.
fn awkward() -> impl Strategy<Value = String> {
    prop_oneof![
        "[ -~]{0,12}".prop_map(|text| text.replace([' ', '#'], "+")),
        "(%[0-9a-fA-F]{2}){0,6}",
        "%[0-9g-z]{0,2}",
        Just("%00".to_owned()),
        Just("%ff%fe".to_owned()),
        "[0-9]{1,30}",
        "-?[0-9]{1,5}(\\.[0-9]{1,3})?",
        Just("true".to_owned()),
        Just("2026-02-30T25:61:61Z".to_owned()),
        Just("2026-01-01T00:00:00%2B00:00".to_owned()),
        Just("9999-12-31T23:59:60Z".to_owned()),
        "[a-z]{1,5}:[a-z]{0,5}",
        "(x|y){300}",
    ]
}

/// Queries made of known and unknown names with awkward values are answered, mostly with 422.
#[test]
fn queries() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let names = prop_oneof![
        proptest::sample::select(vec![
            "q", "tag", "state", "format", "alias", "uploader", "since", "sort", "limit", "cursor", "after", "before",
            "actor", "action", "target", "outcome", "ip", "until", "as_of", "purge", "reason",
        ])
        .prop_map(str::to_owned),
        "[a-z%&=]{0,5}",
    ];
    let paths = proptest::sample::select(vec![
        "/models",
        "/audit-logs",
        "/users",
        "/models/m",
        "/models/m/versions",
        "/models/m@x",
        "/me",
        "/status",
        "/models/m/aliases/x/history",
        "/models/m/versions/1",
    ]);
    let query = proptest::collection::vec((names, awkward()), 0..4);
    let mut kept = Kept { client: &admin, connection: None };
    let mut statuses = std::collections::BTreeMap::new();
    cases((paths, query), 600, |(path, query)| {
        let query: Vec<String> = query.into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        let target = format!("{path}?{}", query.join("&"));
        let target: String = target.chars().filter(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(*c)).collect();
        let request = admin.request("GET", &target).header("Connection", "keep-alive");
        *statuses.entry(kept.send("GET", &request.head_octets())).or_insert(0) += 1;
    });
    assert!(statuses.contains_key(&200) && statuses.contains_key(&422), "{statuses:?}");
}

/// Paths of random segments are answered.
#[test]
fn paths() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let segment = prop_oneof![
        proptest::sample::select(vec![
            "models",
            "users",
            "m",
            "versions",
            "1",
            "files",
            "aliases",
            "artifact",
            "download",
            "m.safetensors",
            "docs",
            "problems",
            "..",
            ".",
            "",
            "admin",
            "history",
            "restore",
            "audit-logs",
            "sha256:",
            "m:1",
            "m@live",
        ])
        .prop_map(str::to_owned),
        awkward().prop_map(|text| text.replace(['/', '?'], "")),
    ];
    let methods = proptest::sample::select(vec!["GET", "HEAD", "PATCH", "OPTIONS"]);
    let mut kept = Kept { client: &admin, connection: None };
    cases((methods, proptest::collection::vec(segment, 0..7)), 600, |(method, segments)| {
        let target = format!("/{}", segments.join("/"));
        let target: String = target.chars().filter(|c| c.is_ascii_graphic() && !"\"<>\\^`{|}".contains(*c)).collect();
        let request = admin.request(method, &target).header("Connection", "keep-alive");
        kept.send(method, &request.head_octets());
    });
}

/// Forms of random parts, cut and mixed up, are answered; nothing of a refused one stays.
#[test]
fn forms() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    let names = prop_oneof![
        proptest::sample::select(vec![
            "file",
            "name",
            "version",
            "description",
            "tags",
            "metadata",
            "alias",
            "sha256",
            "force_new_version",
        ])
        .prop_map(str::to_owned),
        "[a-z\"\\\\; ]{0,6}",
    ];
    let values = prop_oneof![
        any::<Vec<u8>>(),
        "\\PC{0,20}".prop_map(String::into_bytes),
        proptest::sample::select(vec!["1", "true", "m", "a:b", "{}", "[", "{\"a\":{\"b\":[1,2.5,null]}}", ""])
            .prop_map(|text| text.as_bytes().to_vec()),
        Just(samples::safetensors(1)),
        Just(samples::hostile_pickle()),
        Just(format!("\r\n--{BOUNDARY}\r\n").into_bytes()),
    ];
    let filenames = proptest::option::of(prop_oneof!["[a-z./\\\\]{0,9}", "\\PC{1,6}", Just("m.bin".to_owned())]);
    let extra = proptest::option::of(prop_oneof![
        Just("Content-Type: text/plain; charset=utf-16".to_owned()),
        Just("Content-Transfer-Encoding: base64".to_owned()),
        "[A-Za-z]{1,5}: [ -~]{0,10}",
        "[ -~]{0,10}",
    ]);
    let part = (names, filenames, extra, values);
    let form =
        (proptest::collection::vec(part, 0..4), proptest::option::weighted(0.2, any::<proptest::sample::Index>()));
    let mut kept = Kept { client: &user, connection: None };
    let mut published = 0;
    let mut seed = 0;
    cases((form, any::<bool>(), any::<bool>()), 400, |((parts, cut), chunked, is_fine)| {
        seed += 1;
        // Half of them begin as they should, so that what follows is looked at.
        let begun = if is_fine { Form::new().file("m.bin", &samples::safetensors(seed)) } else { Form::new() };
        let form = parts.into_iter().fold(begun, |form, (name, filename, extra, value)| {
            let mut headers = format!("Content-Disposition: form-data; name=\"{name}\"");
            if let Some(filename) = filename {
                headers.push_str(&format!("; filename=\"{filename}\""));
            }
            if let Some(extra) = extra {
                headers.push_str(&format!("\r\n{extra}"));
            }
            form.part(&headers, &value)
        });
        let mut body = form.finish();
        if let Some(cut) = cut {
            body.truncate(cut.index(body.len()));
        }
        let request =
            user.request("POST", "/models").header("Connection", "keep-alive").body(&Form::content_type(), body);
        let request = if chunked { request.chunked(50) } else { request };
        let octets = [request.head_octets(), request.body_octets()].concat();
        if kept.send("POST", &octets) < 300 {
            published += 1;
        }
        wait::until_true("what was staged to vanish", || oracle::staged(&daemon.data_dir()) == 0);
    });
    assert!(published > 0, "some are fine");
    assert!(user.value("/models")["total"].as_u64().unwrap() <= published);
}

/// JSON of random shape is answered on every route that takes JSON.
#[test]
fn bodies() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    admin.upload("m", "m.safetensors", &samples::safetensors(1));
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,12}".prop_map(Value::from),
        proptest::sample::select(vec!["viewer", "admin", "m", "a-perfectly-fine-one"]).prop_map(Value::from),
    ];
    let keys = proptest::sample::select(vec![
        "username",
        "password",
        "role",
        "disabled",
        "description",
        "tags",
        "owner",
        "reason",
        "version",
        "old_password",
        "new_password",
        "x",
    ]);
    let value = leaf.prop_recursive(4, 20, 4, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys.clone().prop_map(str::to_owned), inner, 0..4)
                .prop_map(|members| members.into_iter().collect()),
        ]
    });
    let routes = proptest::sample::select(vec![
        ("POST", "/register"),
        ("PATCH", "/users/carl"),
        ("PATCH", "/models/m"),
        ("PUT", "/models/m/aliases/live"),
        ("POST", "/models/m/versions/1/deprecate"),
        ("PATCH", "/models/m/versions/1"),
        ("POST", "/me/password"),
        ("POST", "/users/carl/password"),
    ]);
    let text = prop_oneof![
        6 => value.prop_map(|value| value.to_string()),
        1 => "[\\[\\]{}\",:0-9a-z ]{0,20}",
        1 => "[\\[{]{1,200}",
    ];
    let mut kept = Kept { client: &admin, connection: None };
    cases((routes, text), 500, |((method, target), text)| {
        let request = admin.request(method, target).header("Connection", "keep-alive");
        let request = request.body("application/json", text);
        kept.send(method, &[request.head_octets(), request.body_octets()].concat());
    });
}

/// Header fields that matter, with values that don't parse, are ignored or refused.
#[test]
fn headers() {
    let daemon = Daemon::start();
    let user = daemon.user("carl", Role::Contributor);
    user.upload("m", "m.safetensors", &samples::safetensors(1));
    let names = proptest::sample::select(vec![
        "Range",
        "If-Range",
        "If-Match",
        "If-None-Match",
        "If-Modified-Since",
        "Accept",
        "Accept-Encoding",
        "X-Request-Id",
        "User-Agent",
        "Idempotency-Key",
        "Content-Type",
        "Expect",
        "Host",
    ]);
    let values = prop_oneof![
        "[ -~]{0,30}",
        "bytes=[0-9,-]{0,12}",
        "(W/)?\"[ -~]{0,5}\"(, ?\"x\")?",
        "[a-z*/;=,.0-9 ]{0,20}",
        "\\PC{0,10}",
        "x{3000}",
    ];
    let mut kept = Kept { client: &user, connection: None };
    let targets =
        proptest::sample::select(vec!["/models/m/download", "/models/m", "/models", "/docs", "/openapi.json"]);
    cases((targets, proptest::collection::vec((names, values), 1..4)), 600, |(target, headers)| {
        let request = user.request("GET", target).header("Connection", "keep-alive");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value.trim()));
        kept.send("GET", &request.head_octets());
    });
}
