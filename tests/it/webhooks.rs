//! Webhooks: what is sent, to whom, in which order and how often, with receivers that behave in every way; and what is sent
//! to nobody.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tests::daemon::Daemon;
use tests::hooks::{Received, Receiver, Reply};
use tests::http::Client;
use tests::samples;
use tests::tls::{Authority, Fault, Front, HERE};
use tests::wait;

/// Lets messages go to the tests' receivers.
const HERE_ALLOWED: (&str, &str) = ("MREG_WEBHOOK_ALLOW", "127.0.0.0/8");
/// What is said where a webhook is disabled.
const DISABLED: &str = "a webhook was disabled";

fn daemon() -> Daemon {
    Daemon::with(&[HERE_ALLOWED])
}

fn upload(admin: &Client, name: &str, number: u32) -> Value {
    admin.upload(name, "model.safetensors", &samples::safetensors(number))
}

/// A webhook, and its secret.
fn hook(admin: &Client, url: &str, actions: &[&str]) -> (String, String) {
    let made = admin.post("/webhooks", &json!({"url": url, "actions": actions})).expect(201).json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    admin.ledger().add_secret(&secret);
    (made["id"].as_str().unwrap().to_owned(), secret)
}

fn state(admin: &Client, id: &str) -> Value {
    admin.value(&format!("/webhooks/{id}"))
}

fn attempts(admin: &Client, id: &str) -> Vec<Value> {
    admin.value(&format!("/webhooks/{id}/deliveries"))["items"].as_array().unwrap().clone()
}

fn indices(seen: &[Received]) -> Vec<u64> {
    seen.iter().map(Received::index).collect()
}

/// Entries that fit are told: in order, once, signed, with the place in the log where each can be checked. Neither secret nor
/// the receiver's own is in the log, in what is stored or in the diagnostics.
#[test]
fn entries_are_told() {
    let mut daemon = daemon();
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let asked = json!({
        "url": receiver.url(), "description": "for the dashboard", "actions": ["model.upload", "alias.*"],
        "models": ["team/*"],
    });
    let made = admin.post("/webhooks", &asked).expect(201);
    let location = made.need("location").to_owned();
    let made = made.json();
    let secret = made["secret"].as_str().unwrap().to_owned();
    daemon.ledger().add_secret(&secret);
    daemon.ledger().add_secret("of-the-receiver");
    assert_eq!(
        (&made["outcomes"], &made["enabled"], &made["state"]),
        (&json!(["ok"]), &json!(true), &json!("working"))
    );
    upload(&admin, "other/m", 1);
    upload(&admin, "team/m", 2);
    admin.put("/models/team%2Fm/aliases/best", &json!({"version": 1})).expect(200);
    admin.put("/models/team%2Fm/aliases/best", &json!({"version": 9})).problem("not-found");
    for number in 3..6 {
        upload(&admin, "team/n", number);
    }
    let seen = receiver.wait_for(5);
    let kinds: Vec<Value> = seen.iter().map(|message| message.json()["type"].clone()).collect();
    assert_eq!(kinds, ["model.upload", "alias.set", "model.upload", "model.upload", "model.upload"]);
    assert!(indices(&seen).is_sorted_by(|a, b| a < b), "{:?}", indices(&seen));
    let versions: Vec<Value> = seen.iter().map(|message| message.json()["data"]["target"]["version"].clone()).collect();
    assert_eq!(versions[2..], ["1", "2", "3"]);
    for message in &seen {
        assert_eq!(message.signed(&secret), (1, true));
        assert_eq!(
            (message.target.as_str(), message.need("content-type")),
            ("/hook?token=of-the-receiver", "application/json")
        );
        assert!(message.need("user-agent").starts_with("mregd/"));
        let hash = STANDARD.decode(message.json()["data"]["log"]["leaf_hash"].as_str().unwrap()).unwrap();
        let digits = hex::encode(&hash[..6]);
        assert_eq!(message.id(), format!("msg_{}_{}_{digits}", made["id"].as_str().unwrap(), message.index()));
        let body = message.json();
        assert!(body["data"]["target"]["name"].as_str().unwrap().starts_with("team/"));
        assert_eq!(body["data"]["actor"]["name"], "admin");
        // Whoever may read the log finds the entry there, and it is the one.
        let entry = admin.get(&format!("/audit-logs/{}", message.index())).expect(200).json();
        assert_eq!(body["data"]["log"]["leaf_hash"], entry["leaf_hash"]);
        let told = &entry["entry"];
        assert_eq!(
            (&told["action"], &told["ts"], &told["id"]),
            (&body["type"], &body["timestamp"], &body["data"]["id"])
        );
    }
    wait::until_true("all is told", || admin.value(&location)["behind"] == 0);
    let rows = attempts(&admin, made["id"].as_str().unwrap());
    assert_eq!(rows.len(), 5, "newest first");
    assert_eq!(
        (&rows[0]["id"], &rows[0]["delivered"], &rows[0]["status"]),
        (&json!(seen[4].id()), &json!(true), &json!(204))
    );
    let status = admin.value("/status")["webhooks"].clone();
    assert_eq!((&status["hooks"], &status["delivered"], &status["failing"]), (&json!(1), &json!(5), &json!(0)));
    let page = String::from_utf8(admin.get("/metrics").expect(200).body).unwrap();
    assert!(page.lines().any(|line| line == "mreg_webhooks_delivered_total 5"), "{page}");
    assert!(!admin.get(&location).text().contains("whsec_"), "it is shown once");

    admin.delete(&location).expect(200);
    admin.get(&location).problem("not-found");
    upload(&admin, "team/o", 7);
    daemon.stop();
    assert_eq!(receiver.seen().len(), 5, "nothing is told of what is deleted");
    let octets = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    for file in files(&daemon.data_dir()) {
        let stored = std::fs::read(&file).unwrap();
        let has = |part: &[u8]| stored.windows(part.len()).any(|found| found == part);
        assert!(!has(&octets) && !has(secret.as_bytes()), "{}", file.display());
    }
}

fn files(dir: &std::path::Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    entries
        .flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] })
        .filter(|path| path.is_file())
        .collect()
}

/// Receivers that hang, answer without end, redirect, fail or are gone: each costs its own webhook only, and what comes of it
/// is shown.
#[test]
fn receivers_of_every_kind() {
    let mut daemon = daemon();
    daemon.expect_line(DISABLED);
    let admin = daemon.admin();
    let good = Receiver::start();
    let aside = Receiver::start();
    let (there, slow) = (aside.url(), Duration::from_millis(300));
    let bad = [
        Receiver::answering(|_message, _before| Reply::Never),
        Receiver::answering(|_message, _before| Reply::Endless(200)),
        Receiver::answering(move |_message, _before| Reply::With(307, format!("location: {there}"))),
        Receiver::answering(|_message, before| Reply::Status(if before == 0 { 500 } else { 200 })),
        Receiver::answering(|_message, _before| Reply::Status(410)),
        Receiver::answering(|_message, before| match before {
            0 => Reply::With(503, "retry-after: 1".to_owned()),
            _ => Reply::Late(202, Duration::from_millis(50)),
        }),
        Receiver::answering(move |_message, _before| Reply::Late(200, slow)),
    ];
    let hooks: Vec<_> = bad.iter().map(|receiver| hook(&admin, &receiver.url(), &["model.upload"])).collect();
    let (first, secret) = hook(&admin, &good.url(), &["model.upload"]);
    let began = Instant::now();
    for number in 1..=5 {
        upload(&admin, "m", number);
    }
    let seen = good.wait_for(5);
    assert!(began.elapsed() < Duration::from_secs(15), "nobody waited for the one that hangs");
    assert!(seen.iter().all(|message| message.signed(&secret).1));
    assert_eq!(state(&admin, &first)["failures"], 0);

    let [hangs, endless, redirects, flaky, gone, busy, late] =
        <[_; 7]>::try_from(hooks.into_iter().map(|(id, _secret)| id).collect::<Vec<_>>()).unwrap();
    // A body that nobody reads to its end is no failure.
    wait::until_true("the endless one", || state(&admin, &endless)["behind"] == 0);
    wait::until_true("the late one", || state(&admin, &late)["behind"] == 0);
    assert_eq!(indices(&bad[6].seen()), indices(&seen));
    // What failed once comes again under the same id, before what follows it.
    wait::until_true("the one that failed once", || state(&admin, &flaky)["behind"] == 0);
    let ids: Vec<String> = bad[3].seen().iter().map(|message| message.id().to_owned()).collect();
    assert_eq!((ids.len(), &ids[0]), (6, &ids[1]));
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 5);
    let rows = attempts(&admin, &flaky);
    assert_eq!((&rows[5]["status"], &rows[5]["attempt"], &rows[4]["attempt"]), (&json!(500), &json!(1), &json!(2)));
    wait::until_true("the one that was busy", || state(&admin, &busy)["behind"] == 0);
    assert_eq!(bad[5].seen().len(), 6);
    // Nobody follows a redirect.
    wait::until_true("the redirect is known", || state(&admin, &redirects)["state"] == "failing");
    let said = state(&admin, &redirects);
    assert!(said["last_error"].as_str().unwrap().contains("307"), "{said}");
    assert!(said["next_attempt_at"].is_string() && aside.seen().is_empty(), "{said}");
    // Who is gone is left alone, and an entry says so.
    wait::until_true("the one that is gone", || state(&admin, &gone)["state"] == "disabled");
    let said = state(&admin, &gone);
    assert_eq!((&said["enabled"], bad[4].seen().len()), (&json!(false), 1));
    assert!(said["disabled_because"].as_str().unwrap().contains("410"), "{said}");
    let entry = admin.value("/audit-logs?action=webhook.disable")["items"][0].clone();
    assert_eq!(entry["entry"]["target"]["id"], json!(gone), "{entry}");
    // Who hangs has not answered within 15 s.
    wait::until_true("the one that hangs", || state(&admin, &hangs)["state"] == "failing");
    assert!(state(&admin, &hangs)["last_error"].as_str().unwrap().contains("15 s"));
    let status = admin.value("/status")["webhooks"].clone();
    assert_eq!((&status["disabled"], &status["failing"]), (&json!(1), &json!(2)), "{status}");
}

/// Killed again and again, the daemon loses no message; what comes twice has the same id and the same octets.
#[test]
fn nothing_is_lost_by_kills() {
    let mut daemon = daemon();
    let receiver = Receiver::answering(|_message, _before| Reply::Late(200, Duration::from_millis(20)));
    let (id, secret) = hook(&daemon.admin(), &receiver.url(), &["model.upload"]);
    let mut wanted = BTreeSet::new();
    for round in 0..4_u32 {
        let admin = daemon.client().signed_in("admin", tests::daemon::ADMIN_PASSWORD);
        for number in 0..6 {
            upload(&admin, "m", round * 10 + number);
        }
        let page = admin.value("/audit-logs?action=model.upload&limit=100");
        wanted.extend(page["items"].as_array().unwrap().iter().map(|row| row["index"].as_u64().unwrap()));
        // In the middle of it.
        receiver.wait_for(usize::try_from(round).unwrap() * 6 + 2);
        daemon.kill();
        daemon.restart();
    }
    let admin = daemon.client().signed_in("admin", tests::daemon::ADMIN_PASSWORD);
    wait::until_true("all is told", || state(&admin, &id)["behind"] == 0);
    let seen = receiver.seen();
    assert_eq!(wanted.len(), 24);
    let mut bodies: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut newest = 0;
    for message in &seen {
        assert!(message.signed(&secret).1);
        let index = message.index();
        let is_new = !bodies.contains_key(message.id());
        assert!(!is_new || index > newest, "entry {index} came after {newest}");
        newest = newest.max(index);
        let before = bodies.insert(message.id().to_owned(), message.body.clone());
        assert!(before.is_none_or(|before| before == message.body));
    }
    assert_eq!(indices(&seen).into_iter().collect::<BTreeSet<_>>(), wanted);
    // An orderly stop writes down all of it.
    daemon.stop();
    daemon.restart();
    let admin = daemon.client().signed_in("admin", tests::daemon::ADMIN_PASSWORD);
    upload(&admin, "m", 99);
    let after = receiver.wait_for(seen.len() + 1);
    assert!(!bodies.contains_key(after.last().unwrap().id()), "nothing came twice");
    assert!(attempts(&admin, &id).len() > 10, "attempts are remembered");
}

/// A new secret signs from now on, the one before beside it for as long as was said, and an idempotency key gives the same
/// answer again.
#[test]
fn secrets_change_over() {
    let daemon = daemon();
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let create = || {
        let request = admin.request("POST", "/webhooks").header("idempotency-key", "h-1");
        request.json(&json!({"url": receiver.url(), "actions": ["model.*"]})).send().json()
    };
    let (made, again) = (create(), create());
    assert_eq!((&made["id"], &made["secret"]), (&again["id"], &again["secret"]));
    let (id, first) = (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned());
    let path = format!("/webhooks/{id}");
    let rotated = admin.post_empty(&format!("{path}/rotate-secret")).expect(200).json();
    let second = rotated["secret"].as_str().unwrap().to_owned();
    for secret in [&first, &second] {
        daemon.ledger().add_secret(secret);
    }
    assert_ne!(first, second);
    assert!(rotated["previous_secret_until"].is_string());
    upload(&admin, "m", 1);
    let seen = receiver.wait_for(1);
    assert_eq!((seen[0].signed(&first), seen[0].signed(&second)), ((2, true), (2, true)));
    let third = admin.post(&format!("{path}/rotate-secret"), &json!({"overlap_seconds": 0})).expect(200).json();
    let third = third["secret"].as_str().unwrap().to_owned();
    daemon.ledger().add_secret(&third);
    upload(&admin, "m", 2);
    let seen = receiver.wait_for(2);
    assert_eq!((seen[1].signed(&second), seen[1].signed(&third)), ((1, false), (1, true)));
    admin.post(&format!("{path}/rotate-secret"), &json!({"overlap_seconds": 604_801})).invalid("body.overlap_seconds");
    admin.post(&format!("{path}/rotate-secret"), &json!({"overlap_seconds": u64::MAX})).invalid("body.overlap_seconds");
}

/// Nothing is sent where it must not go, whether that is typed or what a name means.
#[test]
fn addresses_are_guarded() {
    let daemon = Daemon::start();
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let port = receiver.address().port();
    for host in
        ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "10.0.0.1", "169.254.169.254", "0.0.0.0", "[fd00:ec2::254]"]
    {
        let body = json!({"url": format!("http://{host}:{port}/"), "actions": ["*"]});
        admin.post("/webhooks", &body).invalid("body.url");
    }
    for url in ["ftp://h/", "file:///etc/passwd", "https://u:p@h/", "http://8.8.8.8:25/", "nonsense"] {
        admin.post("/webhooks", &json!({"url": url, "actions": ["*"]})).invalid("body.url");
    }
    for url in
        [format!("http://localhost:{port}/"), format!("http://2130706433:{port}/"), format!("http://0x7f.1:{port}/")]
    {
        let (id, _secret) = hook(&admin, &url, &["model.upload"]);
        let tried = admin.post_empty(&format!("/webhooks/{id}/test")).expect(200).json();
        assert_eq!((&tried["delivered"], &tried["status"]), (&json!(false), &Value::Null), "{url}: {tried}");
    }
    let named = admin.value("/webhooks")["items"][0]["id"].as_str().unwrap().to_owned();
    let said = attempts(&admin, &named)[0]["error"].as_str().unwrap().to_owned();
    assert!(said.contains("of this machine") && said.contains("MREG_WEBHOOK_ALLOW"), "{said}");
    assert!(receiver.seen().is_empty());
    for (body, place) in [
        (json!({"url": "https://h/", "actions": []}), "body.actions"),
        (json!({"url": "https://h/", "actions": ["model.upolad"]}), "body.actions"),
        (json!({"url": "https://h/", "actions": ["*"], "models": ["a b"]}), "body.models[0]"),
        (json!({"url": "https://h/", "actions": ["*"], "outcomes": ["fine"]}), "body.outcomes"),
        (json!({"url": "https://h/", "actions": ["*"], "description": "x".repeat(1001)}), "body.description"),
    ] {
        admin.post("/webhooks", &body).invalid(place);
    }
}

/// A webhook goes on where somebody says, sends one message again, and loses nothing while it is disabled.
#[test]
fn replays() {
    let daemon = daemon();
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let (id, secret) = hook(&admin, &receiver.url(), &["model.upload"]);
    let path = format!("/webhooks/{id}");
    for number in 1..=3 {
        upload(&admin, "m", number);
    }
    let seen = receiver.wait_for(3);
    let again = admin.post_empty(&format!("{path}/deliveries/{}/replay", seen[1].id())).expect(200).json();
    assert_eq!(
        (&again["delivered"], &again["kind"], &again["index"]),
        (&json!(true), &json!("replay"), &json!(seen[1].index()))
    );
    let fourth = receiver.wait_for(4)[3].clone();
    assert_eq!((fourth.id(), &fourth.body), (seen[1].id(), &seen[1].body));
    assert!(fourth.signed(&secret).1);
    let (before, digits) = seen[1].id().rsplit_once('_').unwrap();
    for odd in [
        "msg_x_1".to_owned(),
        format!("msg_{id}_999999_{digits}"),
        format!("msg_{id}_0_{digits}"),
        format!("msg_{id}_test_1"),
        before.to_owned(),
        // Of an entry that was there before a rollback.
        format!("{before}_000000000000"),
    ] {
        admin.post_empty(&format!("{path}/deliveries/{odd}/replay")).problem("not-found");
    }
    admin.post(&format!("{path}/replay"), &json!({"from": seen[1].index()})).expect(200);
    let after = receiver.wait_for(6);
    assert_eq!([after[4].id(), after[5].id()], [seen[1].id(), seen[2].id()]);
    admin.post(&format!("{path}/replay"), &json!({"from": 1_000_000})).invalid("body.from");

    // The tag is of what can be changed: a delivery doesn't move it.
    let tag = admin.get(&path).expect(200).need("etag").to_owned();
    upload(&admin, "m", 4);
    receiver.wait_for(7);
    let disable = |tag: &str| {
        let request = admin.request("PATCH", &path).header("if-match", tag);
        request.json(&json!({"enabled": false, "description": "for a while"})).send()
    };
    assert_eq!(disable(&tag).expect(200).json()["state"], "disabled");
    disable(&tag).problem("precondition-failed");
    upload(&admin, "m", 5);
    let tried = admin.post_empty(&format!("{path}/test")).expect(200).json();
    assert_eq!((&tried["delivered"], &tried["type"]), (&json!(true), &json!("webhook.test")));
    assert_eq!(receiver.wait_for(8)[7].json()["type"], "webhook.test");
    admin.patch(&path, &json!({"enabled": true})).expect(200);
    let last = receiver.wait_for(9)[8].clone();
    assert_eq!(last.json()["data"]["target"]["version"], "5");
    assert!(admin.get("/audit-logs?action=webhook.replay").expect(200).text().contains(r#""from":"#));
}

/// A receiver that fails for as long as the setting says is given up; enabled again, it gets what it missed.
#[test]
fn giving_up() {
    let mut daemon = Daemon::with(&[HERE_ALLOWED, ("MREG_WEBHOOK_GIVE_UP", "1s")]);
    daemon.expect_line(DISABLED);
    let admin = daemon.admin();
    let healed = Arc::new(AtomicBool::new(false));
    let is_healed = Arc::clone(&healed);
    let receiver = Receiver::answering(move |_message, _before| {
        Reply::Status(if is_healed.load(Ordering::Relaxed) { 200 } else { 500 })
    });
    let (id, _secret) = hook(&admin, &receiver.url(), &["model.upload"]);
    upload(&admin, "m", 1);
    wait::until_true("it is given up", || state(&admin, &id)["state"] == "disabled");
    assert_eq!(receiver.seen().len(), 2, "it is tried twice at least");
    let reason = state(&admin, &id)["disabled_because"].as_str().unwrap().to_owned();
    assert!(reason.contains("500"), "{reason}");
    upload(&admin, "m", 2);
    healed.store(true, Ordering::Relaxed);
    daemon.stop();
    daemon.restart();
    let admin = daemon.client().signed_in("admin", tests::daemon::ADMIN_PASSWORD);
    admin.patch(&format!("/webhooks/{id}"), &json!({"enabled": true})).expect(200);
    let seen = receiver.wait_for(4);
    assert_eq!(seen[2].id(), seen[0].id());
    assert!(seen[3].index() > seen[2].index());
}

/// In TLS, certificates are checked, with the authorities that the setting names.
#[test]
fn in_tls() {
    let (authority, other) = (Authority::new("ours"), Authority::new("theirs"));
    let daemon = Daemon::with(&[HERE_ALLOWED, ("MREG_WEBHOOK_CA_FILE", &authority.path())]);
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let fronts = [
        Front::start(&authority.pair(&HERE, Fault::None), receiver.address()),
        Front::start(&other.pair(&HERE, Fault::None), receiver.address()),
        Front::start(&authority.pair(&["elsewhere.example"], Fault::None), receiver.address()),
        Front::start(&authority.pair(&HERE, Fault::Expired), receiver.address()),
    ];
    let delivered = fronts.each_ref().map(|front| {
        let (id, _secret) = hook(&admin, &format!("{}/x", front.url()), &["model.upload"]);
        admin.post_empty(&format!("/webhooks/{id}/test")).expect(200).json()["delivered"].clone()
    });
    assert_eq!(delivered, [true, false, false, false]);
    assert_eq!(receiver.seen().len(), 1);
}

/// With another key nothing is signed, and nothing is sent; a new secret puts it right, and nothing was lost.
#[test]
fn another_key() {
    let mut daemon = daemon();
    let receiver = Receiver::start();
    let (id, _secret) = hook(&daemon.admin(), &receiver.url(), &["model.upload"]);
    daemon.stop();
    daemon.set("MREG_WEBHOOK_KEY", "a-key-of-tests-that-is-long-enough-for-it");
    daemon.restart();
    let admin = daemon.client().signed_in("admin", tests::daemon::ADMIN_PASSWORD);
    upload(&admin, "m", 1);
    assert_eq!(state(&admin, &id)["state"], "keyless");
    admin.post_empty(&format!("/webhooks/{id}/test")).problem("conflict");
    assert!(receiver.seen().is_empty());
    let rotated = admin.post_empty(&format!("/webhooks/{id}/rotate-secret")).expect(200).json();
    let secret = rotated["secret"].as_str().unwrap().to_owned();
    daemon.ledger().add_secret(&secret);
    daemon.ledger().add_secret("a-key-of-tests-that-is-long-enough-for-it");
    let seen = receiver.wait_for(1);
    assert_eq!(seen[0].signed(&secret), (1, true), "what the lost key made doesn't sign");
}

/// `mregd webhook` does at the control socket what there is to do: a secret alone on standard output, and once; what a receiver
/// did not take is a failure that says why; what is wrong is said in a line; and a stopped daemon is no place for it.
#[test]
fn by_the_operator() {
    let mut daemon = daemon();
    let (admin, receiver) = (daemon.admin(), Receiver::start());
    let done = |arguments: &str| -> (String, String) {
        let arguments: Vec<&str> = ["webhook"].into_iter().chain(arguments.split(' ')).collect();
        let output = daemon.run(&arguments, "");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}: {told}");
        (String::from_utf8(output.stdout).unwrap(), told)
    };
    let fails = |arguments: &str, status: i32, part: &str| {
        let arguments: Vec<&str> = ["webhook"].into_iter().chain(arguments.split(' ')).collect();
        let output = daemon.run(&arguments, "");
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(status), "{arguments:?}: {told}");
        assert!(told.contains(part), "{arguments:?}: {told}");
    };
    // An address that has a secret in it is no argument.
    let made = daemon.run(
        &["webhook", "create", "--url-file", "-", "--action", "model.upload,alias.*", "--models", "team/*"],
        &format!("{}\n", receiver.url()),
    );
    let said = String::from_utf8(made.stderr).unwrap();
    assert!(made.status.success(), "{said}");
    let secret_of = |text: &str| {
        let secret = text.strip_suffix('\n').unwrap().to_owned();
        assert!(secret.starts_with("whsec_") && secret.lines().count() == 1, "the secret alone");
        daemon.ledger().add_secret(&secret);
        secret
    };
    let first = secret_of(&String::from_utf8(made.stdout).unwrap());
    assert!(said.contains("working") && !said.contains(&first), "{said}");
    let shown = admin.value("/webhooks")["items"][0].clone();
    let id = shown["id"].as_str().unwrap().to_owned();
    assert_eq!(
        (&shown["url"], &shown["actions"], &shown["models"], &shown["outcomes"]),
        (&json!(receiver.url()), &json!(["model.upload", "alias.*"]), &json!(["team/*"]), &json!(["ok"]))
    );
    assert!(said.contains(&id), "{said}");
    let (list, _) = done("list");
    assert!(list.starts_with(&format!("{id}\tworking\t")) && list.lines().count() == 1, "{list}");
    assert!(!list.contains("of-the-receiver"), "{list}");
    let listed: Value = serde_json::from_str(&done("list --json").0).unwrap();
    assert_eq!(listed[0]["id"], shown["id"]);
    let one: Value = serde_json::from_str(&done(&format!("show {id}")).0).unwrap();
    assert_eq!((&one["url"], one.get("secret")), (&shown["url"], None));

    upload(&admin, "team/m", 1);
    let seen = receiver.wait_for(1);
    assert!(seen[0].signed(&first).1);
    let (tried, _) = done(&format!("test {id}"));
    assert!(tried.contains("\ttest\t1\t204\t") && tried.contains("webhook.test"), "{tried}");
    assert_eq!(receiver.wait_for(2)[1].json()["type"], "webhook.test");
    let (again, _) = done(&format!("replay {id} --message {}", seen[0].id()));
    assert!(again.contains("\treplay\t") && again.contains(seen[0].id()), "{again}");
    assert_eq!(receiver.wait_for(3)[2].body, seen[0].body);
    done(&format!("replay {id} --from {}", seen[0].index()));
    assert_eq!(receiver.wait_for(4)[3].id(), seen[0].id());
    wait::until_true("all is told", || state(&admin, &id)["behind"] == 0);
    let (deliveries, _) = done(&format!("deliveries {id}"));
    assert_eq!(deliveries.lines().count(), 4, "{deliveries}");
    let rows: Value = serde_json::from_str(&done(&format!("deliveries {id} --json")).0).unwrap();
    assert_eq!((rows.as_array().unwrap().len(), &rows[3]["kind"]), (4, &json!("event")));

    let (second, said) = done(&format!("rotate-secret {id} --overlap 1h"));
    let second = secret_of(&second);
    assert!(said.contains("until 20") && !said.contains(&second), "{said}");
    upload(&admin, "team/m", 2);
    let both = receiver.wait_for(5)[4].clone();
    assert_eq!((both.signed(&first), both.signed(&second)), ((2, true), (2, true)));
    let (third, said) = done(&format!("rotate-secret {id} --void"));
    let third = secret_of(&third);
    assert!(said.contains("void"), "{said}");

    done(&format!("disable {id}"));
    upload(&admin, "other/m", 3);
    upload(&admin, "team/m", 4);
    assert_eq!(state(&admin, &id)["state"], "disabled");
    let (updated, _) = done(&format!("update {id} --any-model --action model.upload --outcome ok,denied"));
    assert!(updated.contains("\tdisabled\t"), "{updated}");
    assert_eq!(
        (&state(&admin, &id)["models"], &state(&admin, &id)["outcomes"]),
        (&json!([]), &json!(["ok", "denied"]))
    );
    done(&format!("enable {id}"));
    let seen = receiver.wait_for(7);
    let names: Vec<Value> = seen[5..].iter().map(|message| message.json()["data"]["target"]["name"].clone()).collect();
    assert_eq!(names, ["other/m", "team/m"]);
    assert_eq!(seen[6].signed(&third), (1, true));

    let dead = tests::postgres::Postgres::free_port();
    done(&format!("update {id} --url http://127.0.0.1:{dead}/"));
    fails(&format!("test {id}"), 75, "the receiver didn't take it");
    fails("show nonsense", 64, "nonsense");
    fails("show 01ARZ3NDEKTSV4RRFFQ69G5FAV", 64, "webhook");
    fails(&format!("update {id}"), 64, "--url");
    fails(&format!("replay {id}"), 64, "--from");
    fails(&format!("replay {id} --from 99999999"), 64, "the log ends before that");
    fails("create --url https://h.example/ --action model.upolad", 64, "model.upolad");
    fails("create --url http://10.0.0.1/ --action *", 64, "10.0.0.1");

    let (gone, said) = done(&format!("delete {id}"));
    assert!(gone.is_empty() && said.contains(&id), "{said}");
    assert_eq!(done("list").0, "");
    fails(&format!("enable {id}"), 64, "webhook");
    let made = &admin.value("/audit-logs?action=webhook.create")["items"][0]["entry"];
    assert!(made["actor"]["name"].as_str().is_some_and(|name| name != "admin"), "the operator did it: {made}");
    daemon.stop();
    let output = daemon.run(&["webhook", "list"], "");
    assert_eq!(output.status.code(), Some(75), "{}", String::from_utf8_lossy(&output.stderr));
}
