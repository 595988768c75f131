//! An object store in the tests' process: s3s over a temporary directory, behind a door that lets requests through, or makes
//! them fail as stores and networks do. What was asked of it can be read afterwards. It knows nothing of blobs.

use std::error::Error;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use hyper::body::{Body as _, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::Body;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s_fs::FileSystem;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// The bucket that is there.
pub const BUCKET: &str = "models";
/// The id of the access key.
pub const KEY_ID: &str = "mreg-test-key";
/// The access key.
pub const SECRET: &str = "a-secret-of-the-object-store";

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with this status and code, and nothing happens.
    Status(u16, &'static str),
    /// The connection is closed instead of an answer, and nothing happens.
    Cut,
    /// It happens, and the connection is closed instead of an answer.
    Lost,
    /// There is never an answer, and nothing happens.
    Hold,
    /// It happens, and is answered, once the store is healed.
    Wait,
    /// The answer breaks off after so many octets of its body.
    Truncate(usize),
    /// What is missing is forbidden, as it is to those who may not list.
    Hide,
}

/// Which requests fail, and how.
#[derive(Debug, Clone)]
struct Rule {
    method: &'static str,
    part: String,
    fault: Fault,
    left: usize,
}

#[derive(Debug, Default)]
struct State {
    down: bool,
    is_unconditional: bool,
    rules: Vec<Rule>,
    /// Changes whenever it is healed.
    healed: watch::Sender<u64>,
    /// Method and target, and the header fields that tests ask for.
    seen: Vec<Seen>,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// Its method.
    pub method: String,
    /// Path and query.
    pub target: String,
    /// Whether a SHA-256 of its body came along.
    pub has_checksum: bool,
    /// Whether it must not replace what is there.
    pub is_conditional: bool,
    /// Its range.
    pub range: Option<String>,
}

/// The store. It ends with this.
#[derive(Debug)]
pub struct S3Server {
    root: TempDir,
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    runtime: Option<Runtime>,
}

impl S3Server {
    /// One with an empty bucket.
    pub fn start() -> Self {
        let root = TempDir::with_prefix("mreg-s3-").unwrap();
        fs::create_dir(root.path().join(BUCKET)).unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut builder = S3ServiceBuilder::new(FileSystem::new(root.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single(KEY_ID, SECRET));
        let service = builder.build();
        let state = Arc::new(Mutex::new(State::default()));
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let door = Door { service, state: Arc::clone(&state), alone: Arc::default() };
        runtime.spawn(async move {
            while let Ok((stream, _peer)) = listener.accept().await {
                let door = door.clone();
                tokio::spawn(async move {
                    let answer = service_fn(move |request| door.clone().answer(request));
                    // A connection that ends early is what this is for.
                    let _ended =
                        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { root, address, state, runtime: Some(runtime) }
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The directory of the bucket.
    pub fn bucket(&self) -> PathBuf {
        self.root.path().join(BUCKET)
    }

    /// Where an object lies.
    pub fn object(&self, key: &str) -> PathBuf {
        self.bucket().join(key)
    }

    /// What a daemon needs to know to keep blobs below this prefix.
    pub fn settings(&self, prefix: &str) -> Vec<(&'static str, String)> {
        let mut settings = self.access();
        settings.push(("MREG_BLOBS", format!("s3://{BUCKET}/{prefix}")));
        settings
    }

    /// The same without saying that blobs are to be kept there.
    pub fn access(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.url()),
            ("AWS_ACCESS_KEY_ID", KEY_ID.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ]
    }

    /// Closes every connection without a word, or stops doing so.
    pub fn set_down(&self, down: bool) {
        self.state.lock().unwrap().down = down;
    }

    /// Refuses every request that has `If-None-Match`, as stores do that don't know it.
    pub fn refuse_conditions(&self) {
        self.state.lock().unwrap().is_unconditional = true;
    }

    /// Makes the next so many requests of this method (`*`: any) fail whose target has this in it.
    pub fn fail(&self, method: &'static str, part: &str, fault: Fault, times: usize) {
        self.state.lock().unwrap().rules.push(Rule { method, part: part.to_owned(), fault, left: times });
    }

    /// Lets everything through again.
    pub fn heal(&self) {
        let mut state = self.state.lock().unwrap();
        state.rules.clear();
        state.healed.send_modify(|times| *times += 1);
    }

    /// How many failures are still to come.
    pub fn failures_left(&self) -> usize {
        self.state.lock().unwrap().rules.iter().map(|rule| rule.left).sum()
    }

    /// What was asked so far of this method, in whose target this is.
    pub fn seen(&self, method: &str, part: &str) -> Vec<Seen> {
        let state = self.state.lock().unwrap();
        let matches = |seen: &&Seen| seen.method == method && seen.target.contains(part);
        state.seen.iter().filter(matches).cloned().collect()
    }

    /// Uploads in parts that were begun and not ended, as far as parts of them are there.
    pub fn parts_left(&self) -> Vec<String> {
        let names = fs::read_dir(self.root.path()).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.starts_with(".upload")).collect()
    }
}

impl Drop for S3Server {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

type Broken = Box<dyn Error + Send + Sync>;

#[derive(Clone)]
struct Door {
    service: S3Service,
    state: Arc<Mutex<State>>,
    /// Held by a request with a condition, which the store looks at first and heeds later.
    alone: Arc<tokio::sync::Mutex<()>>,
}

impl Door {
    /// What becomes of a request.
    fn decide(&self, request: &Request<Incoming>) -> Option<Fault> {
        let target = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
        let headers = request.headers();
        let mut state = self.state.lock().unwrap();
        state.seen.push(Seen {
            method: request.method().to_string(),
            target: target.clone(),
            has_checksum: headers.contains_key("x-amz-checksum-sha256"),
            is_conditional: headers.contains_key("if-none-match"),
            range: headers.get("range").and_then(|range| range.to_str().ok()).map(str::to_owned),
        });
        if state.down {
            return Some(Fault::Cut);
        }
        if state.is_unconditional && headers.contains_key("if-none-match") {
            return Some(Fault::Status(501, "NotImplemented"));
        }
        let rule = state.rules.iter_mut().find(|rule| {
            rule.left > 0 && (rule.method == "*" || request.method() == rule.method) && target.contains(&rule.part)
        })?;
        rule.left -= 1;
        Some(rule.fault)
    }

    async fn answer(self, request: Request<Incoming>) -> Result<Response<Body>, Broken> {
        let mut healed = self.state.lock().unwrap().healed.subscribe();
        let fault = self.decide(&request);
        match fault {
            Some(Fault::Status(status, code)) => {
                // The body is read, as stores do that answer before they close.
                let _octets = drain(request.into_body()).await;
                return Ok(refusal(status, code));
            }
            Some(Fault::Cut) => return Err("cut".into()),
            Some(Fault::Hold) => {
                std::future::pending::<()>().await;
            }
            Some(Fault::Wait) => healed.changed().await?,
            _ => {}
        }
        let _alone = match request.headers().contains_key("if-none-match") {
            true => Some(self.alone.lock().await),
            false => None,
        };
        let response = self.service.call(request.map(Body::from)).await.map_err(|error| format!("{error:?}"))?;
        match fault {
            Some(Fault::Lost) => Err("lost".into()),
            Some(Fault::Truncate(octets)) => {
                Ok(response.map(|body| Body::http_body_unsync(Truncated { body: Box::pin(body), left: octets })))
            }
            Some(Fault::Hide) if response.status() == 404 => Ok(refusal(403, "AccessDenied")),
            _ => Ok(response),
        }
    }
}

async fn drain(mut body: Incoming) -> usize {
    let mut octets = 0;
    while let Some(Ok(frame)) = std::future::poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        octets += frame.data_ref().map_or(0, Bytes::len);
    }
    octets
}

fn refusal(status: u16, code: &str) -> Response<Body> {
    let text =
        format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>as the test wants it</Message></Error>");
    let response = Response::builder().status(status).header("content-type", "application/xml");
    response.body(Body::from(Bytes::from(text))).unwrap()
}

/// A body that breaks off.
struct Truncated {
    body: Pin<Box<Body>>,
    left: usize,
}

impl hyper::body::Body for Truncated {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if self.left == 0 {
            return Poll::Ready(Some(Err("broken off".into())));
        }
        match self.body.as_mut().poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let mut octets = frame.into_data().unwrap_or_default();
                octets.truncate(self.left);
                self.left -= octets.len();
                Poll::Ready(Some(Ok(Frame::data(octets))))
            }
            Poll::Ready(Some(Err(error))) => Poll::Ready(Some(Err(format!("{error:?}").into()))),
            Poll::Ready(None) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What is at a URL of `http://` and an address in numbers: status, head and body.
pub fn fetch(url: &str, fields: &[(&str, &str)]) -> (u16, String, Vec<u8>) {
    let rest = url.strip_prefix("http://").expect("http");
    let (host, target) = rest.split_once('/').expect("a path");
    let mut stream = TcpStream::connect(host).unwrap();
    let mut head = format!("GET /{target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    fields.iter().for_each(|(name, value)| head.push_str(&format!("{name}: {value}\r\n")));
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut octets = Vec::new();
    stream.read_to_end(&mut octets).unwrap();
    let end = octets.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8_lossy(&octets[..end]).into_owned();
    let status = head[9..12].parse().expect("a status");
    (status, head, octets.split_off(end + 4))
}
