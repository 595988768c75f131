//! The smallest HTTP/1.1 client that can drive a server hard: prepared requests, one reply at a time, nothing allocated
//! on the way. Knows octets on a socket; refuses to know what is asked.

#![allow(dead_code, reason = "no bench uses all of it")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::figures::{Sample, micros};

/// No reply takes so long, or the bench ends with an error.
const PATIENCE: Duration = Duration::from_secs(300);
/// Octets of the largest reply that is read whole.
const REPLY_OCTETS_MAX: usize = 256 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    /// Its status.
    pub(crate) status: u16,
    /// Its body.
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as JSON, where all went well.
    pub(crate) fn json(&self) -> serde_json::Value {
        assert!((200..300).contains(&self.status), "{}: {}", self.status, String::from_utf8_lossy(&self.body));
        serde_json::from_slice(&self.body).unwrap()
    }
}

/// The octets of a request.
pub(crate) fn request(method: &str, target: &str, token: Option<&str>, headers: &[&str], body: &[u8]) -> Vec<u8> {
    let mut octets = format!("{method} {target} HTTP/1.1\r\nHost: bench\r\n");
    if let Some(token) = token {
        octets.push_str(&format!("Authorization: Bearer {token}\r\n"));
    }
    for header in headers {
        octets.push_str(&format!("{header}\r\n"));
    }
    if !body.is_empty() {
        octets.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    octets.push_str("\r\n");
    let mut octets = octets.into_bytes();
    octets.extend_from_slice(body);
    octets
}

/// Asks once, on a connection of its own.
pub(crate) fn ask(address: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request).unwrap();
    read_reply(&mut stream)
}

/// Reads one reply from a connection.
pub(crate) fn read_reply(stream: &mut TcpStream) -> Reply {
    let mut octets = Vec::new();
    let mut chunk = [0; 16 * 1024];
    loop {
        if let Some(head) = Head::parse(&octets)
            && octets.len() >= head.total()
        {
            return Reply { status: head.status, body: octets[head.octets..head.total()].to_vec() };
        }
        let read = stream.read(&mut chunk).unwrap();
        assert!(read > 0, "the connection ended after {:?}", String::from_utf8_lossy(&octets));
        octets.extend_from_slice(&chunk[..read]);
    }
}

/// What a reply's head says.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Status.
    pub(crate) status: u16,
    /// Octets of the head, empty line included.
    pub(crate) octets: usize,
    /// Octets of the body.
    pub(crate) length: usize,
}

impl Head {
    /// The head at the beginning of some octets, if it is whole.
    pub(crate) fn parse(octets: &[u8]) -> Option<Self> {
        let end = octets.windows(4).position(|four| four == b"\r\n\r\n")?;
        let head = std::str::from_utf8(&octets[..end]).unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse().unwrap())
        });
        Some(Self { status, octets: end + 4, length: length.unwrap_or(0) })
    }

    fn total(self) -> usize {
        self.octets + self.length
    }
}

/// A connection that stays open.
pub(crate) struct Line {
    stream: tokio::net::TcpStream,
    buffer: Vec<u8>,
    /// Octets of the last reply and its status: the next is usually the same.
    usual: Option<(usize, u16)>,
}

impl Line {
    /// Connects.
    pub(crate) async fn open(address: SocketAddr) -> Self {
        let stream = tokio::net::TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self { stream, buffer: vec![0; REPLY_OCTETS_MAX], usual: None }
    }

    /// Asks and waits; the status.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> u16 {
        self.stream.write_all(request).await.unwrap();
        let mut filled = 0;
        loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await.unwrap();
            assert!(read > 0, "the connection ended, or a reply is too long");
            filled += read;
            let octets = &self.buffer[..filled];
            if let Some((length, status)) = self.usual
                && length == filled
                && octets[9..12] == *status.to_string().as_bytes()
            {
                return status;
            }
            if let Some(head) = Head::parse(octets)
                && filled >= head.total()
            {
                assert_eq!(filled, head.total(), "more than one reply");
                self.usual = Some((filled, head.status));
                return head.status;
            }
        }
    }
}

/// What a load came to.
#[derive(Debug, Default)]
pub(crate) struct Load {
    /// All requests.
    pub(crate) sample: Sample,
    /// How many of each status.
    pub(crate) statuses: BTreeMap<u16, u64>,
}

impl Load {
    fn of(parts: Vec<(Vec<u32>, BTreeMap<u16, u64>)>, seconds: f64) -> Self {
        let mut load = Self { sample: Sample { took_us: Vec::new(), seconds }, statuses: BTreeMap::new() };
        for (took_us, statuses) in parts {
            load.sample.took_us.extend(took_us);
            for (status, count) in statuses {
                *load.statuses.entry(status).or_default() += count;
            }
        }
        load
    }
}

/// Connections that each ask again as soon as they are answered. `next` makes the request of a connection's n-th turn.
pub(crate) async fn closed_loop<R: AsRef<[u8]> + Send>(
    address: SocketAddr,
    connections: usize,
    seconds: f64,
    next: impl Fn(usize, u64) -> R + Clone + Send + 'static,
) -> Load {
    let began = Instant::now();
    let until = began + Duration::from_secs_f64(seconds);
    let mut running = tokio::task::JoinSet::new();
    for connection in 0..connections {
        let next = next.clone();
        running.spawn(async move {
            let mut line = Line::open(address).await;
            let (mut took_us, mut statuses) = (Vec::new(), BTreeMap::new());
            while Instant::now() < until {
                let request = next(connection, took_us.len() as u64);
                let at = Instant::now();
                let status = line.ask(request.as_ref()).await;
                took_us.push(micros(at.elapsed()));
                *statuses.entry(status).or_default() += 1;
            }
            (took_us, statuses)
        });
    }
    let parts = running.join_all().await;
    Load::of(parts, began.elapsed().as_secs_f64())
}

/// Requests at a steady rate, over enough connections that a slow answer delays no other request.
pub(crate) async fn paced(address: SocketAddr, per_second: u32, seconds: f64, request: Vec<u8>) -> Load {
    const CONNECTIONS: u32 = 16;
    let period = Duration::from_secs(1) * CONNECTIONS / per_second;
    let began = tokio::time::Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for connection in 0..CONNECTIONS {
        let request = request.clone();
        running.spawn(async move {
            let mut line = Line::open(address).await;
            let (mut took_us, mut statuses) = (Vec::new(), BTreeMap::new());
            let mut due = began + period * connection / CONNECTIONS;
            while due.duration_since(began).as_secs_f64() < seconds {
                tokio::time::sleep_until(due).await;
                let at = Instant::now();
                let status = line.ask(&request).await;
                took_us.push(micros(at.elapsed()));
                *statuses.entry(status).or_default() += 1;
                due += period;
            }
            (took_us, statuses)
        });
    }
    let parts = running.join_all().await;
    Load::of(parts, began.elapsed().as_secs_f64())
}
