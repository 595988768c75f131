//! A receiver of webhooks in the test's own process: it remembers all that came and answers as the test says, well or
//! badly. Checks signatures by code that shares nothing with the daemon's.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::wait;

/// A message as it came.
#[derive(Debug, Clone)]
pub struct Received {
    /// Path and query.
    pub target: String,
    /// The head, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
}

impl Received {
    /// A header that must be there once.
    pub fn need(&self, name: &str) -> &str {
        let found: Vec<_> = self.headers.iter().filter(|(header, _)| header == name).collect();
        assert_eq!(found.len(), 1, "{name} in {:?}", self.headers);
        &found[0].1
    }

    /// The message's id.
    pub fn id(&self) -> &str {
        self.need("webhook-id")
    }

    /// The body.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Index of its entry.
    pub fn index(&self) -> u64 {
        self.json()["data"]["log"]["index"].as_u64().expect("an index")
    }

    /// How many signatures it has, and whether one is by this secret.
    pub fn signed(&self, secret: &str) -> (usize, bool) {
        let key = STANDARD.decode(secret.strip_prefix("whsec_").expect("a secret")).unwrap();
        let head = format!("{}.{}.", self.id(), self.need("webhook-timestamp"));
        let expected = STANDARD.encode(hmac(&key, &[head.as_bytes(), &self.body].concat()));
        let signatures: Vec<&str> = self.need("webhook-signature").split(' ').collect();
        let is_by = signatures.iter().any(|signature| signature.strip_prefix("v1,") == Some(expected.as_str()));
        (signatures.len(), is_by)
    }
}

/// HMAC-SHA256 as RFC 2104 writes it.
fn hmac(key: &[u8], message: &[u8]) -> [u8; 32] {
    assert!(key.len() <= 64);
    let pad = |with: u8| -> Vec<u8> { (0..64).map(|at| key.get(at).copied().unwrap_or(0) ^ with).collect() };
    let inner = Sha256::new().chain_update(pad(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(pad(0x5c)).chain_update(inner).finalize().into()
}

/// How a message is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// With a status and nothing else.
    Status(u16),
    /// With a header line besides.
    With(u16, String),
    /// With a body that has no end.
    Endless(u16),
    /// After some time.
    Late(u16, Duration),
    /// Never.
    Never,
}

/// A receiver.
pub struct Receiver {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Received>>>,
}

impl Receiver {
    /// One that takes everything.
    pub fn start() -> Self {
        Self::answering(|_message, _before| Reply::Status(204))
    }

    /// One that answers so; it is told the message and how many came before.
    pub fn answering(answer: impl Fn(&Received, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Vec<Received>>> = Arc::default();
        let (sink, answer) = (Arc::clone(&seen), Arc::new(answer));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (sink, answer) = (Arc::clone(&sink), Arc::clone(&answer));
                thread::spawn(move || serve(&stream, &sink, &*answer));
            }
        });
        Self { address, seen }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of a webhook that leads here.
    pub fn url(&self) -> String {
        format!("http://{}/hook?token=of-the-receiver", self.address)
    }

    /// All that came so far.
    pub fn seen(&self) -> Vec<Received> {
        self.seen.lock().unwrap().clone()
    }

    /// Waits until so many came, and gives them.
    pub fn wait_for(&self, count: usize) -> Vec<Received> {
        wait::until(&format!("{count} messages"), || Some(self.seen()).filter(|seen| seen.len() >= count))
    }
}

fn serve(stream: &TcpStream, sink: &Mutex<Vec<Received>>, answer: &dyn Fn(&Received, usize) -> Reply) {
    let mut reader = BufReader::new(stream);
    let mut stream = stream;
    while let Some(message) = read(&mut reader) {
        let before = {
            let mut seen = sink.lock().unwrap();
            seen.push(message.clone());
            seen.len() - 1
        };
        let head = |status: u16, more: &str| format!("HTTP/1.1 {status} X\r\n{more}");
        let empty = |status: u16, more: &str| {
            let length = if status == 204 { "" } else { "content-length: 0\r\n" };
            head(status, &format!("{more}{length}\r\n"))
        };
        let octets = match answer(&message, before) {
            Reply::Status(status) => empty(status, ""),
            Reply::With(status, header) => empty(status, &format!("{header}\r\n")),
            Reply::Late(status, time) => {
                thread::sleep(time);
                empty(status, "")
            }
            Reply::Endless(status) => {
                let mut octets = head(status, "content-type: text/plain\r\n\r\n");
                octets.push_str(&"x".repeat(1 << 16));
                // Until the other side has had enough.
                while stream.write_all(octets.as_bytes()).is_ok() {
                    octets = "y".repeat(1 << 16);
                }
                return;
            }
            Reply::Never => {
                // Until the other side goes.
                let _gone = reader.read(&mut [0]);
                return;
            }
        };
        if stream.write_all(octets.as_bytes()).is_err() {
            return;
        }
    }
}

fn read(reader: &mut BufReader<&TcpStream>) -> Option<Received> {
    let mut lines = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            break;
        }
        lines.push(line);
    }
    let target = lines.first()?.split(' ').nth(1)?.to_owned();
    let header = |line: &String| {
        let (name, value) = line.split_once(':').unwrap();
        (name.to_ascii_lowercase(), value.trim().to_owned())
    };
    let headers: Vec<(String, String)> = lines[1..].iter().map(header).collect();
    let length = headers.iter().find(|(name, _)| name == "content-length")?.1.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received { target, headers, body })
}
