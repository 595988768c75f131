//! A proxy in front of a daemon that changes one thing in what it passes on: an octet, an entry, a checkpoint, a key. What it
//! does can be changed while connections are open. Knows the routes of the log and how its stream is written.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::audit::{Checkpoint, Ed25519Signer, Note};

/// What is changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tamper {
    /// Nothing.
    Nothing,
    /// One octet in the text of the next entry of the stream, so that it stays an entry.
    Leaf,
    /// One octet in the next entry of the stream, so that it is none.
    Malformed,
    /// One octet of the signature in each checkpoint of the stream.
    Signature,
    /// One octet of the root in each checkpoint of the stream.
    Root,
    /// One octet in each tile.
    Tile,
    /// One octet in each page of entries.
    Page,
    /// The next entry of the stream is left out, and one octet of the bundle that has it is changed.
    Bundle,
    /// The next entry of the stream is left out, and bundles are refused.
    Withhold,
    /// The next entry of the stream comes twice, with another text.
    Double,
    /// The next entry of the stream comes twice as it is.
    Repeat,
    /// This checkpoint is served as the newest.
    Shorter(String),
    /// Checkpoints are signed by another key.
    OtherKey,
    /// Nothing is answered: connections are closed.
    Cut,
    /// The hashes of proofs of growth are changed.
    Growth,
    /// One octet of the root in the checkpoint that witnesses cosigned.
    Witnessed,
    /// The answer to the next DELETE is lost: it is carried out, and nobody is told.
    LostAnswer,
    /// The stream is refused, by a page of whatever stands in between.
    NoStream(u16),
    /// The stream is opened and then held up.
    Mute,
}

/// The proxy. It ends with the process.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    what: Arc<Mutex<Tamper>>,
    streams: Arc<Mutex<Vec<TcpStream>>>,
}

impl Proxy {
    /// In front of a daemon.
    pub fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let what = Arc::new(Mutex::new(Tamper::Nothing));
        let streams = Arc::new(Mutex::new(Vec::new()));
        let (tamper, open) = (Arc::clone(&what), Arc::clone(&streams));
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (tamper, open) = (Arc::clone(&tamper), Arc::clone(&open));
                open.lock().unwrap().push(client.try_clone().unwrap());
                // A client that goes ends its own connection and nothing else.
                std::thread::spawn(move || drop(serve(&client, upstream, &tamper)));
            }
        });
        Self { address, what, streams }
    }

    /// Where it listens.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes what it does from now on.
    pub fn set(&self, what: Tamper) {
        *self.what.lock().unwrap() = what;
    }

    /// Closes all connections there are.
    pub fn cut(&self) {
        for stream in self.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

fn serve(client: &TcpStream, upstream: SocketAddr, what: &Mutex<Tamper>) -> std::io::Result<()> {
    let mut requests = BufReader::new(client.try_clone()?);
    loop {
        let head = read_head(&mut requests)?;
        if head.is_empty() || *what.lock().unwrap() == Tamper::Cut {
            return client.shutdown(Shutdown::Both);
        }
        let length = header(&head, "content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        requests.read_exact(&mut body)?;
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        if let Tamper::NoStream(status) = *what.lock().unwrap()
            && path.starts_with("/audit-logs/stream")
        {
            let page = "<html>the stream is not for you</html>";
            let mut client = client;
            write!(
                client,
                "HTTP/1.1 {status} No\r\ncontent-type: text/html\r\ncontent-length: {}\r\n\r\n{page}",
                page.len()
            )?;
            continue;
        }
        let mut server = TcpStream::connect(upstream)?;
        server.write_all(head.replacen("\r\n", "\r\nconnection: close\r\n", 1).as_bytes())?;
        server.write_all(&body)?;
        let mut answers = BufReader::new(server);
        let answer = read_head(&mut answers)?;
        if answer.contains("text/event-stream") {
            return relay(&answer, &mut answers, client, what);
        }
        let body = read_body(&answer, &mut answers)?;
        {
            let mut what = what.lock().unwrap();
            if *what == Tamper::LostAnswer && head.starts_with("DELETE ") {
                *what = Tamper::Nothing;
                return client.shutdown(Shutdown::Both);
            }
        }
        let (status, body) = changed(&path, &answer, body, &what.lock().unwrap());
        let mut text = format!("{status}\r\ncontent-length: {}\r\n", body.len());
        for line in answer.lines().skip(1).filter(|line| !line.is_empty()) {
            let name = line.split(':').next().unwrap_or_default().to_ascii_lowercase();
            if !["content-length", "transfer-encoding", "connection"].contains(&name.as_str()) {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        text.push_str("\r\n");
        let mut client = client;
        client.write_all(text.as_bytes())?;
        client.write_all(&body)?;
    }
}

fn read_head(reader: &mut impl BufRead) -> std::io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head)? == 0 {
            return Ok(String::new());
        }
    }
    Ok(head)
}

fn header(head: &str, name: &str) -> Option<String> {
    head.lines().find_map(|line| {
        let (found, value) = line.split_once(':')?;
        found.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
    })
}

fn read_body(head: &str, reader: &mut impl BufRead) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    if header(head, "transfer-encoding").is_some() {
        while let Some(chunk) = read_chunk(reader)? {
            body.extend(chunk);
        }
    } else if let Some(length) = header(head, "content-length").and_then(|length| length.parse().ok()) {
        body = vec![0; length];
        reader.read_exact(&mut body)?;
    }
    Ok(body)
}

fn read_chunk(reader: &mut impl BufRead) -> std::io::Result<Option<Vec<u8>>> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let length = usize::from_str_radix(line.trim(), 16).map_err(std::io::Error::other)?;
    let mut chunk = vec![0; length + 2];
    reader.read_exact(&mut chunk)?;
    chunk.truncate(length);
    Ok((length > 0).then_some(chunk))
}

fn flip(body: &mut [u8]) {
    let middle = body.len() / 2;
    if let Some(octet) = body.get_mut(middle) {
        *octet ^= 1;
    }
}

/// An answer that is no stream.
fn changed(path: &str, head: &str, mut body: Vec<u8>, what: &Tamper) -> (String, Vec<u8>) {
    let status = head.lines().next().unwrap_or_default().to_owned();
    let is_bundle = path.starts_with("/log/tile/entries/");
    match what {
        Tamper::Tile if path.starts_with("/log/tile/") && !is_bundle => flip(&mut body),
        Tamper::Page if path.starts_with("/audit-logs?") => {
            let text = String::from_utf8(body).unwrap();
            body = text.replacen("\"outcome\":\"ok\"", "\"outcome\":\"denied\"", 1).into_bytes();
        }
        Tamper::Bundle if is_bundle => {
            // A letter of the last entry's text.
            let text = String::from_utf8_lossy(&body).into_owned();
            let at = text.rfind("\"node\":\"").map(|_| body.len());
            let place = body.windows(8).rposition(|part| part == b"\"node\":\"").zip(at);
            if let Some((place, _)) = place {
                body[place + 9] ^= 1;
            }
        }
        Tamper::Withhold if is_bundle => {
            let problem = "{\"type\":\"/problems/not-found\",\"title\":\"Not found\",\"status\":404,\"detail\":\"no such bundle\",\"instance\":\"x\"}";
            return ("HTTP/1.1 404 Not Found".to_owned(), problem.as_bytes().to_vec());
        }
        Tamper::Shorter(note) if path == "/log/checkpoint" => body = note.clone().into_bytes(),
        Tamper::OtherKey if path == "/log/checkpoint" => {
            body = resigned(&String::from_utf8(body).unwrap()).into_bytes();
        }
        Tamper::Witnessed if path == "/log/checkpoint.witnessed" && status.contains(" 200 ") => {
            let note = String::from_utf8(body).unwrap();
            let root = note.lines().take(2).map(|line| line.len() + 1).sum::<usize>() + 4;
            body = swapped(&note, root).into_bytes();
        }
        Tamper::Growth if path.starts_with("/log/consistency/") => {
            if let Some(first) = body.first_mut() {
                *first = if *first == b'A' { b'B' } else { b'A' };
            }
        }
        _ => {}
    }
    (status, body)
}

/// The same checkpoint, signed by another key of the same name.
fn resigned(note: &str) -> String {
    let text = Note::parse(note.as_bytes()).unwrap().text().to_owned();
    let checkpoint = Checkpoint::parse(&text).unwrap();
    let signer = Ed25519Signer::from_seed(&checkpoint.origin, &[9; 32]).unwrap();
    checkpoint.sign(&[&signer]).unwrap()
}

fn relay(head: &str, answers: &mut impl BufRead, client: &TcpStream, what: &Mutex<Tamper>) -> std::io::Result<()> {
    let mut client = client;
    client.write_all(head.as_bytes())?;
    let mut text = String::new();
    let mut done = false;
    while let Some(chunk) = read_chunk(answers)? {
        text.push_str(&String::from_utf8(chunk).unwrap());
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            let tamper = what.lock().unwrap().clone();
            if tamper == Tamper::Nothing {
                done = false;
            }
            let event = changed_event(&event, &tamper, &mut done);
            if !event.is_empty() && tamper != Tamper::Mute {
                write!(client, "{:x}\r\n{event}\r\n", event.len())?;
            }
        }
    }
    client.shutdown(Shutdown::Both)
}

/// An event of the stream. `done` says that the one entry was changed already.
fn changed_event(event: &str, what: &Tamper, done: &mut bool) -> String {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    if let (Some(data), true, false) = (field("data: "), event.starts_with("event: entry"), *done) {
        let id = field("id: ").unwrap_or_default();
        let leaf = STANDARD.decode(data).unwrap();
        let with = |leaf: &[u8]| format!("event: entry\nid: {id}\ndata: {}\n\n", STANDARD.encode(leaf));
        // A letter within a text: it stays canonical.
        let mut other = leaf.clone();
        let at = leaf.windows(8).position(|part| part == b"\"node\":\"").unwrap() + 9;
        other[at] ^= 1;
        let told = match what {
            Tamper::Leaf => with(&other),
            Tamper::Malformed => {
                let mut broken = leaf;
                broken[0] ^= 1;
                with(&broken)
            }
            Tamper::Bundle | Tamper::Withhold => String::new(),
            Tamper::Double => format!("{event}{}", with(&other)),
            Tamper::Repeat => format!("{event}{event}"),
            _ => return event.to_owned(),
        };
        *done = true;
        return told;
    }
    if event.starts_with("event: checkpoint") {
        let note: Vec<&str> = event.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
        let note = note.join("\n");
        let note = match what {
            Tamper::Signature => swapped(&note, note.len() - 20),
            Tamper::Root => swapped(&note, note.lines().take(2).map(|line| line.len() + 1).sum::<usize>() + 4),
            Tamper::OtherKey => resigned(&note),
            _ => return event.to_owned(),
        };
        let lines: String = note.split('\n').map(|line| format!("data: {line}\n")).collect();
        return format!("event: checkpoint\n{lines}\n");
    }
    event.to_owned()
}

/// Another letter at a place.
fn swapped(text: &str, at: usize) -> String {
    let mut octets = text.as_bytes().to_vec();
    octets[at] = if octets[at] == b'A' { b'B' } else { b'A' };
    String::from_utf8(octets).unwrap()
}
