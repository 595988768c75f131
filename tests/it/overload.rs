//! Beyond what the daemon can do: who is turned away, with which answer, who still gets through, and what it costs.
//! Decided by answers and counts; how fast any of it is, the bench `overload` tells.

use std::fs;
use std::io::ErrorKind;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use common::role::Role;
use serde_json::json;
use tests::daemon::{ADMIN, ADMIN_PASSWORD, Daemon};
use tests::drop::DropFolder;
use tests::http::{Client, Connection, Response};
use tests::http2::{self, END_HEADERS, END_STREAM, Kind, frame};
use tests::{oracle, samples, wait};

/// Ends the threads that look at it, also where what they run beside fails.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// A request that is under way for as long as its connection is held: an upload of which a part has come.
fn under_way(daemon: &Daemon, client: &Client, name: &str) -> Held {
    let before = oracle::staged(&daemon.data_dir());
    wait::until("an upload to be under way", || {
        let held = begun(client, name);
        held.connection.stream().set_read_timeout(Some(Duration::from_millis(5))).unwrap();
        // Who asked before may still be counted: then it is refused, and tried again.
        let is_refused = || match held.connection.stream().peek(&mut [0]) {
            Ok(_) => true,
            Err(error) => !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut),
        };
        let is_decided = || is_refused() || oracle::staged(&daemon.data_dir()) > before;
        wait::until_true("the upload to be staged or refused", is_decided);
        held.connection.stream().set_read_timeout(Some(wait::DEADLINE)).unwrap();
        (oracle::staged(&daemon.data_dir()) > before).then_some(held)
    })
}

fn begun(client: &Client, name: &str) -> Held {
    let upload = client.request("PUT", &format!("/models/{name}/artifact"));
    let upload = upload
        .header("Connection", "keep-alive")
        .body("application/octet-stream", samples::large_safetensors(300_000, 7));
    let mut connection = client.connect();
    connection.write(&upload.head_octets()).unwrap();
    let mut rest = upload.body_octets();
    // The first octets wait in memory until there are more. Who is refused may be closed meanwhile.
    let _ = connection.write(&rest.drain(..200_000).collect::<Vec<_>>());
    Held { connection, rest }
}

struct Held {
    connection: Connection,
    rest: Vec<u8>,
}

impl Held {
    fn end(mut self) -> Response {
        self.connection.write(&self.rest).unwrap();
        self.connection.read_response("PUT").unwrap()
    }
}

fn end(held: [Held; 2]) {
    for one in held {
        one.end().expect(201);
    }
}

/// A figure of `/metrics`. A connection that gives way may not have ended yet.
fn metric(client: &Client, name: &str) -> f64 {
    let is_asked = |answer: &Response| !matches!(answer.status, 429 | 503);
    let answer = wait::until("a place to ask", || Some(client.get("/metrics")).filter(is_asked));
    let text = String::from_utf8(answer.expect(200).body).unwrap();
    let line = text.lines().find(|line| line.split(' ').next() == Some(name));
    line.unwrap_or_else(|| panic!("{name} is not in\n{text}")).rsplit_once(' ').unwrap().1.parse().unwrap()
}

fn turned_away(client: &Client, of: &str) -> f64 {
    metric(client, &format!("mreg_http_turned_away_total{{of=\"{of}\"}}"))
}

fn retry_after(response: &Response) -> u64 {
    response.need("retry-after").parse().unwrap()
}

/// Memory that is the daemon's own, octets.
fn own_memory(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid().as_raw_nonzero())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches("kB").trim().parse::<u64>().unwrap() * 1024
}

/// A connection on which nothing is asked makes room for one that comes; one that is asked something does not.
#[test]
fn idle_ones_give_way() {
    let daemon = Daemon::with(&[("MREG_MAX_CONNECTIONS", "3")]);
    let carl = daemon.user("carl", Role::Contributor);
    let busy = under_way(&daemon, &carl, "a");
    let mut fresh = carl.connect();
    let mut used = carl.connect();
    let ask = carl.request("GET", "/livez").header("Connection", "keep-alive").head_octets();
    used.write(&ask).unwrap();
    used.read_response("GET").unwrap().expect(200);
    wait::until_true("an idle connection to give way", || carl.get("/livez").status == 200);
    let mut slow = carl.connect();
    slow.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n").unwrap();
    wait::until_true("another to give way", || carl.get("/livez").status == 200);
    wait::until_true("one of those that were idle to be closed", || {
        fresh.is_closed_within(Duration::from_millis(20)) || used.is_closed_within(Duration::from_millis(20))
    });
    assert!(metric(&carl, "mreg_http_connections_gave_way_total") >= 1.0);
    busy.end().expect(201);
}

/// Where all connections are asked something, one more is told so, and they go on.
#[test]
fn busy_ones_stay() {
    let daemon = Daemon::with(&[("MREG_MAX_CONNECTIONS", "2")]);
    let carl = daemon.user("carl", Role::Contributor);
    let held = [under_way(&daemon, &carl, "a"), under_way(&daemon, &carl, "b")];
    wait::until_true("both to be served", || {
        let refused = carl.get("/livez");
        refused.status == 503 && {
            refused.problem("unavailable");
            retry_after(&refused) > 0
        }
    });
    end(held);
    wait::until_true("a place to be free", || carl.get("/livez").status == 200);
    assert!(turned_away(&carl, "connections") >= 1.0);
}

/// An address has so many connections, unless it is a proxy's.
#[test]
fn connections_of_one_address() {
    let setting = ("MREG_MAX_CONNECTIONS_PER_ADDRESS", "2");
    let daemon = Daemon::with(&[setting]);
    let carl = daemon.user("carl", Role::Contributor);
    let held = [under_way(&daemon, &carl, "a"), under_way(&daemon, &carl, "b")];
    let refused = wait::until("one more to be refused", || Some(carl.get("/livez")).filter(|told| told.status != 200));
    refused.problem("too-many-requests");
    assert!(retry_after(&refused) > 0);
    end(held);
    wait::until_true("a place to be free", || carl.get("/livez").status == 200);
    assert!(turned_away(&carl, "address") >= 1.0);

    let daemon = Daemon::with(&[setting, ("MREG_TRUSTED_PROXIES", "127.0.0.1")]);
    let carl = daemon.user("carl", Role::Contributor);
    let held = [under_way(&daemon, &carl, "a"), under_way(&daemon, &carl, "b")];
    carl.get("/models").expect(200);
    end(held);
}

/// Beyond so many requests others get 503, nothing is recorded of it, and who has to see or end it gets through.
#[test]
fn requests_at_once() {
    let daemon = Daemon::with(&[("MREG_MAX_REQUESTS", "2")]);
    let admin = daemon.admin();
    let carl = daemon.user("carl", Role::Contributor);
    let dora = daemon.user("dora", Role::Contributor);
    let held = [under_way(&daemon, &carl, "a"), under_way(&daemon, &carl, "b")];
    wait::until_true("both to be under way", || admin.value("/status")["open_uploads"] == 2);
    let entries = || admin.value("/status")["log"]["size"].as_u64().unwrap();
    let before = entries();
    for refused in [
        dora.get("/models"),
        dora.get("/models/nothing"),
        dora.delete("/models/nothing"),
        dora.request("PUT", "/models/c/artifact").body("application/octet-stream", samples::safetensors(9)).send(),
        daemon.client().get("/log/checkpoint"),
    ] {
        assert_eq!(refused.status, 503);
        refused.problem("overloaded");
        assert!((1..=4).contains(&retry_after(&refused)));
    }
    assert_eq!(entries(), before, "what is turned away is in no log");
    for path in ["/livez", "/readyz", "/metrics", "/version"] {
        daemon.client().get(path).expect(200);
    }
    assert_eq!(turned_away(&admin, "requests"), 5.0);
    assert_eq!(admin.value("/status")["requests"]["turned_away"]["requests"], 5);
    // Signing in and out, revoking, and the operator of the machine.
    let again = daemon.client().signed_in(ADMIN, ADMIN_PASSWORD);
    again.post_empty("/users/dora/sessions/revoke").expect(200);
    again.post_empty("/logout").expect(204);
    let listed = daemon.run(&["user", "list"], "");
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));

    end(held);
    assert_eq!(carl.value("/models")["total"], 2);
}

/// One user has so many requests at once; others go on.
#[test]
fn requests_of_one_client() {
    let daemon = Daemon::with(&[("MREG_MAX_REQUESTS_PER_CLIENT", "1")]);
    let carl = daemon.user("carl", Role::Contributor);
    let dora = daemon.user("dora", Role::Contributor);
    let held = under_way(&daemon, &carl, "a");
    wait::until_true("it to be under way", || dora.value("/status")["open_uploads"] == 1);
    let refused = carl.get("/models");
    refused.problem("too-many-requests");
    assert!(retry_after(&refused) > 0);
    dora.get("/models").expect(200);
    daemon.client().get("/log/checkpoint").expect(200);
    carl.get("/status").expect(200);
    held.end().expect(201);
    carl.get("/models").expect(200);
    assert_eq!(turned_away(&dora, "client"), 1.0);
}

/// A body that comes octet by octet is given up, though it never stands still for long; nothing is kept of it.
#[test]
fn dripping_body() {
    let settings = [("MREG_BODY_IDLE_SECONDS", "2"), ("MREG_MIN_BYTES_PER_SECOND", "1048576")];
    let daemon = Daemon::with(&settings);
    let carl = daemon.user("carl", Role::Contributor);
    let file = samples::large_safetensors(200_000, 1);
    let upload = carl.request("PUT", "/models/m/artifact").body("application/octet-stream", file);
    let mut connection = carl.connect();
    connection.write(&upload.head_octets()).unwrap();
    let mut drops = upload.body_octets().into_iter();
    wait::until_true("it to be given up", || {
        // Sending may fail once the daemon has closed.
        let _ = connection.write(&[drops.next().unwrap()]);
        std::thread::sleep(Duration::from_millis(50));
        oracle::staged(&daemon.data_dir()) == 0 && daemon.admin().value("/status")["open_uploads"] == 0
    });
    connection.read_response("PUT").unwrap().problem("request-timeout");
}

/// Streams of HTTP/2 whose reader takes nothing are ended, and hold little until then.
#[test]
fn streams_without_a_window() {
    const MIB: u64 = 1024 * 1024;
    let mut daemon = Daemon::with(&[("MREG_BODY_IDLE_SECONDS", "3")]);
    daemon.expect_line("answers were cut");
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::large_safetensors(4_000_000, 1));
    let before = own_memory(&daemon);
    let no_window = [(4, 0)];
    let mut attackers: Vec<_> = (0..8)
        .map(|_| {
            let mut one = http2::Connection::open(daemon.address(), &no_window).unwrap();
            for stream in 0..64 {
                let head = http2::head("GET", "/models/m/download", carl.token());
                one.write(&frame(Kind::Headers, END_HEADERS | END_STREAM, stream * 2 + 1, &head)).unwrap();
            }
            one
        })
        .collect();
    wait::until_true("as many to be open as one may have", || turned_away(&carl, "client") >= 1.0);
    let held = own_memory(&daemon).saturating_sub(before);
    assert!(held < 192 * MIB, "{} MiB are held", held / MIB);
    wait::until_true("them to be cut", || {
        attackers.iter_mut().all(|one| one.is_ended_within(Duration::from_millis(10)))
    });
    // The one that asks.
    wait::until_true("nothing to be left of them", || metric(&carl, "mreg_http_requests_open") <= 1.0);
    carl.get("/models/m").expect(200);
}

/// Small answers that nobody takes keep no place, and heads alone keep nobody from signing in.
#[test]
fn readers_that_take_nothing() {
    let daemon = Daemon::with(&[("MREG_MAX_REQUESTS", "8")]);
    let carl = daemon.user("carl", Role::Contributor);
    let asked = |path: &str, method: &str, flags: u8| {
        let mut one = http2::Connection::open(daemon.address(), &[(4, 0)]).unwrap();
        let fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost")];
        for stream in 0..64 {
            one.write(&frame(Kind::Headers, END_HEADERS | flags, stream * 2 + 1, &http2::fields(&fields))).unwrap();
        }
        one
    };
    let held: Vec<_> =
        (0..4).flat_map(|_| [asked("/livez", "GET", END_STREAM), asked("/models", "GET", END_STREAM)]).collect();
    let logins = [asked("/login", "POST", 0), asked("/login", "POST", 0)];
    wait::until_true("all to be asked", || metric(&carl, "mreg_http_requests_open") >= 512.0);
    // While the last of them are being answered, they have places.
    wait::until_true("the daemon to be alive", || daemon.client().get("/livez").status == 200);
    wait::until_true("others to be answered", || daemon.client().get("/models").status == 401);
    wait::until_true("who is signed in to be answered", || carl.get("/models").status == 200);
    assert!(metric(&carl, "mreg_http_requests_open") >= 512.0, "they wait still");
    daemon.client().signed_in(ADMIN, ADMIN_PASSWORD).get("/me").expect(200);
    drop((held, logins));
}

/// Streams that are opened and reset at once leave nothing behind (CVE-2023-44487), also where what they ask is a change.
#[test]
fn rapid_resets() {
    let mut daemon = Daemon::start();
    // What ends such a connection says so.
    daemon.expect_line("reached limit");
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    let body = json!({"description": "x"}).to_string();
    let mut reconnects = 0;
    let mut connection = None;
    for round in 0..100_u32 {
        let stream = round % 40 * 32 + 1;
        if stream == 1 {
            connection = Some(http2::Connection::open(daemon.address(), &[]).unwrap());
        }
        let Some(open) = &mut connection else { continue };
        let mut octets = Vec::new();
        for stream in (stream..stream + 32).step_by(2) {
            octets.extend(frame(Kind::Headers, END_HEADERS, stream, &http2::head("PATCH", "/models/m", carl.token())));
            octets.extend(frame(Kind::Data, END_STREAM, stream, body.as_bytes()));
            octets.extend(frame(Kind::Reset, 0, stream, &8_u32.to_be_bytes()));
        }
        if open.write(&octets).is_err() {
            connection = None;
            reconnects += 1;
        }
    }
    // Either it has ended the connection, or done what was asked; what is open is bounded all the while.
    println!("{reconnects} connections were ended");
    wait::until_true("nothing to be left of them", || metric(&carl, "mreg_http_requests_open") <= 1.0);
    carl.patch("/models/m", &json!({"description": "y"})).expect(200);
}

/// A head that never ends ends its connection, and takes no memory.
#[test]
fn endless_heads() {
    const MIB: u64 = 1024 * 1024;
    let daemon = Daemon::start();
    let client = daemon.client();
    client.get("/livez").expect(200);
    let before = own_memory(&daemon);
    let mut connection = http2::Connection::open(daemon.address(), &[]).unwrap();
    let head = http2::fields(&[(":method", "GET"), (":scheme", "http"), (":path", "/livez")]);
    connection.write(&frame(Kind::Headers, 0, 1, &head)).unwrap();
    let more = http2::fields(&[("x-more", &"x".repeat(8000))]);
    let mut sent = 0;
    wait::until_true("it to be ended", || {
        sent += 1;
        connection.write(&frame(Kind::Continuation, 0, 1, &more)).is_err()
            || connection.is_ended_within(Duration::from_millis(1))
    });
    assert!(sent < 10_000, "{sent} frames were taken");
    assert!(own_memory(&daemon).saturating_sub(before) < 64 * MIB);
    client.get("/livez").expect(200);
}

/// Many connections that begin a large head, and never end it, cost what their heads may have and no more.
#[test]
fn many_slow_heads() {
    const MIB: u64 = 1024 * 1024;
    let daemon = Daemon::with(&[("MREG_MAX_CONNECTIONS_PER_ADDRESS", "600")]);
    let client = daemon.client();
    client.get("/livez").expect(200);
    let before = own_memory(&daemon);
    let begun = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX-Large: {}", "x".repeat(50_000));
    let open: Vec<_> = (0..500)
        .map(|_| {
            let mut one = client.connect();
            one.write(begun.as_bytes()).unwrap();
            one
        })
        .collect();
    wait::until_true("all to be served", || metric(&client, "mreg_http_connections") >= 500.0);
    let held = own_memory(&daemon).saturating_sub(before);
    assert!(held < 160 * MIB, "{} MiB are held", held / MIB);
    drop(open);
    wait::until_true("all to be gone", || metric(&client, "mreg_http_connections") <= 1.0);
}

/// A flood of expensive pages is answered or turned away, each in a way that is known; who asks for little is answered.
#[test]
fn flood_of_pages() {
    let daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    let admin = daemon.admin();
    for seed in 0..20 {
        carl.upload(&format!("team/model-{seed}"), "m.safetensors", &samples::safetensors(seed));
    }
    let (over, answered, refused) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for flooder in 0..100 {
            let (admin, over, answered, refused) = (&admin, &over, &answered, &refused);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let page = if flooder % 2 == 0 { "/audit-logs?limit=1000" } else { "/models?q=model&limit=1000" };
                    let response = admin.get(page);
                    match response.status {
                        200 => answered.fetch_add(1, Ordering::Relaxed),
                        503 => {
                            // Pages of the log are recorded themselves, and the disk may be slow.
                            if response.text().contains("audit-unavailable") {
                                response.problem("audit-unavailable");
                                continue;
                            }
                            response.problem("overloaded");
                            assert!(retry_after(&response) > 0);
                            refused.fetch_add(1, Ordering::Relaxed)
                        }
                        other => panic!("{other}: {}", response.text()),
                    };
                }
            });
        }
        wait::until_true("some to be answered", || answered.load(Ordering::Relaxed) > 20);
        for _ in 0..10 {
            carl.get("/models/team%2Fmodel-1").expect(200);
            // It is recorded, too.
            let change = || carl.patch("/models/team%2Fmodel-1", &json!({"description": "under load"}));
            let is_taken = |answer: &Response| answer.status != 503 || !answer.text().contains("audit-unavailable");
            wait::until("the disk to keep up", || Some(change()).filter(is_taken)).expect(200);
            daemon.client().get("/readyz").expect(200);
            let listed = daemon.run(&["user", "list"], "");
            assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        }
    });
    let told = turned_away(&admin, "lookups");
    assert_eq!(format!("{told}"), refused.load(Ordering::Relaxed).to_string());
    admin.get("/models?q=model").expect(200);
}

/// Files that are dropped all arrive once while others ask as fast as they can.
#[test]
fn drop_folder_under_load() {
    const FILES: u32 = 60;
    let folder = DropFolder::with(&[("MREG_MAX_REQUESTS", "4")]);
    let carl = folder.daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _over = Over(&over);
        for _ in 0..12 {
            let (carl, over) = (&carl, &over);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    let status = carl.get("/models?limit=100").status;
                    assert!(matches!(status, 200 | 503), "{status}");
                }
            });
        }
        for file in 0..FILES {
            folder.place(&format!("dropped-{file}.safetensors"), &samples::safetensors(1000 + file));
        }
        let admin = folder.daemon.admin();
        wait::until_count("models", u64::from(FILES) + 1, || {
            admin.value("/status")["store"]["models"].as_u64().unwrap()
        });
    });
    let versions = folder.daemon.admin().value("/status")["store"]["versions"].clone();
    assert_eq!(versions, FILES + 1, "each once");
}
