//! The live tail (audit-log.md §7, rest-api.md §5): the exact octets, each entry once wherever it is cut, the rights of its
//! readers, and that it ends in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use common::client::Parser;
use common::role::Role;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tests::daemon::Daemon;
use tests::http::Client;
use tests::tail::{From, Tail, Told, ask};
use tests::{oracle, samples, wait};

/// Writes one entry: a refusal costs least. Its index.
fn entry(client: &Client) -> u64 {
    let response = client.patch("/models/nothing", &json!({"description": "x"}));
    response.problem("not-found");
    response.log_index()
}

/// Writes entries with much in them, over one connection.
fn entries(client: &Client, count: usize) {
    let request = client
        .request("PATCH", "/models/nothing")
        .header("User-Agent", &"agent ".repeat(60))
        .header("Connection", "keep-alive")
        .json(&json!({"description": "x"}));
    let octets = [request.head_octets(), request.body_octets()].concat();
    let mut connection = client.connect();
    for _ in 0..count {
        connection.write(&octets).unwrap();
        connection.read_response("PATCH").unwrap().problem("not-found");
    }
}

/// Writes more than the system's buffers of a connection can hold (4 MiB by default, tcp_wmem of tcp(7)).
fn many_entries(client: &Client) {
    const WRITERS: usize = 4;
    std::thread::scope(|scope| {
        for _ in 0..WRITERS {
            scope.spawn(|| entries(client, MANY / WRITERS));
        }
    });
}

/// Of about 1.3 KB each as events.
const MANY: usize = 4000;

/// The entries that say how tails began or ended.
fn lives(rows: &[Value], which: &str) -> Vec<Value> {
    let entries = rows.iter().filter(|entry| entry["action"] == "audit.read" && entry["data"]["live"] == which);
    entries.cloned().collect()
}

/// The same, from the running daemon.
fn lives_now(admin: &Client, which: &str) -> Vec<Value> {
    let page = admin.value("/audit-logs?action=audit.read&target=entries&limit=1000");
    let rows: Vec<Value> = page["items"].as_array().unwrap().iter().map(|row| row["entry"].clone()).collect();
    lives(&rows, which)
}

/// What is told is what is in the log, octet for octet, and what pages and receipts say of it.
#[test]
fn octets() {
    let mut daemon = Daemon::start();
    let carl = daemon.user("carl", Role::Contributor);
    carl.upload("m", "m.safetensors", &samples::safetensors(1));
    entries(&carl, 300);
    let auditor = daemon.user("audrey", Role::Auditor);
    let mut tail = Tail::open(&auditor, From::After(0));
    assert_eq!(tail.head.need("cache-control"), "no-cache, no-transform");
    assert_eq!(tail.head.need("x-accel-buffering"), "no");
    assert_eq!(tail.head.header("content-length"), None);
    let begun = tail.head.log_index();
    let mut told = tail.up_to(begun);
    assert!(matches!(tail.told(), Told::Checkpoint(_)), "it has caught up");

    let upload = carl.upload("n", "n.safetensors", &samples::safetensors(2));
    let receipt = &upload["receipt"];
    let index = receipt["index"].as_u64().unwrap();
    told.extend(tail.up_to(index));
    assert_eq!(STANDARD.encode(&told.last().unwrap().1), receipt["leaf"].as_str().unwrap());
    let rows = daemon.admin().value(&format!("/audit-logs?limit=1000&before={}", index + 1));
    let rows = rows["items"].as_array().unwrap();
    for ((index, leaf), row) in told.iter().rev().zip(rows) {
        assert_eq!(row["index"], *index);
        assert_eq!(row["leaf_hash"], STANDARD.encode(oracle::leaf_hash(leaf)));
        assert_eq!(serde_json::from_slice::<Value>(leaf).unwrap(), row["entry"]);
    }
    assert!(told.len() > 300 && told.len() == rows.len() - 1, "all but entry 0");
    drop(tail);
    let log = daemon.log();
    for (index, leaf) in told {
        assert_eq!(leaf, log.leaves[usize::try_from(index).unwrap()], "entry {index}");
    }
}

/// Without an index a stream begins behind its own entry, and says where that is before anything happens.
#[test]
fn now() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let mut tail = Tail::open(&admin, From::Now);
    assert_eq!(tail.told(), Told::Checkpoint(tail.head.log_index() + 1));
    let index = entry(&admin);
    assert_eq!(index, tail.head.log_index() + 1);
    assert!(matches!(tail.told(), Told::Entry(told, _) if told == index));
    assert_eq!(tail.told(), Told::Checkpoint(index + 1));
}

/// It goes on behind any entry there is, however that is said, and behind no other.
#[test]
fn resuming() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let last = [(); 5].map(|()| entry(&admin))[4];
    for from in [From::After(0), From::After(last), From::LastEventId(last - 1), From::LastEventId(last)] {
        let mut tail = Tail::open(&admin, from);
        let index = tail.head.log_index();
        tail.up_to(index);
    }
    let newest = Tail::open(&admin, From::Now).head.log_index();
    // What those before leave behind may come in between; beyond all of it is nothing.
    for beyond in [newest + 1000, u64::MAX] {
        ask(&admin, From::After(beyond)).1.unwrap().invalid("query.after");
        ask(&admin, From::LastEventId(beyond)).1.unwrap().invalid("header.Last-Event-ID");
    }
    let ask_with = |target: &str, name: &str, value: &str| {
        let mut connection = admin.connect();
        connection.write(&admin.request("GET", target).header(name, value).head_octets()).unwrap();
        connection.read_opening().unwrap()
    };
    for bad in ["-1", "x", "1,2", "18446744073709551616"] {
        ask_with("/audit-logs/stream", "Last-Event-ID", bad).invalid("header.Last-Event-ID");
        admin.get(&format!("/audit-logs/stream?after={bad}")).invalid("query.after");
    }
    admin.get("/audit-logs/stream?action=model.upload").invalid("query.action");
    ask_with("/audit-logs/stream", "Accept", "application/json").problem("not-acceptable");
    for accept in ["text/event-stream", "text/*", "*/*", "application/json, text/event-stream;q=0.1"] {
        ask_with("/audit-logs/stream", "Accept", accept).expect(200);
    }
}

/// HEAD is answered at once, and says what GET would, and is no reading of entries.
#[test]
fn head() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    let response = admin.head("/audit-logs/stream").expect(200);
    assert_eq!(response.need("content-type"), "text/event-stream");
    assert_eq!(response.header("content-length"), None);
    assert!(response.header("mregd-log-index").is_some());
    assert_eq!(admin.head(&format!("/audit-logs/stream?after={}", u64::MAX)).status, 422);
    assert!(lives_now(&admin, "begin").is_empty() && lives_now(&admin, "end").is_empty());
}

/// Auditors and admins follow the log, nobody else.
#[test]
fn readers() {
    let daemon = Daemon::start();
    for role in [Role::Viewer, Role::Contributor] {
        ask(&daemon.user(role.as_str(), role), From::Now).1.unwrap().problem("forbidden");
    }
    ask(&daemon.client(), From::Now).1.unwrap().problem("unauthenticated");
    let auditor = daemon.user("audrey", Role::Auditor);
    let mut tail = Tail::open(&auditor, From::Now);
    let index = entry(&daemon.admin());
    tail.up_to(index);
}

/// Cut at many places while the log grows, and taken up again, it brings each entry once.
#[test]
fn cuts() {
    const ROUNDS: u64 = 20;
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let ended = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..2)
        .map(|_| {
            let (ended, admin) = (Arc::clone(&ended), admin.clone());
            std::thread::spawn(move || {
                while !ended.load(Ordering::Relaxed) {
                    entries(&admin, 10);
                }
            })
        })
        .collect();
    let mut tail = Tail::open(&admin, From::After(0));
    let mut told = Vec::new();
    for round in 0..ROUNDS {
        // Sometimes while it still catches up, sometimes when it has, sometimes between the octets of an event.
        let until = told.len() + usize::try_from(round * 7 % 40).unwrap();
        while told.len() < until {
            if let Told::Entry(index, leaf) = tail.told() {
                told.push((index, leaf));
            }
        }
        let last = tail.next - 1;
        let from = if round % 2 == 0 { From::LastEventId(last) } else { From::After(last) };
        tail = Tail::open(&admin, from);
    }
    ended.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.join().unwrap();
    }
    let last = entry(&admin);
    told.extend(tail.up_to(last));
    drop(tail);
    let log = daemon.log();
    assert_eq!(u64::try_from(told.len()).unwrap(), last, "entries 1 to {last}, each once");
    for (index, leaf) in told {
        assert_eq!(leaf, log.leaves[usize::try_from(index).unwrap()], "entry {index}");
    }
    assert!(lives(&log.entries, "begin").len() > usize::try_from(ROUNDS).unwrap());
    assert_eq!(lives(&log.entries, "begin").len(), lives(&log.entries, "end").len());
}

/// It goes on across a stop and across a kill.
#[test]
fn restarts() {
    let mut daemon = Daemon::start();
    let mut admin = daemon.admin();
    let mut tail = Tail::open(&admin, From::After(0));
    for is_kill in [false, true, false] {
        let index = entry(&admin);
        tail.up_to(index);
        if is_kill {
            daemon.kill();
            while tail.try_told().is_ok_and(|told| told != Told::End) {}
        } else {
            daemon.stop();
            assert_eq!(tail.bye(), "stopping");
        }
        daemon.restart();
        admin = admin.at(daemon.address());
        tail = Tail::open(&admin, From::LastEventId(tail.next - 1));
        let index = tail.head.log_index();
        tail.up_to(index);
    }
    drop(tail);
    let log = daemon.log();
    let (begun, ended) = (lives(&log.entries, "begin").len(), lives(&log.entries, "end").len());
    assert_eq!((begun, ended), (4, 3), "a kill leaves no time for an end");
}

/// A stream ends soon after its session did, or its user's right.
#[test]
fn revocation() {
    let daemon = Daemon::start();
    let admin = daemon.admin();
    type Revoke<'a> = &'a dyn Fn(&Client);
    let revokings: [(&str, Revoke<'_>); 4] = [
        ("anna", &|client| {
            client.post_empty("/logout").expect(204);
        }),
        ("berta", &|_| {
            admin.post_empty("/users/berta/sessions/revoke").expect(200);
        }),
        ("clara", &|_| {
            admin.patch("/users/clara", &json!({"role": "viewer"})).expect(200);
        }),
        ("dora", &|_| {
            admin.delete("/users/dora").expect(200);
        }),
    ];
    for (name, revoke) in revokings {
        let client = daemon.user(name, Role::Auditor);
        let mut tail = Tail::open(&client, From::Now);
        revoke(&client);
        assert_eq!(tail.bye(), "revoked", "{name}");
        ask(&client, From::Now).1.unwrap().problem("unauthenticated");
    }
    wait::until_true("an end of each", || lives_now(&admin, "end").len() == 4);
    assert!(lives_now(&admin, "end").iter().all(|entry| entry["data"]["ending"] == "revoked"));
}

/// The same token with another end, signed with the daemon's own key (RFC 7515, RFC 2104).
fn expiring(token: &str, key: &str, seconds: i64) -> String {
    let mut parts = token.split('.');
    let (header, claims) = (parts.next().unwrap(), parts.next().unwrap());
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
    claims["exp"] = json!(claims["iat"].as_i64().unwrap() + seconds);
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    assert!(key.len() <= 64, "a longer key would be hashed first");
    let pad = |octet: u8| {
        let mut block = [octet; 64];
        block.iter_mut().zip(key.bytes()).for_each(|(pad, key)| *pad ^= key);
        block
    };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(&signed).finalize();
    let mac = Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac))
}

/// A stream ends with the token it was begun with, though the session goes on.
#[test]
fn expiry() {
    let key = "a-key-of-tests-that-nobody-else-uses-42";
    let daemon = Daemon::with(&[("JWT_SECRET_KEY", key)]);
    daemon.ledger().add_secret(key);
    let auditor = daemon.user("audrey", Role::Auditor);
    let short = auditor.with_token(&expiring(auditor.token(), key, 5));
    let mut tail = Tail::open(&short, From::Now);
    assert_eq!(tail.bye(), "expired");
    auditor.get("/me").expect(200);
    let admin = daemon.admin();
    let end = wait::until("its end", || lives_now(&admin, "end").pop());
    assert_eq!(end["data"]["ending"], "expired");
}

/// A stream is an entry when it begins, before its first octet, and one when it ends, which says how far it was read, also
/// where its reader just vanishes.
#[test]
fn beginnings_and_ends() {
    let mut daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let mut tail = Tail::open(&auditor, From::After(3));
    let begun = tail.head.log_index();
    tail.up_to(begun);
    let admin = daemon.admin();
    let begin = &lives_now(&admin, "begin")[0];
    assert_eq!((&begin["seq"], &begin["data"]["first"]), (&json!(begun), &json!(4)));
    assert_eq!((&begin["req"]["route"], &begin["actor"]["name"]), (&json!("/audit-logs/stream"), &json!("audrey")));
    drop(tail);
    // Its connection is found broken when something is to be sent.
    let end = wait::until("its end", || {
        entry(&admin);
        lives_now(&admin, "end").pop()
    });
    let data = &end["data"];
    assert_eq!((&data["began"], &data["first"], &data["ending"]), (&json!(begun), &json!(4), &json!("left")));
    assert!(data["count"].as_u64().unwrap() >= begun - 3, "{data}");

    // A beginning that is refused has no end.
    ask(&auditor, From::After(1 << 40)).1.unwrap().invalid("query.after");
    let log = daemon.log();
    assert_eq!((lives(&log.entries, "begin").len(), lives(&log.entries, "end").len()), (2, 1));
}

/// A stop says goodbye to all, takes no notice of those who don't listen, and writes the end of each before its own.
#[test]
fn stop() {
    const READERS: usize = 20;
    let mut daemon = Daemon::with(&[("MREG_SHUTDOWN_SECONDS", "25")]);
    // Who stands still at a stop is cut.
    daemon.expect_line("an answer was cut");
    let admin = daemon.admin();
    many_entries(&admin);
    let mut tails: Vec<Tail> = (0..READERS).map(|_| Tail::open(&admin, From::Now)).collect();
    let (stuck, answer) = stuck(&admin);
    answer.unwrap().expect(200);
    let index = entry(&admin);
    for tail in &mut tails {
        tail.up_to(index);
    }
    let began = Instant::now();
    daemon.stop();
    assert!(began.elapsed() < Duration::from_secs(15), "the stop took {:?}", began.elapsed());
    for tail in &mut tails {
        assert_eq!(tail.bye(), "stopping");
    }
    drop(stuck);
    let log = daemon.log();
    assert_eq!(log.entries.last().unwrap()["action"], "log.stop");
    let ends = lives(&log.entries, "end");
    assert_eq!(ends.len(), READERS + 1);
    assert!(ends.iter().all(|entry| entry["data"]["ending"] == "stopping"));
}

/// Begins to follow from the first entry with little room for what comes, and reads no more than the head.
fn stuck(client: &Client) -> (tests::http::Connection, std::io::Result<tests::http::Response>) {
    let mut connection = client.connect();
    rustix::net::sockopt::set_socket_recv_buffer_size(connection.stream(), 4096).unwrap();
    let request = client.request("GET", "/audit-logs/stream?after=0");
    connection.write(&request.head_octets()).unwrap();
    let answer = connection.read_opening();
    (connection, answer)
}

/// A reader that takes nothing is cut, while others go on; what it got has no gap.
#[test]
fn slow_reader() {
    let mut daemon = Daemon::with(&[("MREG_BODY_IDLE_SECONDS", "1")]);
    daemon.expect_line("an answer was cut");
    let admin = daemon.admin();
    many_entries(&admin);
    let mut quick = Tail::open(&admin, From::Now);
    let (mut slow, answer) = stuck(&admin);
    answer.unwrap().expect(200);
    let end = wait::until("the end of the slow one", || {
        let index = entry(&admin);
        quick.up_to(index);
        lives_now(&admin, "end").pop()
    });
    // Whichever notices first: the queue, or the connection below it.
    assert!(["slow", "left"].contains(&end["data"]["ending"].as_str().unwrap()), "{end}");
    let mut parser = Parser::default();
    let mut next: u64 = 1;
    while let Ok(Some(chunk)) = slow.read_chunk() {
        parser
            .push(&chunk, |event| {
                assert_eq!((event.name.as_str(), event.last_id.as_str()), ("entry", next.to_string().as_str()));
                next += 1;
            })
            .unwrap();
    }
    assert!(next > 1 && next < u64::try_from(MANY).unwrap(), "it got {next}");
    let index = entry(&admin);
    quick.up_to(index);
    Tail::open(&admin, From::LastEventId(next - 1)).up_to(index);
}

/// One user has so many streams and no more; who leaves makes room.
#[test]
fn places() {
    const OWN_MAX: usize = 32;
    let daemon = Daemon::start();
    let auditor = daemon.user("audrey", Role::Auditor);
    let mut tails: Vec<Tail> = (0..OWN_MAX).map(|_| Tail::open(&auditor, From::Now)).collect();
    let refused = ask(&auditor, From::Now).1.unwrap();
    refused.problem("too-many-requests");
    let admin = daemon.admin();
    let row = admin.value(&format!("/audit-logs?after={}&limit=1000", refused.log_index() - 1));
    assert_eq!(row["items"].as_array().unwrap().last().unwrap()["entry"]["outcome"], "denied");
    Tail::open(&admin, From::Now);
    drop(tails.pop());
    wait::until_true("a place", || {
        entry(&admin);
        ask(&auditor, From::Now).1.unwrap().status == 200
    });
}

/// Over HTTP/2 it is the same stream, and a window that stays shut ends it.
#[test]
fn http2() {
    let mut daemon = Daemon::with(&[("MREG_BODY_IDLE_SECONDS", "1")]);
    // Whoever looks over such connections may come to it first.
    daemon.expect_line("answers were cut");
    let admin = daemon.admin();
    entries(&admin, 300);
    let mut connection = admin.connect();
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
        let mut octets = vec![0, length[0], length[1], kind, flags, 0, 0, 0, stream];
        octets.extend_from_slice(payload);
        octets
    };
    // HPACK (RFC 7541 §6.2.2): GET and http from the static table; path, authority and authorization as literals.
    let mut fields = vec![0x82, 0x86];
    let bearer = format!("Bearer {}", admin.token());
    for (name, value) in [(&[0x04][..], "/audit-logs/stream?after=0"), (&[0x01], "localhost"), (&[0x0f, 8], &bearer)] {
        fields.extend_from_slice(name);
        let mut rest = value.len();
        if rest < 127 {
            fields.push(u8::try_from(rest).unwrap());
        } else {
            fields.push(127);
            rest -= 127;
            while rest >= 128 {
                fields.push(u8::try_from(rest % 128).unwrap() | 128);
                rest /= 128;
            }
            fields.push(u8::try_from(rest).unwrap());
        }
        fields.extend_from_slice(value.as_bytes());
    }
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    connection.write(&[&preface[..], &frame(4, 0, 0, &[]), &frame(1, 5, 1, &fields)].concat()).unwrap();
    let (mut parser, mut next, mut octets) = (Parser::default(), 1_u64, 0);
    // The window is 65,535 octets as long as we don't say otherwise (RFC 9113 §6.9.2).
    while octets < 65_535 {
        let head = connection.read_exact(9).unwrap();
        let payload = connection.read_exact(usize::from(head[1]) << 8 | usize::from(head[2])).unwrap();
        assert_ne!(head[3], 7, "GOAWAY: {payload:?}");
        if head[3] == 1 {
            assert_eq!((head[8], payload[0]), (1, 0x88), ":status 200 on stream 1");
        }
        if head[3] == 0 {
            octets += payload.len();
            parser
                .push(&payload, |event| {
                    assert_eq!((event.name.as_str(), event.last_id.as_str()), ("entry", next.to_string().as_str()));
                    next += 1;
                })
                .unwrap();
        }
    }
    assert!(next > 20, "{next} entries in a window");
    let end = wait::until("its end", || lives_now(&admin, "end").pop());
    assert_eq!(end["data"]["ending"], "slow");
}

/// The typed client reads what the daemon writes, and knows where to go on.
#[test]
fn typed_client() {
    use common::client::{Bye, Client as Typed, LogEvent};
    let mut daemon = Daemon::start();
    let admin = daemon.admin();
    let typed = Typed::new(&format!("http://{}", daemon.address()), "test/1", false).unwrap();
    typed.set_token(Some(admin.token().to_owned().into()));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut tail = runtime.block_on(typed.audit_stream(Some(0))).unwrap();
    let mut leaves = Vec::new();
    let last = entry(&admin);
    while tail.next_index() <= last {
        if let Some(LogEvent::Entry { index, leaf }) = runtime.block_on(tail.next()).unwrap() {
            leaves.push((index, leaf));
        }
    }
    let checkpoint = loop {
        if let Some(LogEvent::Checkpoint(note)) = runtime.block_on(tail.next()).unwrap() {
            break note;
        }
    };
    let (size, root) = oracle::open_note(&checkpoint, &daemon.ledger().vkey().to_string());
    assert_eq!(u64::try_from(size).unwrap(), tail.next_index());
    let mut now = runtime.block_on(typed.audit_stream(None)).unwrap();
    assert_eq!(now.last_index(), now.log_index());
    let refused = runtime.block_on(typed.audit_stream(Some(1 << 40))).err().unwrap();
    assert_eq!(refused.status(), Some(422));
    let stopping = std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                match now.next().await.unwrap() {
                    Some(LogEvent::Bye(bye)) => return (bye, now.next().await.unwrap()),
                    Some(_) => {}
                    None => panic!("cut"),
                }
            }
        })
    });
    // The other runs in nobody's runtime from here on, and is cut.
    drop(tail);
    daemon.stop();
    assert_eq!(stopping.join().unwrap(), (Bye::Stopping, None));
    let log = daemon.log();
    assert_eq!(oracle::root(&log.hashes[..size]), root);
    for (index, leaf) in leaves {
        assert_eq!(leaf, log.leaves[usize::try_from(index).unwrap()], "entry {index}");
    }
}
