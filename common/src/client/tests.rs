//! The client against a scripted server: raw octets on a socket, so that nothing the daemon's side believes is shared.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::JoinHandle;

use zeroize::Zeroizing;

use super::{AuditQuery, Client, ClientError, IngestQuery, ModelQuery, http_date};
use crate::api::{IngestKind, IngestState};
use crate::certificate::KeyPin;
use crate::known::Known;
use crate::name::ItemId;
use crate::problem::ProblemType;
use crate::role::Permission;
use crate::tls::Trust;

/// Answers each connection with its list of raw answers, one per request; returns the requests.
fn serve(connections: Vec<Vec<String>>) -> (SocketAddr, JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut requests = Vec::new();
        for answers in connections {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            for answer in answers {
                requests.push(read_request(&mut reader));
                (&stream).write_all(answer.as_bytes()).unwrap();
            }
        }
        requests
    });
    (address, server)
}

fn read_request(reader: &mut BufReader<TcpStream>) -> String {
    let mut request = String::new();
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        request.push_str(&line);
        if line == "\r\n" || line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    request.push_str(std::str::from_utf8(&body).unwrap());
    request
}

fn answer(status: &str, media: &str, more: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n{more}\r\n{body}")
}

fn json(body: &str) -> String {
    answer("200 OK", "application/json", "x-request-id: from-server\r\nmregd-log-index: 7\r\n", body)
}

fn client(address: SocketAddr) -> Client {
    Client::new(&format!("http://{address}"), "test/1", false).unwrap()
}

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

const EMPTY_PAGE: &str = r#"{"items":[],"total":0,"next_cursor":null}"#;
const TOKEN: &str = r#"{"access_token":"t0ken","token_type":"bearer","expires_in":1800,"role":"admin",
    "username":"alice","must_change_password":false}"#;

/// An address is read without a way to it as with one.
#[test]
fn addresses_without_a_way() {
    for url in ["http://h:1", "http://127.0.0.1", "https://h", "https://h:8443", "unix:/run/x.sock"] {
        let trust = Trust { ca_file: None, pin: url.starts_with("https").then(|| KeyPin::of(b"key")) };
        let client = Client::with_trust(url, "x", true, &trust).unwrap();
        assert_eq!(super::address_of(url).as_deref(), Some(client.address()), "{url}");
    }
    assert_eq!(super::address_of("nonsense"), None);
}

/// The token of a login is sent with what follows, over the same connection, and forgotten at logout.
#[test]
fn login_then_calls_reuse_the_connection() {
    let (address, server) =
        serve(vec![vec![json(TOKEN), json(EMPTY_PAGE), "HTTP/1.1 204 No Content\r\n\r\n".to_owned()]]);
    run(async {
        let client = client(address);
        let session = client.login("alice", "correct horse", None).await.unwrap();
        assert_eq!((session.body.username.as_str(), session.body.expires_in_seconds), ("alice", 1800));
        assert_eq!((session.request_id.as_str(), session.log_index), ("from-server", Some(7)));
        let page = client.models(&ModelQuery::default()).await.unwrap();
        assert_eq!(page.body.total, Some(0));
        client.logout().await.unwrap();
        assert!(!client.has_token());
    });
    let requests = server.join().unwrap();
    assert!(requests[0].starts_with("POST /login HTTP/1.1\r\n") && !requests[0].contains("authorization"));
    assert!(requests[0].ends_with(r#"{"username":"alice","password":"correct horse"}"#));
    assert!(requests[1].starts_with("GET /models HTTP/1.1\r\n") && requests[1].contains("authorization: Bearer t0ken"));
    assert!(requests[2].starts_with("POST /logout HTTP/1.1\r\n"));
}

/// What goes into a path or a query can't leave it.
#[test]
fn targets_are_encoded() {
    let (address, server) = serve(vec![vec![json(EMPTY_PAGE), json(EMPTY_PAGE), json(EMPTY_PAGE)]]);
    run(async {
        let client = client(address);
        let query = ModelQuery {
            q: "a&b=ü\r\nx".into(),
            sort: "-updated_at".into(),
            limit: Some(200),
            ..ModelQuery::default()
        };
        client.models(&query).await.unwrap();
        client.versions("team/nlp?@prod", Some("c/1"), 5).await.unwrap();
        client.audit(&AuditQuery { before: Some(9), action: "model.*".into(), ..AuditQuery::default() }).await.unwrap();
    });
    let requests = server.join().unwrap();
    assert!(
        requests[0].starts_with("GET /models?q=a%26b%3D%C3%BC%0D%0Ax&sort=-updated_at&limit=200 "),
        "{}",
        requests[0]
    );
    assert!(
        requests[1].starts_with("GET /models/team%2Fnlp%3F%40prod/versions?cursor=c%2F1&limit=5 "),
        "{}",
        requests[1]
    );
    assert!(requests[2].starts_with("GET /audit-logs?action=model.%2A&before=9 "), "{}", requests[2]);
}

const ITEM: &str = r#""id":"01K7Z0000000000000000000AB","path":"nlp/bert.safetensors","kind":"file","state":"hashing",
    "reason":null,"size":10,"files":1,"bytes_done":4,"bytes_per_second":2,"owner_uid":1001,"by":"alice",
    "seen_at":"2026-01-31T12:00:00.000Z","state_since":"2026-01-31T12:00:02.000Z","attempts":1,"attempts_max":8,
    "next_try_at":null,"name":"nlp/bert","model":null,"version":null,"digest":null,"log_index":null,
    "place":"processing/01K7Z0000000000000000000AB/nlp/bert.safetensors","problem":null,
    "history":[{"at":"2026-01-31T12:00:00.000Z","state":"seen","text":"found"}]"#;
const INTAKE: &str = r#""paused":true,"paused_by":"ada","paused_at":"2026-01-31T12:00:00.000Z","pause_reason":"moving",
    "problem":null,"events":true,"poll_seconds":60,"settle_seconds":2,"states":{"hashing":1,"done":7},"active":1,
    "done_last_hour":7,"done_total":7,"rejected_total":0,"bytes_total":70,"oldest_seen_at":null,"walked_at":null,
    "overflows":0"#;
const RECEIPT: &str =
    r#""receipt":{"log":"mreg.local/log","index":7,"leaf":"e30=","proof":"c2sp.org/tlog-proof@v1\n"}"#;

/// The drop folder's calls: what is asked, and what comes back typed.
#[test]
fn drop_folder() {
    let page = format!(r#"{{"items":[{{{ITEM}}}],"total":1,"next_cursor":null,"intake":{{{INTAKE}}}}}"#);
    let none = r#"{"items":[],"total":0,"next_cursor":null,"intake":null}"#;
    let item = json(&format!("{{{ITEM},{RECEIPT}}}"));
    let intake = json(&format!("{{{INTAKE},{RECEIPT}}}"));
    let (address, server) = serve(vec![vec![
        json(&page),
        json(none),
        json(&format!("{{{ITEM}}}")),
        item.clone(),
        item,
        intake.clone(),
        intake.clone(),
        intake,
    ]]);
    run(async {
        let client = client(address);
        let query = IngestQuery {
            states: vec![IngestState::Failed, IngestState::Hashing],
            q: "nlp/b".into(),
            sort: "-state_since".into(),
            before: None,
            cursor: Some("c+1".into()),
            limit: Some(20),
        };
        let page = client.ingest(&query).await.unwrap().body;
        let (item, intake) = (&page.items[0], page.intake.unwrap());
        let (kind, state) = (item.kind.known(), item.state.known());
        assert_eq!((kind, state, item.bytes_done), (Some(IngestKind::File), Some(IngestState::Hashing), 4));
        assert_eq!((intake.paused, intake.states[&IngestState::Done.into()]), (true, 7));
        assert!(client.ingest(&IngestQuery::default()).await.unwrap().body.intake.is_none());
        let id: ItemId = item.id.parse().unwrap();
        assert_eq!(client.ingest_item(id).await.unwrap().body, *item);
        assert_eq!(client.retry_item(id).await.unwrap().body.item, *item);
        let given_up = client.discard_item(id, "a \"mistake\"").await.unwrap();
        assert_eq!((given_up.log_index, given_up.body.receipt.index), (Some(7), 7));
        assert!(client.pause_intake("moving").await.unwrap().body.intake.paused);
        client.resume_intake(Some("moved")).await.unwrap();
        client.resume_intake(None).await.unwrap();
    });
    let requests = server.join().unwrap();
    let asked: Vec<(&str, &str)> = requests
        .iter()
        .map(|request| (request.split(" HTTP/1.1").next().unwrap(), request.split("\r\n\r\n").nth(1).unwrap()))
        .collect();
    assert_eq!(
        asked,
        [
            ("GET /ingest?state=failed&state=hashing&q=nlp%2Fb&sort=-state_since&cursor=c%2B1&limit=20", ""),
            ("GET /ingest", ""),
            ("GET /ingest/01K7Z0000000000000000000AB", ""),
            ("POST /ingest/01K7Z0000000000000000000AB/retry", ""),
            ("POST /ingest/01K7Z0000000000000000000AB/discard", r#"{"reason":"a \"mistake\""}"#),
            ("POST /ingest/pause", r#"{"reason":"moving"}"#),
            ("POST /ingest/resume", r#"{"reason":"moved"}"#),
            ("POST /ingest/resume", "{}"),
        ]
    );
}

/// A problem document comes back typed, with the time to wait; other refusals are named as what they are.
#[test]
fn problems() {
    let problem = r#"{"type":"/problems/too-many-requests","title":"Too many attempts","status":429,
        "detail":"wait","instance":"urn:uuid:x"}"#;
    let (address, server) = serve(vec![vec![
        answer("429 Too Many Requests", "application/problem+json", "retry-after: 60\r\n", problem),
        answer("502 Bad Gateway", "text/html", "", "<h1>\u{1b}[2J</h1>"),
        answer("404 Not Found", "application/problem+json", "", "{}"),
        json("{\"items\":3}"),
    ]]);
    run(async {
        let client = client(address);
        let refused = client.login("a", "b", None).await.unwrap_err();
        assert_eq!((refused.problem_type(), refused.status()), (Some(ProblemType::TooManyRequests), Some(429)));
        assert!(matches!(refused, ClientError::Problem { retry_after_seconds: Some(60), .. }));
        assert!(!refused.wants_sign_in());
        for _ in 0..3 {
            let strange = client.models(&ModelQuery::default()).await.unwrap_err();
            assert!(matches!(&strange, ClientError::Protocol(why) if !why.contains('\u{1b}')), "{strange}");
        }
    });
    server.join().unwrap();
}

/// A connection the server closed while it was idle costs nothing: the request goes over a new one.
#[test]
fn stale_connections_are_replaced() {
    let (address, server) = serve(vec![vec![json(EMPTY_PAGE)], vec![json(EMPTY_PAGE)]]);
    run(async {
        let client = client(address);
        client.users(None, 10).await.unwrap();
        client.users(None, 10).await.unwrap();
    });
    assert_eq!(server.join().unwrap().len(), 2);
}

/// Bodies above the limit are refused by their announced length and by what arrives.
#[test]
fn bodies_are_bounded() {
    let announced = "HTTP/1.1 200 OK\r\ncontent-length: 99999999\r\n\r\n".to_owned();
    let chunk = format!("100000\r\n{}\r\n", " ".repeat(0x10_0000));
    let chunked = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", chunk.repeat(17));
    for answer in [announced, chunked] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            read_request(&mut BufReader::new(stream.try_clone().unwrap()));
            // The client hangs up before all is written.
            drop((&stream).write_all(answer.as_bytes()));
        });
        let refused = run(async { client(address).status().await.unwrap_err() });
        assert!(matches!(&refused, ClientError::Protocol(why) if why.contains("larger")), "{refused}");
        server.join().unwrap();
    }
}

/// An answer cut short is an error, as JSON and as a download.
#[test]
fn cut_answers() {
    let cut = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n{}".to_owned();
    let (address, server) = serve(vec![vec![cut.clone()], vec![cut]]);
    run(async {
        let client = client(address);
        assert!(matches!(client.me().await.unwrap_err(), ClientError::Offline { .. }));
        let mut download =
            client.download("m", crate::name::Version::FIRST, &"a b/c.bin".parse().unwrap()).await.unwrap();
        assert_eq!(download.size(), Some(10));
        assert_eq!(download.chunk().await.unwrap().unwrap().as_ref(), b"{}");
        assert!(matches!(download.chunk().await.unwrap_err(), ClientError::Offline { .. }));
    });
    assert!(server.join().unwrap()[1].starts_with("GET /models/m/versions/1/files/a%20b/c.bin "));
}

/// Only what can be spoken to safely is accepted as an address.
#[test]
fn addresses() {
    let reason = |url: &str| Client::new(url, "t", false).err().map(|error| error.to_string());
    for good in ["http://127.0.0.1:8000", "http://localhost/", "http://[::1]:1", "http://127.9.9.9"] {
        assert_eq!(reason(good), None, "{good}");
    }
    for bad in [
        "",
        "127.0.0.1:8000",
        "ftp://x",
        "http://10.0.0.1",
        "http://u:p@127.0.0.1",
        "http://127.0.0.1/x",
        "http://127.0.0.1?q",
        "https://127.0.0.1/x",
        "unix:",
        "unix:relative",
        "unix:/folder/",
    ] {
        assert!(reason(bad).is_some(), "{bad}");
    }
    assert!(Client::new("http://10.0.0.1", "t", true).is_ok_and(|client| client.is_plain()));
    let pinned = Trust { ca_file: None, pin: Some(KeyPin::of(b"key")) };
    let client = |url: &str| Client::with_trust(url, "t", true, &pinned);
    assert!(client("https://registry.example").is_ok_and(|client| client.is_tls() && !client.is_plain()));
    assert!(client("http://127.0.0.1").err().unwrap().to_string().contains("https://"));
    assert!(Client::new("unix:/run/x", "t", true).is_ok_and(|client| !client.is_plain()));
    let nowhere = Trust { ca_file: Some("/nowhere/ca.pem".into()), pin: None };
    let refused = Client::with_trust("https://registry.example", "t", false, &nowhere).err().unwrap();
    assert!(refused.to_string().contains("/nowhere/ca.pem"), "{refused}");
}

/// Nobody there is said at once, with the address.
#[test]
fn offline() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let client = client(address);
    client.set_token(Some(Zeroizing::new("bad\ntoken".to_owned())));
    run(async {
        assert!(matches!(client.login("a", "b", None).await.unwrap_err(), ClientError::Offline { .. }));
        assert!(matches!(client.me().await.unwrap_err(), ClientError::Address(_)));
    });
}

/// Ids look like random UUIDs and differ.
#[test]
fn request_ids() {
    let client = client("127.0.0.1:1".parse().unwrap());
    let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| client.fresh_id()).collect();
    assert_eq!(ids.len(), 1000);
    for id in ids {
        assert!(
            id.len() == 36 && id.as_bytes()[14] == b'4' && matches!(id.as_bytes()[19], b'8' | b'9' | b'a' | b'b'),
            "{id}"
        );
    }
}

/// A client that is used read-only sends nothing that changes anything, but signs in and reads as ever.
#[test]
fn read_only() {
    let me = r#"{"nonsense":1}"#;
    let (address, server) = serve(vec![vec![json(TOKEN), json(me)]]);
    let client = client(address);
    client.set_read_only(true);
    run(async {
        client.login("bob", "secret", None).await.unwrap();
        let refused = client.change_password("old", "new").await.unwrap_err();
        assert!(matches!(&refused, ClientError::Address(why) if why.contains("read-only")), "{refused:?}");
        assert!(matches!(client.me().await, Err(ClientError::Protocol(_))));
    });
    let requests = server.join().unwrap();
    assert_eq!(requests.len(), 2);
    assert!(requests[0].starts_with("POST /login") && requests[1].starts_with("GET /me"));
}

/// Dates as servers send them are read; nothing else is taken for one, whatever it is.
#[test]
fn dates() {
    assert_eq!(http_date("Sun, 06 Nov 1994 08:49:37 GMT"), Some(784_111_777));
    for text in
        ["", "Sun", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37", "x, 99 Nov 1994 08:49:37 GMT"]
    {
        assert_eq!(http_date(text), None, "{text}");
    }
}

proptest::proptest! {
    /// No text of a header makes it fail.
    #[test]
    fn any_text_is_a_date_or_none(text in ".{0,40}") {
        let _date = http_date(&text);
    }
}

// ---- newer daemons --------------------------------------------------------------------------------------------------

/// Signing in, and what a refusal says, with words that are not known here: they are kept as they came.
#[test]
fn words_that_are_not_known() {
    let me = r#"{"id":"usr_1","username":"alice","kind":"robot","role":"curator","permissions":["model.read","model.dream"],
        "grants":[{"pattern":"team/*","role":"curator"},{"pattern":"x/*","deny":true}],"must_change_password":false,
        "token_expires_at":null,"session_expires_at":null,"mood":"good"}"#;
    let status = r#"{"items":[],"total":0,"next_cursor":null,"intake":{"paused":false,"paused_by":null,"paused_at":null,
        "pause_reason":null,"problem":null,"events":true,"poll_seconds":1,"settle_seconds":1,"states":{"failed":1,
        "thawing":2},"active":0,"done_last_hour":0,"done_total":0,"rejected_total":0,"bytes_total":0,
        "oldest_seen_at":null,"walked_at":null,"overflows":0}}"#;
    let problem = r#"{"type":"/problems/quota-exceeded","title":"The quota is used up","status":403,"detail":"no room",
        "instance":"urn:uuid:0190f5f7-0000-4000-8000-000000000000",
        "quota":{"kind":"team","name":"nlp","of":"versions","limit":1,"needed":1}}"#;
    let (address, server) = serve(vec![vec![
        json(&TOKEN.replace("admin", "curator")),
        json(me),
        json(status),
        answer("403 Forbidden", "application/problem+json", "", problem),
    ]]);
    run(async {
        let client = client(address);
        let session = client.login("alice", "correct horse", None).await.unwrap().body;
        assert_eq!((session.role.known(), session.role.as_str()), (None, "curator"));
        let me = client.me().await.unwrap().body;
        assert_eq!((me.kind.as_str(), me.role.as_str()), ("robot", "curator"));
        assert_eq!(me.permissions.iter().filter_map(Known::known).collect::<Vec<_>>(), [Permission::ModelRead]);
        assert_eq!(me.permissions[1].as_str(), "model.dream");
        assert_eq!(
            me.grants.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["team/*:\"curator\" (unknown role)", "x/*:deny"]
        );
        let intake = client.ingest(&IngestQuery::default()).await.unwrap().body.intake.unwrap();
        let states: Vec<(&str, u64)> = intake.states.iter().map(|(state, count)| (state.as_str(), *count)).collect();
        assert_eq!(states, [("failed", 1), ("thawing", 2)]);
        let error = client.me().await.unwrap_err();
        assert_eq!(error.problem_type(), Some(ProblemType::QuotaExceeded));
        let ClientError::Problem { problem, .. } = error else { panic!("it is a problem") };
        assert_eq!(problem.quota.unwrap().whose(), "of the team `nlp`");
    });
    server.join().unwrap();
}

/// What doesn't fit is said with the place where it doesn't.
#[test]
fn the_place_of_what_does_not_fit() {
    let users = r#"{"items":[{"id":"usr_1","username":"alice","role":"admin","disabled":false,"must_change_password":false,
        "sessions":1,"created_at":"x","updated_at":"x","last_login_at":null},{"id":"usr_2","username":"bob","role":7}],
        "total":2,"next_cursor":null}"#;
    let answers = [users, EMPTY_PAGE, r#"{"items":[]} x"#].map(json).to_vec();
    let refusal = answer("403 Forbidden", "application/problem+json", "", r#"{"type":"x","title":"x","status":"403"}"#);
    let (address, server) = serve(vec![[answers, vec![refusal]].concat()]);
    run(async {
        let client = client(address);
        let said = async |why: &str| {
            let error = client.users(None, 50).await.unwrap_err();
            assert!(matches!(&error, ClientError::Protocol(said) if said.contains(why)), "{error}: {why}");
        };
        said("its JSON doesn't fit at items[1].role: invalid type: integer `7`, expected a word").await;
        assert_eq!(client.users(None, 50).await.unwrap().body.total, Some(0));
        said("its JSON doesn't fit: ").await;
        said("status 403 Forbidden with a problem document that doesn't fit at status: invalid type").await;
    });
    server.join().unwrap();
}
