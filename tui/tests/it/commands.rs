//! The real binary without a screen, against a server of a few lines: what it prints, what it leaves behind, how it ends.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

const HELLO: &str = "sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9";
const ID: &str = "01J3Z800000000000000000000";

/// Answers by method and path, without the query; everything else is 404. Lives as long as the test.
fn serve(answers: BTreeMap<&'static str, (u16, String)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let answers = answers.clone();
            std::thread::spawn(move || connection(&stream.unwrap(), &answers));
        }
    });
    url
}

fn connection(mut stream: &TcpStream, answers: &BTreeMap<&'static str, (u16, String)>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let (mut head, mut length) = (String::new(), 0);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
            if line == "\r\n" {
                break;
            }
            head.push_str(&line);
        }
        reader.read_exact(&mut vec![0; length]).unwrap();
        let target = head.split(' ').take(2).collect::<Vec<_>>().join(" ");
        let target = target.split('?').next().unwrap();
        let missing = (404, problem("not-found", 404));
        let (status, body) = answers.get(target).unwrap_or(&missing);
        let media = if *status < 400 { "application/json" } else { "application/problem+json" };
        let length = body.len();
        let answer = format!("HTTP/1.1 {status} x\r\ncontent-type: {media}\r\ncontent-length: {length}\r\n\r\n{body}");
        if stream.write_all(answer.as_bytes()).is_err() {
            return;
        }
    }
}

fn problem(slug: &str, status: u16) -> String {
    json!({"type": format!("/problems/{slug}"), "title": "No", "status": status, "detail": "said\u{1b}[2J so", "instance": "urn:uuid:x"})
        .to_string()
}

fn model() -> Value {
    json!({
        "id": ID, "name": "team/m", "description": "\u{202e}\u{1b}]0;x\u{7}", "tags": {}, "owner": "bob", "aliases": [],
        "state": "available", "latest_version": 1, "format": "raw", "size": 11, "uploader": "bob", "versions": 1, "verdict": null, "parameters": null, "dtypes": [],
        "created_at": "2026-01-01T00:00:00.000Z", "updated_at": "2026-01-01T00:00:00.000Z"
    })
}

fn registry(bytes: &str) -> BTreeMap<&'static str, (u16, String)> {
    let mut info = model();
    info["restorable_until"] = Value::Null;
    info["newest_versions"] = json!([]);
    info["selected"] = json!({
        "id": ID, "name": "team/m", "version": 1, "state": "available", "state_reason": null, "description": "",
        "artifacts": [{"path": "w/model.bin", "size": 11, "digest": HELLO, "format": "raw"}], "metadata": {},
        "findings": [], "source": "api", "aliases": [], "created_at": "2026-01-01T00:00:00.000Z", "created_by": "bob",
        "log_index": 4
    });
    let page = json!({"items": [model(), model()], "total": 2, "next_cursor": null});
    let token = json!({"access_token": "t", "token_type": "bearer", "expires_in": 60, "role": "viewer", "username": "bob", "must_change_password": false});
    let file = format!("GET /models/{ID}/versions/1/files/w/model.bin");
    BTreeMap::from([
        ("POST /login", (200, token.to_string())),
        ("POST /logout", (204, String::new())),
        ("GET /models", (200, page.to_string())),
        ("GET /models/team%2Fm", (200, info.to_string())),
        ("GET /audit-logs", (403, problem("forbidden", 403))),
        (&*file.leak(), (200, bytes.to_owned())),
    ])
}

fn mreg(folder: &Path, url: &str, arguments: &[&str]) -> Output {
    let token = folder.join("token");
    fs::write(&token, "t\n").unwrap();
    fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    Command::new(env!("CARGO_BIN_EXE_mreg"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .env("MREG_URL", url)
        .env("MREG_TOKEN_FILE", token)
        .stdin(Stdio::null())
        .output()
        .unwrap()
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn lists_and_documents() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(registry("hello world"));
    let listed = mreg(folder.path(), &url, &["get", "models"]);
    assert_eq!((listed.status.code(), text(&listed.stdout).lines().count()), (Some(0), 3));
    let json = mreg(folder.path(), &url, &["get", "models", "--json", "--limit", "2"]);
    for line in text(&json.stdout).lines() {
        assert_eq!(serde_json::from_str::<Value>(line).unwrap(), model());
    }
    let shown = mreg(folder.path(), &url, &["get", "model", "team/m"]);
    assert!(text(&shown.stdout).contains(HELLO));
    for output in [&json.stdout, &shown.stdout] {
        assert!(!text(output).chars().any(|c| c == '\u{202e}' || (c.is_control() && c != '\n')));
    }
}

#[test]
fn how_it_ends() {
    let folder = tempfile::tempdir().unwrap();
    let url = serve(registry("hello world"));
    let nobody = format!("http://{}", TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
    let cases: [(&str, &[&str], i32); 6] = [
        (&url, &["get", "entries"], 4),
        (&url, &["get", "model", "other"], 1),
        (&nobody, &["get", "models"], 5),
        ("ftp://registry.example", &["get", "models"], 2),
        (&url, &["nonsense"], 2),
        (&url, &[], 2),
    ];
    for (url, arguments, status) in cases {
        let ended = mreg(folder.path(), url, arguments);
        assert_eq!(ended.status.code(), Some(status), "{arguments:?}: {}", text(&ended.stderr));
        assert!(ended.stdout.is_empty() && !text(&ended.stderr).contains('\u{1b}'), "{arguments:?}: {ended:?}");
    }
    let refused = mreg(folder.path(), &url, &["get", "entries", "--json"]);
    assert_eq!(serde_json::from_slice::<Value>(&refused.stderr).unwrap()["status"], 4);
}

/// A file is there when its bytes are those that were promised, and only then.
#[test]
fn fetching() {
    let folder = tempfile::tempdir().unwrap();
    let names = || {
        let mut names: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    for wrong in ["hello w0rld", "hello", "hello world and more"] {
        let ended = mreg(folder.path(), &serve(registry(wrong)), &["fetch", "team/m"]);
        assert_eq!(ended.status.code(), Some(6), "{wrong}: {}", text(&ended.stderr));
        assert_eq!(names(), ["token"]);
    }
    let url = serve(registry("hello world"));
    let fetched = mreg(folder.path(), &url, &["fetch", "team/m", "--json"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", text(&fetched.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&fetched.stdout).unwrap()["digest"], HELLO);
    assert_eq!(fs::read_to_string(folder.path().join("model.bin")).unwrap(), "hello world");
    let again = mreg(folder.path(), &url, &["fetch", "team/m"]);
    assert_eq!((again.status.code(), names().len()), (Some(1), 2));
}
