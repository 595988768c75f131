//! The worker against a daemon in this process: raw octets on sockets, and a test that says when each request is answered.
//! Nothing sleeps: what is to happen is waited for, with a deadline.

#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use common::client::{Client, ClientError};

use super::{REQUESTS_MAX, Worker};
use crate::action::{Call, RequestId};
use crate::event::{EventKind, TailEvent};
use crate::lanes::{Receiver as Lane, lanes};

/// What is to happen happens within this.
const DEADLINE: Duration = Duration::from_secs(10);
/// What must not happen has not within this.
const WHILE: Duration = Duration::from_millis(150);
const PROBLEM: &str = r#"{"type":"/problems/not-found","title":"Nothing here","status":404,"detail":"no user","instance":"urn:uuid:0190f5f7-0000-4000-8000-000000000000"}"#;

/// What the daemon sees.
enum Seen {
    /// A request: its path, and the way to answer it.
    Asked(String, TcpStream),
    /// A connection that had asked something was closed by the console. One that is made in vain, as another gets free meanwhile,
    /// counts for nothing.
    Gone,
}

/// A daemon that answers when it is told to.
struct Daemon {
    seen: Receiver<Seen>,
    worker: Worker,
    lane: Lane,
}

fn listen(listener: &TcpListener, told: &Sender<Seen>) {
    while let Ok((stream, _)) = listener.accept() {
        let told = told.clone();
        std::thread::spawn(move || {
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut has_asked = false;
            loop {
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if reader.read_line(&mut head).unwrap_or(0) == 0 {
                        if has_asked {
                            drop(told.send(Seen::Gone));
                        }
                        return;
                    }
                }
                has_asked = true;
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                if told.send(Seen::Asked(path, stream.try_clone().unwrap())).is_err() {
                    return;
                }
            }
        });
    }
}

impl Daemon {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (told, seen) = channel();
        std::thread::spawn(move || listen(&listener, &told));
        let client = Client::new(&format!("http://{address}"), "mreg/test", false).unwrap();
        let (sender, lane) = lanes();
        Self { seen, worker: Worker::start(client, sender, None, None).unwrap(), lane }
    }

    /// Asks for a user of this number.
    fn ask(&self, number: u64) {
        self.worker.ask(RequestId(number), Call::User(format!("u{number}")));
    }

    fn next(&self) -> Seen {
        self.seen.recv_timeout(DEADLINE).unwrap()
    }

    /// The next request.
    fn asked(&self) -> (String, TcpStream) {
        match self.next() {
            Seen::Asked(path, stream) => (path, stream),
            Seen::Gone => panic!("a connection was closed"),
        }
    }

    /// The next event that is wanted.
    fn event<T>(&self, wanted: impl Fn(EventKind) -> Option<T>) -> T {
        let due = Instant::now() + DEADLINE;
        loop {
            let taken = self.lane.take(Some(due), 1);
            assert!(!taken.is_empty(), "nothing came");
            if let Some(found) = taken.into_iter().find_map(&wanted) {
                return found;
            }
        }
    }

    /// The next reply: of which request, and how it failed.
    fn reply(&self) -> (u64, Option<ClientError>) {
        self.event(|kind| match kind {
            EventKind::Reply { id, result } => Some((id.0, result.err())),
            _ => None,
        })
    }

    /// The next thing that the stream of the log tells.
    fn tail(&self) -> TailEvent {
        self.event(|kind| match kind {
            EventKind::Tail { epoch: 3, event } => Some(event),
            _ => None,
        })
    }
}

fn answer(mut stream: &TcpStream, status: &str, more: &str, body: &str) {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\ncontent-type: application/problem+json\r\ncontent-length: {length}\r\n{more}");
    stream.write_all(format!("{head}\r\n{body}").as_bytes()).unwrap();
}

/// However many are asked, four are under way; one that is answered lets the next one go.
#[test]
fn four_at_once() {
    let daemon = Daemon::start();
    let count = REQUESTS_MAX + 3;
    for number in 0..count {
        daemon.ask(number as u64);
    }
    let mut open: Vec<(String, TcpStream)> = (0..REQUESTS_MAX).map(|_| daemon.asked()).collect();
    let mut answered = Vec::new();
    while let Some((_, stream)) = open.pop() {
        assert!(daemon.seen.recv_timeout(WHILE).is_err(), "more than {REQUESTS_MAX} at once");
        answer(&stream, "404 Not Found", "", PROBLEM);
        let (id, error) = daemon.reply();
        assert_eq!(error.and_then(|error| error.status()), Some(404));
        answered.push(id);
        if answered.len() + open.len() < count {
            open.push(daemon.asked());
        }
    }
    answered.sort_unstable();
    assert_eq!(answered, (0..count as u64).collect::<Vec<_>>());
    daemon.worker.leave(false);
}

/// What is given up is cut at once, its place is another's, and no reply of it comes.
#[test]
fn cancelled() {
    let daemon = Daemon::start();
    for number in 0..=REQUESTS_MAX as u64 {
        daemon.ask(number);
    }
    let open: Vec<(String, TcpStream)> = (0..REQUESTS_MAX).map(|_| daemon.asked()).collect();
    daemon.worker.cancel(RequestId(2));
    let mut gone = 0;
    let last = loop {
        match daemon.next() {
            Seen::Gone => gone += 1,
            Seen::Asked(path, stream) => break (path, stream),
        }
    };
    assert!(last.0.ends_with("/u4"), "{}", last.0);
    for (path, stream) in open.iter().chain([&last]).filter(|(path, _)| !path.ends_with("/u2")) {
        answer(stream, "404 Not Found", "", PROBLEM);
        assert!(path.ends_with(&format!("/u{}", daemon.reply().0)), "{path}");
    }
    while gone == 0 {
        gone += usize::from(matches!(daemon.next(), Seen::Gone));
    }
    assert!(daemon.lane.take(Some(Instant::now() + WHILE), 1).is_empty(), "a reply to what was given up");
    daemon.worker.leave(false);
}

/// An answer that is too large, cut short or none at all is an error of the protocol or of the line; the next one is answered.
#[test]
fn bad_answers() {
    let daemon = Daemon::start();
    for (number, octets) in [
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9000000\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half",
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{]",
        "no HTTP at all\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        daemon.ask(number as u64);
        let (_, mut stream) = loop {
            if let Seen::Asked(path, stream) = daemon.next() {
                break (path, stream);
            }
        };
        stream.write_all(octets.as_bytes()).unwrap();
        drop(stream.shutdown(Shutdown::Both));
        let (id, error) = daemon.reply();
        assert_eq!((id, error.is_some()), (number as u64, true), "{octets}");
    }
    daemon.worker.leave(false);
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nmregd-log-index: 41\r\ntransfer-encoding: chunked\r\n\r\n";

/// A stream that the daemon ends is over; one that is half closed in the middle of its body has failed; a new one takes the place
/// of the old.
#[test]
fn streams_that_end() {
    let daemon = Daemon::start();
    for (rest, is_whole) in [("0\r\n\r\n", true), ("", false), ("5\r\n: h", false)] {
        daemon.worker.tail_open(3, Some(40));
        let (_, mut stream) = daemon.asked();
        stream.write_all(STREAM.as_bytes()).unwrap();
        assert!(matches!(daemon.tail(), TailEvent::Opened(41)));
        stream.write_all(rest.as_bytes()).unwrap();
        drop(stream.shutdown(Shutdown::Write));
        let TailEvent::Ended(error) = daemon.tail() else { panic!("{rest:?}") };
        assert_eq!(error.is_none(), is_whole, "{rest:?}: {error:?}");
        assert!(matches!(daemon.next(), Seen::Gone), "{rest:?}");
    }
    // The one before is given up.
    daemon.worker.tail_open(2, None);
    let _old = daemon.asked();
    daemon.worker.tail_open(3, None);
    let mut news = Vec::new();
    while news.len() < 2 {
        news.push(daemon.next());
    }
    let is_gone = news.iter().any(|seen| matches!(seen, Seen::Gone));
    let opened = news.into_iter().find_map(|seen| match seen {
        Seen::Asked(_, stream) => Some(stream),
        Seen::Gone => None,
    });
    opened.unwrap().write_all(STREAM.as_bytes()).unwrap();
    assert!(is_gone && matches!(daemon.tail(), TailEvent::Opened(41)));
    daemon.worker.leave(false);
}

/// A daemon that turns a stream away says for how long: that comes with the end, so that it is waited for.
#[test]
fn turned_away() {
    let daemon = Daemon::start();
    daemon.worker.tail_open(3, None);
    let (_, stream) = daemon.asked();
    let problem = PROBLEM.replace("404", "503").replace("not-found", "unavailable");
    answer(&stream, "503 Service Unavailable", "retry-after: 7\r\n", &problem);
    let TailEvent::Ended(Some(error)) = daemon.tail() else { panic!() };
    assert!(matches!(*error, ClientError::Problem { retry_after_seconds: Some(7), .. }), "{error:?}");
    let mut tail = crate::tail::Tail::default();
    assert_eq!(tail.ended(crate::event::Moment::default(), Some(7)), 7_000);
    daemon.worker.leave(false);
}
