//! A small blocking HTTP/1.1 client on a bare socket, so that odd requests can be sent octet by octet. Every answer is
//! checked for what each answer must have (rest-api.md §1), and what it promises is kept in a [`Ledger`] for the oracle.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use common::audit::{Receipt, Verifier};
use common::problem::{CONTENT_TYPE, Problem, ProblemType};
use serde_json::Value;

use crate::multipart::Form;
use crate::wait::DEADLINE;

/// What the daemon gave its word for, and what must never show up anywhere.
#[derive(Debug, Default)]
pub struct Ledger {
    acknowledged: Mutex<Vec<(u64, String)>>,
    secrets: Mutex<Vec<String>>,
    vkey: Mutex<Option<Verifier>>,
}

impl Ledger {
    /// The entries that answers named: index and leaf hash.
    pub fn acknowledged(&self) -> Vec<(u64, String)> {
        self.acknowledged.lock().unwrap().clone()
    }

    /// Passwords and tokens that were used.
    pub fn secrets(&self) -> Vec<String> {
        self.secrets.lock().unwrap().clone()
    }

    /// Remembers a password or token. What is too short to be one would be found anywhere.
    pub fn add_secret(&self, secret: &str) {
        const OCTETS_MIN: usize = 12;
        if secret.len() >= OCTETS_MIN {
            self.secrets.lock().unwrap().push(secret.to_owned());
        }
    }

    /// Sets the log's key.
    pub fn set_vkey(&self, vkey: Verifier) {
        *self.vkey.lock().unwrap() = Some(vkey);
    }

    /// The log's key.
    pub fn vkey(&self) -> Verifier {
        self.vkey.lock().unwrap().clone().expect("the daemon said its key")
    }

    /// Remembers an entry that the daemon gave its word for elsewhere than in an answer: its index and leaf.
    pub fn acknowledge(&self, index: u64, leaf: &[u8]) {
        let hash = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, crate::oracle::leaf_hash(leaf));
        self.acknowledged.lock().unwrap().push((index, hash));
    }

    fn add(&self, response: &Response) {
        if let Some(index) = response.header("mregd-log-index") {
            let leaf = response.header("mregd-log-leaf").expect("index and leaf come together");
            self.acknowledged.lock().unwrap().push((index.parse().unwrap(), leaf.to_owned()));
        } else {
            assert_eq!(response.header("mregd-log-leaf"), None, "index and leaf come together");
        }
        let is_json = response.header("content-type") == Some("application/json");
        if is_json
            && let Ok(value) = serde_json::from_slice::<Value>(&response.body)
            && let Some(receipt) = value.get("receipt").filter(|receipt| !receipt.is_null())
        {
            let receipt: Receipt = serde_json::from_value(receipt.clone()).expect("a receipt");
            let proven = receipt.verify(&[self.vkey()]).expect("the receipt proves its entry");
            assert_eq!(proven.entry.seq, receipt.index);
            let leaf = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &receipt.leaf).unwrap();
            self.acknowledge(receipt.index, &leaf);
        }
    }
}

/// Who asks whom.
#[derive(Debug, Clone)]
pub struct Client {
    address: SocketAddr,
    token: Option<String>,
    ledger: Arc<Ledger>,
}

impl Client {
    /// Nobody in particular.
    pub fn new(address: SocketAddr, ledger: Arc<Ledger>) -> Self {
        Self { address, token: None, ledger }
    }

    /// The same daemon with this token.
    #[must_use]
    pub fn with_token(&self, token: &str) -> Self {
        self.ledger.add_secret(token);
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same daemon without a token.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        Self { token: None, ..self.clone() }
    }

    /// The same user at a daemon that listens elsewhere now.
    #[must_use]
    pub fn at(&self, address: SocketAddr) -> Self {
        Self { address, ..self.clone() }
    }

    /// The token.
    pub fn token(&self) -> &str {
        self.token.as_deref().expect("the client has a token")
    }

    /// Where the daemon is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What was promised.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// A request in the making.
    pub fn request(&self, method: &str, target: &str) -> Request {
        let mut request = Request {
            client: self.clone(),
            method: method.to_owned(),
            target: target.to_owned(),
            headers: Vec::new(),
            body: None,
            chunks: None,
        };
        if let Some(token) = &self.token {
            request = request.header("Authorization", &format!("Bearer {token}"));
        }
        request
    }

    /// GET.
    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target).send()
    }

    /// GET of JSON that must be there.
    pub fn value(&self, target: &str) -> Value {
        self.get(target).expect(200).json()
    }

    /// HEAD.
    pub fn head(&self, target: &str) -> Response {
        self.request("HEAD", target).send()
    }

    /// DELETE.
    pub fn delete(&self, target: &str) -> Response {
        self.request("DELETE", target).send()
    }

    /// POST without a body.
    pub fn post_empty(&self, target: &str) -> Response {
        self.request("POST", target).send()
    }

    /// POST of JSON.
    pub fn post(&self, target: &str, body: &Value) -> Response {
        self.request("POST", target).json(body).send()
    }

    /// PUT of JSON.
    pub fn put(&self, target: &str, body: &Value) -> Response {
        self.request("PUT", target).json(body).send()
    }

    /// PATCH with JSON.
    pub fn patch(&self, target: &str, body: &Value) -> Response {
        self.request("PATCH", target).json(body).send()
    }

    /// POST of a form to `/models`.
    pub fn publish(&self, form: Form) -> Response {
        self.request("POST", "/models").form(form).send()
    }

    /// Publishes one file as a version of `name`; the answer.
    pub fn upload(&self, name: &str, filename: &str, octets: &[u8]) -> Value {
        let response = self.publish(Form::new().file(filename, octets).text("name", name));
        response.expect(201).json()
    }

    /// Signs in; the whole answer.
    pub fn login(&self, username: &str, password: &str) -> Response {
        self.ledger.add_secret(password);
        self.anonymous().post("/login", &serde_json::json!({"username": username, "password": password}))
    }

    /// Signs in, and must be let in.
    pub fn signed_in(&self, username: &str, password: &str) -> Self {
        let token = self.login(username, password).expect(200).json();
        self.with_token(token["access_token"].as_str().unwrap())
    }

    /// A bare connection.
    pub fn connect(&self) -> Connection {
        Connection::open(self.address, Arc::clone(&self.ledger)).expect("the daemon accepts")
    }
}

/// A request in the making.
#[derive(Debug, Clone)]
pub struct Request {
    client: Client,
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    chunks: Option<usize>,
}

impl Request {
    /// Adds a header field.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets a body with its type.
    #[must_use]
    pub fn body(mut self, content_type: &str, body: impl Into<Vec<u8>>) -> Self {
        self.body = Some(body.into());
        self.header("Content-Type", content_type)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.body("application/json", body.to_string())
    }

    /// Sets a multipart body.
    #[must_use]
    pub fn form(self, form: Form) -> Self {
        self.body(&Form::content_type(), form.finish())
    }

    /// Sends the body in chunks of so many octets.
    #[must_use]
    pub fn chunked(mut self, octets: usize) -> Self {
        self.chunks = Some(octets);
        self
    }

    /// The octets of the head. Says `Connection: close`, so that an answer ends where the connection does.
    pub fn head_octets(&self) -> Vec<u8> {
        let mut head = format!("{} {} HTTP/1.1\r\nHost: {}\r\n", self.method, self.target, self.client.address);
        let said = |name: &str| self.headers.iter().any(|(said, _)| said.eq_ignore_ascii_case(name));
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        if !said("Connection") {
            head.push_str("Connection: close\r\n");
        }
        match (&self.body, self.chunks) {
            (Some(_), Some(_)) => head.push_str("Transfer-Encoding: chunked\r\n"),
            (Some(body), None) if !said("Content-Length") => {
                head.push_str(&format!("Content-Length: {}\r\n", body.len()));
            }
            (None, _) if matches!(self.method.as_str(), "POST" | "PUT" | "PATCH") && !said("Content-Length") => {
                head.push_str("Content-Length: 0\r\n");
            }
            _ => {}
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// The octets of the body as they are sent.
    pub fn body_octets(&self) -> Vec<u8> {
        match (&self.body, self.chunks) {
            (None, _) => Vec::new(),
            (Some(body), None) => body.clone(),
            (Some(body), Some(octets)) => {
                let mut framed = Vec::with_capacity(body.len() + 64);
                for chunk in body.chunks(octets) {
                    framed.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    framed.extend_from_slice(chunk);
                    framed.extend_from_slice(b"\r\n");
                }
                framed.extend_from_slice(b"0\r\n\r\n");
                framed
            }
        }
    }

    /// Sends it and reads the answer, which must come and be well-formed.
    pub fn send(&self) -> Response {
        self.try_send().unwrap_or_else(|error| panic!("{} {}: {error}", self.method, self.target))
    }

    /// Sends it; an error where the connection is refused or breaks. What does come is checked.
    pub fn try_send(&self) -> io::Result<Response> {
        let mut connection = Connection::open(self.client.address, Arc::clone(&self.client.ledger))?;
        connection.write(&self.head_octets())?;
        // A daemon that has refused already may stop reading: then its answer says why.
        let written = connection.write(&self.body_octets());
        let response = match connection.read_response(&self.method) {
            Ok(response) => response,
            Err(error) => return Err(written.err().unwrap_or(error)),
        };
        if self.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("Connection")) {
            let rest = connection.read_to_end();
            assert!(
                rest.is_empty(),
                "{} {}: {} octets behind the answer, which has status {}: {:?}",
                self.method,
                self.target,
                rest.len(),
                response.status,
                String::from_utf8_lossy(&rest)
            );
        }
        Ok(response)
    }
}

/// One connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    ahead: Vec<u8>,
    ledger: Arc<Ledger>,
}

impl Connection {
    /// Opens one. Reads and writes on it fail after [`DEADLINE`].
    pub fn open(address: SocketAddr, ledger: Arc<Ledger>) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&address, DEADLINE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self { stream, ahead: Vec::new(), ledger })
    }

    /// The socket.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends octets as they are.
    pub fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets)
    }

    /// Reads the answer to a request of this method, and checks it.
    pub fn read_response(&mut self, method: &str) -> io::Result<Response> {
        let response = self.read_unchecked(method)?;
        check(method, &response);
        self.ledger.add(&response);
        Ok(response)
    }

    /// Reads an answer that need not have what our answers have: those of the protocol layer itself.
    pub fn read_unchecked(&mut self, method: &str) -> io::Result<Response> {
        let mut continued = false;
        loop {
            let (status, headers) = self.read_head()?;
            if status == 100 {
                continued = true;
                continue;
            }
            let mut response = Response { status, headers, body: Vec::new(), continued };
            if method != "HEAD" && status != 204 && status != 304 {
                self.read_body(&mut response)?;
            }
            return Ok(response);
        }
    }

    /// Reads the answer to a GET that may go on: of an event stream the head alone, whose chunks are then to be read.
    pub fn read_opening(&mut self) -> io::Result<Response> {
        let (status, headers) = self.read_head()?;
        let mut response = Response { status, headers, body: Vec::new(), continued: false };
        if response.header("content-type") != Some("text/event-stream") {
            self.read_body(&mut response)?;
        }
        check("GET", &response);
        self.ledger.add(&response);
        Ok(response)
    }

    /// Reads the next chunk of a body; none at its end.
    pub fn read_chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.read_line()?;
        let octets = usize::from_str_radix(&line, 16).expect("a chunk's size");
        let chunk = self.read_exact(octets)?;
        assert_eq!(self.read_exact(2)?, b"\r\n", "a chunk's end");
        Ok((octets > 0).then_some(chunk))
    }

    /// Reads one head, `100 Continue` included.
    pub fn read_head(&mut self) -> io::Result<(u16, Vec<(String, String)>)> {
        let end = loop {
            if let Some(end) = find(&self.ahead, b"\r\n\r\n") {
                break end;
            }
            assert!(self.ahead.len() < 256 * 1024, "a head without end");
            if self.fill()? == 0 {
                return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed without an answer"));
            }
        };
        let head = String::from_utf8(self.ahead.drain(..end + 4).collect()).expect("a head in UTF-8");
        let mut lines = head.split("\r\n");
        let line = lines.next().unwrap_or_default();
        assert!(line.starts_with("HTTP/1.1 "), "status line {line:?}");
        let status = line[9..12].parse().expect("a status");
        let headers = lines
            .filter(|line| !line.is_empty())
            .map(|line| line.split_once(": ").unwrap_or_else(|| line.split_once(':').expect("a header field")))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
            .collect();
        Ok((status, headers))
    }

    fn read_body(&mut self, response: &mut Response) -> io::Result<()> {
        if response.header("transfer-encoding") == Some("chunked") {
            while let Some(chunk) = self.read_chunk()? {
                response.body.extend_from_slice(&chunk);
            }
            return Ok(());
        }
        match response.header("content-length") {
            Some(octets) => response.body = self.read_exact(octets.parse().expect("a length"))?,
            None => response.body = self.read_to_end(),
        }
        Ok(())
    }

    fn read_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.ahead, b"\r\n") {
                let line: Vec<u8> = self.ahead.drain(..end + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..end]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    /// Reads so many octets.
    pub fn read_exact(&mut self, octets: usize) -> io::Result<Vec<u8>> {
        while self.ahead.len() < octets {
            if self.fill()? == 0 {
                return Err(io::Error::new(
                    io::ErrorKind::UnexpectedEof,
                    format!("cut after {} of {octets} octets", self.ahead.len()),
                ));
            }
        }
        Ok(self.ahead.drain(..octets).collect())
    }

    /// Reads to the end of the connection; a reset is an end too.
    pub fn read_to_end(&mut self) -> Vec<u8> {
        while self.fill().is_ok_and(|octets| octets > 0) {}
        std::mem::take(&mut self.ahead)
    }

    /// Whether the daemon closes within this time, without sending anything.
    pub fn is_closed_within(&mut self, time: Duration) -> bool {
        self.stream.set_read_timeout(Some(time)).unwrap();
        let closed = match self.fill() {
            Ok(octets) => octets == 0,
            Err(error) => error.kind() == io::ErrorKind::ConnectionReset,
        };
        self.stream.set_read_timeout(Some(DEADLINE)).unwrap();
        closed
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut octets = [0; 64 * 1024];
        let read = self.stream.read(&mut octets)?;
        self.ahead.extend_from_slice(&octets[..read]);
        Ok(read)
    }
}

fn find(octets: &[u8], wanted: &[u8]) -> Option<usize> {
    octets.windows(wanted.len()).position(|window| window == wanted)
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// Its header fields, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub body: Vec<u8>,
    /// Whether `100 Continue` came before it.
    pub continued: bool,
}

impl Response {
    /// A header field's value; it must not come twice.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(said, _)| said == name).map(|(_, value)| value.as_str());
        let value = values.next();
        assert!(values.next().is_none(), "{name} comes twice: {:?}", self.headers);
        value
    }

    /// A header field that must be there.
    pub fn need(&self, name: &str) -> &str {
        self.header(name).unwrap_or_else(|| panic!("no {name} in {:?}", self.headers))
    }

    /// Fails unless it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", self.text());
        self
    }

    /// Fails unless it is a problem of this type, whose status it must have.
    #[track_caller]
    pub fn problem(&self, slug: &str) -> Problem {
        let kind = ProblemType::from_slug(slug).expect("a problem type");
        assert_eq!(self.status, kind.status(), "{slug} was expected: {}", self.text());
        let problem: Problem = serde_json::from_slice(&self.body).expect("a problem document");
        assert_eq!(problem.kind, kind.uri(), "{}", self.text());
        problem
    }

    /// Fails unless it is a 422 that names this place.
    #[track_caller]
    pub fn invalid(&self, loc: &str) {
        let problem = self.problem("invalid");
        assert!(problem.errors.iter().any(|error| error.loc == loc), "no {loc} among {:?}", problem.errors);
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.header("content-type"), Some("application/json"), "{}", self.text());
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The index of its entry in the audit log.
    pub fn log_index(&self) -> u64 {
        self.need("mregd-log-index").parse().unwrap()
    }
}

/// What every answer must have (rest-api.md §1).
#[track_caller]
fn check(method: &str, response: &Response) {
    // A proxy's own word that it reached nobody.
    if matches!(response.status, 502 | 504) && response.header("server").is_some_and(|server| server.contains("nginx"))
    {
        return;
    }
    let told = format!("{} {:?} {}", response.status, response.headers, response.text());
    let request_id = response.header("x-request-id").unwrap_or_else(|| panic!("no X-Request-Id: {told}"));
    assert!(!request_id.is_empty() && response.header("date").is_some(), "no Date: {told}");
    assert_eq!(response.header("x-content-type-options"), Some("nosniff"), "{told}");
    match response.status {
        401 => assert!(response.need("www-authenticate").starts_with("Bearer"), "{told}"),
        405 => assert!(!response.need("allow").is_empty(), "{told}"),
        429 | 503 => {
            let seconds: u32 = response.need("retry-after").parse().unwrap_or_else(|_| panic!("{told}"));
            assert!(seconds > 0, "{told}");
        }
        _ => {}
    }
    let content_type = response.header("content-type");
    if response.status == 204 {
        assert_eq!(content_type, None, "{told}");
    }
    // GET /readyz answers 503 with what it saw.
    let is_readiness = response.status == 503 && content_type == Some("application/json");
    if response.status < 400 || is_readiness {
        return;
    }
    assert_eq!(content_type, Some(CONTENT_TYPE), "{told}");
    if method == "HEAD" {
        return;
    }
    let problem: Problem = serde_json::from_slice(&response.body).unwrap_or_else(|error| panic!("{error}: {told}"));
    let slug = problem.kind.strip_prefix("/problems/").unwrap_or_else(|| panic!("{told}"));
    let kind = ProblemType::from_slug(slug).unwrap_or_else(|| panic!("unknown problem type: {told}"));
    assert_eq!((problem.status, problem.title.as_str()), (response.status, kind.title()), "{told}");
    assert_eq!(kind.status(), response.status, "{told}");
    assert!(!problem.detail.is_empty(), "{told}");
    let instances = [format!("urn:uuid:{request_id}"), format!("urn:mreg:request:{request_id}")];
    // A UUID may come without its dashes, as nginx makes them.
    let is_same_uuid = problem
        .instance
        .strip_prefix("urn:uuid:")
        .is_some_and(|uuid| uuid.replace('-', "") == request_id.replace('-', ""));
    assert!(instances.contains(&problem.instance) || is_same_uuid, "instance is not the request id: {told}");
    if response.status == 422 {
        assert!(problem.errors.iter().all(|error| !error.loc.is_empty() && !error.msg.is_empty()), "{told}");
        assert!(kind != ProblemType::Invalid || !problem.errors.is_empty(), "no errors: {told}");
    }
}
